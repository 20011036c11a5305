//! Calls. Each returns what the header says, and leaves why it failed for `jiffy_error`.
#![allow(unsafe_code, reason = "C's symbols")]

use alloc::{
    ffi::CString,
    string::{String, ToString},
};
use core::{
    cell::UnsafeCell,
    ffi::{c_char, c_int, c_void},
};

use jiffy::{
    call::CallError,
    functions,
    http::{self, Method},
    kv, queue, secret,
};

use crate::texts::{Data, bytes, for_c, text};

/// Why the last call failed.
struct LastError(UnsafeCell<Option<CString>>);
// SAFETY: a guest runs one thread at a time, and no reference outlives a function here.
unsafe impl Sync for LastError {}
static LAST_ERROR: LastError = LastError(UnsafeCell::new(None));

fn failed(why: impl Into<String>) -> c_int {
    let why = for_c(why.into());
    // SAFETY: the only reference, for as long as this takes.
    unsafe { *LAST_ERROR.0.get() = Some(why) };
    -1
}

fn call_failed(error: &CallError) -> c_int {
    failed(error.to_string())
}

/// Why the last call failed; empty if none did.
#[unsafe(no_mangle)]
extern "C" fn jiffy_error() -> *const c_char {
    // SAFETY: as above. The text stays until the next call fails.
    let last = unsafe { &*LAST_ERROR.0.get() };
    last.as_ref().map_or(c"".as_ptr(), |why| why.as_ptr())
}

/// Gives bytes to C: `code`, or -1 if there is no memory for them.
///
/// # Safety
///
/// `to` is a place.
unsafe fn give(to: *mut Data, from: &[u8], code: c_int) -> c_int {
    let copy = Data::copy(from);
    let code = if copy.is_some() {
        code
    } else {
        failed("out of memory")
    };
    // SAFETY: says the caller.
    unsafe { to.write(copy.unwrap_or(Data::NONE)) };
    code
}

/// Gives nothing to C.
///
/// # Safety
///
/// As [`give`].
unsafe fn give_nothing(to: *mut Data, code: c_int) -> c_int {
    // SAFETY: says the caller.
    unsafe { to.write(Data::NONE) };
    code
}

/// Makes an HTTP request.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_http(
    method: *const c_char,
    url: *const c_char,
    headers: *const *const c_char,
    body: *const c_void,
    size: usize,
    answer: *mut Data,
) -> c_int {
    // SAFETY: they are texts, here and below.
    let (method, url) = (unsafe { text(method) }, unsafe { text(url) });
    let Ok(method) = Method::try_from(&*method) else {
        // SAFETY: the caller gives the place.
        return unsafe { give_nothing(answer, failed("invalid method of HTTP")) };
    };
    let mut call = http::request(&method, &url);
    let mut next = headers;
    while !next.is_null() {
        // SAFETY: the list ends with null, and no end was seen.
        let name = unsafe { next.read() };
        if name.is_null() {
            break;
        }
        // SAFETY: a value follows each name.
        let value = unsafe { next.wrapping_add(1).read() };
        // SAFETY: as above.
        let (name, value) = (unsafe { text(name) }, unsafe { text(value) });
        call = call.header(&name, &*value);
        next = next.wrapping_add(2);
    }
    // SAFETY: the caller has so many bytes there.
    let body = unsafe { bytes(body, size) };
    if !body.is_empty() {
        call = call.body(body);
    }
    match call.send() {
        // SAFETY: the caller gives the place.
        Ok(got) => unsafe { give(answer, got.body(), got.status().as_u16().into()) },
        // SAFETY: as above.
        Err(error) => unsafe { give_nothing(answer, call_failed(&error)) },
    }
}

/// The value of a key.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_kv_get(
    store: *const c_char,
    key: *const c_char,
    value: *mut Data,
) -> c_int {
    // SAFETY: they are texts.
    let (store, key) = (unsafe { text(store) }, unsafe { text(key) });
    match kv::open(&store).and_then(|store| store.get(&key).send()) {
        // SAFETY: the caller gives the place, here and below.
        Ok(Some(entry)) => unsafe { give(value, &entry.value, 1) },
        // SAFETY: as above.
        Ok(None) => unsafe { give_nothing(value, 0) },
        // SAFETY: as above.
        Err(error) => unsafe { give_nothing(value, call_failed(&error)) },
    }
}

/// Sets the value of a key.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_kv_put(
    store: *const c_char,
    key: *const c_char,
    value: *const c_void,
    size: usize,
) -> c_int {
    // SAFETY: they are texts.
    let (store, key) = (unsafe { text(store) }, unsafe { text(key) });
    // SAFETY: the caller has so many bytes there.
    let value = unsafe { bytes(value, size) };
    let put = kv::open(&store).and_then(|store| store.put(&key, value).send());
    put.map_or_else(|error| call_failed(&error), |_| 0)
}

/// Removes a key.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_kv_delete(store: *const c_char, key: *const c_char) -> c_int {
    // SAFETY: they are texts.
    let (store, key) = (unsafe { text(store) }, unsafe { text(key) });
    let deleted = kv::open(&store).and_then(|store| store.delete(&key).send());
    deleted.map_or_else(|error| call_failed(&error), |_| 0)
}

/// Reads a secret.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_secret(name: *const c_char, value: *mut Data) -> c_int {
    // SAFETY: it is a text.
    let name = unsafe { text(name) };
    match secret(&name) {
        // SAFETY: the caller gives the place.
        Ok(secret) => unsafe { give(value, secret.as_bytes(), 0) },
        // SAFETY: as above.
        Err(error) => unsafe { give_nothing(value, call_failed(&error)) },
    }
}

/// Asks another function.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_invoke(
    function: *const c_char,
    event: *const c_void,
    size: usize,
    answer: *mut Data,
) -> c_int {
    // SAFETY: it is a text.
    let function = unsafe { text(function) };
    // SAFETY: the caller has so many bytes there.
    let event = unsafe { bytes(event, size) };
    match functions::call_bytes(&function, event).send() {
        // SAFETY: the caller gives the place.
        Ok(got) => unsafe { give(answer, &got, 0) },
        // SAFETY: as above.
        Err(error) => unsafe { give_nothing(answer, call_failed(&error)) },
    }
}

/// Sends to a queue.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_queue_send(
    name: *const c_char,
    message: *const c_void,
    size: usize,
) -> c_int {
    // SAFETY: it is a text.
    let name = unsafe { text(name) };
    // SAFETY: the caller has so many bytes there.
    let message = unsafe { bytes(message, size) };
    queue(&name)
        .send_bytes(message)
        .map_or_else(|error| call_failed(&error), |_| 0)
}
