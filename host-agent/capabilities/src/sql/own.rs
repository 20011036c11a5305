//! The connections that a request keeps for its next statement: one to each database, for `pool::OWN_TIME_MAX` at most.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

use super::pool::{Lease, Pool};

/// Those of one request, which ends with this.
#[derive(Debug)]
pub(super) struct Own {
    /// Whose they are: the pools have them, so that whoever waits for one gets it.
    request: u64,
    pools: Mutex<Vec<Weak<Pool>>>,
}

impl Default for Own {
    fn default() -> Self {
        static REQUESTS: AtomicU64 = AtomicU64::new(0);
        Self {
            request: REQUESTS.fetch_add(1, Relaxed),
            pools: Mutex::default(),
        }
    }
}

impl Own {
    pub(super) fn request(&self) -> u64 {
        self.request
    }

    /// Keeps the connection of a statement, if it can be.
    pub(super) fn keep(&self, pool: &Arc<Pool>, lease: Lease) {
        let mut pools = self.pools.lock();
        if !pools
            .iter()
            .any(|known| known.as_ptr() == Arc::as_ptr(pool))
        {
            pools.push(Arc::downgrade(pool));
        }
        drop(pools);
        pool.keep_for(self.request, lease);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for pool in self.pools.get_mut().iter().filter_map(Weak::upgrade) {
            pool.give_back(self.request);
        }
    }
}
