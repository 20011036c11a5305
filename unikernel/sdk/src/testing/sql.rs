//! SQL databases, answered by closures of a test: [`Call::sql`](super::Call::sql).

use alloc::{boxed::Box, collections::BTreeMap, format, string::String, vec::Vec};

use jiffy_abi::{
    call::{OPERATION_SQL_BEGIN, OPERATION_SQL_EXECUTE, OPERATION_SQL_QUERY},
    frame::{Fields, Tag},
};
use serde::Serialize;
use serde_json::Value;

use crate::{call::CallError, dispatch::put_field, platform::StandIn};

/// What a database of a test makes of a statement and its parameters.
pub(super) type Answering = Box<dyn FnMut(&str, &Value) -> Result<Value, CallError>>;

pub(super) fn answering<T: Serialize>(
    mut answer: impl FnMut(&str, &Value) -> Result<T, CallError> + 'static,
) -> Answering {
    Box::new(
        move |sql, parameters| match serde_json::to_value(answer(sql, parameters)?) {
            Ok(answer) => Ok(answer),
            Err(error) => panic!("{error}"),
        },
    )
}

pub(super) fn stand_in(mut databases: BTreeMap<String, Answering>) -> StandIn {
    let mut transactions = 0_u32;
    Box::new(move |call| {
        let name = call.binding;
        if !databases.contains_key(name) {
            let others: Vec<_> = databases.keys().map(String::as_str).collect();
            panic!(
                "the handler asks the database {name:?}, of which the test says nothing: add `.sql({name:?}, |sql, parameters| …)`; it \
                 has {}",
                others.join(", ")
            )
        }
        if call.operation == OPERATION_SQL_BEGIN {
            transactions += 1;
            let number = field(Tag::Transaction, &transactions.to_le_bytes());
            return super::encode(Ok((number, &[])));
        }
        if !matches!(call.operation, OPERATION_SQL_EXECUTE | OPERATION_SQL_QUERY) {
            return super::encode(Ok((Vec::new(), &[])));
        }
        let mut fields = Fields::new(call.fields).flatten();
        let sql = fields.find_map(|(tag, value)| (tag == Tag::Statement).then_some(value));
        let sql = String::from_utf8_lossy(sql.unwrap_or_default()).into_owned();
        let parameters = match call.body.is_empty() {
            true => Value::Array(Vec::new()),
            false => serde_json::from_slice(&call.body).unwrap_or_default(),
        };
        let answer = databases.get_mut(name).map(|it| it(&sql, &parameters));
        match answer.unwrap_or(Ok(Value::Null)) {
            Ok(answer) => answer_of(call.operation, &sql, &answer),
            Err(error) => super::encode(Err(&error)),
        }
    })
}

/// Rows, or how many of them were changed.
fn answer_of(operation: u16, sql: &str, answer: &Value) -> crate::platform::Reply {
    let rows = answer.as_array();
    if operation == OPERATION_SQL_QUERY {
        if rows.is_none() {
            panic!("the answer to {sql:?} has to be rows, a list, and is {answer}")
        }
        return super::encode(Ok((Vec::new(), format!("{answer}").as_bytes())));
    }
    let changed = answer.as_u64().or_else(|| u64::try_from(rows?.len()).ok());
    let Some(changed) = changed else {
        panic!(
            "the answer to {sql:?} has to be how many rows it changes, or a list of them, and is {answer}"
        )
    };
    super::encode(Ok((field(Tag::Changed, &changed.to_le_bytes()), &[])))
}

fn field(tag: Tag, value: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    if let Err(error) = put_field(&mut fields, tag, value) {
        panic!("{error}");
    }
    fields
}
