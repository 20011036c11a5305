//! Many connections on few threads: each is asked again as soon as it has answered.
//!
//! A thread for each connection, as in `pace`, would have the kernel switch between clients, which costs what is measured more
//! the more of them there are: requests a second over 256 connections came to two thirds of those over 16, and do not fall
//! with few threads (docs/perf/shells-and-agent.md).

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::event::{
    Timespec,
    epoll::{self, Event, EventData, EventFlags},
};

use super::{
    client::{Answer, Client},
    pace::for_each,
};
use crate::suites::Fallible;

/// Threads that share the connections: few, as the clients have the processors together with what they ask.
const THREADS: usize = 2;
/// Connections that one wait tells of at most.
const EVENTS: usize = 64;
/// What all connections of a thread may be silent for, s.
const SILENCE_S_MAX: i64 = 30;

/// Has `clients` do requests, each the next when its last is answered, for so long; how many a second were done. `request` is
/// the n-th of them all, and `check` sees each answer.
///
/// # Errors
/// The first of any client; the others stop then.
#[expect(
    clippy::cast_precision_loss,
    reason = "a run has far fewer than 2^52 requests"
)]
pub fn closed_loop<'a>(
    clients: Vec<Client>,
    lasting: Duration,
    request: impl Fn(u64) -> &'a [u8] + Sync,
    check: impl Fn(&Answer<'_>) -> Fallible<()> + Sync,
) -> Fallible<f64> {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    for_each(shares(clients), |share, is_over| {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let send = |client: &mut Client| client.send(request(next.fetch_add(1, Relaxed)));
        for (number, client) in (0..).zip(&mut *share) {
            epoll::add(&epoll, &*client, EventData::new_u64(number), EventFlags::IN)?;
            send(client)?;
        }
        let mut unanswered = share.len();
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; EVENTS];
        while unanswered > 0 && !is_over.load(Relaxed) {
            let silence = Timespec {
                tv_sec: SILENCE_S_MAX,
                tv_nsec: 0,
            };
            let count = epoll::wait(&epoll, &mut events, Some(&silence))?;
            if count == 0 {
                return Err(format!("no answer came within {SILENCE_S_MAX} s").into());
            }
            for event in &events[..count] {
                let client = &mut share[usize::try_from(event.data.u64())?];
                check(&client.receive()?)?;
                done.fetch_add(1, Relaxed);
                if began.elapsed() < lasting {
                    send(client)?;
                } else {
                    unanswered -= 1;
                }
            }
        }
        Ok(())
    })?;
    Ok(done.into_inner() as f64 / began.elapsed().as_secs_f64())
}

/// The clients of each thread.
fn shares(clients: Vec<Client>) -> Vec<Vec<Client>> {
    let mut shares: Vec<Vec<Client>> = (0..THREADS).map(|_| vec![]).collect();
    for (number, client) in clients.into_iter().enumerate() {
        shares[number % THREADS].push(client);
    }
    shares
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener},
        sync::Mutex,
        thread,
    };

    use super::*;

    /// Answers each request on each connection with what was asked, until there have been `answers_max` on one.
    fn echo(answers_max: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a client");
                thread::spawn(move || {
                    let mut request = [0; 64];
                    for _ in 0..answers_max {
                        let Ok(bytes @ 1..) = stream.read(&mut request) else {
                            return;
                        };
                        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
                        let answer = [head.as_bytes(), &request[..bytes]].concat();
                        stream.write_all(&answer).expect("a client");
                    }
                });
            }
        });
        address
    }

    fn clients(address: SocketAddr, count: usize) -> Vec<Client> {
        (0..count)
            .map(|_| Client::new(address).expect("a server"))
            .collect()
    }

    #[test]
    fn every_connection_is_asked_again_and_every_answer_seen() {
        const TEXTS: [&[u8]; 3] = [b"one", b"two", b"three"];
        let seen = Mutex::new((BTreeSet::new(), 0_u64));
        let lasting = Duration::from_millis(200);
        let per_s = closed_loop(
            clients(echo(usize::MAX), 5),
            lasting,
            |number| TEXTS[usize::try_from(number).expect("few") % TEXTS.len()],
            |answer| {
                let mut seen = seen.lock().expect("no panic");
                seen.0.insert(answer.body.to_vec());
                seen.1 += 1;
                Ok(())
            },
        );
        let (texts, answers) = seen.into_inner().expect("no panic");
        assert_eq!(texts.len(), TEXTS.len());
        // As many as it says, in a time that is at least that long.
        let most = answers as f64 / lasting.as_secs_f64();
        let per_s = per_s.expect("no errors");
        assert!(
            answers > 10 && per_s > 0.0 && per_s <= most,
            "{answers}, {per_s}"
        );
    }

    #[test]
    fn a_server_that_ends_and_an_answer_that_is_wrong_end_the_loop() {
        let long = Duration::from_secs(3600);
        let error = closed_loop(clients(echo(3), 4), long, |_| b"x", |_| Ok(()));
        assert!(error.is_err());
        let wrong = |_: &Answer<'_>| Err("wrong".into());
        let error = closed_loop(clients(echo(usize::MAX), 4), long, |_| b"x", wrong);
        assert_eq!(error.expect_err("wrong").to_string(), "wrong");
    }
}
