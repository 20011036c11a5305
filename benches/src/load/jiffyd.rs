//! An agent of one's own: on an empty folder, a free port and the release builds beside this program.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::client::{Client, ClientError, request};

/// What an agent may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// What it may take to end its VMs and itself.
const END_TIMEOUT: Duration = Duration::from_secs(10);
const END_POLL: Duration = Duration::from_millis(5);
/// VMs of one function at once.
const CONCURRENCY_MAX: u32 = 100;
/// What it logs: where it listens. An agent from before the redesign said so in `serve`, and `turns` asks such ones too.
const LOG: &str = "jiffyd::front=info,jiffyd::serve=info";
/// What its log says before its address.
const LISTENS: &str = "listening address=";

/// Why there is no agent, or not the function on it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum JiffydError {
    #[error(
        "cannot start {}: run ./scripts/quickstart or cargo build --release",
        path.display()
    )]
    Start { path: PathBuf, source: io::Error },
    #[error("cannot make a folder for an agent's data: is there room in the temporary folder?")]
    Folder(#[source] io::Error),
    #[error("jiffyd ended instead of listening; it said last: {0}")]
    Ended(String),
    #[error("jiffyd did not listen within {START_TIMEOUT:?}; it said last: {0}")]
    Silent(String),
    #[error("cannot read the image {}", path.display())]
    Image { path: PathBuf, source: io::Error },
    #[error("cannot talk to jiffyd")]
    Client(#[from] ClientError),
    #[error("jiffyd did not take {what}: {answer}")]
    Refused { what: String, answer: String },
}

/// An agent. Dropping it ends it and its VMs.
#[derive(Debug)]
pub struct Jiffyd {
    process: Child,
    address: SocketAddr,
    /// Gone after the process, whose drop comes first.
    _folder: tempfile::TempDir,
}

impl Jiffyd {
    /// Starts the `jiffyd` in the folder `programs`; `settings` are keys of its configuration, as its variables name them.
    pub fn start(programs: &Path, settings: &[(&str, &str)]) -> Result<Self, JiffydError> {
        let folder = tempfile::tempdir().map_err(JiffydError::Folder)?;
        let path = programs.join("jiffyd");
        let mut process = Command::new(&path)
            .args(["--listen", "127.0.0.1:0", "--allow-missing-cgroups"])
            .args(["--log", LOG])
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .arg("--vmm")
            .arg(programs.join("jiffy-vmm"))
            .envs(
                settings
                    .iter()
                    .map(|(key, value)| (format!("JIFFYD_{key}"), value)),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| JiffydError::Start { path, source })?;
        let log = process.stderr.take();
        let mut agent = Self {
            process,
            address: ([127, 0, 0, 1], 0).into(),
            _folder: folder,
        };
        agent.address = wait_for_address(log)?;
        Ok(agent)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stores an image; its digest, for [`Jiffyd::deploy`].
    pub fn upload(&self, image: &Path) -> Result<String, JiffydError> {
        let bytes = fs::read(image).map_err(|source| JiffydError::Image {
            path: image.to_owned(),
            source,
        })?;
        let mut client = Client::new(self.address)?;
        let answer = client.exchange(&request("POST", "/v1/images", &bytes))?;
        let stored = serde_json::from_slice::<Value>(answer.body).ok();
        let digest = stored.and_then(|stored| stored["digest"].as_str().map(str::to_owned));
        digest.ok_or_else(|| JiffydError::Refused {
            what: format!("the image {}", image.display()),
            answer: String::from_utf8_lossy(answer.body).into_owned(),
        })
    }

    /// Deploys that image as each of `names`.
    pub fn deploy(
        &self,
        names: &[String],
        digest: &str,
        isolation: &str,
    ) -> Result<(), JiffydError> {
        let settings = json!({
            "image": digest, "isolation": isolation, "max_concurrency": CONCURRENCY_MAX,
        });
        let settings = settings.to_string();
        for name in names {
            self.put(&format!("/v1/functions/{name}"), settings.as_bytes())?;
        }
        Ok(())
    }

    /// Puts something new at `path`.
    pub fn put(&self, path: &str, body: &[u8]) -> Result<(), JiffydError> {
        let mut client = Client::new(self.address)?;
        let answer = client.exchange(&request("PUT", path, body))?;
        match answer.status {
            200 | 201 => Ok(()),
            _ => Err(JiffydError::Refused {
                what: path.to_owned(),
                answer: String::from_utf8_lossy(answer.body).into_owned(),
            }),
        }
    }
}

/// The address that an agent's log tells. What it says later is for nobody, but it has to be taken.
fn wait_for_address(log: Option<ChildStderr>) -> Result<SocketAddr, JiffydError> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(log.into_iter().next().ok_or(())?).lines() {
            // Nobody listens any more once the address is known.
            let _ = line.map(|line| sender.send(line));
        }
        Ok::<_, ()>(())
    });
    let until = Instant::now() + START_TIMEOUT;
    let mut last = String::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => {
                let address = line.split_once(LISTENS);
                match address.and_then(|(_, address)| address.trim().parse().ok()) {
                    Some(address) => return Ok(address),
                    None => last = line,
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(JiffydError::Silent(last)),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(JiffydError::Ended(last)),
        }
    }
}

impl Drop for Jiffyd {
    fn drop(&mut self) {
        let id = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        if let Some(id) = id {
            // It is our own child and not yet waited for, so the number is its.
            let _ = kill_process(id, Signal::TERM);
        }
        let until = Instant::now() + END_TIMEOUT;
        while Instant::now() < until {
            match self.process.try_wait() {
                Ok(None) => thread::sleep(END_POLL),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
