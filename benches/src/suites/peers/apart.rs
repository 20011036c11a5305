//! Starts a program where `/sys/fs/cgroup/unified` is not there.
//!
//! crun (1.8, Debian 12's) refuses hosts that mount control groups of both versions, with controllers in each, even if it is told to
//! use none. A mount namespace without the second mount satisfies it, and a thread can have one of its own: what it starts,
//! starts there, at no cost within the measured time.

use std::{
    io,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use rustix::{
    mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount},
    thread::UnshareFlags,
};

use super::{
    Contender,
    program::{Program, ProgramError},
};
use crate::{samples::Samples, suites::Fallible};

const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// Whether this host has control groups of both versions.
pub(super) fn is_hybrid() -> bool {
    Path::new(UNIFIED).join("cgroup.controllers").exists()
}

/// A program, and the thread that starts it.
#[derive(Debug)]
pub(super) struct Apart {
    ask: SyncSender<()>,
    answers: Receiver<Result<Duration, ProgramError>>,
}

impl Apart {
    /// The program is not tried.
    ///
    /// # Errors
    /// Whoever may not have mounts of their own, usually all but root.
    pub(super) fn new(mut program: Program) -> Fallible<Self> {
        let (ask, asked) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        let (tell, ready) = sync_channel(1);
        // It ends when `ask` is gone.
        thread::Builder::new()
            .name("apart".to_owned())
            .spawn(move || {
                let hidden = hide_unified();
                let is_hidden = hidden.is_ok();
                if tell.send(hidden).is_err() || !is_hidden {
                    return;
                }
                while let Ok(()) = asked.recv() {
                    if answer.send(program.answer()).is_err() {
                        return;
                    }
                }
            })?;
        ready.recv()?.map_err(|error| {
            format!("this host mounts control groups of both versions, and hiding {UNIFIED} from crun failed: {error}; run as root")
        })?;
        Ok(Self { ask, answers })
    }
}

fn hide_unified() -> io::Result<()> {
    unshare_mounts()?;
    // Or the host's would go too.
    mount_change(
        "/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )?;
    unmount(UNIFIED, UnmountFlags::DETACH)?;
    Ok(())
}

#[expect(
    deprecated,
    reason = "its successor is unsafe because of FILES, which is not asked for; mounts are no descriptors"
)]
fn unshare_mounts() -> io::Result<()> {
    Ok(rustix::thread::unshare(UnshareFlags::NEWNS)?)
}

impl Contender for Apart {
    fn cold(&mut self, samples: &mut Samples) -> Fallible<()> {
        self.ask.send(())?;
        samples.push(self.answers.recv()??);
        Ok(())
    }
}
