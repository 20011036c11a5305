//! What functions of an agent take to ask servers on connections that are kept: `call.http`, beside the same request from this process;
//! `call.http_per_s`, how many such requests many functions get together; `call.sql`, which takes a Postgres at the URL in
//! `JIFFY_BENCH_POSTGRES`, on 127.0.0.1 and without TLS, and is left out without.
//!
//! The HTTP server is a thread of this process for each connection.

use std::{
    env,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Config, NoTls};

use super::{Fallible, Run, calls::ROUNDS};
use crate::{
    load::{
        client::{Client, request},
        jiffyd::Jiffyd,
        pace::closed_loop,
    },
    report::Measured,
    samples::Samples,
};

/// A GET, and its answer, without a VM.
const REQUEST: &str = "floor.http";
/// A statement, and its answer, without a VM.
const STATEMENT: &str = "floor.sql";
/// What the function asks, too.
const SQL: &str = "select 1 as one";
const POSTGRES: &str = "JIFFY_BENCH_POSTGRES";
const PORT: u16 = 5432;
const TIMES: usize = 1000;
/// The function, its database, and the secret that has its URL.
const FUNCTION: &str = "calls";
const DATABASE: &str = "bench";
const SECRET: &str = "url";
/// Clients that have functions make requests, so many at once: together as many as there are connections to one server that are kept.
const CLIENTS: usize = 4;
const AT_ONCE: u32 = 4;
const WARM_UP: Duration = Duration::from_millis(500);
const LASTING: Duration = Duration::from_secs(3);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const HEAD_BYTES_MAX: usize = 4 << 10;

/// Measures all.
pub(super) fn measure(run: &mut Run) -> Fallible<()> {
    let postgres = env::var(POSTGRES).ok();
    let server = serve()?;
    let url = format!("http://{server}/");
    let agent = Jiffyd::start(&run.programs, &[("EGRESS__PRIVATE", r#"["127.0.0.1"]"#)])?;
    let mut grants = json!({ "network": { "allow": [format!("http://{server}")] } });
    if let Some(postgres) = &postgres {
        agent.put(&format!("/v1/secrets/{SECRET}"), postgres.as_bytes())?;
        grants["sql"] = json!({ DATABASE: { "url_secret": SECRET } });
    }
    deploy(&agent, run, &grants)?;
    let mut asked = Asked(Client::new(agent.address())?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    http(run, &mut asked, &runtime, server, &url)?;
    rate(run, &agent, &url)?;
    match postgres {
        Some(postgres) => sql(run, &mut asked, &runtime, &postgres),
        None => Ok(()),
    }
}

fn deploy(agent: &Jiffyd, run: &Run, grants: &Value) -> Fallible<()> {
    let settings = json!({
        "image": agent.upload(&run.calls)?, "max_concurrency": CLIENTS, "grants": grants,
    });
    let path = format!("/v1/functions/{FUNCTION}");
    Ok(agent.put(&path, settings.to_string().as_bytes())?)
}

fn http(
    run: &mut Run,
    asked: &mut Asked,
    runtime: &Runtime,
    server: SocketAddr,
    url: &str,
) -> Fallible<()> {
    let client: Fallible<SendRequest<_>> = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (client, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(client)
    });
    let mut client = client?;
    let (mut calls, mut floor) = (Samples::new(), Samples::new());
    for counts in run.rounds("call.http", run.times(TIMES)) {
        calls.push_if(counts, asked.round(url)?);
        let began = Instant::now();
        let request = Request::get("/").header("host", server.to_string());
        let request = request.body(Empty::<Bytes>::new())?;
        runtime.block_on(async {
            let response = client.send_request(request).await?;
            response.into_body().collect().await
        })?;
        floor.push_if(counts, began.elapsed());
    }
    run.found_floor(REQUEST, &floor);
    run.found(calls.measured("call.http"));
    Ok(())
}

fn rate(run: &mut Run, agent: &Jiffyd, url: &str) -> Fallible<()> {
    run.progress("call.http_per_s");
    let clients = || {
        let client = |_| {
            let mut asked = Asked(Client::new(agent.address())?);
            Ok(move |_| asked.ask(url, ROUNDS, AT_ONCE).map(drop))
        };
        (0..CLIENTS).map(client).collect::<Fallible<Vec<_>>>()
    };
    closed_loop(clients()?, WARM_UP)?;
    let functions_per_s = closed_loop(clients()?, LASTING)?;
    let per_s = functions_per_s * f64::from(ROUNDS * AT_ONCE);
    run.found(Measured::single("call.http_per_s", "1/s", per_s));
    Ok(())
}

fn sql(run: &mut Run, asked: &mut Asked, runtime: &Runtime, postgres: &str) -> Fallible<()> {
    let config: Config = postgres.parse()?;
    let port = config.get_ports().first().copied().unwrap_or(PORT);
    let client: Fallible<_> = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    });
    let client = client?;
    let statement = runtime.block_on(client.prepare(SQL))?;
    let (mut calls, mut floor) = (Samples::new(), Samples::new());
    for counts in run.rounds("call.sql", run.times(TIMES)) {
        calls.push_if(counts, asked.round("sql")?);
        let began = Instant::now();
        runtime.block_on(client.query(&statement, &[]))?;
        floor.push_if(counts, began.elapsed());
    }
    run.found_floor(STATEMENT, &floor);
    run.found(calls.measured("call.sql"));
    Ok(())
}

/// A client of the agent.
struct Asked(Client);

impl Asked {
    /// What one round of one call adds to a request, in its VM.
    fn round(&mut self, what: &str) -> Fallible<Duration> {
        let few = self.ask(what, 1, 1)?;
        let many = self.ask(what, 1 + ROUNDS, 1)?;
        Ok(many.saturating_sub(few) / ROUNDS)
    }

    /// What a request took from its VM's first byte to the last: it calls so often, so many at once each time.
    fn ask(&mut self, what: &str, rounds: u32, at_once: u32) -> Fallible<Duration> {
        let path = format!("/v1/functions/{FUNCTION}/invoke");
        let event = format!("{what} {rounds} {at_once}");
        let answer = self.0.exchange(&request("POST", &path, event.as_bytes()))?;
        match answer.status {
            200 => Ok(answer.timing.run),
            _ => Err(String::from_utf8_lossy(answer.body).into()),
        }
    }
}

/// Answers every request with a few bytes, for as long as this process lives.
fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who has closed its connection wants no more answers.
            thread::spawn(move || answer(stream));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut head, mut filled) = ([0; HEAD_BYTES_MAX], 0);
    loop {
        match stream.read(&mut head[filled..])? {
            0 => return Ok(()),
            bytes => filled += bytes,
        }
        // Nobody sends a body, or a request before the answer to the one before.
        if head[..filled].ends_with(b"\r\n\r\n") {
            stream.write_all(ANSWER)?;
            filled = 0;
        }
    }
}
