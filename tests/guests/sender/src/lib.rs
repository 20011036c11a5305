//! Sends messages to a queue, all of them at once, as its event says, and answers their ids.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use jiffy::{call::CallError, queue::MessageId};

/// What to send.
#[derive(serde::Deserialize)]
pub struct Wanted {
    queue: String,
    /// Each is a message, as JSON.
    #[serde(default)]
    texts: Vec<String>,
    /// A message of so many bytes, if there is to be one.
    bytes: Option<usize>,
}

/// Sends.
#[jiffy::function]
pub fn send(wanted: Wanted) -> Result<Vec<MessageId>, CallError> {
    let queue = jiffy::queue(&wanted.queue);
    let texts = wanted.texts.iter().map(|text| queue.send_call(text));
    let bytes = wanted.bytes.map(|bytes| {
        let body = alloc::vec![0xff; bytes];
        queue.send_bytes_call(body).content_type("image/png")
    });
    jiffy::join(texts.chain(bytes).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use jiffy::testing::Queue;

    #[test]
    fn what_the_event_says_is_sent() {
        let emails = Queue::default();
        let call = jiffy::testing::call!().queue("emails", &emails);
        let event = r#"{ "queue": "emails", "texts": ["a", "b"], "bytes": 1 }"#;
        let ids = call.event(event).run().text();
        assert_eq!(ids.matches('"').count(), 6, "{ids}");
        let sent = emails.sent();
        let bodies: Vec<_> = sent.iter().map(|message| &*message.body).collect();
        assert_eq!(bodies, [&b"\"a\""[..], b"\"b\"", b"\xff"]);
        assert_eq!(sent[2].content_type, "image/png");
    }
}
