//! A queue in memory: [`Call::queue`](super::Call::queue).

use alloc::{
    borrow::ToOwned, boxed::Box, collections::BTreeMap, format, rc::Rc, string::String, vec::Vec,
};
use core::cell::RefCell;

use jiffy_abi::{
    call::CONTENT_TYPE_DEFAULT,
    frame::{Fields, Tag},
};
use serde::Deserialize;

use super::encode;
use crate::{
    call::CallError,
    platform::{self, StandIn},
    queue::MessageId,
};

/// A queue that a test gives a handler, and looks into afterwards. A clone is the same queue.
///
/// It keeps the order of messages as a host's does, and none of its limits.
#[derive(Clone, Debug, Default)]
pub struct Queue(Rc<RefCell<Vec<Message>>>);

/// A message that a handler sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The id that the handler got.
    pub id: MessageId,
    /// Its body.
    pub body: Vec<u8>,
    /// Of what type it is.
    pub content_type: String,
}

impl Message {
    /// The body as JSON; it may borrow from it.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

impl From<&Self> for Queue {
    fn from(queue: &Self) -> Self {
        queue.clone()
    }
}

impl Queue {
    /// What was sent so far, oldest first.
    pub fn sent(&self) -> Vec<Message> {
        self.0.borrow().clone()
    }

    /// What a host would do.
    fn send(&self, call: &platform::Call<'_>) -> MessageId {
        let mut messages = self.0.borrow_mut();
        let id = MessageId::new(format!("{:016x}", messages.len() + 1));
        // The last one counts.
        let said = Fields::new(call.fields)
            .flatten()
            .filter_map(|(tag, value)| {
                let text = String::from_utf8_lossy(value).into_owned();
                (tag == Tag::ContentType).then_some(text)
            });
        let content_type = said.last();
        messages.push(Message {
            id: id.clone(),
            body: call.body.clone(),
            content_type: content_type.unwrap_or_else(|| CONTENT_TYPE_DEFAULT.to_owned()),
        });
        id
    }
}

/// What answers for all queues of a test.
pub(super) fn stand_in(queues: BTreeMap<String, Result<Queue, CallError>>) -> StandIn {
    Box::new(move |call| {
        let name = call.binding;
        let Some(queue) = queues.get(name) else {
            let others: Vec<_> = queues.keys().map(String::as_str).collect();
            panic!(
                "the handler sends to the queue {name:?}, of which the test says nothing: add `.queue({name:?}, &queue)`; it has {}",
                others.join(", ")
            )
        };
        match queue {
            Ok(queue) => encode(Ok((Vec::new(), queue.send(call).as_str().as_bytes()))),
            Err(error) => encode(Err(error)),
        }
    })
}
