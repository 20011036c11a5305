//! A small disk that only an agent under test has, so that it can be filled to the last byte.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const FILLER: &str = "filler";
const PIECE_BYTES: usize = 64 << 10;

/// An ext4 file system in a file, mounted in a mount namespace that a process of its own keeps. It outlives the agents
/// that use it. One in memory would not do: there, reading a hole of a file takes room.
#[derive(Debug)]
pub struct Disk {
    keeper: Child,
    path: PathBuf,
}

impl Disk {
    /// A disk at `path` in the file `image`, with `bytes` of room; or why there is none.
    pub fn new(path: &Path, image: &Path, bytes: u64) -> io::Result<Self> {
        fs::File::create(image)?.set_len(bytes)?;
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-m", "0"])
            .arg(image)
            .status()?;
        if !made.success() {
            return Err(io::Error::other("mkfs.ext4 failed"));
        }
        // The keeper ends with the pipe to it, and so with the test, whatever ends that.
        let script = "mount -o loop \"$0\" \"$1\" && echo done && exec cat";
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--", "sh", "-c", script])
            .args([image, path])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(said) = &mut keeper.stdout {
            BufReader::new(said).read_line(&mut line)?;
        }
        if line != "done\n" {
            keeper.wait()?;
            return Err(io::Error::other("no loop device could be mounted"));
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
