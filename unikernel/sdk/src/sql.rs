//! SQL databases, asked through the host, which keeps the connections: Postgres. Where a database is and as whom it is asked is a
//! secret that the function does not have:
//!
//! ```toml
//! [sql.orders]
//! url-secret = "orders_url"   # postgres://USER:PASSWORD@HOST:PORT/DATABASE
//! ```
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, Serialize)]
//! pub struct Order {
//!     id: i64,
//!     total: String,
//! }
//!
//! #[jiffy::function]
//! pub fn orders(customer: i64) -> Result<Vec<Order>, jiffy::Error> {
//!     let db = jiffy::sql::open("orders")?;
//!     db.execute("update customers set seen = now() where id = $1", (customer,))?;
//!     Ok(db.query("select id, total from orders where customer = $1", (customer,))?)
//! }
//!
//! # fn main() {
//! let call = jiffy::testing::call!().event("7").sql("orders", |sql, parameters| {
//!     assert_eq!(parameters[0], 7);
//!     Ok(match sql {
//!         select if select.starts_with("select") => vec![Order { id: 1, total: "9.50".into() }],
//!         _ => vec![],
//!     })
//! });
//! assert_eq!(call.run().text(), r#"[{"id":1,"total":"9.50"}]"#);
//! # }
//! ```
//!
//! A value is never written into a statement: `$1`, `$2` and so on stand for parameters, which are a tuple of whatever can be
//! serialized, `()` for none. Each is read by Postgres as the type that the statement wants there: numbers and booleans as they are, all
//! else from text, `bytea` also from bytes, `json` from any value, arrays from vectors, null from `None`.
//! A row is read into a struct by the names of its columns: numbers as numbers, `numeric` and uuids as text, times as text of RFC 3339, `bytea` as
//! `\x…` text, `json` as itself, arrays as vectors, null as `None`. Types that are not known are `Invalid`; `column::text` is text.
//!
//! A statement by itself is a transaction of its own. What is set in a session (`set`, temporary tables) is gone with the statement:
//! use `set local` within a transaction. A reply has at most 10,000 rows and 4 MiB of them, so say `limit`.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use jiffy_abi::{
    call::{
        OPERATION_SQL_BEGIN, OPERATION_SQL_COMMIT, OPERATION_SQL_EXECUTE, OPERATION_SQL_QUERY,
        OPERATION_SQL_ROLLBACK, ReplyHead, SERVICE_SQL,
    },
    frame::{Fields, Tag},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::call::{Call, CallError, CallErrorKind, Decode, Sent};

const NAME_CHARS_MAX: usize = 64;

/// Opens a database by its name. Nothing is asked yet: whether the function may use it, the first call says.
pub fn open(name: &str) -> Result<Database, CallError> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_of_name) {
        true => Ok(Database { name: name.into() }),
        false => Err(CallError::new(
            CallErrorKind::Invalid,
            Sent::No,
            &format!(
                "invalid database name {name:?}: must be 1 to {NAME_CHARS_MAX} letters, digits, hyphens and underscores"
            ),
        )),
    }
}

/// A database.
#[derive(Clone, Debug)]
pub struct Database {
    name: String,
}

/// A transaction that is open: what is asked through it is of it.
#[derive(Debug)]
pub struct Transaction {
    name: String,
    number: u32,
}

/// How much a transaction sees of those beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what is committed when it begins.
    #[default]
    ReadCommitted = 1,
    /// All statements see the same.
    RepeatableRead = 2,
    /// As if one were behind the other. One that does not fit is a [`Conflict`](CallErrorKind::Conflict), and can be tried again.
    Serializable = 3,
}

/// What can be asked of a database by itself and within a transaction.
macro_rules! asks {
    ($(#[$doc:meta])* $of:ident, $transaction:expr) => {
        $(#[$doc])*
        impl $of {
            /// Runs a statement and waits for its rows, each as a `T`.
            pub fn query<T: DeserializeOwned>(
                &self,
                sql: &str,
                parameters: impl Serialize,
            ) -> Result<Vec<T>, CallError> {
                self.query_call(sql, parameters).send()
            }

            /// Runs a statement and waits: how many rows it has changed.
            pub fn execute(&self, sql: &str, parameters: impl Serialize) -> Result<u64, CallError> {
                self.execute_call(sql, parameters).send()
            }

            /// [`query`](Self::query) as a call, to be joined with others.
            pub fn query_call<T: DeserializeOwned>(
                &self,
                sql: &str,
                parameters: impl Serialize,
            ) -> Call<Vec<T>> {
                let decode = |_: &ReplyHead<'_>, _: &[u8], body: &[u8]| rows(body).ok();
                let transaction: fn(&Self) -> Option<u32> = $transaction;
                run(&self.name, transaction(self), OPERATION_SQL_QUERY, decode, sql, parameters)
                    .explained(|body| misfit::<T>(body))
            }

            /// [`execute`](Self::execute) as a call, to be joined with others.
            pub fn execute_call(&self, sql: &str, parameters: impl Serialize) -> Call<u64> {
                let transaction: fn(&Self) -> Option<u32> = $transaction;
                run(&self.name, transaction(self), OPERATION_SQL_EXECUTE, changed, sql, parameters)
            }
        }
    };
}

asks!(
    /// What is asked, each in a transaction of its own.
    Database, |_| None
);
asks!(
    /// What is asked, in this transaction. Its calls are made one after the other, also those that are joined.
    Transaction, |it| Some(it.number)
);

impl Database {
    /// Begins a transaction and does `work` in it: committed if that is `Ok`, rolled back if it is `Err`, and also if the request ends
    /// in between. A request may have 4 of them open at once; each holds one of the 16 connections that a function has to a database.
    ///
    /// ```
    /// # use jiffy::{call::CallError, sql::Database};
    /// fn pay(db: &Database, from: i64, to: i64, cents: i64) -> Result<u64, CallError> {
    ///     db.transaction(|tx| {
    ///         tx.execute("update accounts set cents = cents - $2 where id = $1", (from, cents))?;
    ///         tx.execute("update accounts set cents = cents + $2 where id = $1", (to, cents))
    ///     })
    /// }
    /// # fn main() {}
    /// ```
    pub fn transaction<T, E: From<CallError>>(
        &self,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.within(self.begin(), work)
    }

    /// The same, isolated so.
    pub fn transaction_with<T, E: From<CallError>>(
        &self,
        isolation: Isolation,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let begin = self.begin().field(Tag::Isolation, &[isolation as u8]);
        self.within(begin, work)
    }

    /// Does `work` in a transaction that changes nothing, and whose statements all see the same.
    pub fn read_only<T, E: From<CallError>>(
        &self,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let isolation = Isolation::RepeatableRead as u8;
        let begin = self.begin().field(Tag::Isolation, &[isolation]);
        self.within(begin.field(Tag::ReadOnly, &[1]), work)
    }

    fn begin(&self) -> Call<u32> {
        Call::new(SERVICE_SQL, OPERATION_SQL_BEGIN, |_, head, _| {
            let number = field(head, Tag::Transaction)?.try_into().ok()?;
            Some(u32::from_le_bytes(number))
        })
        .bound(&self.name)
    }

    fn within<T, E: From<CallError>>(
        &self,
        begin: Call<u32>,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = Transaction {
            name: self.name.clone(),
            number: begin.send()?,
        };
        match work(&transaction) {
            Ok(done) => {
                transaction.end(OPERATION_SQL_COMMIT)?;
                Ok(done)
            }
            Err(error) => {
                // If it cannot be, it is when the request ends.
                let _ = transaction.end(OPERATION_SQL_ROLLBACK);
                Err(error)
            }
        }
    }
}

impl Transaction {
    fn end(&self, operation: u16) -> Result<(), CallError> {
        Call::new(SERVICE_SQL, operation, |_, _, _| Some(()))
            .bound(&self.name)
            .field(Tag::Transaction, &self.number.to_le_bytes())
            .send()
    }
}

fn run<T>(
    name: &str,
    transaction: Option<u32>,
    operation: u16,
    decode: Decode<T>,
    sql: &str,
    parameters: impl Serialize,
) -> Call<T> {
    let mut call = Call::new(SERVICE_SQL, operation, decode)
        .bound(name)
        .field(Tag::Statement, sql.as_bytes());
    if let Some(number) = transaction {
        call = call.field(Tag::Transaction, &number.to_le_bytes());
    }
    match serde_json::to_vec(&parameters) {
        Ok(none) if none == b"null" => call,
        Ok(all) if all.starts_with(b"[") => call.carrying(all),
        Ok(_) => call.refused("parameters must be a tuple, such as (&id,), or a list"),
        Err(error) => call.refused(&error.to_string()),
    }
}

fn rows<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    serde_json::from_slice(body)
}

/// Why rows are no `T`s.
fn misfit<T: DeserializeOwned>(body: &[u8]) -> CallError {
    let why = match rows::<T>(body) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let message = format!("the rows are not what the function takes: {why}");
    CallError::new(CallErrorKind::Failed, Sent::Yes, &message)
}

fn changed(_: &ReplyHead<'_>, head: &[u8], _: &[u8]) -> Option<u64> {
    let changed = field(head, Tag::Changed)?.try_into().ok()?;
    Some(u64::from_le_bytes(changed))
}

fn field(head: &[u8], wanted: Tag) -> Option<&[u8]> {
    let mut fields = Fields::new(head).flatten();
    fields.find_map(|(tag, value)| (tag == wanted).then_some(value))
}

#[cfg(all(test, not(jiffy_guest)))]
mod tests;
