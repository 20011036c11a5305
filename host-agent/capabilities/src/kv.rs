//! Stores of keys and values: `jiffy::kv`. A function has those that its `jiffy.toml` names, of its own tenant.
//!
//! A read is made on a thread that may wait for the disk (`reads`), a write by the one that writes.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use jiffy_abi::{
    call::{
        CallErrorKind, OPERATION_KV_BATCH, OPERATION_KV_DELETE, OPERATION_KV_GET,
        OPERATION_KV_LIST, OPERATION_KV_PUT, SERVICE_KV, Sent,
    },
    frame::{Fields, FrameError, Tag, write_field},
    kv::{Items, Written, write_item},
};
use jiffy_client::{CallContext, CallFuture};
use jiffy_control::{Call, Reply};
use jiffy_kv::{
    BATCH_MAX, Change, Condition, Entry, Kv, KvError, ListOptions, Page, StoreId, Write,
};

use crate::{
    Capability, Config, Operations, Prepared, Version, net::Net, reads::Reads, reply,
    unknown_operation,
};

/// Entries of a part of a list, if the function does not say.
const LIST_LEN_DEFAULT: u32 = 100;

#[derive(Debug)]
pub(crate) struct Stores {
    kv: Arc<Kv>,
    reads: Reads,
}

/// For one version.
#[derive(Debug)]
pub(crate) struct StoresOf {
    kv: Arc<Kv>,
    reads: Reads,
    /// By what the function calls them.
    stores: BTreeMap<String, StoreId>,
}

/// Why a call is not made.
enum Refusal {
    Malformed(FrameError),
    Invalid(String),
    Kv(KvError),
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        Self::Malformed(error)
    }
}

impl From<KvError> for Refusal {
    fn from(error: KvError) -> Self {
        Self::Kv(error)
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let invalid = |why: &str| Self::error(CallErrorKind::Invalid, Sent::No, why);
        match refusal {
            Refusal::Malformed(error) => invalid(&error.to_string()),
            Refusal::Invalid(why) => invalid(&why),
            Refusal::Kv(error) => {
                let (kind, sent) = match &error {
                    KvError::Invalid(_) => (CallErrorKind::Invalid, Sent::No),
                    KvError::Conflict { .. } => (CallErrorKind::Conflict, Sent::No),
                    KvError::StoreFull { .. } | KvError::TooManyStores(_) => {
                        (CallErrorKind::Limit, Sent::No)
                    }
                    KvError::Busy
                    | KvError::DiskFull
                    | KvError::Storage(_)
                    | KvError::Format { .. } => (CallErrorKind::Failed, Sent::No),
                    KvError::Unknown(_) | KvError::Stopped => (CallErrorKind::Failed, Sent::Maybe),
                };
                let text = match error {
                    // It names files of the host.
                    KvError::Storage(_) | KvError::Unknown(_) | KvError::Format { .. } => {
                        tracing::warn!(%error, "a call to a store failed");
                        "the host cannot read or write its stores: its log says why".into()
                    }
                    error => error.to_string(),
                };
                Self::error(kind, sent, &text)
            }
        }
    }
}

impl Capability for Stores {
    const SERVICE: u16 = SERVICE_KV;
    const NAME: &'static str = "kv";
    const OPERATIONS: Operations = &[
        (OPERATION_KV_GET, "get"),
        (OPERATION_KV_PUT, "put"),
        (OPERATION_KV_DELETE, "delete"),
        (OPERATION_KV_LIST, "list"),
        (OPERATION_KV_BATCH, "batch"),
    ];
    type Prepared = StoresOf;

    fn configure(config: &Config, _: &Net) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let kv = Arc::clone(&config.kv);
        let reads = Reads::default();
        Ok(Self { kv, reads })
    }

    fn prepare(&self, version: &Version<'_>) -> StoresOf {
        let tenant = version.function.tenant();
        let store = |name: &str| (name.to_owned(), StoreId::new(&tenant, name));
        StoresOf {
            kv: Arc::clone(&self.kv),
            reads: self.reads.clone(),
            stores: version
                .grants
                .kv
                .keys()
                .map(|name| store(name.as_ref()))
                .collect(),
        }
    }
}

impl Prepared for StoresOf {
    fn call(&self, call: Call, _: &CallContext<'_>) -> CallFuture {
        let Some(store) = self.stores.get(&call.binding) else {
            let message = format!(
                "invalid store {:?}: must be one that jiffy.toml names, as [kv.NAME]",
                call.binding
            );
            return reply(Reply::error(CallErrorKind::Denied, Sent::No, &message));
        };
        let writes = match call.operation {
            OPERATION_KV_GET => return self.read(store, call, get),
            OPERATION_KV_LIST => return self.read(store, call, list),
            OPERATION_KV_PUT | OPERATION_KV_DELETE => {
                change(call.operation, &call.head, call.body).map(|write| vec![write])
            }
            OPERATION_KV_BATCH => batch(&call.body),
            _ => return reply(unknown_operation(Stores::NAME, &call)),
        };
        match writes {
            Ok(writes) => {
                let writing = self.kv.write(store.clone(), writes);
                Box::pin(async { written(writing.await).unwrap_or_else(Reply::from) })
            }
            Err(refusal) => reply(refusal.into()),
        }
    }
}

fn written(result: Result<Vec<jiffy_kv::Written>, KvError>) -> Result<Reply, Refusal> {
    let written = result?.into_iter().map(|written| Written {
        version: written.version,
        existed: written.existed,
    });
    Ok(Reply::ok(written.flat_map(Written::to_bytes).collect()))
}

impl StoresOf {
    fn read(&self, store: &StoreId, call: Call, read: Read) -> CallFuture {
        let (kv, store) = (Arc::clone(&self.kv), store.clone());
        self.reads
            .read(move || read(&kv, &store, &call.head).unwrap_or_else(Reply::from))
    }
}

type Read = fn(&Kv, &StoreId, &[u8]) -> Result<Reply, Refusal>;

fn get(kv: &Kv, store: &StoreId, head: &[u8]) -> Result<Reply, Refusal> {
    let key = Said::read(head)?.key;
    let Some(entry) = kv.get(store, key)? else {
        return Ok(Reply::ok(vec![]));
    };
    let Entry {
        version,
        value,
        metadata,
        expires_ms,
    } = entry;
    let fields = fields(version, &metadata, expires_ms)?;
    Ok(Reply {
        fields,
        ..Reply::ok(value)
    })
}

fn list(kv: &Kv, store: &StoreId, head: &[u8]) -> Result<Reply, Refusal> {
    let said = Said::read(head)?;
    let limit = said.count.unwrap_or(LIST_LEN_DEFAULT);
    let options = ListOptions {
        prefix: said.prefix,
        cursor: said.cursor,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let Page { entries, next } = kv.list(store, options)?;
    let mut body = vec![];
    for entry in entries {
        let mut head = fields(entry.version, &entry.metadata, entry.expires_ms)?;
        let mut put = |piece: &[u8]| head.extend_from_slice(piece);
        write_field(Tag::Key, entry.key.as_bytes(), &mut put)?;
        write_field(Tag::ValueBytes, &entry.value_bytes.to_le_bytes(), &mut put)?;
        write_item(&head, &[], |piece| body.extend_from_slice(piece))?;
    }
    let reply = Reply::ok(body);
    Ok(match next {
        Some(next) => reply.field(Tag::Cursor, next.as_bytes())?,
        None => reply,
    })
}

fn fields(version: u64, metadata: &str, expires_ms: Option<u64>) -> Result<Vec<u8>, FrameError> {
    let mut fields = vec![];
    let mut put = |piece: &[u8]| fields.extend_from_slice(piece);
    write_field(Tag::EntryVersion, &version.to_le_bytes(), &mut put)?;
    if !metadata.is_empty() {
        write_field(Tag::Metadata, metadata.as_bytes(), &mut put)?;
    }
    if let Some(expires_ms) = expires_ms {
        write_field(Tag::ExpiresMs, &expires_ms.to_le_bytes(), &mut put)?;
    }
    Ok(fields)
}

fn batch(body: &[u8]) -> Result<Vec<Write>, Refusal> {
    // One more than there may be is refused as what it is; the rest of a million is not even read.
    let items = Items::new(body).take(BATCH_MAX + 1).map(|item| {
        let (head, value) = item?;
        let operation = Said::read(head)?.operation;
        change(operation, head, value.to_vec())
    });
    items.collect()
}

fn change(operation: u16, head: &[u8], value: Vec<u8>) -> Result<Write, Refusal> {
    let said = Said::read(head)?;
    let condition = match (said.if_version, said.if_present) {
        (None, None) => Condition::None,
        (None, Some(false)) => Condition::Absent,
        (None, Some(true)) => Condition::Present,
        (Some(version), None | Some(true)) => Condition::Version(version),
        (Some(_), Some(false)) => {
            let why = "invalid conditions: an entry that must not be there has no version";
            return Err(Refusal::Invalid(why.into()));
        }
    };
    let change = match operation {
        OPERATION_KV_PUT => Change::Put {
            value,
            metadata: said.metadata.into(),
            ttl: said.ttl,
        },
        OPERATION_KV_DELETE
            if !value.is_empty() || said.ttl.is_some() || !said.metadata.is_empty() =>
        {
            let why = "invalid deletion: must have no value, no metadata and no time to live";
            return Err(Refusal::Invalid(why.into()));
        }
        OPERATION_KV_DELETE => Change::Delete,
        _ => {
            let why = format!("invalid operation {operation} in a batch: must be put or delete");
            return Err(Refusal::Invalid(why));
        }
    };
    Ok(Write {
        key: said.key.into(),
        condition,
        change,
    })
}

/// What the head of a call says; keys and metadata are the engine's to check.
#[derive(Debug, Default)]
struct Said<'a> {
    operation: u16,
    key: &'a str,
    metadata: &'a str,
    ttl: Option<Duration>,
    if_version: Option<u64>,
    if_present: Option<bool>,
    prefix: &'a str,
    cursor: Option<&'a str>,
    count: Option<u32>,
}

impl<'a> Said<'a> {
    fn read(head: &'a [u8]) -> Result<Self, FrameError> {
        let mut said = Self::default();
        for field in Fields::new(head) {
            let (tag, value) = field?;
            let text = || str::from_utf8(value).map_err(|_| FrameError::FieldValue(tag));
            let number = || {
                let bytes = value.try_into().map_err(|_| FrameError::FieldValue(tag));
                bytes.map(u64::from_le_bytes)
            };
            match tag {
                Tag::Operation => {
                    let bytes = value.try_into().map_err(|_| FrameError::FieldValue(tag));
                    said.operation = u16::from_le_bytes(bytes?);
                }
                Tag::Key => said.key = text()?,
                Tag::Metadata => said.metadata = text()?,
                Tag::Prefix => said.prefix = text()?,
                Tag::Cursor => said.cursor = Some(text()?),
                Tag::TtlMs => said.ttl = Some(Duration::from_millis(number()?)),
                Tag::IfVersion => said.if_version = Some(number()?),
                Tag::IfPresent => {
                    said.if_present = Some(match value {
                        [0] => false,
                        [1] => true,
                        _ => return Err(FrameError::FieldValue(tag)),
                    });
                }
                Tag::Count => {
                    let bytes = value.try_into().map_err(|_| FrameError::FieldValue(tag));
                    said.count = Some(u32::from_le_bytes(bytes?));
                }
                _ => {}
            }
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests;
