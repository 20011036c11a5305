//! Reads that may have to wait for the disk: on threads of the runtime, few at once, and none that nobody waits for any more.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use jiffy_client::CallFuture;
use jiffy_control::Reply;
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle};

use crate::{Failure, reply};

/// Reads of one capability at once: making VMs takes such threads, too, of which tokio has 512.
const AT_ONCE_MAX: usize = 32;

/// The reads of one capability.
#[derive(Clone, Debug)]
pub(crate) struct Reads(Arc<Semaphore>);

impl Default for Reads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE_MAX)))
    }
}

impl Reads {
    /// Reads when it is its turn. `jiffy run` has one thread and no runtime, and reads at once.
    pub(crate) fn read(&self, read: impl FnOnce() -> Reply + Send + 'static) -> CallFuture {
        if Handle::try_current().is_err() {
            return reply(read());
        }
        let reads = self.clone();
        Box::pin(async move {
            let done = reads.result_of(read).await;
            done.unwrap_or_else(|| Failure::ended().into_reply())
        })
    }

    /// The same for a read that is a part of a call. `None`: the host ends.
    pub(crate) async fn result_of<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let Ok(runtime) = Handle::try_current() else {
            return Some(read());
        };
        let turn = Arc::clone(&self.0).acquire_owned().await.ok()?;
        let work = move || {
            let read = read();
            drop(turn);
            read
        };
        Work(runtime.spawn_blocking(work)).await
    }
}

/// Work of another thread or task. If nobody waits for it any more it is ended, or not begun.
pub(crate) struct Work<T>(pub(crate) JoinHandle<T>);

impl<T> Future for Work<T> {
    /// `None`: it ended without one.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{
            atomic::{AtomicUsize, Ordering::SeqCst},
            mpsc,
        },
    };

    use super::*;

    #[tokio::test]
    async fn few_read_at_once_and_what_nobody_waits_for_is_not_read() {
        let reads = Reads::default();
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(parking_lot::Mutex::new(gate));
        let begun = Arc::new(AtomicUsize::new(0));
        let read = || {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            reads.read(move || {
                begun.fetch_add(1, SeqCst);
                let _ = gate.lock().recv();
                Reply::ok(vec![])
            })
        };
        let mut reading: Vec<_> = (0..10 * AT_ONCE_MAX).map(|_| read()).collect();
        // Each is begun as far as it may be.
        poll_fn(|context| {
            for future in &mut reading {
                assert!(future.as_mut().poll(context).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        while begun.load(SeqCst) < AT_ONCE_MAX {
            tokio::task::yield_now().await;
        }
        drop(reading);
        drop(release);
        assert_eq!(read().await.error, None);
        assert_eq!(begun.load(SeqCst), AT_ONCE_MAX + 1);
    }
}
