//! In an image: the library OS.

pub use jiffy_rt::{Request, Response};
pub(crate) use jiffy_rt::{
    deadline_ns, fill_random, log, monotonic_ns, serve, sleep_until, wall_ns,
};
