//! Published versions, and lists of functions and versions in pages.
//!
//! A page that is not the last is full and names the last of its entries as the marker of the next, and no page is empty
//! but that of a list of nothing.

use axum::http::StatusCode;
use jiffy_model::Outcome;
use serde::Serialize;

use super::{
    Answer, Call,
    error::LambdaError,
    json,
    name::{LATEST, Target, number, parameter, version_text},
    shapes::{FunctionConfiguration, PublishVersion, check_revision, code_sha256, latest_revision},
};
use crate::{
    catalog::Publication,
    model::{FunctionId, VersionNumber},
    vm::Vms,
};

/// Entries of a list at most, and unless the client says otherwise: as in Lambda.
pub(super) const LIST_LEN_MAX: usize = 50;
/// The only value of `FunctionVersion` in ListFunctions.
const ALL: &str = "ALL";

/// The part of a list that a client wants.
#[derive(Debug)]
pub(super) struct Page {
    /// Behind the entry that this names.
    pub(super) marker: Option<String>,
    pub(super) len_max: usize,
}

impl Page {
    /// Cuts `entries`, of which there is one more than wanted if there are more. Returns the marker of the next page.
    pub(super) fn cut<T>(
        &self,
        entries: &mut Vec<T>,
        marker: impl FnOnce(&T) -> String,
    ) -> Option<String> {
        if entries.len() <= self.len_max {
            return None;
        }
        entries.truncate(self.len_max);
        entries.last().map(marker)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Functions {
    functions: Vec<FunctionConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    versions: Vec<FunctionConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

/// A function, and one of its published versions or `$LATEST`: how lists of all versions are sorted.
type Place = (FunctionId, Option<VersionNumber>);

impl<V: Vms> Call<'_, V> {
    pub(super) fn page(&self) -> Result<Page, LambdaError> {
        let marker = parameter(&self.parts.uri, "Marker").filter(|marker| !marker.is_empty());
        let len_max = number(&self.parts.uri, "MaxItems")?.unwrap_or(LIST_LEN_MAX);
        if len_max == 0 {
            let message = "MaxItems is 0: must be at least 1";
            return Err(LambdaError::new(Outcome::InvalidRequest, message));
        }
        let len_max = len_max.min(LIST_LEN_MAX);
        Ok(Page { marker, len_max })
    }

    pub(super) fn list_functions(self) -> Answer {
        let page = self.page()?;
        let all = parameter(&self.parts.uri, "FunctionVersion");
        if let Some(other) = all.as_ref().filter(|all| *all != ALL) {
            let message = format!("FunctionVersion is {other:?}: must be {ALL}");
            return Err(LambdaError::new(Outcome::InvalidRequest, message));
        }
        let after = page.marker.as_deref().map(place_of).transpose()?;
        let is_all = all.is_some();
        let mut found = match (all, after) {
            (Some(_), after) => self.places(after, page.len_max + 1)?,
            (None, after) => {
                let after = after.map(|(name, _)| name);
                let functions = self
                    .lambda
                    .backend
                    .service
                    .catalog
                    .functions(after.as_ref(), page.len_max + 1);
                functions
                    .into_iter()
                    .map(|function| (function.name, None))
                    .collect()
            }
        };
        let next_marker = page.cut(&mut found, marker_of);
        // One that is deleted meanwhile is left out.
        let configurations = found.into_iter().filter_map(|(name, version)| {
            let function = self.lambda.backend.service.catalog.function(&name).ok()?;
            let number = version.unwrap_or(function.live);
            let found = self
                .lambda
                .backend
                .service
                .catalog
                .version(&name, number)
                .ok()?;
            let configuration = self.configuration(&function, found, version.is_none());
            Some(match (version, is_all) {
                (None, true) => configuration.asked_for_as(LATEST),
                _ => configuration,
            })
        });
        let document = Functions {
            functions: configurations.collect(),
            next_marker,
        };
        Ok(json(StatusCode::OK, &document))
    }

    /// Up to `limit` versions of all functions behind `after`.
    fn places(&self, after: Option<Place>, limit: usize) -> Result<Vec<Place>, LambdaError> {
        let service = &self.lambda.backend.service;
        let mut places = vec![];
        let mut name_before = None;
        if let Some((name, version)) = after {
            if let Ok(numbers) = self.published(&name, version, limit) {
                places.extend(
                    numbers
                        .into_iter()
                        .map(|number| (name.clone(), Some(number))),
                );
            }
            name_before = Some(name);
        }
        while places.len() < limit {
            let functions = service
                .catalog
                .functions(name_before.as_ref(), LIST_LEN_MAX);
            let Some(last) = functions.last() else {
                break;
            };
            name_before = Some(last.name.clone());
            for function in &functions {
                places.push((function.name.clone(), None));
                let Ok(numbers) = self.published(&function.name, None, limit) else {
                    continue;
                };
                places.extend(
                    numbers
                        .into_iter()
                        .map(|number| (function.name.clone(), Some(number))),
                );
            }
        }
        places.truncate(limit);
        Ok(places)
    }

    /// Up to `limit` published versions of a function behind `after`.
    fn published(
        &self,
        name: &FunctionId,
        after: Option<VersionNumber>,
        limit: usize,
    ) -> Result<Vec<VersionNumber>, LambdaError> {
        // The one that is not published comes last.
        let mut versions = self
            .lambda
            .backend
            .service
            .catalog
            .versions(name, after, limit)?;
        versions.retain(|version| version.published);
        Ok(versions.iter().map(|version| version.number).collect())
    }

    pub(super) async fn publish_version(self, name: &str) -> Answer {
        let wanted: PublishVersion = self.document()?;
        let name = Target::unqualified(name)?;
        let service = &self.lambda.backend.service;
        let function = service.catalog.function(&name)?;
        check_revision(wanted.revision_id.as_deref(), &latest_revision(&function))?;
        let live = service.catalog.version(&name, function.live)?;
        let code = code_sha256(&live);
        if let Some(wanted) = wanted.code_sha256.filter(|wanted| !wanted.is_empty())
            && wanted != code
        {
            let message = format!("CodeSha256 is {wanted}, but that of {LATEST} is {code}");
            return Err(LambdaError::new(Outcome::InvalidRequest, message));
        }
        let publication = Publication {
            description: wanted.description.filter(|text| !text.is_empty()),
            expected_changes: Some(function.changes),
        };
        let published = service.catalog.publish(&name, publication).await?;
        let published = self.configuration(&published.function, published.version, false);
        Ok(json(StatusCode::CREATED, &published))
    }

    pub(super) fn list_versions(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let service = &self.lambda.backend.service;
        let function = service.catalog.function(&name)?;
        let page = self.page()?;
        let mut found: Vec<Option<VersionNumber>> = vec![];
        let after = match page.marker.as_deref() {
            None => {
                found.push(None);
                None
            }
            Some(LATEST) => None,
            Some(number) => Some(number.parse()?),
        };
        found.extend(
            self.published(&name, after, page.len_max + 1)?
                .into_iter()
                .map(Some),
        );
        let next_marker = page.cut(&mut found, |version| version_text(*version));
        let versions = found.into_iter().filter_map(|version| {
            let number = version.unwrap_or(function.live);
            let found = service.catalog.version(&name, number).ok()?;
            let configuration = self.configuration(&function, found, version.is_none());
            Some(match version {
                None => configuration.asked_for_as(LATEST),
                Some(_) => configuration,
            })
        });
        let document = Versions {
            versions: versions.collect(),
            next_marker,
        };
        Ok(json(StatusCode::OK, &document))
    }
}

fn marker_of((name, version): &Place) -> String {
    match version {
        None => name.to_string(),
        Some(version) => format!("{name}:{version}"),
    }
}

fn place_of(marker: &str) -> Result<Place, LambdaError> {
    let (name, version) = match marker.split_once(':') {
        Some((name, version)) => (name, Some(version.parse()?)),
        None => (marker, None),
    };
    Ok((name.parse()?, version))
}
