//! The front room: what every request passes before a router sees it.
//! Not here: what is said of a request in the routers' words (`native`, `lambda`).

pub(crate) mod admission;
mod connection;
mod listener;
pub(crate) mod origin_guard;
mod refusal;
pub(crate) mod unread;
mod wire;

pub use self::listener::{SILENT_TIME_MAX, ServeError, UNSENT_TIME_MAX, run, serve_on};
pub(crate) use self::{connection::End, refusal::too_large};
#[doc(hidden)]
pub use self::{connection::serve_alone, wire::Socket};

#[cfg(test)]
pub(crate) mod tests;
