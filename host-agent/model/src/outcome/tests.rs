//! The table as it stands in `docs/outcomes.md`, and what has to hold of every row.

use std::{collections::BTreeSet, fs, path::Path};

use super::*;

/// The page, made of the table.
fn page() -> String {
    let mut page = String::from(
        "# How a request can end\n\n\
         Made from the table in `host-agent/model/src/outcome.rs` by its test, which compares (`JIFFY_BLESS=1` writes it anew).\n\n\
         The *kind* is the word that clients see: `urn:jiffy:KIND` as a problem's type, `jiffy-error: KIND` as its header, `outcome` in usage\n\
         records and in `REPORT` lines, `outcome` and `type` of metrics. `jiffy run -o json` says the finer name, in snake case; `reason` of\n\
         `jiffy_requests_refused_total` says those of the second part. Lambda's API answers with a result, with a result that is an error\n\
         (*Handled*: the function's own, *Unhandled*: the platform's), or with an exception.\n",
    );
    for (stage, title) in [
        (Stage::Ran, "It had a VM"),
        (Stage::Unserved, "It got no VM"),
        (Stage::Refused, "It was refused"),
    ] {
        page += &format!(
            "\n## {title}\n\n| name | kind | what it is | blame | HTTP | Lambda | exit code |\n|---|---|---|---|---|---|---|\n"
        );
        for outcome in Outcome::ALL
            .iter()
            .filter(|outcome| outcome.stage() == stage)
        {
            let blame = match outcome.blame() {
                None => "–",
                Some(Blame::Input) => "input",
                Some(Blame::Host) => "host",
                Some(Blame::Bug) => "jiffy",
                Some(Blame::Function) => "function",
            };
            let status = match outcome.status() {
                0 => "–".into(),
                status => status.to_string(),
            };
            let lambda = match outcome.lambda() {
                Lambda::Answer => "result".into(),
                Lambda::Handled("") => "Handled, the function's own type".into(),
                Lambda::Handled(name) => format!("Handled, `{name}`"),
                Lambda::Unhandled(name) => format!("Unhandled, `{name}`"),
                Lambda::Exception(status, name) => format!("{status} `{name}`"),
                Lambda::Problem if outcome.status() == 0 => "–".into(),
                Lambda::Problem => "as HTTP".into(),
            };
            page += &format!(
                "| `{outcome}` | `{}` | {} | {blame} | {status} | {lambda} | {} |\n",
                outcome.kind(),
                outcome.what(),
                outcome.exit() as u8,
            );
        }
    }
    page
}

#[test]
fn the_page_shows_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/outcomes.md");
    if std::env::var_os("JIFFY_BLESS").is_some() {
        fs::write(&path, page()).expect("written");
    }
    let found = fs::read_to_string(&path).expect("docs/outcomes.md");
    assert!(
        found == page(),
        "docs/outcomes.md is not the table: JIFFY_BLESS=1 cargo test -p jiffy-model writes it"
    );
}

#[test]
fn names_are_kebab_case_and_lead_back() {
    let mut names = BTreeSet::new();
    for outcome in Outcome::ALL {
        let name = outcome.name();
        assert!(names.insert(name), "{name} twice");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{name}"
        );
        assert_eq!(name.parse(), Ok(*outcome));
        let json = serde_json::to_string(outcome).expect("JSON");
        assert_eq!(json, format!("{name:?}"));
        assert_eq!(
            serde_json::from_str::<Outcome>(&json).expect("JSON"),
            *outcome
        );
    }
    let unknown = "solved".parse::<Outcome>().expect_err("unknown");
    assert!(unknown.to_string().contains("\"solved\""), "{unknown}");
}

/// A finer outcome is told by its kind's word, so that has to say nothing else to a client of the native API.
#[test]
fn a_finer_outcome_is_answered_as_its_kind() {
    for outcome in Outcome::ALL {
        let kind = outcome.kind();
        assert_eq!(kind.kind(), kind);
        assert_eq!(
            (outcome.status(), outcome.title()),
            (kind.status(), kind.what())
        );
        assert_eq!(outcome.exit(), kind.exit(), "{outcome}");
    }
}

/// The words of records, labels and types of problems: they stay.
#[test]
fn the_words_that_clients_know_stay() {
    let names = |outcomes: &mut dyn Iterator<Item = Outcome>| {
        outcomes.map(Outcome::name).collect::<Vec<_>>().join(" ")
    };
    let recorded =
        "ok function-error bad-event panic fault timeout out-of-memory platform cancelled busy";
    assert_eq!(names(&mut Outcome::records()), recorded);
    let unserved = "stopped busy queue-full memory shutting-down vm";
    assert_eq!(names(&mut Outcome::unserved()), unserved);
    let problems = "function-error bad-event panic fault timeout out-of-memory platform stopped busy invalid-request \
                    unauthorized other-origin not-found method-not-allowed request-timeout conflict precondition-failed too-large \
                    target-too-long unsupported-media-type other-host image-refused headers-too-large not-implemented \
                    overloaded version-not-supported full";
    assert_eq!(names(&mut Outcome::problems()), problems);
}
