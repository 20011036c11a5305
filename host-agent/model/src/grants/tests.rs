use serde_json::{Value, json};

use super::*;

fn read(document: Value) -> Result<Grants, String> {
    let grants: Grants = serde_json::from_value(document).map_err(|error| error.to_string())?;
    grants.check().map_err(|error| error.to_string())?;
    Ok(grants)
}

fn all() -> Value {
    json!({
        "network": { "allow": ["https://api.example.com", "tcp://db.internal:5432"], "methods": ["GET", "POST"] },
        "secrets": {
            "signing": {},
            "stripe": { "hosts": ["api.stripe.com"], "header": "authorization", "format": "Bearer {}" },
        },
        "sql": { "orders": { "url_secret": "orders_url" } },
        "redis": { "cache": { "url_secret": "cache_url" } },
        "kv": { "cart": {} },
        "queue": { "emails": {} },
        "invoke": { "allow": ["other"] },
    })
}

#[test]
fn grants_are_read_back_and_told() {
    let grants = read(all()).expect("good");
    assert_eq!(serde_json::to_value(&grants).expect("JSON"), all());
    assert_eq!(
        grants.lines(),
        [
            "https://api.example.com (GET, POST)",
            "tcp://db.internal:5432",
            "secret signing, which it reads",
            "secret stripe, as authorization to api.stripe.com",
            "SQL orders, at the address in secret orders_url",
            "Redis cache, at the address in secret cache_url",
            "store cart",
            "queue emails",
            "function other",
        ]
    );
    let (header, format) = grants.secrets["stripe"].injected().expect("injected");
    assert_eq!(
        (header.as_ref(), format.with(b"k{}")),
        ("authorization", b"Bearer k{}".to_vec())
    );
    assert!(grants.secrets["signing"].injected().is_none() && !grants.is_empty());
    let nothing = read(json!({})).expect("good");
    assert!(nothing.is_empty() && nothing == Grants::default());
    assert_eq!(serde_json::to_value(&nothing).expect("JSON"), json!({}));
    let plain = read(json!({ "network": { "allow": ["https://*.a.b:8443"] } })).expect("good");
    assert_eq!(plain.lines(), ["https://*.a.b:8443"]);
}

#[test]
fn what_cannot_be_granted_is_told_with_its_rule() {
    for (document, word) in [
        (json!({ "netwrk": {} }), "unknown field `netwrk`"),
        (json!({ "network": { "deny": [] } }), "unknown field `deny`"),
        (json!({ "kv": { "a": { "b": 1 } } }), "unknown field `b`"),
        (json!({ "kv": { "a b": {} } }), "invalid name \"a b\""),
        (json!({ "kv": { "": {} } }), "invalid name \"\""),
        (
            json!({ "network": { "methods": ["TRACE"] } }),
            "unknown variant `TRACE`",
        ),
        (
            json!({ "network": { "allow": ["api.example.com"] } }),
            "invalid origin \"api.example.com\"",
        ),
        (json!({ "sql": { "a": {} } }), "missing field `url_secret`"),
        (
            json!({ "secrets": { "a": { "hosts": ["b.c"] } } }),
            "invalid secret a",
        ),
        (
            json!({ "secrets": { "a": { "header": "b" } } }),
            "invalid secret a",
        ),
        (
            json!({ "secrets": { "a": { "format": "{}" } } }),
            "invalid secret a",
        ),
        (
            json!({ "secrets": { "a": { "hosts": ["b.c"], "header": "Host" } } }),
            "invalid header \"Host\"",
        ),
        (
            json!({ "secrets": { "a": { "hosts": ["b.c"], "header": "host" } } }),
            "invalid header \"host\"",
        ),
        (
            json!({ "secrets": { "a": { "hosts": ["b.c"], "header": "b", "format": "{}{}" } } }),
            "invalid format",
        ),
        (
            json!({ "secrets": { "a": { "hosts": ["b.c"], "header": "b", "format": "x\r\n{}" } } }),
            "invalid format",
        ),
        (
            json!({ "invoke": { "allow": ["a/b"] } }),
            "invalid name \"a/b\"",
        ),
    ] {
        let error = read(document.clone()).expect_err("refused");
        assert!(error.contains(word), "{document}: {error}");
    }
}

#[test]
fn grants_have_limits() {
    let stores = |count: usize| {
        let names = (0..count).map(|number| (format!("s{number}"), json!({})));
        read(json!({ "kv": names.collect::<serde_json::Map<_, _>>() }))
    };
    assert!(stores(GRANTS_MAX).is_ok());
    let error = stores(GRANTS_MAX + 1).expect_err("one more");
    assert!(error.contains("there are 101 of them"), "{error}");
    let hosts = |count: usize| {
        let hosts =
            (0..count).map(|number| format!("https://{}.{number:03}.example", "a".repeat(60)));
        read(json!({ "network": { "allow": hosts.collect::<Vec<_>>() } }))
    };
    let bytes = "https://".len() + 60 + ".000.example".len();
    assert!(hosts(GRANTS_MAX).is_ok() && GRANTS_MAX * bytes < GRANTS_BYTES_MAX);
    let long = format!("https://{0}.{0}.{0}.example", "a".repeat(60));
    let many = vec![long.clone(); GRANTS_BYTES_MAX / long.len() + 1];
    let error = read(json!({ "network": { "allow": many } })).expect_err("larger");
    assert!(error.contains("bytes, must be at most 16384"), "{error}");
}

#[test]
fn a_host_is_written_in_one_way() {
    for text in [
        "example.com",
        "a",
        "xn--bcher-kva.example",
        "_dmarc.example.com",
        "1.example",
        "127.0.0.1",
        "[::1]",
        "[2001:db8::1]",
    ] {
        let host: Host = text.parse().expect(text);
        assert_eq!(host.to_string(), text);
    }
    for text in [
        "",
        ".",
        "example.com.",
        ".example.com",
        "a..b",
        "EXAMPLE.com",
        "b\u{fc}cher.example",
        "a b",
        "-a.example",
        "a-.example",
        "127.1",
        "127.0.0.01",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "1.2.3.4.5",
        "a.1",
        "::1",
        "[127.0.0.1]",
        "[::1",
        "[fe80::1%25eth0]",
        "[::1%1]",
        "a@b",
        "a/b",
        "a:1",
        "a%2eb",
        "\u{ff11}27.0.0.1",
        "127\u{3002}0.0.1",
        &format!("{}.example", "a".repeat(64)),
        &vec!["abc"; 64].join("."),
    ] {
        assert!(text.parse::<Host>().is_err(), "{text}");
    }
}

#[test]
fn patterns_match_what_they_say() {
    let check = |pattern: &str, origin: &str| {
        let pattern: OriginPattern = pattern.parse().expect(pattern);
        pattern.matches(&origin.parse().expect(origin))
    };
    for (pattern, origin) in [
        ("https://a.example", "https://a.example:443"),
        ("http://a.example:80", "http://a.example"),
        ("tcp://a.example:5", "tcp://a.example:5"),
        ("https://*.example.com", "https://a.example.com"),
        ("https://*.example.com", "https://a.b.example.com"),
        ("https://*", "https://example.com"),
        ("https://[::1]:8443", "https://[0:0::1]:8443"),
        ("http://10.0.0.1", "http://10.0.0.1"),
    ] {
        assert!(check(pattern, origin), "{pattern} {origin}");
    }
    for (pattern, origin) in [
        ("https://a.example", "http://a.example"),
        ("https://a.example", "https://a.example:8443"),
        ("https://a.example", "https://b.example"),
        ("https://a.example", "https://a.example.evil.example"),
        ("https://*.example.com", "https://example.com"),
        ("https://*.example.com", "https://aexample.com"),
        ("https://*.example.com", "https://evil.com"),
        ("https://*", "https://10.0.0.1"),
        ("https://*", "https://[::1]"),
        ("http://10.0.0.1", "http://10.0.0.2"),
        ("http://10.0.0.1", "http://[::ffff:10.0.0.1]"),
    ] {
        assert!(!check(pattern, origin), "{pattern} {origin}");
    }
    for text in [
        "https://",
        "https://a.example/",
        "https://a.example/path",
        "https://a.example?q",
        "https://u:p@a.example",
        "https://a.example:",
        "https://a.example:0",
        "https://a.example:65536",
        "https://a.example:+80",
        "https://a.example:080",
        "HTTPS://a.example",
        "ftp://a.example",
        "tcp://a.example",
        "https:a.example",
        "//a.example",
        "https://*.com",
        "https://*.*.example.com",
        "https://a.*.com",
        "https://*example.com",
        "https://*.10.0.0.1",
        "*",
    ] {
        assert!(text.parse::<OriginPattern>().is_err(), "{text}");
    }
}
