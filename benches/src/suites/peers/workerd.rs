//! workerd, which serves a JavaScript worker over HTTP. `scripts/peers` installs it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use rustix::io::{FdFlags, fcntl_setfd};

use super::{Candidate, Contender, Workshop, program::Running};
use crate::{
    load::client::{Client, request},
    report::Level,
    samples::Samples,
    setup::{HELLO_ANSWER, HELLO_EVENT},
    suites::Fallible,
};

const WORKER: &str = include_str!("../../../peers/workerd/hello.js");
const CONFIG: &str = include_str!("../../../peers/workerd/hello.capnp");
/// Where its package has it.
const PROGRAM: &str = "workerd/node_modules/@cloudflare/workerd-linux-64/bin/workerd";
const OK: u16 = 200;

pub(super) fn candidate(workshop: &Workshop) -> Candidate {
    Candidate::new(
        "workerd",
        Level::Http,
        false,
        "a V8 isolate in a process of its own, with nothing around the process",
        prepare(workshop),
    )
}

fn prepare(workshop: &Workshop) -> Fallible<Box<dyn Contender>> {
    let program = workshop.installed.join(PROGRAM);
    if !program.is_file() {
        return Err(format!(
            "no {}: must be there, as ./scripts/peers leaves it",
            program.display()
        )
        .into());
    }
    let folder = workshop.made.path().join("workerd");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("hello.js"), WORKER)?;
    let config = folder.join("hello.capnp");
    fs::write(&config, CONFIG)?;
    Ok(Box::new(Workerd {
        program,
        config,
        request: request("POST", "/", HELLO_EVENT),
        warm: None,
    }))
}

struct Workerd {
    program: PathBuf,
    config: PathBuf,
    request: Vec<u8>,
    /// The one that stays, once there were warm requests.
    warm: Option<(Client, Running)>,
}

/// Starts one and connects to it; it accepts when it can.
fn start_and_connect(program: &Path, config: &Path) -> Fallible<(Client, Running)> {
    let (running, address) = start(program, config)?;
    Ok((Client::new(address)?, running))
}

/// Starts one with a socket that listens already, so that nobody has to ask again and again whether it does.
fn start(program: &Path, config: &Path) -> Fallible<(Running, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let listener = OwnedFd::from(listener);
    // Descriptors close on exec unless told otherwise. This one is closed here when it was inherited.
    fcntl_setfd(&listener, FdFlags::empty())?;
    let child = Command::new(program)
        .arg("serve")
        .arg(config)
        .arg(format!("--socket-fd=http={}", listener.as_raw_fd()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let program = program.display();
    let child = child
        .map_err(|error| format!("cannot start {program}: {error}; run ./scripts/peers again"))?;
    Ok((Running(child), address))
}

fn exchange(client: &mut Client, request: &[u8]) -> Fallible<(Instant, Instant)> {
    let answer = client.exchange(request)?;
    if answer.status != OK || answer.body != HELLO_ANSWER {
        let body = String::from_utf8_lossy(answer.body);
        return Err(format!("workerd answers {} {body:?}", answer.status).into());
    }
    Ok((answer.sent, answer.answered))
}

impl Contender for Workerd {
    fn cold(&mut self, samples: &mut Samples) -> Fallible<()> {
        let start = Instant::now();
        let (mut client, _running) = start_and_connect(&self.program, &self.config)?;
        let (_, answered) = exchange(&mut client, &self.request)?;
        samples.push(answered - start);
        Ok(())
    }

    fn warm(&mut self, samples: &mut Samples) -> Fallible<()> {
        let (client, _) = match &mut self.warm {
            Some(warm) => warm,
            none => none.insert(start_and_connect(&self.program, &self.config)?),
        };
        let (sent, answered) = exchange(client, &self.request)?;
        samples.push(answered - sent);
        Ok(())
    }
}
