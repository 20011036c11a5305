//! Killed at any time by a signal that nobody can handle, again and again: what was acknowledged is there.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use super::*;

/// Names the file to the child, which is this test once more.
const VARIABLE: &str = "JIFFY_KV_CRASH_FILE";
const ROUNDS: u64 = 30;
const THREADS: u64 = 4;

/// Each thread has a key of its own and a pair of keys that are to be equal, and says what was acknowledged.
fn child(path: &Path) {
    let kv = Kv::open(path, Limits::default(), system_clock()).expect("opens");
    thread::scope(|scope| {
        for number in 0..THREADS {
            let kv = &kv;
            scope.spawn(move || {
                for count in 0_u64.. {
                    let value = [count.to_string().into_bytes(), vec![b' '; 3000]].concat();
                    let [one, other] = ["one", "other"].map(|key| format!("{number}/{key}"));
                    let batch = vec![put(&one, &value), put(&other, &value)];
                    let written = kv.write(id("s"), batch).wait().expect("written");
                    let version = written[1].version;
                    let line = format!("ack {number} {version} {count}\n");
                    // In one piece, which a pipe does not mix with others.
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "a test's child, which is killed"
                    )]
                    std::io::stdout().write_all(line.as_bytes()).expect("said");
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Some(path) = env::var_os(VARIABLE) {
        return child(&PathBuf::from(path));
    }
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("kv");
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let name = "tests::crash::what_was_acknowledged_survives_a_kill";
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", name, "--nocapture"])
            .env(VARIABLE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        thread::sleep(Duration::from_millis(40 + round * 7));
        child.kill().expect("killed");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut last = BTreeMap::new();
        for line in output.split(b'\n') {
            let line = line.expect("read");
            let line = String::from_utf8_lossy(&line).into_owned();
            // The harness begins the first line.
            let Some((_, said)) = line.split_once("ack ") else {
                continue;
            };
            let words: Vec<u64> = said
                .split(' ')
                .filter_map(|word| word.parse().ok())
                .collect();
            if let [number, version, count] = words[..] {
                last.insert(number, (version, count));
            }
        }
        child.wait().expect("ended");
        let kv = Kv::open(&path, Limits::default(), system_clock()).expect("opens after a kill");
        for (number, (version, count)) in last {
            acknowledged += 1;
            let [one, other] = ["one", "other"].map(|key| {
                let entry = kv.get(&id("s"), &format!("{number}/{key}")).expect("reads");
                entry.expect("it was acknowledged")
            });
            assert_eq!(one.value, other.value, "half of a batch");
            assert!(
                other.version >= version,
                "round {round}: {} of {version}",
                other.version
            );
            let found = String::from_utf8(one.value).expect("text");
            let found: u64 = found.trim().parse().expect("a number");
            // One more may be durable and not acknowledged.
            assert!((count..=count + 1).contains(&found), "{found} of {count}");
        }
    }
    assert!(
        acknowledged > ROUNDS,
        "hardly anything was written: {acknowledged}"
    );
}
