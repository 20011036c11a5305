//! `call.sql`: what a statement on a kept connection adds to a request, beside the same statement from this process. It takes a Postgres
//! at the URL in `JIFFY_BENCH_POSTGRES`, on loopback and without TLS, and is left out without.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    time::Instant,
};

use jiffy_capabilities::Private;
use jiffy_client::Instance;
use tokio::{net::TcpStream, runtime::Builder};
use tokio_postgres::{Client, Config, NoTls};

use super::{Fallible, Run, calls};
use crate::samples::Samples;

/// A statement, and its answer, without a VM.
const STATEMENT: &str = "floor.sql";
/// What the function asks, too.
const SQL: &str = "select 1 as one";
const URL: &str = "JIFFY_BENCH_POSTGRES";
const TIMES: usize = 1000;
const PORT: u16 = 5432;

/// Where the database is, if there is one.
pub(super) fn url() -> Option<String> {
    env::var(URL).ok()
}

/// Where functions may reach it.
pub(super) fn loopback() -> Private {
    Private::Host(jiffy_model::Host::Address(Ipv4Addr::LOCALHOST.into()))
}

/// Measures both, in turns.
pub(super) fn measure(run: &mut Run, vm: &mut Instance, url: &str) -> Fallible<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let config: Config = url.parse()?;
    let port = config.get_ports().first().copied().unwrap_or(PORT);
    let client: Fallible<Client> = runtime.block_on(async {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        stream.set_nodelay(true)?;
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    });
    let client = client?;
    let statement = runtime.block_on(client.prepare(SQL))?;
    let (mut sql, mut floor) = (Samples::new(), Samples::new());
    for counts in run.rounds("call.sql", run.times(TIMES)) {
        sql.push_if(counts, calls::round(vm, "sql", 1)?);
        let began = Instant::now();
        runtime.block_on(client.query(&statement, &[]))?;
        floor.push_if(counts, began.elapsed());
    }
    run.found_floor(STATEMENT, &floor);
    run.found(sql.measured("call.sql"));
    Ok(())
}
