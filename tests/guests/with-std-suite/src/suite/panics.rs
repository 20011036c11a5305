//! Panics: hooks, and on the host how they are caught.

use std::{
    panic::{self, AssertUnwindSafe, Location},
    sync::{Arc, Mutex, RwLock},
    thread,
};

tests! {
    hooks_are_taken_and_set location_of_the_caller backtrace_may_be_asked is_not_panicking are_caught run_destructors
    poison_a_mutex poison_a_rwlock of_threads_are_told_by_join are_resumed_with_what_they_carry
}

fn hooks_are_taken_and_set() {
    // What was there is put back, so that a panic of another test is told as ever.
    let before = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let own = panic::take_hook();
    panic::set_hook(before);
    drop(own);
}

#[track_caller]
fn place() -> &'static Location<'static> {
    Location::caller()
}

fn location_of_the_caller() {
    let (here, line) = (place(), line!());
    assert_eq!((here.line(), here.column() > 1), (line, true));
    assert!(here.file().ends_with("panics.rs"), "{here}");
    assert!(here.to_string().contains(&format!(":{line}:")));
}

fn backtrace_may_be_asked() {
    // Whatever it has, it is told without a panic.
    let _ = std::backtrace::Backtrace::capture().to_string();
    assert_eq!(
        std::backtrace::Backtrace::disabled().status(),
        std::backtrace::BacktraceStatus::Disabled
    );
}

fn is_not_panicking() {
    assert!(!thread::panicking());
    assert_eq!(panic::catch_unwind(|| 7).ok(), Some(7));
}

fn are_caught() {
    let caught =
        panic::catch_unwind(|| panic!("number {}", std::hint::black_box(7))).expect_err("a panic");
    assert_eq!(
        caught.downcast_ref::<String>().map(String::as_str),
        Some("number 7")
    );
    let caught = panic::catch_unwind(|| [1][std::hint::black_box(1)]);
    assert!(caught.is_err());
}

fn run_destructors() {
    let count = std::cell::Cell::new(0);
    let dropped = super::Dropped(&count);
    let caught = panic::catch_unwind(AssertUnwindSafe(move || {
        let _dropped = dropped;
        panic!("on the way");
    }));
    assert!(caught.is_err() && count.get() == 1);
}

fn poison_a_mutex() {
    let lock = Arc::new(Mutex::new(1));
    let other = Arc::clone(&lock);
    let ended = thread::spawn(move || {
        let _guard = other.lock();
        panic!("while it is locked");
    });
    assert!(ended.join().is_err() && lock.is_poisoned());
    assert_eq!(
        *lock
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
        1
    );
    lock.clear_poison();
    assert!(lock.lock().is_ok());
}

fn poison_a_rwlock() {
    let lock = Arc::new(RwLock::new(1));
    let other = Arc::clone(&lock);
    let ended = thread::spawn(move || {
        let _guard = other.write();
        panic!("while it is locked");
    });
    assert!(ended.join().is_err() && lock.read().is_err() && lock.write().is_err());
}

fn of_threads_are_told_by_join() {
    let ended = thread::spawn(|| panic!("of a thread")).join();
    assert_eq!(
        ended.expect_err("a panic").downcast_ref::<&str>(),
        Some(&"of a thread")
    );
}

fn are_resumed_with_what_they_carry() {
    let caught = panic::catch_unwind(|| panic::resume_unwind(Box::new(42u8)));
    assert_eq!(caught.expect_err("a panic").downcast_ref::<u8>(), Some(&42));
}
