//! Makes calls of `jiffy::host_info`, as a text of steps says, and compares each answer with its own request's id:
//! `N` that many at once, `aN` as well and awaited, `wN` as well and awaited until the first is there, `sN` one after the other, `fN` started and waited for by nobody, `tN` with a time limit of so
//! many milliseconds, `cN` computes so many rounds. It answers how many answers it had, or what was wrong with one.
//! With the variable `INIT`, its init calls.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use futures_util::future::{join_all, select_all};
use jiffy::{
    Context,
    call::{CallError, HostInfo},
};

/// Calls if it is told to: what that came to is its error.
#[jiffy::init]
fn setup() -> Result<(), String> {
    match jiffy::env::var("INIT") {
        Some(_) => match jiffy::host_info().send() {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{:?} {:?}: {error}", error.kind(), error.sent())),
        },
        None => Ok(()),
    }
}

/// Does the steps.
#[jiffy::function]
pub async fn caller(event: &[u8], context: &Context<'_>) -> Result<Vec<u8>, jiffy::Error> {
    let steps = core::str::from_utf8(event)?;
    let mut answers = 0_u32;
    // Lambda's API takes JSON only: the same as a string.
    for step in steps.trim_matches('"').split_whitespace() {
        let digits = step.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
        let number: u32 = digits.parse()?;
        let infos = match step.as_bytes()[0] {
            b's' => sequence(number),
            b'a' => all(number).await,
            b'w' => first(number).await.map(|info| Vec::from([info])),
            b'f' => {
                for _ in 0..number {
                    let _forgotten = jiffy::host_info().start();
                }
                Ok(Vec::new())
            }
            b't' => {
                let call = jiffy::host_info().timeout(Duration::from_millis(number.into()));
                call.send().map(|info| Vec::from([info]))
            }
            b'c' => {
                let sum = (0..u64::from(number)).fold(0, |sum, n| core::hint::black_box(sum ^ n));
                core::hint::black_box(sum);
                Ok(Vec::new())
            }
            _ => jiffy::join((0..number).map(|_| jiffy::host_info()).collect::<Vec<_>>()),
        };
        let infos = infos.map_err(|error| {
            let what = format!("{:?} {:?}: {error}", error.kind(), error.sent());
            jiffy::Error::new("CallError", what)
        })?;
        for info in infos {
            check(&info, context)?;
            answers += 1;
        }
    }
    Ok(answers.to_string().into_bytes())
}

async fn all(number: u32) -> Result<Vec<HostInfo>, CallError> {
    let calls = (0..number).map(|_| jiffy::host_info().start());
    join_all(calls).await.into_iter().collect()
}

async fn first(number: u32) -> Result<HostInfo, CallError> {
    let calls = (0..number).map(|_| jiffy::host_info().start());
    select_all(calls).await.0
}

fn sequence(number: u32) -> Result<Vec<HostInfo>, CallError> {
    (0..number).map(|_| jiffy::host_info().send()).collect()
}

fn check(info: &HostInfo, context: &Context) -> Result<(), jiffy::Error> {
    let is_own = info.request_id == context.request_id()
        && info.function_version == context.function_version()
        && info.function_name == "caller"
        && !info.release.is_empty();
    match is_own {
        true => Ok(()),
        false => Err(jiffy::Error::new(
            "Mixed",
            format!("{info:?} for {context:?}"),
        )),
    }
}
