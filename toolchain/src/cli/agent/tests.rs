use clap::Parser as _;

use jiffy_model::Isolation;

use super::*;
use crate::cli::{Cli, Command};

fn parse(arguments: &[&str]) -> Result<AgentCommand, clap::Error> {
    let line = ["jiffy"].iter().chain(arguments);
    match Cli::try_parse_from(line)?.command {
        Command::Agent(command) => Ok(command),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_flags_say_is_what_a_manifest_can_say() {
    let settings = |arguments: &[&str]| match parse(&[&["deploy"], arguments].concat()) {
        Ok(AgentCommand::Deploy(deploy)) => Ok(deploy.settings.parts()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    let (flags, variables) = settings(&[]).expect("none");
    assert_eq!((flags, variables.len()), (Manifest::default(), 0));
    let all = [
        ".",
        "--name",
        "a",
        "--memory",
        "16MiB",
        "--timeout",
        "1500us",
        "--isolation",
        "reuse",
        "--env",
        "A=",
        "--unset-env",
        "B",
    ];
    let (all, variables) = settings(&all).expect("all");
    let expected = SomeSettings {
        memory_bytes: Some(16 << 20),
        timeout_ms: Some(2),
        isolation: Some(Isolation::Reuse),
        ..SomeSettings::default()
    };
    assert_eq!(all.settings, expected);
    let expected = [
        ("A".to_owned(), Some(String::new())),
        ("B".to_owned(), None),
    ];
    assert_eq!(variables, EnvironmentChanges::from(expected));
    for wrong in [
        ["--name", "a b"],
        ["--memory", "1"],
        ["--timeout", "0s"],
        ["--isolation", "none"],
        ["--max-concurrency", "-1"],
        ["--env", "A"],
        ["--env", "=1"],
    ] {
        assert!(settings(&wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn every_verb_takes_what_it_says() {
    for good in [
        "dev",
        "dev examples/hello --listen 127.0.0.1:8080 --ephemeral --name x",
        "invoke hello:3 --event {} --stats -o json --agent http://10.0.0.1:1",
        "ls --token-file t",
        "describe hello",
        "versions hello -o json",
        "alias ls hello",
        "alias set hello prod 3 4=100 --description d",
        "alias rm hello prod",
        "rollback hello",
        "rollback hello 3",
        "rm hello:3 -y",
        "logs hello -f --since 5m --until 1m --limit 10000",
        "top --once --interval 500ms",
        "usage",
        "usage hello --since 2026-01-31T12:00:00Z",
    ] {
        let words: Vec<&str> = good.split(' ').collect();
        assert!(parse(&words).is_ok(), "{good}");
    }
    for bad in [
        "dev --listen here",
        "invoke",
        "invoke a/b",
        "invoke hello --header a:b",
        "invoke hello --event {} --event-file x",
        "alias",
        "alias set hello prod",
        "alias set hello prod 1 2 3",
        "alias set hello prod live",
        "rollback hello 0",
        "logs hello --limit 0",
        "logs hello --limit 10001",
        "logs hello --since soon",
        "top --interval 1ms",
    ] {
        let words: Vec<&str> = bad.split(' ').collect();
        assert!(parse(&words).is_err(), "{bad}");
    }
}

#[test]
fn verbs_that_end_as_functions_do_document_their_codes() {
    let mut command = <Cli as clap::CommandFactory>::command();
    for verb in ["deploy", "invoke"] {
        let verb = command.find_subcommand_mut(verb).expect("a verb");
        assert!(
            verb.render_help()
                .to_string()
                .contains(&Exit::table(Exit::Build).to_string())
        );
    }
}
