use std::time::{Duration, Instant};

use super::*;
use crate::{suites::peers::program::AfterAnswer, table};

fn shell(script: &str) -> Spec {
    Spec {
        name: "shell".into(),
        isolation: "none".into(),
        vm_or_container: false,
        command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
        stdin: "{\"name\":\"Ada\"}\n".into(),
        first_output: "Hello, Ada!".into(),
        timeout_ms: 10_000,
        after_answer: AfterAnswer::Wait,
    }
}

fn answer(spec: Spec) -> Result<Duration, String> {
    let mut program = spec.into_program().expect("a program");
    let answer = program.answer();
    answer.map_err(|error| jiffy_control::error_chain(&error))
}

fn some_run() -> Run {
    Run {
        programs: PathBuf::from("/nonexistent/release"),
        hello: PathBuf::new(),
        dirty: PathBuf::new(),
        calls: PathBuf::new(),
        hello_std: PathBuf::new(),
        iterations: Some(2),
        full: false,
        table_on_stderr: true,
        results: vec![],
        breakdowns: vec![],
        absent: vec![],
        neighbours: vec![],
        floors: Default::default(),
    }
}

#[test]
fn a_command_is_timed_until_its_answer() {
    let script = r#"read event; echo noise; printf 'Hello, '; echo 'Ada!'; sleep 1"#;
    let start = Instant::now();
    let took = answer(shell(script)).expect("an answer");
    // It was waited for, but not by the clock.
    assert!(
        start.elapsed() >= took + Duration::from_millis(100),
        "{took:?}"
    );
}

#[test]
fn what_reads_nothing_may_answer() {
    answer(shell("exec <&-; echo 'Hello, Ada!'")).expect("an answer");
}

#[test]
fn what_hangs_is_ended_with_all_it_started() {
    // The number of the process it starts, on a line of its own.
    let folder = tempfile::tempdir().expect("temporary directory");
    let file = folder.path().join("child");
    let script = format!(
        "sleep 600 & echo $! > {}; echo why >&2; wait",
        file.display()
    );
    let start = Instant::now();
    let timeout_ms = 500;
    let why = answer(Spec {
        timeout_ms,
        ..shell(&script)
    })
    .expect_err("no answer");
    assert!(start.elapsed() < Duration::from_secs(60));
    assert_eq!(
        why,
        "/bin/sh did not answer within 500ms and was ended: why"
    );
    let child = std::fs::read_to_string(file).expect("it started one");
    let status = PathBuf::from(format!("/proc/{}/stat", child.trim()));
    // Gone, or a zombie that nobody has waited for yet.
    let is_gone = || std::fs::read_to_string(&status).map_or(true, |stat| stat.contains(") Z"));
    let end = Instant::now() + Duration::from_secs(10);
    while !is_gone() {
        assert!(Instant::now() < end, "{status:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_stays_is_killed_if_told_so() {
    let stays = shell("echo 'Hello, Ada!'; exec sleep 600");
    answer(Spec {
        after_answer: AfterAnswer::Kill,
        ..stays.clone()
    })
    .expect("an answer");
    let why = answer(Spec {
        timeout_ms: 500,
        ..stays
    });
    assert!(
        why.expect_err("it stays")
            .contains("after_answer = \"kill\"")
    );
}

#[test]
fn wrong_answers_are_told() {
    let check = |spec, expected: &str| {
        let why = answer(spec).expect_err("no answer");
        assert!(why.contains(expected), "{why}");
    };
    check(
        shell("echo 'Hello, Eve!'; printf 'no such\\n\\033name\\n' >&2"),
        "ended without the answer \"Hello, Ada!\": no such name",
    );
    check(shell("exec yes"), "wrote 1048576 bytes without the answer");
    check(
        Spec {
            command: vec!["/nonexistent/vmm".into()],
            ..shell("")
        },
        "cannot start /nonexistent/vmm",
    );
}

#[test]
fn neighbours_take_turns_and_those_that_fail_are_absent() {
    let good = shell("read event; echo 'Hello, Ada!'");
    let bad = Spec {
        name: "bad".into(),
        timeout_ms: 200,
        ..shell("exec sleep 600")
    };
    let mut run = some_run();
    measure(&mut run, [bad, good].map(described).into());
    let names: Vec<_> = run
        .results
        .iter()
        .map(|result| result.name.as_str())
        .collect();
    assert_eq!(names, ["peers.shell.cold"]);
    assert_eq!(run.results[0].n, 2);
    assert!(table::row(&run.results[0]).contains("peers.shell.cold"));
    let absent = &run.absent[0];
    assert_eq!(absent.name, "peers.bad");
    assert!(
        absent.why.contains("did not answer within 200ms"),
        "{absent:?}"
    );
    assert_eq!(run.neighbours[0].name, "shell");
}

#[test]
fn what_is_not_installed_says_how_to() {
    let workshop = Workshop::new(Path::new("/nonexistent/release")).expect("workshop");
    let candidates = known(&workshop);
    let names: Vec<_> = candidates
        .iter()
        .map(|it| it.neighbour.name.as_str())
        .collect();
    assert_eq!(names, KNOWN);
    for candidate in candidates {
        if let Err(why) = candidate.contender {
            let why = why.to_string();
            assert!(
                why.contains("./scripts/peers") || why.contains("run as root"),
                "{why}"
            );
        }
    }
}

/// The limit without isolation, which needs only a compiler.
#[test]
fn the_native_program_answers() {
    if std::process::Command::new("cc")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: no C compiler");
        return;
    }
    let workshop = Workshop::new(Path::new("/nonexistent/release")).expect("workshop");
    let [native, ..] = <[Candidate; 3]>::try_from(local::candidates(&workshop))
        .ok()
        .expect("three");
    let mut samples = Samples::new();
    let mut contender = native.contender.expect("compiled");
    contender.cold(&mut samples).expect("an answer");
    assert_eq!(samples.len(), 1);
}

#[test]
fn rivals_have_a_promise_and_limits_have_none() {
    let of = |name: &str, is_vm_or_container, level| Neighbour {
        name: name.into(),
        isolation: "some".into(),
        is_vm_or_container,
        level,
    };
    let neighbours = [
        of("crun", true, Level::Process),
        of("fork_exec", false, Level::Process),
        of("workerd", false, Level::Http),
        of("missing", true, Level::Process),
    ];
    let results = [
        ("restore.pooled", 100.0),
        ("invoke.fresh", 50.0),
        ("agent.cold", 500.0),
        ("agent.fresh", 100.0),
        ("peers.crun.cold", 290.0),
        ("peers.fork_exec.cold", 200.0),
        ("peers.workerd.http_cold", 5000.0),
        ("peers.workerd.http_warm", 150.0),
    ]
    .map(|(name, p50)| Measured::single(name, "µs", p50));
    let ratios = ratios(&results, &neighbours);
    let ratios: Vec<_> = ratios
        .iter()
        .map(|ratio| {
            let is_kept = ratio.promise.map(|promise| promise.is_kept(ratio.value));
            (ratio.name.as_str(), ratio.value, is_kept)
        })
        .collect();
    assert_eq!(
        ratios,
        [
            ("peers.crun.cold / restore.pooled", 2.9, Some(false)),
            ("peers.fork_exec.cold / restore.pooled", 2.0, None),
            ("peers.fork_exec.cold / invoke.fresh", 4.0, Some(true)),
            ("peers.workerd.http_cold / agent.cold", 10.0, None),
            ("peers.workerd.http_warm / agent.fresh", 1.5, None),
        ]
    );
}

/// The example of the documentation is one.
#[test]
fn the_documented_neighbour_is_read() {
    let page = include_str!("../../../../docs/benchmarks.md");
    let example = page
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let spec: Spec = toml::from_str(example.expect("an example")).expect("a neighbour");
    assert_eq!(spec.name, "my_vmm");
}
