//! `jiffy::image!`: what `jiffy build` puts around a function to make a program of it.

/// Makes an image of a function. `jiffy build` writes the one call of it, in a crate of its own;
/// it means something under `cfg(jiffy_guest)` only. `std: jiffy_libc` is in that of a function which uses `std`, and `files`
/// if jiffy.toml gives it some.
///
/// ```ignore
/// jiffy::image! { function: hello, name: "hello", version: "0.1.0", flags: 0 }
/// ```
#[macro_export]
macro_rules! image {
    (
        function: $function:ident, name: $name:expr, version: $version:expr, flags: $flags:expr
        $(, std: $libc:ident $(, files: $files:expr)?)? $(,)?
    ) => {
        #[used]
        #[unsafe(link_section = ".note.jiffy")]
        static JIFFY_NOTE: $crate::__private::ImageNote = $crate::__private::ImageNote::new(
            $flags | $function::__JIFFY_NOTE_FLAGS,
            $name,
            $version,
        );

        #[unsafe(no_mangle)]
        fn __jiffy_main() -> ! {
            $(
                $($libc::embed($files);)?
                $libc::start();
            )?
            fn init() -> ::core::result::Result<(), $crate::__private::String> {
                // A glob is shadowed by a nearer one: the function's own item wins if it has one.
                #[allow(unused_imports, reason = "stands in if there is no `#[jiffy::init]`")]
                use $crate::__private::no_init::*;
                let made = {
                    #[allow(
                        unused_imports,
                        reason = "the function may have no `#[jiffy::init]`"
                    )]
                    use $function::*;
                    __jiffy_init()
                };
                $(
                    $libc::end_of_init();
                )?
                made
            }
            // A way out of a handler would get its own copy of what follows: 1 KiB of `primes`.
            #[inline(never)]
            fn answer(request: $crate::__private::Request<'_>) -> $crate::__private::Response {
                let response = $crate::__private::answer($function::__jiffy_function, request);
                $(
                    $libc::end_of_request();
                )?
                response
            }
            $crate::__private::serve(init, answer)
        }
    };
}

#[cfg(jiffy_guest)]
mod guest {
    use alloc::string::String;

    use jiffy_abi::note::{NOTE_BYTES, Note};

    use crate::{
        dispatch::{Function, Reply, dispatch},
        logging,
        platform::{self, Request, Response},
    };

    /// The ELF note of an image, aligned as ELF wants it.
    #[derive(Debug)]
    #[repr(C, align(4))]
    pub struct ImageNote([u8; NOTE_BYTES]);

    impl ImageNote {
        /// The note of a function with this name and version.
        pub const fn new(flags: u32, name: &str, version: &str) -> Self {
            Self(Note::new(flags, env!("CARGO_PKG_VERSION"), name, version).to_bytes())
        }
    }

    /// Answers one request.
    pub fn answer(function: Function, request: Request<'_>) -> Response {
        let Reply { kind, head, body } =
            dispatch(function, request.kind, request.head, request.body);
        Response { kind, head, body }
    }

    /// The life of the image.
    pub fn serve(init: fn() -> Result<(), String>, answer: fn(Request<'_>) -> Response) -> ! {
        logging::install();
        platform::serve(init, answer)
    }
}

#[cfg(jiffy_guest)]
pub use guest::{ImageNote, answer, serve};
