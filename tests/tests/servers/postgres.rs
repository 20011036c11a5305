//! Postgres with data of its own, on a port of loopback. As root it runs as the user that Debian's package makes for it.
//! Included by the end-to-end tests and by those of `jiffy-capabilities`.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::certificates::certificates;

const START_TIME_MAX: Duration = Duration::from_secs(60);
/// Where Debian has the programs of each version.
const PROGRAMS: &str = "/usr/lib/postgresql";
pub(crate) const PASSWORD: &str = "canary-b7/e2@91";
const PASSWORD_ENCODED: &str = "canary-b7%2Fe2%4091";

/// One that runs; it ends with this.
#[derive(Debug)]
pub(crate) struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    process: Option<Child>,
    port: u16,
}

impl Postgres {
    /// Starts one; an error if it is not installed.
    pub(crate) fn start() -> Result<Self, String> {
        let programs = programs().ok_or("install postgresql")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open");
        // Free a moment ago, which is as much as one can know of a port that another process is to have.
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        fs::write(folder.path().join("password"), PASSWORD).expect("written");
        certificates(folder.path());
        let mut postgres = Self {
            folder,
            programs,
            process: None,
            port,
        };
        let data = postgres.path("data");
        fs::create_dir(&data).expect("a folder");
        for name in ["data", "password", "server.pem", "key.pem"] {
            postgres.hand_over(name);
        }
        let mut make = postgres.command("initdb");
        make.arg("--pgdata").arg(&data).arg("--pwfile");
        make.arg(postgres.path("password")).args([
            "--username=ada",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "--no-instructions",
        ]);
        let made = make.output().expect("initdb");
        assert!(made.status.success(), "{made:?}");
        postgres.resume();
        Ok(postgres)
    }

    /// Starts it again on its data.
    pub(crate) fn resume(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.path("data"));
        command.args(["-p", &self.port.to_string()]);
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "max_connections=60",
            "ssl=on",
            &format!("ssl_cert_file={}", self.path("server.pem").display()),
            &format!("ssl_key_file={}", self.path("key.pem").display()),
        ];
        for setting in settings {
            command.args(["-c", setting]);
        }
        let log = fs::File::create(self.path("log")).expect("a file");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.process = Some(command.spawn().expect("postgres"));
        let began = Instant::now();
        while !self.ask("select 1").status.success() {
            assert!(began.elapsed() < START_TIME_MAX, "{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it, and with it all connections.
    pub(crate) fn pause(&mut self) {
        if let Some(mut process) = self.process.take() {
            let mut end = Command::new("kill");
            let _ = end.args(["-INT", &process.id().to_string()]).status();
            let _ = process.wait();
        }
    }

    /// Its address, with user and password; `query` is what stands behind the question mark.
    pub(crate) fn url(&self, query: &str) -> String {
        self.url_by(self.port, query)
    }

    /// The same by another port, behind which it is.
    #[allow(dead_code, reason = "the unit tests have nothing before it")]
    pub(crate) fn url_by(&self, port: u16, query: &str) -> String {
        format!("postgres://ada:{PASSWORD_ENCODED}@localhost:{port}/postgres?{query}")
    }

    #[allow(dead_code, reason = "the unit tests have nothing before it")]
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The authority of its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// What `psql` prints of a statement.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        let output = self.ask(sql);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn ask(&self, sql: &str) -> Output {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-h", "127.0.0.1", "-U", "ada", "-d", "postgres", "-XqAt"]);
        command.args(["-p", &self.port.to_string(), "-c", sql]);
        let asked = command.env("PGPASSWORD", PASSWORD).output();
        asked.expect("psql")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program of Postgres, by a user that it runs as.
    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        if !is_root() {
            return Command::new(path);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        command.arg(path).current_dir("/");
        command
    }

    fn hand_over(&self, name: &str) {
        let path = self.path(name);
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("closed");
        if is_root() {
            let mut command = Command::new("chown");
            let given = command.arg("postgres:postgres").arg(path).status();
            assert!(given.expect("chown").success());
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.pause();
    }
}

fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(PROGRAMS).ok()?.flatten();
    let programs = versions.map(|version| version.path().join("bin"));
    let has = |path: &PathBuf| path.join("postgres").exists() && path.join("psql").exists();
    programs.filter(has).max()
}

fn is_root() -> bool {
    let own = fs::metadata("/proc/self").expect("a process");
    std::os::unix::fs::MetadataExt::uid(&own) == 0
}
