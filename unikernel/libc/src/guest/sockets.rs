//! No sockets: a function asks its host for what is elsewhere (`jiffy::http`, `jiffy::sql`, …).
#![allow(unsafe_code, reason = "C's symbols")]

use core::ffi::{c_char, c_int, c_void};

use super::absent::{absent, nothing};
use crate::errno::{ENOSYS, fail};

absent! { ENOSYS, -1 => c_int:
    accept accept4 bind connect getifaddrs getpeername getsockname getsockopt listen setsockopt shutdown socket socketpair
}
absent! { ENOSYS, -1 => isize: recv recvfrom recvmmsg recvmsg send sendmmsg sendmsg sendto }
nothing! { __res_init freeaddrinfo freeifaddrs if_nametoindex }

/// Nobody looks names up: `EAI_SYSTEM`, and `ENOSYS` is the reason.
#[unsafe(no_mangle)]
extern "C" fn getaddrinfo(
    _name: *const c_char,
    _service: *const c_char,
    _wanted: *const c_void,
    _found: *mut c_void,
) -> c_int {
    const EAI_SYSTEM: c_int = -11;
    fail(ENOSYS);
    EAI_SYSTEM
}

/// The text of an error of `getaddrinfo`.
#[unsafe(no_mangle)]
extern "C" fn gai_strerror(_error: c_int) -> *const c_char {
    c"names cannot be looked up in a function".as_ptr()
}
