//! What is below the SDK: the library OS in an image, std on the host. Both files have the same
//! functions; everything else in this crate is the same on both sides.

#[cfg(jiffy_guest)]
mod guest;
#[cfg(not(jiffy_guest))]
mod host;

#[cfg(jiffy_guest)]
pub(crate) use guest::{
    Call, Reply, deadline_ns, fill_random, log, monotonic_ns, serve, sleep_until, start_call,
    take_reply, variable, wait_any, wait_reply, wall_ns, within_init,
};
#[cfg(jiffy_guest)]
pub use guest::{Request, Response};
#[cfg(not(jiffy_guest))]
pub(crate) use host::{
    Call, Reply, StandIn, World, deadline_ns, fill_random, log, monotonic_ns, sleep_until,
    start_call, take_reply, variable, wait_any, wait_reply, wall_ns, within, within_init,
};
