//! `jiffy ls`, `describe`, `versions`, `alias`, `rollback` and `rm`.

use std::{io::Write, str::FromStr};

use clap::Args;
use jiffy_model::{
    AliasName, FunctionName, VersionNumber,
    documents::{
        AliasDocument, AliasList, Description, FunctionDocument, FunctionList, OtherVersion,
        RollBack, VersionList, WHOLE_PER_MILLE,
    },
};
use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    Agent, ClientError, FunctionRef,
    agent::Wait,
    confirm,
    deploy::print_version,
    view::{Line, Moment, ShortDigest, label, show},
};
use crate::output::{Bytes, Format, Table, print_json};
use jiffy_console::{stderr, stdout};

/// Entries of a page of a list: the agent's most.
const PAGE_LEN: usize = 1000;
/// Pages of a list at most: more functions than an agent may have, by far.
const PAGES_MAX: usize = 10_000;

/// All entries of a list that comes in pages, as a document of the same shape.
fn whole_list(agent: &Agent, path: &str, key: &str) -> Result<Value, ClientError> {
    let mut entries = vec![];
    let mut after = String::new();
    for _ in 0..PAGES_MAX {
        let mut page: Value = agent.get(format!("{path}?limit={PAGE_LEN}{after}"))?;
        if let Some(Value::Array(page)) = page.get_mut(key) {
            entries.append(page);
        }
        // A function's name or a version's number.
        match page.get("next") {
            Some(Value::String(name)) if name.parse::<FunctionName>().is_ok() => {
                after = format!("&after={name}");
            }
            Some(Value::Number(number)) => after = format!("&after={number}"),
            _ => break,
        }
    }
    Ok(json!({ key: entries }))
}

/// Prints all functions.
pub(crate) fn list(agent: &Agent, format: Format) -> Result<(), ClientError> {
    let document = whole_list(agent, "/v1/functions", "functions")?;
    show(&document, format, |FunctionList { functions, .. }| {
        if functions.is_empty() {
            return Ok(writeln!(
                stderr(),
                "no functions: `jiffy deploy` makes one"
            )?);
        }
        let mut table = Table::new(&["function", "live", "aliases", "changed"]);
        for function in &functions {
            let aliases: Vec<&str> = function.aliases.keys().map(AsRef::as_ref).collect();
            table.row(&[
                &function.name,
                &function.live,
                &Line(&aliases.join(", ")),
                &Moment(function.updated_ms),
            ]);
        }
        Ok(write!(stdout(), "{table}")?)
    })
}

/// Prints what a function is, and its live version.
pub(crate) fn describe(
    agent: &Agent,
    name: &FunctionName,
    format: Format,
) -> Result<(), ClientError> {
    let document: Value = agent.get(format!("/v1/functions/{name}"))?;
    show(&document, format, |description: Description| {
        let (function, live) = (description.function, description.live_version);
        let mut out = stdout();
        writeln!(out, "{}", function.name)?;
        writeln!(out, "  made         {}", Moment(function.created_ms))?;
        writeln!(out, "  changed      {}", Moment(function.updated_ms))?;
        if let Some(reserved) = function.reserved_concurrency {
            writeln!(out, "  reserved     {reserved} VMs over all versions")?;
        }
        for (name, alias) in &function.aliases {
            writeln!(out, "  alias        {name} -> {alias}")?;
        }
        writeln!(out, "version {}, live", label(&live))?;
        writeln!(out, "  deployed     {}", Moment(live.created_ms))?;
        Ok(print_version(&mut out, &live)?)
    })
}

/// Prints a function's versions.
pub(crate) fn versions(
    agent: &Agent,
    name: &FunctionName,
    format: Format,
) -> Result<(), ClientError> {
    let path = format!("/v1/functions/{name}/versions");
    let document = whole_list(agent, &path, "versions")?;
    show(&document, format, |VersionList { versions, .. }| {
        let columns = [
            "version",
            "deployed",
            "image",
            "size",
            "memory",
            "isolation",
        ];
        let mut table = Table::new(&columns);
        for version in &versions {
            table.row(&[
                &label(version),
                &Moment(version.created_ms),
                &ShortDigest(version.image),
                &Bytes(version.image_bytes),
                &Bytes(version.settings.memory_bytes),
                &version.settings.isolation,
            ]);
        }
        Ok(write!(stdout(), "{table}")?)
    })
}

/// Prints a function's aliases.
pub(crate) fn alias_list(
    agent: &Agent,
    name: &FunctionName,
    format: Format,
) -> Result<(), ClientError> {
    let document: Value = agent.get(format!("/v1/functions/{name}/aliases"))?;
    show(&document, format, |AliasList { aliases }| {
        let mut table = Table::new(&["alias", "versions", "description"]);
        for (name, alias) in &aliases {
            table.row(&[name, alias, &Line(&alias.description)]);
        }
        Ok(write!(stdout(), "{table}")?)
    })
}

/// A version that an alias leads to: `VERSION` or `VERSION=PERMILLE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AliasTarget {
    version: VersionNumber,
    per_mille: Option<u16>,
}

impl FromStr for AliasTarget {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (version, share) = match text.split_once('=') {
            Some((version, share)) => (version, Some(share)),
            None => (text, None),
        };
        let per_mille = share.map(|share| match share.parse() {
            Ok(share) if share <= WHOLE_PER_MILLE => Ok(share),
            _ => Err("a share is per mille of the requests: 0 to 1000"),
        });
        Ok(Self {
            version: version
                .parse()
                .map_err(|_| "a version is a number from 1")?,
            per_mille: per_mille.transpose()?,
        })
    }
}

/// What the agent wants to know of an alias. A share that is not given is what the other leaves.
fn alias_document(
    targets: &[AliasTarget],
    description: &str,
) -> Result<AliasDocument, ClientError> {
    let whole = |share: Option<u16>| share.is_none_or(|share| share == WHOLE_PER_MILLE);
    let (version, other) = match targets {
        [one] if whole(one.per_mille) => (one.version, None),
        [first, second] => {
            let per_mille = match (first.per_mille, second.per_mille) {
                (None, Some(second)) => second,
                (Some(first), None) => WHOLE_PER_MILLE - first,
                (Some(first), Some(second)) if first + second == WHOLE_PER_MILLE => second,
                _ => return Err(ClientError::Shares),
            };
            let version = second.version;
            (first.version, Some(OtherVersion { version, per_mille }))
        }
        _ => return Err(ClientError::Shares),
    };
    Ok(AliasDocument {
        version: jiffy_model::AliasTarget::Version(version),
        other,
        description: description.into(),
    })
}

/// Makes an alias, or leads it elsewhere.
pub(crate) fn alias_set(
    agent: &Agent,
    name: &FunctionName,
    alias: &AliasName,
    targets: &[AliasTarget],
    description: &str,
    format: Format,
) -> Result<(), ClientError> {
    let wanted = alias_document(targets, description)?;
    let path = format!("/v1/functions/{name}/aliases/{alias}");
    let document = agent.put(Method::PUT, path, &wanted, Wait::Answer)?;
    show(&document, format, |to: AliasDocument| {
        Ok(writeln!(stdout(), "{name}:{alias} -> {to}")?)
    })
}

/// Removes an alias.
pub(crate) fn alias_remove(
    agent: &Agent,
    name: &FunctionName,
    alias: &AliasName,
    format: Format,
) -> Result<(), ClientError> {
    agent.delete(format!("/v1/functions/{name}/aliases/{alias}"))?;
    print_removed(&format!("{name}:{alias}"), format)
}

/// Makes `version` live; `None`: the one before the live one.
pub(crate) fn rollback(
    agent: &Agent,
    name: &FunctionName,
    version: Option<VersionNumber>,
    format: Format,
) -> Result<(), ClientError> {
    let wanted = RollBack { version };
    let path = format!("/v1/functions/{name}/rollback");
    // The version's snapshot may have to be made again.
    let document = agent.put(Method::POST, path, &wanted, Wait::Function)?;
    show(&document, format, |function: FunctionDocument| {
        let live = function.live;
        Ok(writeln!(stdout(), "{name}: version {live} is live")?)
    })
}

/// What is to be deleted.
#[derive(Args, Clone, Debug)]
pub(crate) struct Removal {
    /// The function, or one version of it.
    #[arg(value_name = "NAME[:VERSION]")]
    pub(crate) function: FunctionRef,
    /// Do not ask. Needed where there is no terminal.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Deletes a function with all its versions and logs, or one version.
pub(crate) fn remove(agent: &Agent, removal: &Removal, format: Format) -> Result<(), ClientError> {
    let FunctionRef { name, qualifier } = &removal.function;
    let (what, path) = match qualifier {
        None => (name.to_string(), format!("/v1/functions/{name}")),
        Some(version) => (
            format!("{name}:{version}"),
            format!("/v1/functions/{name}/versions/{version}"),
        ),
    };
    if !removal.yes {
        confirm(&what)?;
    }
    agent.delete(path)?;
    print_removed(&what, format)
}

fn print_removed(what: &str, format: Format) -> Result<(), ClientError> {
    match format {
        Format::Json => print_json(&json!({ "deleted": what }))?,
        Format::Text => writeln!(stdout(), "{what} is deleted")?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let document = |targets: &[&str]| {
            let targets: Result<Vec<_>, _> = targets.iter().map(|text| text.parse()).collect();
            alias_document(&targets.expect("targets"), "")
        };
        let split = |targets: &[&str]| {
            let document = document(targets).expect("a document");
            let document = serde_json::to_value(document).expect("JSON");
            (document["version"].clone(), document["other"].clone())
        };
        assert_eq!(split(&["3"]), (json!(3), Value::Null));
        assert_eq!(split(&["3=1000"]), (json!(3), Value::Null));
        let expected = (json!(3), json!({ "version": 4, "per_mille": 100 }));
        for targets in [["3", "4=100"], ["3=900", "4"], ["3=900", "4=100"]] {
            assert_eq!(split(&targets), expected, "{targets:?}");
        }
        for targets in [
            &[][..],
            &["3=900"],
            &["3", "4"],
            &["3=1", "4=1"],
            &["1", "2=1", "3=1"],
        ] {
            assert!(
                matches!(document(targets), Err(ClientError::Shares)),
                "{targets:?}"
            );
        }
        for text in ["", "0", "-1", "a", "1=", "1=1001", "1=-1", "prod"] {
            assert!(text.parse::<AliasTarget>().is_err(), "{text}");
        }
    }
}
