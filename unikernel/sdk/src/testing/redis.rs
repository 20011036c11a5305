//! Redis databases, answered by closures of a test: [`Call::redis`](super::Call::redis).

use alloc::{
    borrow::Cow,
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use jiffy_abi::{
    call::{CallErrorKind, OPERATION_REDIS_ATOMIC, Sent},
    redis::{Commands, commands},
};

use super::encode;
use crate::{call::CallError, platform::StandIn, redis::Value};

/// What a database of a test replies to a command.
pub(super) type Answering = Box<dyn FnMut(&[&str]) -> Result<Value, CallError>>;

pub(super) fn answering<V: Into<Value>>(
    mut answer: impl FnMut(&[&str]) -> V + 'static,
) -> Answering {
    Box::new(move |command| Ok(answer(command).into()))
}

pub(super) fn stand_in(mut databases: BTreeMap<String, Answering>) -> StandIn {
    Box::new(move |call| {
        let name = call.binding;
        let others: Vec<_> = databases.keys().cloned().collect();
        let Some(database) = databases.get_mut(name) else {
            panic!(
                "the handler uses the Redis database {name:?}, of which the test says nothing: add `.redis({name:?}, |command| …)`; it has {}",
                others.join(", ")
            )
        };
        let is_atomic = call.operation == OPERATION_REDIS_ATOMIC;
        let value = replies(database, &call.body, is_atomic);
        let mut body = Vec::new();
        if let Ok(value) = &value {
            value.encode(&mut body);
        }
        encode(value.as_ref().map(|_| (Vec::new(), &*body)))
    })
}

/// As a host and a server would reply: nothing is sent if something may not be.
fn replies(database: &mut Answering, body: &[u8], is_atomic: bool) -> Result<Value, CallError> {
    let mut wanted = Vec::new();
    for command in Commands::new(body) {
        let invalid = |why: &str| CallError::new(CallErrorKind::Invalid, Sent::No, why);
        let command = command.map_err(|error| invalid(&error.to_string()))?;
        if let Some(why) = commands::refusal(command.clone()) {
            let why = format!("{} may not be sent: {why}", commands::name(command));
            return Err(CallError::new(CallErrorKind::Denied, Sent::No, &why));
        }
        wanted.push(command.map(String::from_utf8_lossy).collect::<Vec<_>>());
    }
    let mut replies = Vec::new();
    let mut failed = None;
    for (index, command) in wanted.iter().enumerate() {
        let words: Vec<_> = command.iter().map(Cow::as_ref).collect();
        let reply = database(&words)?;
        if let Value::Error(text) = &reply {
            let name = words.first().map_or("", |it| *it);
            let why = match is_atomic {
                true => format!(
                    "command {} ({name}): {text}; the others are made",
                    index + 1
                ),
                false => format!("{name}: {text}"),
            };
            failed.get_or_insert_with(|| CallError::new(CallErrorKind::Failed, Sent::Yes, &why));
        }
        replies.push(reply);
    }
    match (failed, is_atomic) {
        (Some(error), _) => Err(error),
        (None, true) => Ok(Value::Array(replies)),
        (None, false) => Ok(replies.pop().unwrap_or_default()),
    }
}

/// A database that replies to nothing.
pub(super) fn failing(error: CallError) -> Answering {
    Box::new(move |_| Err(error.clone()))
}
