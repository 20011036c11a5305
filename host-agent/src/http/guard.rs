//! A layer that lets a request pass or answers it in place of what is behind.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response};
use futures_util::future::Either;
use tower::{Layer, Service};

/// Asks `F` of each request: `None` lets it pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard<F>(pub(crate) F);

/// A service behind a [`Guard`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guarded<F, S>(F, S);

impl<F: Clone, S> Layer<S> for Guard<F> {
    type Service = Guarded<F, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded(self.0.clone(), inner)
    }
}

impl<F, S> Service<Request> for Guarded<F, S>
where
    F: Fn(&Request) -> Option<Response>,
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.1.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match (self.0)(&request) {
            Some(answer) => Either::Left(ready(Ok(answer))),
            None => Either::Right(self.1.call(request)),
        }
    }
}
