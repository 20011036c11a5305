//! Changes of what is deployed, but for deploys.
//!
//! ```text
//! registry transaction ─▶ directory reads it back ─▶ pool: what leads nowhere ends, what is to be kept ready is made
//! ```

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::task::spawn_blocking;

use super::{
    ChangeError, Service,
    directory::{Entry, Followed},
    lock, now_ms, task_lost,
};
use crate::{
    model::{
        ALIAS_TARGETS_MAX, Alias, AliasName, AliasTarget, CONCURRENCY_MAX, DESCRIPTION_CHARS_MAX,
        Function, FunctionName, InvalidValue, VersionNumber,
    },
    registry::{AliasBefore, Publication, Put, Registry, RegistryError},
    vm::Vms,
};

const _: () = assert!(
    ALIAS_TARGETS_MAX == 2,
    "an alias has one version and perhaps another"
);
/// The greatest share of an alias's other version.
const PER_MILLE: u16 = 1000;

impl<V: Vms> Service<V> {
    /// Makes `to` live, or the version before the live one. Its snapshot is opened first, and rebuilt if it has to be.
    pub async fn rollback(
        self: &Arc<Self>,
        name: &FunctionName,
        to: Option<VersionNumber>,
    ) -> Result<Function, ChangeError> {
        let entry = self.entry(name)?;
        let earlier = entry.versions.range(..entry.function.live);
        let to = to.or_else(|| earlier.map(|(number, _)| *number).next_back());
        let to = to.ok_or_else(|| ChangeError::NoEarlierVersion(name.clone()))?;
        let slot = entry
            .versions
            .get(&to)
            .filter(|slot| slot.version.published);
        let slot = slot.ok_or_else(|| RegistryError::NoVersion(name.clone(), to))?;
        let opened = self.deployed(name, slot).await;
        opened.map_err(|failure| ChangeError::Platform(failure.text))?;
        let function = name.clone();
        self.change(name, move |registry| {
            registry.set_live(&function, to, now_ms())
        })
        .await
    }

    /// Gives the live version its number for good, if it has not got it. Returns what is live.
    pub async fn publish(
        self: &Arc<Self>,
        name: &FunctionName,
        publication: Publication,
    ) -> Result<Put, ChangeError> {
        let chars = publication.description.iter();
        let chars = chars.map(|text| text.chars().count()).sum();
        if chars > DESCRIPTION_CHARS_MAX {
            return Err(InvalidValue::Description(chars).into());
        }
        let function = name.clone();
        self.change(name, move |registry| {
            registry.publish(&function, &publication, now_ms())
        })
        .await
    }

    /// Sets an alias.
    pub async fn put_alias(
        self: &Arc<Self>,
        name: &FunctionName,
        alias: &AliasName,
        to: Alias,
    ) -> Result<Function, ChangeError> {
        self.change_alias(name, alias, to, AliasBefore::Any).await
    }

    /// Sets an alias if it is what it is to be before.
    pub async fn change_alias(
        self: &Arc<Self>,
        name: &FunctionName,
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
        let description_chars = to.description.chars().count();
        if description_chars > DESCRIPTION_CHARS_MAX {
            return Err(InvalidValue::Description(description_chars).into());
        }
        let (function, alias) = (name.clone(), alias.clone());
        self.change(name, move |registry| {
            registry.put_alias(&function, &alias, &to, &before, now_ms())
        })
        .await
    }

    /// Removes an alias.
    pub async fn remove_alias(
        self: &Arc<Self>,
        name: &FunctionName,
        alias: &AliasName,
    ) -> Result<Function, ChangeError> {
        let (function, alias) = (name.clone(), alias.clone());
        self.change(name, move |registry| {
            registry.remove_alias(&function, &alias, now_ms())
        })
        .await
    }

    /// Sets or lifts the limit of VMs over all versions; 0 stops the function.
    pub async fn set_reserved_concurrency(
        self: &Arc<Self>,
        name: &FunctionName,
        limit: Option<u32>,
    ) -> Result<Function, ChangeError> {
        if let Some(limit) = limit
            && limit > CONCURRENCY_MAX
        {
            return Err(InvalidValue::Concurrency(limit).into());
        }
        let function = name.clone();
        self.change(name, move |registry| {
            registry.set_reserved_concurrency(&function, limit, now_ms())
        })
        .await
    }

    /// Deletes a function with all its versions. Requests that are under way are still answered.
    pub async fn delete_function(self: &Arc<Self>, name: &FunctionName) -> Result<(), ChangeError> {
        let function = name.clone();
        self.change(name, move |registry| registry.delete_function(&function))
            .await
    }

    /// Deletes a published version that is no alias's; see [`Registry::delete_version`].
    pub async fn delete_version(
        self: &Arc<Self>,
        name: &FunctionName,
        version: VersionNumber,
        keeps_live: bool,
    ) -> Result<Function, ChangeError> {
        let function = name.clone();
        self.change(name, move |registry| {
            registry.delete_version(&function, version, keeps_live, now_ms())
        })
        .await
    }

    /// Changes the registry, then directory and pool. Goes on to its end even if nobody waits for it any more.
    pub(super) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        name: &FunctionName,
        change: impl FnOnce(&dyn Registry) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let (this, name) = (Arc::clone(self), name.clone());
        let changing = spawn_blocking(move || {
            let _in_order = lock(&this.changes);
            let changed = change(&*this.registry);
            // Of a failed commit it is not known whether it is durable, and a lost race says that the directory is old.
            let may_differ = matches!(
                changed,
                Ok(_) | Err(RegistryError::Storage { .. } | RegistryError::Changed(_))
            );
            if may_differ {
                this.follow(&name);
            }
            changed
        });
        match changing.await {
            Ok(changed) => Ok(changed?),
            Err(lost) => Err(ChangeError::Platform(task_lost(&lost))),
        }
    }

    /// Makes directory and pool follow the registry. Called with `changes` locked.
    fn follow(self: &Arc<Self>, name: &FunctionName) {
        match self.directory.reload(&*self.registry, name) {
            Ok(followed) => {
                lock(&self.stale).remove(name);
                self.follow_in_pool(name, &followed);
            }
            Err(error) => {
                tracing::warn!(function = %name, %error, "cannot read back a change; trying again");
                lock(&self.stale).insert(name.clone());
            }
        }
    }

    /// Tries again what [`Service::follow`] could not do. Blocks.
    pub(super) fn follow_stale(self: &Arc<Self>) {
        let stale: Vec<_> = lock(&self.stale).iter().cloned().collect();
        for name in stale {
            let _in_order = lock(&self.changes);
            self.follow(&name);
        }
    }

    fn follow_in_pool(self: &Arc<Self>, name: &FunctionName, followed: &Followed) {
        self.has_garbage.store(true, Relaxed);
        let Some(after) = &followed.after else {
            self.pool.forget(name, None);
            if followed.before.is_some() {
                self.observer.forget(name.clone());
            }
            return;
        };
        let led_to = |entry: &Entry| -> BTreeSet<VersionNumber> {
            let numbers = entry.versions.keys().copied();
            let is_wanted =
                |number: &VersionNumber| entry.leads_to(*number) || entry.ready(*number) > 0;
            numbers.filter(is_wanted).collect()
        };
        let before = followed.before.as_deref().map(led_to).unwrap_or_default();
        let now = led_to(after);
        for number in before.difference(&now) {
            self.pool.forget(name, Some(*number));
        }
        for number in before.intersection(&now) {
            let snapshot = |entry: &Entry| Some(entry.versions.get(number)?.version.snapshot);
            // A live version that is not published was replaced by one with its number.
            if followed.before.as_deref().and_then(snapshot) != snapshot(after) {
                self.pool.forget(name, Some(*number));
            }
        }
        for number in now {
            let slot = &after.versions[&number];
            let before = followed.before.as_ref();
            if after.ready(number) > 0 || before.is_some_and(|before| before.ready(number) > 0) {
                self.spawn_keep_ready(name, slot);
            }
        }
    }
}
