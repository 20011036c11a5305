//! Asks a database what it is told to: each statement by itself, all at once, or in a transaction, and answers what came of each.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use jiffy::{
    call::{Call, CallError},
    http, sql,
};
use serde_json::Value;

/// What to ask.
#[derive(serde::Deserialize)]
pub struct Wanted {
    database: String,
    #[serde(default)]
    how: How,
    statements: Vec<Statement>,
    /// Asked at the same time, if all are asked at once.
    url: Option<String>,
    timeout_ms: Option<u64>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    #[default]
    Each,
    Joined,
    Commit,
    RollBack,
    /// In a transaction that neither ends.
    Leave,
}

#[derive(serde::Deserialize)]
struct Statement {
    sql: String,
    #[serde(default)]
    parameters: Vec<Value>,
}

/// What came of a statement.
#[derive(Default, serde::Serialize)]
pub struct Got {
    rows: Vec<Value>,
    status: u16,
    /// Kind and whether it was sent; empty if there are rows.
    error: String,
    message: String,
}

impl From<Result<Vec<Value>, CallError>> for Got {
    fn from(result: Result<Vec<Value>, CallError>) -> Self {
        match result {
            Ok(rows) => Self {
                rows,
                ..Self::default()
            },
            Err(error) => Self {
                error: format!("{:?} {:?}", error.kind(), error.sent()),
                message: error.to_string(),
                ..Self::default()
            },
        }
    }
}

/// Asks.
#[jiffy::function]
pub fn clerk(wanted: Wanted) -> Result<Vec<Got>, CallError> {
    let db = sql::open(&wanted.database)?;
    let timed = |call: Call<Vec<Value>>| match wanted.timeout_ms {
        Some(timeout_ms) => call.timeout(Duration::from_millis(timeout_ms)),
        None => call,
    };
    let all = || wanted.statements.iter();
    let asked = |it: &Statement| timed(db.query_call(&it.sql, &it.parameters));
    let in_order = |tx: &sql::Transaction| {
        let asked = all().map(|it| timed(tx.query_call(&it.sql, &it.parameters)).send());
        asked.map(Got::from).collect::<Vec<_>>()
    };
    match wanted.how {
        How::Each => Ok(all().map(|it| asked(it).send().into()).collect()),
        How::Joined => {
            let started: Vec<_> = all().map(|it| asked(it).start()).collect();
            let page = wanted.url.as_ref().map(|url| http::get(url).start());
            let mut got: Vec<Got> = started.into_iter().map(|it| it.wait().into()).collect();
            if let Some(page) = page {
                got.push(Got {
                    status: page.wait()?.status().as_u16(),
                    ..Got::default()
                });
            }
            Ok(got)
        }
        How::Commit => db.transaction_with(sql::Isolation::Serializable, |tx| Ok(in_order(tx))),
        How::RollBack => {
            let mut got = Vec::new();
            let rolled_back: Result<(), CallError> = db.transaction(|tx| {
                got = in_order(tx);
                sql::open("").map(drop)
            });
            match rolled_back {
                Err(_) => Ok(got),
                Ok(()) => Ok(Vec::new()),
            }
        }
        How::Leave => db.transaction(|tx| {
            in_order(tx);
            panic!("in a transaction")
        }),
    }
}
