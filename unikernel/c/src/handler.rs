//! Handler and `init`, and what they do to request and response.
#![allow(unsafe_code, reason = "C's symbols")]

use alloc::{
    ffi::CString,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    ffi::{c_char, c_int, c_void},
    ptr,
};

use jiffy::{
    Context, Error,
    http::{HeaderMap, Request, Response, StatusCode},
};

use crate::texts::{List, bytes, for_c, printed, printed_text, text};

/// What callers are told an error of a handler in C is.
const ERROR_TYPE: &str = "Error";

unsafe extern "C" {
    // The author's.
    fn jiffy_handle(request: *const jiffy_request, response: *mut c_void) -> c_int;
    fn jiffy_init() -> c_int;
    // Of `jiffy-libc`: always a place.
    safe fn __errno_location() -> *mut c_int;
}

// An author who has no `init` gets this one: what is weak gives way.
core::arch::global_asm!(
    ".weak jiffy_init",
    ".type jiffy_init, @function",
    "jiffy_init:",
    "xor eax, eax",
    "ret",
    ".size jiffy_init, . - jiffy_init",
);

/// `jiffy_request` of the header.
#[derive(Debug)]
#[repr(C)]
pub struct jiffy_request {
    body: *const u8,
    size: usize,
    content_type: *const c_char,
    method: *const c_char,
    path: *const c_char,
    query: *const c_char,
    id: *const c_char,
    /// [`Headers`].
    internal: *const c_void,
}

/// Headers as C gets them, each with its name.
#[derive(Debug)]
struct Headers(Vec<(String, CString)>);

/// `jiffy_response` of the header, which C knows by address only.
#[derive(Debug, Default)]
pub struct jiffy_response {
    body: Vec<u8>,
    status: Option<c_int>,
    headers: HeaderMap,
    /// What went wrong first.
    error: Option<String>,
}

impl jiffy_response {
    fn fail(&mut self, why: String) {
        self.error.get_or_insert(why);
    }
}

/// Calls the author's `jiffy_init`.
#[jiffy::init]
fn init() -> Result<(), String> {
    // SAFETY: it takes nothing.
    match unsafe { jiffy_init() } {
        0 => Ok(()),
        code => Err(format!("jiffy_init returned {code}")),
    }
}

/// Calls the author's `jiffy_handle`.
#[jiffy::function]
pub fn handle(request: Request<'_>, context: &Context) -> Result<Response, Error> {
    let content_type = request.headers().get("content-type");
    let content_type = content_type.map(|value| value.as_bytes().to_vec());
    let content_type = for_c(content_type.unwrap_or_default());
    let method = for_c(request.method().as_str());
    let path = for_c(request.uri().path());
    let query = for_c(request.uri().query().unwrap_or_default());
    let id = for_c(context.request_id());
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), for_c(value.as_bytes())));
    let headers = Headers(headers.collect());
    let mut body = Vec::with_capacity(request.body().len() + 1);
    body.extend_from_slice(request.body());
    body.push(0);
    let asked = jiffy_request {
        body: body.as_ptr(),
        size: body.len() - 1,
        content_type: content_type.as_ptr(),
        method: method.as_ptr(),
        path: path.as_ptr(),
        query: query.as_ptr(),
        id: id.as_ptr(),
        internal: (&raw const headers).cast(),
    };
    // With `reuse`, the last error is none of this request's.
    // SAFETY: it is a place, and nobody has a reference.
    unsafe { __errno_location().write(0) };
    let mut response = jiffy_response::default();
    // SAFETY: both are what the header says of them, until it returns.
    let code = unsafe { jiffy_handle(&raw const asked, (&raw mut response).cast()) };
    if let Some(why) = response.error.take() {
        return Err(Error::new(ERROR_TYPE, why));
    }
    if code != 0 {
        return Err(Error::new(
            ERROR_TYPE,
            format!("jiffy_handle returned {code}"),
        ));
    }
    let mut answer = Response::new(response.body);
    *answer.headers_mut() = response.headers;
    if let Some(status) = response.status {
        let status = u16::try_from(status)
            .ok()
            .and_then(|status| StatusCode::try_from(status).ok());
        *answer.status_mut() = status.ok_or_else(|| {
            Error::new(
                ERROR_TYPE,
                "invalid status of the response: must be 200 to 599",
            )
        })?;
    }
    Ok(answer)
}

/// A header of the request, or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_request_header(
    request: *const jiffy_request,
    name: *const c_char,
) -> *const c_char {
    // SAFETY: it is the request that the handler was given.
    let headers: *const Headers = unsafe { (*request).internal }.cast();
    // SAFETY: as above: they are there as long as it is.
    let Headers(headers) = unsafe { &*headers };
    // SAFETY: it is a text.
    let name = unsafe { text(name) };
    let found = headers
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(&name));
    found.map_or(ptr::null(), |(_, value)| value.as_ptr())
}

/// Adds bytes to the response.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_write(response: *mut jiffy_response, from: *const c_void, size: usize) {
    // SAFETY: the caller has so many bytes there.
    let more = unsafe { bytes(from, size) };
    // SAFETY: it is the response that the handler was given.
    let response = unsafe { &mut *response };
    response.body.extend_from_slice(more);
}

/// Adds a text to the response.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_vprintf(
    response: *mut jiffy_response,
    format: *const c_char,
    list: List,
) {
    // SAFETY: as the caller's.
    let more = unsafe { printed(format, list) };
    // SAFETY: as in `jiffy_write`.
    let response = unsafe { &mut *response };
    response.body.extend_from_slice(&more);
}

/// Sets the content type of the response.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_content_type(response: *mut jiffy_response, value: *const c_char) {
    // SAFETY: it is a text.
    let value = unsafe { text(value) };
    // SAFETY: as in `jiffy_write`.
    let response = unsafe { &mut *response };
    if let Err(error) = response.headers.insert("content-type", &*value) {
        response.fail(error.to_string());
    }
}

/// Sets the status of the response.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_status(response: *mut jiffy_response, status: c_int) {
    // SAFETY: as in `jiffy_write`.
    let response = unsafe { &mut *response };
    response.status = Some(status);
}

/// Adds a header to the response.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_header(
    response: *mut jiffy_response,
    name: *const c_char,
    value: *const c_char,
) {
    // SAFETY: it is a text.
    let name = unsafe { text(name) };
    // SAFETY: as above.
    let value = unsafe { text(value) };
    // SAFETY: as in `jiffy_write`.
    let response = unsafe { &mut *response };
    if let Err(error) = response.headers.append(&name, &*value) {
        response.fail(error.to_string());
    }
}

/// Says what went wrong.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_vfail(response: *mut jiffy_response, format: *const c_char, list: List) {
    // SAFETY: as the caller's.
    let why = unsafe { printed_text(format, list) };
    // SAFETY: as in `jiffy_write`.
    let response = unsafe { &mut *response };
    response.fail(why);
}

/// Writes to the log.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_vlog(level: c_int, format: *const c_char, list: List) {
    use jiffy::log::Level;
    let level = match level {
        1 => Level::Error,
        2 => Level::Warn,
        4 => Level::Debug,
        5 => Level::Trace,
        _ => Level::Info,
    };
    // SAFETY: as the caller's.
    let line = unsafe { printed_text(format, list) };
    jiffy::log::log!(level, "{line}");
}

/// Nanoseconds since 1970.
#[unsafe(no_mangle)]
extern "C" fn jiffy_now() -> i64 {
    jiffy::time::now().since_unix_epoch().as_nanos() as i64
}

/// Fills with unpredictable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn jiffy_random(to: *mut u8, size: usize) {
    if size > 0 {
        // SAFETY: the caller has so many bytes there, which are its own.
        jiffy::random::fill(unsafe { core::slice::from_raw_parts_mut(to, size) });
    }
}

/// Ends the VM, as out of memory.
#[unsafe(no_mangle)]
extern "C" fn jiffy_out_of_memory(size: usize) -> ! {
    unsafe extern "C" {
        // Of `jiffy-libc`.
        safe fn __jiffy_out_of_memory(size: usize) -> !;
    }
    __jiffy_out_of_memory(size)
}
