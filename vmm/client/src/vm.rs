//! A VM that its owner has: told what to run, asked, captured, listened to.
//!
//! ```text
//! Vm::new ── waiting ──┬─ boot ── ready ──┬─ (invoke ── done, prove_empty)* ── close ── end
//!                      └─ restore ────────┘  capture                 each may instead end in a `VmError`
//! ```
//!
//! Everything a VM says is hostile: lengths are checked before anything is kept, and what breaks the protocol costs the
//! VM its life and nobody else anything. Not here: how one waits (`wait`), processes (`spawner`), any policy of when to
//! start or stop.

use std::{
    fs::File,
    io::{self, ErrorKind},
    mem,
    net::Shutdown,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use jiffy_abi::layout::PAGE_BYTES;
use jiffy_control::{
    Called, Command, Exchange, Frame, Isolation, Missing, Packet, PacketError, PageRuns, Phases,
    Request, Response, Stats, StreamFault,
};
use jiffy_snapshots::{Snapshot, State};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::{
    CallSpan, Calls, CallsInHand, Device, Shell, ShellProcess, VmError, boot_packet,
    news::{LogSink, News},
    restore_packet,
    spans::Spans,
    wait::{Sockets, Step, write_some},
};

/// What is granted beyond a VM's own deadline before it is held for lost.
pub const GRACE: Duration = Duration::from_secs(5);
/// What handing over RAM may take, of the largest there is.
const CAPTURE_TIMEOUT: Duration = Duration::from_secs(60);
/// Name of the file in memory that a captured VM's RAM goes through.
const RAM_FILE_NAME: &str = "jiffy-ram";

/// A VM in a process of its own. Dropping it kills the process.
#[derive(Debug)]
pub struct Vm<S, L> {
    sockets: S,
    process: ShellProcess,
    exchange: Exchange,
    news: News<L>,
    /// Who makes the calls of its requests.
    calls: Option<Arc<dyn Calls>>,
    /// What the calls of its last request were.
    spans: Spans,
    /// What `init`, and each request, may take; known once it has a function.
    limit: Option<Duration>,
    /// What it is given besides the vsock device.
    devices: Vec<Device>,
    /// CPU time of the process when it was ready for its request, as it said.
    cpu_ns_before: u64,
}

/// What there is of a VM that was captured.
#[derive(Debug)]
pub struct Captured {
    /// All but RAM. What it says of its image is the VM's word.
    pub state: Box<State>,
    /// RAM, in memory.
    pub ram: File,
}

/// What became of a request.
enum Exchanged {
    Response(Response),
    /// The stream ended before the response.
    Closed,
    /// It had ended before the request.
    Undelivered,
    /// It ended with some of the request in it: no handler has begun with a request that has not all arrived.
    Unread,
}

impl<S: Sockets, L: LogSink> Vm<S, L> {
    /// The VM in `shell`; its log goes to `logs`.
    pub fn new(shell: Shell, logs: L) -> io::Result<Self> {
        Ok(Self {
            sockets: S::new(shell.control, shell.stream)?,
            process: shell.process,
            exchange: Exchange::new()?,
            news: News::new(logs),
            calls: None,
            spans: Spans::default(),
            limit: None,
            devices: vec![],
            cpu_ns_before: 0,
        })
    }

    /// Its process.
    pub fn process(&self) -> &ShellProcess {
        &self.process
    }

    /// Has `calls` make the calls of its requests, which otherwise are answered that nobody does.
    pub fn serve_calls(&mut self, calls: Arc<dyn Calls>) {
        self.calls = Some(calls);
    }

    /// Who gets its log.
    pub fn logs(&mut self) -> &mut L {
        &mut self.news.logs
    }

    /// Layers that its jail lacks; none until it waits.
    pub fn missing(&self) -> &[Missing] {
        let waiting = self.news.waiting.as_ref();
        waiting.map_or(&[], |(missing, _)| missing)
    }

    /// Waits until its jail is closed and it waits for a command.
    pub async fn waiting(&mut self, limit: Duration) -> Result<(), VmError> {
        let waits = |news: &mut News<L>| news.waiting.as_ref().map(|(_, cpu_ns)| *cpu_ns);
        self.cpu_ns_before = self.wait_for(Some(limit), waits).await?;
        Ok(())
    }

    /// It will boot or be restored with these devices, besides those that each VM has.
    pub fn give(&mut self, devices: &[Device]) {
        self.devices = devices.into();
        self.devices.sort_by_key(Device::id);
        self.devices.dedup_by_key(|device| device.id());
    }

    /// Tells it to boot an image. If it is gone, the next question says why.
    pub fn boot(
        &mut self,
        image: &File,
        ram_bytes: u64,
        limit: Option<Duration>,
        environment: Vec<u8>,
    ) -> Result<(), PacketError> {
        self.limit = limit;
        let packet = boot_packet(ram_bytes, limit, environment, &self.devices)?;
        self.tell_with_devices(&packet, image);
        Ok(())
    }

    /// Tells it to restore a snapshot: whether it was still there to be told.
    pub fn restore(
        &mut self,
        snapshot: &Snapshot,
        isolation: Isolation,
        limit: Option<Duration>,
    ) -> Result<bool, PacketError> {
        self.limit = limit;
        let packet = restore_packet(snapshot, isolation, limit, &self.devices)?;
        // It takes a request at once; if it cannot, it says so then.
        self.news.phases = Some(Phases::default());
        Ok(self.tell_with_devices(&packet, snapshot.ram_file()))
    }

    /// As [`Vm::tell`], with what its devices need. It is not kept here: it ends with the VM.
    fn tell_with_devices(&mut self, packet: &Packet, file: &File) -> bool {
        let devices = mem::take(&mut self.devices);
        let descriptors = devices.iter().filter_map(Device::descriptor);
        let descriptors: Vec<_> = [file.as_fd()].into_iter().chain(descriptors).collect();
        let control = self.sockets.control();
        control.send_with(packet, &descriptors).is_ok()
    }

    /// There is always room: one command is answered before the next.
    fn tell(&self, packet: &Packet, file: &File) -> bool {
        let control = self.sockets.control();
        control.send_with(packet, &[file.as_fd()]).is_ok()
    }

    /// Waits until the guest's `init` is done. Asked again, it answers the same at once.
    pub async fn ready(&mut self) -> Result<Phases, VmError> {
        self.wait_for(self.patience(), |news| news.phases).await
    }

    /// Has a VM that booted, and was asked nothing, hand over all that it is.
    pub async fn capture(&mut self, ram_bytes: u64) -> Result<Captured, VmError> {
        let ram = memfd_create(RAM_FILE_NAME, MemfdFlags::CLOEXEC);
        let ram = File::from(ram.map_err(VmError::host)?);
        ram.set_len(ram_bytes).map_err(VmError::host)?;
        let capture = Packet::new(&Command::Capture).map_err(VmError::host)?;
        self.tell(&capture, &ram);
        let captured = |news: &mut News<L>| news.captured.take();
        let state = self.wait_for(Some(CAPTURE_TIMEOUT), captured).await?;
        Ok(Captured { state, ram })
    }

    /// Sends a request and waits for its response. The one before has to be settled.
    pub async fn invoke(&mut self, request: &Request) -> Result<Response, VmError> {
        let patience = self.patience();
        let response = S::within(patience, self.exchange(request)).await;
        response.unwrap_or(Err(VmError::Unresponsive(patience.unwrap_or_default())))
    }

    /// Waits until it has done what it was asked, and is ready for the next request, pristine again if it is to be.
    pub async fn done(&mut self, limit: Option<Duration>) -> Result<Stats, VmError> {
        let done = self.wait_for(limit, |news| news.done.take()).await?;
        self.cpu_ns_before = done.cpu_ns;
        Ok(done)
    }

    /// Proves, after a response, that nothing of the request is left in the stream of a VM that is done.
    pub fn prove_empty(&mut self, done: &Stats) -> Result<(), StreamFault> {
        self.exchange.prove_empty(done)
    }

    /// What the calls of the last request came to.
    pub fn called(&self) -> Called {
        self.exchange.called()
    }

    /// What the calls of the last request were, as far as they are kept. Asked again, there are none.
    pub fn spans(&self) -> Vec<CallSpan> {
        self.spans.take()
    }

    /// The pages that a restored VM wrote until its first response, as (first page, pages): the VMM tells them once, right
    /// behind that response, if its snapshot has no working set. `None`: it did not tell within `limit`, or was asked
    /// before. They are the VMM's word and unchecked.
    pub async fn working_set(&mut self, limit: Duration) -> Option<PageRuns> {
        let told = |news: &mut News<L>| news.working_set.take();
        let told = self.wait_for(Some(limit), told).await;
        told.map_err(|error| match error {
            VmError::Unresponsive(_) => {}
            end => drop(self.news.end.get_or_insert(end)),
        })
        .ok()
    }

    /// As [`Vm::working_set`], if it is told already.
    pub fn working_set_told(&mut self) -> Option<PageRuns> {
        self.news.working_set.take()
    }

    /// What a VM took that did not say it itself, as far as the kernel knows: ends it, if it has not, and waits for that.
    pub async fn used(&mut self) -> Stats {
        self.process.kill();
        let used = async {
            while self.news.used.is_none() && !self.news.is_closed && self.hear().await.is_ok() {}
            self.news.used.take()
        };
        let used = S::within(Some(GRACE), used).await;
        let used = used.flatten().unwrap_or_default();
        Stats {
            cpu_ns: used.cpu_ns,
            last_request_cpu_ns: used.cpu_ns.saturating_sub(self.cpu_ns_before),
            pages_touched: used.memory_bytes_max / PAGE_BYTES,
            ..Stats::default()
        }
    }

    /// Tells it that there are no more requests. Fails only if it is gone, and then [`Vm::end`] says why.
    pub fn close(&self) {
        let _ = self.sockets.stream().shutdown(Shutdown::Write);
    }

    /// Waits for its end, which is near: how it ended.
    pub async fn end(&mut self) -> VmError {
        let end = self.wait_for(Some(GRACE), |news| news.end.take()).await;
        end.unwrap_or_else(|error| error)
    }

    /// What is waited for a VM that has a deadline of its own.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.limit.map(|limit| limit + GRACE)
    }

    async fn hear(&mut self) -> Result<(), VmError> {
        match self.sockets.read(None, Some(&mut self.news)).await {
            Step::Heard(heard) => heard,
            Step::Called => Ok(()), // Nothing was called for.
            Step::Stream(waited) => waited.map(drop).map_err(VmError::host),
        }
    }

    /// Takes events until `wanted` is among them, or the VM's end.
    async fn wait_for<T: Send>(
        &mut self,
        limit: Option<Duration>,
        mut wanted: impl FnMut(&mut News<L>) -> Option<T> + Send,
    ) -> Result<T, VmError> {
        let found = async {
            loop {
                if let Some(found) = wanted(&mut self.news) {
                    return Ok(found);
                }
                if let Some(end) = self.news.end.take() {
                    return Err(end);
                }
                self.hear().await?;
            }
        };
        let found = S::within(limit, found).await;
        found.unwrap_or(Err(VmError::Unresponsive(limit.unwrap_or_default())))
    }

    /// Sends a request and takes its response; events are taken meanwhile, lest the VM waits for
    /// room to tell them.
    async fn exchange(&mut self, request: &Request) -> Result<Response, VmError> {
        let mut end = None;
        let exchanged = self.exchange_unless(request, &mut end).await?;
        if let Exchanged::Response(response) = exchanged {
            self.news.end = end;
            return Ok(response);
        }
        // When it closes its stream, it says why on the other socket.
        let end = match end {
            Some(end) => end,
            None => self.end().await,
        };
        // Another VM would make them again, and what they are for may be done.
        if self.exchange.called().calls > 0 && end.is_squeeze() {
            return Err(VmError::SqueezedAfterCalls);
        }
        Err(match exchanged {
            Exchanged::Undelivered => VmError::Undelivered(Box::new(end)),
            Exchanged::Unread if end.is_death() => VmError::Undelivered(Box::new(end)),
            _ => end,
        })
    }

    /// As [`Vm::exchange`], but without its end, which goes to `end` if it is heard of: then only the stream has
    /// something to say, whether the request was read.
    async fn exchange_unless(
        &mut self,
        request: &Request,
        end: &mut Option<VmError>,
    ) -> Result<Exchanged, VmError> {
        let frame = self.exchange.ask(request).map_err(VmError::Request)?;
        // One that is gone after it took some of it closes its end: reading then says so.
        if Self::write(&self.sockets, &frame, &mut self.news, end).await? == Err(0) {
            return Ok(Exchanged::Undelivered);
        }
        let began = Instant::now();
        // Of one before that nobody asked for.
        drop(self.spans.take());
        let mut in_hand = CallsInHand {
            spans: self.spans.clone(),
            ..CallsInHand::default()
        };
        loop {
            let done = self.news.done.as_ref();
            if let Some(fault) = done.and_then(|done| self.exchange.incomplete(done)) {
                return Err(VmError::Stream(fault));
            }
            // When it is done, all that there is has been sent.
            let listens = done.is_none() && end.is_none();
            let has_begun = self.exchange.has_begun();
            let Some(buffer) = self.exchange.buffer() else {
                return Ok(Exchanged::Closed); // It is there until the response is.
            };
            let news = listens.then_some(&mut self.news);
            let step = match in_hand.is_empty() {
                true => self.sockets.read(Some(buffer), news).await,
                false => self.sockets.read_calling(buffer, news, &mut in_hand).await,
            };
            match step {
                Step::Heard(heard) => {
                    heard?;
                    *end = self.news.end.take();
                }
                Step::Stream(Ok(0)) => return Ok(Exchanged::Closed),
                Step::Stream(Ok(bytes)) => {
                    if let Some(response) = self.exchange.take(bytes).map_err(VmError::Stream)? {
                        return Ok(Exchanged::Response(response));
                    }
                    self.begin_calls(&mut in_hand, request, began);
                }
                Step::Called => {
                    in_hand.reply(&mut self.exchange, self.sockets.stream());
                    self.begin_calls(&mut in_hand, request, began);
                }
                // Of a Unix stream this means that the other end was closed before all was read there (unix(7) calls it
                // a reset as TCP does; `unix_release_sock` in Linux).
                Step::Stream(Err(error)) => {
                    let is_reset = error.kind() == ErrorKind::ConnectionReset;
                    return Ok(match is_reset && !has_begun {
                        true => Exchanged::Unread,
                        false => Exchanged::Closed,
                    });
                }
            }
        }
    }

    /// Begins the calls that have come, as far as there is room for their replies, and replies to those that are done at
    /// once. The others are begun when the guest has read what there is.
    fn begin_calls(&mut self, in_hand: &mut CallsInHand, request: &Request, began: Instant) {
        loop {
            let mut has_begun = false;
            while in_hand.has_room()
                && let Some(call) = self.exchange.next_call()
            {
                let deadline = self.limit.and_then(|limit| began.checked_add(limit));
                let span_id = self.exchange.span_id();
                in_hand.begin(self.calls.as_deref(), call, request, deadline, span_id);
                has_begun = true;
            }
            if !has_begun {
                return;
            }
            in_hand.reply(&mut self.exchange, self.sockets.stream());
        }
    }

    /// Writes a request, and says how many bytes of it were taken if the stream fails first.
    async fn write(
        sockets: &S,
        frame: &Frame<'_>,
        news: &mut News<L>,
        end: &mut Option<VmError>,
    ) -> Result<Result<(), usize>, VmError> {
        let mut before = 0;
        for piece in [&frame.first[..], frame.rest] {
            let mut taken = 0;
            let mut written = write_some(sockets.stream(), piece, &mut taken);
            while let Err(error) = written {
                if error.kind() != ErrorKind::WouldBlock {
                    return Ok(Err(before + taken));
                }
                let listens = end.is_none().then_some(&mut *news);
                match sockets.write(piece, &mut taken, listens).await {
                    Step::Stream(result) => written = result,
                    // Nothing was called for yet.
                    Step::Called => written = Err(ErrorKind::WouldBlock.into()),
                    Step::Heard(heard) => {
                        heard?;
                        *end = news.end.take();
                        written = Err(ErrorKind::WouldBlock.into());
                    }
                }
            }
            before += piece.len();
        }
        Ok(Ok(()))
    }
}
