//! `jiffy secret`: sets, lists and removes secrets, whose values nobody is told again.

use std::{io::Write as _, path::Path};

use jiffy_console::{stderr, stdout};
use jiffy_model::{
    BindingName,
    documents::{SecretDocument, SecretList},
};
use serde_json::Value;
use ureq::http::Method;

use super::{
    Agent, ClientError,
    agent::Call,
    confirm,
    view::{self, Line, Moment},
};
use crate::{
    output::{Format, Table},
    secret_value::SecretValue,
};

fn path(name: &BindingName) -> String {
    format!("/v1/secrets/{name}")
}

/// Sets a secret to what is in `file`, or comes from standard input or a terminal, and prints its version.
pub(crate) fn secret_set(
    agent: &Agent,
    name: &BindingName,
    file: Option<&Path>,
    format: Format,
) -> Result<(), ClientError> {
    let SecretValue { value, had_newline } = match file {
        Some(file) => SecretValue::of_file(file)?,
        None => SecretValue::of_input_or_terminal(name.as_ref())?,
    };
    if had_newline {
        writeln!(stderr(), "the newline at its end is left out")?;
    }
    let document: Value = agent.document(&Call {
        content_type: Some("application/octet-stream"),
        body: &value,
        ..Call::new(Method::PUT, path(name))
    })?;
    view::show(&document, format, |secret: SecretDocument| {
        Ok(writeln!(stdout(), "version {}", secret.version)?)
    })
}

/// Lists the secrets.
pub(crate) fn secret_list(agent: &Agent, format: Format) -> Result<(), ClientError> {
    let document: Value = agent.get("/v1/secrets")?;
    view::show(&document, format, |SecretList { secrets }| {
        if secrets.is_empty() {
            writeln!(stderr(), "no secrets: `jiffy secret set NAME` makes one")?;
            return Ok(());
        }
        let mut table = Table::new(&["secret", "version", "set"]);
        for secret in &secrets {
            let set = Moment(secret.set_ms);
            table.row(&[&Line(&secret.name), &secret.version, &set]);
        }
        Ok(write!(stdout(), "{table}")?)
    })
}

/// Removes a secret.
pub(crate) fn secret_remove(
    agent: &Agent,
    name: &BindingName,
    yes: bool,
) -> Result<(), ClientError> {
    if !yes {
        confirm(&format!("the secret {name}"))?;
    }
    agent.delete(path(name))
}

/// Has the agent make a new master key.
pub(crate) fn secret_rotate_key(agent: &Agent) -> Result<(), ClientError> {
    let call = Call::new(Method::POST, "/v1/secrets:rotate-key");
    agent.success(&call)?;
    Ok(writeln!(
        stderr(),
        "all secrets are encrypted by a new master key"
    )?)
}
