//! Which snapshots are open.
//!
//! ```text
//! Slot: a version on this host ─▶ Deployed    opened by the first request, closed when it is unused for longest
//! ```
//!
//! A slot is made when its version is asked for, and made anew when the catalog has another record of it.
//! Not here: opening and building (`open`).

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use jiffy_snapshots::Digest;
use parking_lot::{Mutex, RwLock};

use super::Key;
use crate::{
    catalog::Entry,
    model::{FunctionId, Generation, Version, VersionNumber},
    pool::Deployed,
    vm::OpenSnapshot,
};

/// Why a snapshot cannot be used now.
#[derive(Clone, Debug)]
pub(crate) struct OpenFailure {
    pub(super) at: tokio::time::Instant,
    pub(crate) text: String,
}

/// A version, and its snapshot if that is open.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) function: FunctionId,
    pub(crate) version: Arc<Version>,
    pub(super) key: Key,
    /// The generation of the function that this is of.
    of: Generation,
    reserved: Option<u32>,
    opened: Mutex<Option<Arc<Deployed>>>,
    /// When it was opened or asked for last, milliseconds since the slots were made.
    used_ms: AtomicU64,
    /// Held while the snapshot is opened or rebuilt; the last failure to do so.
    pub(super) opening: tokio::sync::Mutex<Option<OpenFailure>>,
    /// Whether somebody writes, or wrote, a working set.
    has_working_set: AtomicBool,
    /// Its snapshot is damaged on disk, and is being made again.
    is_damaged: AtomicBool,
    /// Until then its snapshot is not looked at again; `None` while it is looked at.
    check_at: Mutex<Option<Instant>>,
}

impl Slot {
    /// The slot of a version as `entry` has it. The snapshot of the one before stays open if it is the same, and is run alike.
    fn new(entry: &Entry, version: &Arc<Version>, before: Option<&Self>) -> Self {
        let function = entry.function.name.clone();
        let slot = Self {
            key: Key::new(&function, &version.image, &version.settings),
            function,
            version: Arc::clone(version),
            of: entry.function.generation,
            reserved: entry.function.reserved_concurrency,
            opened: Mutex::new(None),
            used_ms: AtomicU64::new(0),
            opening: tokio::sync::Mutex::new(None),
            has_working_set: AtomicBool::new(false),
            is_damaged: AtomicBool::new(false),
            check_at: Mutex::new(Some(Instant::now())),
        };
        if let Some(before) = before
            && before.key == slot.key
            && before.version.settings == version.settings
        {
            let opened = before.opened.lock().clone();
            let opened = opened.map(|deployed| slot.deployed(Arc::clone(&deployed.snapshot)));
            *slot.opened.lock() = opened;
            let has_working_set = before.has_working_set.load(Relaxed);
            slot.has_working_set.store(has_working_set, Relaxed);
            slot.used_ms.store(before.used_ms.load(Relaxed), Relaxed);
        }
        slot
    }

    fn is_of(&self, entry: &Entry, version: &Version) -> bool {
        self.version.generation == version.generation
            && self.reserved == entry.function.reserved_concurrency
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
        let mut check_at = self.check_at.lock();
        let is_due = check_at.is_some_and(|at| Instant::now() >= at);
        if is_due {
            *check_at = None;
        }
        is_due
    }

    pub(super) fn end_check(&self, next: Instant) {
        *self.check_at.lock() = Some(next);
    }

    fn deployed(&self, snapshot: Arc<OpenSnapshot>) -> Arc<Deployed> {
        Arc::new(Deployed {
            function: self.function.clone(),
            version: self.version.number,
            settings: self.version.settings.clone(),
            reserved_concurrency: self.reserved,
            snapshot,
        })
    }
}

/// All slots.
#[derive(Debug)]
pub(super) struct Slots {
    slots: RwLock<BTreeMap<FunctionId, BTreeMap<VersionNumber, Arc<Slot>>>>,
    made: Instant,
    open_max: AtomicUsize,
    /// Snapshots that were opened since unused ones were closed; those of deleted versions count until then.
    open_count: AtomicUsize,
}

impl Slots {
    pub(super) fn new(open_max: usize) -> Self {
        Self {
            slots: RwLock::default(),
            made: Instant::now(),
            open_max: AtomicUsize::new(open_max),
            open_count: AtomicUsize::new(0),
        }
    }

    /// The slot of a version of `entry`.
    pub(super) fn of(&self, entry: &Entry, version: &Arc<Version>) -> Arc<Slot> {
        let name = &entry.function.name;
        {
            let slots = self.slots.read();
            let slot = slots.get(name).and_then(|of| of.get(&version.number));
            if let Some(slot) = slot.filter(|slot| slot.is_of(entry, version)) {
                return Arc::clone(slot);
            }
        }
        let mut slots = self.slots.write();
        let of_function = slots.entry(name.clone()).or_default();
        let before = of_function.get(&version.number);
        match before {
            Some(slot) if slot.is_of(entry, version) => return Arc::clone(slot),
            // A request that began before a change does not undo it.
            Some(slot) if slot.of > entry.function.generation => {
                return Arc::new(Slot::new(entry, version, None));
            }
            _ => {}
        }
        let slot = Arc::new(Slot::new(entry, version, before.map(|slot| &**slot)));
        of_function.insert(version.number, Arc::clone(&slot));
        slot
    }

    /// What the slot has open, if anything.
    pub(super) fn opened(&self, slot: &Slot) -> Option<Arc<Deployed>> {
        let deployed = slot.opened.lock().clone()?;
        slot.used_ms.store(self.now_ms(), Relaxed);
        Some(deployed)
    }

    /// Keeps a snapshot open in a slot. Returns it, and what was open there before. Beyond the limit, the half of the open ones
    /// that was not used for longest is closed; who runs on one keeps it.
    pub(super) fn keep_open(
        &self,
        slot: &Slot,
        snapshot: Arc<OpenSnapshot>,
    ) -> (Arc<Deployed>, Option<Arc<Deployed>>) {
        let deployed = slot.deployed(snapshot);
        let before = slot.opened.lock().replace(Arc::clone(&deployed));
        slot.used_ms.store(self.now_ms(), Relaxed);
        if before.is_none() && self.open_count.fetch_add(1, Relaxed) >= self.open_max.load(Relaxed)
        {
            self.close_unused();
        }
        (deployed, before)
    }

    /// Closes what the slot has open, if it is this snapshot: the next request opens or rebuilds it.
    pub(super) fn close(&self, slot: &Slot, snapshot: &Arc<OpenSnapshot>) -> bool {
        let mut opened = slot.opened.lock();
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

    /// Closes what `is_there` refuses.
    pub(super) fn retain(&self, is_there: impl Fn(&FunctionId, VersionNumber) -> bool) {
        let mut slots = self.slots.write();
        slots.retain(|name, of_function| {
            of_function.retain(|number, _| is_there(name, *number));
            !of_function.is_empty()
        });
    }

    /// Snapshots that are open.
    pub(super) fn snapshots(&self) -> Vec<Digest> {
        let open = self.open().into_iter();
        let digest =
            |slot: Arc<Slot>| Some(slot.opened.lock().as_ref()?.snapshot.snapshot.digest());
        open.filter_map(digest).collect()
    }

    /// Slots with an open snapshot.
    fn open(&self) -> Vec<Arc<Slot>> {
        let slots = self.slots.read();
        let slots = slots.values().flat_map(BTreeMap::values);
        let open = slots.filter(|slot| slot.opened.lock().is_some());
        open.cloned().collect()
    }

    fn close_unused(&self) {
        let mut open = self.open();
        let open_max = self.open_max.load(Relaxed);
        if open.len() > open_max {
            open.sort_by_key(|slot| slot.used_ms.load(Relaxed));
            for slot in open.drain(..open.len() - open_max / 2) {
                *slot.opened.lock() = None;
            }
        }
        self.open_count.store(open.len(), Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::testing::entry, model::Settings, vm::fake};

    fn open(slots: &Slots) -> usize {
        slots.open().len()
    }

    #[test]
    fn open_snapshots_are_bounded() {
        let slots = Slots::new(4);
        let settings = Settings::default();
        for index in 0..20 {
            let entry = entry(&format!("f{index}"), 1);
            let slot = slots.of(&entry, entry.live().expect("live"));
            slots.keep_open(&slot, fake::snapshot(b"one", &settings));
            assert!(open(&slots) <= 4);
        }
        assert!(open(&slots) >= 2);
        slots.retain(|_, _| false);
        assert_eq!(open(&slots), 0);
    }

    /// A request that looked the function up before a change neither undoes it nor gets what is not its version's.
    #[test]
    fn a_slot_never_goes_back() {
        let slots = Slots::new(4);
        let (mut before, mut after) = (entry("f", 1), entry("f", 2));
        let live = |entry: &Entry| Arc::clone(entry.live().expect("live"));
        let old = slots.of(&before, &live(&before));
        let new = slots.of(&after, &live(&after));
        assert!(!Arc::ptr_eq(&old, &new));
        let late = slots.of(&before, &live(&before));
        assert_eq!(late.version.generation, Generation(1));
        assert!(Arc::ptr_eq(&new, &slots.of(&after, &live(&after))));
        // Another limit is another slot, with the same snapshot still open.
        let (deployed, _) = slots.keep_open(&new, fake::snapshot(b"one", &Settings::default()));
        after.function.reserved_concurrency = Some(3);
        after.function.generation = Generation(3);
        let limited = slots.of(&after, &live(&after));
        let opened = slots.opened(&limited).expect("open");
        assert_eq!(opened.reserved_concurrency, Some(3));
        assert!(Arc::ptr_eq(&opened.snapshot, &deployed.snapshot));
        // Other settings are another snapshot.
        before = entry("f", 4);
        let version = Version {
            settings: Settings {
                memory_bytes: 32 << 20,
                ..Settings::default()
            },
            ..Version::clone(&live(&before))
        };
        let slot = slots.of(&before, &Arc::new(version));
        assert!(slots.opened(&slot).is_none());
    }
}
