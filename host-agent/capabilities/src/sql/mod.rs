//! Asks SQL databases for functions: `jiffy::sql`. A function has those that its `jiffy.toml` names; where they are and as whom they
//! are asked is a secret that it does not have.
//!
//! ```text
//! call ─ grant ─ the connection that this request keeps ────────────────────────────┬─ statement, prepared ─ rows as JSON ─ reply
//!         │        └─ pool: one that waits ─────────────────────────────────────────┤
//!         │           └─ secret: URL ─ connect: name → addresses, each checked → TLS┘
//!         └─ transaction of this request: the connection that it holds
//! ```
//!
//! A connection is put in order between two requests, and between two statements of one, so that none sees what another has set
//! (`connection`). A request keeps that of a statement for its next one, milliseconds at most: then it is put in order with what the
//! next statement sends, instead of by itself and beside it. A statement that nobody
//! waits for any more is ended in the database.

mod binding;
mod connection;
mod failures;
mod own;
mod parameters;
mod pool;
mod room;
mod rows;
mod statements;
mod stream;
mod times;
mod transactions;
mod url;

use std::{collections::BTreeMap, error::Error, sync::Arc};

use jiffy_abi::{
    call::{
        CallErrorKind, OPERATION_SQL_BEGIN, OPERATION_SQL_COMMIT, OPERATION_SQL_EXECUTE,
        OPERATION_SQL_QUERY, OPERATION_SQL_ROLLBACK, SERVICE_SQL, Sent,
    },
    frame::{Fields, FrameError, Tag},
};
use jiffy_client::{CallContext, CallFuture};
use jiffy_control::{Call, Reply};
use jiffy_model::{BindingName, TenantName};
use jiffy_secrets::Secrets;
use tokio::sync::Semaphore;

use self::{
    connection::{Got, Reach, Want},
    failures::Step,
    own::Own,
    pool::{IDLE_MAX, Pool, ReadUrl, Reading, Shared},
    room::Room,
    transactions::{Transaction, Transactions},
};
use crate::{
    Capability, Config, Failure, Operations, Prepared, Version,
    net::{CONNECTIONS_PER_VERSION_MAX, Connector, Driver, Net},
    reads::Reads,
    reply, secrets, unknown_operation,
};

/// Bytes of a statement at most: what fields may have, less those of the other fields.
const STATEMENT_BYTES_MAX: usize = 60 << 10;
/// Statements that are being ended at once at most, of all functions: each takes a connection more.
const CANCELS_MAX: usize = 64;
/// Connections that were closed meanwhile and that a call tries at most.
const TRIES_MAX: usize = 3;

/// For all functions.
#[derive(Debug)]
pub(crate) struct Sql {
    secrets: Arc<Secrets>,
    connector: Arc<Connector>,
    driver: Driver,
    reads: Reads,
    room: Room,
    shared: Shared,
}

/// For one version.
#[derive(Debug)]
pub(crate) struct SqlOf {
    databases: BTreeMap<BindingName, Arc<Pool>>,
    driver: Driver,
}

impl Capability for Sql {
    const SERVICE: u16 = SERVICE_SQL;
    const NAME: &'static str = "sql";
    const OPERATIONS: Operations = &[
        (OPERATION_SQL_QUERY, "query"),
        (OPERATION_SQL_EXECUTE, "execute"),
        (OPERATION_SQL_BEGIN, "begin"),
        (OPERATION_SQL_COMMIT, "commit"),
        (OPERATION_SQL_ROLLBACK, "rollback"),
    ];
    type Prepared = SqlOf;

    fn configure(config: &Config, net: &Net) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self {
            secrets: Arc::clone(&config.secrets),
            connector: Arc::clone(&net.connector),
            driver: net.driver.clone(),
            reads: Reads::default(),
            room: Room::default(),
            shared: Shared {
                cancels: Arc::new(Semaphore::new(CANCELS_MAX)),
                idle: Arc::new(Semaphore::new(IDLE_MAX)),
            },
        })
    }

    fn prepare(&self, version: &Version<'_>) -> SqlOf {
        let reach = Reach {
            connector: Arc::clone(&self.connector),
            places: Arc::new(Semaphore::new(CONNECTIONS_PER_VERSION_MAX)),
            room: self.room.for_version(),
        };
        let databases = version.grants.sql.iter().map(|(name, grant)| {
            let url = SecretUrl {
                secrets: Arc::clone(&self.secrets),
                reads: self.reads.clone(),
                tenant: version.function.tenant(),
                name: grant.url_secret.clone(),
            };
            let pool = Pool::new(reach.clone(), Box::new(url), &self.shared);
            (name.clone(), pool)
        });
        SqlOf {
            databases: databases.collect(),
            driver: self.driver.clone(),
        }
    }
}

/// The secret that is the URL of a database.
struct SecretUrl {
    secrets: Arc<Secrets>,
    reads: Reads,
    tenant: TenantName,
    name: BindingName,
}

impl ReadUrl for SecretUrl {
    fn read(&self) -> Reading {
        let (secrets, tenant, name) = (
            Arc::clone(&self.secrets),
            self.tenant.clone(),
            self.name.clone(),
        );
        let reads = self.reads.clone();
        Box::pin(async move {
            let url = reads.result_of(move || secrets::resolve(&secrets, &tenant, &name));
            let url = url.await.unwrap_or_else(|| Err(Failure::ended()))?;
            Ok(url.to_vec())
        })
    }
}

impl Prepared for SqlOf {
    fn call(&self, call: Call, context: &CallContext<'_>) -> CallFuture {
        let Some(pool) = self.databases.get(&*call.binding) else {
            let message = format!(
                "invalid database {:?}: must be one that jiffy.toml names, as [sql.NAME]",
                call.binding
            );
            return reply(Reply::error(CallErrorKind::Denied, Sent::No, &message));
        };
        let asked = match Asked::parse(&call) {
            Ok(asked) => asked,
            Err(failure) => return reply(failure.into_reply()),
        };
        let asks = Asks {
            pool: Arc::clone(pool),
            binding: call.binding.clone(),
        };
        let transactions = || context.scope.keep::<Transactions>();
        match (call.operation, asked.transaction) {
            (OPERATION_SQL_QUERY | OPERATION_SQL_EXECUTE, number) => {
                let want = match call.operation {
                    OPERATION_SQL_QUERY => Want::Rows,
                    _ => Want::Changed,
                };
                let within = number.map(|number| (transactions(), number));
                let own = context.scope.keep::<Own>();
                let (statement, body) = (asked.statement, call.body);
                self.drive(async move {
                    let got = match within {
                        None => asks.run(&own, want, &statement, &body).await,
                        Some((all, number)) => {
                            let transaction = all.turn(number, &asks.binding).await?;
                            run_within(transaction, want, &statement, &body).await
                        }
                    };
                    got.and_then(to_reply)
                })
            }
            (OPERATION_SQL_BEGIN, None) => {
                let (all, begin) = (transactions(), asked.begin);
                let own = context.scope.keep::<Own>();
                self.drive(async move {
                    // It needs one that is in order, and not two.
                    asks.pool.give_back(own.request());
                    asks.begin(&all, &begin).await
                })
            }
            (OPERATION_SQL_COMMIT | OPERATION_SQL_ROLLBACK, Some(number)) => {
                let all = transactions();
                let commits = call.operation == OPERATION_SQL_COMMIT;
                self.drive(async move {
                    let transaction = all.turn(number, &asks.binding).await?;
                    all.remove(number);
                    end(transaction, commits).await?;
                    Ok(Reply::ok(vec![]))
                })
            }
            (OPERATION_SQL_BEGIN..=OPERATION_SQL_ROLLBACK, _) => reply(
                invalid("a transaction is begun without a number, and ended with one".into())
                    .into_reply(),
            ),
            _ => reply(unknown_operation(Sql::NAME, &call)),
        }
    }
}

impl SqlOf {
    fn drive(
        &self,
        work: impl Future<Output = Result<Reply, Failure>> + Send + 'static,
    ) -> CallFuture {
        self.driver
            .drive(async move { work.await.unwrap_or_else(Failure::into_reply) })
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(CallErrorKind::Invalid, Sent::No, message)
}

/// The fields of a call.
#[derive(Default)]
struct Asked {
    statement: String,
    transaction: Option<u32>,
    /// What begins the transaction that is wanted.
    begin: String,
}

impl Asked {
    fn parse(call: &Call) -> Result<Self, Failure> {
        let fields = Self::fields(call).map_err(|error| invalid(error.to_string()))?;
        let bytes = fields.statement.len();
        if bytes > STATEMENT_BYTES_MAX {
            return Err(invalid(format!(
                "the statement has {bytes} bytes: must be at most {STATEMENT_BYTES_MAX}"
            )));
        }
        let runs = matches!(call.operation, OPERATION_SQL_QUERY | OPERATION_SQL_EXECUTE);
        if runs && (fields.statement.trim().is_empty() || fields.statement.contains('\0')) {
            return Err(invalid(
                "the statement must be SQL, without a character of number 0".into(),
            ));
        }
        if runs && is_copy(&fields.statement) {
            return Err(invalid(
                "COPY is not supported: use INSERT … SELECT from unnest($1::int[])".into(),
            ));
        }
        Ok(fields)
    }

    fn fields(call: &Call) -> Result<Self, FrameError> {
        let mut asked = Self::default();
        let (mut isolation, mut reads) = ("", "");
        for field in Fields::new(&call.head) {
            let (tag, value) = field?;
            let wrong = || FrameError::FieldValue(tag);
            match tag {
                Tag::Statement => {
                    let text = str::from_utf8(value).map_err(|_| wrong())?;
                    asked.statement = text.into();
                }
                Tag::Transaction => {
                    let number = value.try_into().map_err(|_| wrong())?;
                    asked.transaction = Some(u32::from_le_bytes(number));
                }
                Tag::Isolation => {
                    isolation = match value {
                        [1] => " isolation level read committed",
                        [2] => " isolation level repeatable read",
                        [3] => " isolation level serializable",
                        _ => return Err(wrong()),
                    }
                }
                Tag::ReadOnly => {
                    reads = match value {
                        [0] => " read write",
                        [1] => " read only",
                        _ => return Err(wrong()),
                    }
                }
                _ => {}
            }
        }
        asked.begin = format!("begin{isolation}{reads}");
        Ok(asked)
    }
}

/// Whether a statement is COPY, which is neither answered with rows nor with how many are changed: its connection would be lost.
fn is_copy(statement: &str) -> bool {
    first_word(statement).eq_ignore_ascii_case("copy")
}

/// Whether a statement is about rows. What others do to a session is not always undone between two statements (`prepare`).
fn is_about_rows(statement: &str) -> bool {
    let word = first_word(statement);
    let mut all = [
        "select", "insert", "update", "delete", "merge", "with", "values", "table",
    ]
    .iter();
    all.any(|it| word.eq_ignore_ascii_case(it))
}

/// The word that a statement begins with.
fn first_word(statement: &str) -> &str {
    let mut rest = statement;
    loop {
        rest = rest.trim_start_matches(|it: char| it.is_whitespace() || it == ';');
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment
                .split_once(['\n', '\r'])
                .map_or("", |(_, rest)| rest)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            after_comment(comment)
        } else {
            break;
        };
    }
    let is_of_word = |it: char| it.is_alphanumeric() || matches!(it, '_' | '$');
    rest.split(|it| !is_of_word(it)).next().unwrap_or_default()
}

/// What comes after a comment, in which others may be.
fn after_comment(mut comment: &str) -> &str {
    let mut depth = 1;
    while depth > 0 {
        let Some(at) = comment.find(['/', '*']) else {
            return "";
        };
        comment = &comment[at..];
        let taken = match comment.as_bytes() {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        comment = &comment[taken..];
    }
    comment
}

/// Asks one database.
struct Asks {
    pool: Arc<Pool>,
    binding: String,
}

impl Asks {
    /// Runs a statement by itself. A connection that waited may have been closed meanwhile: then nothing was done, and another
    /// is tried.
    async fn run(
        &self,
        own: &Own,
        want: Want,
        statement: &str,
        body: &[u8],
    ) -> Result<Got, Failure> {
        let values = parameters::parse(body)?;
        let mut tries = 1;
        loop {
            let mut lease = self.pool.take_for(own.request()).await?;
            let connection = lease.connection()?;
            let got = connection.run(want, statement, &values, true).await;
            match got {
                Err(failure) if failure.is_unsent_failure() && lease.is_broken() => {
                    if tries == TRIES_MAX {
                        return Err(failure);
                    }
                    tries += 1;
                }
                Ok(got) if is_about_rows(statement) => {
                    own.keep(&self.pool, lease);
                    return Ok(got);
                }
                got => return got,
            }
        }
    }

    async fn begin(&self, all: &Arc<Transactions>, begin: &str) -> Result<Reply, Failure> {
        let _beginning = all.place()?;
        let mut tries = 1;
        let mut lease = loop {
            let mut lease = self.pool.take().await?;
            match lease.connection()?.command(Step::Prepare, begin).await {
                Ok(()) => break lease,
                Err(_) if lease.is_broken() && tries < TRIES_MAX => tries += 1,
                Err(failure) => return Err(failure),
            }
        };
        lease.set_in_transaction(true);
        let number = all.add(&self.binding, lease);
        with_field(Tag::Transaction, &number.to_le_bytes())
    }
}

impl Failure {
    /// Nothing was sent, and it may work again.
    fn is_unsent_failure(&self) -> bool {
        self.kind == CallErrorKind::Failed && self.sent == Sent::No
    }
}

/// What a call does with a transaction. If it is dropped in the middle, the transaction ends: nobody knows where it is.
struct Using<T: std::ops::DerefMut<Target = Transaction>>(T);

impl<T: std::ops::DerefMut<Target = Transaction>> Drop for Using<T> {
    fn drop(&mut self) {
        let _ = self.0.lease();
    }
}

async fn run_within(
    transaction: impl std::ops::DerefMut<Target = Transaction>,
    want: Want,
    statement: &str,
    body: &[u8],
) -> Result<Got, Failure> {
    let values = parameters::parse(body)?;
    let mut using = Using(transaction);
    let connection = using.0.lease()?.connection()?;
    let got = connection.run(want, statement, &values, false).await;
    using.0.has_failed |= got.is_err();
    got
}

/// Commits a transaction, or rolls it back.
async fn end(
    transaction: impl std::ops::DerefMut<Target = Transaction>,
    commits: bool,
) -> Result<(), Failure> {
    let mut using = Using(transaction);
    let has_failed = using.0.has_failed;
    let lease = using.0.lease()?;
    let connection = lease.connection()?;
    if commits {
        // Committing one that has failed rolls it back, and Postgres says so only beside its answer.
        if has_failed && connection.command(Step::Run, "select 1").await.is_err() {
            let message = "the transaction is rolled back: a statement of it failed".into();
            return Err(Failure::new(CallErrorKind::Failed, Sent::Yes, message));
        }
        connection.command(Step::Run, "commit").await?;
    } else {
        connection.command(Step::Run, "rollback").await?;
    }
    lease.set_in_transaction(false);
    // The next one that wants a connection need not wait for the end of this call.
    using.0.lease = None;
    Ok(())
}

fn to_reply(got: Got) -> Result<Reply, Failure> {
    match got {
        Got::Rows(json) => Ok(Reply::ok(json)),
        Got::Changed(rows) => with_field(Tag::Changed, &rows.to_le_bytes()),
    }
}

fn with_field(tag: Tag, value: &[u8]) -> Result<Reply, Failure> {
    let reply = Reply::ok(vec![]).field(tag, value);
    reply.map_err(|error| Failure::new(CallErrorKind::Failed, Sent::Yes, error.to_string()))
}

#[cfg(test)]
mod tests;
