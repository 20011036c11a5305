//! Redis databases, over connections that the host keeps.
//!
//! A function has those that its `jiffy.toml` names. Where one is, and as whom one speaks with it, is a secret of the host's, which the
//! function never sees: `redis://USER:PASSWORD@HOST:PORT/DB`, or `rediss://` with TLS.
//!
//! ```toml
//! [redis.cache]
//! url-secret = "cache_url"
//! ```
//!
//! ```
//! use jiffy::redis::{self, Value};
//!
//! #[jiffy::function]
//! pub fn visit(who: &str) -> Result<i64, jiffy::Error> {
//!     let cache = redis::open("cache")?;
//!     let key = format!("visits:{who}");
//!     if cache.command(("GET", "closed"))?.is_nil() {
//!         let all = cache.atomic().then(("INCR", &key)).then(("EXPIRE", &key, 3600)).send()?;
//!         return Ok(all[0].int()?);
//!     }
//!     Err(jiffy::Error::msg("closed"))
//! }
//!
//! # fn main() {
//! let answer = |command: &[&str]| match command {
//!     ["GET", "closed"] => Value::Nil,
//!     ["INCR", "visits:ada"] => Value::Int(42),
//!     ["EXPIRE", "visits:ada", "3600"] => Value::Int(1),
//!     other => panic!("{other:?}"),
//! };
//! let call = jiffy::testing::call!().redis("cache", answer).event(r#""ada""#);
//! assert_eq!(call.run().text(), "42");
//! # }
//! ```
//!
//! A command is a tuple of up to twelve texts, bytes and numbers, with slices and vectors of them among them: see [`Arguments`].
//! The commands of data may be sent; those that change the connection, wait for others or administer the server are
//! [`Denied`](crate::call::CallErrorKind::Denied), and so is what the server's access list refuses. An error of the server is
//! [`Failed`](crate::call::CallErrorKind::Failed), with its text, such as `GET: WRONGTYPE …`. A command has up to 1,024 arguments and
//! 1 MiB, an atomic 100 commands, a reply 4 MiB.
//!
//! Connections are the host's, and each call may get another one: nothing that a command says of its connection would hold for the next.

mod arguments;
mod value;

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use jiffy_abi::{
    call::{OPERATION_REDIS_ATOMIC, OPERATION_REDIS_COMMAND, ReplyHead, SERVICE_REDIS},
    redis::ATOMIC_COMMANDS_MAX,
};

pub use self::{
    arguments::{Arguments, Command, Json},
    value::Value,
};
use crate::call::{Call, CallError, Join, Pending, checked_name};

/// Opens a database by its name. Nothing is asked yet: whether the function may use it, the first call says.
pub fn open(name: &str) -> Result<Redis, CallError> {
    let name = checked_name("Redis database", name)?;
    Ok(Redis { name })
}

/// A Redis database.
#[derive(Clone, Debug)]
pub struct Redis {
    name: String,
}

impl Redis {
    /// Sends a command, such as `("SET", "k", &value, "EX", 60)`, and waits for the reply.
    pub fn command(&self, arguments: impl Arguments) -> Result<Value, CallError> {
        self.command_call(arguments).send()
    }

    /// The same as a call, which can be joined with others and given a timeout.
    pub fn command_call(&self, arguments: impl Arguments) -> Call<Value> {
        let call = Call::new(SERVICE_REDIS, OPERATION_REDIS_COMMAND, value).bound(&self.name);
        let mut body = Vec::new();
        match Command::new(&arguments).write(&mut body) {
            Ok(()) => call.carrying(body),
            Err(why) => call.refused(&why),
        }
    }

    /// Begins commands that are made together, with nobody's between them: those of a transaction (`MULTI`, `EXEC`).
    pub fn atomic(&self) -> Atomic {
        Atomic {
            call: Call::new(SERVICE_REDIS, OPERATION_REDIS_ATOMIC, values).bound(&self.name),
            commands: Vec::new(),
            count: 0,
        }
    }
}

fn value(_: &ReplyHead<'_>, _: &[u8], body: &[u8]) -> Option<Value> {
    Value::decode(body)
}

fn values(_: &ReplyHead<'_>, _: &[u8], body: &[u8]) -> Option<Vec<Value>> {
    match Value::decode(body)? {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// Commands that are made together, with nobody's between them; none of them sees what another one of them replies.
///
/// Redis takes nothing back: if a command fails when it is made, such as an `INCR` of a list, the others are made all the same, and
/// the error names the one that failed. If one is not a command at all, none is made.
///
/// ```
/// # use jiffy::{call::CallError, redis::Redis};
/// fn take_one(cache: &Redis, queue: &str) -> Result<Option<String>, CallError> {
///     let all = cache.atomic().then(("LPOP", queue)).then(("LLEN", queue)).send()?;
///     jiffy::log!("{} are left", all[1].int()?);
///     all[0].option().map(|it| it.text().map(String::from)).transpose()
/// }
/// # fn main() {}
/// ```
#[must_use = "commands are made when they are sent or started"]
#[derive(Debug)]
pub struct Atomic {
    call: Call<Vec<Value>>,
    commands: Vec<u8>,
    count: usize,
}

impl Atomic {
    /// Adds a command.
    pub fn then(mut self, arguments: impl Arguments) -> Self {
        self.count += 1;
        let written = match self.count {
            ..=ATOMIC_COMMANDS_MAX => Command::new(&arguments).write(&mut self.commands),
            _ => Err(format!(
                "too many commands: must be at most {ATOMIC_COMMANDS_MAX}"
            )),
        };
        match written {
            Ok(()) => self,
            Err(why) => Self {
                call: self.call.refused(&why),
                ..self
            },
        }
    }

    /// What it may take; see [`Call::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        Self {
            call: self.call.timeout(timeout),
            ..self
        }
    }

    /// Has the commands made and waits: the reply to each.
    pub fn send(self) -> Result<Vec<Value>, CallError> {
        self.start().wait()
    }

    /// Starts the call, which goes out at the next wait for any.
    pub fn start(self) -> Pending<Vec<Value>> {
        self.call.carrying(self.commands).start()
    }
}

impl Join for Atomic {
    type Started = Pending<Vec<Value>>;
    type Output = Vec<Value>;

    fn start(self) -> Self::Started {
        Self::start(self)
    }

    fn wait(started: Self::Started) -> Result<Vec<Value>, CallError> {
        started.wait()
    }
}

#[cfg(all(test, not(jiffy_guest)))]
mod tests;
