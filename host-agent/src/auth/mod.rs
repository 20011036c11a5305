//! Who sends a request.

pub(crate) mod sigv4;
