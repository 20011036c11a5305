//! Says what it is told to: `log TEXT`, `hex TEXT` the same in hexadecimal digits, `records COUNT` empty records, `record BYTES` one of so many, `fail TEXT` as an
//! error, `panic TEXT`. With the variable `INIT`, its init logs so many lines and panics.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

/// Goes wrong if it is told to.
#[jiffy::init]
fn setup() {
    let Some(lines) = jiffy::env::var("INIT").and_then(|lines| lines.parse().ok()) else {
        return;
    };
    for line in 0..lines {
        let line: u32 = line;
        jiffy::log!("line {line} of init \u{1b}[2J");
    }
    panic!("init was told to");
}

/// Says it.
#[jiffy::function]
pub fn talker(event: &[u8]) -> Result<Vec<u8>, String> {
    say(event).map(|()| b"said".to_vec())
}

fn say(event: &[u8]) -> Result<(), String> {
    let event = core::str::from_utf8(event).map_err(|_| "no text")?;
    // Lambda's API takes JSON only: the same as a string.
    let event = event.trim_matches('"');
    let (what, rest) = event.split_once(' ').unwrap_or((event, ""));
    let number = || rest.parse::<usize>().map_err(|_| "no number");
    match what {
        "log" => jiffy::log!("{rest}"),
        "hex" => jiffy::log!("{}", text_of(rest).ok_or("no hexadecimal text")?),
        "records" => (0..number()?).for_each(|_| jiffy::log!("")),
        "record" => jiffy::log!("{}", "ü".repeat(number()? / 2)),
        "fail" => return Err(rest.to_string()),
        "panic" => panic!("{rest}"),
        _ => return Err("nothing to say to that".into()),
    }
    Ok(())
}

fn text_of(digits: &str) -> Option<String> {
    let bytes = digits.as_bytes().chunks(2).map(|pair| {
        let pair = core::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    String::from_utf8(bytes.collect::<Option<_>>()?).ok()
}
