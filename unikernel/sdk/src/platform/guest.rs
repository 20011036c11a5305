//! In an image: the library OS.

use jiffy_abi::{
    call::{CALL_BYTES_MAX, CALLS_MAX, CallErrorKind, Sent},
    frame::{BODY_BYTES_MAX, HEAD_BYTES_MAX},
};
use jiffy_rt::NoCall;
pub(crate) use jiffy_rt::{Call, Reply, take_reply, wait_any, wait_reply};
pub use jiffy_rt::{Request, Response};
pub(crate) use jiffy_rt::{
    deadline_ns, fill_random, log, monotonic_ns, serve, sleep_until, wall_ns,
};

use crate::{call::CallError, state::INIT_CALLS};

// What the sentences below say.
const _: () = assert!(CALLS_MAX == 1000 && CALL_BYTES_MAX == 64 << 20);
const _: () = assert!(BODY_BYTES_MAX == 16 << 20 && HEAD_BYTES_MAX == 64 << 10);

/// Starts a call: its number.
pub(crate) fn start_call(call: Call<'_>) -> Result<u32, CallError> {
    jiffy_rt::start_call(call).map_err(|why| {
        let (kind, message) = match why {
            NoCall::NoRequest => (CallErrorKind::Denied, INIT_CALLS),
            NoCall::TooMany => (CallErrorKind::Limit, "a request may make 1000 calls"),
            NoCall::TooLarge => (
                CallErrorKind::Limit,
                "the calls of a request may have 64 MiB together",
            ),
            NoCall::Frame(_) => (
                CallErrorKind::Invalid,
                "a call may have 16 MiB, and 64 KiB of fields",
            ),
        };
        CallError::new(kind, Sent::No, message)
    })
}

/// Runs `init`: there is no request then, so the library OS refuses its calls.
pub(crate) fn within_init<T>(init: impl FnOnce() -> T) -> T {
    init()
}

/// The value of a variable of the function's environment.
pub(crate) fn variable(name: &str) -> Option<&'static str> {
    let mut variables = jiffy_abi::environment::Variables::new(jiffy_rt::environment());
    variables.find_map(|(found, value)| (found == name).then_some(value))
}
