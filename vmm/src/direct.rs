//! Runs an image without `jiffy`: serves itself as a child process, sends one event, prints the
//! response.

use std::{
    env,
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use jiffy_abi::frame::BODY_BYTES_MAX;
use jiffy_console::{Exit, stderr, stdout};
use jiffy_control::{
    Instance, InvokeError, Launch, LaunchError, Line, Request, Response, Source, SpawnerOptions,
    TIMEOUT_MS_DEFAULT, Untrusted, write_body,
};

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
    #[arg(long)]
    memory: Option<u64>,
    /// What `init` and the request may each take, milliseconds.
    #[arg(long, default_value_t = TIMEOUT_MS_DEFAULT)]
    timeout_ms: u64,
    /// Leaves out the jail, for debugging.
    #[arg(long)]
    no_jail: bool,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
enum DirectError {
    #[error("cannot read the event from {}", path.display())]
    Event { path: PathBuf, source: io::Error },
    #[error("cannot find this program's own file to start it again")]
    OwnPath(#[source] io::Error),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Invoke(#[from] InvokeError),
}

impl From<&DirectError> for Exit {
    fn from(error: &DirectError) -> Self {
        match error {
            DirectError::Event { .. } => Self::Usage,
            DirectError::OwnPath(_) => Self::Host,
            DirectError::Launch(error) => error.into(),
            DirectError::Invoke(error) => error.into(),
        }
    }
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let exit = match invoke(options) {
        Ok(response) => print(&response),
        Err(error) => {
            match &error {
                // Addresses are told with symbols by `jiffy run`; here they are only named.
                DirectError::Invoke(InvokeError::Stopped(report)) => {
                    let _ = writeln!(
                        stderr(),
                        "jiffy-vmm: the VM stopped: {:#x?}",
                        report.outcome
                    );
                }
                error => {
                    let text = jiffy_control::error_chain(error);
                    let _ = writeln!(stderr(), "jiffy-vmm: {}", Untrusted(&text));
                }
            }
            Exit::from(&error)
        }
    };
    exit.end()
}

fn invoke(options: &Options) -> Result<Response, DirectError> {
    let launch = Launch {
        vmm: env::current_exe().map_err(DirectError::OwnPath)?,
        spawner: SpawnerOptions {
            no_jail: options.no_jail,
            ..SpawnerOptions::default()
        },
        source: Source::Image {
            path: options.image.clone(),
            ram_bytes: options.memory,
        },
        timeout: Some(Duration::from_millis(options.timeout_ms)),
    };
    let body = event(options)?;
    let mut instance = Instance::spawn(&launch, |record| {
        let _ = writeln!(stderr(), "{}", Untrusted(&record.text));
    })?;
    let response = instance.invoke(&Request {
        body,
        ..Request::default()
    })?;
    instance.finish()?;
    Ok(response)
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
    let exit = Exit::from(response);
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
