//! Connections to one database that one version of a function uses: each has one call at a time, and waits for the next.
//!
//! Not one connection for all calls: a slow command would keep all behind it, and a call that its request has dropped would leave
//! a reply for somebody else to take. So a call whose request ends takes its connection along.

use std::{
    mem,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

use super::connection::Connection;

/// Connections of one version to one database: so many may have a call, a call more waits for one of them, and one is made only if
/// none waits for a call.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// Those of one version that wait for a call, so that none has all places.
pub(super) const IDLE_PER_VERSION_MAX: usize = 128;
/// Those of all functions that wait for a call.
pub(super) const IDLE_MAX: usize = 1024;
/// How long one waits for a call.
const IDLE_TIME_MAX: Duration = Duration::from_secs(5 * 60);

/// One that waits.
struct Idle {
    connection: Connection,
    since: Instant,
    /// Its places among those of its version and among all that wait.
    _places: [OwnedSemaphorePermit; 2],
}

/// See the module.
pub(super) struct Pool {
    idle: Mutex<Vec<Idle>>,
    /// Places for those that have a call.
    pub(super) turns: Semaphore,
    /// Places for those of the version that wait.
    own_places: Arc<Semaphore>,
    /// Places for those of all functions that wait.
    pub(super) places: Arc<Semaphore>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool that shares `own_places` with the version's others, and `places` with all.
    pub(super) fn new(own_places: &Arc<Semaphore>, places: &Arc<Semaphore>) -> Self {
        Self {
            idle: Mutex::default(),
            turns: Semaphore::new(CONNECTIONS_MAX),
            own_places: Arc::clone(own_places),
            places: Arc::clone(places),
        }
    }

    /// A connection that can be used, the one that was used last.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut all = self.idle.lock();
        while let Some(mut idle) = all.pop() {
            if idle.since.elapsed() < IDLE_TIME_MAX && idle.connection.is_ready() {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps a connection that is of further use, if there is a place for it.
    pub(super) fn keep(self: &Arc<Self>, mut connection: Connection) {
        if !connection.is_ready() {
            return;
        }
        let place = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned();
        let (Ok(own), Ok(all_place)) = (place(&self.own_places), place(&self.places)) else {
            return;
        };
        let mut all = self.idle.lock();
        let is_first = all.is_empty();
        all.push(Idle {
            connection,
            since: Instant::now(),
            _places: [own, all_place],
        });
        drop(all);
        if is_first {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what has waited for too long. Whether anything waits still.
    fn close_old(&self) -> bool {
        let mut all = self.idle.lock();
        let is_old = |idle: &mut Idle| idle.since.elapsed() >= IDLE_TIME_MAX;
        let old: Vec<_> = all.extract_if(.., is_old).collect();
        let is_used = !all.is_empty();
        drop(all);
        mem::drop(old);
        is_used
    }
}

/// Closes old connections until none is left or the pool is gone.
async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(IDLE_TIME_MAX / 5).await;
        if !pool.upgrade().is_some_and(|pool| pool.close_old()) {
            return;
        }
    }
}
