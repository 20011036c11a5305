//! Queues in one file of this host: each is a store of `jiffy-kv`, and each message an entry of it, whose key is its id.

use std::{
    fmt,
    future::ready,
    path::Path,
    sync::{Mutex, PoisonError},
};

use jiffy_kv::{Change, Clock, Condition, Entry, Kv, ListOptions, Write, Writing};
use jiffy_model::TenantName;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::{
    Changing, InvalidMessageId, Limits, Listed, Message, MessageId, NewMessage, Page, QueueError,
    QueueId, QueueInfo, Queues,
    error::{check_limit, check_message},
};

/// All queues of a host, in a file.
pub struct FileQueues {
    kv: Kv,
    clock: Clock,
    /// When the last message was sent, microseconds since 1970. Held until a message is in line to be written: messages are
    /// durable in the order of their ids, so that nobody who has seen one finds another before it later.
    last_us: Mutex<u64>,
    /// Of this run of the program, at random: an id of an earlier run, whose message is gone, is not given again.
    run: u32,
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
        Self::new(Kv::open(path, limits.into(), clock.clone())?, clock)
    }

    /// Queues that are in memory and end with this.
    pub fn in_memory(limits: Limits, clock: Clock) -> Result<Self, QueueError> {
        Self::new(Kv::in_memory(limits.into(), clock.clone())?, clock)
    }

    pub(crate) fn new(kv: Kv, clock: Clock) -> Result<Self, QueueError> {
        // A clock that was put back while nothing ran changes no order.
        let last = kv.largest_key()?.map(id_of).transpose()?;
        let mut run = [0; 4];
        getrandom(&mut run, GetRandomFlags::empty())
            .map_err(|error| QueueError::Storage(format!("no random number: {error}")))?;
        Ok(Self {
            kv,
            clock,
            last_us: Mutex::new(last.map_or(0, |last| last.sent_us())),
            run: u32::from_le_bytes(run),
        })
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
        let change = Change::Put {
            value: message.body,
            metadata: message.content_type,
            ttl: None,
        };
        let mut last_us = self.last_us.lock().unwrap_or_else(PoisonError::into_inner);
        let now_us = (self.clock)().saturating_mul(1000);
        *last_us = now_us.max(last_us.saturating_add(1));
        let id = MessageId::new(*last_us, self.run);
        let write = Write {
            key: id.to_string(),
            condition: Condition::Absent,
            change,
        };
        let writing = self.kv.write(queue.0, vec![write]);
        drop(last_us);
        Box::pin(async {
            writing.await?;
            Ok(id)
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
            Ok(Listed {
                id: id_of(entry.key)?,
                body_bytes: entry.value_bytes,
                content_type: entry.metadata,
            })
        });
        Ok(Page {
            messages: messages.collect::<Result<_, QueueError>>()?,
            next: page.next.map(id_of).transpose()?,
        })
    }

    fn get(&self, queue: &QueueId, id: &MessageId) -> Result<Option<Message>, QueueError> {
        let entry = self.kv.get(&queue.0, id.as_str())?;
        let message = |entry: Entry| Message {
            body: entry.value,
            content_type: entry.metadata,
        };
        Ok(entry.map(message))
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
