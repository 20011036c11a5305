//! The way of a request to a version: by name and qualifier, in memory.

use std::sync::Arc;

use super::{Invocation, NoAnswer};
use crate::{
    catalog::{ChangeError, Entry},
    model::{AliasTarget, FunctionId, Qualifier, Version},
    vm::Vms,
};

impl<V: Vms> Invocation<V> {
    /// The version that `qualifier` leads to; for a weighted alias its main one.
    pub(crate) fn resolve(
        &self,
        name: &FunctionId,
        qualifier: &Qualifier,
    ) -> Result<Version, NoAnswer> {
        let entry = self.catalog.entry(name)?;
        Ok(Version::clone(choose(&entry, qualifier, None)?))
    }
}

/// The version that a request goes to. An alias with two draws one, or without a draw takes the main one.
pub(super) fn choose<'a>(
    entry: &'a Entry,
    qualifier: &Qualifier,
    draw: Option<u16>,
) -> Result<&'a Arc<Version>, ChangeError> {
    let Entry { function, versions } = entry;
    let number = match qualifier {
        Qualifier::Live => function.live,
        // The number of a live version that is not published yet names nothing that stays.
        Qualifier::Version(number) => return entry.published(*number),
        Qualifier::Alias(alias) => {
            let to = function.aliases.get(alias);
            let to =
                to.ok_or_else(|| ChangeError::NoAlias(function.name.clone(), alias.clone()))?;
            match (to.other, draw) {
                (Some((other, per_mille)), Some(draw)) if draw < per_mille => other,
                _ => match to.version {
                    AliasTarget::Live => function.live,
                    AliasTarget::Version(number) => number,
                },
            }
        }
    };
    let version = versions.get(&number);
    version.ok_or_else(|| ChangeError::NoVersion(function.name.clone(), number))
}
