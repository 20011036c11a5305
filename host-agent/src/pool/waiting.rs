//! A request in a queue, until it has a VM, its time is over, or its client has gone.

use tokio::{sync::oneshot, time::timeout};

use super::{Granted, Pool, Reason, Refused, Vms, WaiterId};

/// A request that waits. Dropping it takes the request out of its queue.
pub(super) struct Waiting<'a, V: Vms> {
    pub(super) pool: &'a Pool<V>,
    pub(super) waiter: WaiterId,
    pub(super) granted: oneshot::Receiver<Granted<V>>,
}

impl<V: Vms> Waiting<'_, V> {
    pub(super) async fn wait(&mut self) -> Granted<V> {
        let time_max = self.pool.config.queue_time_max();
        let granted = match timeout(time_max, &mut self.granted).await {
            Ok(granted) => granted,
            Err(_) => match self.give_up() {
                Some(reason) => return Err(reason.into()),
                // It got its answer in this moment, which is on its way.
                None => (&mut self.granted).await,
            },
        };
        granted.unwrap_or(Err(Refused::ShuttingDown))
    }

    /// The same, of a request that counts on a VM that settles: if it takes too long, another one is started.
    pub(super) async fn wait_settling(&mut self) -> Granted<V> {
        let soon = self.pool.config.settle_wait();
        if let Ok(granted) = timeout(soon, &mut self.granted).await {
            return granted.unwrap_or(Err(Refused::ShuttingDown));
        }
        self.pool
            .with(|state, now| state.plan.hurry(now, self.waiter));
        self.wait().await
    }

    fn give_up(&self) -> Option<Reason> {
        self.pool.with(|state, now| {
            state.waiters.remove(&self.waiter);
            state.plan.give_up(now, self.waiter)
        })
    }
}

impl<V: Vms> Drop for Waiting<'_, V> {
    fn drop(&mut self) {
        self.give_up();
    }
}
