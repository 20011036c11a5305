//! In an image: the library OS.

pub use jiffy_rt::{Request, Response};
pub(crate) use jiffy_rt::{
    deadline_ns, fill_random, log, monotonic_ns, serve, sleep_until, wall_ns,
};

/// The value of a variable of the function's environment.
pub(crate) fn variable(name: &str) -> Option<&'static str> {
    let mut variables = jiffy_abi::environment::Variables::new(jiffy_rt::environment());
    variables.find_map(|(found, value)| (found == name).then_some(value))
}
