//! jiffy's virtual machine monitor: boots an image in ring 3 and serves its doorbells.
//!
//! One VM, one process, one thread. [`boot`] turns an image into RAM that can run; [`kvm`] is the
//! machine; [`devices`] are values without file descriptors; [`run`] is the loop that holds them
//! together. `main.rs` is the command around it.
//! Not here: what the streams carry (`jiffy_abi::frame`), symbols, HTTP.
#![deny(unsafe_code)]

pub mod boot;
pub mod cgroup;
pub mod devices;
#[allow(
    unsafe_code,
    reason = "clone3, close_range and unshare have no safe face"
)]
pub mod jail;
#[allow(
    unsafe_code,
    reason = "KVM reads and writes what it is given by address"
)]
pub mod kvm;
#[allow(
    unsafe_code,
    reason = "guest RAM is mapped and changed under the guest's feet"
)]
pub mod mem;
pub mod run;
pub mod shell;
pub mod spawner;
