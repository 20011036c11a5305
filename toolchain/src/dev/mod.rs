//! `jiffy dev`: an agent in the foreground, and a crate that is built and deployed again whenever it changes.
//!
//! ```text
//!            ┌───────────────────── changed ──────────────────────┐
//!            ▼                                                    │
//! start ─▶ build, deploy ── it is live, or why it is not ──▶ watch ┴─ Ctrl-C ─▶ stop: the agent ends, then we
//! ```
//!
//! A version that does not build or boot changes nothing: the one before it goes on serving.

mod daemon;
mod watch;

use std::{
    fs, io,
    io::Write,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jiffy_model::{EnvironmentChanges, FunctionName, VersionNumber};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::{daemon::Daemon, watch::Fingerprint};
use crate::{
    build::{self, PackageError, Sources},
    client::{
        self, Agent, ClientError, DeployOptions, Endpoint, LogOptions, Since, deploy_once, now_ms,
        user_folder,
    },
    manifest::Manifest,
    output::{Format, Untrusted, chain},
    sdk::{self, SdkError},
};
use jiffy_console::{stderr, stdout};

/// What each line of ours begins with.
const SAYS: &str = "jiffy dev: ";
/// How often the sources are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Sources that did not change for so long are taken for saved.
const SETTLED: Duration = Duration::from_millis(100);
/// How long sources that change all the time are waited for.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the last lines of the log are waited for.
const LAST_LINES_TIME_MAX: Duration = Duration::from_secs(1);

/// What is to be developed, and where.
#[derive(Clone, Debug)]
pub(crate) struct DevOptions {
    pub(crate) path: PathBuf,
    pub(crate) flags: Manifest,
    pub(crate) variables: EnvironmentChanges,
    pub(crate) listen: SocketAddr,
    /// Keep nothing.
    pub(crate) ephemeral: bool,
}

/// Why there is no agent, or none any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Vmm(#[from] SdkError),
    #[error(
        "no jiffyd: must be beside jiffy, on PATH or named by JIFFYD; `cargo build --release` in a jiffy checkout makes it"
    )]
    NoProgram,
    #[error("invalid JIFFYD {0}: must be the path of a file")]
    ProgramNotThere(PathBuf),
    #[error(
        "no folder for the agent's store: HOME or XDG_STATE_HOME must be set, or --ephemeral be given"
    )]
    NoHome,
    #[error("cannot make the folder {path}: {}", jiffy_snapshots::why(source))]
    Folder { path: PathBuf, source: io::Error },
    #[error("something listens on {0} already: end it, or choose another address with --listen")]
    Occupied(SocketAddr),
    #[error("cannot start {program}")]
    Start { program: PathBuf, source: io::Error },
    #[error("the agent does not answer")]
    NotReady(#[source] ClientError),
    #[error("the agent ended ({0}): the messages above say why")]
    Ended(ExitStatus),
    #[error("cannot wait for the agent")]
    Wait(#[source] io::Error),
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Where the store is: gone at the end if it is temporary.
enum Store {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Store {
    fn new(ephemeral: bool) -> Result<Self, DevError> {
        if ephemeral {
            return match tempfile::Builder::new().prefix("jiffy-dev-").tempdir() {
                Ok(folder) => Ok(Self::Temporary(folder)),
                Err(source) => Err(DevError::Folder {
                    path: std::env::temp_dir(),
                    source,
                }),
            };
        }
        let folder = user_folder("XDG_STATE_HOME", ".local/state").ok_or(DevError::NoHome)?;
        let path = folder.join("jiffy/dev");
        // The agent closes its own folder to others; those above it that are made here are closed, too.
        match fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
        {
            Ok(()) => Ok(Self::Kept(path)),
            Err(source) => Err(DevError::Folder { path, source }),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// Serves and redeploys until a signal comes.
pub(crate) fn dev(options: &DevOptions) -> Result<(), DevError> {
    build::crate_folder(&options.path)?;
    let vmm = sdk::vmm()?;
    let store = Store::new(options.ephemeral)?;
    let stop = stop_flag().map_err(DevError::Signals)?;
    let agent = Agent::new(&Endpoint {
        url: format!("http://{}", options.listen),
        token_file: None,
    })?;
    let mut daemon = Daemon::start(options.listen, store.path(), &vmm)?;
    if daemon.wait_ready(&agent, &stop)? {
        let place = store.path().display();
        say(&format!(
            "the agent answers at http://{} (store: {place})",
            options.listen
        ));
        Session {
            agent: &agent,
            options,
            stop: &stop,
            follower: None,
        }
        .run(&mut daemon)?;
    }
    say("stopping");
    let status = daemon.stop()?;
    match status.success() {
        true => Ok(()),
        false => Err(DevError::Ended(status)),
    }
}

/// Becomes true with the first signal to end. The second one ends the process at once; the agent has got it, too,
/// from the terminal.
fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let code = 128 + signal;
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// What goes on between the start and the end of the agent.
struct Session<'a> {
    agent: &'a Agent,
    options: &'a DevOptions,
    stop: &'a AtomicBool,
    follower: Option<JoinHandle<()>>,
}

impl Session<'_> {
    fn run(&mut self, daemon: &mut Daemon) -> Result<(), DevError> {
        while !self.stop.load(Relaxed) {
            let sources = self.sources();
            // Before the build, so that what is saved while it runs is built next.
            let built = Fingerprint::of(&sources);
            self.deploy();
            loop {
                if self.stop.load(Relaxed) {
                    break;
                }
                daemon.check(self.stop)?;
                thread::sleep(LOOK_AGAIN);
                if Fingerprint::of(&sources) != built {
                    self.wait_until_still(&sources);
                    say("changed: building");
                    break;
                }
            }
        }
        daemon.stop()?;
        self.last_lines();
        Ok(())
    }

    /// Anew for each build: dependencies may have changed.
    fn sources(&self) -> Sources {
        build::sources(&self.options.path).unwrap_or_else(|error| {
            // Most likely the manifest is wrong at the moment. The build will say what is wrong.
            let folder = build::crate_folder(&self.options.path);
            say(&format!(
                "only the crate itself is watched: {}",
                chain(&error)
            ));
            Sources {
                folders: folder.into_iter().collect(),
                ..Sources::default()
            }
        })
    }

    /// Editors save in steps, and many files at once.
    fn wait_until_still(&self, sources: &Sources) {
        let deadline = Instant::now() + SETTLE_TIME_MAX;
        let mut last = Fingerprint::of(sources);
        while !self.stop.load(Relaxed) && Instant::now() < deadline {
            thread::sleep(SETTLED);
            let now = Fingerprint::of(sources);
            if now == last {
                return;
            }
            last = now;
        }
    }

    fn deploy(&mut self) {
        let since = Since(now_ms());
        let options = DeployOptions {
            path: self.options.path.clone(),
            flags: self.options.flags.clone(),
            variables: self.options.variables.clone(),
            // What a session before this one said is no part of what is developed here.
            reset: true,
            // Each change replaces the one before: nobody goes back to them, and there would soon be too many.
            publish: false,
        };
        match deploy_once(self.agent, &options) {
            Ok(deployed) => {
                let (name, version) = (&deployed.name, deployed.made.version.version);
                let url = self.agent.url();
                if let Err(error) = deployed.print_news(&mut stderr(), SAYS, url) {
                    say(&chain(&error));
                }
                if version == VersionNumber::FIRST || self.follower.is_none() {
                    say(&format!(
                        "  jiffy invoke {name} --agent {url} --event '{{\"name\":\"Ada\"}}'"
                    ));
                    say(&format!(
                        "  curl -d '{{\"name\":\"Ada\"}}' {url}/v1/functions/{name}/invoke"
                    ));
                }
                self.follow(name.clone(), since);
            }
            // What cargo was doing was ended, too.
            Err(_) if self.stop.load(Relaxed) => {}
            Err(error) => {
                if let ClientError::Problem(problem) = &error {
                    problem.print_logs();
                }
                say(&format!("error: {}", chain(&error)));
                say("waiting for a change");
            }
        }
    }

    /// Prints the function's log from `since` on, unless that is done already.
    fn follow(&mut self, name: FunctionName, since: Since) {
        if self
            .follower
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
        {
            return;
        }
        let agent = self.agent.clone();
        let options = LogOptions {
            name,
            since: Some(since),
            until: None,
            request_id: None,
            limit: None,
            follow: true,
        };
        self.follower = Some(thread::spawn(move || {
            // Ends with the agent, or with the function; neither is an error here.
            let _ = client::follow(&agent, &options, Format::Text, &mut stdout());
        }));
    }

    fn last_lines(&mut self) {
        let deadline = Instant::now() + LAST_LINES_TIME_MAX;
        let Some(thread) = &self.follower else {
            return;
        };
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Tells the developer something, apart from what functions log.
fn say(what: &str) {
    // If standard error is closed there is nobody to tell.
    let _ = writeln!(stderr(), "{SAYS}{}", Untrusted(what));
}
