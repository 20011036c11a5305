//! Requests: routed to a version, admitted to a VM, run, and written down.
//!
//! ```text
//! route: name, qualifier ─▶ version ─▶ prepare: its snapshot ─▶ admit: a VM ─▶ run ─▶ response ── after it ─▶ log, usage
//! ```
//!
//! A function invokes another by the same way (`called`).
//! Not here: HTTP (`api`, `lambda`); what is deployed (`catalog`); snapshots (`prepare`); which VM a request gets (`pool`).

mod admit;
mod after;
mod called;
mod failure;
mod outcome;
mod route;
mod run;

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

pub use self::outcome::{
    HttpEvent, InvokeFacts, InvokeFailure, InvokeInput, Invoked, LOG_TAIL_BYTES_MAX, NoAnswer,
    Timings, UnpackHttp,
};
use crate::{
    catalog::Catalog,
    model::{FunctionId, Qualifier},
    observe::Observer,
    pool::Pool,
    prepare::Preparation,
    symbols::Symbolizer,
    vm::Vms,
};

/// What runs requests.
pub(crate) struct Invocation<V: Vms> {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) prepare: Arc<Preparation<V>>,
    pub(crate) pool: Arc<Pool<V>>,
    pub(crate) observer: Arc<Observer>,
    /// What names functions, files and lines of a backtrace.
    pub(crate) symbolizer: Option<Symbolizer>,
}

impl<V: Vms> Invocation<V> {
    /// Sends a request to a function.
    pub(crate) async fn invoke(
        self: &Arc<Self>,
        name: &FunctionId,
        qualifier: &Qualifier,
        input: InvokeInput,
    ) -> Result<Invoked, InvokeFailure> {
        let random = Uuid::new_v4();
        let mut facts = Box::new(InvokeFacts::default());
        facts.request_id = match &input.request_id {
            Some(id) => id.clone(),
            None => random.to_string(),
        };
        // The low 62 bits of such a UUID are random.
        let draw = u16::try_from((random.as_u128() & (u128::MAX >> 66)) % 1000).unwrap_or_default();
        match self.answer(name, qualifier, input, draw, &mut facts).await {
            Ok(response) => Ok(Invoked {
                response,
                facts: *facts,
            }),
            Err(why) => Err(InvokeFailure { why, facts }),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
