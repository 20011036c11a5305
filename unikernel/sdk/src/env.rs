//! The function's environment: what was given with `jiffy deploy --env NAME=VALUE`, or in its
//! manifest. It never changes while a version of the function is deployed.
//!
//! ```
//! let greeting = jiffy::env::var("GREETING").unwrap_or("Hello");
//! # assert_eq!(greeting, "Hello");
//! ```

use crate::platform;

/// The value of `name`, if it was given. Under `cargo test`, the test's own environment.
pub fn var(name: &str) -> Option<&'static str> {
    platform::variable(name)
}
