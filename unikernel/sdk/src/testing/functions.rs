//! Other functions, answered by closures of a test: [`Call::invokes`](super::Call::invokes).

use alloc::{boxed::Box, collections::BTreeMap, format, string::String, vec::Vec};

use jiffy_abi::call::{CallErrorKind, ReplyHead, Sent};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    call::CallError,
    platform::{Reply, StandIn},
};

/// What a function of a test makes of an event.
pub(super) type Answering = Box<dyn FnMut(&[u8]) -> Result<Vec<u8>, CallError>>;

pub(super) fn answering<E: DeserializeOwned, T: Serialize>(
    mut answer: impl FnMut(E) -> Result<T, CallError> + 'static,
) -> Answering {
    let failed = |why: &str| CallError::new(CallErrorKind::Failed, Sent::Yes, why);
    Box::new(move |event| {
        let event = serde_json::from_slice(event);
        let event = event.map_err(|error| failed(&format!("event does not parse: {error}")))?;
        serde_json::to_vec(&answer(event)?).map_err(|error| failed(&format!("{error}")))
    })
}

pub(super) fn stand_in(mut functions: BTreeMap<String, Answering>) -> StandIn {
    Box::new(move |call| {
        let name = call.binding;
        if !functions.contains_key(name) {
            let others: Vec<_> = functions.keys().map(String::as_str).collect();
            panic!(
                "the handler invokes the function {name:?}, of which the test says nothing: add `.invokes({name:?}, |event| …)`; it has {}",
                others.join(", ")
            )
        }
        let answer = functions.get_mut(name).map(|function| function(&call.body));
        reply(answer.unwrap_or_else(|| Ok(Vec::new())))
    })
}

fn reply(answer: Result<Vec<u8>, CallError>) -> Reply {
    let mut payload = Vec::new();
    let (error, sent) = match &answer {
        Ok(_) => (None, Sent::Yes),
        Err(error) => (Some(error.kind()), error.sent()),
    };
    if let Err(error) = ReplyHead::write(0, error, sent, |piece| payload.extend_from_slice(piece)) {
        panic!("{error}");
    }
    let head_bytes = payload.len();
    match answer {
        Ok(body) => payload.extend_from_slice(&body),
        Err(error) => payload.extend_from_slice(format!("{error}").as_bytes()),
    }
    Reply {
        head_bytes,
        payload,
    }
}
