//! Runs an image without `jiffy`: starts itself as a spawner, sends one event, prints the response.
//!
//! Not here: what an owner of VMs has besides (`jiffy-client`, which a VMM does not link): time limits for a VMM that
//! hangs, snapshots, a second request.

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::{self, ExitCode, Stdio},
    thread,
};

use clap::Args;
use jiffy_abi::{devices::DeviceId, frame::BODY_BYTES_MAX, layout::RAM_BYTES_DEFAULT};
use jiffy_console::{Exit, stderr, stdout};
use jiffy_control::{
    Blame, Command, Death, Devices, Event, Exchange, Line, Network, Outcome, Packet, PacketError,
    Reply, Report, Request, RequestError, Response, ResponseError, SpawnReply, SpawnRequest, Stats,
    StreamFault, TIMEOUT_MS_DEFAULT, Untrusted, write_body,
};
use jiffy_socket::{ControlError, ControlSocket};
use jiffy_tap::{NetworkError, NetworkOptions};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The image.
    image: PathBuf,
    /// The event.
    #[arg(long, value_name = "TEXT", default_value = "null")]
    event: String,
    /// Reads the event from a file; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "event")]
    event_file: Option<PathBuf>,
    /// RAM of the VM, bytes.
    #[arg(long, default_value_t = RAM_BYTES_DEFAULT)]
    memory: u64,
    /// What `init` and the request may each take, milliseconds.
    #[arg(long, default_value_t = TIMEOUT_MS_DEFAULT)]
    timeout_ms: u64,
    /// Gives the VM a console: a serial port at 0x3f8 (COM1), whose lines are printed as the log is.
    #[arg(long)]
    console: bool,
    /// Leaves out the jail, for debugging.
    #[arg(long)]
    no_jail: bool,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
enum DirectError {
    #[error("cannot read the event from {}", path.display())]
    Event { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("cannot start this program again")]
    Start(#[source] io::Error),
    #[error("cannot read the image {}", path.display())]
    Image { path: PathBuf, source: io::Error },
    #[error("cannot make a request stream")]
    Stream(#[source] io::Error),
    #[error("cannot talk to the VM's process")]
    Control(#[from] ControlError),
    #[error("the spawner ended: its standard error says why")]
    SpawnerEnded,
    #[error("{message}")]
    Failed { blame: Blame, message: String },
    #[error("the VM stopped before it responded")]
    Stopped(Box<Report>),
    #[error("the VMM ended without a report: {0}")]
    Died(Death),
    #[error("the VMM broke the protocol of its control socket")]
    OutOfTurn,
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Response(#[from] ResponseError),
    #[error("the guest broke the rules of its request stream")]
    Surplus(#[from] StreamFault),
}

impl From<PacketError> for DirectError {
    fn from(error: PacketError) -> Self {
        Self::Control(error.into())
    }
}

impl DirectError {
    fn exit(&self) -> Exit {
        match self {
            Self::Event { .. } | Self::Request(RequestError::Frame(_)) => Exit::Usage,
            Self::Network(error) if error.is_usage() => Exit::Usage,
            Self::Image { .. } => Exit::ImageRefused,
            Self::Failed { blame, .. } => Outcome::from(*blame).exit(),
            Self::Stopped(report) => report.end.outcome().exit(),
            Self::Response(_) | Self::Surplus(_) => Exit::Fault,
            Self::Network(_)
            | Self::Start(_)
            | Self::Stream(_)
            | Self::Control(_)
            | Self::SpawnerEnded
            | Self::Died(_)
            | Self::OutOfTurn
            | Self::Request(RequestError::Write(_)) => Exit::Host,
        }
    }
}

pub(crate) fn run(options: &Options, network: &NetworkOptions) -> ExitCode {
    let exit = match invoke(options, network) {
        Ok(response) => print(&response),
        Err(error) => {
            match &error {
                // Addresses are told with symbols by `jiffy run`; here they are only named.
                DirectError::Stopped(report) => {
                    let _ = writeln!(stderr(), "jiffy-vmm: the VM stopped: {:#x?}", report.end);
                }
                error => {
                    let text = jiffy_control::error_chain(error);
                    let _ = writeln!(stderr(), "jiffy-vmm: {}", Untrusted(&text));
                }
            }
            error.exit()
        }
    };
    exit.end()
}

fn invoke(options: &Options, network: &NetworkOptions) -> Result<Response, DirectError> {
    let path = &options.image;
    let image = jiffy_files::open(path).map_err(|source| DirectError::Image {
        path: path.clone(),
        source,
    })?;
    let network = network.open()?;
    let request = Request {
        body: event(options)?,
        ..Request::default()
    };
    let (owner, far) = ControlSocket::pair()?;
    let mut spawner = env::current_exe()
        .and_then(|program| {
            process::Command::new(program)
                .arg("spawner")
                .args(options.no_jail.then_some("--no-jail"))
                .stdin(Stdio::from(OwnedFd::from(far)))
                .stdout(Stdio::null())
                .spawn()
        })
        .map_err(DirectError::Start)?;
    let response = ask(&owner, &image, options, network, request);
    drop(owner);
    let _ = spawner.wait();
    response
}

/// Has `spawner` make a shell, boots the image in it, asks it once and waits for its end.
fn ask(
    spawner: &ControlSocket,
    image: &File,
    options: &Options,
    network: Option<(Network, OwnedFd)>,
    request: Request,
) -> Result<Response, DirectError> {
    let ram_bytes = options.memory;
    let (control, stream) = shell(spawner, ram_bytes)?;
    let console = options.console.then_some(DeviceId::Console);
    let nic = network.as_ref().map(|_| DeviceId::Nic);
    let ids: Vec<_> = console.into_iter().chain(nic).collect();
    let mut devices = Devices::new(&ids);
    if let Some((network, _)) = &network {
        devices = devices.with_network(*network);
    }
    let boot = Packet::new(&Command::Boot {
        ram_bytes,
        timeout_ms: Some(options.timeout_ms),
        environment: vec![],
        devices,
    })?;
    let mut descriptors = vec![image.as_fd()];
    descriptors.extend(network.iter().map(|(_, tap)| tap.as_fd()));
    // A shell that is gone already has said why.
    let _ = control.send_with(&boot, &descriptors);
    // On a thread of its own, so that the VM never waits for room to tell its log.
    let asked = {
        let stream = stream.try_clone().map_err(DirectError::Stream)?;
        let mut exchange = Exchange::new().map_err(DirectError::Stream)?;
        thread::spawn(move || {
            let response = exchange_once(&mut exchange, &stream, &request);
            (exchange, response)
        })
    };
    let (report, done) = listen(&control, &stream)?;
    let (mut exchange, response) = asked.join().map_err(|_| DirectError::OutOfTurn)?;
    match (response, done) {
        (Ok(response), Some(done)) => Ok(exchange.prove_empty(&done).map(|()| response)?),
        (
            Err(error @ (DirectError::Request(_) | DirectError::Response(ResponseError::Guest(_)))),
            _,
        ) => Err(error),
        _ => Err(DirectError::Stopped(Box::new(report))),
    }
}

/// A shell of `spawner`: where its commands go, and its requests.
fn shell(
    spawner: &ControlSocket,
    ram_bytes: u64,
) -> Result<(ControlSocket, UnixStream), DirectError> {
    let (control, far_control) = ControlSocket::pair()?;
    let (stream, far_stream) = UnixStream::pair().map_err(DirectError::Stream)?;
    let shell = Packet::new(&SpawnRequest::Shell {
        ram_bytes,
        devices: Devices::new(&[DeviceId::Vsock]),
    })?;
    loop {
        match spawner.recv()?.ok_or(DirectError::SpawnerEnded)? {
            SpawnReply::Ready { .. } => {
                spawner.send_with(&shell, &[far_control.as_fd(), far_stream.as_fd()])?;
            }
            SpawnReply::Shell { .. } => return Ok((control, stream)),
            SpawnReply::Failed { blame, message } => {
                return Err(DirectError::Failed { blame, message });
            }
            SpawnReply::Resized => return Err(DirectError::OutOfTurn),
        }
    }
}

/// Hears what the VM tells, to its end; and what it took, if it came to answer.
fn listen(
    control: &ControlSocket,
    stream: &UnixStream,
) -> Result<(Report, Option<Stats>), DirectError> {
    let mut done = None;
    loop {
        match control.recv()? {
            Some(Event::Waiting { .. } | Event::Ready(_) | Event::WorkingSet(_)) => {}
            Some(Event::Log(records)) => records.iter().for_each(|record| {
                let _ = writeln!(stderr(), "{}", Untrusted(&record.text));
            }),
            Some(Event::Done(stats)) => {
                done = Some(stats);
                // It ends when there will be no more requests.
                let _ = stream.shutdown(Shutdown::Write);
            }
            Some(Event::Stopped(report)) => return Ok((report, done)),
            Some(Event::Failed { blame, message }) => {
                return Err(DirectError::Failed { blame, message });
            }
            Some(Event::Died(death, _)) => return Err(DirectError::Died(death)),
            Some(Event::Captured(_)) => return Err(DirectError::OutOfTurn),
            // The spawner is gone too, or it would have said how.
            None => return Err(DirectError::Died(Death::Killed(9))),
        }
    }
}

/// Asks, and refuses what the guest calls for meanwhile.
fn exchange_once(
    exchange: &mut Exchange,
    mut stream: &UnixStream,
    request: &Request,
) -> Result<Response, DirectError> {
    match exchange.write(&mut stream, request) {
        Ok(()) => {}
        Err(error @ RequestError::Frame(_)) => {
            // It got no request, and will not.
            let _ = stream.shutdown(Shutdown::Write);
            return Err(error.into());
        }
        // It is gone, and says why.
        Err(RequestError::Write(_)) => return Err(ResponseError::Closed.into()),
    }
    loop {
        if let Some(response) = exchange.read_some(&mut stream)? {
            return Ok(response);
        }
        let mut replies = vec![];
        while let Some(call) = exchange.next_call() {
            exchange.reply(call.id, Reply::nobody(), &mut replies);
        }
        // If it is gone, reading says so.
        let _ = stream.write_all(&replies);
    }
}

fn event(options: &Options) -> Result<Vec<u8>, DirectError> {
    let Some(path) = &options.event_file else {
        return Ok(options.event.clone().into_bytes());
    };
    let read = if path.as_os_str() == "-" {
        let mut event = Vec::new();
        let input = io::stdin().lock().take(u64::from(BODY_BYTES_MAX) + 1);
        { input }.read_to_end(&mut event).map(|_| event)
    } else {
        jiffy_files::read(path, u64::from(BODY_BYTES_MAX))
    };
    read.map_err(|source| DirectError::Event {
        path: path.clone(),
        source,
    })
}

fn print(response: &Response) -> Exit {
    let exit = response.outcome().exit();
    if exit == Exit::Ok {
        let mut out = stdout();
        let is_terminal = out.is_terminal();
        let _ = write_body(&mut out, &response.body, is_terminal);
    } else {
        let text = String::from_utf8_lossy(&response.body);
        let (error_type, text) = (Line(&response.error_type), Untrusted(&text));
        let _ = writeln!(stderr(), "jiffy-vmm: {error_type}{text}");
    }
    exit
}
