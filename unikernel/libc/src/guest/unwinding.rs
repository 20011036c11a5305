//! Unwinding, which images do not unless they are to (`unwinder`): a panic ends the VM, and its backtrace is made of frame pointers,
//! by the host.
#![allow(unsafe_code, reason = "C's symbols")]

use core::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`.
const END_OF_STACK: c_int = 5;

/// Names no frame: what asks for a backtrace inside the function gets an empty one.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_each: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Questions about a frame. There is none to ask about: zero, or nothing done.
macro_rules! frame {
    ($($name:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name(_context: *mut c_void) -> usize { 0 }
        )+
    };
}

// What only a backtrace asks.
frame! { _Unwind_FindEnclosingFunction _Unwind_GetCFA _Unwind_GetIP }

/// What an image that does not unwind has in place of `unwinder`.
#[cfg(not(feature = "unwind"))]
mod none {
    use super::{END_OF_STACK, c_int, c_void};

    /// Never called: nothing begins to unwind.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume(_exception: *mut c_void) -> ! {
        crate::guest::processes::give_up("unwinding in an image that cannot unwind")
    }

    /// Unwinds nothing: it has come to the end.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_RaiseException(_exception: *mut c_void) -> c_int {
        END_OF_STACK
    }

    /// There is no exception that could be dropped.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_DeleteException(_exception: *mut c_void) {}

    frame! {
        _Unwind_GetDataRelBase _Unwind_GetIPInfo _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart _Unwind_GetTextRelBase
        _Unwind_SetGR _Unwind_SetIP
    }
}
