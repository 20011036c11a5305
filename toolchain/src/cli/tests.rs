use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn run_documents_every_exit_code() {
    let mut command = Cli::command();
    let run = command.find_subcommand_mut("run").expect("run");
    assert!(
        run.render_help()
            .to_string()
            .contains(&Exit::table(Exit::Build).to_string())
    );
}

/// The options of `jiffy run` with these arguments.
fn run_options(arguments: &[&str]) -> Result<run::Options, clap::Error> {
    let line = ["jiffy", "run"].iter().chain(arguments);
    match Cli::try_parse_from(line)?.command {
        Command::Run(options) => Ok(options.into()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_is_text_file_or_input() {
    let event = |arguments| run_options(arguments).expect("parses").event;
    assert_eq!(event(&[]), EventSource::Empty);
    assert_eq!(event(&["--event", "{}"]), EventSource::Text("{}".into()));
    assert_eq!(event(&["--event-file", "-"]), EventSource::StandardInput);
    assert_eq!(
        event(&["x.elf", "--event-file", "a"]),
        EventSource::File("a".into())
    );
}

#[test]
fn a_run_is_of_an_image_or_of_a_snapshot() {
    use jiffy_control::Isolation;

    let what = |arguments| run_options(arguments).expect("parses").what;
    let function = |path: &str, ram_bytes| What::Function {
        path: path.into(),
        ram_bytes,
    };
    let snapshot = |isolation| What::Snapshot {
        path: "a.snap".into(),
        isolation,
    };
    assert_eq!(what(&[]), function(".", None));
    let memory = ["a.elf", "--memory", "16MiB"];
    assert_eq!(what(&memory), function("a.elf", Some(16 << 20)));
    let restore = ["--snapshot", "a.snap"];
    assert_eq!(what(&restore), snapshot(Isolation::Fresh));
    let reuse = [&restore[..], &["--isolation", "reuse"]].concat();
    assert_eq!(what(&reuse), snapshot(Isolation::Reuse));
    for more in [&["a.elf"][..], &["--memory", "16MiB"]] {
        let error = run_options(&[&restore[..], more].concat()).expect_err("a conflict");
        assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
    }
    let error = run_options(&["--isolation", "fresh"]).expect_err("no snapshot");
    let missing = clap::error::ErrorKind::MissingRequiredArgument;
    assert_eq!(error.kind(), missing);
}

#[test]
fn requests_are_bounded() {
    let requests = |count: &str| run_options(&["--requests", count]).map(|run| run.requests);
    let max = run::REQUESTS_MAX;
    assert_eq!(requests(&max.to_string()).expect("parses"), max);
    for count in ["0", "-1", &(u64::from(max) + 1).to_string()] {
        assert!(requests(count).is_err(), "{count}");
    }
}

#[test]
fn a_snapshot_needs_a_name() {
    let parse = |line: &[&str]| Cli::try_parse_from([&["jiffy", "snapshot"], line].concat());
    assert!(parse(&["create", "a.elf", "-o", "a.snap", "--timeout", "1s"]).is_ok());
    assert!(parse(&["create", "a.elf"]).is_err());
    assert!(parse(&["inspect", "a.snap", "-o", "json"]).is_ok());
    assert!(parse(&["verify"]).is_err());
}
