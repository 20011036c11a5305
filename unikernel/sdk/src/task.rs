//! Runs the future that a handler returns, if it is an `async fn`. There is one such task, on the one thread; calls are all that
//! it waits for, so that a wait is an exit, as it is without futures.

use alloc::{sync::Arc, task::Wake};
use core::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

use crate::platform;

/// How often a future may ask to be polled again before replies are waited for that are under way.
const TURNS_MAX: u32 = 64;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// What the future comes to.
///
/// # Panics
///
/// If it waits for something that never comes: that no call will bring.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut turns = 0;
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        let is_woken = woken.0.swap(false, Relaxed);
        turns = if is_woken { turns + 1 } else { TURNS_MAX };
        if turns >= TURNS_MAX {
            turns = 0;
            assert!(
                platform::wait_any() || is_woken,
                "the handler waits for a future that nothing wakes: await calls, and what is made of them"
            );
        }
    }
}

#[cfg(all(test, not(jiffy_guest)))]
mod tests {
    use core::{
        future::{pending, poll_fn, ready},
        task::Poll,
    };

    use super::*;

    #[test]
    fn a_future_that_is_woken_is_polled_until_it_is_ready() {
        assert_eq!(block_on(ready(7)), 7);
        let mut polls = 0;
        let slow = poll_fn(|context| {
            polls += 1;
            context.waker().wake_by_ref();
            match polls {
                1000 => Poll::Ready(polls),
                _ => Poll::Pending,
            }
        });
        assert_eq!(block_on(slow), 1000);
    }

    #[test]
    #[should_panic(expected = "the handler waits for a future that nothing wakes")]
    fn a_future_that_nothing_wakes_is_told() {
        block_on(pending::<()>());
    }
}
