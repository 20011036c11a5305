//! VMs that are kept ready, and what else has to follow from a change of the catalog on this host.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{Preparation, Slot};
use crate::{
    catalog::{ChangeError, Entry, Followed},
    model::{FunctionId, Qualifier, Ready, Version, VersionNumber},
    pool::{Deployed, InstanceState},
    vm::Vms,
};

/// How far the VMs that are kept ready are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// What was asked for.
    pub ready: Ready,
    /// VMs that are there, no more than that.
    pub allocated: u32,
    /// Of those, the ones without a request.
    pub available: u32,
    /// Why there are none, if the last try failed.
    pub failure: Option<String>,
}

impl<V: Vms> Preparation<V> {
    /// Does what there is to do when the agent starts: rebuilds in the background what was made on another host, live versions
    /// first, and keeps VMs ready.
    pub(crate) fn begin(self: &Arc<Self>) {
        let mut wanted = vec![];
        for entry in self.catalog.list(None, usize::MAX) {
            for (number, version) in &entry.versions {
                if self.snapshot(&entry.function.name, version).is_none() {
                    wanted.push((!entry.leads_to(*number), Arc::clone(&entry), *number));
                } else if entry.ready(*number) > 0 {
                    self.spawn_keep_ready(self.slots.of(&entry, version));
                }
            }
        }
        wanted.sort_by_key(|(is_later, ..)| *is_later);
        self.rebuilding.store(wanted.len(), Relaxed);
        if !wanted.is_empty() {
            tracing::info!(
                versions = wanted.len(),
                "versions have no snapshot of this host; building them again"
            );
        }
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            for (_, entry, number) in wanted {
                let Some(this) = this.upgrade() else {
                    return;
                };
                let name = &entry.function.name;
                // As it is now.
                let entry = this.catalog.get(name);
                if let Some((entry, version)) = entry.as_ref().and_then(|entry| {
                    let version = entry.versions.get(&number)?;
                    Some((entry, version))
                }) && let Err(failure) = this.deployed(&this.slots.of(entry, version)).await
                {
                    tracing::warn!(function = %name, error = %failure.text, "cannot build a snapshot again");
                }
                this.rebuilding.fetch_sub(1, Relaxed);
            }
        });
    }

    /// Follows the catalog: VMs of what leads nowhere end, and those that are to be kept ready are made. Called while the
    /// catalog is changed, which it may only read.
    pub(crate) fn follow(self: &Arc<Self>, followed: &Followed) {
        self.has_garbage();
        let Followed {
            name,
            before,
            after,
        } = followed;
        let Some(after) = after else {
            self.pool.forget(name, None);
            if before.is_some() {
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
        let before = before.as_deref();
        let led_to_before = before.map(led_to).unwrap_or_default();
        let now = led_to(after);
        for number in &led_to_before {
            // A live version that is not published was replaced by one with its number.
            let made_of = |version: &Arc<Version>| (version.image, version.settings.clone());
            let before = before.and_then(|before| before.versions.get(number).map(made_of));
            if !now.contains(number) || before != after.versions.get(number).map(made_of) {
                self.pool.forget(name, Some(*number));
            }
        }
        for number in now {
            if (after.ready(number) > 0 || before.is_some_and(|before| before.ready(number) > 0))
                && let Some(version) = after.versions.get(&number)
            {
                self.spawn_keep_ready(self.slots.of(after, version));
            }
        }
    }

    /// Keeps VMs of a version ready, once its snapshot is open.
    fn spawn_keep_ready(self: &Arc<Self>, slot: Arc<Slot>) {
        let this = Arc::clone(self);
        tokio::runtime::Handle::current().spawn(async move {
            match this.deployed(&slot).await {
                Ok(deployed) => this.keep_ready(&slot, &deployed),
                Err(failure) => {
                    tracing::warn!(function = %slot.function, error = %failure.text, "cannot keep VMs ready");
                }
            }
        });
    }

    /// Keeps as many ready as the catalog says now, if this is still what the version runs on.
    pub(super) fn keep_ready(&self, slot: &Slot, deployed: &Arc<Deployed>) {
        let number = slot.version.number;
        let digest = |deployed: &Deployed| deployed.snapshot.snapshot.digest();
        if let Some(entry) = self.catalog.get(&slot.function)
            && let Some(version) = entry.versions.get(&number)
            && let Some(now) = self.slots.opened(&self.slots.of(&entry, version))
            && digest(&now) == digest(deployed)
        {
            self.pool.keep_ready(&now, entry.ready(number));
        }
    }

    /// How far the VMs are that [`crate::catalog::Catalog::set_ready`] asked for; `None` if it asked for none.
    pub fn readiness(
        &self,
        name: &FunctionId,
        qualifier: &Qualifier,
    ) -> Result<Option<Readiness>, ChangeError> {
        let entry = self.catalog.entry(name)?;
        let (key, number) = entry.ready_key(qualifier)?;
        let Some(ready) = entry.function.attached.ready.get(&key).copied() else {
            return Ok(None);
        };
        let instances = self.pool.instances();
        let of_it = instances.iter().filter(|instance| {
            let deployed = &instance.deployed;
            deployed.function == *name
                && deployed.version == number
                && instance.state != InstanceState::Starting
        });
        let (mut allocated, mut available) = (0_u32, 0_u32);
        for instance in of_it {
            allocated += 1;
            available += u32::from(instance.state == InstanceState::Idle);
        }
        let version = entry.versions.get(&number);
        let slot = version.map(|version| self.slots.of(&entry, version));
        let failure = slot.and_then(|slot| slot.opening.try_lock().ok()?.clone());
        Ok(Some(Readiness {
            ready,
            allocated: allocated.min(ready.vms),
            available: available.min(ready.vms),
            failure: failure.map(|failure| failure.text),
        }))
    }
}
