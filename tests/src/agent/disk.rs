//! A small disk that only an agent under test has, so that it can be filled to the last byte.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const FILLER: &str = "filler";
const PIECE_BYTES: usize = 64 << 10;

/// What a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// In a file.
    Ext4,
    /// In a file.
    Xfs,
    /// In a file.
    Btrfs,
    /// In memory, where reading a hole of a file takes room.
    Tmpfs,
    /// Two directories of a tmpfs, as in a container whose root is in memory.
    OverlayOnTmpfs,
    /// Two directories of an ext4, as in a container.
    OverlayOnExt4,
}

impl FileSystem {
    /// The program that makes one in a file, with its arguments; empty if none is needed.
    fn mkfs(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 | Self::OverlayOnExt4 => &["mkfs.ext4", "-q", "-m", "0"],
            Self::Xfs => &["mkfs.xfs", "-q"],
            Self::Btrfs => &["mkfs.btrfs", "-q"],
            Self::Tmpfs | Self::OverlayOnTmpfs => &[],
        }
    }

    /// The script that mounts `$0`, a file or a directory, with `$2` bytes of room, so that it is at `$1`.
    fn mount(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Xfs | Self::Btrfs => "mount -o loop \"$0\" \"$1\"",
            Self::Tmpfs => "mount -t tmpfs -o size=\"$2\" disk \"$1\"",
            Self::OverlayOnTmpfs => {
                "mount -t tmpfs -o size=\"$2\" disk \"$1\" && cd \"$1\" && mkdir lower upper work &&
                 mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work disk \"$1\" && cd /"
            }
            Self::OverlayOnExt4 => {
                "mount -o loop \"$0\" \"$1\" && cd \"$1\" && mkdir lower upper work &&
                 mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work disk \"$1\" && cd /"
            }
        }
    }
}

/// A file system, mounted in a mount namespace that a process of its own keeps. It outlives the agents that use it.
#[derive(Debug)]
pub struct Disk {
    keeper: Child,
    path: PathBuf,
}

impl Disk {
    /// A disk at `path` in the file `image`, with `bytes` of room; or why there is none.
    pub fn new(kind: FileSystem, path: &Path, image: &Path, bytes: u64) -> io::Result<Self> {
        if let [program, arguments @ ..] = kind.mkfs() {
            fs::File::create(image)?.set_len(bytes)?;
            let made = Command::new(program).args(arguments).arg(image).status();
            let made = made.map_err(|error| io::Error::other(format!("{program}: {error}")))?;
            if !made.success() {
                return Err(io::Error::other(format!("{program} failed")));
            }
        }
        // The keeper ends with the pipe to it, and so with the test, whatever ends that.
        let script = format!("{} && echo done && exec cat", kind.mount());
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--", "sh", "-c", &script])
            .args([image, path])
            .arg(bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(said) = &mut keeper.stdout {
            BufReader::new(said).read_line(&mut line)?;
        }
        if line != "done\n" {
            keeper.wait()?;
            return Err(io::Error::other(format!("no {kind:?} could be mounted")));
        }
        Ok(Self {
            keeper,
            path: path.to_owned(),
        })
    }

    /// The command that runs `program` where the disk is.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id()))
            .arg("--")
            .arg(program);
        command
    }

    /// Where this process finds it.
    pub fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.path.strip_prefix("/").unwrap_or(&self.path))
    }

    /// Takes all the room that is left.
    pub fn fill(&self) -> io::Result<()> {
        let mut filler = fs::File::create(self.path().join(FILLER))?;
        let piece = vec![0; PIECE_BYTES];
        loop {
            match filler.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives it back.
    pub fn free(&self) -> io::Result<()> {
        fs::remove_file(self.path().join(FILLER))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
