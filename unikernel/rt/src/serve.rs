//! The life of a guest: bring the stream up, run `init`, say so, and answer requests for ever.

use alloc::{boxed::Box, string::String, vec::Vec};

use jiffy_abi::{
    fault::kind,
    frame::{RequestHeader, RequestKind, ResponseHeader, ResponseKind},
};

use crate::{
    assembler::{Assembler, AssemblyError, Progress},
    call::{SERVER, Server},
    doorbell,
    last_words::{give_up, out_of_memory},
    vsock::Stream,
};

/// A request as it came off the stream.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// An event or an HTTP request.
    pub kind: RequestKind,
    /// The head, not yet decoded.
    pub head: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// A response as it goes onto the stream.
#[derive(Clone, Debug)]
pub struct Response {
    /// What the handler made of it.
    pub kind: ResponseKind,
    /// The head, encoded.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

/// Runs `init`, then answers each request with `handle`. An error of `init`, its text, ends the VM,
/// and so does a response beyond the limits of a frame.
pub fn serve(init: fn() -> Result<(), String>, handle: fn(Request<'_>) -> Response) -> ! {
    // Nobody knows then what it calls, and so nothing of a function is compiled into this one, where thread-locals move.
    #[cfg(feature = "std")]
    let (init, handle) = core::hint::black_box((init, handle));
    let server = SERVER.set(Box::leak(Box::new(Server::new(Stream::accept()))));
    if let Err(message) = init() {
        give_up(kind::INIT, &message);
    }
    #[cfg(feature = "std")]
    {
        crate::entropy::forget();
        crate::tls::begin_requests();
    }
    doorbell::ready();
    let mut assembler = Assembler::default();
    let mut is_idle = true;
    loop {
        let packet = server.with(|server| server.stream.receive(is_idle));
        let (request, payload) = match assembler.push(packet.payload()) {
            Ok(Progress::Whole(request, payload)) => (request, payload),
            Ok(Progress::Partial) => {
                server.with(|server| server.stream.release(packet));
                is_idle = false;
                continue;
            }
            Err(error) => refuse(error),
        };
        server.with(|server| server.begin(request.nonce));
        let response = handle(split(request, &payload));
        drop(payload);
        if let Some(end) = server.with(Server::end) {
            end(server);
        }
        server.with(|server| {
            server.stream.release(packet);
            respond(&mut server.stream, request, response);
        });
        is_idle = true;
    }
}

fn respond(stream: &mut Stream, request: RequestHeader, response: Response) {
    let Response { kind, head, body } = response;
    match ResponseHeader::new(kind, request.nonce, head.len(), body.len()) {
        Ok(header) => stream.send(&[&header.to_bytes(), &head], body),
        Err(_) => give_up(
            kind::RUNTIME,
            "the response is beyond the limits of a frame",
        ),
    }
}

fn split(header: RequestHeader, payload: &[u8]) -> Request<'_> {
    let (head, body) = payload.split_at(header.head_bytes as usize);
    Request {
        kind: header.kind,
        head,
        body,
    }
}

fn refuse(error: AssemblyError) -> ! {
    match error {
        AssemblyError::OutOfMemory(bytes) => out_of_memory(bytes as u64),
        AssemblyError::Surplus(_) => give_up(
            kind::RUNTIME,
            "the host sent more than one request at a time",
        ),
        AssemblyError::Frame(_) => give_up(
            kind::RUNTIME,
            "the host sent something other than a request",
        ),
    }
}
