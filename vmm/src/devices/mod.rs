//! Device models. They are values: no file descriptors, threads or clocks inside.

pub mod mmio;
pub mod vsock;
