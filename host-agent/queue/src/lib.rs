//! Queues of messages: durable before they are acknowledged, in the order in which they were sent, kept until they are removed.
//!
//! [`Queues`] is what a queue is to all who send, look and remove; [`FileQueues`] keeps them in one file of this host.
//!
//! ```text
//! send ──▶ jiffy-kv: appended, one commit for all that wait ──▶ the id, which is larger than all before it
//! list, get ──▶ what was acknowledged, oldest first        remove, remove_queue ──▶ as send
//! ```
//!
//! Not here: who may send to which queue (`jiffy-capabilities`), HTTP (the agent); nothing takes messages out by itself.
#![forbid(unsafe_code)]

mod error;
mod file;
mod id;

use std::{fmt, pin::Pin};

use jiffy_kv::StoreId;
use jiffy_model::TenantName;

pub use self::{
    error::{QueueError, Unfit},
    file::FileQueues,
    id::{InvalidMessageId, MessageId},
};

/// Bytes of a message.
pub const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// Characters of a message's content type.
pub const CONTENT_TYPE_CHARS_MAX: usize = 255;
/// Messages of one page of a list.
pub const PAGE_MAX: usize = jiffy_kv::PAGE_MAX;
/// What a message counts for its queue beside its body and its content type, bytes.
pub const MESSAGE_OVERHEAD_BYTES: u64 =
    jiffy_kv::VERSION_KEY_CHARS as u64 + SENT_CHARS + jiffy_kv::ENTRY_OVERHEAD_BYTES;
/// Of when it was sent, until the year 2286.
const SENT_CHARS: u64 = 14;

/// What queues may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one queue: bodies, content types, and [`MESSAGE_OVERHEAD_BYTES`] for each message.
    pub queue_bytes_max: u64,
    /// Queues of all tenants.
    pub queues_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_bytes_max: 1 << 30,
            queues_max: 10_000,
        }
    }
}

/// A queue of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(StoreId);

impl QueueId {
    /// The queue `name` of `tenant`, whose own name has no slash.
    pub fn new(tenant: &TenantName, name: &str) -> Self {
        Self(StoreId::new(tenant, name))
    }
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Its body.
    pub body: Vec<u8>,
    /// Of what type that is: printable ASCII.
    pub content_type: String,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its body.
    pub body: Vec<u8>,
    /// When it was sent by the host's clock, milliseconds since 1970.
    pub sent_ms: u64,
    /// Of what type its sender said that it is.
    pub content_type: String,
}

/// A message in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: MessageId,
    /// When it was sent by the host's clock, milliseconds since 1970.
    pub sent_ms: u64,
    /// Bytes of its body.
    pub body_bytes: u32,
    /// Of what type its sender said that it is.
    pub content_type: String,
}

/// A part of a queue, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub messages: Vec<Listed>,
    /// Behind which message the next part begins, if there may be one.
    pub next: Option<MessageId>,
}

/// A queue, as a list of them has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueInfo {
    /// What its tenant calls it.
    pub name: String,
    /// Its messages.
    pub messages: u64,
    /// What they count, bytes.
    pub bytes: u64,
}

/// A change that is under way. If this is dropped before its turn comes, it is not made; once it is in a commit, it is.
pub type Changing<T> = Pin<Box<dyn Future<Output = Result<T, QueueError>> + Send>>;

/// What keeps messages. Those of one queue have the order in which they were sent, and whoever looks at one part after the
/// other misses none that comes meanwhile.
pub trait Queues: fmt::Debug + Send + Sync + 'static {
    /// Puts a message behind all others of a queue, which it makes if there is none. When it is acknowledged it is durable.
    fn send(&self, queue: QueueId, message: NewMessage) -> Changing<MessageId>;

    /// The oldest messages of a queue, behind `after`, at most `limit`, up to [`PAGE_MAX`]. May wait for the disk.
    fn list(
        &self,
        queue: &QueueId,
        after: Option<&MessageId>,
        limit: usize,
    ) -> Result<Page, QueueError>;

    /// A message, if it is there. May wait for the disk.
    fn get(&self, queue: &QueueId, id: &MessageId) -> Result<Option<Message>, QueueError>;

    /// Removes a message: whether it was there.
    fn remove(&self, queue: QueueId, id: &MessageId) -> Changing<bool>;

    /// The queues of `tenant`, by name, at most `limit` of them behind `after`. May wait for the disk.
    fn queues(
        &self,
        tenant: &TenantName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<QueueInfo>, QueueError>;

    /// Removes a queue with all that is in it: whether it was there.
    fn remove_queue(&self, queue: QueueId) -> Changing<bool>;
}

#[cfg(test)]
mod tests;
