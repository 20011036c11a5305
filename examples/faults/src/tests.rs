//! On the host only what a process survives can be tested; the rest is tested in VMs.

use jiffy::testing::{Call, Outcome};

fn call(kind: &str) -> Call {
    jiffy::testing::call!()
        .event(format!(r#"{{"kind":"{kind}"}}"#))
        .request_id("r-1")
}

#[test]
fn an_error() {
    let error = call("error").run().error();
    assert_eq!(error.error_type, "AskedFor");
    assert_eq!(error.message, "an error was asked for: r-1");
}

#[test]
#[should_panic(expected = "a panic was asked for")]
fn a_panic() {
    call("panic").run();
}

#[test]
#[should_panic(expected = "1 panic was asked for by \"r-1\"")]
fn a_formatted_panic() {
    call("panic-formatted").run();
}

#[test]
fn an_unknown_kind() {
    let why = call("nothing").run().bad_event();
    assert!(why.starts_with("event does not parse: unknown variant `nothing`, expected one of"));
}

#[test]
fn what_is_allowed() {
    assert_eq!(
        call("allocate").run().text(),
        r#"{"allocated-bytes":104857600}"#
    );
    assert_eq!(call("log-flood").run().text(), r#"{"logged-lines":20000}"#);
    let random = |seed| call("random").seed(seed).run();
    assert!(
        matches!(random(1), Outcome::Ok(_)) && random(1) == random(1) && random(1) != random(2)
    );
    let clock = call("clock")
        .at(core::time::Duration::from_secs(9))
        .run()
        .text();
    assert_eq!(clock, r#"{"clock-ns":[9000000000,9000000000]}"#);
}
