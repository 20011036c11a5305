//! Calls: what a handler asks the outside for, through the host.
//!
//! ```
//! #[jiffy::function]
//! pub fn whoami(_event: &[u8]) -> Result<String, jiffy::call::CallError> {
//!     let (here, again) = jiffy::join((jiffy::host_info(), jiffy::host_info()))?;
//!     assert_eq!(here, again);
//!     Ok(jiffy::host_info().send()?.release)
//! }
//!
//! # fn main() {
//! # use jiffy::call::HostInfo;
//! let info = HostInfo { release: "1.2.3".into(), ..HostInfo::default() };
//! assert_eq!(jiffy::testing::call!().host_info(info).run().text(), r#""1.2.3""#);
//! # }
//! ```
//!
//! A call blocks; other threads, which a function with `std` may have, go on meanwhile. In a handler that is an `async fn`,
//! a call can be awaited as well, and whatever combines futures has several under way at once:
//!
//! ```
//! #[jiffy::function]
//! pub async fn releases(_event: &[u8]) -> Result<String, jiffy::call::CallError> {
//!     let (first, second) = (jiffy::host_info().start(), jiffy::host_info().start());
//!     Ok([first.await?.release, second.await?.release].join(" "))
//! }
//!
//! # fn main() {
//! # use jiffy::call::HostInfo;
//! # let info = HostInfo { release: "1.2.3".into(), ..HostInfo::default() };
//! # assert_eq!(jiffy::testing::call!().host_info(info).run().text(), r#""1.2.3 1.2.3""#);
//! # }
//! ```
//!
//! Nothing but calls wakes such a handler: a future that waits for anything else ends it. Without `async`, to have several
//! under way at once, [`start`](Call::start) them, or give them to [`join`]: they go out together, at the first wait. What was started is made, and the response waits for it, even if
//! nobody waits for its result. `#[jiffy::init]` may not call: every instance would go on with the answer that one got.
//! A request may make 1,000 calls, and have 16 in flight; the 17th waits until one is answered.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

#[doc(inline)]
pub use jiffy_abi::call::{CallErrorKind, Sent};
use jiffy_abi::{
    call::{OPERATION_HOST_INFO, ReplyHead, SERVICE_HOST},
    frame::{Fields, Tag},
};

use crate::{dispatch::put_field, platform};

const NAME_CHARS_MAX: usize = 64;

/// What a call's result is made of.
pub(crate) type Decode<T> = fn(&ReplyHead<'_>, &[u8], &[u8]) -> Option<T>;

/// What a reply that is none of these means.
pub(crate) type Explain = fn(&[u8]) -> CallError;

/// A call that is being prepared.
#[must_use = "a call calls when it is sent or started"]
pub struct Call<T> {
    service: u16,
    operation: u16,
    binding: String,
    timeout: Option<Duration>,
    fields: Vec<u8>,
    body: Vec<u8>,
    /// Why it cannot be made, if it cannot.
    invalid: Option<CallError>,
    decode: Decode<T>,
    explain: Option<Explain>,
}

impl<T> Call<T> {
    pub(crate) const fn new(service: u16, operation: u16, decode: Decode<T>) -> Self {
        Self {
            service,
            operation,
            binding: String::new(),
            timeout: None,
            fields: Vec::new(),
            body: Vec::new(),
            invalid: None,
            decode,
            explain: None,
        }
    }

    /// Says what is wrong with the body of a reply that cannot be decoded, if that can be the function's fault.
    pub(crate) const fn explained(mut self, explain: Explain) -> Self {
        self.explain = Some(explain);
        self
    }

    /// Under which name the function was given what it asks for.
    pub(crate) fn bound(mut self, name: &str) -> Self {
        name.clone_into(&mut self.binding);
        self
    }

    /// A field more.
    pub(crate) fn field(mut self, tag: Tag, value: &[u8]) -> Self {
        if put_field(&mut self.fields, tag, value).is_err() {
            return self.refused("a field of a call may have 65535 bytes");
        }
        self
    }

    /// What it carries.
    pub(crate) fn carrying(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// What is wrong with it: an error when it is made.
    pub(crate) fn refused(mut self, why: &str) -> Self {
        let error = || CallError::new(CallErrorKind::Invalid, Sent::No, why);
        self.invalid.get_or_insert_with(error);
        self
    }

    /// Operation, fields and body, for a call that makes several.
    pub(crate) fn into_parts(self) -> Result<(u16, Vec<u8>, Vec<u8>), CallError> {
        match self.invalid {
            Some(error) => Err(error),
            None => Ok((self.operation, self.fields, self.body)),
        }
    }

    /// What it may take; otherwise, and at most, what is left of the request's time.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the call and waits for its result.
    pub fn send(self) -> Result<T, CallError> {
        self.start().wait()
    }

    /// Starts the call, which goes out at the next wait for any.
    pub fn start(self) -> Pending<T> {
        let timeout_ms = self.timeout.map(|timeout| {
            // Rounded up, so that some time is not none.
            u32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(u32::MAX)
        });
        let start = || {
            platform::start_call(platform::Call {
                service: self.service,
                operation: self.operation,
                binding: &self.binding,
                timeout_ms,
                fields: &self.fields,
                body: self.body,
            })
        };
        Pending {
            started: self.invalid.map_or_else(start, Err),
            decode: self.decode,
            explain: self.explain,
            _not_send: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("service", &self.service)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// A call that is under way.
#[must_use = "the result of a call is had by waiting for it"]
pub struct Pending<T> {
    started: Result<u32, CallError>,
    decode: Decode<T>,
    explain: Option<Explain>,
    /// It is of the request that is in hand on this thread.
    _not_send: PhantomData<*const ()>,
}

impl<T> Pending<T> {
    /// Waits for the result.
    pub fn wait(self) -> Result<T, CallError> {
        read_reply(
            self.decode,
            self.explain,
            &platform::wait_reply(self.started?),
        )
    }
}

fn read_reply<T>(
    decode: Decode<T>,
    explain: Option<Explain>,
    reply: &platform::Reply,
) -> Result<T, CallError> {
    let (head, body) = reply.payload.split_at(reply.head_bytes);
    let malformed = || CallError::new(CallErrorKind::Failed, Sent::Maybe, MALFORMED);
    let fields = ReplyHead::parse(head).map_err(|_| malformed())?;
    match fields.error {
        Some(kind) => {
            let message = String::from_utf8_lossy(body).into_owned();
            Err(CallError {
                kind,
                sent: fields.sent,
                message,
            })
        }
        None => {
            let why = || explain.map_or_else(malformed, |explain| explain(body));
            decode(&fields, head, body).ok_or_else(why)
        }
    }
}

/// The same in a handler that is an `async fn`: others go on meanwhile.
impl<T> Future for Pending<T> {
    type Output = Result<T, CallError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let id = match &self.started {
            Ok(id) => *id,
            Err(error) => return Poll::Ready(Err(error.clone())),
        };
        match platform::take_reply(id, context.waker()) {
            Some(reply) => {
                let result = read_reply(self.decode, self.explain, &reply);
                // Whoever lends it to an `await` has it still.
                let taken = CallError::new(CallErrorKind::Invalid, Sent::Yes, TAKEN);
                self.get_mut().started = Err(taken);
                Poll::Ready(result)
            }
            None => Poll::Pending,
        }
    }
}

impl<T> IntoFuture for Call<T> {
    type Output = Result<T, CallError>;
    type IntoFuture = Pending<T>;

    fn into_future(self) -> Pending<T> {
        self.start()
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

const TAKEN: &str = "the result of this call was taken already";
const MALFORMED: &str = "the reply is malformed: update the agent";

/// Why a call has no result. Its text is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    kind: CallErrorKind,
    sent: Sent,
    message: String,
}

impl CallError {
    /// An error, for the stand-ins of tests.
    pub fn new(kind: CallErrorKind, sent: Sent, message: &str) -> Self {
        Self {
            kind,
            sent,
            message: message.to_owned(),
        }
    }

    /// What went wrong.
    pub const fn kind(&self) -> CallErrorKind {
        self.kind
    }

    /// Whether somebody else was quicker: what was to be changed is not as it was.
    pub fn is_conflict(&self) -> bool {
        self.kind == CallErrorKind::Conflict
    }

    /// Whether what was called for has left the host. If not, it can be tried again without being done twice.
    pub const fn sent(&self) -> Sent {
        self.sent
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for CallError {}

/// The name of something that a function was given, if it may be one.
pub(crate) fn checked_name(what: &str, name: &str) -> Result<String, CallError> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_of_name) {
        true => Ok(name.to_owned()),
        false => Err(CallError::new(
            CallErrorKind::Invalid,
            Sent::No,
            &format!(
                "invalid {what} name {name:?}: must be 1 to {NAME_CHARS_MAX} letters, digits, hyphens and underscores"
            ),
        )),
    }
}

/// What [`join`] takes: tuples, arrays and vectors of calls, started or not.
pub trait Join {
    /// All of them, started.
    type Started;
    /// Their results.
    type Output;

    /// Starts those that are not.
    fn start(self) -> Self::Started;

    /// Waits for all of them; the error is that of the first that has one.
    fn wait(started: Self::Started) -> Result<Self::Output, CallError>;
}

/// Has several calls under way at once and waits for all of them: they go out together.
pub fn join<J: Join>(calls: J) -> Result<J::Output, CallError> {
    J::wait(calls.start())
}

impl<T> Join for Call<T> {
    type Started = Pending<T>;
    type Output = T;

    fn start(self) -> Pending<T> {
        Self::start(self)
    }

    fn wait(started: Pending<T>) -> Result<T, CallError> {
        started.wait()
    }
}

impl<T> Join for Pending<T> {
    type Started = Self;
    type Output = T;

    fn start(self) -> Self {
        self
    }

    fn wait(started: Self) -> Result<T, CallError> {
        Self::wait(started)
    }
}

impl<J: Join> Join for Vec<J> {
    type Started = Vec<J::Started>;
    type Output = Vec<J::Output>;

    fn start(self) -> Self::Started {
        self.into_iter().map(J::start).collect()
    }

    fn wait(started: Self::Started) -> Result<Self::Output, CallError> {
        // An error must not leave the rest waited for by nobody: that costs no less.
        let results: Vec<_> = started.into_iter().map(J::wait).collect();
        results.into_iter().collect()
    }
}

macro_rules! join_tuples {
    ($($($call:ident)+;)+) => {$(
        impl<$($call: Join),+> Join for ($($call,)+) {
            type Started = ($($call::Started,)+);
            type Output = ($($call::Output,)+);

            fn start(self) -> Self::Started {
                #[allow(non_snake_case, reason = "named like their types")]
                let ($($call,)+) = self;
                ($($call.start(),)+)
            }

            fn wait(started: Self::Started) -> Result<Self::Output, CallError> {
                #[allow(non_snake_case, reason = "named like their types")]
                let ($($call,)+) = started;
                #[allow(non_snake_case, reason = "named like their types")]
                let ($($call,)+) = ($($call::wait($call),)+);
                Ok(($($call?,)+))
            }
        }
    )+};
}

join_tuples! {
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

/// What runs the function, as [`host_info`] tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostInfo {
    /// Release of jiffy.
    pub release: String,
    /// Name of the function as its author gave it; that of [`Context`](crate::Context) is what it was deployed as.
    pub function_name: String,
    /// Version of the function as it was deployed.
    pub function_version: String,
    /// Id of the request in hand.
    pub request_id: String,
}

/// Asks for what runs the function.
pub fn host_info() -> Call<HostInfo> {
    Call::new(SERVICE_HOST, OPERATION_HOST_INFO, |_, head, _| {
        let mut info = HostInfo::default();
        for field in Fields::new(head) {
            let (tag, value) = field.ok()?;
            let text = match tag {
                Tag::Release => &mut info.release,
                Tag::FunctionName => &mut info.function_name,
                Tag::FunctionVersion => &mut info.function_version,
                Tag::RequestId => &mut info.request_id,
                _ => continue,
            };
            *text = str::from_utf8(value).ok()?.to_owned();
        }
        Some(info)
    })
}

#[cfg(all(test, not(jiffy_guest)))]
mod tests;
