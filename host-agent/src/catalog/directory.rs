//! The registry in memory: what is deployed, and which snapshots are open.
//!
//! ```text
//! Directory ─▶ Entry: a function as it is          replaced whole at each change
//!                └─▶ Slot: a version ─▶ Deployed    opened by the first request, closed when it is unused for longest
//! ```
//!
//! Not here: making or rebuilding snapshots (`deploy`, `open`).

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use super::OpenFailure;
use crate::{
    model::{AliasTarget, Function, FunctionName, Version, VersionNumber},
    pool::Deployed,
    registry::{Registry, RegistryError},
    vm::OpenSnapshot,
};

/// Records that are read from the registry at once.
const PAGE_LEN: usize = 256;

/// A version, and its snapshot if that is open.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) version: Version,
    reserved: Option<u32>,
    opened: Mutex<Option<Arc<Deployed>>>,
    /// When it was opened or asked for last, milliseconds since the directory was made.
    used_ms: AtomicU64,
    /// Held while the snapshot is opened or rebuilt; the last failure to do so.
    pub(super) opening: tokio::sync::Mutex<Option<OpenFailure>>,
    /// Whether somebody writes, or wrote, a working set.
    has_working_set: AtomicBool,
    /// Its snapshot is damaged on disk, and is to be made again before it is opened.
    is_damaged: AtomicBool,
    /// Until then its snapshot is not looked at again; `None` while it is looked at.
    check_at: Mutex<Option<Instant>>,
}

/// A function as it is.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) function: Function,
    pub(super) versions: BTreeMap<VersionNumber, Arc<Slot>>,
}

/// A function before and after a change; `None` if there is none.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) before: Option<Arc<Entry>>,
    pub(super) after: Option<Arc<Entry>>,
}

#[derive(Debug)]
pub(super) struct Directory {
    entries: RwLock<BTreeMap<FunctionName, Arc<Entry>>>,
    made: Instant,
    open_max: AtomicUsize,
    /// Snapshots that were opened since unused ones were closed; those of deleted versions count until then.
    open_count: AtomicUsize,
}

impl Slot {
    fn new(version: Version, reserved: Option<u32>) -> Self {
        Self {
            version,
            reserved,
            opened: Mutex::new(None),
            used_ms: AtomicU64::new(0),
            opening: tokio::sync::Mutex::new(None),
            has_working_set: AtomicBool::new(false),
            is_damaged: AtomicBool::new(false),
            check_at: Mutex::new(Some(Instant::now())),
        }
    }

    /// Whether the caller is the first to have a working set for this version.
    pub(super) fn begin_working_set(&self) -> bool {
        !self.has_working_set.swap(true, Relaxed)
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Relaxed)
    }

    pub(super) fn set_damaged(&self, is_damaged: bool) {
        self.is_damaged.store(is_damaged, Relaxed);
    }

    /// Whether the caller is to look whether the snapshot is whole, and then to say when it may be looked at again.
    pub(super) fn begin_check(&self) -> bool {
        let mut check_at = self.check_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = check_at.is_some_and(|at| Instant::now() >= at);
        if is_due {
            *check_at = None;
        }
        is_due
    }

    pub(super) fn end_check(&self, next: Instant) {
        *self.check_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    fn opened(&self) -> MutexGuard<'_, Option<Arc<Deployed>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same slot for what the registry says now. The snapshot stays open if it is the same, and is run alike.
    fn renewed(before: Option<&Arc<Self>>, version: Version, function: &Function) -> Arc<Self> {
        let reserved = function.reserved_concurrency;
        let runs_alike = |before: &&Arc<Self>| {
            let before = &before.version;
            before.snapshot == version.snapshot && before.settings == version.settings
        };
        let Some(before) = before.filter(runs_alike) else {
            return Arc::new(Self::new(version, reserved));
        };
        if before.version == version && before.reserved == reserved {
            return Arc::clone(before);
        }
        let renewed = Self::new(version, reserved);
        if let Some(deployed) = &*before.opened() {
            let snapshot = Arc::clone(&deployed.snapshot);
            *renewed.opened() = Some(renewed.deployed(&function.name, snapshot));
        }
        let has_working_set = before.has_working_set.load(Relaxed);
        renewed.has_working_set.store(has_working_set, Relaxed);
        renewed.used_ms.store(before.used_ms.load(Relaxed), Relaxed);
        Arc::new(renewed)
    }

    fn deployed(&self, function: &FunctionName, snapshot: Arc<OpenSnapshot>) -> Arc<Deployed> {
        Arc::new(Deployed {
            function: function.clone(),
            version: self.version.number,
            settings: self.version.settings.clone(),
            reserved_concurrency: self.reserved,
            snapshot,
        })
    }
}

impl Entry {
    /// Whether requests that name no version may be sent to `number`.
    pub(super) fn leads_to(&self, number: VersionNumber) -> bool {
        let function = &self.function;
        function.live == number || function.aliases.values().any(|to| to.names(number))
    }

    /// VMs of `number` that are kept ready although nobody asks.
    pub(super) fn ready(&self, number: VersionNumber) -> u32 {
        let Some(slot) = self.versions.get(&number) else {
            return 0;
        };
        let of_settings = match self.leads_to(number) {
            true => slot.version.settings.min_ready,
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

    /// The version that is live.
    pub(super) fn live(&self) -> Option<&Arc<Slot>> {
        self.versions.get(&self.function.live)
    }
}

impl Directory {
    /// Everything that is in `registry`.
    pub(super) fn read(registry: &dyn Registry, open_max: usize) -> Result<Self, RegistryError> {
        let mut entries = BTreeMap::new();
        let mut after = None;
        loop {
            let page = registry.functions(after.as_ref(), PAGE_LEN)?;
            let is_last = page.len() < PAGE_LEN;
            after = page.last().map(|function| function.name.clone());
            for function in page {
                let entry = read_entry(registry, function, None)?;
                entries.insert(entry.function.name.clone(), Arc::new(entry));
            }
            if is_last {
                break;
            }
        }
        Ok(Self {
            entries: RwLock::new(entries),
            made: Instant::now(),
            open_max: AtomicUsize::new(open_max),
            open_count: AtomicUsize::new(0),
        })
    }

    /// Takes over what the registry has of a function.
    pub(super) fn reload(
        &self,
        registry: &dyn Registry,
        name: &FunctionName,
    ) -> Result<Followed, RegistryError> {
        let before = self.get(name);
        let after = match registry.function(name) {
            Ok(function) => {
                let entry = read_entry(registry, function, before.as_deref())?;
                Some(Arc::new(entry))
            }
            Err(RegistryError::NoFunction(_)) => None,
            Err(error) => return Err(error),
        };
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        match &after {
            Some(entry) => entries.insert(name.clone(), Arc::clone(entry)),
            None => entries.remove(name),
        };
        Ok(Followed { before, after })
    }

    pub(super) fn get(&self, name: &FunctionName) -> Option<Arc<Entry>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(name).cloned()
    }

    /// Up to `limit` entries behind `after`.
    pub(super) fn list(&self, after: Option<&FunctionName>, limit: usize) -> Vec<Arc<Entry>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = entries.range((start, Bound::Unbounded));
        range
            .take(limit)
            .map(|(_, entry)| Arc::clone(entry))
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.len()
    }

    /// What the slot has open, if anything.
    pub(super) fn opened(&self, slot: &Slot) -> Option<Arc<Deployed>> {
        let deployed = slot.opened().clone()?;
        slot.used_ms.store(self.now_ms(), Relaxed);
        Some(deployed)
    }

    /// Keeps a snapshot open in a slot, in place of the one it has. Beyond the limit, the half of the open ones
    /// that was not used for longest is closed; who runs on one keeps it.
    pub(super) fn keep_open(
        &self,
        function: &FunctionName,
        slot: &Slot,
        snapshot: Arc<OpenSnapshot>,
    ) -> Arc<Deployed> {
        let deployed = slot.deployed(function, snapshot);
        let before = slot.opened().replace(Arc::clone(&deployed));
        slot.used_ms.store(self.now_ms(), Relaxed);
        if before.is_none() && self.open_count.fetch_add(1, Relaxed) >= self.open_max.load(Relaxed)
        {
            self.close_unused();
        }
        deployed
    }

    /// Closes what the slot has open, if it is this snapshot: the next request opens or rebuilds it.
    pub(super) fn close(&self, slot: &Slot, snapshot: &Arc<OpenSnapshot>) -> bool {
        let mut opened = slot.opened();
        let is_it = |deployed: &Arc<Deployed>| Arc::ptr_eq(&deployed.snapshot, snapshot);
        let is_open = opened.as_ref().is_some_and(is_it);
        if is_open {
            *opened = None;
        }
        is_open
    }

    /// Snapshots that may be open from now on; those beyond it are closed with the next one that is opened.
    pub(super) fn set_open_max(&self, open_max: usize) {
        self.open_max.store(open_max, Relaxed);
    }

    fn close_unused(&self) {
        let mut open: Vec<_> = self
            .list(None, usize::MAX)
            .iter()
            .flat_map(|entry| entry.versions.values())
            .filter(|slot| slot.opened().is_some())
            .cloned()
            .collect();
        let open_max = self.open_max.load(Relaxed);
        if open.len() > open_max {
            open.sort_by_key(|slot| slot.used_ms.load(Relaxed));
            for slot in open.drain(..open.len() - open_max / 2) {
                *slot.opened() = None;
            }
        }
        self.open_count.store(open.len(), Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn read_entry(
    registry: &dyn Registry,
    function: Function,
    before: Option<&Entry>,
) -> Result<Entry, RegistryError> {
    let mut versions = BTreeMap::new();
    loop {
        let after = versions.keys().next_back().copied();
        let page = registry.versions(&function.name, after, PAGE_LEN)?;
        let is_last = page.len() < PAGE_LEN;
        for version in page {
            let slot = before.and_then(|before| before.versions.get(&version.number));
            versions.insert(version.number, Slot::renewed(slot, version, &function));
        }
        if is_last {
            return Ok(Entry { function, versions });
        }
    }
}
