//! Requests that are answered before their body was read.
//!
//! Closing a connection with unread bytes in it makes the kernel send a reset, and a client that is still writing then
//! loses the answer that was already on its way. So what a handler left of a body is read and thrown away, within limits.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::header,
};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::{runtime::Handle, time::timeout};

/// Bytes that are thrown away of one request at most; then its connection is closed.
const DISCARDED_BYTES_MAX: usize = 128 << 20;
/// How long that may take, and no longer than a body may.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// A body whose rest is thrown away when it is dropped.
struct Discarding {
    /// None behind its end.
    body: Option<Body>,
    time_max: Duration,
}

/// The same request, with a body of which nothing is left unread that comes within `time_max`.
pub(super) fn discard(request: Request, time_max: Duration) -> Request {
    // Who waits for a word before sending has nothing on its way.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return request;
    }
    request.map(|body| {
        Body::new(Discarding {
            body: Some(body),
            time_max: time_max.min(DISCARD_TIME_MAX),
        })
    })
}

impl HttpBody for Discarding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let exact = || SizeHint::with_exact(0);
        self.body.as_ref().map_or_else(exact, HttpBody::size_hint)
    }
}

impl Drop for Discarding {
    fn drop(&mut self) {
        let body = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Ok(runtime)) = (body, Handle::try_current()) {
            drop(runtime.spawn(timeout(self.time_max, throw_away(body))));
        }
    }
}

async fn throw_away(mut body: Body) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > DISCARDED_BYTES_MAX {
            return;
        }
    }
}
