//! Queues of messages: `jiffy::queue`. A function sends to those that its `jiffy.toml` names, of its own tenant.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use jiffy_abi::{
    call::{CONTENT_TYPE_DEFAULT, CallErrorKind, OPERATION_QUEUE_SEND, SERVICE_QUEUE, Sent},
    frame::{Fields, FrameError, Tag},
};
use jiffy_client::{CallContext, CallFuture};
use jiffy_control::{Call, Reply};
use jiffy_queue::{NewMessage, QueueError, QueueId, Queues};

use crate::{
    Capability, Config, Operations, Prepared, Version, net::Net, reply, unknown_operation,
};

#[derive(Debug)]
pub(crate) struct AllQueues {
    queues: Arc<dyn Queues>,
}

/// For one version.
#[derive(Debug)]
pub(crate) struct QueuesOf {
    queues: Arc<dyn Queues>,
    /// By what the function calls them.
    granted: BTreeMap<String, QueueId>,
}

impl Capability for AllQueues {
    const SERVICE: u16 = SERVICE_QUEUE;
    const NAME: &'static str = "queue";
    const OPERATIONS: Operations = &[(OPERATION_QUEUE_SEND, "send")];
    type Prepared = QueuesOf;

    fn configure(config: &Config, _: &Net) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let queues = Arc::clone(&config.queues);
        Ok(Self { queues })
    }

    fn prepare(&self, version: &Version<'_>) -> QueuesOf {
        let tenant = version.function.tenant();
        let queue = |name: &str| (name.to_owned(), QueueId::new(&tenant, name));
        let granted = version.grants.queue.keys();
        QueuesOf {
            queues: Arc::clone(&self.queues),
            granted: granted.map(|name| queue(name.as_ref())).collect(),
        }
    }
}

impl Prepared for QueuesOf {
    fn call(&self, call: Call, _: &CallContext<'_>) -> CallFuture {
        let Some(queue) = self.granted.get(&call.binding) else {
            let message = format!(
                "invalid queue {:?}: must be one that jiffy.toml names, as [queue.NAME]",
                call.binding
            );
            return reply(Reply::error(CallErrorKind::Denied, Sent::No, &message));
        };
        if call.operation != OPERATION_QUEUE_SEND {
            return reply(unknown_operation(AllQueues::NAME, &call));
        }
        let content_type = match content_type(&call.head) {
            Ok(content_type) => content_type.to_owned(),
            Err(error) => {
                let why = error.to_string();
                return reply(Reply::error(CallErrorKind::Invalid, Sent::No, &why));
            }
        };
        let message = NewMessage {
            body: call.body,
            content_type,
        };
        let sending = self.queues.send(queue.clone(), message);
        Box::pin(async {
            match sending.await {
                Ok(id) => Reply::ok(String::from(id).into_bytes()),
                Err(error) => refusal(error),
            }
        })
    }
}

/// What is said of a message; whether that is a content type is the engine's to check.
fn content_type(head: &[u8]) -> Result<&str, FrameError> {
    let mut said = CONTENT_TYPE_DEFAULT;
    for field in Fields::new(head) {
        if let (tag @ Tag::ContentType, value) = field? {
            said = str::from_utf8(value).map_err(|_| FrameError::FieldValue(tag))?;
        }
    }
    Ok(said)
}

fn refusal(error: QueueError) -> Reply {
    let (kind, sent) = match &error {
        QueueError::Invalid(_) => (CallErrorKind::Invalid, Sent::No),
        QueueError::QueueFull { .. } | QueueError::TooManyQueues(_) => {
            (CallErrorKind::Limit, Sent::No)
        }
        QueueError::Busy
        | QueueError::DiskFull
        | QueueError::Storage(_)
        | QueueError::Format { .. } => (CallErrorKind::Failed, Sent::No),
        QueueError::Unknown(_) | QueueError::Stopped => (CallErrorKind::Failed, Sent::Maybe),
    };
    let text = match error {
        // It names files of the host.
        QueueError::Storage(_) | QueueError::Unknown(_) | QueueError::Format { .. } => {
            tracing::warn!(%error, "a call to a queue failed");
            "the host cannot read or write its queues: its log says why".into()
        }
        error => error.to_string(),
    };
    Reply::error(kind, sent, &text)
}

#[cfg(test)]
mod tests;
