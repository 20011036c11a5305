//! Connections to one database that are kept, for one version of a function: none is used by another.
//!
//! ```text
//! take ─ one that waits, or a new one ─▶ Lease ─ dropped ─▶ put in order ─▶ waits, 5 minutes at most
//!                                        │ ▲            └▶ ended, if something runs on it or is wrong with it
//!                                        ▼ └ its next statement
//!                       kept for its request, 5 ms at most ─ time over, request ended, somebody waits ─▶ dropped
//! ```

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use jiffy_abi::call::{CallErrorKind, Sent};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{
    connection::{CancelTarget, Connection, Reach},
    url::Target,
};
use crate::Failure;

/// Connections of a version to one database at most, those that wait for use among them.
pub(super) const CONNECTIONS_MAX: usize = 16;
/// How long a call waits for one of them. Those that have one may wait for others, and so for one another.
pub(super) const PLACE_TIME_MAX: Duration = Duration::from_secs(5);
/// Connections of all functions that wait for use at most.
pub(super) const IDLE_MAX: usize = 1024;
/// How long one waits for use.
pub(super) const IDLE_TIME_MAX: Duration = Duration::from_secs(300);
/// How long a request keeps the connection of a statement for its next one. So long may what the statement left, such as a lock, be there.
pub(super) const OWN_TIME_MAX: Duration = Duration::from_millis(5);
/// How often those are looked for that have waited as long.
const SWEEP_TIME: Duration = Duration::from_secs(20);
/// How long a URL is used before it is read again.
pub(super) const URL_TIME_MAX: Duration = Duration::from_secs(10);

/// What is read of the secrets: the URL.
pub(super) type Reading = Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>> + Send>>;

/// Reads it.
pub(super) trait ReadUrl: Send + Sync {
    fn read(&self) -> Reading;
}

/// See the module.
pub(super) struct Pool {
    reach: Reach,
    url: Box<dyn ReadUrl>,
    /// Places for connections.
    places: Arc<Semaphore>,
    shared: Shared,
    waiting: Mutex<Waiting>,
}

/// What all pools share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    /// Turns to end statements that nobody waits for.
    pub(super) cancels: Arc<Semaphore>,
    /// Places for connections that wait.
    pub(super) idle: Arc<Semaphore>,
}

#[derive(Default)]
struct Waiting {
    known: Option<Known>,
    idle: Vec<Idle>,
    /// Somebody looks for those that have waited too long.
    is_swept: bool,
    /// Those that requests keep, which are not in order.
    own: Vec<Kept>,
    /// Somebody looks for those that were kept too long.
    is_tended: bool,
    /// Calls that wait for a place.
    wanting: usize,
}

/// One that a request keeps.
struct Kept {
    request: u64,
    lease: Lease,
    since: Instant,
}

/// A URL that was read.
#[derive(Clone)]
struct Known {
    target: Arc<Target>,
    digest: [u8; 32],
    read: Instant,
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.read.elapsed() < URL_TIME_MAX
    }
}

struct Idle {
    connection: Connection,
    target: Arc<Target>,
    since: Instant,
    /// Its place among all that wait.
    _place: OwnedSemaphorePermit,
}

/// A connection that somebody uses.
pub(super) struct Lease {
    connection: Option<Connection>,
    pool: Arc<Pool>,
    target: Arc<Target>,
    place: Option<OwnedSemaphorePermit>,
    /// In a transaction that is not over: the database rolls it back when the connection ends.
    is_in_transaction: bool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(reach: Reach, url: Box<dyn ReadUrl>, shared: &Shared) -> Arc<Self> {
        Arc::new(Self {
            reach,
            url,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            shared: shared.clone(),
            waiting: Mutex::default(),
        })
    }

    /// The connection that a request keeps, or another when there is one.
    pub(super) async fn take_for(self: &Arc<Self>, request: u64) -> Result<Lease, Failure> {
        let own = self.take_own(request);
        match own.filter(|lease| self.is_current(&lease.target) && !lease.is_broken()) {
            Some(lease) => Ok(lease),
            None => self.take().await,
        }
    }

    /// A connection, when there is one. It is in order.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Lease, Failure> {
        let place = self.place().await?;
        let fresh = {
            let waiting = self.waiting.lock();
            let known = waiting.known.as_ref();
            known.is_some_and(Known::is_fresh)
        };
        if !fresh {
            self.read_url().await?;
        }
        if let Some(idle) = self.take_idle() {
            return Ok(self.lease(idle.connection, idle.target, place));
        }
        // Where it leads and as whom is always what is set now.
        let target = self.read_url().await?;
        let connection = Connection::open(&self.reach, &target).await?;
        Ok(self.lease(connection, target, place))
    }

    /// A place for a connection. If there is none, a request that keeps one gives it back.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _wanting = Wanting::new(self);
        let place = timeout(PLACE_TIME_MAX, Arc::clone(&self.places).acquire_owned());
        let late = |_| {
            let message = format!(
                "all {CONNECTIONS_MAX} connections to the database are in use: end transactions sooner, and ask within them"
            );
            Failure::new(CallErrorKind::Limit, Sent::No, message)
        };
        let place = place.await.map_err(late)?;
        let ended = |_| {
            let message = "the host ends".into();
            Failure::new(CallErrorKind::Failed, Sent::No, message)
        };
        place.map_err(ended)
    }

    /// Whether a connection that was made with it may be used without reading the URL again.
    fn is_current(&self, target: &Arc<Target>) -> bool {
        let waiting = self.waiting.lock();
        let known = waiting.known.as_ref();
        known.is_some_and(|known| known.is_fresh() && Arc::ptr_eq(&known.target, target))
    }

    fn take_own(&self, request: u64) -> Option<Lease> {
        let mut waiting = self.waiting.lock();
        let place = waiting.own.iter().position(|own| own.request == request)?;
        Some(waiting.own.swap_remove(place).lease)
    }

    /// What a request keeps is put in order.
    pub(super) fn give_back(&self, request: u64) {
        let own = self.take_own(request);
        drop(own);
    }

    /// Has a request keep a connection that is in no transaction, unless it keeps one or somebody waits: then it is put in order.
    pub(super) fn keep_for(self: &Arc<Self>, request: u64, lease: Lease) {
        let is_fit = lease.connection.as_ref().is_some_and(Connection::is_fit);
        let mut waiting = self.waiting.lock();
        let has_one = waiting.own.iter().any(|own| own.request == request);
        if !is_fit || has_one || waiting.wanting > 0 {
            return;
        }
        let since = Instant::now();
        waiting.own.push(Kept {
            request,
            lease,
            since,
        });
        if !waiting.is_tended {
            waiting.is_tended = true;
            tokio::spawn(tend(Arc::downgrade(self)));
        }
    }

    fn lease(
        self: &Arc<Self>,
        connection: Connection,
        target: Arc<Target>,
        place: OwnedSemaphorePermit,
    ) -> Lease {
        Lease {
            connection: Some(connection),
            pool: Arc::clone(self),
            target,
            place: Some(place),
            is_in_transaction: false,
        }
    }

    fn take_idle(&self) -> Option<Idle> {
        let mut waiting = self.waiting.lock();
        // The one that was used last.
        while let Some(idle) = waiting.idle.pop() {
            if idle.since.elapsed() < IDLE_TIME_MAX && idle.connection.is_ready() {
                return Some(idle);
            }
        }
        None
    }

    /// Reads the URL. If it is another, no connection that was made with the one before is used again.
    async fn read_url(&self) -> Result<Arc<Target>, Failure> {
        let url = self.url.read().await;
        let url = match url {
            Ok(url) => url,
            Err(failure) => {
                self.forget();
                return Err(failure);
            }
        };
        let digest: [u8; 32] = Sha256::digest(&url).into();
        let mut waiting = self.waiting.lock();
        let read = Instant::now();
        if let Some(known) = &mut waiting.known
            && known.digest == digest
        {
            known.read = read;
            return Ok(Arc::clone(&known.target));
        }
        drop(waiting);
        let target = Target::parse(&url).map_err(|rule| {
            self.forget();
            let message = format!("the secret is not a database's URL: {rule}");
            Failure::new(CallErrorKind::Failed, Sent::No, message)
        })?;
        let target = Arc::new(target);
        let mut waiting = self.waiting.lock();
        waiting.idle.clear();
        waiting.known = Some(Known {
            target: Arc::clone(&target),
            digest,
            read,
        });
        Ok(target)
    }

    fn forget(&self) {
        let mut waiting = self.waiting.lock();
        waiting.known = None;
        waiting.idle.clear();
    }

    /// Has a connection wait, if its URL is what is set.
    fn keep(self: &Arc<Self>, connection: Connection, target: Arc<Target>) {
        let Ok(place) = Arc::clone(&self.shared.idle).try_acquire_owned() else {
            return;
        };
        let mut waiting = self.waiting.lock();
        let known = waiting.known.as_ref();
        if !known.is_some_and(|known| Arc::ptr_eq(&known.target, &target)) {
            return;
        }
        waiting.idle.push(Idle {
            connection,
            target,
            since: Instant::now(),
            _place: place,
        });
        if !waiting.is_swept {
            waiting.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.waiting.lock().idle.len()
    }

    #[cfg(test)]
    pub(super) fn own(&self) -> usize {
        self.waiting.lock().own.len()
    }

    /// Nobody uses a connection, and none is being put in order.
    #[cfg(test)]
    pub(super) fn is_quiet(&self) -> bool {
        self.places.available_permits() == CONNECTIONS_MAX
    }

    /// Has the URL read again.
    #[cfg(test)]
    pub(super) fn expire(&self) {
        if let Some(known) = &mut self.waiting.lock().known {
            known.read = known.read.checked_sub(URL_TIME_MAX).expect("past");
        }
    }
}

/// A call that waits for a place.
struct Wanting<'a>(&'a Pool);

impl<'a> Wanting<'a> {
    /// None is kept from now on, and the one that was kept longest is given back.
    fn new(pool: &'a Pool) -> Self {
        let mut waiting = pool.waiting.lock();
        waiting.wanting += 1;
        let oldest = (0..waiting.own.len()).min_by_key(|place| waiting.own[*place].since);
        let oldest = oldest.map(|place| waiting.own.swap_remove(place));
        drop(waiting);
        drop(oldest);
        Self(pool)
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().wanting -= 1;
    }
}

/// Has connections given back that requests keep too long, until none are kept.
async fn tend(pool: Weak<Pool>) {
    let mut time = OWN_TIME_MAX;
    loop {
        sleep(time).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut waiting = pool.waiting.lock();
        let is_late = |own: &Kept| own.since.elapsed() >= OWN_TIME_MAX;
        let all = mem::take(&mut waiting.own).into_iter();
        let (late, own): (Vec<_>, Vec<_>) = all.partition(is_late);
        let oldest = own.iter().map(|own| own.since).min();
        waiting.own = own;
        waiting.is_tended = oldest.is_some();
        drop(waiting);
        drop(late);
        let Some(oldest) = oldest else { return };
        time = OWN_TIME_MAX.saturating_sub(oldest.elapsed());
    }
}

/// Ends connections that wait too long, until there are none.
async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(SWEEP_TIME).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut waiting = pool.waiting.lock();
        let is_of_use =
            |idle: &Idle| idle.since.elapsed() < IDLE_TIME_MAX && idle.connection.is_ready();
        waiting.idle.retain(is_of_use);
        if waiting.idle.is_empty() {
            waiting.is_swept = false;
            return;
        }
    }
}

impl Lease {
    /// The connection; an error if it has ended.
    pub(super) fn connection(&mut self) -> Result<&mut Connection, Failure> {
        let ended = || {
            let message = "the connection to the database has ended".into();
            Failure::new(CallErrorKind::Failed, Sent::No, message)
        };
        self.connection.as_mut().ok_or_else(ended)
    }

    /// Whether it is of no further use.
    pub(super) fn is_broken(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_none_or(|connection| !connection.is_ready())
    }

    /// Whether it is in a transaction from now on.
    pub(super) fn set_in_transaction(&mut self, is_in_transaction: bool) {
        self.is_in_transaction = is_in_transaction;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(connection), Some(place)) = (self.connection.take(), self.place.take()) else {
            return;
        };
        if self.is_in_transaction && connection.is_ready() {
            return;
        }
        let (pool, target) = (Arc::clone(&self.pool), Arc::clone(&self.target));
        let at = CancelTarget {
            target: Arc::clone(&self.target),
            turns: Arc::clone(&self.pool.shared.cancels),
        };
        connection.release(self.pool.reach.clone(), at, place, move |connection| {
            pool.keep(connection, target);
        });
    }
}
