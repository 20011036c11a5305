//! What a snapshot depends on of its host: on any other it is made again from its image.

use std::{fs, io, path::Path};

use jiffy_snapshots::Digest;
use sha2::{Digest as _, Sha256};

/// Digest of CPU model and features, kernel and VMM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIdentity(String);

impl HostIdentity {
    /// The identity of this host with the VMM program `vmm`. Reads the whole program.
    pub fn read(vmm: &Path) -> io::Result<Self> {
        let program = Digest::of(&fs::read(vmm)?);
        let kernel = rustix::system::uname();
        let mut all = Sha256::new();
        for part in [
            cpu_lines(&fs::read_to_string("/proc/cpuinfo")?).as_bytes(),
            kernel.release().to_bytes(),
            kernel.version().to_bytes(),
            &program.0,
        ] {
            all.update((part.len() as u64).to_le_bytes());
            all.update(part);
        }
        Ok(Self(Digest(all.finalize().into()).to_string()))
    }

    /// An identity by name.
    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        Self(name.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The lines of `/proc/cpuinfo` that say what the first CPU is and can do; the others hold frequencies and the like.
fn cpu_lines(cpuinfo: &str) -> String {
    let first = cpuinfo.lines().take_while(|line| !line.is_empty());
    let tells = |line: &&str| {
        let key = line.split(':').next().unwrap_or_default().trim();
        matches!(
            key,
            "vendor_id" | "cpu family" | "model" | "model name" | "stepping" | "flags"
        )
    };
    first.filter(tells).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_cpus_nature_counts() {
        let info = "processor\t: 0\nmodel name\t: X\ncpu MHz\t: 1\nflags\t: a b\n\nprocessor\t: 1\nflags\t: a b\n";
        assert_eq!(cpu_lines(info), "model name\t: X\nflags\t: a b");
    }

    #[test]
    fn another_vmm_is_another_host() {
        let folder = tempfile::tempdir().expect("folder");
        let vmm = folder.path().join("vmm");
        let identity = |program: &str| {
            std::fs::write(&vmm, program).expect("write");
            HostIdentity::read(&vmm).expect("identity")
        };
        let one = identity("one");
        assert_eq!(identity("one"), one);
        assert_ne!(identity("other"), one);
    }
}
