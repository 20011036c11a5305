//! Write functions that run in a virtual machine of their own.
//!
//! A function is a plain library crate, `no_std` outside its tests, with one handler:
//!
//! ```
//! #![cfg_attr(not(test), no_std)]
//! # extern crate std; // A doc test is a program.
//!
//! extern crate alloc;
//! use alloc::{format, string::String};
//!
//! #[derive(serde::Deserialize)]
//! pub struct Visitor {
//!     name: String,
//! }
//!
//! #[derive(serde::Serialize)]
//! pub struct Greeting {
//!     greeting: String,
//! }
//!
//! #[jiffy::function]
//! pub fn hello(visitor: Visitor) -> Greeting {
//!     Greeting { greeting: format!("Hello, {}!", visitor.name) }
//! }
//!
//! # fn main() {
//! let outcome = jiffy::testing::call!().event(r#"{"name":"Ada"}"#).run();
//! assert_eq!(outcome.text(), r#"{"greeting":"Hello, Ada!"}"#);
//! # }
//! ```
//!
//! [`macro@function`] lists what a handler can take and return, [`macro@init`] is for work that is
//! done once, before the first request. [`http`], [`time`], [`random`], [`env`](mod@env) and [`macro@log`] are what a
//! guest has instead of an operating system; [`call`] asks the outside: [`http`] requests,
//! [`sql`], [`redis`], [`kv`], [`queue`](mod@queue), [`secret`](mod@secret), [`functions`]; [`testing`] calls handlers under `cargo test`.
//!
//! `jiffy build` links the function into an image; there it runs alone on one CPU without a kernel. Without `no_std` it has `std`, as far as `docs/std.md` says.
//! Under `cargo test` the same crate runs on the host, where std stands in for the library OS.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
// Not `pub use`: that would also import the macro `log!` below.
pub extern crate log;
#[cfg(not(jiffy_guest))]
extern crate std;

mod context;
mod dispatch;
mod error;
mod image;
mod input;
mod logging;
mod output;
mod platform;
mod state;
mod task;

pub mod call;
pub mod env;
pub mod functions;
pub mod http;
pub mod kv;
pub mod prelude;
pub mod queue;
pub mod random;
pub mod redis;
pub mod secret;
pub mod sql;
#[cfg(not(jiffy_guest))]
pub mod testing;
pub mod time;

pub use call::{host_info, join};
pub use context::Context;
pub use error::Error;
pub use functions::invoke;
#[cfg(feature = "net")]
pub use jiffy_net as net;
pub use queue::queue;
pub use secret::secret;

/// Makes a function the handler of its crate. It stands at the root of the crate, and a crate has
/// one.
///
/// The first argument is the event:
///
/// | type | what it gets |
/// |---|---|
/// | any `T: serde::Deserialize`, which may borrow | the body as JSON; an empty body is `null` |
/// | `&[u8]`, or `Vec<u8>` for a copy | the body as it came |
/// | [`http::Request`] | the HTTP request; an event that did not come over HTTP is a `POST /` |
///
/// What borrows from JSON is not copied, but a `&str` cannot hold a string with escapes in it: for
/// those take a `String`, or a `Cow<str>` with `#[serde(borrow)]`.
///
/// After it come, in any order and each if it is wanted, `&`[`Context`] and a shared reference to
/// what [`macro@init`] returned. What the handler returns:
///
/// | type | what the caller gets |
/// |---|---|
/// | any `T: serde::Serialize` | JSON |
/// | `Vec<u8>` or `&[u8]` | these bytes |
/// | [`http::Response`] | this response |
/// | `Result` of one of these and any `E: Display` | the same, or the error: its text and the name of its type |
/// | `Result` of one of these and [`struct@Error`] | the same, or any error that `?` finds, with its type and causes |
///
/// ```
/// use core::num::ParseIntError;
/// use jiffy::Context;
///
/// #[jiffy::init]
/// fn setup() -> Vec<u32> {
///     vec![1, 10, 100]
/// }
///
/// #[jiffy::function]
/// pub fn scale(event: String, context: &Context, factors: &[u32]) -> Result<u32, ParseIntError> {
///     jiffy::log!("request {}", context.request_id());
///     Ok(event.parse::<u32>()? * factors[1])
/// }
///
/// # fn main() {
/// assert_eq!(jiffy::testing::call!().event(r#""7""#).run().text(), "70");
/// let error = jiffy::testing::call!().event(r#""seven""#).run().error();
/// assert_eq!(error.error_type, "ParseIntError");
/// # }
/// ```
///
/// It may be an `async fn`, which awaits [calls](call). Nothing else wakes it, and a request is one task still.
///
/// An event that does not parse never reaches the handler: the caller is told why.
///
/// ```compile_fail
/// #[jiffy::function]
/// pub fn table(event: &[u8], table: &[u32]) {} // There is no `#[jiffy::init]`.
/// # fn main() {}
/// ```
pub use jiffy_macros::function;

/// Makes a function the initialisation of its crate, which runs once, before the first request:
/// every instance starts from a snapshot taken after it. It stands at the root of the crate.
///
/// It takes nothing and returns what handlers borrow, any `T: Send + Sync + 'static`, or a `Result`
/// of it; an error's text ends the VM. What looks like a `Result` must be one: the last part of the
/// type's name counts.
///
/// Time and randomness belong to a request: what `init` keeps of them, every instance shares.
///
/// On the host it runs when a handler first asks for what it returns; tests that ask at the same
/// time may run it twice, and one of the results is dropped.
///
/// ```
/// struct Greeter(String);
///
/// #[jiffy::init]
/// fn setup() -> Result<Greeter, core::str::Utf8Error> {
///     Ok(Greeter(str::from_utf8(b"Hello")?.into()))
/// }
///
/// #[jiffy::function]
/// pub fn greet(name: &[u8], greeter: &Greeter) -> Vec<u8> {
///     [greeter.0.as_bytes(), b", ", name].concat()
/// }
///
/// # fn main() {
/// assert_eq!(jiffy::testing::call!().event("Ada").run().text(), "Hello, Ada");
/// # }
/// ```
pub use jiffy_macros::init;

/// Writes a line to the function's log at level Info, formatted as by `format!`. The macros of
/// [`mod@log`] write at the other levels; Debug and Trace are dropped unless `#[jiffy::init]` calls
/// [`log::set_max_level`].
///
/// ```
/// jiffy::log!("{} items left", 3);
/// jiffy::log::warn!("none left");
/// ```
#[macro_export]
macro_rules! log {
    ($($argument:tt)+) => {
        $crate::__private::log_info(::core::format_args!($($argument)+))
    };
}

/// What the macros' expansions name. Not part of the interface: any release may change it.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        dispatch::{Invocation, Reply},
        error::error_text,
        input::{DecodeJson, Event, PlainNoteFlags},
        logging::log_info,
        output::{EncodeJson, Output, RaiseText, Raised, Returned, SplitPlain},
        state::{State, no_init},
        task::block_on,
    };
    pub use alloc::string::String;

    #[cfg(jiffy_guest)]
    pub use crate::{
        image::{ImageNote, answer, serve},
        platform::{Request, Response},
    };
}
