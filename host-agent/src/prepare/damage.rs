//! Snapshots whose RAM was damaged on disk after they were opened: found when a VM of one breaks, and built again.
//!
//! Opening a snapshot reads its state and not its RAM, which would take too long. So a damaged page shows as a function
//! that faults, and would be blamed on it until the next deploy. After a request that failed, never before, all of RAM is
//! read and compared with its digest, and at most for a small part of the time: a function that breaks again and again
//! costs no more.
//! Not here: damage that is found when a snapshot is opened (`open`).

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use jiffy_control::error_chain;
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{Preparation, Slot};
use crate::{
    pool::Deployed,
    vm::{VmError, Vms},
};

/// A version's snapshot is not looked at more often than this.
const CHECK_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// Looking at a version's snapshot takes at most one in so many parts of the time, and looking at all of them a tenth of
/// that, whatever breaks how often.
const CHECK_TIME_SHARE: u32 = 100;
const ALL_CHECKS_TIME_SHARE: u32 = 10;
/// What a request that failed waits to know whose fault it was. Most snapshots take a millisecond.
const BLAME_TIME_MAX: Duration = Duration::from_millis(500);

impl<V: Vms> Preparation<V> {
    /// Whether a request failed because the snapshot that its VM started from is damaged. If so, that is made again.
    pub(crate) async fn was_damaged(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        deployed: &Arc<Deployed>,
        error: &VmError,
    ) -> bool {
        // Such a request was never sent.
        if matches!(error, VmError::Request(_)) || !slot.begin_check() {
            return slot.is_damaged();
        }
        let this = Arc::clone(self);
        let (slot, deployed) = (Arc::clone(slot), Arc::clone(deployed));
        // In a task of its own: it is done although who asked has gone.
        let checking = tokio::spawn(async move { this.check(&slot, &deployed).await });
        matches!(timeout(BLAME_TIME_MAX, checking).await, Ok(Ok(true)))
    }

    async fn check(self: &Arc<Self>, slot: &Arc<Slot>, deployed: &Arc<Deployed>) -> bool {
        let Ok(alone) = Arc::clone(&self.checks).acquire_owned().await else {
            return false;
        };
        let began = Instant::now();
        let snapshot = Arc::clone(&deployed.snapshot);
        let verified = spawn_blocking(move || snapshot.snapshot.verify_ram()).await;
        let took = began.elapsed();
        slot.end_check(Instant::now() + CHECK_INTERVAL_MIN.max(took * CHECK_TIME_SHARE));
        tokio::spawn(async move {
            sleep(took * ALL_CHECKS_TIME_SHARE).await;
            drop(alone);
        });
        let Ok(Err(error)) = verified else {
            return false;
        };
        let (name, version) = (&slot.function, deployed.version);
        tracing::warn!(function = %name, %version, error = %error_chain(&error), "a snapshot was damaged on disk: building it again");
        // Unless another was opened meanwhile.
        if self.slots.close(slot, &deployed.snapshot) {
            slot.set_damaged(true);
            self.forget_damaged(slot, deployed).await;
            self.pool.forget(name, Some(version));
            self.spawn_rebuild(slot);
        }
        true
    }

    async fn forget_damaged(self: &Arc<Self>, slot: &Slot, deployed: &Deployed) {
        let (this, damaged) = (Arc::clone(self), deployed.snapshot.snapshot.digest());
        let key = slot.key;
        let forget = move || {
            this.known
                .retain(|known, snapshot| (*known, *snapshot) != (key, damaged))
        };
        if let Ok(Err(error)) = spawn_blocking(forget).await {
            // It is found again after a restart.
            tracing::warn!(error = %error_chain(&error), "cannot forget a damaged snapshot");
        }
    }

    fn spawn_rebuild(self: &Arc<Self>, slot: &Arc<Slot>) {
        self.rebuilding.fetch_add(1, Relaxed);
        let (this, slot) = (Arc::clone(self), Arc::clone(slot));
        tokio::spawn(async move {
            if let Err(failure) = this.deployed(&slot).await {
                tracing::warn!(function = %slot.function, error = %failure.text, "cannot build a snapshot again");
            }
            this.rebuilding.fetch_sub(1, Relaxed);
        });
    }
}
