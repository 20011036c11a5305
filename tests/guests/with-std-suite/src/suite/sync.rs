//! `sync`: locks, conditions, and what is made once.

use std::{
    sync::{
        Arc, Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock, TryLockError,
        atomic::{AtomicUsize, Ordering::*},
    },
    thread,
    time::{Duration, Instant},
};

tests! {
    mutex_counts mutex_try_lock mutex_into_inner mutex_of_unsized rwlock_many_read_one_writes rwlock_try
    rwlock_downgrade condvar_wakes_one condvar_wakes_all condvar_times_out condvar_in_time wait_while wait_timeout_while
    once_runs_once once_lock_is_set_once once_lock_races lazy_lock_runs_when_asked barrier_has_one_leader barrier_again
    arc_counts arc_get_mut_and_make_mut arc_unwrap arc_into_inner weak_after_the_last arc_cyclic arc_of_slices_and_texts
    arc_ptr_eq arc_compares locks_in_turns mutex_is_given_back_before_the_end condvar_ping_pong once_wait lazy_lock_force
    contended_rwlock statics_are_const once_lock_take
}

const MS: Duration = Duration::from_millis(1);

fn mutex_counts() {
    let count = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mut count = count.lock().expect("nobody panicked");
                    let seen = *count;
                    if seen % 50 == 0 {
                        thread::yield_now();
                    }
                    *count = seen + 1;
                }
            });
        }
    });
    assert_eq!(count.into_inner().ok(), Some(1200));
}

fn mutex_try_lock() {
    let lock = Mutex::new(1);
    let guard = lock.lock().expect("nobody panicked");
    assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    let seen = thread::scope(|scope| scope.spawn(|| lock.try_lock().is_err()).join());
    assert_eq!(seen.ok(), Some(true));
    drop(guard);
    *lock.try_lock().expect("free") += 1;
    assert_eq!(
        format!("{lock:?}"),
        "Mutex { data: 2, poisoned: false, .. }"
    );
}

fn mutex_into_inner() {
    let mut lock = Mutex::new(String::from("a"));
    lock.get_mut().expect("nobody panicked").push('b');
    assert!(!lock.is_poisoned());
    assert_eq!(lock.into_inner().ok().as_deref(), Some("ab"));
    assert_eq!(Mutex::<u8>::default().into_inner().ok(), Some(0));
}

fn mutex_of_unsized() {
    let lock: &Mutex<[i32]> = &Mutex::new([1, 2, 3]);
    lock.lock().expect("nobody panicked")[1] = 7;
    assert_eq!(*lock.lock().expect("nobody panicked"), [1, 7, 3]);
}

fn mutex_is_given_back_before_the_end() {
    let lock = Mutex::new(vec![1]);
    lock.lock().expect("nobody panicked").push(2);
    let len = lock.lock().expect("nobody panicked").len();
    assert_eq!(len, 2);
}

fn rwlock_many_read_one_writes() {
    let lock = RwLock::new((0, 0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let seen = lock.read().expect("nobody panicked");
                    thread::yield_now();
                    assert_eq!(seen.0, seen.1);
                }
            });
            scope.spawn(|| {
                for _ in 0..100 {
                    let mut both = lock.write().expect("nobody panicked");
                    both.0 += 1;
                    thread::yield_now();
                    both.1 += 1;
                }
            });
        }
    });
    assert_eq!(*lock.read().expect("nobody panicked"), (300, 300));
}

fn rwlock_try() {
    let lock = RwLock::new(1);
    let one = lock.read().expect("nobody panicked");
    let other = lock.try_read().expect("readers are welcome");
    assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
    drop((one, other));
    let writer = lock.try_write().expect("nobody reads");
    assert!(lock.try_read().is_err() && lock.try_write().is_err());
    drop(writer);
    assert!(lock.try_read().is_ok());
}

fn rwlock_downgrade() {
    let lock = RwLock::new(1);
    let mut writer = lock.write().expect("nobody panicked");
    *writer = 2;
    let reader = std::sync::RwLockWriteGuard::downgrade(writer);
    assert_eq!(
        (
            *reader,
            lock.try_read().map(|value| *value).ok(),
            lock.try_write().is_err()
        ),
        (2, Some(2), true)
    );
}

fn contended_rwlock() {
    let (lock, writes) = (RwLock::new(()), AtomicUsize::new(0));
    thread::scope(|scope| {
        let reads = lock.read().expect("nobody panicked");
        for _ in 0..4 {
            scope.spawn(|| {
                let _write = lock.write().expect("nobody panicked");
                writes.fetch_add(1, Relaxed);
            });
        }
        thread::sleep(2 * MS);
        assert_eq!(writes.load(Relaxed), 0);
        drop(reads);
    });
    assert_eq!(writes.load(Relaxed), 4);
}

fn condvar_wakes_one() {
    let (lock, condition) = (Mutex::new(0), Condvar::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut left = condition
                    .wait_while(lock.lock().expect("nobody panicked"), |left| *left == 0)
                    .expect("nobody panicked");
                *left -= 1;
            });
        }
        for _ in 0..3 {
            *lock.lock().expect("nobody panicked") += 1;
            condition.notify_one();
            thread::yield_now();
        }
    });
    assert_eq!(lock.into_inner().ok(), Some(0));
}

fn condvar_wakes_all() {
    let (lock, condition) = (Mutex::new(false), Condvar::new());
    let woken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                let mut is_open = lock.lock().expect("nobody panicked");
                while !*is_open {
                    is_open = condition.wait(is_open).expect("nobody panicked");
                }
                woken.fetch_add(1, Relaxed);
            });
        }
        thread::sleep(MS);
        *lock.lock().expect("nobody panicked") = true;
        condition.notify_all();
    });
    assert_eq!(woken.load(Relaxed), 5);
}

fn condvar_times_out() {
    let (lock, condition) = (Mutex::new(()), Condvar::new());
    let start = Instant::now();
    let guard = lock.lock().expect("nobody panicked");
    let (guard, result) = condition
        .wait_timeout(guard, 4 * MS)
        .expect("nobody panicked");
    assert!(result.timed_out() && start.elapsed() >= 4 * MS);
    let (_guard, result) = condition
        .wait_timeout(guard, Duration::ZERO)
        .expect("nobody panicked");
    assert!(result.timed_out());
    // Who notifies nobody leaves nothing behind.
    condition.notify_one();
    condition.notify_all();
}

fn condvar_in_time() {
    let (lock, condition) = (Mutex::new(false), Condvar::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(2 * MS);
            *lock.lock().expect("nobody panicked") = true;
            condition.notify_one();
        });
        let guard = lock.lock().expect("nobody panicked");
        let limit = Duration::from_secs(20);
        let (is_set, result) = condition
            .wait_timeout_while(guard, limit, |is_set| !*is_set)
            .expect("nobody panicked");
        assert!(*is_set && !result.timed_out());
    });
}

fn wait_while() {
    let (lock, condition) = (Mutex::new(3), Condvar::new());
    // What holds already is not waited for.
    let guard = condition
        .wait_while(lock.lock().expect("nobody panicked"), |number| *number != 3)
        .expect("nobody panicked");
    assert_eq!(*guard, 3);
}

fn wait_timeout_while() {
    let (lock, condition) = (Mutex::new(0), Condvar::new());
    let start = Instant::now();
    let guard = lock.lock().expect("nobody panicked");
    let (_guard, result) = condition
        .wait_timeout_while(guard, 3 * MS, |_| true)
        .expect("nobody panicked");
    assert!(result.timed_out() && start.elapsed() >= 3 * MS);
}

fn condvar_ping_pong() {
    let (lock, condition) = (Mutex::new(0u32), Condvar::new());
    thread::scope(|scope| {
        for player in 0..2 {
            let (lock, condition) = (&lock, &condition);
            scope.spawn(move || {
                for _ in 0..100 {
                    let mut turn = condition
                        .wait_while(lock.lock().expect("nobody panicked"), |turn| {
                            *turn % 2 != player
                        })
                        .expect("nobody panicked");
                    *turn += 1;
                    condition.notify_one();
                }
            });
        }
    });
    assert_eq!(lock.into_inner().ok(), Some(200));
}

fn once_runs_once() {
    static ONCE: Once = Once::new();
    let runs = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                ONCE.call_once(|| {
                    thread::yield_now();
                    runs.fetch_add(1, Relaxed);
                })
            });
        }
    });
    assert!(ONCE.is_completed() && runs.load(Relaxed) == 1);
}

fn once_wait() {
    let once = Once::new();
    thread::scope(|scope| {
        scope.spawn(|| once.call_once(|| thread::sleep(MS)));
        once.wait();
    });
    assert!(once.is_completed());
}

fn once_lock_is_set_once() {
    let lock = OnceLock::new();
    assert_eq!(
        (lock.get(), lock.set(1), lock.set(2), lock.get()),
        (None, Ok(()), Err(2), Some(&1))
    );
    assert_eq!(*lock.get_or_init(|| 9), 1);
    assert_eq!(lock.into_inner(), Some(1));
}

fn once_lock_take() {
    let mut lock = OnceLock::from(3);
    *lock.get_mut().expect("set") += 1;
    assert_eq!(
        (lock.take(), lock.take(), lock.get()),
        (Some(4), None, None)
    );
    assert_eq!(*lock.get_or_init(|| 5), 5);
}

fn once_lock_races() {
    let (lock, made) = (OnceLock::new(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..8 {
            let (lock, made) = (&lock, &made);
            scope.spawn(move || {
                lock.get_or_init(|| {
                    thread::yield_now();
                    made.fetch_add(1, Relaxed);
                    number
                })
            });
        }
    });
    assert!(made.load(Relaxed) == 1 && *lock.get().expect("set") < 8);
}

fn lazy_lock_runs_when_asked() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    static LAZY: LazyLock<String> = LazyLock::new(|| {
        RUNS.fetch_add(1, Relaxed);
        "made".repeat(2)
    });
    let before = RUNS.load(Relaxed);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(LAZY.len(), 8));
        }
    });
    assert_eq!((before, RUNS.load(Relaxed)), (0, 1));
}

fn lazy_lock_force() {
    let lazy = LazyLock::new(|| 5);
    assert_eq!(*LazyLock::force(&lazy), 5);
    assert_eq!(*lazy + 1, 6);
}

fn barrier_has_one_leader() {
    let (barrier, leaders) = (Barrier::new(5), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| leaders.fetch_add(usize::from(barrier.wait().is_leader()), Relaxed));
        }
    });
    assert_eq!(leaders.load(Relaxed), 1);
    assert!(Barrier::new(1).wait().is_leader() && Barrier::new(0).wait().is_leader());
}

fn barrier_again() {
    let (barrier, step) = (Barrier::new(3), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for round in 0..50 {
                    assert!(step.load(SeqCst) >= round * 3);
                    step.fetch_add(1, SeqCst);
                    barrier.wait();
                    assert!(step.load(SeqCst) >= (round + 1) * 3);
                    barrier.wait();
                }
            });
        }
    });
    assert_eq!(step.into_inner(), 150);
}

fn locks_in_turns() {
    let locks: Vec<Mutex<usize>> = (0..4).map(|_| Mutex::new(0)).collect();
    thread::scope(|scope| {
        for thread in 0..4 {
            let locks = &locks;
            scope.spawn(move || {
                for step in 0..100 {
                    let place = (thread + step) % 4;
                    let (low, high) = (place.min((place + 1) % 4), place.max((place + 1) % 4));
                    let mut one = locks[low].lock().expect("nobody panicked");
                    thread::yield_now();
                    let mut other = locks[high].lock().expect("nobody panicked");
                    *one += 1;
                    *other += 1;
                }
            });
        }
    });
    let all: usize = locks
        .into_iter()
        .map(|lock| lock.into_inner().expect("nobody panicked"))
        .sum();
    assert_eq!(all, 800);
}

fn arc_counts() {
    let one = Arc::new(1);
    let (other, weak) = (Arc::clone(&one), Arc::downgrade(&one));
    assert_eq!((Arc::strong_count(&one), Arc::weak_count(&one)), (2, 1));
    drop(other);
    assert_eq!(
        (Arc::strong_count(&one), weak.strong_count(), weak.upgrade()),
        (1, 1, Some(Arc::new(1)))
    );
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let one = Arc::clone(&one);
            thread::spawn(move || *one)
        })
        .collect();
    assert_eq!(
        threads
            .into_iter()
            .map(|thread| thread.join().expect("ended"))
            .sum::<i32>(),
        10
    );
    assert_eq!(Arc::strong_count(&one), 1);
}

fn arc_get_mut_and_make_mut() {
    let mut one = Arc::new(vec![1]);
    Arc::get_mut(&mut one).expect("the only one").push(2);
    let other = Arc::clone(&one);
    assert!(Arc::get_mut(&mut one).is_none());
    Arc::make_mut(&mut one).push(3);
    assert_eq!((&*one, &*other), (&vec![1, 2, 3], &vec![1, 2]));
    let weak = Arc::downgrade(&one);
    Arc::make_mut(&mut one).push(4);
    assert!(weak.upgrade().is_none());
}

fn arc_unwrap() {
    let one = Arc::new(String::from("a"));
    let other = Arc::clone(&one);
    let one = Arc::try_unwrap(one).expect_err("there are two");
    drop(other);
    assert_eq!(Arc::try_unwrap(one).ok().as_deref(), Some("a"));
    assert_eq!(Arc::unwrap_or_clone(Arc::new(7)), 7);
}

fn arc_into_inner() {
    let one = Arc::new(5);
    let got: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| {
                let one = Arc::clone(&one);
                scope.spawn(move || Arc::into_inner(one).is_some())
            })
            .collect();
        drop(one);
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .filter(|got| *got)
            .count()
    });
    assert!(got <= 1);
}

fn weak_after_the_last() {
    let weak = {
        let one = Arc::new(1);
        Arc::downgrade(&one)
    };
    assert_eq!((weak.upgrade(), weak.strong_count()), (None, 0));
    assert!(std::sync::Weak::<u8>::new().upgrade().is_none());
}

fn arc_cyclic() {
    struct Node {
        own: std::sync::Weak<Node>,
        value: u32,
    }
    let node = Arc::new_cyclic(|own| {
        assert!(own.upgrade().is_none());
        Node {
            own: own.clone(),
            value: 3,
        }
    });
    assert_eq!(node.own.upgrade().map(|node| node.value), Some(3));
}

fn arc_of_slices_and_texts() {
    let text: Arc<str> = Arc::from("text");
    let bytes: Arc<[u8]> = Arc::from(vec![1, 2]);
    let all: Arc<[u32]> = (0..5).collect();
    assert_eq!((&*text, &*bytes, all.len()), ("text", &[1, 2][..], 5));
    let any: Arc<dyn std::any::Any + Send + Sync> = Arc::new(7u8);
    assert_eq!(any.downcast::<u8>().ok().as_deref(), Some(&7));
}

fn arc_ptr_eq() {
    let one = Arc::new(1);
    assert!(Arc::ptr_eq(&one, &one.clone()) && !Arc::ptr_eq(&one, &Arc::new(1)));
    let at = Arc::into_raw(one);
    // SAFETY: it was just made of one.
    assert_eq!(*unsafe { Arc::from_raw(at) }, 1);
}

fn arc_compares() {
    assert!(Arc::new(1) < Arc::new(2) && Arc::new("a") == Arc::new("a"));
    assert_eq!(format!("{} {:?}", Arc::new("a"), Arc::new("a")), "a \"a\"");
}

fn statics_are_const() {
    static LOCK: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    static TABLE: RwLock<Option<u8>> = RwLock::new(None);
    LOCK.lock().expect("nobody panicked").push(1);
    *TABLE.write().expect("nobody panicked") = Some(2);
    assert!(
        !LOCK.lock().expect("nobody panicked").is_empty()
            && TABLE.read().expect("nobody panicked").is_some()
    );
}
