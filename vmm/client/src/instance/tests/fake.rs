//! A thread in the place of a shell.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use jiffy_control::{Blame, Event, LogRecord, Phases, Report, Stats, VmEnd};
use jiffy_socket::ControlSocket;

use crate::{Instance, Shell, ShellProcess};

/// A shell's own ends.
pub(super) struct Fake {
    pub(super) control: ControlSocket,
    pub(super) stream: UnixStream,
}

impl Fake {
    /// A shell that does what `script` says and ends.
    pub(super) fn shell(script: impl FnOnce(Fake) + Send + 'static) -> Shell {
        let (control, far_control) = ControlSocket::pair().expect("socket pair");
        let (stream, far_stream) = UnixStream::pair().expect("socket pair");
        // Can be read from once its other end is closed, as a process once it has ended.
        let (ended, alive) = io::pipe().expect("pipe");
        thread::spawn(move || {
            script(Fake {
                control: far_control,
                stream: far_stream,
            });
            drop(alive);
        });
        Shell {
            process: ShellProcess::new(1, ended.into()),
            control,
            stream,
        }
    }

    pub(super) fn instance(script: impl FnOnce(Fake) + Send + 'static) -> Instance {
        Self::instance_with(script, |_| {})
    }

    pub(super) fn instance_with(
        script: impl FnOnce(Fake) + Send + 'static,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Instance {
        Instance::booting(
            Self::shell(script),
            Some(Duration::from_millis(100)),
            on_log,
        )
    }

    pub(super) fn instance_of(
        script: impl FnOnce(Fake) + Send + 'static,
        timeout: Option<Duration>,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Instance {
        Instance::booting(Self::shell(script), timeout, on_log)
    }

    pub(super) fn send(&self, event: &Event) {
        self.control.send(event).expect("send");
    }

    /// Takes a request of this many bytes.
    pub(super) fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut request = vec![0; bytes];
        self.stream.read_exact(&mut request).expect("a request");
        request
    }

    /// Waits until nobody sends requests any longer.
    pub(super) fn wait_closed(&mut self) {
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }
}

pub(super) fn ready() -> Event {
    Event::Ready(Phases {
        init_ns: 5,
        ..Phases::default()
    })
}

pub(super) fn finished() -> Event {
    Event::Stopped(Report {
        end: VmEnd::Finished,
        stats: Stats::default(),
    })
}

pub(super) fn failed() -> Event {
    Event::Failed {
        blame: Blame::Host,
        message: "no".into(),
    }
}
