//! Panics, and catches them: the event is the name of a deed, the answer what came of it.

mod catches;
mod endings;

use std::{panic::catch_unwind, thread};

/// What `init` caught.
pub struct OfInit(String);

/// Catches a panic, or does not.
#[jiffy::init]
fn setup() -> OfInit {
    if jiffy::env::var("PANIC_IN_INIT").is_some() {
        panic!("no init today");
    }
    let caught = catch_unwind(|| panic!("in init"));
    OfInit(catches::text(&caught.expect_err("it panics")))
}

/// Does what the event names.
#[jiffy::function]
pub async fn with_unwind(event: &[u8], of_init: &OfInit) -> Vec<u8> {
    let event = String::from_utf8_lossy(event).into_owned();
    let (deed, rest) = event.split_once(' ').unwrap_or((&event, ""));
    let number = rest.parse().unwrap_or(0);
    let answer = match deed {
        "of-init" => of_init.0.clone(),
        // Whether anything is left of a panic that was caught.
        "panicking" => thread::panicking().to_string(),
        _ => catches::deed(deed, number)
            .or_else(|| endings::deed(deed, number))
            .unwrap_or_else(|| format!("no deed {deed:?}")),
    };
    answer.into()
}
