//! What both routers need of HTTP: bodies, headers, problems, who the client is.

pub(crate) mod bodies;
pub(crate) mod client_address;
pub(crate) mod cors;
pub(crate) mod headers;
pub(crate) mod input;
pub(crate) mod problem;
pub(crate) mod trace;
