//! `thread`: threads that end well. What a VM has of them takes turns.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::*},
        mpsc,
    },
    thread::{self, Builder},
    time::{Duration, Instant},
};

tests! {
    join_gives_what_was_returned names ids_differ scope_borrows scope_joins_all scoped_results park_and_unpark
    unpark_before_park park_timeout_is_over yield_now_lets_others is_finished many_one_after_the_other many_at_once
    spawn_from_a_thread sleeps_side_by_side stack_size_is_given handles_outlive_their_thread builder_names
    spins_until_another_is_done current_of_the_main available_parallelism detached_threads_finish
    an_empty_name_is_one results_in_order thread_debug
}

const MS: Duration = Duration::from_millis(1);

fn join_gives_what_was_returned() {
    let text = String::from("moved");
    let thread = thread::spawn(move || text + " back");
    assert_eq!(thread.join().ok().as_deref(), Some("moved back"));
}

fn names() {
    let name = || thread::current().name().map(str::to_owned);
    assert_eq!(thread::spawn(name).join().ok(), Some(None));
    let named = Builder::new()
        .name("worker".into())
        .spawn(name)
        .expect("a thread");
    assert_eq!(named.thread().name(), Some("worker"));
    assert_eq!(named.join().ok(), Some(Some("worker".into())));
}

fn builder_names() {
    let long = "a name that is longer than any kernel keeps";
    let named = Builder::new()
        .name(long.into())
        .spawn(|| thread::current().name().map(str::to_owned));
    assert_eq!(
        named.expect("a thread").join().ok(),
        Some(Some(long.into()))
    );
}

fn an_empty_name_is_one() {
    let thread = Builder::new()
        .name(String::new())
        .spawn(|| 1)
        .expect("a thread");
    assert_eq!(thread.join().ok(), Some(1));
}

fn ids_differ() {
    let ids: Vec<_> = (0..10)
        .map(|_| {
            thread::spawn(|| thread::current().id())
                .join()
                .expect("ended")
        })
        .collect();
    let mut set = std::collections::HashSet::from([thread::current().id()]);
    assert!(ids.into_iter().all(|id| set.insert(id)));
    assert_eq!(thread::current().id(), thread::current().id());
}

fn scope_borrows() {
    let mut numbers = vec![1, 2, 3, 4];
    let (one, other) = numbers.split_at_mut(2);
    thread::scope(|scope| {
        scope.spawn(|| one.iter_mut().for_each(|number| *number *= 10));
        scope.spawn(|| other.iter_mut().for_each(|number| *number *= 100));
    });
    assert_eq!(numbers, [10, 20, 300, 400]);
}

fn scope_joins_all() {
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                thread::sleep(MS);
                count.fetch_add(1, Relaxed);
                // One more, from within.
                scope.spawn(|| count.fetch_add(1, Relaxed));
            });
        }
    });
    assert_eq!(count.load(Relaxed), 16);
}

fn scoped_results() {
    let text = String::from("abc");
    let sum = thread::scope(|scope| {
        let lens: Vec<_> = (0..3)
            .map(|at| {
                let text = &text;
                scope.spawn(move || text.as_bytes()[at])
            })
            .collect();
        lens.into_iter()
            .map(|thread| u32::from(thread.join().expect("ended")))
            .sum::<u32>()
    });
    assert_eq!(sum, 97 + 98 + 99);
}

fn results_in_order() {
    let threads: Vec<_> = (0..20)
        .map(|number| thread::spawn(move || number * number))
        .collect();
    let squares: Vec<i32> = threads
        .into_iter()
        .map(|thread| thread.join().expect("ended"))
        .collect();
    assert_eq!(
        squares,
        (0..20).map(|number| number * number).collect::<Vec<_>>()
    );
}

fn park_and_unpark() {
    let is_set = Arc::new(AtomicBool::new(false));
    let sees = Arc::clone(&is_set);
    let parked = thread::spawn(move || {
        while !sees.load(Acquire) {
            thread::park();
        }
        7
    });
    thread::sleep(MS);
    is_set.store(true, Release);
    parked.thread().unpark();
    assert_eq!(parked.join().ok(), Some(7));
}

fn unpark_before_park() {
    thread::current().unpark();
    thread::current().unpark();
    thread::park();
    // Both were one.
    let start = Instant::now();
    thread::park_timeout(3 * MS);
    assert!(start.elapsed() >= 3 * MS);
}

fn park_timeout_is_over() {
    let start = Instant::now();
    let mut left = 5 * MS;
    while !left.is_zero() {
        thread::park_timeout(left);
        left = (5 * MS).saturating_sub(start.elapsed());
    }
    assert!(start.elapsed() >= 5 * MS);
    thread::park_timeout(Duration::ZERO);
}

fn yield_now_lets_others() {
    let is_done = Arc::new(AtomicBool::new(false));
    let does = Arc::clone(&is_done);
    let other = thread::spawn(move || does.store(true, Release));
    while !is_done.load(Acquire) {
        thread::yield_now();
    }
    other.join().expect("ended");
}

fn is_finished() {
    let (tell, told) = mpsc::channel::<()>();
    let waits = thread::spawn(move || told.recv().is_err());
    assert!(!waits.is_finished());
    drop(tell);
    while !waits.is_finished() {
        thread::yield_now();
    }
    assert_eq!(waits.join().ok(), Some(true));
}

fn many_one_after_the_other() {
    let mut sum = 0u64;
    for number in 0..500 {
        sum += thread::spawn(move || number).join().expect("ended");
    }
    assert_eq!(sum, 499 * 500 / 2);
}

fn many_at_once() {
    let (lock, all) = (Mutex::new(0), Condvar::new());
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let mut count = lock.lock().expect("nobody panicked");
                *count += 1;
                all.notify_all();
                drop(all.wait_while(count, |count| *count < 40));
            });
        }
    });
    assert_eq!(*lock.lock().expect("nobody panicked"), 40);
}

fn spawn_from_a_thread() {
    fn nest(depth: u32) -> u32 {
        if depth == 0 {
            0
        } else {
            1 + thread::spawn(move || nest(depth - 1))
                .join()
                .expect("ended")
        }
    }
    assert_eq!(nest(12), 12);
}

fn sleeps_side_by_side() {
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| thread::sleep(20 * MS));
        }
    });
    let all = start.elapsed();
    assert!(all >= 20 * MS && all < 150 * MS, "{all:?}");
}

fn stack_size_is_given() {
    fn deep(depth: u32) -> u32 {
        let room = std::hint::black_box([depth; 200]);
        if depth == 0 {
            room[7]
        } else {
            deep(depth - 1) + std::hint::black_box(room[3]) - depth
        }
    }
    let thread = Builder::new()
        .stack_size(1 << 20)
        .spawn(|| deep(500))
        .expect("room");
    assert_eq!(thread.join().ok(), Some(0));
}

fn handles_outlive_their_thread() {
    let thread = thread::spawn(|| ());
    let handle = thread.thread().clone();
    thread.join().expect("ended");
    handle.unpark();
    assert_eq!(handle.name(), None);
}

fn spins_until_another_is_done() {
    let is_done = Arc::new(AtomicBool::new(false));
    let does = Arc::clone(&is_done);
    thread::spawn(move || does.store(true, Release));
    while !is_done.load(Acquire) {
        std::hint::spin_loop();
    }
}

fn current_of_the_main() {
    let own = thread::current();
    let same = thread::scope(|scope| scope.spawn(|| thread::current().id() == own.id()).join());
    assert_eq!(same.ok(), Some(false));
}

fn available_parallelism() {
    assert!(thread::available_parallelism().expect("a number").get() >= 1);
}

fn detached_threads_finish() {
    let (tell, told) = mpsc::channel();
    drop(thread::spawn(move || tell.send(5)));
    assert_eq!(told.recv(), Ok(5));
}

fn thread_debug() {
    let thread = Builder::new()
        .name("x".into())
        .spawn(|| format!("{:?}", thread::current()))
        .expect("a thread");
    let text = thread.join().expect("ended");
    assert!(
        text.contains("Thread") && text.contains("Some(\"x\")"),
        "{text}"
    );
}
