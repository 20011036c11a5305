//! What is refused before anything is sent, and then what servers do, good and bad ones, over loopback, which an operator has to
//! allow.

mod servers;

use jiffy_control::Request;
use jiffy_model::{FunctionId, Grants, UrlGrant};

use super::*;
use crate::Egress;

/// A function's version that has `[redis.cache]`, whose URL is this one.
fn function(url: &str, private: &[&str]) -> RedisOf {
    let secrets = Secrets::in_memory().expect("memory");
    let name: BindingName = "cache_url".parse().expect("a name");
    if !url.is_empty() {
        let set = secrets.set(&TenantName::default(), &name, url.as_bytes(), 1);
        set.expect("set");
    }
    let egress = Egress {
        private: private.iter().map(|it| it.parse().expect(it)).collect(),
        ..Egress::default()
    };
    function_of(secrets, egress)
}

fn function_of(secrets: Secrets, egress: Egress) -> RedisOf {
    let config = Config {
        kv: Arc::new(
            jiffy_kv::Kv::in_memory(jiffy_kv::Limits::default(), jiffy_kv::system_clock())
                .expect("memory"),
        ),
        queues: crate::tests::queues(),
        secrets: Arc::new(secrets),
        egress: egress.clone(),
        invoker: crate::Invoker::default(),
        release: "1".into(),
    };
    let net = Net::new(egress).expect("no file to read");
    let redis = Redis::configure(&config, &net).expect("nothing to open");
    let url_secret = "cache_url".parse().expect("a name");
    let grants = Grants {
        redis: [("cache".parse().expect("a name"), UrlGrant { url_secret })].into(),
        ..Grants::default()
    };
    let function: FunctionId = "f".parse().expect("a name");
    Capability::prepare(
        &redis,
        &Version {
            function: &function,
            function_name: "f",
            grants: &grants,
        },
    )
}

/// A command of words, as it travels.
fn encoded(command: &str) -> Vec<u8> {
    let words: Vec<_> = command.split(' ').collect();
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

fn call(operation: u16, body: Vec<u8>) -> Call {
    Call {
        service: SERVICE_REDIS,
        operation,
        binding: "cache".into(),
        body,
        ..Call::default()
    }
}

type Answer = Result<String, (CallErrorKind, Sent, String)>;

async fn made(function: &RedisOf, call: Call) -> Answer {
    let context = CallContext {
        request: &Request::default(),
        traceparent: None,
        deadline: None,
        scope: &jiffy_client::Scope::default(),
    };
    let reply = function.call(call, &context).await;
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    match reply.error {
        None => Ok(text),
        Some(kind) => Err((kind, reply.sent, text)),
    }
}

async fn ask(function: &RedisOf, command: &str) -> Answer {
    made(function, call(OPERATION_REDIS_COMMAND, encoded(command))).await
}

async fn atomic(function: &RedisOf, commands: &[&str]) -> Answer {
    let body = commands.iter().flat_map(|it| encoded(it)).collect();
    made(function, call(OPERATION_REDIS_ATOMIC, body)).await
}

#[track_caller]
fn check(answer: Answer, kind: CallErrorKind, sent: Sent, word: &str) {
    let (is, was_sent, text) = answer.expect_err(word);
    assert_eq!((is, was_sent), (kind, sent), "{text}");
    assert!(text.contains(word), "{text}");
}

/// Nobody listens there, and that is not found out.
const NOWHERE: &str = "redis://canary-user:canary-word@127.0.0.1:1/0";

#[tokio::test]
async fn what_a_function_was_not_granted_it_does_not_have() {
    let function = function(NOWHERE, &[]);
    for name in ["", "other", "cache_url", "Cache", "cache\0"] {
        let call = Call {
            binding: name.into(),
            ..call(OPERATION_REDIS_COMMAND, encoded("GET k"))
        };
        let answer = made(&function, call).await;
        check(answer, CallErrorKind::Denied, Sent::No, "[redis.NAME]");
    }
    let answer = made(&function, call(3, encoded("GET k"))).await;
    check(answer, CallErrorKind::Unknown, Sent::No, "operation 3");
}

#[tokio::test]
async fn what_is_no_command_and_what_may_not_be_sent_is_refused() {
    let function = function(NOWHERE, &[]);
    let one = |body: &[u8]| made(&function, call(OPERATION_REDIS_COMMAND, body.to_vec()));
    for body in [
        &b""[..],
        b"GET k\r\n",
        b"*1\r\n$3\r\nGE",
        b"*1\r\n$03\r\nGET\r\n",
        &[encoded("GET a"), encoded("GET b")].concat(),
        &[encoded("GET a"), b"\r\nQUIT\r\n".to_vec()].concat(),
        &encoded(&"a ".repeat(1024)),
        &encoded(&format!("SET k {}", "a".repeat(1 << 20))),
    ] {
        check(one(body).await, CallErrorKind::Invalid, Sent::No, "must be");
    }
    for (command, word) in [
        (
            "AUTH canary",
            "AUTH may not be sent: it changes the connection",
        ),
        ("select 1", "select may not be sent: it changes"),
        ("BLPOP k 0", "it waits"),
        (
            "XREAD BLOCK 0 STREAMS k $",
            "XREAD may not be sent: it waits",
        ),
        ("CONFIG GET requirepass", "administers"),
        ("MULTI", "atomic"),
        (
            "a\r\nb",
            "a\\r\\nb may not be sent: it is not among the commands of data",
        ),
    ] {
        let alone = ask(&function, command).await;
        check(alone, CallErrorKind::Denied, Sent::No, word);
        let among = atomic(&function, &["GET a", command, "GET b"]).await;
        check(among, CallErrorKind::Denied, Sent::No, word);
    }
    let none = atomic(&function, &[]).await;
    let message = "invalid commands: 0 of them, must be 1 to 100";
    check(none, CallErrorKind::Invalid, Sent::No, message);
    let many = atomic(&function, &["GET a"; ATOMIC_COMMANDS_MAX + 1]).await;
    check(many, CallErrorKind::Invalid, Sent::No, "at most 100");
}

/// Where a server is, and as whom one speaks with it, is in no message.
#[tokio::test]
async fn what_is_told_of_a_server_that_cannot_be_reached() {
    let unset = function("", &[]);
    let answer = ask(&unset, "GET k").await;
    check(
        answer,
        CallErrorKind::Failed,
        Sent::No,
        "`jiffy secret set cache_url`",
    );
    let told = async |url: &str, private: &[&str]| {
        let function = function(url, private);
        let (kind, sent, text) = ask(&function, "GET k").await.expect_err("no server");
        assert_eq!(sent, Sent::No);
        for secret in ["canary", "127.0.0.1", "localhost", "internal", ":1"] {
            assert!(!text.contains(secret), "{text}");
        }
        (kind, text)
    };
    let (kind, text) = told("redis://canary:1/a", &[]).await;
    assert!(
        kind == CallErrorKind::Failed && text.contains("cache_url is no URL"),
        "{text}"
    );
    for (url, private, expected) in [
        (NOWHERE, &[][..], CallErrorKind::Denied),
        (NOWHERE, &["127.0.0.1"], CallErrorKind::Failed),
        (
            "rediss://canary:canary@localhost:1",
            &["localhost"],
            CallErrorKind::Failed,
        ),
        (
            "redis://canary.internal.invalid",
            &[],
            CallErrorKind::Failed,
        ),
        ("redis://169.254.169.254:1", &[], CallErrorKind::Denied),
        (
            "redis://[::ffff:127.0.0.1]:1",
            &["0.0.0.0/0"],
            CallErrorKind::Denied,
        ),
    ] {
        let (kind, text) = told(url, private).await;
        assert_eq!(kind, expected, "{url}: {text}");
        assert!(text.contains("[redis.cache]"), "{text}");
    }
    // What the operator says of hosts holds as it does for requests.
    let secrets = Secrets::in_memory().expect("memory");
    let name: BindingName = "cache_url".parse().expect("a name");
    let set = secrets.set(&TenantName::default(), &name, b"redis://canary.example", 1);
    set.expect("set");
    let egress = Egress {
        hosts: vec!["*.other.example".parse().expect("a pattern")],
        ..Egress::default()
    };
    let answer = ask(&function_of(secrets, egress), "GET k").await;
    check(answer, CallErrorKind::Denied, Sent::No, "operator");
}
