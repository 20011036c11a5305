//! What `#[jiffy::init]` returned, for as long as the instance lives.

use alloc::{boxed::Box, string::String};
use core::fmt;

use once_cell::race::OnceBox;

use crate::platform;

/// Why a call of `init` is refused, in a VM and in a test alike.
pub(crate) const INIT_CALLS: &str =
    "`init` may not call: every instance would go on with the answer";

/// Holds the state of a function.
pub struct State<T> {
    make: fn() -> Result<T, String>,
    made: OnceBox<T>,
}

impl<T> State<T> {
    /// A state that `make` will make.
    pub const fn new(make: fn() -> Result<T, String>) -> Self {
        Self {
            make,
            made: OnceBox::new(),
        }
    }

    /// Makes the state if there is none. The error is `make`'s.
    pub fn init(&self) -> Result<(), String> {
        self.get_or_make().map(drop)
    }

    /// The state. A guest made it before its first request; on the host this may be the first call.
    ///
    /// # Panics
    /// On the host, if `make` fails: the test that needs the state fails with its text.
    pub fn get(&self) -> &T {
        match self.get_or_make() {
            Ok(state) => state,
            Err(message) => panic!("init failed: {message}"),
        }
    }

    fn get_or_make(&self) -> Result<&T, String> {
        self.made
            .get_or_try_init(|| platform::within_init(self.make).map(Box::new))
    }
}

impl<T> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

/// Stands in for what `#[jiffy::init]` expands to in a crate that has none. A handler that takes a
/// state then fails to compile with a mismatch that names [`ThereIsNoJiffyInit`].
///
/// [`ThereIsNoJiffyInit`]: no_init::ThereIsNoJiffyInit
pub mod no_init {
    use alloc::string::String;

    /// The type of a state that nobody makes.
    #[derive(Debug)]
    pub struct ThereIsNoJiffyInit;

    /// Nothing to do.
    pub fn __jiffy_init() -> Result<(), String> {
        Ok(())
    }

    /// No state.
    pub fn __jiffy_state() -> ThereIsNoJiffyInit {
        ThereIsNoJiffyInit
    }
}

#[cfg(all(test, not(jiffy_guest)))]
mod tests {
    use std::format;

    use super::*;
    use crate::{
        call::HostInfo,
        dispatch::{Invocation, Reply},
        host_info, testing,
    };

    /// A test may be what makes the state, in the middle of a request whose calls are answered.
    #[test]
    fn init_may_not_call_in_a_test_either() {
        static STATE: State<String> = State::new(|| {
            let error = host_info().send().expect_err("`init` may not call");
            Ok(format!("{:?} {:?} {error}", error.kind(), error.sent()))
        });
        let handler = |_: &Invocation<'_>| {
            let state = STATE.get().clone();
            host_info().send().expect("the handler may call");
            Reply::ok(state.into_bytes())
        };
        let call = testing::Call::new(handler).host_info(HostInfo::default());
        assert_eq!(
            call.run().ok(),
            format!("Denied No {INIT_CALLS}").as_bytes()
        );
    }
}
