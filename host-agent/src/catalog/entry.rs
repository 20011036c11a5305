//! A function with its versions, and the rules by which they change: all in memory, and none of it durable yet.
//!
//! ```text
//! live ─▶ a published version, or `next`: not published, replaced by every change, and gone with a rollback
//! ```
//!
//! Not here: keeping a change (`registry`), what follows from it on this host (`prepare`).

use std::{collections::BTreeMap, sync::Arc};

use jiffy_snapshots::Digest;

use super::{ChangeError, Limits};
use crate::model::{
    Alias, AliasName, AliasTarget, Function, FunctionId, Generation, LambdaFacts, Settings,
    Version, VersionNumber,
};

/// A function with its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The function.
    pub function: Function,
    /// Its versions.
    pub versions: BTreeMap<VersionNumber, Arc<Version>>,
}

/// A version that is to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// SHA-256 of the image.
    pub image: Digest,
    /// Size of the image, bytes.
    pub image_bytes: u64,
    /// Whether its handler takes HTTP requests.
    pub takes_http: bool,
    /// What the author said, checked.
    pub settings: Settings,
    /// What only Lambda's API knows of it.
    pub lambda: LambdaFacts,
    /// Whether it gets its number for good, or is only what is live from now on.
    pub publish: bool,
    /// The number that it is to get; another means that the function was changed meanwhile.
    pub expected_next: VersionNumber,
    /// How often what is live has changed by then; another count means the same.
    pub expected_changes: Option<u64>,
}

/// A live version that is to be published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// Said of this version, in place of what its settings say.
    pub description: Option<String>,
    /// How often what is live has changed by then.
    pub expected_changes: Option<u64>,
}

/// What an alias has to be before it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AliasBefore {
    /// Anything.
    Any,
    /// Nothing: it is to be made.
    Absent,
    /// This.
    Is(Alias),
}

impl Entry {
    /// A function that has no version yet.
    pub(super) fn new(name: FunctionId, now_ms: u64) -> Self {
        Self {
            function: Function {
                name,
                generation: Generation::NONE,
                live: VersionNumber::FIRST,
                next: VersionNumber::FIRST,
                changes: 0,
                aliases: BTreeMap::new(),
                attached: Default::default(),
                reserved_concurrency: None,
                created_ms: now_ms,
                updated_ms: now_ms,
            },
            versions: BTreeMap::new(),
        }
    }

    /// The version that is live.
    pub fn live(&self) -> Option<&Arc<Version>> {
        self.versions.get(&self.function.live)
    }

    /// A published version.
    pub fn published(&self, number: VersionNumber) -> Result<&Arc<Version>, ChangeError> {
        let version = self.versions.get(&number);
        version
            .filter(|version| version.published)
            .ok_or_else(|| ChangeError::NoVersion(self.function.name.clone(), number))
    }

    /// Whether requests that name no version may be sent to `number`.
    pub fn leads_to(&self, number: VersionNumber) -> bool {
        self.function.live == number || self.alias_of(number).is_some()
    }

    /// VMs of `number` that are kept ready although nobody asks.
    pub fn ready(&self, number: VersionNumber) -> u32 {
        let Some(version) = self.versions.get(&number) else {
            return 0;
        };
        let of_settings = match self.leads_to(number) {
            true => version.settings.min_ready,
            false => 0,
        };
        let function = &self.function;
        let leads_here = |key: &str| {
            key.parse() == Ok(number)
                || function.aliases.iter().any(|(name, to)| {
                    name.as_ref() == key && to.version == AliasTarget::Version(number)
                })
        };
        let ready = function.attached.ready.iter();
        let asked = ready
            .filter(|(key, _)| leads_here(key))
            .map(|(_, ready)| ready.vms);
        asked.fold(of_settings, u32::max)
    }

    /// Adds a version and makes it live, in place of a live one that is not published.
    pub(super) fn put_version(
        &mut self,
        new: &NewVersion,
        limits: Limits,
        now_ms: u64,
    ) -> Result<(), ChangeError> {
        let number = self.function.next;
        if number != new.expected_next {
            return Err(ChangeError::Changed(self.function.name.clone()));
        }
        self.check_changes(new.expected_changes)?;
        if new.publish {
            self.check_room(limits)?;
            self.count_up()?;
        }
        self.make_live(number);
        self.put(Version {
            generation: Generation::NONE,
            number,
            published: new.publish,
            description: None,
            image: new.image,
            image_bytes: new.image_bytes,
            takes_http: new.takes_http,
            settings: new.settings.clone(),
            lambda: new.lambda.clone(),
            created_ms: now_ms,
        });
        Ok(())
    }

    /// Gives the live version its number for good. Whether it had not got it.
    pub(super) fn publish(
        &mut self,
        publication: &Publication,
        limits: Limits,
    ) -> Result<bool, ChangeError> {
        self.check_changes(publication.expected_changes)?;
        let live = self.live().map(|live| Version::clone(live));
        let mut live = live.ok_or_else(|| self.no_version(self.function.live))?;
        if live.published {
            return Ok(false);
        }
        self.check_room(limits)?;
        self.count_up()?;
        live.published = true;
        live.description.clone_from(&publication.description);
        self.put(live);
        Ok(true)
    }

    /// Makes a published version live. A live one that is not published goes.
    pub(super) fn set_live(&mut self, number: VersionNumber) -> Result<(), ChangeError> {
        self.published(number)?;
        let function = &self.function;
        if function.live == number {
            return Ok(());
        }
        if function.live == function.next {
            self.versions.remove(&function.live);
        }
        self.make_live(number);
        Ok(())
    }

    /// Sets an alias, whose versions have to be published, if it is what it is to be `before`.
    pub(super) fn put_alias(
        &mut self,
        alias: &AliasName,
        to: &Alias,
        before: &AliasBefore,
        limits: Limits,
    ) -> Result<(), ChangeError> {
        let name = &self.function.name;
        match (before, self.function.aliases.get(alias)) {
            (AliasBefore::Any, _) | (AliasBefore::Absent, None) => {}
            (AliasBefore::Is(wanted), Some(found)) if wanted == found => {}
            (AliasBefore::Absent, Some(_)) => {
                return Err(ChangeError::AliasExists(name.clone(), alias.clone()));
            }
            (AliasBefore::Is(_), Some(_)) => return Err(ChangeError::Changed(name.clone())),
            (AliasBefore::Is(_), None) => {
                return Err(ChangeError::NoAlias(name.clone(), alias.clone()));
            }
        }
        if let AliasTarget::Version(version) = to.version {
            self.published(version)?;
        }
        if let Some((other, _)) = to.other {
            self.published(other)?;
        }
        let function = &mut self.function;
        function.aliases.insert(alias.clone(), to.clone());
        if function.aliases.len() > limits.aliases_max {
            let name = function.name.clone();
            return Err(ChangeError::AliasesFull(name, limits.aliases_max));
        }
        Ok(())
    }

    /// Removes an alias, and what belongs to it.
    pub(super) fn remove_alias(&mut self, alias: &AliasName) -> Result<(), ChangeError> {
        let function = &mut self.function;
        function.attached.forget(alias.as_ref());
        match function.aliases.remove(alias) {
            Some(_) => Ok(()),
            None => Err(ChangeError::NoAlias(function.name.clone(), alias.clone())),
        }
    }

    /// Deletes a published version that is no alias's. One that is live is refused, or with `keeps_live` goes on as a
    /// live version that is not published.
    pub(super) fn delete_version(
        &mut self,
        number: VersionNumber,
        keeps_live: bool,
    ) -> Result<(), ChangeError> {
        match self.check_unused(number) {
            Err(ChangeError::Live { .. }) if keeps_live => {
                let mut live = Version::clone(self.published(number)?);
                self.check_unaliased(number)?;
                live.number = self.function.next;
                live.published = false;
                live.description = None;
                self.function.live = live.number;
                self.put(live);
            }
            checked => checked?,
        }
        self.function.attached.forget(&number.to_string());
        match self.versions.remove(&number) {
            Some(_) => Ok(()),
            None => Err(self.no_version(number)),
        }
    }

    /// A version without a generation is a new record.
    fn put(&mut self, version: Version) {
        let version = Version {
            generation: Generation::NONE,
            ..version
        };
        self.versions.insert(version.number, Arc::new(version));
    }

    fn make_live(&mut self, number: VersionNumber) {
        self.function.live = number;
        self.function.changes = self.function.changes.saturating_add(1);
    }

    /// The next version that is published gets the number behind.
    fn count_up(&mut self) -> Result<(), ChangeError> {
        let behind = self.function.next.0.checked_add(1).map(VersionNumber);
        self.function.next =
            behind.ok_or_else(|| ChangeError::Changed(self.function.name.clone()))?;
        Ok(())
    }

    fn check_changes(&self, expected: Option<u64>) -> Result<(), ChangeError> {
        match expected {
            Some(expected) if expected != self.function.changes => {
                Err(ChangeError::Changed(self.function.name.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Refuses to publish one more version than there may be.
    fn check_room(&self, limits: Limits) -> Result<(), ChangeError> {
        let published = self.versions.values().filter(|version| version.published);
        if (published.clone().count() as u64) < limits.versions_max {
            return Ok(());
        }
        let mut numbers = published.map(|version| version.number);
        Err(ChangeError::VersionsFull {
            function: self.function.name.clone(),
            versions_max: limits.versions_max,
            oldest_unused: numbers.find(|number| self.check_unused(*number).is_ok()),
        })
    }

    /// Refuses a version that requests may be sent to without naming it.
    fn check_unused(&self, version: VersionNumber) -> Result<(), ChangeError> {
        if self.function.live == version {
            return Err(ChangeError::Live {
                function: self.function.name.clone(),
                version,
            });
        }
        self.check_unaliased(version)
    }

    fn check_unaliased(&self, version: VersionNumber) -> Result<(), ChangeError> {
        match self.alias_of(version) {
            Some(alias) => Err(ChangeError::Aliased {
                function: self.function.name.clone(),
                version,
                alias: alias.clone(),
            }),
            None => Ok(()),
        }
    }

    fn alias_of(&self, version: VersionNumber) -> Option<&AliasName> {
        let mut aliases = self.function.aliases.iter();
        Some(aliases.find(|(_, to)| to.names(version))?.0)
    }

    fn no_version(&self, number: VersionNumber) -> ChangeError {
        ChangeError::NoVersion(self.function.name.clone(), number)
    }
}
