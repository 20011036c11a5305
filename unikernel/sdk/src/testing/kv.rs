//! A store of keys and values in memory: [`Call::kv`](super::Call::kv).

use alloc::{
    borrow::ToOwned, boxed::Box, collections::BTreeMap, format, rc::Rc, string::String, vec,
    vec::Vec,
};
use core::cell::RefCell;

use jiffy_abi::{
    call::{
        CallErrorKind, OPERATION_KV_BATCH, OPERATION_KV_DELETE, OPERATION_KV_GET,
        OPERATION_KV_LIST, ReplyHead, Sent,
    },
    frame::{Fields, Tag},
    kv::{Items, Written, write_item},
};

use crate::{
    dispatch::put_field,
    platform::{self, Reply, StandIn},
};

const LIST_LEN_DEFAULT: usize = 100;

/// A store that a test gives a handler, and can look into afterwards. A clone is the same store.
///
/// It keeps versions, conditions and times to live as a host's does, and none of its limits.
#[derive(Clone, Debug, Default)]
pub struct Store(Rc<RefCell<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    entries: BTreeMap<String, Stored>,
    last: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    value: Vec<u8>,
    version: u64,
    metadata: Vec<u8>,
    expires_ms: Option<u64>,
}

impl<K: Into<String>, V: Into<Vec<u8>>, const N: usize> From<[(K, V); N]> for Store {
    fn from(entries: [(K, V); N]) -> Self {
        let store = Self::default();
        for (key, value) in entries {
            store.put(&key.into(), value);
        }
        store
    }
}

impl From<&Self> for Store {
    fn from(store: &Self) -> Self {
        store.clone()
    }
}

impl Store {
    /// What is under a key; also what has expired at the time of no call in particular.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let state = self.0.borrow();
        state.entries.get(key).map(|stored| stored.value.clone())
    }

    /// Puts a value under a key.
    pub fn put(&self, key: &str, value: impl Into<Vec<u8>>) {
        let mut state = self.0.borrow_mut();
        state.last += 1;
        let stored = Stored {
            value: value.into(),
            version: state.last,
            metadata: Vec::new(),
            expires_ms: None,
        };
        state.entries.insert(key.to_owned(), stored);
    }

    /// Its keys.
    pub fn keys(&self) -> Vec<String> {
        self.0.borrow().entries.keys().cloned().collect()
    }

    /// What a host would reply.
    fn reply(&self, call: &platform::Call<'_>) -> Reply {
        let now_ms = platform::wall_ns() / 1_000_000;
        let mut state = self.0.borrow_mut();
        state.entries.retain(|_, stored| {
            stored
                .expires_ms
                .is_none_or(|expires_ms| now_ms < expires_ms)
        });
        match call.operation {
            OPERATION_KV_GET => state.get(call.fields),
            OPERATION_KV_LIST => state.list(call.fields),
            OPERATION_KV_BATCH => {
                let items: Result<Vec<_>, _> = Items::new(&call.body).collect();
                state.write(&items.expect("the SDK made them"), now_ms)
            }
            operation => {
                let mut head = Vec::new();
                put(&mut head, Tag::Operation, &operation.to_le_bytes());
                head.extend_from_slice(call.fields);
                state.write(&[(&head, &call.body)], now_ms)
            }
        }
    }
}

/// What answers for all stores of a test.
pub(super) fn stand_in(stores: BTreeMap<String, Store>) -> StandIn {
    Box::new(move |call| {
        let name = call.binding;
        let Some(store) = stores.get(name) else {
            let others: Vec<_> = stores.keys().map(String::as_str).collect();
            panic!(
                "the handler opens the store {name:?}, of which the test says nothing: add `.kv({name:?}, […])`; it has {}",
                others.join(", ")
            )
        };
        store.reply(call)
    })
}

fn find(head: &[u8], wanted: Tag) -> Option<&[u8]> {
    let mut fields = Fields::new(head).flatten();
    fields.find_map(|(tag, value)| (tag == wanted).then_some(value))
}

fn text(head: &[u8], wanted: Tag) -> String {
    String::from_utf8_lossy(find(head, wanted).unwrap_or_default()).into_owned()
}

fn number(head: &[u8], wanted: Tag) -> Option<u64> {
    let mut bytes = [0; 8];
    let found = find(head, wanted)?;
    bytes[..found.len()].copy_from_slice(found);
    Some(u64::from_le_bytes(bytes))
}

#[track_caller]
fn put(head: &mut Vec<u8>, tag: Tag, value: &[u8]) {
    if let Err(error) = put_field(head, tag, value) {
        panic!("{error}");
    }
}

fn reply(error: Option<CallErrorKind>, fields: &[u8], body: &[u8]) -> Reply {
    let mut payload = Vec::new();
    let sent = match error {
        Some(_) => Sent::No,
        None => Sent::Yes,
    };
    let written = ReplyHead::write(0, error, sent, |piece| payload.extend_from_slice(piece));
    if let Err(error) = written {
        panic!("{error}");
    }
    payload.extend_from_slice(fields);
    let head_bytes = payload.len();
    payload.extend_from_slice(body);
    Reply {
        head_bytes,
        payload,
    }
}

impl Stored {
    fn fields(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        put(&mut fields, Tag::EntryVersion, &self.version.to_le_bytes());
        put(&mut fields, Tag::Metadata, &self.metadata);
        if let Some(expires_ms) = self.expires_ms {
            put(&mut fields, Tag::ExpiresMs, &expires_ms.to_le_bytes());
        }
        fields
    }
}

impl State {
    fn get(&self, fields: &[u8]) -> Reply {
        match self.entries.get(&text(fields, Tag::Key)) {
            Some(stored) => reply(None, &stored.fields(), &stored.value),
            None => reply(None, &[], &[]),
        }
    }

    fn list(&self, fields: &[u8]) -> Reply {
        let (prefix, cursor) = (text(fields, Tag::Prefix), text(fields, Tag::Cursor));
        let limit = number(fields, Tag::Count).and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(LIST_LEN_DEFAULT);
        let is_there =
            |key: &String| key.starts_with(&prefix) && (cursor.is_empty() || *key > cursor);
        let mut found = self.entries.iter().filter(|(key, _)| is_there(key));
        let (mut body, mut last) = (Vec::new(), None);
        for (key, stored) in found.by_ref().take(limit) {
            let mut head = stored.fields();
            put(&mut head, Tag::Key, key.as_bytes());
            let value_bytes = u32::try_from(stored.value.len()).unwrap_or(u32::MAX);
            put(&mut head, Tag::ValueBytes, &value_bytes.to_le_bytes());
            if let Err(error) = write_item(&head, &[], |piece| body.extend_from_slice(piece)) {
                panic!("{error}");
            }
            last = Some(key);
        }
        let mut fields = Vec::new();
        if let (Some(last), Some(_)) = (last, found.next()) {
            put(&mut fields, Tag::Cursor, last.as_bytes());
        }
        reply(None, &fields, &body)
    }

    fn write(&mut self, items: &[(&[u8], &[u8])], now_ms: u64) -> Reply {
        for (head, _) in items {
            let key = text(head, Tag::Key);
            let version = self.entries.get(&key).map(|stored| stored.version);
            let holds = number(head, Tag::IfVersion).is_none_or(|wanted| version == Some(wanted))
                && number(head, Tag::IfPresent)
                    .is_none_or(|wanted| version.is_some() == (wanted == 1));
            if !holds {
                let found = match version {
                    Some(version) => format!("has version {version}"),
                    None => "is not there".to_owned(),
                };
                let why = format!("the entry {key:?} {found}, which is not what it must be");
                return reply(Some(CallErrorKind::Conflict), &[], why.as_bytes());
            }
        }
        let mut body = vec![];
        for (head, value) in items {
            self.last += 1;
            let version = self.last;
            let key = text(head, Tag::Key);
            let is_delete = number(head, Tag::Operation) == Some(OPERATION_KV_DELETE.into());
            let existed = match is_delete {
                true => self.entries.remove(&key).is_some(),
                false => {
                    let ttl_ms = number(head, Tag::TtlMs);
                    let stored = Stored {
                        value: value.to_vec(),
                        version,
                        metadata: find(head, Tag::Metadata).unwrap_or_default().to_vec(),
                        expires_ms: ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms)),
                    };
                    self.entries.insert(key, stored).is_some()
                }
            };
            body.extend_from_slice(&Written { version, existed }.to_bytes());
        }
        reply(None, &[], &body)
    }
}
