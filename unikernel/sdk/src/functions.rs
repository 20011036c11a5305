//! Other functions of the same owner: those that `[invoke] allow` of `jiffy.toml` names.
//!
//! ```
//! # use jiffy::call::CallError;
//! #[jiffy::function]
//! pub fn total(prices: Vec<String>) -> Result<u32, CallError> {
//!     let calls = prices.iter().map(|item| jiffy::functions::call("price", item));
//!     Ok(jiffy::join(calls.collect::<Vec<_>>())?.iter().sum::<u32>())
//! }
//!
//! # fn main() {
//! let call = jiffy::testing::call!().event(r#"["bread", "salt"]"#);
//! let outcome = call.invokes("price", |item: String| Ok(item.len() as u32)).run();
//! assert_eq!(outcome.text(), "9");
//! # }
//! ```
//!
//! The other function is asked as any caller asks it: in a VM of its own, of its live version, within its own limits, and written down
//! in its own log and usage. It is ended when its caller's request ends. A chain of functions has a limited depth.

use alloc::{string::ToString, vec::Vec};

use jiffy_abi::call::{OPERATION_INVOKE, ReplyHead, SERVICE_FUNCTIONS};
use serde::{Serialize, de::DeserializeOwned};

use crate::call::{Call, CallError};

/// Has another function answer `event` and waits for that; both are JSON.
pub fn invoke<T: DeserializeOwned>(
    name: &str,
    event: &(impl Serialize + ?Sized),
) -> Result<T, CallError> {
    call(name, event).send()
}

/// Has another function answer `event`; both are JSON.
pub fn call<T: DeserializeOwned>(name: &str, event: &(impl Serialize + ?Sized)) -> Call<T> {
    let decode = |_: &ReplyHead<'_>, _: &[u8], body: &[u8]| serde_json::from_slice(body).ok();
    match serde_json::to_vec(event) {
        Ok(event) => to(name, event, decode),
        Err(error) => to(name, Vec::new(), decode).refused(&error.to_string()),
    }
}

/// Has another function answer `event`; both are bytes.
pub fn call_bytes(name: &str, event: impl Into<Vec<u8>>) -> Call<Vec<u8>> {
    to(name, event.into(), |_, _, body| Some(body.to_vec()))
}

fn to<T>(name: &str, event: Vec<u8>, decode: crate::call::Decode<T>) -> Call<T> {
    Call::new(SERVICE_FUNCTIONS, OPERATION_INVOKE, decode)
        .bound(name)
        .carrying(event)
}
