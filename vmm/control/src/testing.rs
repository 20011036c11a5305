//! A shell script in the place of `jiffy-vmm`.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use crate::{Blame, Event, Instance, Launch, Outcome, Phases, Report, Source, Stats};

pub(crate) struct FakeVmm {
    folder: tempfile::TempDir,
}

impl FakeVmm {
    pub(crate) fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("vmm");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("vmm")
    }

    pub(crate) fn launch(&self) -> Launch {
        Launch {
            vmm: self.path(),
            source: Source::Image {
                path: "image.elf".into(),
                ram_bytes: None,
            },
            timeout: Some(Duration::from_millis(100)),
        }
    }

    pub(crate) fn spawn(&self) -> Instance {
        Instance::spawn(&self.launch(), |_| {}).expect("spawn")
    }
}

/// A command that sends `event`: `printf` writes it with one `write`, which makes it one packet.
pub(crate) fn send(event: &Event) -> String {
    let packet = crate::socket::encode(event).expect("encode");
    let octal: String = packet.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{octal}'")
}

pub(crate) fn ready() -> String {
    send(&Event::Ready(Phases {
        init_ns: 5,
        ..Phases::default()
    }))
}

pub(crate) fn finished() -> String {
    send(&Event::Stopped(Report {
        outcome: Outcome::Finished,
        stats: Stats::default(),
    }))
}

pub(crate) fn failed() -> String {
    send(&Event::Failed {
        blame: Blame::Host,
        message: "no".into(),
    })
}
