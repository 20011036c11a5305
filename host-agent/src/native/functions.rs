//! Functions, versions, aliases, rollback, reserved concurrency.

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use hyper::body::Body as _;
use jiffy_model::{
    Deploy, Outcome, SettingsChanges,
    documents::{
        AliasDocument, AliasList, Concurrency, Deployed, Description, FunctionDocument,
        FunctionList, RollBack, VersionDocument, VersionList,
    },
};
use serde::Deserialize;

use super::{LIST_LEN_DEFAULT, LIST_LEN_MAX, views::version_document};
use crate::{
    http::{
        backend::Backend,
        input::{Parameters, Segments, document},
        problem::{Problem, init_log},
    },
    model::{AliasName, CONCURRENCY_MAX, FunctionId, Version, VersionNumber},
    vm::Vms,
};

/// Which part of a list is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page<T> {
    after: Option<T>,
    limit: Option<usize>,
}

impl<T> Page<T> {
    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(LIST_LEN_DEFAULT);
        if (1..=LIST_LEN_MAX).contains(&limit) {
            Ok(limit)
        } else {
            let detail = format!("invalid limit {limit}: must be 1 to {LIST_LEN_MAX}");
            Err(Problem::new(Outcome::InvalidRequest, detail))
        }
    }
}

/// What `after` has to be for the rest of the list; `None` at its end.
fn next<T, N>(page: &[T], limit: usize, name: impl Fn(&T) -> N) -> Option<N> {
    page.last().filter(|_| page.len() == limit).map(name)
}

/// `GET /v1/functions`
pub(super) async fn list<V: Vms>(
    State(backend): State<Backend<V>>,
    Parameters(page): Parameters<Page<FunctionId>>,
) -> Result<Json<FunctionList>, Problem> {
    let limit = page.limit()?;
    let functions = backend.catalog().functions(page.after.as_ref(), limit);
    Ok(Json(FunctionList {
        next: next(&functions, limit, |function| function.name.name()),
        functions: functions.into_iter().map(FunctionDocument::from).collect(),
    }))
}

/// What a client sees of a version: without the values of its environment, unless it had to show a token.
fn view<V: Vms>(
    backend: &Backend<V>,
    function: &FunctionId,
    mut version: Version,
) -> VersionDocument {
    let snapshot = backend.service.prepare.snapshot(function, &version);
    if !backend.service.config().shows_environment() {
        version.settings = version.settings.without_values();
    }
    version_document(function, version, snapshot)
}

/// `GET /v1/functions/{name}`
pub(super) async fn describe<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<FunctionId>,
) -> Result<Json<Description>, Problem> {
    let function = backend.catalog().function(&name)?;
    let live = backend.catalog().version(&name, function.live)?;
    Ok(Json(Description {
        function: function.into(),
        live_version: view(&backend, &name, live),
    }))
}

/// `PUT /v1/functions/{name}`
pub(super) async fn deploy<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<FunctionId>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let wanted: Deploy = document(&parts.headers, body, backend.intake()).await?;
    let (image, publish) = (wanted.image, wanted.publish.unwrap_or(true));
    let deploy = backend
        .service
        .deploy_over(&name, image, publish, |live| wanted.over(live));
    let outcome = deploy.await?;
    let before = outcome.before.as_ref();
    let changes = before.map(|before| SettingsChanges::between(before, &outcome.version.settings));
    let status = if outcome.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let deployed = Deployed {
        version: view(&backend, &name, outcome.version),
        changes,
        logs: outcome.logs.into_iter().map(init_log).collect(),
    };
    Ok((status, Json(deployed)).into_response())
}

/// `DELETE /v1/functions/{name}`
pub(super) async fn remove<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<FunctionId>,
) -> Result<StatusCode, Problem> {
    backend.catalog().delete_function(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/functions/{name}/versions`
pub(super) async fn list_versions<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<FunctionId>,
    Parameters(page): Parameters<Page<VersionNumber>>,
) -> Result<Json<VersionList>, Problem> {
    let limit = page.limit()?;
    let versions = backend.catalog().versions(&name, page.after, limit)?;
    let next = next(&versions, limit, |version| version.number);
    let view = |version| view(&backend, &name, version);
    Ok(Json(VersionList {
        versions: versions.into_iter().map(view).collect(),
        next,
    }))
}

/// `GET /v1/functions/{name}/versions/{version}`
pub(super) async fn describe_version<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments((name, version)): Segments<(FunctionId, VersionNumber)>,
) -> Result<Json<VersionDocument>, Problem> {
    let version = backend.catalog().version(&name, version)?;
    Ok(Json(view(&backend, &name, version)))
}

/// `DELETE /v1/functions/{name}/versions/{version}`
pub(super) async fn remove_version<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments((name, version)): Segments<(FunctionId, VersionNumber)>,
) -> Result<StatusCode, Problem> {
    backend
        .catalog()
        .delete_version(&name, version, false)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/functions/{name}/aliases`
pub(super) async fn list_aliases<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<FunctionId>,
) -> Result<Json<AliasList>, Problem> {
    let aliases = backend.catalog().function(&name)?.aliases.into_iter();
    Ok(Json(AliasList {
        aliases: aliases.map(|(name, to)| (name, to.into())).collect(),
    }))
}

/// `GET /v1/functions/{name}/aliases/{alias}`
pub(super) async fn describe_alias<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments((name, alias)): Segments<(FunctionId, AliasName)>,
) -> Result<Json<AliasDocument>, Problem> {
    let found = backend.catalog().function(&name)?.aliases.remove(&alias);
    found.map(|to| Json(to.into())).ok_or_else(|| {
        let detail = format!("no alias {alias} of {name}: must be one that was set");
        Problem::new(Outcome::NotFound, detail)
    })
}

/// `PUT /v1/functions/{name}/aliases/{alias}`
pub(super) async fn put_alias<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments((name, alias)): Segments<(FunctionId, AliasName)>,
    request: Request,
) -> Result<Json<AliasDocument>, Problem> {
    alias.check_not_live()?;
    let (parts, body) = request.into_parts();
    let to: AliasDocument = document(&parts.headers, body, backend.intake()).await?;
    let mut function = backend
        .catalog()
        .put_alias(&name, &alias, to.into())
        .await?;
    let put = function.aliases.remove(&alias);
    put.map(|to| Json(to.into()))
        .ok_or_else(|| Problem::new(Outcome::Conflict, "the alias was removed meanwhile"))
}

/// `DELETE /v1/functions/{name}/aliases/{alias}`
pub(super) async fn remove_alias<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments((name, alias)): Segments<(FunctionId, AliasName)>,
) -> Result<StatusCode, Problem> {
    backend.catalog().remove_alias(&name, &alias).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/functions/{name}/rollback`
pub(super) async fn roll_back<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<FunctionId>,
    request: Request,
) -> Result<Json<FunctionDocument>, Problem> {
    let (parts, body) = request.into_parts();
    let wanted = if body.is_end_stream() {
        RollBack::default()
    } else {
        document(&parts.headers, body, backend.intake()).await?
    };
    let function = backend.service.rollback(&name, wanted.version).await?;
    Ok(Json(function.into()))
}

/// `PUT /v1/functions/{name}/concurrency`
pub(super) async fn put_concurrency<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<FunctionId>,
    request: Request,
) -> Result<Json<Concurrency>, Problem> {
    let (parts, body) = request.into_parts();
    let wanted: Concurrency = document(&parts.headers, body, backend.intake()).await?;
    let reserved = wanted.reserved;
    if reserved > CONCURRENCY_MAX {
        let detail = format!("invalid reserved {reserved}: must be 0 to {CONCURRENCY_MAX}");
        return Err(Problem::new(Outcome::InvalidRequest, detail));
    }
    let set = backend
        .catalog()
        .set_reserved_concurrency(&name, Some(reserved));
    set.await?;
    Ok(Json(wanted))
}

/// `DELETE /v1/functions/{name}/concurrency`
pub(super) async fn remove_concurrency<V: Vms>(
    State(backend): State<Backend<V>>,
    Segments(name): Segments<FunctionId>,
) -> Result<StatusCode, Problem> {
    backend
        .catalog()
        .set_reserved_concurrency(&name, None)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
