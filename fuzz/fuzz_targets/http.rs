//! Bytes of a client on the agent's port: whatever comes, in whatever pieces, the connection ends, and all that was sent back
//! is whole responses, each the service's or a refusal that is marked as the agent's.
#![no_main]

use std::{convert::Infallible, sync::LazyLock, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::Request,
    response::Response,
};
use jiffyd::{config::Limits, front::serve_alone};
use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Runtime},
    time::timeout,
};

const BODY_BYTES_MAX: usize = 64 << 10;
const BODY_TIME_MAX: Duration = Duration::from_secs(60);
/// What no connection outlives that gets nothing more. Time stands still unless all wait.
const TIME_MAX: Duration = Duration::from_secs(3600);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Builder::new_current_thread();
    runtime
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
});

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Unstructured::new(bytes);
    let pieces = choices.int_in_range(1..=8).unwrap_or(1);
    let closes = choices.ratio(1, 2).unwrap_or(true);
    let sent = choices.take_rest().to_vec();
    RUNTIME.block_on(async {
        let (client, agent) = tokio::io::duplex(16 << 10);
        let limits = Limits::default();
        let serving = serve_alone(agent, &limits, answer);
        let (mut reads, mut writes) = tokio::io::split(client);
        let send = async {
            for piece in sent.chunks(sent.len().div_ceil(pieces).max(1)) {
                if writes.write_all(piece).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if closes {
                let _ = writes.shutdown().await;
            }
        };
        let receive = async {
            let mut read = vec![];
            let _ = reads.read_to_end(&mut read).await;
            read
        };
        let all = async { tokio::join!(serving, send, receive) };
        let (_, (), received) = timeout(TIME_MAX, all)
            .await
            .expect("a connection that ends");
        check(&received);
    });
});

/// Takes the body and says how much of it there was.
async fn answer(request: Request<Body>) -> Result<Response, Infallible> {
    let method = request.method().clone();
    // A body that does not end is the service's to give up, as the agent does.
    let read = timeout(BODY_TIME_MAX, to_bytes(request.into_body(), BODY_BYTES_MAX)).await;
    let text = match read {
        Ok(Ok(body)) => format!("{}", body.len()),
        Ok(Err(_)) => "broken".into(),
        Err(_) => "slow".into(),
    };
    let body = if method == "HEAD" {
        Body::empty()
    } else {
        text.into()
    };
    let response = Response::builder()
        .header("x-service", method.as_str())
        .body(body)
        .expect("a response");
    Ok(response)
}

fn check(mut rest: &[u8]) {
    while !rest.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let head_bytes = match response.parse(rest).expect("a response") {
            httparse::Status::Complete(bytes) => bytes,
            httparse::Status::Partial => panic!("half a response"),
        };
        let header = |name: &str| {
            let found = response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value).into_owned())
        };
        rest = &rest[head_bytes..];
        if response.code == Some(100) {
            continue;
        }
        let service = header("x-service");
        assert!(
            service.is_some() != header("jiffy-error").is_some(),
            "an answer of neither: {:?}",
            response.code
        );
        if service.as_deref() == Some("HEAD") {
            continue;
        }
        let length = header("content-length").expect("a length").parse::<usize>();
        let length = length.expect("a number");
        assert!(rest.len() >= length, "less than was said");
        rest = &rest[length..];
    }
}
