//! Tells what it knows of its surroundings: `env NAME`, `trace`, `request`, `count` of the requests that this VM
//! remembers; `log TEXT` logs, `work MILLIONS` computes so many rounds first, `sleep MS` waits, and
//! `break COMMAND` panics after the command.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    hint::black_box,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// Tells.
#[jiffy::function]
pub fn teller(event: &[u8], context: &jiffy::Context) -> Result<Vec<u8>, &'static str> {
    tell(event, context).map(String::into_bytes)
}

fn tell(event: &[u8], context: &jiffy::Context) -> Result<String, &'static str> {
    let count = REQUESTS.fetch_add(1, Relaxed) + 1;
    let event = core::str::from_utf8(event).map_err(|_| "no text")?;
    let (what, rest) = event.split_once(' ').unwrap_or((event, ""));
    match what {
        "env" => Ok(jiffy::env::var(rest).unwrap_or("(none)").to_string()),
        "trace" => Ok(context.traceparent().unwrap_or("(none)").to_string()),
        "request" => Ok(format!(
            "{} {} {}",
            context.request_id(),
            context.function_name(),
            context.function_version()
        )),
        "count" => Ok(count.to_string()),
        "log" => {
            jiffy::log!("{rest}");
            Ok(rest.to_string())
        }
        "work" => {
            let millions: u64 = rest.parse().map_err(|_| "no number")?;
            let mut number = 1_u64;
            for round in 0..millions * 1_000_000 {
                number = black_box(number.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ round);
            }
            Ok(format!("{millions} {number:x}"))
        }
        "sleep" => {
            let ms = rest.parse().map_err(|_| "no number")?;
            jiffy::time::sleep(Duration::from_millis(ms));
            Ok(format!("{ms} ms"))
        }
        // As `work` or `sleep`, and then it breaks.
        "break" => {
            tell(rest.as_bytes(), context)?;
            panic!("after {rest}")
        }
        _ => Err("nothing to tell of that"),
    }
}
