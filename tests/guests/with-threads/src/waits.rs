//! How threads wait for each other, for time and for the host.

use std::{
    sync::{
        Arc, Barrier, Condvar, Mutex, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

const MS: Duration = Duration::from_millis(1);

/// Does it, if it is one of these.
pub(crate) fn deed(deed: &str, number: u32) -> Option<String> {
    Some(match deed {
        "ping-pong" => ping_pong(number),
        "queue" => queue(number),
        "readers" => readers(),
        "barrier" => barrier(),
        "once" => once(),
        "park" => park(),
        "sleepers" => sleepers(),
        "in-time" => in_time(),
        "spinner" => spinner(),
        _ => return None,
    })
}

fn ping_pong(rounds: u32) -> String {
    let (there, other_end) = sync_channel::<u32>(0);
    let (back, here) = sync_channel::<u32>(1);
    let other = thread::spawn(move || {
        for number in other_end {
            back.send(number + 1).expect("somebody receives");
        }
    });
    let mut number = 0;
    for _ in 0..rounds {
        there.send(number).expect("somebody receives");
        number = here.recv().expect("somebody sends");
    }
    drop(there);
    other.join().expect("nobody panicked");
    format!("{number} {:?}", here.recv())
}

/// Two that make and two that take, over a queue with room for three.
fn queue(count: u32) -> String {
    let state = Arc::new((Mutex::new(Vec::new()), Condvar::new(), Condvar::new()));
    let taken = Arc::new(Mutex::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (queue, is_room, is_some) = &*state;
                for number in 0..count {
                    let queue = queue.lock().expect("nobody panicked");
                    let mut queue = is_room
                        .wait_while(queue, |queue| queue.len() >= 3)
                        .expect("nobody panicked");
                    queue.push(number);
                    is_some.notify_one();
                }
            });
            scope.spawn(|| {
                let (queue, is_room, is_some) = &*state;
                for _ in 0..count {
                    let queue = queue.lock().expect("nobody panicked");
                    let mut queue = is_some
                        .wait_while(queue, |queue| queue.is_empty())
                        .expect("nobody panicked");
                    *taken.lock().expect("nobody panicked") += queue.pop().expect("one");
                    is_room.notify_one();
                }
            });
        }
    });
    let taken = *taken.lock().expect("nobody panicked");
    taken.to_string()
}

fn readers() -> String {
    let lock = RwLock::new(0);
    let seen = AtomicU32::new(0);
    let most = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let value = lock.read().expect("nobody panicked");
                most.fetch_max(seen.fetch_add(1, Relaxed) + 1, Relaxed);
                thread::sleep(MS);
                seen.fetch_sub(1, Relaxed);
                *value
            });
        }
        scope.spawn(|| {
            let mut value = lock.write().expect("nobody panicked");
            thread::sleep(MS);
            *value += 1;
            seen.load(Relaxed)
        });
    });
    format!(
        "{} {}",
        lock.read().expect("nobody panicked"),
        most.load(Relaxed)
    )
}

fn barrier() -> String {
    let barrier = Barrier::new(4);
    let before = AtomicU32::new(0);
    let leaders = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                before.fetch_add(1, Relaxed);
                if barrier.wait().is_leader() {
                    leaders.fetch_add(1, Relaxed);
                }
                assert_eq!(before.load(Relaxed), 4);
            });
        }
    });
    format!("{} {}", before.load(Relaxed), leaders.load(Relaxed))
}

fn once() -> String {
    let once = OnceLock::new();
    let made = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let value = once.get_or_init(|| {
                    thread::sleep(MS);
                    made.fetch_add(1, Relaxed);
                    7
                });
                assert_eq!(*value, 7);
            });
        }
        assert_eq!(*once.wait(), 7);
    });
    made.load(Relaxed).to_string()
}

fn park() -> String {
    let is_there = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_there);
    let parked = thread::spawn(move || {
        while !told.load(Relaxed) {
            thread::park();
        }
        let before = Instant::now();
        thread::park_timeout(3 * MS);
        before.elapsed() >= 3 * MS
    });
    thread::yield_now();
    is_there.store(true, Relaxed);
    parked.thread().unpark();
    parked.join().expect("nobody panicked").to_string()
}

/// Two sleep at once, by `std` and by the SDK: how long both took, milliseconds.
fn sleepers() -> String {
    let before = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| thread::sleep(50 * MS));
        scope.spawn(|| jiffy::time::sleep(50 * MS));
    });
    before.elapsed().as_millis().to_string()
}

fn in_time() -> String {
    let (sender, receiver) = mpsc::channel();
    let before = Instant::now();
    let sends = thread::spawn(move || {
        thread::sleep(20 * MS);
        sender.send(1).expect("somebody receives");
        thread::sleep(20 * MS);
    });
    let early = receiver.recv_timeout(5 * MS);
    let after_early = before.elapsed();
    let there = receiver.recv_timeout(1000 * MS);
    let after_there = before.elapsed();
    sends.join().expect("nobody panicked");
    let gone = receiver.recv_timeout(1000 * MS);
    let condition = Condvar::new();
    let lock = Mutex::new(());
    let guard = lock.lock().expect("nobody panicked");
    let (_guard, timed_out) = condition
        .wait_timeout(guard, 3 * MS)
        .expect("nobody panicked");
    assert_eq!(early, Err(RecvTimeoutError::Timeout));
    format!(
        "{there:?} {gone:?} {} {} {}",
        after_early >= 5 * MS,
        after_there >= 20 * MS,
        timed_out.timed_out(),
    )
}

/// Time passes for one that sleeps although another gives way for ever.
fn spinner() -> String {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(2 * MS);
            is_over.store(true, Relaxed);
        });
        while !is_over.load(Relaxed) {
            thread::yield_now();
        }
    });
    "over".into()
}

/// Several threads call their host at once, while one sleeps and one counts.
pub(crate) fn calls(threads: u32) -> String {
    let ids: Vec<String> = thread::scope(|scope| {
        let calling: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || {
                    let mut ids = String::new();
                    for _ in 0..=number % 3 {
                        ids = jiffy::host_info().send().expect("an answer").request_id;
                    }
                    ids
                })
            })
            .collect();
        scope.spawn(|| thread::sleep(MS));
        let ids = calling.into_iter();
        ids.map(|thread| thread.join().expect("nobody panicked"))
            .collect()
    });
    let own = jiffy::host_info().send().expect("an answer").request_id;
    let are_own = ids.iter().all(|id| *id == own);
    format!("{} {are_own}", ids.len())
}

/// A thread waits for a call's result only when its request has its answer.
pub(crate) fn late_call() -> String {
    static LATE: Mutex<Option<String>> = Mutex::new(None);
    if let Some(late) = LATE.lock().expect("nobody panicked").take() {
        return late;
    }
    thread::spawn(|| {
        let call = jiffy::host_info().start();
        thread::sleep(MS);
        let late = match call.wait() {
            Ok(info) => info.request_id,
            Err(error) => format!("{:?} {:?}: {error}", error.kind(), error.sent()),
        };
        *LATE.lock().expect("nobody panicked") = Some(late);
    });
    thread::yield_now();
    "started".into()
}

/// A future that a thread makes ready, awaited by the handler itself, and together with a call.
pub(crate) async fn future() -> String {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        thread::sleep(2 * MS);
        sender.send(7)
    });
    let alone = receiver.await;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let sends = thread::spawn(move || sender.send(8));
    let call = jiffy::host_info().start();
    let together = receiver.await;
    let info = call.await.is_ok();
    let sent = sends.join().expect("nobody panicked");
    format!("{alone:?} {together:?} {info} {sent:?}")
}
