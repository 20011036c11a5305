extern crate std;

use std::{borrow::Cow, boxed::Box, panic, string::ToString, vec};

use jiffy_abi::redis::Commands;

use super::*;
use crate::{
    call::{CallErrorKind, Sent},
    dispatch::{Invocation, Reply},
    testing,
};

/// The arguments of a command, as the host sees them.
fn arguments(command: impl Arguments) -> Vec<String> {
    let mut body = vec![];
    Command::new(&command).write(&mut body).expect("small");
    let mut commands = Commands::new(&body);
    let arguments = commands.next().expect("one").expect("well-formed");
    let texts = arguments.map(|it| String::from_utf8_lossy(it).into_owned());
    let texts = texts.collect();
    assert!(commands.next().is_none());
    texts
}

#[test]
fn a_command_is_made_of_many_things() {
    let owned = String::from("owned");
    let bytes = vec![b'b', b'y'];
    assert_eq!(arguments("PING"), ["PING"]);
    assert_eq!(arguments(("GET", &owned)), ["GET", "owned"]);
    let many = (
        "X",
        'y',
        &bytes,
        b"raw",
        &bytes[..1],
        owned.clone(),
        -7,
        7_u64,
        0.5,
        1e21,
        Cow::Borrowed("cow"),
        &&"text",
    );
    let expected = [
        "X",
        "y",
        "by",
        "raw",
        "b",
        "owned",
        "-7",
        "7",
        "0.5",
        "1000000000000000000000",
        "cow",
        "text",
    ];
    assert_eq!(arguments(many), expected);
    let pairs = vec![("a", 1), ("b", 2)];
    assert_eq!(arguments(("MSET", &pairs)), ["MSET", "a", "1", "b", "2"]);
    assert_eq!(arguments(("DEL", &["a", "b"][..])), ["DEL", "a", "b"]);
    assert_eq!(arguments(vec![bytes.clone(), bytes]), ["by", "by"]);
    assert_eq!(
        arguments(("SET", "k", Json(&pairs))),
        ["SET", "k", r#"[["a",1],["b",2]]"#]
    );
    assert_eq!(arguments(("SET", "", Box::new(""))), ["SET", "", ""]);
}

/// Each limit is tried at its edge and one step past it.
#[test]
fn a_command_has_limits() {
    let written = |command: &dyn Arguments| Command::new(command).write(&mut vec![]);
    assert!(written(&vec!["a"; 1024]).is_ok());
    let why = written(&vec!["a"; 1025]).expect_err("too many");
    assert!(why.contains("1024"), "{why}");
    // "*1", "$1048556", the bytes: each with its end.
    let large = vec![0_u8; (1 << 20) - 4 - 10 - 2];
    assert!(written(&large).is_ok());
    let why = written(&[large, vec![0]].concat()).expect_err("too large");
    assert!(why.contains("1048576"), "{why}");
    let why = written(&Vec::<String>::new()).expect_err("nothing");
    assert!(why.contains("at least one"), "{why}");
    let cache = open("cache").expect("a name");
    let error = cache.command(vec!["a"; 1025]).expect_err("too many");
    assert_eq!(
        (error.kind(), error.sent()),
        (CallErrorKind::Invalid, Sent::No)
    );
    let many = (0..101).fold(cache.atomic(), |all, _| all.then("PING"));
    assert_eq!(
        many.send().expect_err("too many").kind(),
        CallErrorKind::Invalid
    );
    for name in ["", "a b", &"a".repeat(65)] {
        let error = open(name).expect_err("no name");
        assert!(
            error.to_string().contains("invalid Redis database name"),
            "{error}"
        );
    }
}

#[test]
fn replies_are_what_they_are() {
    let decode = |text: &str| Value::decode(text.as_bytes()).expect(text);
    let nil = decode("$-1\r\n");
    assert!(nil.is_nil() && nil.option().is_none() && decode("*-1\r\n").is_nil());
    let ok = decode("+OK\r\n");
    assert_eq!((ok.text(), ok.bytes()), (Ok("OK"), Ok(&b"OK"[..])));
    let seven = decode("$1\r\n7\r\n");
    assert_eq!(
        (seven.int(), seven.float(), seven.json()),
        (Ok(7), Ok(7.0), Ok(7))
    );
    assert_eq!(
        (decode(":-7\r\n").int(), decode("$4\r\n-0.5\r\n").float()),
        (Ok(-7), Ok(-0.5))
    );
    let nested = decode("*3\r\n:1\r\n*1\r\n$-1\r\n-ERR no\r\n");
    let expected = [
        Value::Int(1),
        Value::Array(vec![Value::Nil]),
        Value::Error("ERR no".into()),
    ];
    assert_eq!(nested.array(), Ok(&expected[..]));
    for (error, text) in [
        (
            nil.text().expect_err("nil"),
            "the reply of Redis is nil: must be bytes",
        ),
        (
            ok.int().expect_err("text"),
            "the reply of Redis is 2 bytes: must be a whole number",
        ),
        (
            nested.bytes().expect_err("an array"),
            "the reply of Redis is an array of 3: must be bytes",
        ),
        (
            expected[2].int().expect_err("an error"),
            "the reply of Redis is the error \"ERR no\": must be a whole number",
        ),
    ] {
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (CallErrorKind::Failed, text)
        );
    }
    let binary = decode("$1\r\n\u{0}\r\n");
    assert_eq!(binary.into_bytes(), Ok(vec![0]));
    assert!(Value::Bytes(vec![0xff]).text().is_err());
    for wrong in [
        "",
        "+OK",
        "+OK\r\n+OK\r\n",
        "*2\r\n+a\r\n",
        &"*1\r\n".repeat(17),
    ] {
        assert_eq!(Value::decode(wrong.as_bytes()), None, "{wrong}");
    }
    let mut bytes = vec![];
    nested.encode(&mut bytes);
    assert_eq!(Value::decode(&bytes), Some(nested));
}

fn handler(_: &Invocation<'_>) -> Reply {
    let body = || -> Result<String, CallError> {
        let cache = open("cache")?;
        let (one, two) = crate::join((
            cache.command_call(("GET", "a")),
            cache.atomic().then(("GET", "b")),
        ))?;
        cache.command(("SET", "c", one.text()?))?;
        Ok(format!("{} {:?}", one.text()?, two))
    };
    Reply::ok(
        body()
            .unwrap_or_else(|error| format!("{:?} {error}", error.kind()))
            .into(),
    )
}

#[test]
fn a_closure_stands_in_for_a_database() {
    let call = testing::Call::new(handler).redis("cache", |command: &[&str]| match command {
        ["GET", key] => Value::from(*key),
        ["SET", "c", "a"] => "OK".into(),
        other => panic!("{other:?}"),
    });
    assert_eq!(call.run().text(), "a [Bytes([98])]");
    let errors = testing::Call::new(handler).redis("cache", |command: &[&str]| match command {
        ["GET", "b"] => Value::Error("WRONGTYPE no".into()),
        _ => Value::Int(7),
    });
    assert_eq!(
        errors.run().text(),
        "Failed command 1 (GET): WRONGTYPE no; the others are made"
    );
    let error = CallError::new(CallErrorKind::Timeout, Sent::No, "too late");
    let fails = testing::Call::new(handler).redis_fails("cache", error);
    assert_eq!(fails.run().text(), "Timeout too late");
}

#[test]
fn what_a_host_refuses_a_test_refuses_too() {
    fn handler(_: &Invocation<'_>) -> Reply {
        let error = open("cache").and_then(|cache| cache.command(("BLPOP", "k", 0)));
        Reply::ok(error.expect_err("refused").to_string().into())
    }
    let call = testing::Call::new(handler).redis("cache", |_: &[&str]| ());
    let why = "BLPOP may not be sent: it waits in the server for what others do";
    assert_eq!(call.run().text(), why);
}

#[test]
fn a_database_of_which_the_test_says_nothing_is_named() {
    for (call, missing) in [
        (testing::Call::new(handler), "add `.redis(…)`"),
        (
            testing::Call::new(handler).redis("other", |_: &[&str]| ()),
            "add `.redis(\"cache\", |command| …)`; it has other",
        ),
    ] {
        let panic = panic::catch_unwind(panic::AssertUnwindSafe(|| call.run()));
        let panic = panic.expect_err("it panics");
        let said = panic.downcast_ref::<String>().expect("a text");
        assert!(said.contains(missing), "{said}");
    }
}
