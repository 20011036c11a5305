//! Greets by name: `{"name":"Ada"}` gets `{"greeting":"Hello, Ada!"}`.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::string::String;

use serde::{Deserialize, Serialize};

/// Who calls.
#[derive(Deserialize)]
pub struct Visitor {
    name: String,
}

/// What they hear.
#[derive(Serialize)]
pub struct Greeting {
    greeting: String,
}

/// Greets the visitor.
#[jiffy::function]
pub fn hello(visitor: Visitor) -> Greeting {
    Greeting {
        greeting: ["Hello, ", &visitor.name, "!"].concat(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn visitors_are_greeted() {
        let check = |event: &str, answer: &str| {
            assert_eq!(jiffy::testing::call!().event(event).run().text(), answer);
        };
        check(r#"{"name":"Ada"}"#, r#"{"greeting":"Hello, Ada!"}"#);
        check(
            r#"{"name":"Zo\u00eb \"Z\""}"#,
            r#"{"greeting":"Hello, Zoë \"Z\"!"}"#,
        );
    }

    #[test]
    fn nobody_is_not() {
        let why = jiffy::testing::call!().event("{}").run().bad_event();
        assert_eq!(
            why,
            "event does not parse: missing field `name` at line 1 column 2"
        );
    }
}
