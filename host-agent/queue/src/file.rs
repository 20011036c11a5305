//! Queues in one file of this host: each is a store of `jiffy-kv`, and each message an entry that is appended to it.
//!
//! An entry's key is its version, which is the message's id. Versions only grow and are given in the order of commits, over restarts and
//! removals too, and no clock is asked: whoever goes on behind an id finds nothing before it later.

use std::{fmt, future::ready, path::Path};

use jiffy_kv::{Change, Clock, Condition, Kv, ListOptions, Write, Writing};
use jiffy_model::TenantName;

use crate::{
    Changing, InvalidMessageId, Limits, Listed, Message, MessageId, NewMessage, Page, QueueError,
    QueueId, QueueInfo, Queues,
    error::{check_limit, check_message},
};

/// All queues of a host, in a file.
pub struct FileQueues {
    kv: Kv,
    /// For what is told of when a message was sent, and for nothing else.
    clock: Clock,
}

impl fmt::Debug for FileQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileQueues")
            .field("kv", &self.kv)
            .finish_non_exhaustive()
    }
}

impl FileQueues {
    /// Opens the queues in the file `path`, or makes it, with mode 0600. One process at a time can have it.
    pub fn open(path: &Path, limits: Limits, clock: Clock) -> Result<Self, QueueError> {
        Ok(Self::new(
            Kv::open(path, limits.into(), clock.clone())?,
            clock,
        ))
    }

    /// Queues that are in memory and end with this.
    pub fn in_memory(limits: Limits, clock: Clock) -> Result<Self, QueueError> {
        Ok(Self::new(
            Kv::in_memory(limits.into(), clock.clone())?,
            clock,
        ))
    }

    pub(crate) fn new(kv: Kv, clock: Clock) -> Self {
        Self { kv, clock }
    }
}

impl From<Limits> for jiffy_kv::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            store_bytes_max: limits.queue_bytes_max,
            stores_max: limits.queues_max,
        }
    }
}

fn id_of(key: String) -> Result<MessageId, QueueError> {
    MessageId::try_from(key)
        .map_err(|error: InvalidMessageId| QueueError::Storage(error.to_string()))
}

/// What is said of an entry: when it was sent, and its content type.
fn metadata(sent_ms: u64, content_type: &str) -> String {
    format!("{sent_ms} {content_type}")
}

fn said(metadata: &str) -> Result<(u64, String), QueueError> {
    let said = metadata.split_once(' ');
    let said = said.and_then(|(sent_ms, rest)| Some((sent_ms.parse().ok()?, rest.to_owned())));
    said.ok_or_else(|| QueueError::Storage(format!("a message is described by {metadata:?}")))
}

fn existed(writing: Writing) -> Changing<bool> {
    Box::pin(async {
        let written = writing.await?;
        Ok(written.first().is_some_and(|written| written.existed))
    })
}

impl Queues for FileQueues {
    fn send(&self, queue: QueueId, message: NewMessage) -> Changing<MessageId> {
        if let Err(error) = check_message(&message) {
            return Box::pin(ready(Err(error.into())));
        }
        let write = Write {
            key: String::new(),
            condition: Condition::None,
            change: Change::Append {
                value: message.body,
                metadata: metadata((self.clock)(), &message.content_type),
            },
        };
        let writing = self.kv.write(queue.0, vec![write]);
        Box::pin(async {
            let written = writing.await?;
            let none = || QueueError::Storage("a message came to nothing".into());
            let written = written.first().ok_or_else(none)?;
            Ok(MessageId::new(written.version))
        })
    }

    fn list(
        &self,
        queue: &QueueId,
        after: Option<&MessageId>,
        limit: usize,
    ) -> Result<Page, QueueError> {
        check_limit(limit)?;
        let options = ListOptions {
            prefix: "",
            cursor: after.map(MessageId::as_str),
            limit,
        };
        let page = self.kv.list(&queue.0, options)?;
        let messages = page.entries.into_iter().map(|entry| {
            let (sent_ms, content_type) = said(&entry.metadata)?;
            Ok(Listed {
                id: id_of(entry.key)?,
                sent_ms,
                body_bytes: entry.value_bytes,
                content_type,
            })
        });
        Ok(Page {
            messages: messages.collect::<Result<_, QueueError>>()?,
            next: page.next.map(id_of).transpose()?,
        })
    }

    fn get(&self, queue: &QueueId, id: &MessageId) -> Result<Option<Message>, QueueError> {
        let Some(entry) = self.kv.get(&queue.0, id.as_str())? else {
            return Ok(None);
        };
        let (sent_ms, content_type) = said(&entry.metadata)?;
        Ok(Some(Message {
            body: entry.value,
            sent_ms,
            content_type,
        }))
    }

    fn remove(&self, queue: QueueId, id: &MessageId) -> Changing<bool> {
        let write = Write {
            key: id.to_string(),
            condition: Condition::None,
            change: Change::Delete,
        };
        existed(self.kv.write(queue.0, vec![write]))
    }

    fn queues(
        &self,
        tenant: &TenantName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<QueueInfo>, QueueError> {
        check_limit(limit)?;
        let stores = self.kv.stores(tenant, after, limit)?;
        let queues = stores.into_iter().map(|store| QueueInfo {
            name: store.name,
            messages: store.entries,
            bytes: store.bytes,
        });
        Ok(queues.collect())
    }

    fn remove_queue(&self, queue: QueueId) -> Changing<bool> {
        existed(self.kv.remove_store(queue.0))
    }
}
