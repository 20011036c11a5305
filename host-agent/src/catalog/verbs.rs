//! Changes of what is deployed: values are checked here, and the rules between records in `entry`.
//! Not here: what has to be done on this host before or after (`prepare`, `service`).

use std::{collections::BTreeMap, sync::Arc};

use super::{AliasBefore, Catalog, ChangeError, Entry, NewVersion, Publication};
use crate::{
    model::{
        ALIAS_TARGETS_MAX, Alias, AliasName, AliasTarget, CONCURRENCY_MAX, DESCRIPTION_CHARS_MAX,
        Function, FunctionId, FunctionUrl, InvalidValue, Qualifier, Ready, Version, VersionNumber,
    },
    observe::now_ms,
};

const _: () = assert!(
    ALIAS_TARGETS_MAX == 2,
    "an alias has one version and perhaps another"
);
/// The greatest share of an alias's other version.
const PER_MILLE: u16 = 1000;

/// What is live after a deploy or a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The function as it is now.
    pub function: Function,
    /// The version that is live now.
    pub version: Version,
}

impl Put {
    fn of(name: &FunctionId, entry: Option<Arc<Entry>>) -> Result<Self, ChangeError> {
        let entry = entry.ok_or_else(|| ChangeError::NoFunction(name.clone()))?;
        let live = entry.function.live;
        let version = entry.versions.get(&live);
        let version = version.ok_or_else(|| ChangeError::NoVersion(name.clone(), live))?;
        Ok(Self {
            function: entry.function.clone(),
            version: Version::clone(version),
        })
    }
}

impl Catalog {
    /// Adds a version and makes it live, in place of a live one that is not published; makes the function if there is
    /// none.
    pub async fn put_version(
        self: &Arc<Self>,
        name: &FunctionId,
        new: NewVersion,
    ) -> Result<Put, ChangeError> {
        let (this, function) = (Arc::clone(self), name.clone());
        let put = self.change(name, move |entry| {
            let (now_ms, is_new) = (now_ms(), entry.is_none());
            let mut entry = entry.unwrap_or_else(|| Entry::new(function.clone(), now_ms));
            entry.put_version(&new, this.limits, now_ms)?;
            if is_new && this.len() as u64 >= this.limits.functions_max {
                return Err(ChangeError::FunctionsFull(this.limits.functions_max));
            }
            entry.function.updated_ms = now_ms;
            Ok(Some(entry))
        });
        Put::of(name, put.await?)
    }

    /// Gives the live version its number for good, if it has not got it. Returns what is live.
    pub async fn publish(
        self: &Arc<Self>,
        name: &FunctionId,
        publication: Publication,
    ) -> Result<Put, ChangeError> {
        let chars = publication.description.iter();
        check_description(chars.map(|text| text.chars().count()).sum())?;
        let (limits, function) = (self.limits, name.clone());
        let published = self.change(name, move |entry| {
            let mut entry = entry.ok_or_else(|| ChangeError::NoFunction(function.clone()))?;
            if entry.publish(&publication, limits)? {
                entry.function.updated_ms = now_ms();
            }
            Ok(Some(entry))
        });
        Put::of(name, published.await?)
    }

    /// Makes a published version live.
    pub async fn set_live(
        self: &Arc<Self>,
        name: &FunctionId,
        to: VersionNumber,
    ) -> Result<Function, ChangeError> {
        self.edit(name, move |entry, _| entry.set_live(to)).await
    }

    /// Sets an alias.
    pub async fn put_alias(
        self: &Arc<Self>,
        name: &FunctionId,
        alias: &AliasName,
        to: Alias,
    ) -> Result<Function, ChangeError> {
        self.change_alias(name, alias, to, AliasBefore::Any).await
    }

    /// Sets an alias if it is what it is to be before.
    pub async fn change_alias(
        self: &Arc<Self>,
        name: &FunctionId,
        alias: &AliasName,
        to: Alias,
        before: AliasBefore,
    ) -> Result<Function, ChangeError> {
        if to.version == AliasTarget::Live && to.other.is_some() {
            return Err(InvalidValue::LiveShared.into());
        }
        if let Some((_, per_mille)) = to.other
            && per_mille > PER_MILLE
        {
            return Err(InvalidValue::Weight(per_mille).into());
        }
        check_description(to.description.chars().count())?;
        let (limits, alias) = (self.limits, alias.clone());
        self.edit(name, move |entry, _| {
            entry.put_alias(&alias, &to, &before, limits)
        })
        .await
    }

    /// Removes an alias.
    pub async fn remove_alias(
        self: &Arc<Self>,
        name: &FunctionId,
        alias: &AliasName,
    ) -> Result<Function, ChangeError> {
        let alias = alias.clone();
        self.edit(name, move |entry, _| entry.remove_alias(&alias))
            .await
    }

    /// Sets or lifts the limit of VMs over all versions; 0 stops the function.
    pub async fn set_reserved_concurrency(
        self: &Arc<Self>,
        name: &FunctionId,
        limit: Option<u32>,
    ) -> Result<Function, ChangeError> {
        if let Some(limit) = limit
            && limit > CONCURRENCY_MAX
        {
            return Err(InvalidValue::Concurrency(limit).into());
        }
        self.edit(name, move |entry, _| {
            entry.function.reserved_concurrency = limit;
            Ok(())
        })
        .await
    }

    /// Deletes a function with all its versions. Requests that are under way are still answered. A function deployed under
    /// this name later begins at version 1.
    pub async fn delete_function(self: &Arc<Self>, name: &FunctionId) -> Result<(), ChangeError> {
        let function = name.clone();
        let deleted = self.change(name, move |entry| match entry {
            Some(_) => Ok(None),
            None => Err(ChangeError::NoFunction(function.clone())),
        });
        deleted.await.map(drop)
    }

    /// Deletes a published version that is no alias's. One that is live is refused, or with `keeps_live` goes on as a
    /// live version that is not published.
    pub async fn delete_version(
        self: &Arc<Self>,
        name: &FunctionId,
        version: VersionNumber,
        keeps_live: bool,
    ) -> Result<Function, ChangeError> {
        self.edit(name, move |entry, _| {
            entry.delete_version(version, keeps_live)
        })
        .await
    }

    /// Adds and removes tags.
    pub async fn tag(
        self: &Arc<Self>,
        name: &FunctionId,
        add: BTreeMap<String, String>,
        remove: Vec<String>,
    ) -> Result<Function, ChangeError> {
        self.edit(name, move |entry, _| {
            let attached = &mut entry.function.attached;
            attached.tags.retain(|key, _| !remove.contains(key));
            Ok(attached.tag(&add)?)
        })
        .await
    }

    /// Makes, changes or removes the URL of what is live or of an alias: `change` gets what is there and returns what is
    /// to be.
    pub async fn change_url(
        self: &Arc<Self>,
        name: &FunctionId,
        qualifier: &str,
        change: impl Fn(Option<&FunctionUrl>, u64) -> Result<Option<FunctionUrl>, ChangeError>
        + Send
        + 'static,
    ) -> Result<Function, ChangeError> {
        let qualifier = qualifier.to_owned();
        self.edit(name, move |Entry { function, .. }, now_ms| {
            let is_there = |alias: &str| function.aliases.keys().any(|name| name.as_ref() == alias);
            if !qualifier.is_empty() && !is_there(&qualifier) {
                let alias = qualifier.clone().try_into()?;
                return Err(ChangeError::NoAlias(function.name.clone(), alias));
            }
            let urls = &mut function.attached.urls;
            match change(urls.get(&qualifier), now_ms)? {
                Some(url) => urls.insert(qualifier.clone(), url),
                None => urls.remove(&qualifier),
            };
            Ok(())
        })
        .await
    }

    /// Keeps `vms` VMs of a version, or of what an alias leads to, ready from now on; `None`: no longer.
    pub async fn set_ready(
        self: &Arc<Self>,
        name: &FunctionId,
        qualifier: &Qualifier,
        vms: Option<u32>,
    ) -> Result<Function, ChangeError> {
        let qualifier = qualifier.clone();
        self.edit(name, move |entry, updated_ms| {
            let (key, version) = entry.ready_key(&qualifier)?;
            let concurrency = entry.published(version)?.settings.max_concurrency;
            let reserved = entry.function.reserved_concurrency;
            let concurrency = concurrency.min(reserved.unwrap_or(u32::MAX));
            let ready = &mut entry.function.attached.ready;
            match vms {
                Some(ready) if ready > concurrency => {
                    return Err(InvalidValue::MinReady { ready, concurrency }.into());
                }
                Some(vms) => ready.insert(key, Ready { vms, updated_ms }),
                None => ready.remove(&key),
            };
            Ok(())
        })
        .await
    }
}

impl Entry {
    /// What `Attached` calls a qualifier, and the version that it leads to and that VMs can be kept ready for.
    pub(crate) fn ready_key(
        &self,
        qualifier: &Qualifier,
    ) -> Result<(String, VersionNumber), ChangeError> {
        let Function { name, aliases, .. } = &self.function;
        let alias = match qualifier {
            Qualifier::Live => return Err(InvalidValue::ReadyLive.into()),
            Qualifier::Version(number) => return Ok((number.to_string(), *number)),
            Qualifier::Alias(alias) => alias,
        };
        let to = aliases.get(alias);
        let to = to.ok_or_else(|| ChangeError::NoAlias(name.clone(), alias.clone()))?;
        match to.version {
            AliasTarget::Live => Err(InvalidValue::ReadyLive.into()),
            AliasTarget::Version(number) => Ok((alias.to_string(), number)),
        }
    }
}

fn check_description(chars: usize) -> Result<(), InvalidValue> {
    match chars {
        0..=DESCRIPTION_CHARS_MAX => Ok(()),
        chars => Err(InvalidValue::Description(chars)),
    }
}
