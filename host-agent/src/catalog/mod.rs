//! What is deployed: the registry, durable, and the same in memory.
//!
//! ```text
//! change ─▶ rules on records in memory ─▶ registry: compare and set ─▶ directory ─▶ who follows
//!                                              └── changes of others ─────▲
//! ```
//!
//! A change reaches the directory only when it is durable: whoever sees it there finds it again after a crash, and whoever made
//! it finds it there. Every record has a generation that only grows, and the directory never goes back to an older one.
//! A change is decided on the records as they are here and applied only if the registry still has those, so another agent
//! may use the same registry; if it was faster, the change is decided again.
//! Not here: anything that belongs to this host, snapshots among it (`prepare`); images, which a version only names.

mod directory;
mod entry;
mod error;
mod file;
mod registry;
mod verbs;

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::{sync::watch, task::spawn_blocking};

use self::directory::Directory;
pub use self::{
    directory::Followed,
    entry::{AliasBefore, Entry, NewVersion, Publication},
    error::ChangeError,
    file::RedbRegistry,
    registry::{Change, Changes, Registry, RegistryError, Update},
    verbs::Put,
};
use crate::{
    model::{Function, FunctionId, Generation, Version, VersionNumber},
    observe::now_ms,
};

/// How often a change is decided again because another agent was faster.
const TRIES_MAX: u32 = 16;

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Functions.
    pub functions_max: u64,
    /// Published versions of one function. They stay until they are deleted: a deploy beyond it is refused.
    pub versions_max: u64,
    /// Aliases of one function.
    pub aliases_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            functions_max: 10_000,
            versions_max: 64,
            aliases_max: 64,
        }
    }
}

/// How far the directory has followed the registry.
#[derive(Debug)]
struct Position {
    generation: Generation,
    /// What the registry has told of.
    last: watch::Receiver<Generation>,
    /// The registry may have changes that are not in the directory.
    is_behind: bool,
}

type Follower = Box<dyn Fn(Followed) + Send + Sync>;

/// What is deployed.
pub struct Catalog {
    registry: Arc<dyn Registry>,
    directory: Directory,
    limits: Limits,
    /// Held while the registry is changed and the directory follows, so that both change in one order.
    position: Mutex<Position>,
    follower: OnceLock<Follower>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog")
            .field("registry", &self.registry)
            .field("limits", &self.limits)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Catalog {
    /// What is in `registry`. Blocks while it is read.
    pub fn new(registry: Arc<dyn Registry>, limits: Limits) -> Result<Arc<Self>, RegistryError> {
        let last = registry.watch();
        let catalog = Self {
            registry,
            directory: Directory::default(),
            limits,
            position: Mutex::new(Position {
                generation: Generation::NONE,
                last,
                is_behind: true,
            }),
            follower: OnceLock::new(),
        };
        catalog.follow()?;
        Ok(Arc::new(catalog))
    }

    /// Hands every change from now on to `follower`, in order, before whoever made it goes on; and follows what other agents
    /// change. Once. Needs a tokio runtime to be called in.
    pub(crate) fn followed_by(self: &Arc<Self>, follower: Follower) {
        if self.follower.set(follower).is_err() {
            tracing::error!("the catalog is followed already: please report this");
        }
        let (this, mut last) = (Arc::downgrade(self), self.registry.watch());
        tokio::spawn(async move {
            while last.changed().await.is_ok() {
                let Some(this) = this.upgrade() else {
                    return;
                };
                let followed = spawn_blocking(move || this.follow());
                if let Ok(Err(error)) = followed.await {
                    tracing::warn!(%error, "cannot read what was changed; trying again");
                }
            }
        });
    }

    /// Catches up with the registry, if it has told of more or could not be read before. Blocks.
    pub(crate) fn follow(&self) -> Result<(), RegistryError> {
        self.catch_up(&mut self.position.lock())
    }

    fn catch_up(&self, position: &mut Position) -> Result<(), RegistryError> {
        if position.is_behind || *position.last.borrow() > position.generation {
            let changes = self.registry.changes(position.generation)?;
            position.generation = changes.generation;
            position.is_behind = false;
            for followed in self.directory.take_all(changes) {
                self.tell(followed);
            }
        }
        Ok(())
    }

    /// Whether the registry may have something that is not here.
    pub(crate) fn is_behind(&self) -> bool {
        self.position.lock().is_behind
    }

    fn tell(&self, followed: Followed) {
        if let Some(follower) = self.follower.get() {
            follower(followed);
        }
    }

    /// Changes a function in the registry, then in the directory and with whoever follows. `change` is decided on what is
    /// there, again if another agent was faster. It goes on to its end even if nobody waits for it any more.
    async fn change(
        self: &Arc<Self>,
        name: &FunctionId,
        change: impl FnMut(Option<Entry>) -> Result<Option<Entry>, ChangeError> + Send + 'static,
    ) -> Result<Option<Arc<Entry>>, ChangeError> {
        let (this, name) = (Arc::clone(self), name.clone());
        let changed = spawn_blocking(move || this.change_now(&name, change)).await;
        changed.unwrap_or_else(|lost| Err(lost.into()))
    }

    fn change_now(
        &self,
        name: &FunctionId,
        mut change: impl FnMut(Option<Entry>) -> Result<Option<Entry>, ChangeError>,
    ) -> Result<Option<Arc<Entry>>, ChangeError> {
        let mut position = self.position.lock();
        for _ in 0..TRIES_MAX {
            self.catch_up(&mut position)?;
            let before = self.directory.get(name);
            let to = change(before.as_deref().cloned())?;
            if to.as_ref() == before.as_deref() {
                return Ok(before);
            }
            let from = before.map_or(Generation::NONE, |before| before.function.generation);
            let applied = self.registry.apply(Change {
                name: name.clone(),
                from,
                to,
            });
            match applied {
                Ok((generation, update)) => {
                    // Nothing of others lies between.
                    if generation.0 == position.generation.0 + 1 {
                        position.generation = generation;
                        let entry = update.entry.clone();
                        if let Some(followed) = self.directory.take(update) {
                            self.tell(followed);
                        }
                        return Ok(entry);
                    }
                    position.is_behind = true;
                    self.catch_up(&mut position)?;
                    return Ok(update.entry);
                }
                Err(RegistryError::Changed(_)) => position.is_behind = true,
                Err(error) => {
                    // Of a failed commit it is not known whether it is durable.
                    position.is_behind = true;
                    if let Err(error) = self.catch_up(&mut position) {
                        tracing::warn!(function = %name, %error, "cannot read back a change; trying again");
                    }
                    return Err(error.into());
                }
            }
        }
        Err(ChangeError::Changed(name.clone()))
    }

    /// Changes a function that is there, as [`Catalog::change`].
    async fn edit(
        self: &Arc<Self>,
        name: &FunctionId,
        mut edit: impl FnMut(&mut Entry, u64) -> Result<(), ChangeError> + Send + 'static,
    ) -> Result<Function, ChangeError> {
        let function = name.clone();
        let edited = self.change(name, move |entry| {
            let mut entry = entry.ok_or_else(|| ChangeError::NoFunction(function.clone()))?;
            let now_ms = now_ms();
            edit(&mut entry, now_ms)?;
            entry.function.updated_ms = now_ms;
            Ok(Some(entry))
        });
        let edited = edited.await?;
        let edited = edited.ok_or_else(|| ChangeError::NoFunction(name.clone()))?;
        Ok(edited.function.clone())
    }

    /// A function with its versions, if there is one.
    pub fn get(&self, name: &FunctionId) -> Option<Arc<Entry>> {
        self.directory.get(name)
    }

    /// Up to `limit` functions with their versions behind `after`, by name.
    pub fn list(&self, after: Option<&FunctionId>, limit: usize) -> Vec<Arc<Entry>> {
        self.directory.list(after, limit)
    }

    /// How many functions there are.
    pub fn len(&self) -> usize {
        self.directory.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A function with its versions.
    pub fn entry(&self, name: &FunctionId) -> Result<Arc<Entry>, ChangeError> {
        self.get(name)
            .ok_or_else(|| ChangeError::NoFunction(name.clone()))
    }

    /// A function.
    pub fn function(&self, name: &FunctionId) -> Result<Function, ChangeError> {
        Ok(self.entry(name)?.function.clone())
    }

    /// Up to `limit` functions behind `after`, by name.
    pub fn functions(&self, after: Option<&FunctionId>, limit: usize) -> Vec<Function> {
        let entries = self.list(after, limit);
        entries.iter().map(|entry| entry.function.clone()).collect()
    }

    /// A version.
    pub fn version(
        &self,
        name: &FunctionId,
        number: VersionNumber,
    ) -> Result<Version, ChangeError> {
        let entry = self.entry(name)?;
        let version = entry.versions.get(&number);
        let version = version.ok_or_else(|| ChangeError::NoVersion(name.clone(), number))?;
        Ok(Version::clone(version))
    }

    /// Up to `limit` versions behind `after`, ascending.
    pub fn versions(
        &self,
        name: &FunctionId,
        after: Option<VersionNumber>,
        limit: usize,
    ) -> Result<Vec<Version>, ChangeError> {
        let entry = self.entry(name)?;
        let versions = entry.versions.values();
        let behind = versions.filter(|version| after.is_none_or(|after| version.number > after));
        let page = behind.take(limit).map(|version| Version::clone(version));
        Ok(page.collect())
    }

    /// How many functions there are, and how many bytes their versions' images have.
    pub fn code_size(&self) -> (usize, u64) {
        let entries = self.list(None, usize::MAX);
        let versions = entries.iter().flat_map(|entry| entry.versions.values());
        let bytes = versions.map(|version| version.image_bytes).sum();
        (entries.len(), bytes)
    }

    /// VMs that functions have for themselves, together.
    pub fn reserved_concurrency(&self) -> u64 {
        let entries = self.list(None, usize::MAX);
        let reserved = entries
            .iter()
            .filter_map(|entry| entry.function.reserved_concurrency);
        reserved.map(u64::from).sum()
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
