use std::{format, vec, vec::Vec};

use super::*;
use crate::{
    dispatch::{Invocation, Reply},
    testing,
};

fn info(release: &str) -> HostInfo {
    HostInfo {
        release: release.to_owned(),
        function_name: "f".to_owned(),
        ..HostInfo::default()
    }
}

fn run(handler: fn(&Invocation<'_>) -> Reply, stand_in: Option<testing::Answer>) -> Vec<u8> {
    let call = testing::Call::new(handler);
    let call = match stand_in {
        Some(Ok(info)) => call.host_info(info),
        Some(Err(error)) => call.host_info_fails(error),
        None => call,
    };
    call.run().ok()
}

#[test]
fn calls_are_answered_by_their_stand_in_however_they_are_waited_for() {
    let handler = |_: &Invocation<'_>| {
        let first = host_info().start();
        let second = host_info().timeout(Duration::from_nanos(1)).start();
        let both = second.wait().and_then(|second| Ok((first.wait()?, second)));
        let (first, second) = both.expect("a stand-in");
        let many: Vec<_> = (0..40).map(|_| host_info()).collect();
        let (many, third) = join((many, host_info().start())).expect("a stand-in");
        assert_eq!(many.len(), 40);
        assert!(
            [&first, &second, &third]
                .into_iter()
                .chain(&many)
                .all(|one| *one == first)
        );
        Reply::ok(first.release.into_bytes())
    };
    assert_eq!(run(handler, Some(Ok(info("9.9")))), b"9.9");
}

#[test]
fn an_error_comes_with_kind_and_whether_it_can_be_tried_again() {
    let handler = |_: &Invocation<'_>| {
        let error = join((host_info(), host_info())).expect_err("no result");
        Reply::ok(format!("{:?} {:?} {error}", error.kind(), error.sent()).into_bytes())
    };
    let error = CallError::new(CallErrorKind::Denied, Sent::No, "not for you");
    assert_eq!(run(handler, Some(Err(error))), b"Denied No not for you");
}

#[test]
#[should_panic(
    expected = "the handler calls host_info, of which the test says nothing: add `.host_info(…)`"
)]
fn an_unexpected_call_names_what_is_missing() {
    run(
        |_| {
            let _ = host_info().send();
            Reply::ok(vec![])
        },
        None,
    );
}

#[test]
fn a_result_is_taken_once() {
    let handler = |_: &Invocation<'_>| {
        let mut pending = host_info().start();
        let first = crate::task::block_on(&mut pending).expect("a stand-in");
        let polled = crate::task::block_on(&mut pending).expect_err("it was taken");
        let waited = pending.wait().expect_err("it was taken");
        assert_eq!(
            (polled.kind(), &polled),
            (CallErrorKind::Invalid, &waited),
            "{waited}"
        );
        Reply::ok(first.release.into_bytes())
    };
    assert_eq!(run(handler, Some(Ok(info("9.9")))), b"9.9");
}
