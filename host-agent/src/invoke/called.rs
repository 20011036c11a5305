//! Requests of functions to other functions: as those of clients, within the time of the function that waits.

use std::sync::Arc;

use jiffy_abi::{call::Sent, frame::ResponseKind};
use jiffy_capabilities::{Answering, Event, Invoke, Unanswered};

use super::{Invocation, InvokeFailure, InvokeInput, failure};
use crate::{model::Qualifier, vm::Vms};

impl<V: Vms> Invoke for Invocation<V> {
    fn answer_call(self: Arc<Self>, event: Event) -> Answering {
        Box::pin(async move {
            let input = InvokeInput {
                traceparent: event.traceparent,
                body: event.body,
                ..InvokeInput::default()
            };
            let name = event.function;
            let invoked = self.invoke(&name, &Qualifier::default(), input).await;
            let response = match invoked {
                Ok(invoked) => invoked.response,
                Err(InvokeFailure { why, facts }) => {
                    return Err(Unanswered {
                        // With a start it had a VM, and nobody knows how far that came.
                        sent: facts.start.map_or(Sent::No, |_| Sent::Maybe),
                        text: format!("{name} has not answered: {why}"),
                    });
                }
            };
            let refused = match response.kind {
                ResponseKind::Ok => return Ok(response.body),
                ResponseKind::Http => Some("the function answers HTTP requests only".into()),
                ResponseKind::FunctionError | ResponseKind::BadEvent => {
                    failure::sentence(&response)
                }
            };
            Err(Unanswered {
                sent: Sent::Yes,
                text: format!("{name} has failed: {}", refused.unwrap_or_default()),
            })
        })
    }
}
