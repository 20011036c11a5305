//! Messages, against the stand-in.

extern crate std;

use std::{string::String, vec::Vec};

use super::*;
use crate::{
    call::{CallErrorKind, Sent},
    dispatch::{Invocation, Reply},
    testing::{Call, Queue as TestQueue},
};

macro_rules! handler {
    ($body:expr) => {{
        fn handler(_: &Invocation<'_>) -> Reply {
            let body: fn() -> Result<String, CallError> = $body;
            let text = body().unwrap_or_else(|error| std::format!("{:?} {error}", error.kind()));
            Reply::ok(text.into_bytes())
        }
        Call::new(handler)
    }};
}

#[test]
fn messages_are_seen_in_the_order_in_which_they_were_sent() {
    let emails = TestQueue::default();
    let call = handler!(|| {
        let emails = queue("emails");
        let first = emails.send(&("to", 1))?;
        let (second, third) = crate::join((
            emails.send_call("text"),
            emails.send_bytes_call([0xff]).content_type("image/png"),
        ))?;
        let fourth = emails.send_bytes("bytes")?;
        assert!(first < second && second < third && third < fourth);
        Ok(fourth.to_string())
    });
    let last = call.queue("emails", &emails).run().text();
    let sent = emails.sent();
    let seen: Vec<_> = sent
        .iter()
        .map(|message| (&*message.body, &*message.content_type))
        .collect();
    let expected = [
        (&br#"["to",1]"#[..], "application/json"),
        (br#""text""#, "application/json"),
        (&[0xff], "image/png"),
        (b"bytes", "application/octet-stream"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(sent[0].json::<(String, u32)>().expect("JSON").1, 1);
    assert_eq!(sent[3].id.as_str(), last);
}

#[test]
fn a_name_that_no_queue_can_have_is_an_error_of_the_call() {
    for (call, name) in [
        (handler!(|| queue("").send("").map(|_| String::new())), ""),
        (
            handler!(|| queue("a/b").send("").map(|_| String::new())),
            "a/b",
        ),
    ] {
        let expected = std::format!(
            "Invalid invalid queue name {name:?}: must be 1 to 64 letters, digits, hyphens and underscores"
        );
        assert_eq!(call.run().text(), expected);
    }
}

#[test]
fn what_is_no_json_is_an_error_of_the_call() {
    let emails = TestQueue::default();
    let call = handler!(|| {
        let no_key: alloc::collections::BTreeMap<(u8, u8), u8> = [((1, 2), 3)].into();
        queue("emails").send(&no_key).map(|_| String::new())
    });
    let said = call.queue("emails", &emails).run().text();
    assert_eq!(said, "Invalid key must be a string");
    assert!(emails.sent().is_empty());
}

#[test]
fn a_queue_can_fail() {
    let full = CallError::new(CallErrorKind::Limit, Sent::No, "full");
    let call = handler!(|| queue("emails").send("").map(|_| String::new()));
    assert_eq!(call.queue_fails("emails", full).run().text(), "Limit full");
}

#[test]
#[should_panic(
    expected = "sends to the queue \"emails\", of which the test says nothing: add `.queue(\"emails\", &queue)`; it has other"
)]
fn a_queue_that_the_test_does_not_give_is_named() {
    let call = handler!(|| queue("emails").send("").map(|_| String::new()));
    let _ = call.queue("other", TestQueue::default()).run();
}

#[test]
#[should_panic(
    expected = "the handler calls queue, of which the test says nothing: add `.queue(…)`"
)]
fn a_test_without_queues_says_what_is_missing() {
    let call = handler!(|| queue("emails").send("").map(|_| String::new()));
    let _ = call.run();
}
