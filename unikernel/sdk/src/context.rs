//! What a handler is told about its request.

use core::time::Duration;

use jiffy_abi::frame::RequestHead;

use crate::{platform, time::Instant};

/// What a handler is told about its request, lent to it for as long as the request lasts.
///
/// ```
/// #[jiffy::function]
/// pub fn who(_event: &[u8], context: &jiffy::Context) -> String {
///     format!("{} {}", context.function_name(), context.request_id())
/// }
///
/// # fn main() {
/// let call = jiffy::testing::call!().function("who", "1.2.0").request_id("r-7");
/// assert_eq!(call.run().text(), r#""who r-7""#);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Context<'a> {
    request_id: &'a str,
    function_name: &'a str,
    function_version: &'a str,
    traceparent: Option<&'a str>,
    client_address: Option<&'a str>,
    client_context: Option<&'a str>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(head: &RequestHead<'a>) -> Self {
        Self {
            request_id: head.request_id,
            function_name: head.function_name,
            function_version: head.function_version,
            traceparent: head.traceparent,
            client_address: head.client_address,
            client_context: head.client_context,
        }
    }

    /// Id of the request, for logs and for the caller; empty if none was given.
    pub fn request_id(&self) -> &'a str {
        self.request_id
    }

    /// Name of the function as it was deployed.
    pub fn function_name(&self) -> &'a str {
        self.function_name
    }

    /// Version of the function as it was deployed.
    pub fn function_version(&self) -> &'a str {
        self.function_version
    }

    /// The caller's W3C trace context, the value of its `traceparent` header.
    pub fn traceparent(&self) -> Option<&'a str> {
        self.traceparent
    }

    /// The IP address of whoever sent the request: of the connection's other end, or of whom a proxy speaks for that the
    /// agent trusts. `None` if the request did not come over a network.
    ///
    /// ```
    /// #[jiffy::function]
    /// pub fn whoami(_event: &[u8], context: &jiffy::Context) -> String {
    ///     context.client_address().unwrap_or("nobody").into()
    /// }
    ///
    /// # fn main() {
    /// let call = jiffy::testing::call!().client_address("2001:db8::1");
    /// assert_eq!(call.run().text(), r#""2001:db8::1""#);
    /// # }
    /// ```
    pub fn client_address(&self) -> Option<&'a str> {
        self.client_address
    }

    /// What the caller says of itself: the JSON of the `ClientContext` of AWS Lambda's Invoke. Only that it is JSON was
    /// checked.
    ///
    /// ```
    /// #[jiffy::function]
    /// pub fn app(_event: &[u8], context: &jiffy::Context) -> String {
    ///     context.client_context().unwrap_or("none").into()
    /// }
    ///
    /// # fn main() {
    /// let call = jiffy::testing::call!().client_context(r#"{"client":{}}"#);
    /// assert_eq!(call.run().text(), r#""{\"client\":{}}""#);
    /// # }
    /// ```
    pub fn client_context(&self) -> Option<&'a str> {
        self.client_context
    }

    /// When the VM is stopped if the request is not answered by then.
    pub fn deadline(&self) -> Option<Instant> {
        match platform::deadline_ns() {
            0 => None,
            deadline_ns => Some(Instant::from_ns(deadline_ns)),
        }
    }

    /// Time until the deadline, as the clock of [`crate::time`] tells it: it stands still while the
    /// handler computes.
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.deadline()?.saturating_duration_since(Instant::now()))
    }
}
