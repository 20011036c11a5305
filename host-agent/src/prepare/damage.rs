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

use super::{Service, directory::Slot};
use crate::{
    model::FunctionName,
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

impl<V: Vms> Service<V> {
    /// Whether a request failed because the snapshot that its VM started from is damaged. If so, that is made again.
    pub(super) async fn was_damaged(
        self: &Arc<Self>,
        name: &FunctionName,
        slot: &Arc<Slot>,
        deployed: &Arc<Deployed>,
        error: &VmError,
    ) -> bool {
        // Such a request was never sent.
        if matches!(error, VmError::Request(_)) || !slot.begin_check() {
            return slot.is_damaged();
        }
        let (this, name) = (Arc::clone(self), name.clone());
        let (slot, deployed) = (Arc::clone(slot), Arc::clone(deployed));
        // In a task of its own: it is done although who asked has gone.
        let checking = tokio::spawn(async move { this.check(&name, &slot, &deployed).await });
        matches!(timeout(BLAME_TIME_MAX, checking).await, Ok(Ok(true)))
    }

    async fn check(
        self: &Arc<Self>,
        name: &FunctionName,
        slot: &Arc<Slot>,
        deployed: &Arc<Deployed>,
    ) -> bool {
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
        let version = deployed.version;
        tracing::warn!(function = %name, %version, error = %error_chain(&error), "a snapshot was damaged on disk: building it again");
        // Unless another was opened meanwhile.
        if self.directory.close(slot, &deployed.snapshot) {
            slot.set_damaged(true);
            self.pool.forget(name, Some(version));
            self.rebuilding.fetch_add(1, Relaxed);
            let (this, name, slot) = (Arc::clone(self), name.clone(), Arc::clone(slot));
            tokio::spawn(async move {
                if let Err(failure) = this.deployed(&name, &slot).await {
                    tracing::warn!(function = %name, error = %failure.text, "cannot build a snapshot again");
                }
                this.rebuilding.fetch_sub(1, Relaxed);
            });
        }
        true
    }
}
