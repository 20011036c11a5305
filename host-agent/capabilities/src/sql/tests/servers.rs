//! Servers that are no Postgres, or none that one should trust.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// A server that answers each connection so, each time that it has heard something.
async fn server(answers: &'static [&'static [u8]]) -> String {
    server_that_goes_on(answers, vec![]).await
}

/// One that then says the same again and again.
async fn server_that_goes_on(answers: &'static [&'static [u8]], last: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let last = last.clone();
            tokio::spawn(async move {
                let mut heard = [0; 1024];
                let mut answers = answers.iter();
                while let Ok(1..) = stream.read(&mut heard).await {
                    let answer = answers.next().copied().unwrap_or(&last);
                    let _ = stream.write_all(answer).await;
                }
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

/// A parameter of type 70,000, and no rows.
const OF_A_TYPE: &[u8] = b"1\0\0\0\x04t\0\0\0\x0a\0\x01\0\x01\x11\x70n\0\0\0\x04Z\0\0\0\x05I";

/// What Postgres says of the statement that types are asked for with: a parameter, and seven columns.
const OF_TYPES: &[u8] = b"1\0\0\0\x04t\0\0\0\x0a\0\x01\0\0\0\x1aT\0\0\0\x92\0\x07\
    a\0\0\0\0\0\0\0\0\0\0\x13\0\x40\xff\xff\xff\xff\0\0\
    b\0\0\0\0\0\0\0\0\0\0\x12\0\x01\xff\xff\xff\xff\0\0\
    c\0\0\0\0\0\0\0\0\0\0\x1a\0\x04\xff\xff\xff\xff\0\0\
    d\0\0\0\0\0\0\0\0\0\0\x1a\0\x04\xff\xff\xff\xff\0\0\
    e\0\0\0\0\0\0\0\0\0\0\x1a\0\x04\xff\xff\xff\xff\0\0\
    f\0\0\0\0\0\0\0\0\0\0\x13\0\x40\xff\xff\xff\xff\0\0\
    g\0\0\0\0\0\0\0\0\0\0\x1a\0\x04\xff\xff\xff\xff\0\0\
    Z\0\0\0\x05I";

#[tokio::test]
async fn types_that_are_made_of_others_without_end_are_not_followed() {
    // A domain whose base is itself.
    let values: [Option<&[u8]>; 7] = [
        Some(b"loop"),
        Some(b"d"),
        Some(&[0; 4]),
        None,
        Some(&[0, 1, 0x11, 0x70]),
        Some(b"public"),
        Some(&[0; 4]),
    ];
    let mut row = vec![0, 7];
    for value in values {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).expect("short"));
        row.extend(length.to_be_bytes());
        row.extend(value.unwrap_or_default());
    }
    let length = u32::try_from(row.len() + 4).expect("short").to_be_bytes();
    let domain = [
        b"2\0\0\0\x04D",
        &length[..],
        &row,
        b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
    ];
    let url = server_that_goes_on(&[b"N", GREETING, OF_A_TYPE, OF_TYPES], domain.concat()).await;
    check(&url, CallErrorKind::Limit, "1 MiB and 128 answers").await;
    // What asks for types is of such a type itself.
    let url = server_that_goes_on(&[b"N", GREETING], OF_A_TYPE.to_vec()).await;
    check(&url, CallErrorKind::Limit, "1 MiB and 128 answers").await;
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

#[tokio::test]
async fn whoever_finds_no_connection_waits_for_some_time() {
    let url = server(&[b"N", GREETING]).await;
    let function = Function::local(&url);
    let pool = &function.prepared.databases["orders"];
    let mut leases = vec![];
    for _ in 0..pool::CONNECTIONS_MAX {
        leases.push(pool.take().await.expect("a connection"));
    }
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let failure = pool.take().await.expect_err("all are in use");
    assert_eq!(
        (failure.kind, failure.sent),
        (CallErrorKind::Limit, Sent::No)
    );
    assert!(
        failure.message.starts_with("all 16 connections"),
        "{}",
        failure.message
    );
    assert!(began.elapsed() >= pool::PLACE_TIME_MAX);
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_is_given_up() {
    let url = server(&[b"N", b""]).await;
    check(&url, CallErrorKind::Timeout, "took too long").await;
}
