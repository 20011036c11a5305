use std::{format, string::ToString};

use super::*;
use crate::{
    call::{CallError, CallErrorKind, Sent, join},
    dispatch::{Invocation, Reply},
    testing,
};

const URL: &str = "https://example.com/a?b=c";

fn run(
    call: impl FnOnce(testing::Call) -> testing::Call,
    handler: fn(&Invocation<'_>) -> Reply,
) -> Vec<u8> {
    call(testing::Call::new(handler)).run().ok()
}

fn told(result: Result<Response, CallError>) -> Reply {
    Reply::ok(match result {
        Ok(response) => {
            let header = response.headers().get("x-a").map(|value| value.as_bytes());
            let header = header.unwrap_or_default().escape_ascii();
            format!(
                "{} {header} {}",
                response.status(),
                response.body().escape_ascii()
            )
            .into_bytes()
        }
        Err(error) => format!("{:?} {:?} {error}", error.kind(), error.sent()).into_bytes(),
    })
}

#[test]
fn requests_are_answered_by_method_and_url() {
    let handler = |_: &Invocation<'_>| {
        let (first, second) = join((get(URL), post(URL).body("b"))).expect("answers");
        assert_eq!((first.body(), second.body()), (&b"1"[..], &b"2"[..]));
        let again: Vec<_> = (0..3)
            .map(|_| get(URL).send().expect("an answer").into_body())
            .collect();
        assert_eq!(again, [b"3", b"3", b"3"]);
        told(request(&Method::try_from("PURGE").expect("a method"), URL).send())
    };
    let answers = |call: testing::Call| {
        let with_header = Response::builder()
            .status(404_u16)
            .header("x-a", b"\xff")
            .body([0xfe]);
        call.http_call("GET", URL, 200, "1")
            .http_call("POST", URL, 201, "2")
            .http_call("GET", URL, 200, "3")
            .http_call_with("PURGE", URL, with_header.expect("a response"))
    };
    assert_eq!(run(answers, handler), br"404 \xff \xfe");
}

#[test]
fn a_request_that_cannot_be_made_is_an_error_of_its_own() {
    let check = |handler: fn(&Invocation<'_>) -> Reply, expected: &str| {
        assert_eq!(
            run(|call| call, handler).escape_ascii().to_string(),
            expected
        );
    };
    check(
        |_| told(get(URL).header("a b", "").body("x").send()),
        r#"Invalid No invalid name \"a b\" of an HTTP header"#,
    );
    check(
        |_| told(get(URL).header("a", "b\r\nc: d").header("e f", "").send()),
        r#"Invalid No the value of the HTTP header \"a\" holds a control character"#,
    );
    check(
        |_| told(get(&"u".repeat(1 << 16)).send()),
        "Invalid No a field of a call may have 65535 bytes",
    );
}

#[test]
fn a_failure_is_given_as_it_is() {
    let error = CallError::new(CallErrorKind::Timeout, Sent::No, "too late");
    let got = run(
        |call| call.http_call_fails("GET", URL, error),
        |_| told(get(URL).secret("s").send()),
    );
    assert_eq!(got, b"Timeout No too late");
}

#[test]
fn json_goes_both_ways() {
    let handler = |_: &Invocation<'_>| {
        let answer = post(URL).json(&("a", 1)).send().expect("an answer");
        let (text, number): (&str, u32) = answer.json().expect("JSON");
        Reply::ok(format!("{text} {number}").into_bytes())
    };
    assert_eq!(
        run(
            |call| call.http_call("POST", URL, 200, r#"["b",2]"#),
            handler
        ),
        b"b 2"
    );
}

#[test]
#[should_panic(
    expected = "the handler makes the request GET https://example.com/a?b=c, of which the test says nothing: add `.http_call(\"GET\", \
                \"https://example.com/a?b=c\", 200, …)`; the nearest that it answers is GET https://example.com/a"
)]
fn a_request_that_the_test_says_nothing_of_names_the_nearest() {
    let answers = |call: testing::Call| {
        call.http_call("POST", URL, 200, "")
            .http_call("GET", "https://example.com/a", 200, "")
            .http_call("GET", "https://example.org/", 200, "")
    };
    run(answers, |_| told(get(URL).send()));
}

#[test]
fn a_test_sees_which_secret_a_request_asks_for() {
    let handler = |_: &Invocation<'_>| {
        for (secret, body) in [("", "none"), ("stripe", "stripe"), ("other", "none")] {
            let answer = get(URL).secret(secret).send().expect("an answer");
            assert_eq!(answer.body(), body.as_bytes(), "{secret}");
        }
        told(post(URL).secret("stripe").send())
    };
    let late = CallError::new(CallErrorKind::Timeout, Sent::Maybe, "too late");
    let answers = |call: testing::Call| {
        call.http_call("GET", URL, 200, "stripe")
            .with_secret("stripe")
            .http_call("GET", URL, 200, "none")
            .http_call_fails("POST", URL, late)
            .with_secret("stripe")
    };
    assert_eq!(run(answers, handler), b"Timeout Maybe too late");
}

#[test]
#[should_panic(
    expected = "the handler makes the request GET https://example.com/a?b=c, of which the test says nothing: add `.http_call(\"GET\", \
                \"https://example.com/a?b=c\", 200, …)`; the nearest that it answers is GET https://example.com/a?b=c with the secret \"stripe\""
)]
fn a_request_without_its_secret_is_named() {
    let answers = |call: testing::Call| call.http_call("GET", URL, 200, "").with_secret("stripe");
    run(answers, |_| told(get(URL).send()));
}
