//! Virtual machines in jailed processes of `jiffy-vmm`.
//!
//! ```text
//! spawner (one process) ── forks ──▶ shell ── Restore ──▶ instance: requests on a stream,
//!                                                         events on a control socket
//! ```
//!
//! Everything a VM says is hostile: lengths are checked before anything is kept, every wait has an
//! end, and what breaks the protocol costs the VM its life and nobody else anything.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiffy_abi::layout::PAGE_BYTES;
use jiffy_client::{
    RAM_FILE_NAME, Shell, ShellProcess, SpawnError, Spawner, SpawnerOptions, boot_packet,
    page_reader, restore_packet,
};
use jiffy_control::{
    Command, Death, Event, Exchange, LogRecord, Missing, Packet, PageRuns, ProcessUsage, Request,
    Response, Stats, bound_text, environment_page,
};
use jiffy_snapshots::{Digest, State, Store};
use jiffy_socket::{ControlError, ControlSocket};
use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, fcntl_setfl, memfd_create};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    OpenSnapshot, Settled, VmError, VmInstance, Vms,
    held_logs::{EndlessLog, HeldLogs, LogBudget},
    stream::Stream,
};
use crate::model::Settings;

/// What is granted beyond a VM's own deadline before it is held for lost.
const GRACE: Duration = Duration::from_secs(5);
/// What a shell may take to be there.
const SHELL_TIMEOUT: Duration = Duration::from_secs(10);
/// What handing over the RAM of a captured VM may take.
const CAPTURE_TIMEOUT: Duration = Duration::from_secs(60);
/// Layers of a jail that may be missing; there are fewer.
const MISSING_MAX: usize = 16;
const IMAGE_READ_BYTES: usize = 64 << 10;

/// How VMs are made on this host.
#[derive(Clone, Debug)]
pub struct JailedOptions {
    /// The `jiffy-vmm` program.
    pub vmm: PathBuf,
    /// RAM at which a VM may use one whole CPU, bytes; `None`: the VMM's default.
    pub cpu_full_ram_bytes: Option<u64>,
    /// Go on where control groups, or some of their controllers, are missing.
    pub allow_missing_cgroups: bool,
}

/// Makes jailed VMs.
#[derive(Debug)]
pub struct JailedVms {
    options: JailedOptions,
    spawner: Mutex<Arc<Spawner>>,
    log_budget: Arc<LogBudget>,
}

/// A shell that waits.
#[derive(Debug)]
pub struct JailedShell {
    link: Link,
    ram_bytes: u64,
    /// What made it, which gives it another size.
    spawner: Arc<Spawner>,
}

/// A VM with a function.
#[derive(Debug)]
pub struct JailedInstance {
    link: Link,
    deadline: Duration,
    /// The last request got no response.
    is_broken: bool,
}

impl JailedVms {
    /// Starts a spawner.
    pub fn new(options: JailedOptions) -> Result<Self, VmError> {
        let spawner = start(&options)?;
        Ok(Self {
            options,
            spawner: Mutex::new(Arc::new(spawner)),
            log_budget: Arc::default(),
        })
    }

    /// What protects the host less than it could, as far as it is known before the first shell.
    pub fn missing(&self) -> Vec<Missing> {
        self.spawner().missing().to_vec()
    }

    fn spawner(&self) -> Arc<Spawner> {
        let spawner = self.spawner.lock();
        Arc::clone(&spawner.unwrap_or_else(PoisonError::into_inner))
    }

    /// Another spawner in the place of one that is gone, unless somebody else was quicker.
    fn restart(&self, gone: &Arc<Spawner>) -> Result<Arc<Spawner>, VmError> {
        let mut spawner = self.spawner.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&spawner, gone) {
            tracing::error!("the spawner is gone, and its VMs with it: starting another");
            *spawner = Arc::new(start(&self.options)?);
        }
        Ok(Arc::clone(&spawner))
    }

    async fn make(&self, ram_bytes: u64) -> Result<(Arc<Spawner>, Shell), VmError> {
        let spawner = self.spawner();
        match ask(&spawner, ram_bytes).await? {
            Err(SpawnError::Ended | SpawnError::Control(_)) => {
                let spawner = self.restart(&spawner)?;
                let shell = ask(&spawner, ram_bytes).await?.map_err(host)?;
                Ok((spawner, shell))
            }
            shell => Ok((spawner, shell.map_err(host)?)),
        }
    }
}

/// Asks for a shell, which blocks for a millisecond or so.
async fn ask(spawner: &Arc<Spawner>, ram_bytes: u64) -> Result<Result<Shell, SpawnError>, VmError> {
    let spawner = Arc::clone(spawner);
    spawn_blocking(move || spawner.shell(ram_bytes))
        .await
        .map_err(host)
}

fn start(options: &JailedOptions) -> Result<Spawner, VmError> {
    let spawner_options = SpawnerOptions {
        cpu_full_ram_bytes: options.cpu_full_ram_bytes,
        ..SpawnerOptions::default()
    };
    let spawner = Spawner::start(&options.vmm, &spawner_options).map_err(host)?;
    if let (false, Some(missing)) = (options.allow_missing_cgroups, spawner.missing().first()) {
        return Err(VmError::Host(format!(
            "{} is missing ({}): add it to the host, or allow that in the configuration",
            missing.layer, missing.reason
        )));
    }
    Ok(spawner)
}

fn host(error: impl std::error::Error) -> VmError {
    VmError::Host(jiffy_control::error_chain(&error))
}

impl Vms for JailedVms {
    type Shell = JailedShell;
    type Instance = JailedInstance;

    async fn shell(&self, ram_bytes: u64) -> Result<JailedShell, VmError> {
        let (spawner, shell) = self.make(ram_bytes).await?;
        let mut link = Link::new(shell, &self.log_budget)?;
        let (missing, cpu_ns) = link
            .wait_for(SHELL_TIMEOUT, |news| news.waiting.take())
            .await?;
        link.cpu_ns_before = cpu_ns;
        for Missing { layer, reason } in missing.into_iter().take(MISSING_MAX) {
            tracing::debug!(layer, reason, "a VM's jail lacks a layer");
        }
        Ok(JailedShell {
            link,
            ram_bytes,
            spawner,
        })
    }

    fn restore(
        &self,
        shell: JailedShell,
        snapshot: &Arc<OpenSnapshot>,
    ) -> Result<JailedInstance, VmError> {
        let isolation = snapshot.isolation.into();
        let limit = Duration::from_millis(snapshot.timeout_ms);
        let JailedShell {
            link,
            ram_bytes,
            spawner,
        } = shell;
        let snapshot = &snapshot.snapshot;
        if snapshot.ram_bytes() != ram_bytes {
            let resized = spawner.resize(&link.process, snapshot.ram_bytes());
            resized.map_err(|error| match error {
                SpawnError::Ended | SpawnError::Control(_) => gone(),
                error => host(error),
            })?;
        }
        let packet = restore_packet(snapshot, isolation, Some(limit)).map_err(host)?;
        // Its spawner may have gone while it waited, and it with that: another one will do.
        link.send(&packet, snapshot.ram_file())
            .map_err(|_| gone())?;
        Ok(JailedInstance {
            link,
            deadline: limit + GRACE,
            is_broken: false,
        })
    }

    async fn build(
        &self,
        image: File,
        settings: &Settings,
        store: &Path,
    ) -> (Result<Digest, VmError>, Vec<LogRecord>) {
        let mut shell = match self.shell(settings.memory_bytes).await {
            Ok(shell) => shell,
            Err(error) => return (Err(error), vec![]),
        };
        let built = shell.link.build(image, settings, store).await;
        (built, shell.link.news.logs.release().0)
    }
}

impl VmInstance for JailedInstance {
    fn process_id(&self) -> u32 {
        self.link.process.id()
    }

    async fn invoke(&mut self, request: &Request) -> Result<Response, VmError> {
        // What is said only once is said of the request it belongs to.
        self.is_broken = true;
        let response = match timeout(self.deadline, self.link.exchange(request)).await {
            Ok(response) => response,
            Err(_) => Err(VmError::Unresponsive(self.deadline)),
        };
        match response {
            Ok(_) => self.is_broken = false,
            Err(VmError::Request(_)) => self.is_broken = false, // Nothing of it was sent.
            Err(VmError::Unresponsive(_) | VmError::Malformed(_) | VmError::Stream(_)) => {
                self.link.process.kill();
            }
            Err(_) => {}
        }
        response
    }

    fn kill(&mut self) {
        self.is_broken = true;
        self.link.process.kill();
    }

    async fn settle(&mut self) -> Result<Settled, VmError> {
        let stats = self.link.wait_for(GRACE, |news| news.done.take()).await;
        let (stats, gone) = match stats {
            Ok(stats) => (stats, None),
            Err(error) => (self.link.stats_of_the_dead().await, Some(error)),
        };
        self.link.cpu_ns_before = stats.cpu_ns;
        let news = &mut self.link.news;
        let (logs, log_lost) = news.logs.release();
        let mut settled = Settled {
            stats,
            logs,
            log_lost,
            working_set: news.working_set.take(),
            fault: None,
            gone: None,
        };
        // How it ended was the answer to the request, if that had none.
        if !self.is_broken {
            settled.gone = gone;
            if settled.gone.is_none()
                && let Err(fault) = self.link.exchange.settle(&stats)
            {
                self.link.process.kill();
                settled.fault = Some(fault);
            }
        }
        Ok(settled)
    }
}

/// Both sockets of a shell, and its process.
#[derive(Debug)]
struct Link {
    control: AsyncFd<ControlSocket>,
    stream: Stream,
    exchange: Exchange,
    process: ShellProcess,
    news: News,
    /// CPU time of the process when it was ready for its request, as it said.
    cpu_ns_before: u64,
}

impl Link {
    fn new(shell: Shell, log_budget: &Arc<LogBudget>) -> Result<Self, VmError> {
        let Shell {
            process,
            control,
            stream,
        } = shell;
        let flags = fcntl_getfl(&control).map_err(host)?;
        fcntl_setfl(&control, flags | OFlags::NONBLOCK).map_err(host)?;
        #[expect(
            deprecated,
            reason = "a control socket owns its descriptor for life; the successor asks for unsafe"
        )]
        let control = AsyncFd::try_with_interest(control, Interest::READABLE).map_err(host)?;
        Ok(Self {
            control,
            stream: Stream::new(stream).map_err(host)?,
            exchange: Exchange::new().map_err(host)?,
            process,
            news: News::new(log_budget),
            cpu_ns_before: 0,
        })
    }

    /// Sends a command with its file. There is always room: one is answered before the next.
    fn send(&self, packet: &Packet, file: &File) -> Result<(), ControlError> {
        self.control.get_ref().send_with(packet, &[file.as_fd()])
    }

    /// Takes events until `wanted` is among them.
    async fn wait_for<T>(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&mut News) -> Option<T>,
    ) -> Result<T, VmError> {
        let news = async {
            loop {
                if let Some(found) = wanted(&mut self.news) {
                    return Ok(found);
                }
                hear(&self.control, &mut self.news).await?;
            }
        };
        timeout(limit, news)
            .await
            .unwrap_or(Err(VmError::Unresponsive(limit)))
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
        Err(match (exchanged, end) {
            (Exchanged::Undelivered, end)
            | (Exchanged::Unread, end @ (VmError::Died(_) | VmError::Squeezed)) => {
                VmError::Undelivered(Box::new(end))
            }
            (_, end) => end,
        })
    }

    /// As [`Link::exchange`], but without its end, which goes to `end` if it is heard of.
    async fn exchange_unless(
        &mut self,
        request: &Request,
        end: &mut Option<VmError>,
    ) -> Result<Exchanged, VmError> {
        let Self {
            control,
            stream,
            exchange,
            news,
            ..
        } = self;
        let frame = exchange
            .ask(request)
            .map_err(|error| VmError::Request(error.to_string()))?;
        let written = stream.write_all([&frame.first, frame.rest]);
        // One that is gone after it took some of it closes its end: reading then says so.
        if while_hearing(written, control, news, end).await? == Err(0) {
            return Ok(Exchanged::Undelivered);
        }
        loop {
            if let Some(fault) = news
                .done
                .as_ref()
                .and_then(|done| exchange.incomplete(done))
            {
                return Err(VmError::Stream(fault));
            }
            let has_begun = exchange.has_begun();
            let Some(buffer) = exchange.buffer() else {
                return Ok(Exchanged::Closed); // It is there until the response is.
            };
            let read = stream.read(buffer);
            let read = match news.done {
                // All that there is has been sent.
                Some(_) => read.await,
                None => match until_done(read, control, news, end).await? {
                    Some(read) => read,
                    None => continue,
                },
            };
            match read {
                Ok(0) => return Ok(Exchanged::Closed),
                Ok(bytes) => {
                    if let Some(response) = exchange.take(bytes).map_err(VmError::Stream)? {
                        return Ok(Exchanged::Response(response));
                    }
                }
                // Of a Unix stream this means that the other end was closed before all was read there (unix(7) calls it
                // a reset as TCP does; `unix_release_sock` in Linux).
                Err(error) if error.kind() == ErrorKind::ConnectionReset && !has_begun => {
                    return Ok(Exchanged::Unread);
                }
                Err(_) => return Ok(Exchanged::Closed),
            }
        }
    }

    /// What a VM took that did not say it itself, as far as the kernel knows: ends it, if it has not, and waits for that.
    async fn stats_of_the_dead(&mut self) -> Stats {
        self.process.kill();
        let used = self.wait_for(GRACE, |news| news.used.take()).await;
        let used = used.unwrap_or_default();
        Stats {
            cpu_ns: used.cpu_ns,
            last_request_cpu_ns: used.cpu_ns.saturating_sub(self.cpu_ns_before),
            pages_touched: used.memory_bytes_max / PAGE_BYTES,
            ..Stats::default()
        }
    }

    /// How it ended, if it did.
    async fn end(&mut self) -> VmError {
        let end = self.wait_for(GRACE, |news| news.end.take()).await;
        end.unwrap_or_else(|error| error)
    }

    async fn build(
        &mut self,
        mut image: File,
        settings: &Settings,
        store: &Path,
    ) -> Result<Digest, VmError> {
        let limit = Duration::from_millis(settings.timeout_ms);
        let (image, image_digest) = spawn_blocking(move || {
            let digest = digest_of(&mut image)?;
            image.rewind()?;
            Ok::<_, std::io::Error>((image, digest))
        })
        .await
        .map_err(host)?
        .map_err(host)?;
        let environment = environment_page(&settings.environment).map_err(host)?;
        let boot = boot_packet(settings.memory_bytes, Some(limit), environment).map_err(host)?;
        self.send(&boot, &image).map_err(host)?;
        self.wait_for(limit + GRACE, |news| news.is_ready.then_some(()))
            .await?;
        let ram = File::from(memfd_create(RAM_FILE_NAME, MemfdFlags::CLOEXEC).map_err(host)?);
        ram.set_len(settings.memory_bytes).map_err(host)?;
        let capture = Packet::new(&Command::Capture).map_err(host)?;
        self.send(&capture, &ram).map_err(host)?;
        let mut state = self
            .wait_for(CAPTURE_TIMEOUT, |news| news.captured.take())
            .await?;
        // The VM's word is not taken for what it was made of, nor is it there to change its RAM now.
        state.image.digest = image_digest;
        self.process.kill();
        let (store, ram_bytes) = (store.to_owned(), settings.memory_bytes);
        spawn_blocking(move || Store::new(store)?.put(&state, ram_bytes, page_reader(&ram)))
            .await
            .map_err(host)?
            .map_err(host)
    }
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

/// Waits for events and takes all that are there.
async fn hear(control: &AsyncFd<ControlSocket>, news: &mut News) -> Result<(), VmError> {
    let mut ready = control.readable().await.map_err(host)?;
    loop {
        match control.get_ref().recv::<Event>() {
            Ok(Some(event)) => news.take(event)?,
            // The spawner would have said how it died, so it is gone too.
            Ok(None) => return Err(news.end.take().unwrap_or_else(gone)),
            Err(error) if error.would_block() => {
                ready.clear_ready();
                return Ok(());
            }
            Err(ControlError::Receive(_)) => return Err(gone()),
            Err(error) => return Err(malformed(jiffy_control::error_chain(&error))),
        }
        if news.end.is_some() {
            return Ok(());
        }
    }
}

fn gone() -> VmError {
    VmError::Died("nobody is there to say how".into())
}

/// Does `work` and takes events meanwhile. After the VM's end, which goes to `end`, only the stream has something to say:
/// whether the request was read.
async fn while_hearing<T>(
    work: impl Future<Output = T>,
    control: &AsyncFd<ControlSocket>,
    news: &mut News,
    end: &mut Option<VmError>,
) -> Result<T, VmError> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            heard = hear(control, news), if end.is_none() => keep_end(heard, news, end)?,
        }
    }
}

/// As [`while_hearing`], until the VM is done: then `None`.
async fn until_done<T>(
    work: impl Future<Output = T>,
    control: &AsyncFd<ControlSocket>,
    news: &mut News,
    end: &mut Option<VmError>,
) -> Result<Option<T>, VmError> {
    tokio::pin!(work);
    while news.done.is_none() {
        tokio::select! {
            biased;
            done = &mut work => return Ok(Some(done)),
            heard = hear(control, news), if end.is_none() => keep_end(heard, news, end)?,
        }
    }
    Ok(None)
}

fn keep_end(
    heard: Result<(), VmError>,
    news: &mut News,
    end: &mut Option<VmError>,
) -> Result<(), VmError> {
    match heard {
        Ok(()) => *end = news.end.take(),
        Err(died @ VmError::Died(_)) => *end = Some(died),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn digest_of(image: &mut File) -> std::io::Result<[u8; 32]> {
    image.rewind()?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; IMAGE_READ_BYTES];
    loop {
        match image.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            bytes => hash.update(&buffer[..bytes]),
        }
    }
}

/// What a VM has told and nobody has asked for yet.
#[derive(Debug)]
struct News {
    waiting: Option<(Vec<Missing>, u64)>,
    is_ready: bool,
    captured: Option<Box<State>>,
    done: Option<Stats>,
    working_set: Option<PageRuns>,
    logs: HeldLogs,
    end: Option<VmError>,
    /// What its process took until its end.
    used: Option<ProcessUsage>,
}

impl News {
    fn new(log_budget: &Arc<LogBudget>) -> Self {
        Self {
            waiting: None,
            is_ready: false,
            captured: None,
            done: None,
            working_set: None,
            logs: HeldLogs::new(log_budget),
            end: None,
            used: None,
        }
    }

    fn take(&mut self, event: Event) -> Result<(), VmError> {
        match event {
            Event::Waiting { missing, cpu_ns } => self.waiting = Some((missing, cpu_ns)),
            Event::Ready(_) => self.is_ready = true,
            Event::Captured(state) => self.captured = Some(state),
            Event::Done(stats) => self.done = Some(stats),
            Event::WorkingSet(runs) => self.working_set = Some(runs),
            Event::Log(records) => {
                let taken = self.logs.take(records);
                taken.map_err(|EndlessLog| malformed("it logs without end"))?;
            }
            Event::Stopped(report) => self.end = Some(VmError::Stopped(Box::new(report.bounded()))),
            Event::Failed { blame, mut message } => {
                bound_text(&mut message);
                self.end = Some(VmError::Failed { blame, message });
            }
            // Behind a report it says nothing new.
            Event::Died(death, usage) => {
                self.used = Some(usage);
                self.end.get_or_insert_with(|| match death {
                    Death::Squeezed => VmError::Squeezed,
                    death => VmError::Died(death.to_string()),
                });
            }
        }
        Ok(())
    }
}

fn malformed(what: impl ToString) -> VmError {
    VmError::Malformed(what.to_string())
}
