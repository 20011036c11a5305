//! Calls its host as often as the event says, `WHAT ROUNDS AT_ONCE`, so many at once in each round; for measuring what a
//! call costs. `WHAT` is `null`, `get` or `put` of an entry of the store `bench`, `sql`, a statement for the database `bench`, or the URL of
//! what is to be got by HTTP.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{format, string::String, vec::Vec};

use jiffy::call::{CallError, CallErrorKind, Sent};

/// A row.
#[derive(serde::Deserialize)]
struct One {
    one: u32,
}

/// Answers with nothing.
#[jiffy::function]
pub fn calls(event: &[u8]) -> Result<Vec<u8>, String> {
    let text = core::str::from_utf8(event).map_err(|_| "the event is not text")?;
    let words: Vec<&str> = text.split(' ').collect();
    let [what, rounds, at_once] = words[..] else {
        return Err("the event is not three words".into());
    };
    let number = |word: &str| word.parse::<u32>().map_err(|error| format!("{error}"));
    let at_once = number(at_once)?;
    for _ in 0..number(rounds)? {
        round(what, at_once).map_err(|error| format!("{error}"))?;
    }
    Ok(Vec::new())
}

fn round(what: &str, at_once: u32) -> Result<(), CallError> {
    let numbers = 0..at_once;
    match what {
        "get" => {
            let store = jiffy::kv::open("bench")?;
            let keys: Vec<_> = numbers.map(|number| format!("{number}")).collect();
            jiffy::join(keys.iter().map(|key| store.get(key)).collect::<Vec<_>>()).map(drop)
        }
        "put" => {
            let store = jiffy::kv::open("bench")?;
            let keys: Vec<_> = numbers.map(|number| format!("{number}")).collect();
            let put = |key: &String| store.put(key, "a value of some bytes");
            jiffy::join(keys.iter().map(put).collect::<Vec<_>>()).map(drop)
        }
        "sql" => {
            let db = jiffy::sql::open("bench")?;
            let ask = |_| db.query_call::<One>("select 1 as one", ());
            let all = jiffy::join(numbers.map(ask).collect::<Vec<_>>())?;
            // Each has one row.
            let sum: u32 = all.iter().flatten().map(|row| row.one).sum();
            match sum == at_once {
                true => Ok(()),
                false => Err(other("other rows")),
            }
        }
        "null" => jiffy::join(numbers.map(|_| jiffy::host_info()).collect::<Vec<_>>()).map(drop),
        url => {
            let all = jiffy::join(numbers.map(|_| jiffy::http::get(url)).collect::<Vec<_>>())?;
            match all.iter().all(|response| response.status().is_success()) {
                true => Ok(()),
                false => Err(other("no success")),
            }
        }
    }
}

fn other(what: &str) -> CallError {
    CallError::new(CallErrorKind::Failed, Sent::Yes, what)
}

#[cfg(test)]
mod tests {
    use jiffy::testing::{Outcome, Store, call};

    const URL: &str = "http://localhost/";

    #[test]
    fn it_calls_as_often_as_it_is_told() {
        let ask = |event: &str| {
            call!()
                .event(event)
                .host_info(Default::default())
                .kv("bench", Store::default())
                .sql("bench", |_, _| {
                    Ok([std::collections::BTreeMap::from([("one", 1)])])
                })
                .http_call("GET", URL, 200, "some")
                .run()
        };
        for event in ["null 3 16", "put 2 2", "get 1 1", "sql 2 3"] {
            assert_eq!(ask(event).text(), "");
        }
        assert_eq!(ask(&format!("{URL} 2 2")).text(), "");
        assert!(matches!(ask("null 3"), Outcome::FunctionError(_)));
    }
}
