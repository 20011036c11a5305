//! Requests: to which version, in which VM, and what is written of them afterwards.
//!
//! Until the response there is one lookup in memory and the pool's lock, no task, no channel and no disk.

use std::{
    iter::once,
    sync::Arc,
    time::{Duration, Instant},
};

use jiffy_abi::{
    frame::{BODY_BYTES_MAX, FIELD_HEADER_BYTES, HEAD_BYTES_MAX},
    log_ring::Level,
};
use jiffy_control::{INDENT, LogLoss, LogRecord, Request, Response, Untrusted, error_chain};
use jiffy_model::{EndsRequest as _, Outcome};
use jiffy_snapshots::{PageRun, write_working_set};
use tokio::{sync::oneshot, task::spawn_blocking};
use uuid::Uuid;

use super::{
    InvokeFacts, InvokeFailure, InvokeInput, Invoked, LOG_TAIL_BYTES_MAX, NoAnswer, Service,
    Timings,
    directory::{Entry, Slot},
    failure, now_ms,
};
use crate::{
    model::{AliasTarget, FunctionName, Qualifier, Version, VersionNumber},
    pool::{Deployed, Lease, RETRY_AFTER, Refused, Start},
    symbols::{Found, unknown},
    usage::UsageRecord,
    vm::{Settled, VmError, Vms},
};

/// VMs that a request finds dead at most before it fails.
const UNDELIVERED_MAX: u32 = 32;
/// VMs of a request that are ended for want of memory at most before it is refused. The pool starts fewer after each.
const SQUEEZED_MAX: u32 = 5;
/// Stands where the beginning of a log's tail was left out.
const ELLIPSIS: &str = "…";
/// What the longest value of a field may have, bytes: its length is a u16.
const FIELD_BYTES_MAX: usize = u16::MAX as usize;

/// A request in its VM. If it is dropped, its record is written as that of a cancelled request, with what the VM took until
/// then.
struct Running<'a, V: Vms> {
    service: &'a Arc<Service<V>>,
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
            let left = LogRecord {
                level: Level::Warn as u8,
                text: "the caller left before the response, and the request was ended".into(),
            };
            let service = Arc::clone(self.service);
            self.lease.on_settled(Box::new(move |settled| {
                let Settled {
                    stats, mut logs, ..
                } = settled.unwrap_or_default();
                logs.push(left);
                service
                    .observer
                    .invoked(record.measured_at_end(&stats), logs);
            }));
        }
    }
}

impl<V: Vms> Service<V> {
    /// Sends a request to a function.
    pub async fn invoke(
        self: &Arc<Self>,
        name: &FunctionName,
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

    /// The version that `qualifier` leads to; for a weighted alias its main one.
    pub fn resolve(&self, name: &FunctionName, qualifier: &Qualifier) -> Result<Version, NoAnswer> {
        let entry = self.invoked_entry(name)?;
        let slot = choose(&entry, qualifier, None)?;
        Ok(slot.version.clone())
    }

    fn invoked_entry(&self, name: &FunctionName) -> Result<Arc<Entry>, NoAnswer> {
        let entry = self.directory.get(name);
        entry.ok_or_else(|| {
            let text = format!("there is no function {name}: deploy it first");
            NoAnswer::new(Outcome::NotFound, text)
        })
    }

    /// A VM for a request.
    async fn lease(
        &self,
        name: &FunctionName,
        deployed: &Arc<Deployed>,
    ) -> Result<Lease<V>, NoAnswer> {
        // A limit of none stops the function at once, idle VMs or not.
        if deployed.reserved_concurrency == Some(0) {
            self.metrics().unserved(name, Outcome::Stopped);
            let text = format!(
                "{name} is stopped, its reserved concurrency is 0: raise or remove that and try again"
            );
            return Err(NoAnswer::new(Outcome::Stopped, text));
        }
        let acquired = self.pool.acquire(deployed).await;
        acquired.map_err(|refused| {
            self.metrics().unserved(name, refused.outcome());
            refusal(&refused)
        })
    }

    async fn answer(
        self: &Arc<Self>,
        name: &FunctionName,
        qualifier: &Qualifier,
        input: InvokeInput,
        draw: u16,
        facts: &mut InvokeFacts,
    ) -> Result<Response, NoAnswer> {
        let came = Instant::now();
        let entry = self.invoked_entry(name)?;
        let slot = choose(&entry, qualifier, Some(draw))?;
        let number = slot.version.number;
        facts.version = Some(number);
        let (mut http, mut body) = (input.http, input.body);
        if slot.version.takes_http
            && let Some(unpack) = input.unpack_http
            && let Some(event) = unpack(&body)
        {
            (http, body) = (Some(event.http), event.body);
            facts.http_format = Some(event.format);
        }
        let request = Request {
            request_id: facts.request_id.clone(),
            function_name: name.to_string(),
            function_version: input.version_text.unwrap_or_else(|| number.to_string()),
            traceparent: input.traceparent,
            client_address: input.client_address,
            client_context: input.client_context,
            http,
            body,
        };
        check_size(&request)?;
        let deployed = self.deployed(name, slot).await;
        let deployed =
            deployed.map_err(|failure| NoAnswer::new(Outcome::Platform, failure.text))?;
        facts.timeout_ms = deployed.settings.timeout_ms;
        let (mut undelivered, mut squeezed) = (0, 0);
        let (mut running, response) = loop {
            let lease = self.lease(name, &deployed).await?;
            facts.start = Some(lease.start);
            facts.timings = Timings {
                queue: lease.queue,
                restore: lease.restore,
                run: Duration::ZERO,
            };
            let mut running = Running {
                service: self,
                record: Some(record(&request, &deployed, &lease)),
                lease,
                came,
                began: Instant::now(),
            };
            match running.lease.invoke(&request).await {
                Err(error) if is_squeezed_now(&error, running.lease.start) => {
                    running.record = None;
                    running.lease.end_squeezed().await;
                    if squeezed == SQUEEZED_MAX {
                        self.metrics().unserved(name, Outcome::NoMemory);
                        return Err(failure::of_request(&error));
                    }
                    squeezed += 1;
                }
                // It died while it waited, and nobody has begun with the request.
                Err(VmError::Undelivered(end)) if undelivered < UNDELIVERED_MAX => {
                    undelivered += 1;
                    running.record = None;
                    tracing::debug!(function = %name, error = %end, "an idle VM has died");
                }
                response => break (running, response),
            }
        };
        facts.timings.run = running.began.elapsed();
        let (outcome, response) = match response {
            Ok(response) => (response.outcome(), Ok(response)),
            Err(error) => {
                let mut why = failure::of_request(&error);
                if self.was_damaged(name, slot, &deployed, &error).await {
                    let text = "the function's snapshot was damaged on disk, and is being made again: try again";
                    why = NoAnswer::new(Outcome::Platform, text);
                } else {
                    let found = self.backtrace(&deployed, &slot.version, &error).await;
                    (facts.backtrace, facts.backtrace_note) = (found.frames, found.note);
                }
                (why.outcome, Err((why, error)))
            }
        };
        let (sender, tail) = match input.wants_log_tail {
            true => {
                let (sender, tail) = oneshot::channel();
                (Some(sender), Some(tail))
            }
            false => (None, None),
        };
        if let Some(mut record) = running.end(outcome) {
            if let Ok(response) = &response {
                record.bytes_out = response.body.len() as u64;
            }
            let after = After {
                service: Arc::clone(self),
                slot: Arc::clone(slot),
                deployed,
                record,
                failure: match &response {
                    Ok(response) => failure::sentence(response),
                    Err((why, _)) => {
                        let frames = facts.backtrace.iter();
                        let lines = frames.map(|frame| format!("\n  at {frame}"));
                        let note = facts.backtrace_note.as_ref();
                        let note = note.map(|note| format!("\n  ({note})"));
                        Some(once(why.to_string()).chain(lines).chain(note).collect())
                    }
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
}

impl<V: Vms> Service<V> {
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
        let open = async { Some(self.image(&digest).await.ok()?.0) };
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

/// Whether memory is short now, and the request is to be given to another VM, once there is room for that.
///
/// It is, also when the handler has begun, because nothing else remains of the first time: a guest reaches nothing outside but
/// its response, of which none was passed on, and its log, which ends with the VM. Neither its record nor its time is
/// charged. Functions that have effects elsewhere will have to be asked for a request only once.
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
        memory_bytes: deployed.settings.memory_bytes,
        memory_touched_bytes: 0,
        log_lost: LogLoss::default(),
    }
}

/// What is left to do when a VM has settled.
struct After<V: Vms> {
    service: Arc<Service<V>>,
    slot: Arc<Slot>,
    deployed: Arc<Deployed>,
    record: UsageRecord,
    /// Why there is no answer, or none that the caller wanted.
    failure: Option<String>,
    /// Its VM ended with it.
    is_end: bool,
    tail: Option<oneshot::Sender<String>>,
}

impl<V: Vms> After<V> {
    fn settled(mut self, settled: Result<Settled, VmError>, stopped: Option<jiffy_control::Stats>) {
        let settled = settled.unwrap_or_else(|error| {
            let function = &self.record.function;
            tracing::debug!(%function, %error, "a VM did not settle");
            Settled::default()
        });
        if let Some(gone) = &settled.gone {
            let function = &self.record.function;
            tracing::debug!(%function, %gone, "a VM ended after its response");
        }
        let is_end = self.is_end || settled.gone.is_some();
        let stats = stopped.unwrap_or(settled.stats);
        let is_cold = self.record.restore_us > 0 || self.record.start == Start::Cold;
        self.record = match is_end {
            true => self.record.measured_at_end(&stats),
            false => self.record.measured(&stats),
        };
        let memory_bytes = self.record.memory_bytes;
        self.record.memory_touched_bytes = self.record.memory_touched_bytes.min(memory_bytes);
        let (by_vmm, by_agent) = (stats.last_request_log_lost, settled.log_lost);
        self.record.log_lost = by_vmm.and(&by_agent);
        if !self.record.log_lost.is_none() {
            self.service.metrics().log_lost(&by_vmm, &by_agent);
        }
        if is_cold && stats.phases.restore_ns > 0 {
            self.record.restore_us = stats.phases.restore_ns / 1000;
        }
        let mut logs = settled.logs;
        if let Some(fault) = settled.fault {
            // Its caller has an answer, which was the function's own; what else it sent reaches nobody.
            self.record.outcome = Outcome::Fault;
            self.failure = Some(NoAnswer::new(Outcome::BadResponse, fault.to_string()).to_string());
        }
        if let Some(text) = self.failure.take() {
            let level = Level::Error as u8;
            logs.push(LogRecord { level, text });
        }
        if let Some(tail) = self.tail.take() {
            // Who asked may have gone.
            let _ = tail.send(log_tail(&logs, &self.record));
        }
        if let Some(runs) = settled.working_set {
            self.keep_working_set(runs);
        }
        self.service.observer.invoked(self.record, logs);
    }

    /// Writes the pages that the first request wrote beside the snapshot, and uses them from then on.
    fn keep_working_set(&self, runs: Vec<(u64, u64)>) {
        if !self.slot.begin_working_set() {
            return;
        }
        let run = |(first, pages): (u64, u64)| {
            Some(PageRun {
                first_page: u32::try_from(first).ok()?,
                pages: u32::try_from(pages).ok()?,
            })
        };
        // The VMM says it, and may have been taken over: what is no page is left out here, and the rest checked below.
        let runs: Vec<_> = runs.into_iter().filter_map(run).collect();
        let (service, slot) = (Arc::clone(&self.service), Arc::clone(&self.slot));
        let deployed = Arc::clone(&self.deployed);
        tokio::spawn(async move {
            let function = &deployed.function;
            let digest = deployed.snapshot.snapshot.digest();
            let path = service.snapshots.path(&digest);
            let written = spawn_blocking(move || write_working_set(&path, &runs)).await;
            match written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let error = error_chain(&error);
                    tracing::debug!(%function, %error, "cannot keep a working set");
                    return;
                }
                Err(_) => return,
            }
            match service.open_snapshot(digest, &deployed.settings).await {
                Ok(snapshot) => {
                    service.directory.keep_open(function, &slot, snapshot);
                }
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::debug!(%function, %error, "cannot open a snapshot again");
                }
            }
        });
    }
}

/// The version that a request goes to. An alias with two draws one, or without a draw takes the main one.
fn choose<'a>(
    entry: &'a Entry,
    qualifier: &Qualifier,
    draw: Option<u16>,
) -> Result<&'a Arc<Slot>, NoAnswer> {
    let name = &entry.function.name;
    let live = entry.function.live;
    let number: VersionNumber = match qualifier {
        Qualifier::Live => live,
        Qualifier::Version(number) => *number,
        Qualifier::Alias(alias) => {
            let to = entry.function.aliases.get(alias);
            let to = to.ok_or_else(|| {
                let text = format!("{name} has no alias {alias}: set it first");
                NoAnswer::new(Outcome::NotFound, text)
            })?;
            match (to.other, draw) {
                (Some((other, per_mille)), Some(draw)) if draw < per_mille => other,
                _ => match to.version {
                    AliasTarget::Live => live,
                    AliasTarget::Version(number) => number,
                },
            }
        }
    };
    // The number of a live version that is not published yet names nothing that stays.
    let names_it =
        |slot: &&Arc<Slot>| slot.version.published || !matches!(qualifier, Qualifier::Version(_));
    let slot = entry.versions.get(&number).filter(names_it);
    slot.ok_or_else(|| {
        let text = format!("{name} has no version {number}: choose one that `versions` lists");
        NoAnswer::new(Outcome::NotFound, text)
    })
}

/// Refuses what no frame holds before a VM is spent on it.
fn check_size(request: &Request) -> Result<(), NoAnswer> {
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

/// The end of a request's log, no longer than allowed, and whole characters. Each line at the margin begins a record,
/// and one that begins with `REPORT` is the agent's: a guest can forge neither.
fn log_tail(logs: &[LogRecord], record: &UsageRecord) -> String {
    let report = record.report_line();
    let mut room_bytes = LOG_TAIL_BYTES_MAX.saturating_sub(report.len() + 1);
    let mut newest = vec![];
    for log in logs.iter().rev() {
        let indent = if log.text.starts_with("REPORT") {
            INDENT
        } else {
            ""
        };
        let text = format!("{indent}{}\n", Untrusted(&log.text));
        if text.len() > room_bytes {
            // Its end, marked: what is behind its indentation must not begin the tail.
            if let Some(room_bytes) = room_bytes.checked_sub(ELLIPSIS.len()) {
                let start = text.ceil_char_boundary(text.len() - room_bytes);
                newest.push(format!("{ELLIPSIS}{}", &text[start..]));
            }
            break;
        }
        room_bytes -= text.len();
        newest.push(text);
    }
    let mut tail: String = newest.into_iter().rev().collect();
    tail.push_str(&report);
    tail.push('\n');
    tail
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
