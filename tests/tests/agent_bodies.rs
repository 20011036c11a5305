//! What bodies cost the agent's process, at its port: while they come, and when their clients are gone.

mod agent_common;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use agent_common::{can_run, retry};
use jiffy_tests::agent::Setup;
use serde_json::json;

const CLIENTS: usize = 200;
const BODY_BYTES: usize = 6 << 20;
const BUDGET_BYTES: &str = "67108864";
/// The budget, and what connections take.
const GROWTH_KIB_MAX: u64 = (64 << 10) + KEPT_KIB_MAX;
/// What 200 connections read into, which the allocator keeps for the next.
const KEPT_KIB_MAX: u64 = 48 << 10;

/// Sends a request but for the last byte of its body, as far as the agent takes it.
fn all_but_one_byte(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_write_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BODY_BYTES}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    // Who is refused is cut off in the middle.
    let _ = stream.write_all(&vec![b'x'; BODY_BYTES - 1]);
    stream
}

#[test]
fn what_bodies_had_is_given_back() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[("LIMITS__BODIES_BYTES_MAX", BUDGET_BYTES)]);
    let agent = setup.start();
    let image = agent.upload("echo");
    agent.client.deploy("echo", &image, json!({})).expect(201);
    let address = agent.client.address();
    // Whole ones first, so that what a request takes once is there already.
    let large = vec![b'x'; BODY_BYTES / 2];
    for _ in 0..3 {
        assert!(agent.client.invoke("echo", &large).expect(200).body == large);
    }
    let before_kib = agent.resident_kib();
    let (mut peak_kib, mut refused) = (0, 0);
    for round in 0..2 {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let path = ["/fn/echo/", "/v1/functions/echo/invoke"][number % 2];
                thread::spawn(move || all_but_one_byte(address, path))
            })
            .collect();
        let streams: Vec<_> = clients
            .into_iter()
            .map(|client| client.join().expect("no panic"))
            .collect();
        peak_kib = peak_kib.max(agent.resident_kib());
        for mut stream in streams {
            let mut head = [0; 12];
            stream
                .set_read_timeout(Some(Duration::from_millis(5)))
                .expect("a timeout");
            refused += usize::from(stream.read_exact(&mut head).is_ok() && head.ends_with(b"503"));
        }
        let is_back = || agent.resident_kib() < before_kib + KEPT_KIB_MAX;
        let given_back = retry(Duration::from_secs(20), is_back);
        println!(
            "round {round}: {before_kib} KiB before, {peak_kib} at most, {} after; {refused} refused",
            agent.resident_kib()
        );
        assert!(given_back, "{} KiB stay", agent.resident_kib());
    }
    assert!(refused > CLIENTS, "{refused} refused");
    let growth_kib = peak_kib - before_kib;
    assert!(growth_kib < GROWTH_KIB_MAX, "{growth_kib} KiB more");
    assert!(agent.client.invoke("echo", &large).expect(200).body == large);
    assert!(agent.stop().success(), "{}", setup.log());
}
