//! `jiffy kv`: stores of keys and values, entry by entry and as a whole.
//!
//! An export is a JSON document a line, so that it can be read and cut with the usual tools; an import puts each of them.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiffy_console::{stderr, stdout};
use jiffy_control::write_body;
use jiffy_model::{
    BindingName,
    documents::{KvEntry, KvList, KvStoreList, KvWritten},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use ureq::http::{HeaderMap, Method};

use super::{
    Agent, ClientError,
    agent::Call,
    confirm,
    logs::now_ms,
    view::{Line, Moment},
};
use crate::{
    input::Input,
    output::{Bytes, Format, Table, print_json},
};

/// Bytes of a value that are taken from an agent: its most.
const VALUE_BYTES_MAX: u64 = jiffy_kv::VALUE_BYTES_MAX as u64;
/// Bytes of one line of an import: a value of control characters, each of which takes six, with all that is said of it.
const LINE_BYTES_MAX: usize = 8 << 20;
const PART_LEN: usize = jiffy_kv::PAGE_MAX;

/// An entry of a store.
#[derive(Clone, Debug)]
pub(crate) struct EntryRef {
    pub(crate) store: BindingName,
    pub(crate) key: String,
}

impl EntryRef {
    fn path(&self) -> String {
        let key = utf8_percent_encode(&self.key, NON_ALPHANUMERIC);
        format!("/v1/kv/{}/{key}", self.store)
    }
}

/// What has to be so for a change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum If {
    Always,
    Absent,
    Version(u64),
}

impl If {
    fn header(self) -> Option<(String, Vec<u8>)> {
        match self {
            Self::Always => None,
            Self::Absent => Some(("if-none-match".into(), b"*".into())),
            Self::Version(version) => {
                Some(("if-match".into(), format!("\"{version}\"").into_bytes()))
            }
        }
    }
}

/// How a value is put.
#[derive(Clone, Debug)]
pub(crate) struct KvPut {
    pub(crate) ttl: Option<Duration>,
    pub(crate) metadata: Option<String>,
    pub(crate) condition: If,
}

/// An entry with its value, as it is exported.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exported {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// In the place of `value`, if that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    metadata: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
    /// For readers: an entry that is imported gets another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

impl Exported {
    fn new(key: &str, headers: &HeaderMap, value: Vec<u8>) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let version = header("etag").and_then(|etag| etag.trim_matches('"').parse().ok());
        let expires_ms = header("jiffy-expires-ms").and_then(|text| text.parse().ok());
        let (value, value_base64) = text_or_base64(value);
        Self {
            key: key.into(),
            value,
            value_base64,
            metadata: header("jiffy-metadata").unwrap_or_default().into(),
            expires_ms,
            version,
        }
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.value, &self.value_base64) {
            (Some(text), None) => Some(text.clone().into_bytes()),
            (None, Some(text)) => BASE64.decode(text).ok(),
            _ => None,
        }
    }
}

/// Bytes as text, or, if they are not UTF-8, in base64.
pub(super) fn text_or_base64(bytes: Vec<u8>) -> (Option<String>, Option<String>) {
    match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(BASE64.encode(error.as_bytes()))),
    }
}

/// Prints the value under a key as it is; as JSON with all that is said of it.
pub(crate) fn kv_get(agent: &Agent, entry: &EntryRef, format: Format) -> Result<(), ClientError> {
    let (headers, value) = get(agent, entry)?;
    match format {
        Format::Json => Ok(print_json(&Exported::new(&entry.key, &headers, value))?),
        Format::Text => {
            let mut out = stdout();
            let is_terminal = out.is_terminal();
            Ok(write_body(&mut out, &value, is_terminal)?)
        }
    }
}

fn get(agent: &Agent, entry: &EntryRef) -> Result<(HeaderMap, Vec<u8>), ClientError> {
    let mut response = agent.success(&Call::new(Method::GET, entry.path()))?;
    let value = agent.body(&mut response, VALUE_BYTES_MAX)?;
    Ok((response.headers().clone(), value))
}

/// Puts a value, and prints its version.
pub(crate) fn kv_put(
    agent: &Agent,
    entry: &EntryRef,
    value: Input,
    put: &KvPut,
    format: Format,
) -> Result<(), ClientError> {
    let written = put_value(agent, entry, put, &value.read()?)?;
    match format {
        Format::Json => print_json(&written)?,
        Format::Text => writeln!(stdout(), "version {}", written.version)?,
    }
    Ok(())
}

fn put_value(
    agent: &Agent,
    entry: &EntryRef,
    put: &KvPut,
    value: &[u8],
) -> Result<KvWritten, ClientError> {
    let mut headers: Vec<_> = put.condition.header().into_iter().collect();
    if let Some(metadata) = &put.metadata {
        headers.push(("jiffy-metadata".into(), metadata.clone().into_bytes()));
    }
    let query = match put.ttl {
        Some(ttl) => format!("?ttl={}ms", ttl.as_millis()),
        None => String::new(),
    };
    agent.document(&Call {
        headers: &headers,
        body: value,
        ..Call::new(Method::PUT, entry.path() + &query)
    })
}

/// Lists the stores.
pub(crate) fn kv_stores(agent: &Agent, format: Format) -> Result<(), ClientError> {
    let (mut stores, mut after, mut last) = (vec![], String::new(), String::new());
    loop {
        let mut part: KvStoreList = agent.get(format!("/v1/kv?limit={PART_LEN}{after}"))?;
        stores.append(&mut part.stores);
        let Some(next) = part.next.filter(|next| *next > last) else {
            break;
        };
        after = format!("&after={}", utf8_percent_encode(&next, NON_ALPHANUMERIC));
        last = next;
    }
    if format == Format::Json {
        return Ok(print_json(&serde_json::json!({ "stores": stores }))?);
    }
    if stores.is_empty() {
        writeln!(stderr(), "no stores: the first `put` makes one")?;
        return Ok(());
    }
    let mut table = Table::new(&["store", "entries", "size"]);
    for store in &stores {
        table.row(&[&Line(&store.name), &store.entries, &Bytes(store.bytes)]);
    }
    Ok(write!(stdout(), "{table}")?)
}

/// Calls `each` with every part of a list.
fn parts(
    agent: &Agent,
    store: &BindingName,
    prefix: &str,
    mut each: impl FnMut(Vec<KvEntry>) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let prefix = utf8_percent_encode(prefix, NON_ALPHANUMERIC);
    let path = format!("/v1/kv/{store}?limit={PART_LEN}&prefix={prefix}");
    let (mut cursor, mut last) = (String::new(), String::new());
    loop {
        let part: KvList = agent.get(format!("{path}{cursor}"))?;
        each(part.entries)?;
        // A list that does not go on has no end.
        let Some(next) = part.next.filter(|next| *next > last) else {
            return Ok(());
        };
        cursor = format!("&cursor={}", utf8_percent_encode(&next, NON_ALPHANUMERIC));
        last = next;
    }
}

/// Lists the entries of a store.
pub(crate) fn kv_list(
    agent: &Agent,
    store: &BindingName,
    prefix: &str,
    format: Format,
) -> Result<(), ClientError> {
    let mut entries = vec![];
    parts(agent, store, prefix, |mut part| {
        entries.append(&mut part);
        Ok(())
    })?;
    if format == Format::Json {
        return Ok(print_json(&serde_json::json!({ "entries": entries }))?);
    }
    let mut table = Table::new(&["key", "version", "size", "expires", "metadata"]);
    for entry in &entries {
        let expires = entry.expires_ms.map(|ms| Moment(ms).to_string());
        table.row(&[
            &Line(&entry.key),
            &entry.version,
            &Bytes(entry.bytes),
            &expires.as_deref().unwrap_or("never"),
            &Line(&entry.metadata),
        ]);
    }
    Ok(write!(stdout(), "{table}")?)
}

/// Removes an entry.
pub(crate) fn kv_remove(agent: &Agent, entry: &EntryRef, condition: If) -> Result<(), ClientError> {
    let headers: Vec<_> = condition.header().into_iter().collect();
    let call = Call {
        headers: &headers,
        ..Call::new(Method::DELETE, entry.path())
    };
    agent.success(&call).map(drop)
}

/// Removes a store with all that is in it.
pub(crate) fn kv_remove_store(
    agent: &Agent,
    store: &BindingName,
    yes: bool,
) -> Result<(), ClientError> {
    if !yes {
        confirm(&format!("the store {store} with all that is in it"))?;
    }
    agent.delete(format!("/v1/kv/{store}"))
}

/// Prints all entries of a store with their values, a JSON document a line. What is removed meanwhile is left out.
pub(crate) fn kv_export(
    agent: &Agent,
    store: &BindingName,
    prefix: &str,
) -> Result<(), ClientError> {
    let mut out = stdout();
    parts(agent, store, prefix, |part| {
        for KvEntry { key, .. } in part {
            let entry = EntryRef {
                store: store.clone(),
                key,
            };
            let (headers, value) = match get(agent, &entry) {
                Err(ClientError::Problem(problem)) if problem.is("not-found") => continue,
                other => other?,
            };
            let exported = Exported::new(&entry.key, &headers, value);
            serde_json::to_writer(&mut out, &exported).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Ok(())
    })
}

/// Puts all entries of an export into a store, in the place of what is there; those that have expired are left out.
pub(crate) fn kv_import(
    agent: &Agent,
    store: &BindingName,
    file: Option<&Path>,
) -> Result<(), ClientError> {
    let unreadable = |source| ClientError::Import {
        file: file.map_or_else(|| PathBuf::from("standard input"), Path::to_owned),
        source,
    };
    let mut lines: Box<dyn io::BufRead> = match file {
        Some(path) => Box::new(BufReader::new(jiffy_files::open(path).map_err(unreadable)?)),
        None => Box::new(io::stdin().lock()),
    };
    let (mut count, mut line) = (0_u64, String::new());
    for number in 1_u64.. {
        line.clear();
        let limited = &mut io::Read::take(&mut lines, LINE_BYTES_MAX as u64);
        if limited.read_line(&mut line).map_err(unreadable)? == 0 {
            break;
        }
        let bad = |why: String| ClientError::ImportLine { number, why };
        if line.len() == LINE_BYTES_MAX {
            return Err(bad(format!(
                "it must have fewer than {LINE_BYTES_MAX} bytes"
            )));
        }
        let entry: Exported = serde_json::from_str(&line).map_err(|why| bad(why.to_string()))?;
        let Some(value) = entry.bytes() else {
            return Err(bad("it must have value, or value_base64 in base64".into()));
        };
        if value.len() > jiffy_kv::VALUE_BYTES_MAX {
            return Err(bad(format!(
                "its value must have at most {} bytes",
                jiffy_kv::VALUE_BYTES_MAX
            )));
        }
        let left_ms = entry.expires_ms.map(|ms| ms.saturating_sub(now_ms()));
        if left_ms == Some(0) {
            continue;
        }
        let put = KvPut {
            ttl: left_ms.map(Duration::from_millis),
            metadata: Some(entry.metadata).filter(|metadata| !metadata.is_empty()),
            condition: If::Always,
        };
        let entry = EntryRef {
            store: store.clone(),
            key: entry.key,
        };
        put_value(agent, &entry, &put, &value)?;
        count += 1;
    }
    Ok(writeln!(stderr(), "{count} entries put")?)
}
