//! Pages that a first request wrote: kept beside the snapshot, so that the next VM has them at once.

use std::sync::Arc;

use jiffy_control::error_chain;
use jiffy_snapshots::{PageRun, write_working_set};
use tokio::task::spawn_blocking;

use super::{Preparation, Slot};
use crate::{pool::Deployed, vm::Vms};

impl<V: Vms> Preparation<V> {
    /// Writes the pages that the first request wrote beside the snapshot, and uses them from then on.
    pub(crate) fn keep_working_set(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        deployed: &Arc<Deployed>,
        runs: Vec<(u64, u64)>,
    ) {
        if !slot.begin_working_set() {
            return;
        }
        let run = |(first, pages): (u64, u64)| {
            Some(PageRun {
                first_page: u32::try_from(first).ok()?,
                pages: u32::try_from(pages).ok()?,
            })
        };
        // The VMM says it, and may have been taken over: what is no page is left out here, and the rest checked below.
        let runs: Vec<_> = runs.into_iter().filter_map(run).collect();
        let (this, slot, deployed) = (Arc::clone(self), Arc::clone(slot), Arc::clone(deployed));
        tokio::spawn(async move {
            let function = &deployed.function;
            let digest = deployed.snapshot.snapshot.digest();
            let path = this.snapshots.path(&digest);
            let written = spawn_blocking(move || write_working_set(&path, &runs)).await;
            match written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let error = error_chain(&error);
                    tracing::debug!(%function, %error, "cannot keep a working set");
                    return;
                }
                Err(_) => return,
            }
            match this
                .open_snapshot(digest, function, &deployed.settings)
                .await
            {
                Ok(snapshot) => drop(this.use_snapshot(&slot, snapshot)),
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::debug!(%function, %error, "cannot open a snapshot again");
                }
            }
        });
    }
}
