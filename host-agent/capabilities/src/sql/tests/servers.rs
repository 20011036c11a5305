//! Servers that are no Postgres, or none that one should trust.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// A server that answers each connection so: what it says at first, and once it has heard something.
async fn server(answers: &'static [&'static [u8]]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = [0; 1024];
                for answer in answers {
                    if !matches!(stream.read(&mut heard).await, Ok(1..)) {
                        return;
                    }
                    let _ = stream.write_all(answer).await;
                }
                let _ = stream.read_to_end(&mut vec![]).await;
            });
        }
    });
    format!("postgres://ada:canary@127.0.0.1:{port}/x")
}

async fn check(url: &str, kind: CallErrorKind, word: &str) {
    let function = Function::local(url);
    let asking = Asking::new(&function);
    let answer = asking.query("select 1 as a", json!([]));
    let answer = timeout(Duration::from_secs(30), answer).await;
    answer.expect("an answer").error(kind, Sent::No, word);
}

/// Authentication is fine, a key to end statements, ready.
const GREETING: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x01\0\0\0\x02Z\0\0\0\x05I";

#[tokio::test]
async fn a_password_is_not_sent_in_clear() {
    let url = server(&[b"R\0\0\0\x08\0\0\0\x03"]).await;
    let url = format!("{url}?sslmode=disable");
    check(&url, CallErrorKind::Denied, "by TLS only").await;
    let url = server(&[b"N"]).await;
    let url = format!("{url}?sslmode=require");
    check(
        &url,
        CallErrorKind::Denied,
        "has no TLS, and its URL requires it",
    )
    .await;
}

#[tokio::test]
async fn what_is_no_postgres_is_refused() {
    let url = server(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]).await;
    check(&url, CallErrorKind::Failed, "does not speak as Postgres").await;
    let url = server(&[b"N", b"HTTP/1.1 400 Bad Request\r\n\r\n"]).await;
    check(&url, CallErrorKind::Failed, "does not speak as Postgres").await;
    let url = server(&[b"N", b"E\xff\xff\xff\xff"]).await;
    check(&url, CallErrorKind::Failed, "does not speak as Postgres").await;
}

#[tokio::test]
async fn what_says_that_it_sends_gigabytes_is_not_waited_for() {
    let url = server(&[b"N", GREETING, b"1\xff\xff\xff\xff"]).await;
    check(&url, CallErrorKind::Limit, "more than may be read").await;
}

#[tokio::test]
async fn what_is_no_sqlstate_is_not_told() {
    const ERROR: &[u8] = b"E\0\0\0\x23SERROR\0Ccanary canary\0Mcannot\0\0Z\0\0\0\x05I";
    let url = server(&[b"N", ERROR]).await;
    let told = "SQLSTATE ?????: it refuses the connection";
    check(&url, CallErrorKind::Failed, told).await;
    let url = server(&[b"N", GREETING, ERROR]).await;
    check(&url, CallErrorKind::Failed, "SQLSTATE ?????: cannot").await;
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_is_given_up() {
    let url = server(&[b"N", b""]).await;
    check(&url, CallErrorKind::Timeout, "took too long").await;
}
