//! Admits a request: what fits a frame, and gets a VM.
//! Not here: which VM, and who waits for one (`pool`).

use std::sync::Arc;

use jiffy_abi::frame::{BODY_BYTES_MAX, FIELD_HEADER_BYTES, HEAD_BYTES_MAX};
use jiffy_control::Request;
use jiffy_model::{EndsRequest as _, Outcome};

use super::{Invocation, NoAnswer, failure};
use crate::{
    model::FunctionId,
    pool::{Deployed, Lease, RETRY_AFTER, Refused},
    vm::Vms,
};

/// What the longest value of a field may have, bytes: its length is a u16.
const FIELD_BYTES_MAX: usize = u16::MAX as usize;

impl<V: Vms> Invocation<V> {
    /// A VM for a request.
    pub(super) async fn lease(
        &self,
        name: &FunctionId,
        deployed: &Arc<Deployed>,
    ) -> Result<Lease<V>, NoAnswer> {
        // A limit of none stops the function at once, idle VMs or not.
        if deployed.reserved_concurrency == Some(0) {
            self.observer.metrics().unserved(name, Outcome::Stopped);
            let text = format!(
                "{name} is stopped, its reserved concurrency is 0: raise or remove that and try again"
            );
            return Err(NoAnswer::new(Outcome::Stopped, text));
        }
        let acquired = self.pool.acquire(deployed).await;
        acquired.map_err(|refused| {
            self.observer.metrics().unserved(name, refused.outcome());
            refusal(&refused)
        })
    }
}

/// Refuses what no frame holds before a VM is spent on it.
pub(super) fn check_size(request: &Request) -> Result<(), NoAnswer> {
    let too_large = |what: String| {
        let text = format!("the request is too large: {what}");
        Err(NoAnswer::new(Outcome::Unframed, text))
    };
    let body_bytes = request.body.len();
    if body_bytes > BODY_BYTES_MAX as usize {
        return too_large(format!(
            "its body has {body_bytes} bytes, more than {BODY_BYTES_MAX}"
        ));
    }
    let http = request.http.iter();
    let texts = [
        &request.request_id,
        &request.function_name,
        &request.function_version,
    ];
    let lens = texts
        .into_iter()
        .chain(&request.traceparent)
        .chain(&request.client_address)
        .chain(&request.client_context)
        .chain(http.clone().flat_map(|http| [&http.method, &http.target]))
        .map(String::len);
    let headers = http.flat_map(|http| &http.headers);
    let header_lens = headers.flat_map(|(name, value)| [name.len(), value.len()]);
    let mut head_bytes = 0;
    for len in lens.chain(header_lens) {
        if len > FIELD_BYTES_MAX {
            return too_large(format!(
                "a header or its target has {len} bytes, more than {FIELD_BYTES_MAX}"
            ));
        }
        head_bytes += FIELD_HEADER_BYTES + len;
    }
    if head_bytes > HEAD_BYTES_MAX as usize {
        return too_large(format!(
            "its headers have {head_bytes} bytes, more than {HEAD_BYTES_MAX}"
        ));
    }
    Ok(())
}

fn refusal(refused: &Refused) -> NoAnswer {
    if let Refused::Vm(error) = refused
        && error.is_squeeze()
    {
        return failure::of_request(error);
    }
    let (text, retry_after) = match refused {
        Refused::Busy { retry_after } => {
            ("the function's VMs are all busy".into(), Some(*retry_after))
        }
        Refused::QueueFull => (
            "too many requests wait for the function".into(),
            Some(RETRY_AFTER),
        ),
        Refused::Memory => (
            "the host has no memory for another VM".into(),
            Some(RETRY_AFTER),
        ),
        Refused::ShuttingDown => ("the host is shutting down".into(), None),
        Refused::Vm(error) => (error.to_string(), None),
    };
    NoAnswer {
        outcome: refused.outcome(),
        text,
        retry_after,
    }
}
