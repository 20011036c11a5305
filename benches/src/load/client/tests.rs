use std::{net::TcpListener, thread};

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nJiffy-Start: fresh\r\n\
    Server-Timing: queue;dur=0.000, restore;dur=0.031, run;dur=0.411\r\ncontent-length: 4\r\n\r\n";

/// Serves one connection: each request gets the next of `answers`, in pieces of so many bytes.
fn serve(answers: Vec<Vec<u8>>, piece_bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_nodelay(true).expect("an open socket");
        for answer in answers {
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok_and(|bytes| bytes == 0) {
                return;
            }
            for piece in answer.chunks(piece_bytes) {
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
        }
    });
    address
}

fn ask(answer: &[u8], piece_bytes: usize) -> Result<(u16, Vec<u8>), ClientError> {
    let mut client = Client::new(serve(vec![answer.to_vec()], piece_bytes))?;
    let answer = client.exchange(&request("POST", "/", b"{}"))?;
    Ok((answer.status, answer.body.to_vec()))
}

#[test]
fn answers_are_read_whole_however_they_come() {
    let answer = format!("{HEAD}body");
    for piece_bytes in [1, 7, 4096] {
        let (status, body) = ask(answer.as_bytes(), piece_bytes).expect("an answer");
        assert_eq!((status, &body[..]), (200, &b"body"[..]));
    }
}

#[test]
fn a_connection_is_used_again() {
    let answers = [HEAD.to_owned() + "one.", HEAD.to_owned() + "two."];
    let answers = answers.map(String::into_bytes).to_vec();
    let mut client = Client::new(serve(answers, 4096)).expect("a server");
    for right in [b"one.", b"two."] {
        let answer = client
            .exchange(&request("GET", "/", b""))
            .expect("an answer");
        assert_eq!(answer.body, right);
        assert_eq!(answer.start, Some(Start::Fresh));
        assert!(answer.took() > Duration::ZERO);
    }
}

#[test]
fn what_is_no_answer_is_told() {
    let check = |answer: &str| ask(answer.as_bytes(), 4096).expect_err(answer);
    assert!(matches!(check("nonsense\r\n\r\n"), ClientError::Http(_)));
    let no_length = "HTTP/1.1 200 OK\r\n\r\n";
    assert!(matches!(check(no_length), ClientError::NoLength));
    let not_a_length = "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n";
    assert!(matches!(check(not_a_length), ClientError::NoLength));
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n";
    assert!(matches!(check(long), ClientError::TooLarge));
    let longest = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", u64::MAX);
    assert!(matches!(check(&longest), ClientError::TooLarge));
    assert!(matches!(
        check(&format!("{HEAD}body+")),
        ClientError::Trailing(1)
    ));
    assert!(matches!(check(&format!("{HEAD}bod")), ClientError::Closed));
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(ANSWER_BYTES_MAX));
    assert!(matches!(check(&endless), ClientError::TooLarge));
    let timing = "HTTP/1.1 200 OK\r\nserver-timing: run;dur=x\r\ncontent-length: 0\r\n\r\n";
    assert!(matches!(check(timing), ClientError::ServerTiming(_)));
}

#[test]
fn nobody_there_is_told() {
    // Nobody listens there. A port that was free a moment ago may be another test's by now.
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    assert!(matches!(
        Client::new(address),
        Err(ClientError::Connect { .. })
    ));
}

#[test]
fn a_head_is_known_when_it_is_all_there() {
    for end in 0..HEAD.len() {
        let head = Head::parse(&HEAD.as_bytes()[..end]).expect("no error");
        assert_eq!(head, None, "{end}");
    }
    let head = Head::parse(HEAD.as_bytes())
        .expect("no error")
        .expect("a head");
    assert_eq!(
        (head.status, head.body_at, head.body_bytes),
        (200, HEAD.len(), 4)
    );
    assert_eq!(head.start, Some(Start::Fresh));
    assert_eq!(head.timing.run, Duration::from_micros(411));
}

#[test]
fn server_timing_is_milliseconds_by_name() {
    let us = Duration::from_micros;
    let check = |text: &str, queue_us, restore_us, run_us| {
        let timing = Timing {
            queue: us(queue_us),
            restore: us(restore_us),
            run: us(run_us),
        };
        assert_eq!(Timing::parse(text), Some(timing), "{text}");
    };
    check(
        "queue;dur=0.000, restore;dur=0.031, run;dur=0.411",
        0,
        31,
        411,
    );
    check("run;desc=\"VM\";dur=12,queue; dur=1.5", 1500, 0, 12_000);
    check("cache;desc=hit, run;dur=1", 0, 0, 1000);
    for bad in [
        "run",
        "run;dur=",
        "run;dur=-1",
        "run;dur=NaN",
        "run;dur=1e300",
    ] {
        assert_eq!(Timing::parse(bad), None, "{bad}");
    }
}
