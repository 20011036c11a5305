//! Functions that fail in one way whatever they are given.

/// Symbols that return `$result` and set `errno` to `$error`. They look at none of their arguments, so that whatever they are
/// called with is right.
macro_rules! absent {
    ($error:ident, $result:expr => $type:ty: $($name:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> $type {
                let _ = crate::errno::fail(crate::errno::$error);
                $result
            }
        )+
    };
}

/// Symbols that return the number of an error, as functions of threads do.
macro_rules! refuses {
    ($error:ident: $($name:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> core::ffi::c_int {
                crate::errno::$error
            }
        )+
    };
}

/// Symbols that have nothing to do and did it.
macro_rules! nothing {
    ($($name:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> core::ffi::c_int {
                0
            }
        )+
    };
}

/// A symbol that C calls with a variable number of arguments, all of them integers or addresses: those that `$to` takes, in
/// the registers where it finds them. A jump, because Rust has no such functions.
macro_rules! variadic {
    ($($(#[$doc:meta])* $name:ident => $to:ident;)+) => {
        $(
            $(#[$doc])*
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name() {
                core::arch::naked_asm!("jmp {to}", to = sym $to)
            }
        )+
    };
}

pub(crate) use {absent, nothing, refuses, variadic};
