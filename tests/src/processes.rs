//! A process of the host, from outside: what it may leave behind, and what it has in memory.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::agent::within;

/// Of one that writes no core file: soft, hard.
pub const CORE_LIMIT: [&str; 2] = ["0", "0"];
/// `xor eax, eax; mov [rax], al`.
const WRITES_TO_NULL: [u8; 4] = [0x31, 0xc0, 0x88, 0x00];

/// What was just started is there by then, beside other load.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

/// One of this id.
#[derive(Debug)]
pub struct Process(pub u32);

impl Process {
    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0)
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap_or_default()
    }

    /// Whether it is there and no zombie.
    pub fn lives(&self) -> bool {
        let stat = self.text("stat");
        let state = stat.rsplit_once(") ").map(|(_, rest)| &rest[..1]);
        state.is_some_and(|state| state != "Z")
    }

    /// Soft and hard limit of core files.
    pub fn core_limit(&self) -> [String; 2] {
        let limits = self.text("limits");
        let mut lines = limits.lines();
        let limit = lines.find_map(|line| line.strip_prefix("Max core file size"));
        let mut words = limit.expect("a limit").split_whitespace();
        [(); 2].map(|()| words.next().expect("a word").to_owned())
    }

    /// Lifts it, if this may: the kernel asks no limit either where the host gives core files to a program.
    pub fn lift_core_limit(&self) -> bool {
        let none = Rlimit {
            current: None,
            maximum: None,
        };
        let pid = i32::try_from(self.0).ok().and_then(Pid::from_raw);
        prlimit(pid, Resource::Core, none).is_ok()
    }

    /// Whether root finds it in its memory.
    pub fn has_in_memory(&self, text: &str) -> bool {
        let memory = File::open(self.path("mem")).expect("root may");
        let maps = self.text("maps");
        maps.lines().any(|line| {
            let range = line.split(' ').next().and_then(|it| it.split_once('-'));
            let (begin, end) = range.expect("a range");
            let [begin, end] =
                [begin, end].map(|it| u64::from_str_radix(it, 16).expect("an address"));
            let mut bytes = vec![0; usize::try_from(end - begin).expect("a size")];
            // Some cannot be read, as what KVM shares.
            memory.read_exact_at(&mut bytes, begin).is_ok() && has(&bytes, text.as_bytes())
        })
    }

    /// Has it fault when it goes on from the system call that it waits in.
    pub fn break_code(&self) {
        let waits_in = self.text("syscall");
        let address = waits_in.trim().rsplit_once(" 0x").expect("it waits").1;
        let address = u64::from_str_radix(address, 16).expect("an address");
        let memory = File::options().write(true).open(self.path("mem"));
        let memory = memory.expect("root may");
        memory
            .write_all_at(&WRITES_TO_NULL, address)
            .expect("root may");
    }

    /// That another process of its user, which has no more rights than it, gets nothing of its memory.
    #[track_caller]
    pub fn check_unreadable_by_its_user(&self) {
        let status = self.text("status");
        let id = |name: &str| {
            let mut lines = status.lines();
            let ids = lines.find_map(|line| line.strip_prefix(name)).expect("ids");
            ids.split_whitespace().next().expect("an id").to_owned()
        };
        let (user, group) = (id("Uid:"), id("Gid:"));
        assert_ne!(user, "0");
        let as_user = |program: &str, arguments: &[&str]| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &user, "--regid", &group, "--clear-groups"]);
            command.arg(program).args(arguments).stderr(Stdio::null());
            command.stdout(Stdio::null());
            command
        };
        let reads = |process: u32, file: &str| {
            let path = format!("/proc/{process}/{file}");
            let opened = as_user("sh", &["-c", "exec < \"$0\"", &path]).status();
            opened.expect("setpriv").success()
        };
        let mut other = as_user("sleep", &["60"]).spawn().expect("setpriv");
        let files = ["mem", "maps", "environ"];
        // What it could read if it were allowed to: one that is not jailed.
        let is_open = within(SEEN_WITHIN, || {
            files
                .iter()
                .all(|file| reads(other.id(), file))
                .then_some(())
        });
        let _ = other.kill();
        let _ = other.wait();
        assert!(is_open.is_some(), "the test asks the wrong way");
        for file in files {
            assert!(!reads(self.0, file), "{self:?} {file}");
        }
    }
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
