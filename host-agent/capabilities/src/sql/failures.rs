//! What a function is told of what goes wrong: Postgres' own words about its statements, and none of the connection's, in which are
//! hosts and users.

use jiffy_abi::call::{CallErrorKind, Sent};
use tokio_postgres::{Error, error::DbError};

use crate::Failure;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A statement is looked at, or a transaction begun: nothing is changed by it.
    Prepare,
    /// It runs, and may change something.
    Run,
}

/// What the error of a statement is to the function.
pub(super) fn of_statement(error: &Error, step: Step) -> Failure {
    match error.as_db_error() {
        Some(error) => of_database(error, step),
        None => {
            let sent = match step {
                Step::Prepare => Sent::No,
                Step::Run => Sent::Maybe,
            };
            let message = "the connection to the database has ended".into();
            Failure::new(CallErrorKind::Failed, sent, message)
        }
    }
}

/// Whether the error is the end of its connection.
pub(super) fn ends_connection(error: &Error) -> bool {
    error.as_db_error().is_none_or(|error| {
        // In the server's language, unless it is new enough to say it in another way.
        let severity = error.parsed_severity();
        let is_fatal = severity.is_some_and(|severity| {
            use tokio_postgres::error::Severity::{Fatal, Panic};
            matches!(severity, Fatal | Panic)
        });
        is_fatal || is_shutdown(error.code().code())
    })
}

/// The server ends, or has this connection ended: whether a statement was done nobody knows.
fn is_shutdown(state: &str) -> bool {
    state.starts_with("57P")
}

/// What an error says of the statement as it was prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    None,
    /// It may have been prepared for tables that are others now: it is prepared anew the next time.
    Some,
    /// It is no longer what it was: tables have changed, or the function took it away. It did not run.
    Stale,
}

/// See [`Doubt`].
pub(super) fn doubt(error: &Error) -> Doubt {
    error
        .as_db_error()
        .map_or(Doubt::None, |error| match error.code().code() {
            "26000" => Doubt::Stale,
            _ if is_plan_stale(error) => Doubt::Stale,
            state if state.starts_with("22") || state.starts_with("42") => Doubt::Some,
            _ => Doubt::None,
        })
}

/// Of all that is not supported, a plan that is kept and no longer fits.
fn is_plan_stale(error: &DbError) -> bool {
    error.code().code() == "0A000" && error.routine() == Some("RevalidateCachedQuery")
}

/// SQLSTATE as a server gives it, if it is one: it could be anything, of any length.
fn known_state(state: &str) -> &str {
    let is_one = |it: u8| it.is_ascii_digit() || it.is_ascii_uppercase();
    match state.len() == 5 && state.bytes().all(is_one) {
        true => state,
        false => "?????",
    }
}

fn of_database(error: &DbError, step: Step) -> Failure {
    let state = known_state(error.code().code());
    let kind = match state {
        // Only within a transaction: elsewhere it is repeated. What ran of it is rolled back.
        _ if is_plan_stale(error) => CallErrorKind::Conflict,
        // A key that is there already, and transactions that got in one another's way.
        "23505" | "23P01" | "40001" | "40P01" => CallErrorKind::Conflict,
        "42501" => CallErrorKind::Denied,
        "57014" => CallErrorKind::Timeout,
        _ if state.starts_with("22") || state.starts_with("42") => CallErrorKind::Invalid,
        _ => CallErrorKind::Failed,
    };
    let sent = match step {
        Step::Prepare => Sent::No,
        Step::Run if is_shutdown(state) => Sent::Maybe,
        Step::Run => Sent::Yes,
    };
    let message = match parameter(error) {
        Some(number) => format!(
            "SQLSTATE {state}: invalid parameter ${number}: must be a value of its type, as Postgres writes it"
        ),
        None => format!("SQLSTATE {state}: {}", error.message()),
    };
    Failure::new(kind, sent, message)
}

/// The parameter whose text Postgres could not read. Its message then has the whole value.
fn parameter(error: &DbError) -> Option<u32> {
    let context = error.where_()?.strip_prefix("unnamed portal parameter $")?;
    let digits = context.split(|it: char| !it.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// What an error of connecting is to the function.
pub(super) fn of_connecting(error: &Error) -> Failure {
    let state = error.code().map(|state| known_state(state.code()));
    let why = match state {
        Some("28P01" | "28000") => "it refuses the user or the password of the URL",
        Some("3D000") => "it does not have the database of the URL",
        Some("53300") => "it has too many connections",
        Some("57P03") => "it is starting up or shutting down",
        Some(_) => "it refuses the connection",
        None if is_caused_by(error, "password missing") => {
            "the URL has no password, and it wants one"
        }
        None if is_caused_by(error, "server did not use channel binding") => {
            "it binds the password to no certificate, and the URL requires it"
        }
        None => "it does not speak as Postgres does, or ends the connection",
    };
    // The rest of it names hosts and users.
    tracing::info!(state, "a database refuses a function");
    let state = state.map_or(String::new(), |state| format!("SQLSTATE {state}: "));
    let message = format!("cannot connect to the database: {state}{why}");
    Failure::new(CallErrorKind::Failed, Sent::No, message)
}

fn is_caused_by(error: &Error, cause: &str) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.to_string() == cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_an_sqlstate_is_told() {
        for (state, told) in [
            ("42P01", "42P01"),
            ("", "?????"),
            ("42P0", "?????"),
            ("42P011", "?????"),
            ("42p01", "?????"),
            ("42P0\n", "?????"),
            ("42Pä", "?????"),
        ] {
            assert_eq!(known_state(state), told);
        }
    }
}
