//! How a `jiffy-vmm` process is started: its command line, its sockets.
//!
//! Not here: what is said to it then (`instance`, `create`).

use std::{
    ffi::{OsStr, OsString},
    io,
    path::PathBuf,
    time::Duration,
};

use crate::ControlError;

/// How to start a VMM that serves requests.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The `jiffy-vmm` program.
    pub vmm: PathBuf,
    /// What the VM begins with.
    pub source: Source,
    /// How long `init` and each request may take; `None`: the VMM's default, and no limit here.
    pub timeout: Option<Duration>,
}

/// What a VM begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An image, which boots.
    Image {
        /// The image.
        path: PathBuf,
        /// RAM of the VM, bytes; `None`: the VMM's default.
        ram_bytes: Option<u64>,
    },
    /// A snapshot, which is restored.
    Snapshot {
        /// Its directory.
        path: PathBuf,
        /// What a request finds of those before it.
        isolation: Isolation,
    },
}

/// Whether a restored VM forgets a request before it gets the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Every request finds the VM as the snapshot has it.
    #[default]
    Fresh,
    /// A request finds what those before it left.
    Reuse,
}

/// Why a VMM was not started.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum LaunchError {
    #[error("cannot make a request stream")]
    Stream(#[source] io::Error),
    #[error("cannot make a control socket")]
    Control(#[from] ControlError),
    #[error("cannot start {path}: is jiffy-vmm installed and executable?")]
    Spawn { path: String, source: io::Error },
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Launch {
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["serve".into()];
        arguments.extend(limits(ram_bytes(&self.source), self.timeout));
        match &self.source {
            Source::Image { path, .. } => arguments.extend(["--".into(), path.into()]),
            Source::Snapshot { path, isolation } => {
                arguments.push(option("--snapshot=", path));
                if *isolation == Isolation::Reuse {
                    arguments.push("--reuse".into());
                }
            }
        }
        arguments
    }
}

fn ram_bytes(source: &Source) -> Option<u64> {
    match source {
        Source::Image { ram_bytes, .. } => *ram_bytes,
        Source::Snapshot { .. } => None, // The snapshot says.
    }
}

/// The options that say what a VM may take.
pub(crate) fn limits(ram_bytes: Option<u64>, timeout: Option<Duration>) -> Vec<OsString> {
    let mut arguments = vec![];
    if let Some(ram_bytes) = ram_bytes {
        arguments.push(option("--memory=", ram_bytes.to_string()));
    }
    if let Some(timeout) = timeout {
        // Rounded up, so that a limit below a millisecond does not become none.
        let timeout_ms = timeout.as_micros().div_ceil(1000);
        arguments.push(option("--timeout-ms=", timeout_ms.to_string()));
    }
    arguments
}

/// An option and its value in one argument, so that no value is taken for an option.
pub(crate) fn option(name: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut option = OsString::from(name);
    option.push(value);
    option
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_serve() {
        let check = |source, timeout, expected: &[&str]| {
            let launch = Launch {
                vmm: "vmm".into(),
                source,
                timeout,
            };
            assert_eq!(launch.arguments(), expected);
        };
        let image = |ram_bytes| Source::Image {
            path: "-.elf".into(),
            ram_bytes,
        };
        let snapshot = |isolation| Source::Snapshot {
            path: "-.snap".into(),
            isolation,
        };
        check(image(None), None, &["serve", "--", "-.elf"]);
        check(
            image(Some(1 << 24)),
            Some(Duration::from_micros(1)),
            &[
                "serve",
                "--memory=16777216",
                "--timeout-ms=1",
                "--",
                "-.elf",
            ],
        );
        check(
            snapshot(Isolation::Fresh),
            Some(Duration::from_millis(100)),
            &["serve", "--timeout-ms=100", "--snapshot=-.snap"],
        );
        check(
            snapshot(Isolation::Reuse),
            None,
            &["serve", "--snapshot=-.snap", "--reuse"],
        );
    }
}
