//! One connection to a database: made, asked, put back in order for the next request, and ended.
//!
//! A task drives it. It is ended with the connection, so that a database that says nothing keeps none.

use std::{future::poll_fn, mem, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join, pin_mut};
use jiffy_abi::call::{CallErrorKind, Sent};
use serde_json::value::RawValue;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{
    CancelToken, Client, Error, SimpleQueryMessage, Statement,
    types::{Kind, Type},
};

use super::{
    binding::AsItIs,
    failures::{self, Doubt, Step},
    parameters,
    room::Room,
    rows::Rows,
    statements::Statements,
    stream::{ANSWERS_MAX, Meter, Metered},
    url::{Encryption, Target},
};
use crate::{
    Failure,
    net::{Connector, Stream},
};

/// What all of it may take together: address, TCP, TLS, password.
const OPEN_TIME_MAX: Duration = Duration::from_secs(10);
/// What putting it in order may take, and what ending a statement may.
const AFTER_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes that a database may send for one thing that it is asked.
const OPENING_BYTES_MAX: u64 = 256 << 10;
const PREPARING_BYTES_MAX: u64 = 1 << 20;
/// Beyond this no other request gets the connection: the client keeps the statements that it asks for types with.
const PREPARING_BYTES_KEPT_MAX: usize = 64 << 10;
const RUNNING_BYTES_MAX: u64 = 16 << 20;
/// What Postgres takes TLS for, as ALPN names it.
const PROTOCOLS: &[&[u8]] = &[b"postgresql"];
/// Asks whether TLS is spoken: 8 bytes, 1234, 5679.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Undoes what a request may have left in its session, so that the next one, which is another, sees nothing of it: what `discard all`
/// undoes, but for statements that are kept prepared. How many of them the session has, and how many of its own. It is one message, and so
/// one transaction.
///
/// It runs often, so it is short: one look at the statements, none at the transaction, which every answer tells of.
const RESET: &str = "close all; set session authorization default; reset role; reset all; unlisten *; discard temp; discard sequences; \
     select pg_catalog.pg_advisory_unlock_all(), pg_catalog.count(*) filter (where from_sql), pg_catalog.count(*) filter (where not from_sql) \
     from pg_catalog.pg_prepared_statements";

/// The same between two statements of one request, without looking at prepared statements: what it prepared is its own.
const CLEAR: &str = "close all; set session authorization default; reset role; reset all; unlisten *; discard temp; discard sequences; \
     select pg_catalog.pg_advisory_unlock_all()";

/// How to reach a database, for one version.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) connector: Arc<Connector>,
    /// Places for connections of the version.
    pub(super) places: Arc<Semaphore>,
    pub(super) room: Room,
}

/// What is wanted of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Rows,
    Changed,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Got {
    /// As JSON.
    Rows(Vec<u8>),
    Changed(u64),
}

/// A connection.
pub(super) struct Connection {
    client: Client,
    driver: JoinHandle<()>,
    meter: Arc<Meter>,
    room: Room,
    statements: Statements,
    lookups: Lookups,
    state: State,
    /// Something has run on it since it was put in order.
    is_used: bool,
    /// Where what comes after it runs.
    runtime: Handle,
}

/// What may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// Something runs, or its answer is not read to its end.
    Busy,
    Broken,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects to a database.
    pub(super) async fn open(reach: &Reach, target: &Target) -> Result<Self, Failure> {
        let late = |_| {
            let message = "connecting to the database took too long".into();
            Failure::new(CallErrorKind::Timeout, Sent::No, message)
        };
        let opening = timeout(OPEN_TIME_MAX, Self::open_in_time(reach, target));
        opening.await.map_err(late)?
    }

    async fn open_in_time(reach: &Reach, target: &Target) -> Result<Self, Failure> {
        let (stream, is_clear) = connect(reach, target).await?;
        let meter = Arc::new(Meter::default());
        meter.allow(OPENING_BYTES_MAX);
        let stream = Metered::new(stream, is_clear, Arc::clone(&meter), reach.room.clone());
        let connecting = target.config.connect_raw(stream, AsItIs).await;
        let (client, mut connection) = connecting.map_err(|error| match meter.is_betrayed() {
            true => {
                let message = "the database wants the password in clear, which is sent by TLS only";
                Failure::new(CallErrorKind::Denied, Sent::No, message.into())
            }
            false => failures::of_connecting(&error),
        })?;
        // Notices are nobody's: they may have what is in the database.
        let driver = tokio::spawn(async move {
            while let Some(Ok(_)) = poll_fn(|context| connection.poll_message(context)).await {}
        });
        Ok(Self {
            client,
            driver,
            meter,
            room: reach.room.clone(),
            statements: Statements::default(),
            lookups: Lookups::default(),
            state: State::Ready,
            is_used: false,
            runtime: Handle::current(),
        })
    }

    /// Whether it can be asked.
    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready && !self.client.is_closed()
    }

    /// Whether its request may have it for its next statement: it is in no transaction.
    pub(super) fn is_fit(&self) -> bool {
        self.is_ready() && self.meter.is_idle() && !self.meter.is_worn()
    }

    /// Runs a statement. `is_alone`: in no transaction of the function, and so in a session as a request finds it; what an earlier
    /// statement of the request has left is undone before.
    pub(super) async fn run(
        &mut self,
        want: Want,
        sql: &str,
        values: &[&RawValue],
        is_alone: bool,
    ) -> Result<Got, Failure> {
        let kept = self.statements.get(sql);
        let is_kept = kept.is_some();
        let statement = match kept {
            Some(statement) => statement,
            None => {
                if is_alone {
                    self.clear().await?;
                }
                self.prepare(sql, is_alone).await?
            }
        };
        let ran = self.run_prepared(want, &statement, values, is_alone).await;
        let (failure, doubt) = match ran {
            Ok(got) => return Ok(got),
            Err(error) => error,
        };
        if doubt != Doubt::None {
            self.statements.remove(sql);
        }
        if !(doubt == Doubt::Stale && is_kept && is_alone) {
            return Err(failure);
        }
        let statement = self.prepare(sql, is_alone).await?;
        let ran = self.run_prepared(want, &statement, values, is_alone).await;
        ran.map_err(|(failure, _)| failure)
    }

    async fn run_prepared(
        &mut self,
        want: Want,
        statement: &Statement,
        values: &[&RawValue],
        is_alone: bool,
    ) -> Result<Got, (Failure, Doubt)> {
        let plain = |failure| (failure, Doubt::None);
        // What was said of its types may no longer be so.
        let doubtful = |failure| (failure, Doubt::Some);
        let parameters = parameters::convert(values, statement.params()).map_err(doubtful)?;
        self.meter.allow(RUNNING_BYTES_MAX);
        match want {
            Want::Changed => {
                let clears = self.begin_use() && is_alone;
                let changed = self.client.execute_raw(statement, parameters);
                let (cleared, changed) = join(clear(&self.client, clears), changed).await;
                self.ran_cleared(cleared, changed).map(Got::Changed)
            }
            Want::Rows => {
                let mut rows = Rows::new(statement.columns(), &self.room).map_err(doubtful)?;
                let clears = self.begin_use() && is_alone;
                let answer = self.client.query_raw(statement, parameters);
                let (cleared, answer) = join(clear(&self.client, clears), answer).await;
                let answer = self.ran_cleared(cleared, answer)?;
                self.state = State::Busy;
                pin_mut!(answer);
                while let Some(row) = answer.next().await {
                    let row = self.ran(Step::Run, row)?;
                    // What is not read to its end is not ready.
                    self.state = State::Busy;
                    rows.add(&row).map_err(plain)?;
                }
                self.state = State::Ready;
                Ok(Got::Rows(rows.into_json()))
            }
        }
    }

    /// Has a statement of no parameters and no rows run, such as one that begins a transaction.
    pub(super) async fn command(&mut self, step: Step, sql: &str) -> Result<(), Failure> {
        self.meter.allow(PREPARING_BYTES_MAX);
        self.begin_use();
        let done = self.client.batch_execute(sql).await;
        self.ran(step, done).map_err(|(failure, _)| failure)
    }

    /// Something runs from now on. Whether something has run before.
    fn begin_use(&mut self) -> bool {
        self.state = State::Busy;
        mem::replace(&mut self.is_used, true)
    }

    /// Undoes what an earlier statement has left. If that fails, the connection is of no further use.
    async fn clear(&mut self) -> Result<(), Failure> {
        if !self.is_used {
            return Ok(());
        }
        self.meter.allow(PREPARING_BYTES_MAX);
        self.state = State::Busy;
        let cleared = clear(&self.client, true).await;
        let cleared = self.ran(Step::Prepare, cleared);
        if cleared.is_err() {
            self.state = State::Broken;
        }
        self.is_used = false;
        cleared.map_err(|(failure, _)| failure)
    }

    /// The same as `ran` of something that was sent behind what clears the session. If that fails, nobody knows in which session it ran.
    fn ran_cleared<T>(
        &mut self,
        cleared: Result<(), Error>,
        result: Result<T, Error>,
    ) -> Result<T, (Failure, Doubt)> {
        let Err(error) = cleared else {
            return self.ran(Step::Run, result);
        };
        let ran = self.ran(Step::Run, Err(error));
        self.state = State::Broken;
        ran.map_err(|(failure, _)| (failure, Doubt::None))
    }

    /// The statement, prepared. It is kept, unless it may have been prepared for what only this request has, such as a temporary table.
    async fn prepare(&mut self, sql: &str, is_kept: bool) -> Result<Statement, Failure> {
        // Types may be made of those that are known already, and are kept with them: they are asked for anew.
        self.client.clear_type_cache();
        self.meter.allow(PREPARING_BYTES_MAX);
        self.state = State::Busy;
        let prepared = self.client.prepare(sql).await;
        let described = PREPARING_BYTES_MAX.saturating_sub(self.meter.left());
        let described = usize::try_from(described).unwrap_or(usize::MAX);
        if described > PREPARING_BYTES_KEPT_MAX {
            self.meter.wear();
        }
        self.client.clear_type_cache();
        let statement = self.ran(Step::Prepare, prepared);
        let statement = statement.map_err(|(failure, _)| failure)?;
        self.lookups.add(&statement);
        if is_kept {
            self.statements.keep(sql, statement.clone(), described);
        }
        Ok(statement)
    }

    /// What came of something, and what the connection is from now on.
    fn ran<T>(&mut self, step: Step, result: Result<T, Error>) -> Result<T, (Failure, Doubt)> {
        match result {
            Ok(result) => {
                self.state = State::Ready;
                Ok(result)
            }
            Err(error) => {
                let doubt = failures::doubt(&error);
                // What the client asks for types with is taken away, and it does not prepare that anew.
                let is_deallocated = step == Step::Prepare && doubt == Doubt::Stale;
                self.state = match failures::ends_connection(&error) || is_deallocated {
                    true => State::Broken,
                    false => State::Ready,
                };
                let failure = match self.meter.is_exceeded() {
                    true => {
                        let (sent, message) = match step {
                            Step::Prepare => (Sent::No, TOO_MUCH_OF_STATEMENT),
                            Step::Run => (Sent::Maybe, TOO_MUCH),
                        };
                        Failure::new(CallErrorKind::Limit, sent, message.into())
                    }
                    false => failures::of_statement(&error, step),
                };
                Err((failure, doubt))
            }
        }
    }

    /// Puts it in order for another request. Whether it can be used again.
    async fn reset(&mut self) -> bool {
        self.meter.allow(PREPARING_BYTES_MAX);
        let asked = timeout(AFTER_TIME_MAX, self.client.simple_query(RESET)).await;
        let Ok(Ok(messages)) = asked else {
            return false;
        };
        self.is_used = false;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let Some(row) = rows.last() else { return false };
        let column = |place: usize| row.try_get(place).ok().flatten();
        let has_none_of_its_own = column(1) == Some("0");
        let prepared = column(2).and_then(|count| count.parse().ok());
        has_none_of_its_own
            && self.meter.is_idle()
            && prepared.is_some_and(|count: usize| self.has_all(count))
            && !self.meter.is_worn()
            && self.is_ready()
    }

    /// Whether `prepared` statements can be all that are kept here and by the client.
    fn has_all(&self, prepared: usize) -> bool {
        prepared >= self.statements.len() + self.lookups.count()
    }

    /// It is no longer wanted: what becomes of it is found out by a task of its own. If it can be used again, `keep` gets it.
    pub(super) fn release(
        mut self,
        reach: Reach,
        target: CancelTarget,
        place: OwnedSemaphorePermit,
        keep: impl FnOnce(Self) + Send + 'static,
    ) {
        let runtime = self.runtime.clone();
        match self.state {
            State::Ready if !self.client.is_closed() => {
                runtime.spawn(async move {
                    if self.reset().await {
                        keep(self);
                    }
                    // Whoever waits for a place finds it there.
                    drop(place);
                });
            }
            // The database goes on with what nobody waits for, unless it is told.
            State::Busy if !self.client.is_closed() => {
                let token = self.client.cancel_token();
                runtime.spawn(async move {
                    let cancelling = cancel(&reach, &target, &token);
                    let _ = timeout(AFTER_TIME_MAX, cancelling).await;
                    drop((self, place));
                });
            }
            State::Ready | State::Busy | State::Broken => {}
        }
    }
}

const TOO_MUCH: &str = "the database sends more than may be read, 16 MiB, and 8 MiB for a row: ask for fewer and smaller rows, with LIMIT";
const TOO_MUCH_OF_STATEMENT: &str = "the database sends more than may be read of a statement, 1 MiB and 128 answers: ask for fewer columns, and cast those of types of \
     your own to text";
const _: () = assert!(PREPARING_BYTES_MAX == 1 << 20 && ANSWERS_MAX == 128);
const _: () = assert!(RUNNING_BYTES_MAX == 16 << 20 && super::stream::MESSAGE_BYTES_MAX == 8 << 20);

/// Statements that the client keeps to ask for types that are not Postgres' own, as far as is seen from those that it was asked for.
#[derive(Debug, Default)]
struct Lookups {
    has_type: bool,
    has_enum: bool,
    has_composite: bool,
}

impl Lookups {
    fn add(&mut self, statement: &Statement) {
        let columns = statement.columns().iter().map(|column| column.type_());
        for kind in statement.params().iter().chain(columns) {
            self.add_type(kind);
        }
    }

    /// Not into composites: of a few types, each of many fields of another, they can be made of more fields than can be looked at.
    fn add_type(&mut self, mut kind: &Type) {
        while Type::from_oid(kind.oid()).is_none() {
            self.has_type = true;
            match kind.kind() {
                Kind::Domain(inner) | Kind::Array(inner) | Kind::Range(inner) => {
                    kind = inner;
                    continue;
                }
                Kind::Enum(_) => self.has_enum = true,
                Kind::Composite(_) => self.has_composite = true,
                _ => {}
            }
            break;
        }
    }

    fn count(&self) -> usize {
        let all = [self.has_type, self.has_enum, self.has_composite];
        all.into_iter().filter(|it| *it).count()
    }
}

/// Clears the session of a client, if it is to be. In one write with what is sent meanwhile, which runs after it.
async fn clear(client: &Client, clears: bool) -> Result<(), Error> {
    match clears {
        true => client.batch_execute(CLEAR).await,
        false => Ok(()),
    }
}

/// Where a statement is ended that nobody waits for, and the permission to.
#[derive(Debug)]
pub(super) struct CancelTarget {
    pub(super) target: Arc<Target>,
    /// Of all that do so.
    pub(super) turns: Arc<Semaphore>,
}

/// Has a database end what a connection of it runs. By another connection, as Postgres wants it.
async fn cancel(reach: &Reach, at: &CancelTarget, token: &CancelToken) -> Result<(), Failure> {
    let Ok(_turn) = at.turns.try_acquire() else {
        return Ok(()); // It sees that the connection has ended when it answers.
    };
    let (stream, _) = connect(reach, &at.target).await?;
    let stream = Metered::new(stream, true, Arc::default(), reach.room.clone());
    let _ = token.cancel_query_raw(stream, AsItIs).await;
    Ok(())
}

/// Connects, with TLS if the URL or the address says so. Whether it is without.
async fn connect(reach: &Reach, target: &Target) -> Result<(Stream, bool), Failure> {
    let Target {
        origin, encryption, ..
    } = target;
    let unnamed = |failure| without_names(failure, target);
    let connector = &reach.connector;
    connector.egress.check_host(&origin.host).map_err(unnamed)?;
    let stream = connector.connect_clear(origin, &reach.places).await;
    let mut stream = stream.map_err(unnamed)?;
    let is_public = stream.is_to_public();
    if *encryption == Encryption::None {
        return match is_public {
            true => Err(denied(
                "sslmode=disable is for addresses that are not public: say require",
            )),
            false => Ok((stream, true)),
        };
    }
    let failed = || {
        let message = "cannot connect to the database: it does not speak as Postgres does, or ends the connection";
        Failure::new(CallErrorKind::Failed, Sent::No, message.into())
    };
    let ended = |_| failed();
    stream.write_all(&TLS_REQUEST).await.map_err(ended)?;
    stream.flush().await.map_err(ended)?;
    // One byte and no more: nothing that comes before TLS is taken for what comes within it.
    let mut answer = [0];
    stream.read_exact(&mut answer).await.map_err(ended)?;
    match answer {
        [b'S'] => {
            let encrypted = connector.encrypt(stream, origin, PROTOCOLS).await;
            let encrypted = encrypted.map_err(|failure| of_tls(failure, target))?;
            Ok((encrypted, false))
        }
        [b'N'] if *encryption == Encryption::Preferred && !is_public => Ok((stream, true)),
        [b'N'] => Err(denied(match is_public {
            true => "the database has no TLS, and its address is public",
            false => "the database has no TLS, and its URL requires it",
        })),
        _ => Err(failed()),
    }
}

fn denied(message: &str) -> Failure {
    Failure::new(CallErrorKind::Denied, Sent::No, message.into())
}

/// The same without what the URL says of the host.
fn without_names(failure: Failure, target: &Target) -> Failure {
    let message = failure
        .message
        .replace(&target.origin.to_string(), "the database")
        .replace(&target.origin.host.to_string(), "the database's host");
    Failure { message, ..failure }
}

/// What TLS says names hosts that a certificate is for.
fn of_tls(failure: Failure, target: &Target) -> Failure {
    let whys = [
        ("UnknownIssuer", "of an authority that is not known here"),
        ("not valid for name", "for another host"),
        ("NotValidForName", "for another host"),
        ("Expired", "no longer valid"),
        ("expired", "no longer valid"),
    ];
    if failure.kind != CallErrorKind::Failed {
        return without_names(failure, target);
    }
    let why = whys.iter().find(|(word, _)| failure.message.contains(word));
    let message = match why {
        Some((_, why)) => format!("cannot connect to the database: its certificate is {why}"),
        None => "cannot connect to the database: TLS with it fails".into(),
    };
    Failure { message, ..failure }
}
