//! Runs a request: from its version on this host to the response, in as many VMs as it takes.
//!
//! Until the response there is no task, no channel and no disk.
//! Not here: what is left to do after it (`after`).

use std::{
    iter::once,
    sync::Arc,
    time::{Duration, Instant},
};

use jiffy_abi::log_ring::Level;
use jiffy_control::{LogLoss, LogRecord, Request, Response};
use jiffy_model::{EndsRequest as _, Outcome};
use tokio::sync::oneshot;

use super::{
    Invocation, InvokeFacts, InvokeInput, NoAnswer, Timings, admit::check_size, after::After,
    failure, micros, route::choose,
};
use crate::{
    model::{FunctionId, Qualifier, Version},
    observe::now_ms,
    pool::{Deployed, Lease, Start},
    prepare::Slot,
    symbols::{Found, unknown},
    usage::UsageRecord,
    vm::{Settled, VmError, Vms},
};

/// VMs that a request finds dead at most before it fails.
const UNDELIVERED_MAX: u32 = 32;
/// VMs of a request that are ended for want of memory at most before it is refused. The pool starts fewer after each.
const SQUEEZED_MAX: u32 = 5;
/// A request in its VM. If it is dropped, its record is written as that of a cancelled request, with what the VM took until
/// then.
struct Running<'a, V: Vms> {
    invocation: &'a Arc<Invocation<V>>,
    lease: Lease<V>,
    record: Option<UsageRecord>,
    came: Instant,
    began: Instant,
}

impl<V: Vms> Running<'_, V> {
    fn end(&mut self, outcome: Outcome) -> Option<UsageRecord> {
        let mut record = self.record.take()?;
        record.outcome = outcome.recorded();
        record.run_us = micros(self.began.elapsed());
        record.wall_us = micros(self.came.elapsed());
        Some(record)
    }
}

impl<V: Vms> Drop for Running<'_, V> {
    fn drop(&mut self) {
        if let Some(record) = self.end(Outcome::Cancelled) {
            let text = "the caller left before the response, and the request was ended";
            let left = LogRecord::of_platform(Level::Warn, text);
            let invocation = Arc::clone(self.invocation);
            self.lease.on_settled(Box::new(move |settled| {
                let Settled {
                    stats,
                    called,
                    calls,
                    mut logs,
                    ..
                } = settled.unwrap_or_default();
                logs.extend(calls);
                logs.push(left);
                let record = record.measured_at_end(&stats).with_calls(&called);
                invocation.observer.invoked(record, logs);
            }));
        }
    }
}

impl<V: Vms> Invocation<V> {
    pub(super) async fn answer(
        self: &Arc<Self>,
        name: &FunctionId,
        qualifier: &Qualifier,
        input: InvokeInput,
        draw: u16,
        facts: &mut InvokeFacts,
    ) -> Result<Response, NoAnswer> {
        let came = Instant::now();
        let entry = self.catalog.entry(name)?;
        let slot = self
            .prepare
            .slot(&entry, choose(&entry, qualifier, Some(draw))?);
        facts.version = Some(slot.version.number);
        let wants_log_tail = input.wants_log_tail;
        let request = request(name, &slot.version, input, facts);
        check_size(&request)?;
        let deployed = self.prepare.deployed(&slot).await;
        let deployed =
            deployed.map_err(|failure| NoAnswer::new(Outcome::Platform, failure.text))?;
        facts.timeout_ms = deployed.settings.timeout_ms;
        let (mut running, response) = self.run(&request, &deployed, came, facts).await?;
        facts.timings.run = running.began.elapsed();
        let response = match response {
            Ok(response) => Ok(response),
            Err(error) => Err((self.why(&slot, &deployed, &error, facts).await, error)),
        };
        let (sender, tail) = match wants_log_tail {
            true => {
                let (sender, tail) = oneshot::channel();
                (Some(sender), Some(tail))
            }
            false => (None, None),
        };
        let outcome = match &response {
            Ok(response) => response.outcome(),
            Err((why, _)) => why.outcome,
        };
        if let Some(mut record) = running.end(outcome) {
            if let Ok(response) = &response {
                record.bytes_out = response.body.len() as u64;
            }
            let after = After {
                invocation: Arc::clone(self),
                slot,
                deployed,
                record,
                failure: match &response {
                    Ok(response) => failure::sentence(response),
                    Err((why, _)) => Some(failure_text(why, facts)),
                },
                is_end: response.is_err(),
                tail: sender,
            };
            let stopped = match &response {
                Err((_, VmError::Stopped(report))) => Some(report.stats),
                _ => None,
            };
            let settled = move |settled| after.settled(settled, stopped);
            running.lease.on_settled(Box::new(settled));
        }
        // Gives the VM back. What is left to do happens in the background.
        drop(running);
        if let Some(tail) = tail {
            // The pool waits for no VM for ever; if it gave up, there is no log.
            facts.log_tail = tail.await.ok();
        }
        response.map_err(|(why, _)| why)
    }

    /// Gives the request to a VM, and to another if that one was dead before, or is ended for want of memory.
    async fn run(
        self: &Arc<Self>,
        request: &Request,
        deployed: &Arc<Deployed>,
        came: Instant,
        facts: &mut InvokeFacts,
    ) -> Result<(Running<'_, V>, Result<Response, VmError>), NoAnswer> {
        let name = &deployed.function;
        let (mut undelivered, mut squeezed, mut squeezed_cpu_us) = (0, 0, 0);
        loop {
            let lease = self.lease(name, deployed).await?;
            facts.start = Some(lease.start);
            facts.timings = Timings {
                queue: lease.queue,
                restore: lease.restore,
                run: Duration::ZERO,
            };
            let mut running = Running {
                invocation: self,
                record: Some(UsageRecord {
                    cpu_us: squeezed_cpu_us,
                    ..record(request, deployed, &lease)
                }),
                lease,
                came,
                began: Instant::now(),
            };
            match running.lease.invoke(request).await {
                Err(error) if is_squeezed_now(&error, running.lease.start) => {
                    let has_called = matches!(error, VmError::SqueezedAfterCalls);
                    let record = running.end(error.outcome());
                    let settled = running.lease.end_squeezed().await;
                    let (stats, called, mut logs) = (settled.stats, settled.called, settled.calls);
                    let record =
                        record.map(|record| record.measured_at_end(&stats).with_calls(&called));
                    squeezed_cpu_us = record.as_ref().map_or(0, |record| record.cpu_us);
                    if squeezed == SQUEEZED_MAX || has_called {
                        let why = failure::of_request(&error);
                        // Whoever fills the memory of all does not compute for nothing.
                        if let Some(record) = record {
                            logs.push(LogRecord::of_platform(Level::Error, why.to_string()));
                            self.observer.invoked(record, logs);
                        }
                        if !has_called {
                            self.observer.metrics().unserved(name, why.outcome);
                        }
                        return Err(why);
                    }
                    squeezed += 1;
                }
                // It died while it waited, and nobody has begun with the request.
                Err(VmError::Undelivered(end)) if undelivered < UNDELIVERED_MAX => {
                    undelivered += 1;
                    running.record = None;
                    tracing::debug!(function = %name, error = %end, "an idle VM has died");
                }
                response => return Ok((running, response)),
            }
        }
    }

    /// What a caller is told of `error`; where the guest was then goes to `facts`.
    async fn why(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        deployed: &Arc<Deployed>,
        error: &VmError,
        facts: &mut InvokeFacts,
    ) -> NoAnswer {
        if self.prepare.was_damaged(slot, deployed, error).await {
            let text =
                "the function's snapshot was damaged on disk, and is being made again: try again";
            return NoAnswer::new(Outcome::Platform, text);
        }
        let found = self.backtrace(deployed, &slot.version, error).await;
        (facts.backtrace, facts.backtrace_note) = (found.frames, found.note);
        failure::of_request(error)
    }

    /// Where the guest was when its VM ended. Waits for another process the first time it was there.
    async fn backtrace(
        self: &Arc<Self>,
        deployed: &Deployed,
        version: &Version,
        error: &VmError,
    ) -> Found {
        let Some((backtrace, innermost)) = failure::backtrace(error) else {
            return Found::default();
        };
        let digest = version.image;
        let open = async { Some(self.prepare.image(&digest).await.ok()?.0) };
        match &self.symbolizer {
            Some(symbolizer) => {
                let function = &deployed.function;
                let frames = symbolizer.frames(function, digest, backtrace, innermost, open);
                frames.await
            }
            None => Found {
                frames: unknown(&backtrace.0),
                note: None,
            },
        }
    }
}

/// The request as its VM gets it.
fn request(
    name: &FunctionId,
    version: &Version,
    input: InvokeInput,
    facts: &mut InvokeFacts,
) -> Request {
    let (mut http, mut body) = (input.http, input.body);
    if version.takes_http
        && let Some(unpack) = input.unpack_http
        && let Some(event) = unpack(&body)
    {
        (http, body) = (Some(event.http), event.body);
        facts.http_format = Some(event.format);
    }
    Request {
        request_id: facts.request_id.clone(),
        function_name: name.to_string(),
        function_version: input
            .version_text
            .unwrap_or_else(|| version.number.to_string()),
        traceparent: input.traceparent,
        client_address: input.client_address,
        client_context: input.client_context,
        http,
        body,
    }
}

/// What the function's log says of a request without a response.
fn failure_text(why: &NoAnswer, facts: &InvokeFacts) -> String {
    let frames = facts.backtrace.iter();
    let lines = frames.map(|frame| format!("\n  at {frame}"));
    let note = facts.backtrace_note.as_ref();
    let note = note.map(|note| format!("\n  ({note})"));
    once(why.to_string()).chain(lines).chain(note).collect()
}

/// Whether memory is short now, and the request is to be given to another VM, once there is room for that.
///
/// It is, also when the handler has begun, because nothing else remains of the first time: its response, of which none was
/// passed on, and its log, which ends with the VM. It has no record, but its CPU time is in that of the last VM. A request that
/// has made calls is not repeated: they are done.
/// One that died idle may have done so long ago, and gave its memory back then.
fn is_squeezed_now(error: &VmError, start: Start) -> bool {
    let was_idle = matches!(error, VmError::Undelivered(_)) && start != Start::Cold;
    error.is_squeeze() && !was_idle
}

/// What is known of a request that has its VM.
fn record<V: Vms>(request: &Request, deployed: &Deployed, lease: &Lease<V>) -> UsageRecord {
    UsageRecord {
        ts_ms: now_ms(),
        request_id: request.request_id.clone(),
        function: deployed.function.clone(),
        version: deployed.version,
        start: lease.start,
        outcome: Outcome::Cancelled,
        queue_us: micros(lease.queue),
        restore_us: micros(lease.restore),
        run_us: 0,
        wall_us: 0,
        cpu_us: 0,
        reset_us: 0,
        pages_written: 0,
        exits: 0,
        bytes_in: request.body.len() as u64,
        bytes_out: 0,
        calls: 0,
        call_bytes: 0,
        reply_bytes: 0,
        calls_us: 0,
        memory_bytes: deployed.settings.memory_bytes,
        memory_touched_bytes: 0,
        log_lost: LogLoss::default(),
    }
}
