//! Changes of what belongs to a function apart from its versions: tags, URLs, VMs that are kept ready.

use std::{collections::BTreeMap, sync::Arc};

use super::{ChangeError, Service, now_ms};
use crate::{
    model::{
        AliasTarget, Function, FunctionName, FunctionUrl, InvalidValue, Qualifier, Ready,
        VersionNumber,
    },
    pool::InstanceState,
    registry::RegistryError,
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

impl<V: Vms> Service<V> {
    /// Adds and removes tags.
    pub async fn tag(
        self: &Arc<Self>,
        name: &FunctionName,
        add: BTreeMap<String, String>,
        remove: Vec<String>,
    ) -> Result<Function, ChangeError> {
        self.attach(name, move |function| {
            let attached = &mut function.attached;
            attached.tags.retain(|key, _| !remove.contains(key));
            Ok(attached.tag(&add)?)
        })
        .await
    }

    /// Makes, changes or removes the URL of what is live or of an alias: `change` gets what is there and returns what is
    /// to be.
    pub async fn change_url(
        self: &Arc<Self>,
        name: &FunctionName,
        qualifier: &str,
        change: impl Fn(Option<&FunctionUrl>, u64) -> Result<Option<FunctionUrl>, RegistryError>
        + Send
        + 'static,
    ) -> Result<Function, ChangeError> {
        let qualifier = qualifier.to_owned();
        self.attach(name, move |function| {
            let is_there = |alias: &str| function.aliases.keys().any(|name| name.as_ref() == alias);
            if !qualifier.is_empty() && !is_there(&qualifier) {
                let alias = qualifier.clone().try_into()?;
                return Err(RegistryError::NoAlias(function.name.clone(), alias));
            }
            let urls = &mut function.attached.urls;
            match change(urls.get(&qualifier), now_ms())? {
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
        name: &FunctionName,
        qualifier: &Qualifier,
        vms: Option<u32>,
    ) -> Result<Function, ChangeError> {
        let entry = self.entry(name)?;
        let (key, version) = ready_key(&entry.function, qualifier)?;
        let slot = entry
            .versions
            .get(&version)
            .filter(|slot| slot.version.published);
        let slot = slot.ok_or_else(|| RegistryError::NoVersion(name.clone(), version))?;
        let concurrency = slot.version.settings.max_concurrency;
        let concurrency = concurrency.min(entry.function.reserved_concurrency.unwrap_or(u32::MAX));
        if let Some(ready) = vms
            && ready > concurrency
        {
            return Err(InvalidValue::MinReady { ready, concurrency }.into());
        }
        self.attach(name, move |function| {
            let ready = &mut function.attached.ready;
            match vms {
                Some(vms) => {
                    let updated_ms = now_ms();
                    ready.insert(key.clone(), Ready { vms, updated_ms });
                }
                None => {
                    ready.remove(&key);
                }
            }
            Ok(())
        })
        .await
    }

    /// How far the VMs are that [`Service::set_ready`] asked for; `None` if it asked for none.
    pub fn readiness(
        &self,
        name: &FunctionName,
        qualifier: &Qualifier,
    ) -> Result<Option<Readiness>, ChangeError> {
        let entry = self.entry(name)?;
        let (key, version) = ready_key(&entry.function, qualifier)?;
        let Some(ready) = entry.function.attached.ready.get(&key).copied() else {
            return Ok(None);
        };
        let instances = self.pool().instances();
        let of_it = instances.iter().filter(|instance| {
            let deployed = &instance.deployed;
            deployed.function == *name
                && deployed.version == version
                && instance.state != InstanceState::Starting
        });
        let (mut allocated, mut available) = (0_u32, 0_u32);
        for instance in of_it {
            allocated += 1;
            available += u32::from(instance.state == InstanceState::Idle);
        }
        let slot = entry.versions.get(&version);
        let failure = slot.and_then(|slot| slot.opening.try_lock().ok()?.clone());
        Ok(Some(Readiness {
            ready,
            allocated: allocated.min(ready.vms),
            available: available.min(ready.vms),
            failure: failure.map(|failure| failure.text),
        }))
    }

    async fn attach(
        self: &Arc<Self>,
        name: &FunctionName,
        edit: impl Fn(&mut Function) -> Result<(), RegistryError> + Send + 'static,
    ) -> Result<Function, ChangeError> {
        let function = name.clone();
        self.change(name, move |registry| {
            registry.edit(&function, &edit, now_ms())
        })
        .await
    }
}

/// What `Attached` calls a qualifier, and the published version that it leads to.
fn ready_key(
    function: &Function,
    qualifier: &Qualifier,
) -> Result<(String, VersionNumber), ChangeError> {
    match qualifier {
        Qualifier::Live => Err(InvalidValue::ReadyLive.into()),
        Qualifier::Version(number) => Ok((number.to_string(), *number)),
        Qualifier::Alias(alias) => {
            let to = function.aliases.get(alias);
            let to =
                to.ok_or_else(|| RegistryError::NoAlias(function.name.clone(), alias.clone()))?;
            match to.version {
                AliasTarget::Live => Err(InvalidValue::ReadyLive.into()),
                AliasTarget::Version(number) => Ok((alias.to_string(), number)),
            }
        }
    }
}
