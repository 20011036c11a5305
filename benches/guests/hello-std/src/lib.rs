//! `examples/hello` as somebody writes it who does not think of `no_std`: what `std` costs is the difference.

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
        greeting: format!("Hello, {}!", visitor.name),
    }
}
