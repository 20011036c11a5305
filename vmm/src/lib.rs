//! jiffy's virtual machine monitor: boots an image in ring 3 and serves its doorbells.
//!
//! One VM, one process, one thread. [`boot`] turns an image into RAM that can run; [`kvm`] is the
//! machine; [`devices`] are values without file descriptors; [`run`] is the loop that holds them
//! together. `main.rs` is the command around it.
//! Not here: what the streams carry (`jiffy_abi::frame`), symbols, HTTP.

pub mod boot;
pub mod cgroup;
pub mod devices;
pub mod jail;
pub mod kvm;
pub mod mem;
pub mod run;
pub mod shell;
pub mod spawner;
