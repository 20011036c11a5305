//! Sends commands to the Redis databases that a version names: `jiffy::redis::open`.
//!
//! ```text
//! call ─ wanted: taken apart, each command looked at ─ pool: a connection that waits ────────────────────┬─ commands ─ replies
//!                     └─ connect: the secret with the URL → egress → addresses, each checked → TCP, TLS → AUTH, SELECT ─┘
//! ```
//!
//! The crate `redis` is not used: it reads replies of any size, and what its connections read, before anybody looks at it. Little
//! is left without it: both ends of a call speak RESP already, so commands and replies are looked at and passed on as they are.

mod connection;
mod pool;
mod url;

use std::{
    collections::BTreeMap,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use jiffy_abi::{
    call::{CallErrorKind, OPERATION_REDIS_ATOMIC, OPERATION_REDIS_COMMAND, SERVICE_REDIS, Sent},
    redis::{ATOMIC_COMMANDS_MAX, Commands, Scan, Token, commands, token},
};
use jiffy_client::{CallContext, CallFuture};
use jiffy_control::{Call, Reply};
use jiffy_model::{BindingName, TenantName};
use jiffy_secrets::Secrets;
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::timeout};

use self::{
    connection::{
        Connection, NoReplies, Replies, SMALL_REPLIES_BYTES_MAX, code, replies_bytes_max,
    },
    pool::{IDLE_MAX, IDLE_PER_VERSION_MAX, Pool},
    url::Url,
};
use crate::{
    Capability, Config, Failure, Operations, Prepared, Version,
    net::{CONNECTIONS_PER_VERSION_MAX, Connector, Driver, Net, Room},
    reads::Reads,
    reply, secrets, unknown_operation,
};

/// Bytes of all replies together, while they are read; and of those to one version.
const ROOM_BYTES_MAX: usize = 128 << 20;
const ROOM_PER_VERSION_BYTES_MAX: usize = 32 << 20;
/// What a server may take to take a connection that stands.
const GREETING_TIME_MAX: Duration = Duration::from_secs(10);
/// Why a database cannot be reached is in the log so often at most, for each.
const TOLD_EVERY: Duration = Duration::from_secs(10);

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// For all functions.
#[derive(Debug)]
pub(crate) struct Redis {
    connector: Arc<Connector>,
    secrets: Arc<Secrets>,
    reads: Reads,
    /// Places for connections that wait.
    places: Arc<Semaphore>,
    /// Bytes that all replies may have yet.
    room: Arc<Semaphore>,
    driver: Driver,
}

/// For one version.
#[derive(Debug)]
pub(crate) struct RedisOf {
    databases: BTreeMap<BindingName, Arc<Database>>,
    driver: Driver,
}

/// What all databases of a version share.
#[derive(Debug)]
struct Client {
    connector: Arc<Connector>,
    secrets: Arc<Secrets>,
    reads: Reads,
    tenant: TenantName,
    /// The function, as the log names it.
    function: String,
    /// Places for connections, so that no version has all there are.
    places: Arc<Semaphore>,
    room: Room,
}

/// One database of a version.
#[derive(Debug)]
struct Database {
    client: Arc<Client>,
    name: BindingName,
    url_secret: BindingName,
    pool: Arc<Pool>,
    /// When the log was last told why it cannot be reached.
    told: Mutex<Option<Instant>>,
}

impl Capability for Redis {
    const SERVICE: u16 = SERVICE_REDIS;
    const NAME: &'static str = "redis";
    const OPERATIONS: Operations = &[
        (OPERATION_REDIS_COMMAND, "command"),
        (OPERATION_REDIS_ATOMIC, "atomic"),
    ];
    type Prepared = RedisOf;

    fn configure(config: &Config, net: &Net) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self {
            connector: Arc::clone(&net.connector),
            secrets: Arc::clone(&config.secrets),
            reads: Reads::default(),
            places: Arc::new(Semaphore::new(IDLE_MAX)),
            room: Arc::new(Semaphore::new(ROOM_BYTES_MAX)),
            driver: net.driver.clone(),
        })
    }

    fn prepare(&self, version: &Version<'_>) -> RedisOf {
        let client = Arc::new(Client {
            connector: Arc::clone(&self.connector),
            secrets: Arc::clone(&self.secrets),
            reads: self.reads.clone(),
            tenant: version.function.tenant(),
            function: version.function.to_string(),
            places: Arc::new(Semaphore::new(CONNECTIONS_PER_VERSION_MAX)),
            room: Room {
                own: Semaphore::new(ROOM_PER_VERSION_BYTES_MAX),
                all: Arc::clone(&self.room),
            },
        });
        let own_places = Arc::new(Semaphore::new(IDLE_PER_VERSION_MAX));
        let databases = version.grants.redis.iter().map(|(name, grant)| {
            let database = Database {
                client: Arc::clone(&client),
                name: name.clone(),
                url_secret: grant.url_secret.clone(),
                pool: Arc::new(Pool::new(&own_places, &self.places)),
                told: Mutex::new(None),
            };
            (name.clone(), Arc::new(database))
        });
        RedisOf {
            databases: databases.collect(),
            driver: self.driver.clone(),
        }
    }
}

impl Prepared for RedisOf {
    fn call(&self, call: Call, _: &CallContext<'_>) -> CallFuture {
        let Some(database) = self.databases.get(&*call.binding) else {
            let message = format!(
                "invalid Redis database {:?}: must be one that jiffy.toml names, as [redis.NAME]",
                call.binding
            );
            return reply(Reply::error(CallErrorKind::Denied, Sent::No, &message));
        };
        let is_atomic = match call.operation {
            OPERATION_REDIS_COMMAND => false,
            OPERATION_REDIS_ATOMIC => true,
            _ => return reply(unknown_operation(Redis::NAME, &call)),
        };
        let wanted = match Wanted::new(call.body, is_atomic) {
            Ok(wanted) => wanted,
            Err(failure) => return reply(failure.into_reply()),
        };
        let database = Arc::clone(database);
        self.driver.drive(async move {
            let answered = database.answer(&wanted).await;
            answered.map_or_else(Failure::into_reply, Reply::ok)
        })
    }
}

/// Commands that may be sent.
#[derive(Debug)]
struct Wanted {
    /// What is sent: of an atomic, once it has begun, with what ends it.
    bytes: Vec<u8>,
    /// Commands of the function.
    count: usize,
    is_atomic: bool,
}

impl Wanted {
    fn new(mut body: Vec<u8>, is_atomic: bool) -> Result<Self, Failure> {
        let refuse = |kind, message| Err(Failure::new(kind, Sent::No, message));
        let commands_max = match is_atomic {
            true => ATOMIC_COMMANDS_MAX,
            false => 1,
        };
        let mut count = 0;
        for command in Commands::new(&body) {
            count += 1;
            if count > commands_max {
                let message = format!("too many commands: must be at most {commands_max}");
                return refuse(CallErrorKind::Invalid, message);
            }
            let command = match command {
                Ok(command) => command,
                Err(error) if error.is_limit() => {
                    return refuse(CallErrorKind::Invalid, error.to_string());
                }
                Err(error) => {
                    let message =
                        format!("invalid command: {error}; must be written as in RESP version 2");
                    return refuse(CallErrorKind::Invalid, message);
                }
            };
            if let Some(why) = commands::refusal(command.clone()) {
                let message = format!("{} may not be sent: {why}", commands::name(command));
                return refuse(CallErrorKind::Denied, message);
            }
        }
        if count == 0 {
            let message = format!("invalid commands: 0 of them, must be 1 to {commands_max}");
            return refuse(CallErrorKind::Invalid, message);
        }
        if is_atomic {
            body.reserve_exact(EXEC.len());
            body.extend_from_slice(EXEC);
        }
        Ok(Self {
            bytes: body,
            count,
            is_atomic,
        })
    }

    /// What a command is called in a message.
    fn name(&self, index: usize) -> String {
        let command = Commands::new(&self.bytes).nth(index).and_then(Result::ok);
        command.map_or_else(String::new, |it| commands::name(it).to_string())
    }

    const fn replies(&self) -> usize {
        match self.is_atomic {
            true => self.count + 1,
            false => 1,
        }
    }
}

impl Database {
    /// The server's reply to a command, or the array of its replies to several.
    async fn answer(&self, wanted: &Wanted) -> Result<Vec<u8>, Failure> {
        let ended = |_| Failure::new(CallErrorKind::Failed, Sent::No, "the host ends".into());
        let _turn = self.pool.turns.acquire().await.map_err(ended)?;
        // One that waits may have been closed by its server meanwhile: then nothing was sent, and the next is tried.
        while let Some(connection) = self.pool.take() {
            match self.ask(connection, wanted).await {
                Err(NoReplies::NotSent) => {}
                Err(NoReplies::Failed(failure)) => return Err(failure),
                Ok(replies) => return result(wanted, replies),
            }
        }
        let connection = self.connect().await?;
        match self.ask(connection, wanted).await {
            Err(NoReplies::NotSent) => {
                let message = "the server closed the connection at once".into();
                Err(Failure::new(CallErrorKind::Failed, Sent::No, message))
            }
            Err(NoReplies::Failed(failure)) => Err(failure),
            Ok(replies) => result(wanted, replies),
        }
    }

    async fn ask(&self, mut connection: Connection, wanted: &Wanted) -> Result<Replies, NoReplies> {
        if wanted.is_atomic {
            begin(&mut connection).await?;
        }
        let bytes_max = replies_bytes_max(wanted.is_atomic);
        let room = Some(&self.client.room);
        let asked = connection.ask(&wanted.bytes, wanted.replies(), bytes_max, room);
        let replies = asked.await?;
        // One that the server does not know any more, or on which nothing can be changed, is made anew with the next call.
        let is_of_use = (0..wanted.replies()).all(|index| match token(replies.get(index)) {
            Ok(Some((Token::Error(error), _))) => !matches!(code(error), "NOAUTH" | "READONLY"),
            _ => true,
        });
        if is_of_use {
            self.pool.keep(connection);
        }
        Ok(replies)
    }

    /// A new connection. Why there is none is for the log, except what the function's author can do something about.
    async fn connect(&self) -> Result<Connection, Failure> {
        let Client {
            connector,
            secrets,
            reads,
            tenant,
            places,
            ..
        } = &*self.client;
        let (all, of, name) = (Arc::clone(secrets), tenant.clone(), self.url_secret.clone());
        let url = reads.result_of(move || secrets::resolve(&all, &of, &name));
        let url = url.await.unwrap_or_else(|| Err(Failure::ended()))?;
        let url = Url::parse(&url).map_err(|why| {
            let message = format!(
                "the secret {} is no URL of a Redis database: {why}; it must be redis://USER:PASSWORD@HOST:PORT/DB, or rediss:// with TLS, \
                 with %2F for a slash in a password, and so on",
                self.url_secret
            );
            Failure::new(CallErrorKind::Failed, Sent::No, message)
        })?;
        let standing = async {
            connector.egress.check_host(&url.origin.host)?;
            let stream = connector.connect_clear(&url.origin, places).await?;
            match url.is_encrypted {
                true => connector.encrypt(stream, &url.origin, &[]).await,
                false => Ok(stream),
            }
        };
        let stream = standing.await.map_err(|why| self.unreachable(why))?;
        let greeted = timeout(GREETING_TIME_MAX, Connection::new(stream, &url)).await;
        let greeted =
            greeted.unwrap_or_else(|_| Err("it takes the connection and says nothing".into()));
        greeted.map_err(|why| {
            self.tell(&why);
            let message = format!(
                "the server of [redis.{}] does not take the connection: the host's log says why",
                self.name
            );
            Failure::new(CallErrorKind::Failed, Sent::No, message)
        })
    }

    /// What a function is told of a server that cannot be reached: nothing of where it is.
    fn unreachable(&self, why: Failure) -> Failure {
        let name = &self.name;
        let message = match why.kind {
            CallErrorKind::Denied => {
                format!(
                    "this host's operator does not let functions reach the server of [redis.{name}]"
                )
            }
            CallErrorKind::Timeout => {
                format!("connecting to the server of [redis.{name}] took too long")
            }
            CallErrorKind::Limit => return why,
            _ => format!("cannot connect to the server of [redis.{name}]: the host's log says why"),
        };
        self.tell(&why.message);
        Failure::new(why.kind, Sent::No, message)
    }

    /// Tells the log why a server cannot be reached, and not for each call anew.
    fn tell(&self, why: &str) {
        let mut told = self.told.lock();
        if told.is_some_and(|when| when.elapsed() < TOLD_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        let function = &self.client.function;
        tracing::warn!(function, redis = %self.name, why, "a function cannot reach its Redis database");
    }
}

/// Begins what is made together. Not in one piece with it: behind a `MULTI` that is refused, each command would be made at once,
/// and alone.
async fn begin(connection: &mut Connection) -> Result<(), NoReplies> {
    let begun = connection
        .ask(MULTI, 1, SMALL_REPLIES_BYTES_MAX, None)
        .await;
    let failure = match begun {
        Err(NoReplies::NotSent) => return Err(NoReplies::NotSent),
        Err(NoReplies::Failed(failure)) => failure,
        Ok(replies) => match token(replies.get(0)) {
            Ok(Some((Token::Status(_), _))) if connection.is_settled() => return Ok(()),
            Ok(Some((Token::Error(error), _))) => refused("MULTI", error, "; none of them is made"),
            _ => malformed(),
        },
    };
    let sent = Sent::No;
    Err(NoReplies::Failed(Failure { sent, ..failure }))
}

fn malformed() -> Failure {
    let message = "the server's replies are not those to commands that are made together";
    Failure::new(CallErrorKind::Failed, Sent::Yes, message.into())
}

/// What comes of replies.
fn result(wanted: &Wanted, replies: Replies) -> Result<Vec<u8>, Failure> {
    let last = replies.get(wanted.replies() - 1);
    if !wanted.is_atomic {
        return match token(last) {
            Ok(Some((Token::Error(error), _))) => Err(refused(&wanted.name(0), error, "")),
            _ => Ok(replies.into_last()),
        };
    }
    let made = match token(last) {
        Ok(Some((Token::Array(count), used))) if count == wanted.count => Some(&last[used..]),
        Ok(Some((Token::Error(_), _))) => None,
        _ => return Err(malformed()),
    };
    for index in 0..wanted.count {
        match token(replies.get(index)) {
            Ok(Some((Token::Status(_), _))) => {}
            Ok(Some((Token::Error(error), _))) if made.is_none() => {
                let name = format!("command {} ({})", index + 1, wanted.name(index));
                return Err(refused(&name, error, "; none of them is made"));
            }
            _ => return Err(malformed()),
        }
    }
    let Some(mut rest) = made else {
        let error = last.strip_prefix(b"-").unwrap_or(last).trim_ascii_end();
        return Err(refused("EXEC", error, "; none of them is made"));
    };
    for index in 0..wanted.count {
        if let Ok(Some((Token::Error(error), _))) = token(rest) {
            let name = format!("command {} ({})", index + 1, wanted.name(index));
            return Err(refused(&name, error, "; the others are made"));
        }
        let Ok(Some(len)) = Scan::new().advance(rest) else {
            return Err(malformed());
        };
        rest = &rest[len..];
    }
    Ok(replies.into_last())
}

/// An error of the server's, as the function is told of it: nothing of users, hosts and addresses.
fn refused(command: &str, error: &[u8], rest: &str) -> Failure {
    let text = String::from_utf8_lossy(error);
    let (kind, text) = match code(error) {
        "NOPERM" => (
            CallErrorKind::Denied,
            "NOPERM the server's access list does not let the function's user do this".into(),
        ),
        // Of a command in a script, with the user's name.
        _ if text.contains("ACL failure in script") => (
            CallErrorKind::Denied,
            "NOPERM the server's access list does not let the function's user do this".into(),
        ),
        "MOVED" | "ASK" => (
            CallErrorKind::Failed,
            "the key is on another server of a cluster, where no call goes".into(),
        ),
        _ => (CallErrorKind::Failed, text),
    };
    Failure::new(kind, Sent::Yes, format!("{command}: {text}{rest}"))
}

#[cfg(test)]
mod tests;
