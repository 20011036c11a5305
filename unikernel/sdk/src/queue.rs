//! Queues of messages that outlive a request, in the host.
//!
//! A queue belongs to the owner of the function, and all of the owner's functions whose `jiffy.toml` names it send to the same:
//!
//! ```toml
//! [queue.emails]
//! ```
//!
//! ```
//! #[derive(serde::Serialize, serde::Deserialize)]
//! pub struct Mail {
//!     to: String,
//! }
//!
//! #[jiffy::function]
//! pub fn sign_up(user: String) -> Result<jiffy::queue::MessageId, jiffy::call::CallError> {
//!     jiffy::queue("emails").send(&Mail { to: user })
//! }
//!
//! # fn main() {
//! use jiffy::testing::Queue;
//!
//! let emails = Queue::default();
//! let call = jiffy::testing::call!().queue("emails", &emails).event(r#""ada@example.com""#);
//! call.run().ok();
//! let sent = emails.sent();
//! assert_eq!(sent.len(), 1);
//! assert_eq!(sent[0].json::<Mail>().unwrap().to, "ada@example.com");
//! # }
//! ```
//!
//! A message is durable when its id is there. Messages have the order in which they were sent and are kept until they are removed,
//! by the owner: a function sends, and no function is woken by what it sends. A message has at most 256 KiB; a queue has the budget
//! that its host gives it, beyond which sending is refused ([`Limit`](crate::call::CallErrorKind::Limit)).

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use jiffy_abi::{
    call::{OPERATION_QUEUE_SEND, ReplyHead, SERVICE_QUEUE},
    frame::Tag,
};
use serde::{Deserialize, Serialize};

use crate::call::{Call, CallError, checked_name};

const JSON: &str = "application/json";

/// A queue by its name. Nothing is asked yet: whether there can be one of this name, and whether the function may send to it, the
/// first message says.
pub fn queue(name: &str) -> Queue {
    let name = checked_name("queue", name);
    Queue { name }
}

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Or why no queue can have it.
    name: Result<String, CallError>,
}

/// The id of a message, unique on its host. Those of one queue sort as the messages were sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(String);

impl MessageId {
    #[cfg(not(jiffy_guest))]
    pub(crate) const fn new(text: String) -> Self {
        Self(text)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Queue {
    /// Sends a message as JSON and waits until it is durable.
    pub fn send(&self, message: &(impl Serialize + ?Sized)) -> Result<MessageId, CallError> {
        self.send_call(message).send()
    }

    /// The same as a call, to be joined with others.
    pub fn send_call(&self, message: &(impl Serialize + ?Sized)) -> Call<MessageId> {
        match serde_json::to_vec(message) {
            Ok(body) => self.call(body).content_type(JSON),
            Err(error) => self.call(Vec::new()).refused(&error.to_string()),
        }
    }

    /// Sends a message of bytes and waits until it is durable.
    pub fn send_bytes(&self, body: impl Into<Vec<u8>>) -> Result<MessageId, CallError> {
        self.send_bytes_call(body).send()
    }

    /// The same as a call, to be joined with others, or to say of what type the bytes are.
    pub fn send_bytes_call(&self, body: impl Into<Vec<u8>>) -> Call<MessageId> {
        self.call(body.into())
    }

    fn call(&self, body: Vec<u8>) -> Call<MessageId> {
        let call = Call::new(SERVICE_QUEUE, OPERATION_QUEUE_SEND, id).carrying(body);
        match &self.name {
            Ok(name) => call.bound(name),
            Err(error) => call.refused(&error.to_string()),
        }
    }
}

/// A message to be sent.
impl Call<MessageId> {
    /// Of what type it is: up to 255 characters of printable ASCII. Otherwise `application/json`, or of bytes
    /// `application/octet-stream`.
    pub fn content_type(self, content_type: &str) -> Self {
        self.field(Tag::ContentType, content_type.as_bytes())
    }
}

fn id(_: &ReplyHead<'_>, _: &[u8], body: &[u8]) -> Option<MessageId> {
    let id = str::from_utf8(body).ok()?;
    (!id.is_empty()).then(|| MessageId(id.to_owned()))
}

#[cfg(all(test, not(jiffy_guest)))]
mod tests;
