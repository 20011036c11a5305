//! Published versions, and lists of functions and versions in pages.
//!
//! A page that is not the last is full and names the last of its entries as the marker of the next, and no page is empty
//! but that of a list of nothing.

use super::{
    Answer, Call, created,
    error::LambdaError,
    name::{LATEST, Target, number, parameter, version_text},
    page_of,
    shapes::{FunctionConfiguration, PublishVersion, check_revision, code_sha256, latest_revision},
};
use crate::{
    catalog::Publication,
    model::{Function, FunctionId, VersionNumber},
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

/// A function, and one of its published versions or `$LATEST`: how lists of all versions are sorted.
type Place = (FunctionId, Option<VersionNumber>);

impl<V: Vms> Call<'_, V> {
    pub(super) fn page(&self) -> Result<Page, LambdaError> {
        let marker = parameter(&self.parts.uri, "Marker").filter(|marker| !marker.is_empty());
        let len_max = number(&self.parts.uri, "MaxItems")?.unwrap_or(LIST_LEN_MAX);
        if len_max == 0 {
            let message = "MaxItems is 0: must be at least 1";
            return Err(LambdaError::invalid(message));
        }
        let len_max = len_max.min(LIST_LEN_MAX);
        Ok(Page { marker, len_max })
    }

    pub(super) fn list_functions(self) -> Answer {
        let page = self.page()?;
        let all = parameter(&self.parts.uri, "FunctionVersion");
        if let Some(other) = all.as_ref().filter(|all| *all != ALL) {
            let message = format!("FunctionVersion is {other:?}: must be {ALL}");
            return Err(LambdaError::invalid(message));
        }
        let after = page.marker.as_deref().map(place_of).transpose()?;
        let is_all = all.is_some();
        let limit = page.len_max + 1;
        let mut found: Vec<Place> = match is_all {
            true => self.places(after, limit),
            false => {
                let after = after.map(|(name, _)| name);
                let functions = self.catalog().functions(after.as_ref(), limit);
                let functions = functions.into_iter();
                functions.map(|function| (function.name, None)).collect()
            }
        };
        let next_marker = page.cut(&mut found, marker_of);
        let found = found.into_iter();
        let configurations: Vec<_> = found
            .filter_map(|(name, version)| self.configuration_of(&name, version, is_all))
            .collect();
        page_of("Functions", configurations, next_marker)
    }

    /// That of a published version, or of `$LATEST`, which its ARN may name; none of what was deleted meanwhile.
    fn configuration_of(
        &self,
        name: &FunctionId,
        version: Option<VersionNumber>,
        names_latest: bool,
    ) -> Option<FunctionConfiguration> {
        let function = self.catalog().function(name).ok()?;
        let number = version.unwrap_or(function.live);
        let found = self.catalog().version(name, number).ok()?;
        let configuration = self.configuration(&function, found, version.is_none());
        Some(match version.is_none() && names_latest {
            true => configuration.asked_for_as(LATEST),
            false => configuration,
        })
    }

    /// Up to `limit` versions of all functions behind `after`.
    fn places(&self, after: Option<Place>, limit: usize) -> Vec<Place> {
        // Of a function that is deleted meanwhile there are none.
        let published = |name: &FunctionId, after| {
            let numbers = self.published(name, after, limit).unwrap_or_default();
            let name = name.clone();
            let numbers = numbers.into_iter();
            numbers.map(move |number| (name.clone(), Some(number)))
        };
        let mut places = vec![];
        let mut behind = after.map(|(name, version)| {
            places.extend(published(&name, version));
            name
        });
        while places.len() < limit {
            let functions = self.catalog().functions(behind.as_ref(), LIST_LEN_MAX);
            let Some(last) = functions.last() else {
                break;
            };
            behind = Some(last.name.clone());
            for Function { name, .. } in &functions {
                places.push((name.clone(), None));
                places.extend(published(name, None));
            }
        }
        places.truncate(limit);
        places
    }

    /// Up to `limit` published versions of a function behind `after`.
    fn published(
        &self,
        name: &FunctionId,
        after: Option<VersionNumber>,
        limit: usize,
    ) -> Result<Vec<VersionNumber>, LambdaError> {
        // The one that is not published comes last.
        let mut versions = self.catalog().versions(name, after, limit)?;
        versions.retain(|version| version.published);
        Ok(versions.iter().map(|version| version.number).collect())
    }

    pub(super) async fn publish_version(self, name: &str) -> Answer {
        let wanted: PublishVersion = self.document()?;
        let name = Target::unqualified(name)?;
        let catalog = self.catalog();
        let function = catalog.function(&name)?;
        check_revision(wanted.revision_id.as_deref(), &latest_revision(&function))?;
        let live = catalog.version(&name, function.live)?;
        let code = code_sha256(&live);
        if let Some(wanted) = wanted.code_sha256.filter(|wanted| !wanted.is_empty())
            && wanted != code
        {
            let message = format!("CodeSha256 is {wanted}, but that of {LATEST} is {code}");
            return Err(LambdaError::invalid(message));
        }
        let publication = Publication {
            description: wanted.description.filter(|text| !text.is_empty()),
            expected_changes: Some(function.changes),
        };
        let published = catalog.publish(&name, publication).await?;
        let published = self.configuration(&published.function, published.version, false);
        created(published)
    }

    pub(super) fn list_versions(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        self.catalog().function(&name)?;
        let page = self.page()?;
        let after = page.marker.as_deref().filter(|marker| *marker != LATEST);
        let after = after.map(str::parse).transpose()?;
        let published = self.published(&name, after, page.len_max + 1)?;
        // `$LATEST` comes first.
        let first = page.marker.is_none().then_some(None);
        let mut found: Vec<_> = first
            .into_iter()
            .chain(published.into_iter().map(Some))
            .collect();
        let next_marker = page.cut(&mut found, |version| version_text(*version));
        let found = found.into_iter();
        let versions: Vec<_> = found
            .filter_map(|version| self.configuration_of(&name, version, true))
            .collect();
        page_of("Versions", versions, next_marker)
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
