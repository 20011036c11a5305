//! A VMM that was taken over: it does what its owner says once its jail is closed, however bad.
//!
//! It is the real spawner and the real shell, started like `jiffy-vmm`. With `--obey` a shell first
//! takes one `Boot` command for an order: the act's name lies where an environment would, and what it
//! came to is told as a log record. Then it goes on as any shell.
//! Not here: what an act should come to (`tests/jail.rs`).
#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "who took a VMM over makes any system call")]
mod acts;

use std::io::Write as _;
use std::{env, io, os::fd::AsFd, process::ExitCode};

use jiffy_abi::log_ring::Level;
use jiffy_control::{Command, Event, LogRecord};
use jiffy_socket::ControlSocket;
use jiffy_vmm::{
    jail::Filter,
    spawner::{self, testing::Hooks},
};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(jiffy_console::stderr(), "hostile-vmm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let owner = ControlSocket::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (mut options, mut hooks) = (spawner::Options::default(), Hooks::default());
    for argument in env::args().skip(1) {
        let (name, value) = argument.split_once('=').unwrap_or((&argument, ""));
        match name {
            "--no-jail" => options.no_jail = true,
            "--no-cgroups" => options.no_cgroups = true,
            // An entry of the filter's list that is left out.
            "--without" => hooks.filter = Some(Filter::compile_without(value.parse()?)?),
            "--old-page-map" => hooks.old_page_map = true,
            "--obey" => hooks.jailed = Some(Box::new(obey)),
            _ => return Err(format!("what is {argument}?").into()),
        }
    }
    if options.no_jail {
        acts::spare_the_host()?;
    }
    Ok(spawner::testing::run(owner, &options, hooks)?)
}

/// Does what the owner says, and tells what came of it.
fn obey(control: &ControlSocket) {
    let Ok(Some((Command::Boot { environment, .. }, files))) = control.recv_with() else {
        return;
    };
    let text: String = match acts::play(&String::from_utf8_lossy(&environment), &files) {
        Ok(()) => "done".into(),
        Err(error) => format!("error {error}"),
    };
    // If nobody listens, nobody is told.
    drop(control.send(&Event::Log(vec![LogRecord::new(Level::Info, text)])));
}
