//! Stores of keys and values that outlive a request, in the host.
//!
//! A store belongs to the owner of the function and is shared by all of the owner's functions whose `jiffy.toml` names it:
//!
//! ```toml
//! [kv.visits]
//! ```
//!
//! ```
//! use core::time::Duration;
//!
//! #[jiffy::function]
//! pub fn visit(who: &str) -> Result<u32, jiffy::Error> {
//!     let visits = jiffy::kv::open("visits")?;
//!     loop {
//!         let entry = visits.get(who).send()?;
//!         let count: u32 = match &entry {
//!             Some(entry) => entry.json()?,
//!             None => 0,
//!         };
//!         let put = visits.put_json(who, &(count + 1)).ttl(Duration::from_secs(3600));
//!         let put = match &entry {
//!             Some(entry) => put.if_version(entry.version),
//!             None => put.if_absent(),
//!         };
//!         match put.send() {
//!             Ok(_) => return Ok(count + 1),
//!             Err(error) if error.is_conflict() => continue, // Somebody else was quicker.
//!             Err(error) => return Err(error.into()),
//!         }
//!     }
//! }
//!
//! # fn main() {
//! use jiffy::testing::Store;
//!
//! let visits = Store::from([("ada", "41")]);
//! let call = jiffy::testing::call!().kv("visits", &visits).event(r#""ada""#);
//! assert_eq!(call.run().text(), "42");
//! assert_eq!(visits.get("ada").as_deref(), Some(&b"42"[..]));
//! # }
//! ```
//!
//! What a call changes is durable when its result is there, and whoever reads afterwards sees it. An entry has a version, which
//! only grows and is never given again: with `if_version` a change is made only if nobody was quicker, and is a
//! [`Conflict`](CallErrorKind::Conflict) otherwise. A key has 1 to 512 bytes, a value 1 MiB, metadata 1 KiB of printable ASCII, a
//! batch 128 changes, a part of a list 1,000 entries; a store has the budget that its host gives it.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

pub use jiffy_abi::kv::Written;
use jiffy_abi::{
    call::{
        OPERATION_KV_BATCH, OPERATION_KV_DELETE, OPERATION_KV_GET, OPERATION_KV_LIST,
        OPERATION_KV_PUT, ReplyHead, SERVICE_KV,
    },
    frame::{Fields, Tag},
    kv::{Items, write_item},
};
use serde::{Deserialize, Serialize};

use crate::{
    call::{Call, CallError, CallErrorKind, Join, Pending, Sent, checked_name},
    dispatch::put_field,
};

/// Opens a store by its name. Nothing is asked yet: whether the function may use it, the first call says.
pub fn open(name: &str) -> Result<Store, CallError> {
    let name = checked_name("store", name)?;
    Ok(Store { name })
}

/// A store.
#[derive(Clone, Debug)]
pub struct Store {
    name: String,
}

/// What is under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// Its version.
    pub version: u64,
    /// What was said of it; often empty.
    pub metadata: String,
    /// When it expires, milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

impl Entry {
    /// The value as JSON; it may borrow from it.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.value)
    }
}

/// An entry in a list, without its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// Its version.
    pub version: u64,
    /// Bytes of its value.
    pub value_bytes: u32,
    /// What was said of it; often empty.
    pub metadata: String,
    /// When it expires, milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

/// A part of a list, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Listed>,
    /// What [`cursor`](Call::cursor) has to be for the next part. A part may be short, or empty, and not the last.
    pub next: Option<String>,
}

impl Store {
    /// What is under a key, if there is something.
    pub fn get(&self, key: &str) -> Call<Option<Entry>> {
        Call::new(SERVICE_KV, OPERATION_KV_GET, entry)
            .bound(&self.name)
            .field(Tag::Key, key.as_bytes())
    }

    /// Puts a value under a key, in the place of what is there.
    pub fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> Call<Written> {
        Call::new(SERVICE_KV, OPERATION_KV_PUT, written)
            .bound(&self.name)
            .field(Tag::Key, key.as_bytes())
            .carrying(value.into())
    }

    /// The same with a value as JSON.
    pub fn put_json(&self, key: &str, value: &impl Serialize) -> Call<Written> {
        match serde_json::to_vec(value) {
            Ok(value) => self.put(key, value),
            Err(error) => self.put(key, Vec::new()).refused(&error.to_string()),
        }
    }

    /// Removes what is under a key, if there is something.
    pub fn delete(&self, key: &str) -> Call<Written> {
        Call::new(SERVICE_KV, OPERATION_KV_DELETE, written)
            .bound(&self.name)
            .field(Tag::Key, key.as_bytes())
    }

    /// Lists entries by key: the first part of all, unless more is said.
    pub fn list(&self) -> Call<Page> {
        Call::new(SERVICE_KV, OPERATION_KV_LIST, page).bound(&self.name)
    }

    /// Makes several changes of this store, all or none: add them with [`Batch::then`].
    pub fn batch(&self) -> Batch {
        Batch {
            call: Call::new(SERVICE_KV, OPERATION_KV_BATCH, all_written).bound(&self.name),
            items: Vec::new(),
        }
    }
}

/// A change of a store.
impl Call<Written> {
    /// Only if there is an entry of this version.
    pub fn if_version(self, version: u64) -> Self {
        self.field(Tag::IfVersion, &version.to_le_bytes())
    }

    /// Only if there is no entry.
    pub fn if_absent(self) -> Self {
        self.field(Tag::IfPresent, &[0])
    }

    /// Only if there is an entry.
    pub fn if_present(self) -> Self {
        self.field(Tag::IfPresent, &[1])
    }

    /// Has what is put expire after this time; otherwise it never does.
    pub fn ttl(self, ttl: Duration) -> Self {
        // Rounded up, so that some time is not none.
        let ttl_ms = u64::try_from(ttl.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
        self.field(Tag::TtlMs, &ttl_ms.to_le_bytes())
    }

    /// What is said of what is put: printable ASCII.
    pub fn metadata(self, metadata: &str) -> Self {
        self.field(Tag::Metadata, metadata.as_bytes())
    }
}

/// A part of a list.
impl Call<Page> {
    /// Only keys that begin so.
    pub fn prefix(self, prefix: &str) -> Self {
        self.field(Tag::Prefix, prefix.as_bytes())
    }

    /// Only keys behind this one: the `next` of the part before.
    pub fn cursor(self, cursor: &str) -> Self {
        self.field(Tag::Cursor, cursor.as_bytes())
    }

    /// At most so many entries, up to 1,000; otherwise 100.
    pub fn limit(self, limit: u32) -> Self {
        self.field(Tag::Count, &limit.to_le_bytes())
    }
}

/// Changes of a store that are made all or not at all.
///
/// ```
/// # use jiffy::{call::CallError, kv::Store};
/// fn rename(store: &Store, from: &str, to: &str, value: &str) -> Result<(), CallError> {
///     let batch = store.batch();
///     let batch = batch.then(store.put(to, value).if_absent());
///     batch.then(store.delete(from).if_present()).send()?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[must_use = "a batch is made when it is sent or started"]
#[derive(Debug)]
pub struct Batch {
    call: Call<Vec<Written>>,
    items: Vec<u8>,
}

impl Batch {
    /// Adds a change; which store it was made of does not matter.
    pub fn then(mut self, change: Call<Written>) -> Self {
        let added = change.into_parts().and_then(|(operation, fields, value)| {
            let mut head = Vec::with_capacity(fields.len() + 8);
            put_field(&mut head, Tag::Operation, &operation.to_le_bytes())
                .and_then(|()| {
                    head.extend_from_slice(&fields);
                    write_item(&head, &value, |piece| self.items.extend_from_slice(piece))
                })
                .map_err(|_| CallError::new(CallErrorKind::Invalid, Sent::No, TOO_LARGE))
        });
        match added {
            Ok(()) => self,
            Err(error) => Self {
                call: self.call.refused(&error.to_string()),
                ..self
            },
        }
    }

    /// What it may take; see [`Call::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        Self {
            call: self.call.timeout(timeout),
            ..self
        }
    }

    /// Makes the changes and waits: what each came to.
    pub fn send(self) -> Result<Vec<Written>, CallError> {
        self.start().wait()
    }

    /// Starts the call, which goes out at the next wait for any.
    pub fn start(self) -> Pending<Vec<Written>> {
        self.call.carrying(self.items).start()
    }
}

const TOO_LARGE: &str = "a change is too large";

impl Join for Batch {
    type Started = Pending<Vec<Written>>;
    type Output = Vec<Written>;

    fn start(self) -> Self::Started {
        Self::start(self)
    }

    fn wait(started: Self::Started) -> Result<Vec<Written>, CallError> {
        started.wait()
    }
}

fn all_written(_: &ReplyHead<'_>, _: &[u8], body: &[u8]) -> Option<Vec<Written>> {
    let (written, rest) = body.as_chunks();
    rest.is_empty()
        .then(|| written.iter().map(Written::from_bytes).collect())
}

fn written(_: &ReplyHead<'_>, _: &[u8], body: &[u8]) -> Option<Written> {
    body.try_into().ok().map(Written::from_bytes)
}

fn entry(_: &ReplyHead<'_>, head: &[u8], body: &[u8]) -> Option<Option<Entry>> {
    let listed = listed(head)?;
    // Versions begin at 1.
    Some((listed.version > 0).then(|| Entry {
        value: body.to_owned(),
        version: listed.version,
        metadata: listed.metadata,
        expires_ms: listed.expires_ms,
    }))
}

fn page(_: &ReplyHead<'_>, head: &[u8], body: &[u8]) -> Option<Page> {
    let mut page = Page::default();
    for item in Items::new(body) {
        page.entries.push(listed(item.ok()?.0)?);
    }
    for field in Fields::new(head) {
        if let (Tag::Cursor, next) = field.ok()? {
            page.next = Some(str::from_utf8(next).ok()?.to_owned());
        }
    }
    Some(page)
}

fn listed(head: &[u8]) -> Option<Listed> {
    let mut listed = Listed::default();
    for field in Fields::new(head) {
        let (tag, value) = field.ok()?;
        match tag {
            Tag::Key => listed.key = str::from_utf8(value).ok()?.to_owned(),
            Tag::Metadata => listed.metadata = str::from_utf8(value).ok()?.to_owned(),
            Tag::EntryVersion => listed.version = u64::from_le_bytes(value.try_into().ok()?),
            Tag::ExpiresMs => listed.expires_ms = Some(u64::from_le_bytes(value.try_into().ok()?)),
            Tag::ValueBytes => listed.value_bytes = u32::from_le_bytes(value.try_into().ok()?),
            _ => {}
        }
    }
    Some(listed)
}

#[cfg(all(test, not(jiffy_guest)))]
mod tests;
