//! What `#[jiffy::init]` returned, for as long as the instance lives.

use alloc::{boxed::Box, string::String};
use core::fmt;

use once_cell::race::OnceBox;

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
        self.made
            .get_or_try_init(|| (self.make)().map(Box::new))
            .map(|_| ())
    }

    /// The state. A guest made it before its first request; on the host this may be the first call.
    ///
    /// # Panics
    /// On the host, if `make` fails: the test that needs the state fails with its text.
    pub fn get(&self) -> &T {
        match self.made.get_or_try_init(|| (self.make)().map(Box::new)) {
            Ok(state) => state,
            Err(message) => panic!("init failed: {message}"),
        }
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
