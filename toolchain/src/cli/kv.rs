//! `jiffy kv`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use jiffy_console::quantity::parse_time;
use jiffy_model::BindingName;

use super::agent::Common;
use crate::{
    client::{self, ClientError, EntryRef, If, KvPut},
    input::Input,
};

#[derive(Debug, Subcommand)]
pub(super) enum KvCommand {
    /// Lists the stores, or the entries of one.
    #[command(after_help = "Examples:\n  jiffy kv ls\n  jiffy kv ls cart --prefix user/")]
    Ls {
        /// The store. Default: lists the stores.
        store: Option<BindingName>,
        /// Only keys that begin so.
        #[arg(long, value_name = "TEXT", default_value = "", requires = "store")]
        prefix: String,
        #[command(flatten)]
        common: Common,
    },
    /// Prints the value under a key.
    #[command(
        after_help = "Examples:\n  jiffy kv get cart 42 > 42.json\n  jiffy kv get cart 42 -o json"
    )]
    Get {
        #[command(flatten)]
        entry: EntryArguments,
        #[command(flatten)]
        common: Common,
    },
    /// Puts a value under a key.
    #[command(after_help = "\
Examples:
  jiffy kv put cart 42 '{\"items\":[]}' --ttl 1h
  jiffy kv put cart 42 --file cart.json --if-version 7
  jiffy kv put cart 42 --file - < cart.json")]
    Put(PutArguments),
    /// Removes an entry, or a store with all that is in it.
    #[command(after_help = "Examples:\n  jiffy kv rm cart 42\n  jiffy kv rm cart --yes")]
    Rm {
        /// The store.
        store: BindingName,
        /// The key. Default: the whole store.
        key: Option<String>,
        /// Only if the entry has this version.
        #[arg(long, value_name = "VERSION", requires = "key")]
        if_version: Option<u64>,
        /// Do not ask before a store is removed. Needed where there is no terminal.
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Puts what `export` printed into a store.
    #[command(after_help = "Example:\n  jiffy kv import cart cart.jsonl")]
    Import {
        /// The store.
        store: BindingName,
        /// A file with a JSON document a line. Default: standard input.
        file: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Prints all entries of a store with their values, a JSON document a line.
    #[command(after_help = "Example:\n  jiffy kv export cart > cart.jsonl")]
    Export {
        /// The store.
        store: BindingName,
        /// Only keys that begin so.
        #[arg(long, value_name = "TEXT", default_value = "")]
        prefix: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args, Debug)]
pub(super) struct EntryArguments {
    /// The store.
    store: BindingName,
    /// The key.
    key: String,
}

impl From<EntryArguments> for EntryRef {
    fn from(EntryArguments { store, key }: EntryArguments) -> Self {
        Self { store, key }
    }
}

#[derive(Args, Debug)]
pub(super) struct PutArguments {
    #[command(flatten)]
    entry: EntryArguments,
    /// The value.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    value: Option<String>,
    /// A file with the value; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// When it expires. Default: never.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    ttl: Option<Duration>,
    /// What is said of it: printable ASCII.
    #[arg(long, value_name = "TEXT")]
    metadata: Option<String>,
    /// Only if the entry has this version.
    #[arg(long, value_name = "VERSION", conflicts_with = "if_absent")]
    if_version: Option<u64>,
    /// Only if there is no entry.
    #[arg(long)]
    if_absent: bool,
    #[command(flatten)]
    common: Common,
}

impl KvCommand {
    pub(super) fn dispatch(self) -> Result<(), ClientError> {
        match self {
            Self::Ls {
                store: Some(store),
                prefix,
                common,
            } => common.ask(|agent, format| client::kv_list(agent, &store, &prefix, format)),
            Self::Ls { common, .. } => common.ask(client::kv_stores),
            Self::Get { entry, common } => {
                common.ask(|agent, format| client::kv_get(agent, &entry.into(), format))
            }
            Self::Put(arguments) => arguments.put(),
            Self::Rm {
                store,
                key: Some(key),
                if_version,
                common,
                ..
            } => common.ask(|agent, _| {
                let condition = if_version.map_or(If::Always, If::Version);
                client::kv_remove(agent, &EntryRef { store, key }, condition)
            }),
            Self::Rm {
                store, yes, common, ..
            } => common.ask(|agent, _| client::kv_remove_store(agent, &store, yes)),
            Self::Import {
                store,
                file,
                common,
            } => common.ask(|agent, _| client::kv_import(agent, &store, file.as_deref())),
            Self::Export {
                store,
                prefix,
                common,
            } => common.ask(|agent, _| client::kv_export(agent, &store, &prefix)),
        }
    }
}

impl PutArguments {
    fn put(self) -> Result<(), ClientError> {
        let condition = match (self.if_version, self.if_absent) {
            (Some(version), _) => If::Version(version),
            (None, true) => If::Absent,
            (None, false) => If::Always,
        };
        let value = Input {
            what: "value",
            text: self.value,
            file: self.file,
            bytes_max: jiffy_kv::VALUE_BYTES_MAX,
        };
        let put = KvPut {
            ttl: self.ttl,
            metadata: self.metadata,
            condition,
        };
        let entry = self.entry.into();
        let common = self.common;
        common.ask(|agent, format| client::kv_put(agent, &entry, value, &put, format))
    }
}
