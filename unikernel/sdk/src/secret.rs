//! Secrets, which lie encrypted in the host and are in no image, snapshot or variable.
//!
//! A function reads those that its `jiffy.toml` names without hosts:
//!
//! ```toml
//! [secrets]
//! signing = {}
//! ```
//!
//! ```
//! #[jiffy::function]
//! pub fn sign(event: &[u8]) -> Result<String, jiffy::Error> {
//!     let key = jiffy::secret("signing")?;
//!     Ok(mac(key.as_bytes(), event))
//! }
//! # fn mac(key: &[u8], text: &[u8]) -> String { format!("{}:{}", key.len(), text.len()) }
//!
//! # fn main() {
//! let call = jiffy::testing::call!().secret("signing", "0123").event("text");
//! assert_eq!(call.run().text(), r#""4:4""#);
//! # }
//! ```
//!
//! One that names hosts is never in the function: the host puts it into requests to them, see [`http`](crate::http). What is read is in this VM until that is
//! reset, behind the response; with isolation `reuse`, as long as the VM lives. So read a secret when it is needed, in each request, and
//! send it to nobody: a log, an error and a response are read by others.

use alloc::vec::Vec;
use core::{fmt, str::Utf8Error};

use jiffy_abi::call::{OPERATION_SECRET_READ, SERVICE_SECRET};

use crate::call::{Call, CallError};

/// Reads a secret. [`Denied`](crate::call::CallErrorKind::Denied) if `[secrets]` of `jiffy.toml` does not name it, or names hosts
/// for it;
/// [`Failed`](crate::call::CallErrorKind::Failed) if nobody has set it.
pub fn secret(name: &str) -> Result<Secret, CallError> {
    read(name).send()
}

/// The same as a call, which can be joined with others.
pub fn read(name: &str) -> Call<Secret> {
    let call = Call::new(SERVICE_SECRET, OPERATION_SECRET_READ, |_, _, body| {
        Some(Secret(body.to_vec()))
    });
    call.bound(name)
}

/// A secret. It is not printed, not even by `{:?}`.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Its bytes, as they were set.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as text.
    pub fn as_str(&self) -> Result<&str, Utf8Error> {
        str::from_utf8(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(all(test, not(jiffy_guest)))]
mod tests {
    extern crate std;

    use std::{format, string::String, vec::Vec};

    use super::*;
    use crate::{
        dispatch::{Invocation, Reply},
        testing,
    };

    fn handler(_: &Invocation<'_>) -> Reply {
        let body = || -> Result<Vec<u8>, CallError> {
            let (one, other) = crate::join((read("one"), read("other")))?;
            let shown = format!("{one:?}");
            let text = one.as_str().expect("text");
            Ok(format!("{text} {:?} {shown}", other.as_bytes()).into_bytes())
        };
        Reply::ok(body().unwrap_or_else(|error| format!("{error}").into_bytes()))
    }

    #[test]
    fn secrets_are_read_and_not_printed() {
        let call = testing::Call::new(handler)
            .secret("one", "1")
            .secret("other", [0xff]);
        assert_eq!(call.run().text(), "1 [255] (secret)");
    }

    #[test]
    fn a_secret_of_which_the_test_says_nothing_is_named() {
        for (call, missing) in [
            (testing::Call::new(handler), "add `.secret(…)`"),
            (
                testing::Call::new(handler).secret("one", "1"),
                "add `.secret(\"other\", \"…\")`; it has one",
            ),
        ] {
            let run = std::panic::AssertUnwindSafe(|| call.run());
            let panic = std::panic::catch_unwind(run).expect_err("it panics");
            let said = panic.downcast_ref::<String>().expect("a text");
            assert!(said.contains(missing), "{said}");
        }
    }
}
