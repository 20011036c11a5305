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

/// Each from the constant that is used, in every command that takes the setting.
#[test]
fn the_defaults_are_told_where_they_can_be_changed() {
    let ram = format!("else {}MiB", RAM_BYTES_DEFAULT >> 20);
    let all = [&*ram, "else 3s", "else fresh", "else 10", "else 0"];
    for (command, told) in [
        (&["run"][..], &all[..3]),
        (&["snapshot", "create"], &all[..2]),
        (&["deploy"], &all),
        (&["dev"], &all),
    ] {
        let mut all = Cli::command();
        let mut named = &mut all;
        for name in command {
            named = named.find_subcommand_mut(name).expect("a command");
        }
        let help = named.render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for default in told {
            assert!(help.contains(default), "{command:?}: {default}: {help}");
        }
    }
}

#[test]
fn an_event_is_text_or_file() {
    let event = |arguments| {
        let request = run_options(arguments).expect("parses").request;
        (request.event, request.event_file)
    };
    assert_eq!(event(&[]), (None, None));
    assert_eq!(event(&["--event", "{}"]), (Some("{}".into()), None));
    let file = event(&["x.elf", "--event-file", "a"]);
    assert_eq!(file, (None, Some("a".into())));
}

#[test]
fn a_run_is_of_an_image_or_of_a_snapshot() {
    let what = |arguments: &[&str]| run_options(arguments).expect("parses").what;
    let none = SomeSettings::default();
    let function =
        |path: &str, flags: &SomeSettings, variables: EnvironmentChanges| What::Function {
            path: path.into(),
            flags: flags.clone(),
            variables,
        };
    let snapshot = |flags: &SomeSettings| What::Snapshot {
        path: "a.snap".into(),
        flags: flags.clone(),
    };
    assert_eq!(what(&[]), function(".", &none, EnvironmentChanges::new()));
    let flags = SomeSettings {
        memory_bytes: Some(16 << 20),
        ..none.clone()
    };
    let all = [
        "a.elf",
        "--memory",
        "16MB",
        "--env",
        "A=1",
        "--unset-env",
        "B",
    ];
    let variables = [
        ("A".to_owned(), Some("1".to_owned())),
        ("B".to_owned(), None),
    ];
    assert_eq!(what(&all), function("a.elf", &flags, variables.into()));
    let restore = ["--snapshot", "a.snap"];
    assert_eq!(what(&restore), snapshot(&none));
    let reuse = SomeSettings {
        isolation: Some(Isolation::Reuse),
        ..none
    };
    let arguments = ["--isolation", "reuse"];
    assert_eq!(what(&[&restore[..], &arguments].concat()), snapshot(&reuse));
    assert_eq!(
        what(&arguments),
        function(".", &reuse, EnvironmentChanges::new())
    );
    for more in [
        &["a.elf"][..],
        &["--memory", "16MiB"],
        &["--env", "A=1"],
        &["--unset-env", "A"],
    ] {
        let error = run_options(&[&restore[..], more].concat()).expect_err("a conflict");
        assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
    }
}

#[test]
fn sizes_and_times_say_what_they_lack() {
    let said = |arguments: &[&str]| run_options(arguments).expect_err("wrong").to_string();
    let unit = said(&["--memory", "16"]);
    assert!(
        unit.contains("'16'") && unit.contains("give a unit, such as 16M or 16MiB"),
        "{unit}"
    );
    let unit = said(&["--timeout", "3"]);
    assert!(unit.contains("give a unit, such as 3s or 3ms"), "{unit}");
    let range = said(&["--memory", "1M"]);
    assert!(range.contains("must be 4 to 3072 MiB"), "{range}");
    let range = said(&["--timeout", "16m"]);
    assert!(range.contains("must be 1ms to 15m"), "{range}");
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
