//! What agent, toolchain and VMM call things: one word for one thing, with all that follows from it.
//!
//! ```text
//! outcome   how a request ended: name, blame, HTTP status, Lambda's error, exit code in one table
//! blame     who has to mend what went wrong
//! ```
//! Values only. Not here: input and output, sockets, clocks; what a VM says of its end (`jiffy-control`).
#![forbid(unsafe_code)]

mod blame;
mod outcome;

pub use blame::Blame;
pub use outcome::{EndsRequest, Lambda, Outcome, Stage, UnknownOutcome};
