//! Attempts to get where a function may not, each with the refusal that it gets: nothing is connected to, nothing is sent.

use super::*;
use crate::net::Private;

const DENIED: CallErrorKind = CallErrorKind::Denied;
const INVALID: CallErrorKind = CallErrorKind::Invalid;

/// URLs that can be read in two ways, or in none, although their author granted whatever they may mean.
const URLS: &[&str] = &[
    // Addresses in ways in which some resolvers read them.
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0x0/",
    "http://1.1/",
    "http://127.0.0.01/",
    "http://127.0.0.1./",
    "http://127.0.0.1.1/",
    "http://256.0.0.1/",
    "http://127.0.0.0x1/",
    "http://169.254.43518/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://169.254.169.0376/",
    "http://[127.0.0.1]/",
    "http://[::1/",
    "http://::1/",
    "http://[::1%25lo]/",
    "http://[fe80::1%eth0]/",
    "http://[::1]a/",
    "http://[v1.x]/",
    "http://%31%32%37.0.0.1/",
    "http://127%2e0%2e0%2e1/",
    "http://127.0.0.1%00.example.com/",
    // Digits, dots and letters of other scripts, which some turn into ASCII.
    "http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
    "http://127\u{3002}0\u{3002}0\u{3002}1/",
    "http://\u{2460}27.0.0.1/",
    "http://loc\u{ff41}lhost/",
    "http://b\u{fc}cher.example/",
    "http://ex\u{ad}ample.com/",
    "http://\u{202e}moc.elpmaxe/",
    // Trailing and empty labels.
    "http://example.com./",
    "http://example.com../",
    "http://.example.com/",
    "http://example..com/",
    "http://./",
    "http:///",
    "http://",
    "http:/example.com",
    "http:example.com",
    "//example.com/",
    "example.com",
    "/path",
    "",
    // Users, and what hides a host behind them.
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://example.com@127.0.0.1/",
    "http://example.com:80@127.0.0.1/",
    "http://example.com#@127.0.0.1/",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\.evil.example/",
    "http://@example.com/",
    "http://example.com%40127.0.0.1/",
    // Ports.
    "http://example.com:/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:-1/",
    "http://example.com:+80/",
    "http://example.com:080/",
    "http://example.com:80:80/",
    "http://example.com:8a/",
    "http://example.com:0x50/",
    // Other schemes.
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://127.0.0.1:6379/_INFO",
    "unix:///var/run/docker.sock",
    "tcp://example.com:80",
    "javascript://example.com/",
    "ws://example.com/",
    " http://example.com/",
    // What would be another line of the request, or another request.
    "http://example.com/ HTTP/1.1\r\nhost: evil.example",
    "http://example.com/\r\n\r\nGET /admin HTTP/1.1",
    "http://example.com/\n",
    "http://example.com/a b",
    "http://example.com/\t",
    "http://example.com/\0",
    "http://exam\rple.com/",
    "http://example.com/#fragment",
    "http://-example.com/",
    "http://example-.com/",
    "http://exa_mple!.com/",
    "http://*.example.com/",
    "http://*/",
];

/// Addresses as a name's answer, and, written as a host, by themselves.
const ADDRESSES: &[(&str, &str)] = &[
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("::1", "loopback"),
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("::", "unspecified"),
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("fc00::1", "private"),
    ("fd12:3456::1", "private"),
    ("100.64.0.1", "shared"),
    ("100.127.255.255", "shared"),
    ("169.254.0.1", "link-local"),
    ("fe80::1", "link-local"),
    ("169.254.169.254", "metadata"),
    ("169.254.170.2", "metadata"),
    ("100.100.100.200", "metadata"),
    ("192.0.0.192", "metadata"),
    ("168.63.129.16", "metadata"),
    ("fd00:ec2::254", "metadata"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("198.18.0.1", "benchmarks"),
    ("192.88.99.1", "relay"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("ff02::1", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("192.0.0.1", "reserved"),
    ("fec0::1", "reserved"),
    ("100::1", "reserved"),
    ("4000::1", "reserved"),
    ("::ffff:127.0.0.1", "IPv4 within"),
    ("::ffff:169.254.169.254", "IPv4 within"),
    ("::ffff:8.8.8.8", "IPv4 within"),
    ("::127.0.0.1", "IPv4 within"),
    ("::ffff:0:127.0.0.1", "IPv4 within"),
    ("64:ff9b::7f00:1", "IPv4 within"),
    ("64:ff9b::a9fe:a9fe", "IPv4 within"),
    ("64:ff9b:1::7f00:1", "IPv4 within"),
    ("2002:7f00:1::", "IPv4 within"),
    ("2001:0:7f00:1::", "reserved"),
];

/// Headers that would make a request another one.
const HEADERS: &[&str] = &[
    "host",
    "Host",
    "HOST",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "proxy-authorization",
    "proxy-connection",
    "http2-settings",
    ":authority",
    "a b",
    "",
    "x\r\nhost",
];

async fn check(client: &Client, call: Call, kind: CallErrorKind, word: &str) -> String {
    let shown = String::from_utf8_lossy(&call.head).into_owned();
    let failure = client.answer(call, None).await.expect_err(&shown);
    assert_eq!(
        (failure.kind, failure.sent),
        (kind, Sent::No),
        "{shown}: {}",
        failure.message
    );
    assert!(
        failure.message.contains(word),
        "{shown}: {}",
        failure.message
    );
    failure.message
}

fn as_host(address: &str) -> String {
    match address.contains(':') {
        true => format!("[{address}]"),
        false => address.to_owned(),
    }
}

#[tokio::test]
async fn every_attempt_has_its_refusal() {
    let mut attempts = 0;
    // All names, and whatever the parts of the URLs may be taken for.
    let generous = [
        "http://*",
        "https://*",
        "http://127.0.0.1",
        "http://[::1]",
        "http://0.0.0.0",
    ];
    let names = Names::new(&[("example.com", &[&["127.0.0.1"]])]);
    let any = client(&generous, egress(&[], None), names);
    for url in URLS {
        check(&any, request("GET", url, &[]), INVALID, "").await;
        attempts += 1;
    }
    let long = format!("http://example.com/{}", "a".repeat(8192));
    check(&any, request("GET", &long, &[]), INVALID, "8192 bytes").await;
    for name in HEADERS {
        let call = request("GET", "http://example.com/", &[(name, b"evil.example")]);
        check(&any, call, INVALID, "").await;
        attempts += 1;
    }
    for value in [&b"a\r\nhost: b"[..], b"a\n", b"\0"] {
        let call = request("GET", "http://example.com/", &[("x", value)]);
        check(&any, call, INVALID, "control character").await;
        attempts += 1;
    }
    for method in ["CONNECT", "TRACE", "PURGE", "get"] {
        let call = request(method, "http://example.com/", &[]);
        check(&any, call, DENIED, "is not granted").await;
        attempts += 1;
    }
    for method in ["", "G T", "GET / HTTP/1.1\r\n"] {
        check(
            &any,
            request(method, "http://example.com/", &[]),
            INVALID,
            "invalid method",
        )
        .await;
        attempts += 1;
    }
    // A name that leads there, alone or beside a public address; and the address itself, granted by the author.
    for (address, word) in ADDRESSES {
        let host = as_host(address);
        let names = Names::new(&[
            ("one.example", &[&[address]]),
            ("two.example", &[&["1.1.1.1", address]]),
        ]);
        let itself = format!("http://{host}");
        let allow = ["https://one.example", "https://two.example", &itself];
        let client = client(&allow, egress(&[], None), names);
        for url in allow {
            let message = check(&client, request("GET", url, &[]), DENIED, word).await;
            // What a name leads to inside of a network is not told.
            assert!(url == itself || !message.contains(address), "{message}");
            attempts += 1;
        }
    }
    assert!(attempts >= 250, "{attempts}");
}

#[tokio::test]
async fn what_was_not_granted_is_denied() {
    let names = || Names::new(&[("api.example.com", &[&["127.0.0.1"]])]);
    let client = client(
        &["https://api.example.com", "https://*.example.org"],
        egress(&[], None),
        names(),
    );
    for url in [
        "http://api.example.com/",
        "https://api.example.com:8443/",
        "https://example.com/",
        "https://www.example.com/",
        "https://api.example.com.evil.example/",
        "https://evilapi.example.com/",
        "https://example.org/",
        "https://evilexample.org/",
        "https://example.org.evil.example/",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/",
        "https://localhost/",
        "https://metadata.google.internal/",
        "https://xn--80ak6aa92e.com/",
    ] {
        check(&client, request("GET", url, &[]), DENIED, "is not granted").await;
    }
    // One that grants nothing, and one whose operator has a list.
    let nothing = super::client(&[], egress(&[], None), names());
    check(
        &nothing,
        request("GET", "https://api.example.com/", &[]),
        DENIED,
        "is not granted",
    )
    .await;
    let listed = Egress {
        hosts: vec!["*.example.org".parse().expect("a pattern")],
        ..Egress::default()
    };
    let operated = super::client(&["https://api.example.com"], listed, names());
    let call = request("GET", "https://API.example.com/", &[]);
    check(&operated, call, DENIED, "operator").await;
}

/// The answer that was checked is the one that is connected to: the next one is checked anew.
#[tokio::test]
async fn a_name_that_alternates_gains_nothing() {
    let names = Names::new(&[(
        "rebind.example",
        &[
            &["1.1.1.1"],
            &["127.0.0.1"],
            &["1.1.1.1", "127.0.0.1"],
            &["1.1.1.1"],
        ],
    )]);
    let client = client(&["https://rebind.example"], egress(&[], None), names);
    let origin = "https://rebind.example".parse().expect("an origin");
    let mut answers = vec![];
    for _ in 0..4 {
        let addresses = client.connector.addresses(&origin).await;
        answers.push(addresses.map_err(|failure| failure.kind));
    }
    let public = || Ok(vec!["1.1.1.1".parse().expect("an address")]);
    assert_eq!(answers, [public(), Err(DENIED), Err(DENIED), public()]);
}

#[test]
fn an_operator_allows_what_somebody_has() {
    let check = |private: &str, host: &str, address: &str| {
        let host = host.parse().expect("a host");
        egress(&[private], None)
            .check(&host, address.parse().expect("an address"))
            .is_ok()
    };
    assert!(check("10.0.0.0/8", "db.example", "10.1.2.3"));
    assert!(check("db.internal", "db.internal", "10.1.2.3"));
    assert!(check("127.0.0.1", "a.example", "127.0.0.1"));
    assert!(check("fd00::/8", "a.example", "fd00::1"));
    assert!(!check("10.0.0.0/8", "db.example", "192.168.0.1"));
    assert!(!check("db.internal", "other.internal", "10.1.2.3"));
    for nobodys in [
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
    ] {
        for private in ["0.0.0.0/0", "::/0", "a.example"] {
            assert!(!check(private, "a.example", nobodys), "{private} {nobodys}");
        }
    }
    for wrong in ["", "10.0.0.0/33", "*.internal", "a b", "DB"] {
        assert!(wrong.parse::<Private>().is_err(), "{wrong}");
    }
}

/// A public address may be the host's own, of which only the connection knows.
#[test]
fn a_host_does_not_reach_itself_by_its_public_address() {
    let check = |private: &[&str], own: &str, address: &str| {
        let host = "host.example".parse().expect("a host");
        let [own, address] = [own, address].map(|it| it.parse().expect("an address"));
        egress(private, None)
            .check_own(&host, own, address)
            .map_err(|failure| failure.message)
    };
    assert_eq!(check(&[], "1.1.1.1", "1.0.0.1"), Ok(()));
    for address in ["1.1.1.1", "2606:4700::1111", "127.0.0.1"] {
        let message = check(&[], address, address).expect_err(address);
        assert!(message.contains("of this very host"), "{message}");
        assert_eq!(check(&[address], address, address), Ok(()));
        assert_eq!(check(&["host.example"], address, address), Ok(()));
    }
}

#[tokio::test]
async fn a_secret_goes_where_it_was_granted_to() {
    let mut grants: Grants = Grants::default();
    grants.network.allow = vec![
        "https://*".parse().expect("a pattern"),
        "http://*".parse().expect("a pattern"),
    ];
    let stripe = jiffy_model::SecretGrant {
        hosts: vec!["api.stripe.com".parse().expect("a host")],
        header: Some("authorization".parse().expect("a header")),
        format: None,
    };
    let name = |text: &str| text.parse::<jiffy_model::BindingName>().expect("a name");
    grants.secrets.insert(name("stripe"), stripe);
    grants
        .secrets
        .insert(name("signing"), jiffy_model::SecretGrant::default());
    let client = client_of(&grants, egress(&[], None), Names::default());
    for (secret, url, word) in [
        ("other", "https://api.stripe.com/", "is not granted"),
        ("stripe", "https://evil.example/", "is not for"),
        (
            "stripe",
            "https://api.stripe.com.evil.example/",
            "is not for",
        ),
        ("stripe", "http://api.stripe.com/", "is not for"),
        ("signing", "https://api.stripe.com/", "is not for"),
    ] {
        let call = Call {
            binding: secret.into(),
            ..request("GET", url, &[])
        };
        check(&client, call, DENIED, word).await;
    }
}
