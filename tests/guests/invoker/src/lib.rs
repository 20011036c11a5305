//! Has other functions answer, as its event says: each name in turn is invoked with those that are left. Whoever is the last
//! answers "done", or, if its name is that, waits until it is ended.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use jiffy::call::CallError;

/// Answers how many were asked behind it.
#[jiffy::function]
pub fn invoke(names: Vec<String>) -> Result<u32, CallError> {
    let Some((first, rest)) = names.split_first() else {
        return Ok(0);
    };
    match first.as_str() {
        "wait" => loop {
            core::hint::spin_loop();
        },
        name => Ok(1 + jiffy::invoke::<u32>(name, rest)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_asked_of_the_first() {
        let call = jiffy::testing::call!().event(r#"["a", "b"]"#);
        let answer = |names: Vec<String>| {
            assert_eq!(names, ["b"]);
            Ok(1)
        };
        assert_eq!(call.invokes("a", answer).run().text(), "2");
    }

    #[test]
    fn what_it_says_of_a_failure_is_passed_on() {
        let call = jiffy::testing::call!().event(r#"["a"]"#);
        let outcome = call.invokes("a", |_: Vec<String>| Ok("no number")).run();
        assert!(matches!(outcome, jiffy::testing::Outcome::FunctionError(_)));
    }
}
