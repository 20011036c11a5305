//! A `jiffyd` under test: started, asked over HTTP, killed, started again on the same data, and looked at for what it
//! leaves behind. Each has a copy of `jiffy-vmm` of its own, by which its processes are known among all of the host.

mod disk;
mod memory_group;
mod traces;

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use disk::{Disk, FileSystem};
pub use memory_group::MemoryGroup;
pub use traces::{Traces, kib, mounts};

/// What an agent may take to start or to stop, beside other load.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// What a client waits for an answer. No agent lets one wait as long.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const POLL: Duration = Duration::from_millis(5);
const LISTENING: &str = "listening address=";

/// What an HTTP server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| &**value)
    }

    /// The body, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, which has to be JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// What kind of problem it is; empty if it is none.
    pub fn problem(&self) -> String {
        if self.header("content-type") != Some("application/problem+json") {
            return String::new();
        }
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.trim_start_matches("urn:jiffy:").to_owned()
    }

    /// This answer, if it has the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// Asks an agent. A clone shares its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: ureq::Agent,
    base: String,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_TIME_MAX))
            .max_idle_connections_per_host(64)
            .max_idle_connections(64)
            .build();
        Self {
            http: config.into(),
            base: format!("http://{address}"),
        }
    }

    /// Where it is, for programs that ask it.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Where the agent listens.
    pub fn address(&self) -> SocketAddr {
        let address = self.base.trim_start_matches("http://").parse();
        address.expect("made of an address")
    }

    /// Sends a request and waits for the answer; an error if there is none.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let mut response = self.request(method, path, headers, body)?;
        let texts = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        };
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().iter().map(texts).collect(),
            body: response
                .body_mut()
                .with_config()
                .limit(ANSWER_BYTES_MAX)
                .read_to_vec()?,
        })
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if matches!(method, "GET" | "HEAD" | "DELETE") {
            self.http.run(request.body(())?)
        } else {
            self.http.run(request.body(body)?)
        }
    }

    /// As [`Client::send`], for a test in which there has to be an answer.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let answer = self.send(method, path, &[], body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Reads.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, b"")
    }

    /// The lines of a log as they come, until the agent ends it.
    #[track_caller]
    pub fn follow(&self, path: &str) -> impl Iterator<Item = Value> + use<> {
        let response = self.request("GET", path, &[], b"").expect("an answer");
        assert_eq!(response.status(), 200);
        let lines = BufReader::new(response.into_body().into_reader()).lines();
        lines.map_while(|line| serde_json::from_str(&line.ok()?).ok())
    }

    /// Sends an event to a function.
    #[track_caller]
    pub fn invoke(&self, function: &str, event: impl AsRef<[u8]>) -> Answer {
        self.call("POST", &invoke_path(function), event.as_ref())
    }

    /// Uploads the image of an example or a guest. Returns its digest.
    #[track_caller]
    pub fn upload(&self, function: &str) -> String {
        let image = fs::read(crate::image(function)).expect("an image");
        let answer = self.call("POST", "/v1/images", &image).expect(201);
        let digest = answer.json()["digest"].clone();
        digest.as_str().expect("a digest").to_owned()
    }

    /// Deploys an image, with more settings if `settings` has some.
    #[track_caller]
    pub fn deploy(&self, name: &str, image: &str, settings: Value) -> Answer {
        let answer = self.try_deploy(name, image, settings);
        answer.unwrap_or_else(|error| panic!("deploying {name}: {error}"))
    }

    /// As [`Client::deploy`]; an error if there is no answer.
    pub fn try_deploy(
        &self,
        name: &str,
        image: &str,
        mut settings: Value,
    ) -> Result<Answer, ureq::Error> {
        settings["image"] = json!(image);
        self.send_json("PUT", &format!("/v1/functions/{name}"), &settings)
    }

    /// Sends JSON; an error if there is no answer.
    pub fn send_json(&self, method: &str, path: &str, body: &Value) -> Result<Answer, ureq::Error> {
        let headers = [("content-type", "application/json")];
        self.send(method, path, &headers, body.to_string().as_bytes())
    }

    /// All VMs that have a function.
    #[track_caller]
    pub fn instances(&self) -> Vec<Value> {
        let list = self.get("/v1/instances").expect(200).json();
        list["instances"].as_array().expect("a list").clone()
    }
}

/// Where events for a function go.
pub fn invoke_path(function: &str) -> String {
    format!("/v1/functions/{function}/invoke")
}

/// How an agent is started, again and again on the same data.
#[derive(Debug)]
pub struct Setup {
    folder: TempDir,
    /// Keys of its configuration as variables, without their prefix: `POOL__SHELLS_MIN`.
    pub settings: Vec<(&'static str, String)>,
    /// If its data are not in a folder of the host.
    pub disk: Option<Disk>,
    /// Start it with a umask of 0.
    umask_0: bool,
    /// Start it as this user and in this group.
    user: Option<(u32, u32)>,
}

impl Setup {
    /// An agent that has its own folder, its own programs and these settings.
    pub fn new(settings: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let setup = Self {
            folder,
            settings: settings
                .iter()
                .map(|(key, value)| (*key, (*value).to_owned()))
                .collect(),
            disk: None,
            umask_0: false,
            user: None,
        };
        // A build meanwhile changes neither.
        fs::copy(crate::vmm_path(), setup.vmm()).expect("a copy of the VMM");
        fs::copy(crate::jiffyd_path(), setup.program()).expect("a copy of the agent");
        setup
    }

    /// The same with its data on a disk of its own, of this size; says so if the host has none to give.
    pub fn with_disk(self, bytes: u64) -> Self {
        self.with_file_system(FileSystem::Ext4, bytes)
    }

    /// The same with another file system than ext4.
    pub fn with_file_system(mut self, kind: FileSystem, bytes: u64) -> Self {
        fs::create_dir(self.data_dir()).expect("a directory");
        let image = self.folder.path().join("disk");
        match Disk::new(kind, &self.data_dir(), &image, bytes) {
            Ok(disk) => self.disk = Some(disk),
            Err(error) => crate::skip(&format!("what a full disk does ({error})")),
        }
        self
    }

    /// The same with a data directory that everybody may enter, as are those in it, and with a umask of 0.
    pub fn with_open_folders(mut self) -> Self {
        let data = self.data_dir();
        let inner =
            ["", "images", "images/tmp", "snapshots", "logs", "usage"].map(|name| data.join(name));
        inner
            .iter()
            .for_each(|path| fs::create_dir_all(path).expect("a directory"));
        for path in inner
            .iter()
            .map(PathBuf::as_path)
            .chain([self.folder.path()])
        {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("open");
        }
        self.umask_0 = true;
        self
    }

    /// The same, started by another user than who tests, to whom a new data directory belongs.
    pub fn of_user(mut self, user: u32, group: u32) -> Self {
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755)).expect("open");
        fs::create_dir(self.data_dir()).expect("a directory");
        let given = std::os::unix::fs::chown(self.data_dir(), Some(user), Some(group));
        given.expect("given away");
        self.user = Some((user, group));
        self
    }

    /// The copy of `jiffy-vmm`.
    pub fn vmm(&self) -> PathBuf {
        self.folder.path().join("vmm")
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("jiffyd")
    }

    /// Where its data are, as the agent sees it.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The same, as the test sees it.
    pub fn data(&self) -> PathBuf {
        match &self.disk {
            Some(disk) => disk.path(),
            None => self.data_dir(),
        }
    }

    /// What it printed since it was last started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let program = self.program();
        let mut command = match (&self.disk, self.user) {
            (Some(disk), _) => disk.command(&program),
            (None, Some((user, group))) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={user}"))
                    .arg(format!("--regid={group}"))
                    .args(["--clear-groups", "--inh-caps=-all"])
                    .arg(program);
                command
            }
            (None, None) if self.umask_0 => {
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", "umask 0; exec \"$@\"", "sh"])
                    .arg(program);
                shell
            }
            (None, None) => Command::new(program),
        };
        let log = fs::File::create(self.log_path()).expect("a file");
        command
            .arg("--allow-missing-cgroups")
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--vmm")
            .arg(self.vmm())
            .env("JIFFYD_LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        for (key, value) in &self.settings {
            command.env(format!("JIFFYD_{key}"), value);
        }
        command
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn start(&self) -> Agent {
        self.started(self.command())
    }

    /// The same, with `file` left open by who starts it, as the descriptor of this number.
    #[track_caller]
    pub fn start_with_open(&self, file: &Path, descriptor: u32) -> Agent {
        self.start_by(&format!("exec \"$@\" {descriptor}<'{}'", file.display()))
    }

    /// The same in a control group, where all that it starts will be too.
    #[track_caller]
    pub fn start_in_group(&self, group: &MemoryGroup) -> Agent {
        let entrance = group.entrance();
        self.start_by(&format!("echo 0 > '{}' && exec \"$@\"", entrance.display()))
    }

    /// The same in `folder`, by one who lets core files be written, of any size.
    #[track_caller]
    pub fn start_with_core_files(&self, folder: &Path) -> Agent {
        let folder = folder.display();
        self.start_by(&format!(
            "ulimit -c unlimited && cd '{folder}' && exec \"$@\""
        ))
    }

    /// Starts it from a shell's script, whose arguments are its command.
    #[track_caller]
    fn start_by(&self, script: &str) -> Agent {
        let own = self.command();
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]);
        command.arg(own.get_program()).args(own.get_args());
        for (key, value) in own.get_envs() {
            command.env(key, value.unwrap_or_default());
        }
        let log = fs::File::create(self.log_path()).expect("a file");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.started(command)
    }

    #[track_caller]
    fn started(&self, mut command: Command) -> Agent {
        let mut process = command.spawn().expect("jiffyd");
        let address = within(START_TIME_MAX, || {
            if let Some(status) = process.try_wait().expect("a child") {
                panic!("jiffyd ended with {status}: {}", self.log());
            }
            listening(&self.log())
        });
        let address = address.unwrap_or_else(|| panic!("jiffyd does not listen: {}", self.log()));
        Agent {
            client: Client::new(address),
            process,
        }
    }

    /// All traces that agents of this setup have on the host now.
    pub fn traces(&self) -> Traces {
        Traces::of(&self.vmm())
    }
}

fn listening(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once(LISTENING)?;
    // A line without an end may not be all of it.
    rest.split_once('\n')?.0.trim().parse().ok()
}

/// An agent that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Agent {
    /// Asks it.
    pub client: Client,
    process: Child,
}

impl std::ops::Deref for Agent {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Agent {
    /// Id of its process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Its resident memory, KiB.
    pub fn resident_kib(&self) -> u64 {
        kib(format!("/proc/{}/status", self.process_id()), "VmRSS")
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.process_id());
        fs::read_dir(path).map_or(0, Iterator::count)
    }

    /// Kills it, without a word of warning.
    pub fn kill(mut self) {
        self.process.kill().expect("it lives");
        self.process.wait().expect("a child");
    }

    /// Tells it to stop, without waiting.
    pub fn terminate(&self) {
        signal(self.process_id(), Signal::TERM).expect("it lives");
    }

    /// Waits until it has stopped.
    #[track_caller]
    pub fn wait(mut self) -> ExitStatus {
        let status = within(START_TIME_MAX, || self.process.try_wait().expect("a child"));
        status.expect("it does not stop")
    }

    /// Tells it to stop and waits for it.
    #[track_caller]
    pub fn stop(self) -> ExitStatus {
        self.terminate();
        self.wait()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a signal to a process of the host.
pub fn signal(process: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::NotFound)?;
    Ok(kill_process(pid, signal)?)
}

/// What `find` finds in time.
pub fn within<T>(limit: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        let found = find();
        if found.is_some() || began.elapsed() > limit {
            return found;
        }
        thread::sleep(POLL);
    }
}

/// Every file and directory below `top`, a line each, for messages.
pub fn tree(top: &Path) -> String {
    let mut text = String::new();
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = writeln!(text, "{}", path.display());
            if path.is_dir() {
                directories.push(path);
            }
        }
    }
    text
}
