//! Sends the Redis commands that it is told to, all at once, and answers what came of each.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use jiffy::{
    call::{CallError, Pending},
    redis::{self, Redis, Value},
};

/// A command, or several that are made together.
#[derive(serde::Deserialize)]
pub struct Wanted {
    #[serde(default)]
    database: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    atomic: Vec<Vec<String>>,
    timeout_ms: Option<u64>,
}

/// What came of it.
#[derive(Default, serde::Serialize)]
pub struct Got {
    value: String,
    /// Kind and whether it was sent; empty if there is a value.
    error: String,
    message: String,
}

/// What is under way.
enum Started {
    One(Pending<Value>),
    Several(Pending<Vec<Value>>),
}

/// Sends the commands.
#[jiffy::function]
pub fn commander(wanted: Vec<Wanted>) -> Result<Vec<Got>, CallError> {
    let started: Result<Vec<_>, _> = wanted.iter().map(start).collect();
    Ok(started?.into_iter().map(wait).collect())
}

fn start(wanted: &Wanted) -> Result<Started, CallError> {
    let name = match &*wanted.database {
        "" => "cache",
        name => name,
    };
    let timeout = Duration::from_millis(wanted.timeout_ms.unwrap_or(60_000));
    let database: Redis = redis::open(name)?;
    if wanted.atomic.is_empty() {
        let call = database.command_call(&wanted.command);
        return Ok(Started::One(call.timeout(timeout).start()));
    }
    let atomic = wanted.atomic.iter();
    let atomic = atomic.fold(database.atomic(), |atomic, command| atomic.then(command));
    Ok(Started::Several(atomic.timeout(timeout).start()))
}

fn wait(started: Started) -> Got {
    let value = match started {
        Started::One(call) => call.wait(),
        Started::Several(call) => call.wait().map(Value::Array),
    };
    match value {
        Ok(value) => Got {
            value: shown(&value),
            ..Got::default()
        },
        Err(error) => Got {
            error: format!("{:?} {:?}", error.kind(), error.sent()),
            message: error.to_string(),
            ..Got::default()
        },
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Int(int) => int.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Error(text) => format!("error {text}"),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(shown).collect();
            format!("[{}]", values.join(" "))
        }
    }
}
