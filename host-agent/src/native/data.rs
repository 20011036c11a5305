//! What endpoints of stores and queues share: lists in parts, headers that may be there once, reads that wait for the disk.

use axum::http::{HeaderMap, HeaderName, StatusCode};
use jiffy_model::{BindingName, Outcome, TenantName};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::{LIST_LEN_DEFAULT, LIST_LEN_MAX};
use crate::http::problem::Problem;

pub(super) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Outcome::InvalidRequest, detail)
}

/// How many entries of a list are wanted.
pub(super) fn limit(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(LIST_LEN_DEFAULT);
    match (1..=LIST_LEN_MAX).contains(&limit) {
        true => Ok(limit),
        false => Err(invalid(format!(
            "invalid limit {limit}: must be 1 to {LIST_LEN_MAX}"
        ))),
    }
}

/// Which stores, or which queues, are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    after: Option<BindingName>,
    limit: Option<usize>,
}

/// Those that `find` finds behind a name, so many at most, and the name behind which there may be more.
pub(super) async fn page<T, E>(
    wanted: Wanted,
    find: impl FnOnce(&TenantName, Option<&str>, usize) -> Result<Vec<T>, E> + Send + 'static,
    name: impl Fn(&T) -> &String,
) -> Result<(Vec<T>, Option<String>), Problem>
where
    T: Send + 'static,
    E: Send + 'static,
    Problem: From<E>,
{
    let limit = limit(wanted.limit)?;
    let found = read(move || {
        let after = wanted.after.as_ref().map(AsRef::as_ref);
        find(&TenantName::default(), after, limit)
    });
    let found = found.await?;
    let last = found.last().filter(|_| found.len() == limit);
    let next = last.map(|it| name(it).clone());
    Ok((found, next))
}

/// A header that may be there once.
pub(super) fn one<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Problem> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(invalid(format!(
                "invalid header {name}: must be printable ASCII"
            ))),
        },
        (Some(_), Some(_)) => Err(invalid(format!(
            "invalid header {name}: must be there once"
        ))),
    }
}

/// Reads, on a thread that may wait for the disk.
pub(super) async fn read<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Send + 'static,
    Problem: From<E>,
{
    let read = spawn_blocking(work).await;
    Ok(read.map_err(|error| Problem::new(Outcome::Host, error.to_string()))??)
}

/// The answer to a removal of what existed, or did not.
pub(super) fn removed_or_not_found(
    existed: bool,
    not_found: impl FnOnce() -> String,
) -> Result<StatusCode, Problem> {
    match existed {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(Outcome::NotFound, not_found())),
    }
}
