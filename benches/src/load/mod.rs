//! What asks over HTTP: one request at a time, as many as go, or each when it is due; and whether there is room for many VMs.
//!
//! ```text
//! client   one keep-alive connection, blocking, nothing allocated for an answer
//! crowd    many connections on few threads, closed loop
//! pace     closed loop (the next when the last is answered), open loop (the next when it is due)
//! jiffyd   an agent of its own on an empty folder
//! room     open files and memory
//! ```
//! The client shares the processors with what it measures, so it is threads and blocking sockets: that is the cheapest.
//! Not here: what is asked, and what is made of the answers (`suites`); VMs without HTTP (`setup`).

pub mod client;
pub mod crowd;
pub mod jiffyd;
pub mod pace;
pub mod room;
