//! Panics that are caught.

use std::{
    any::Any,
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind, set_hook, take_hook},
    sync::{Mutex, RwLock},
    thread::{self, Builder},
};

use rayon::prelude::*;

/// Does it, if it is one of these.
pub(crate) fn deed(deed: &str, number: u32) -> Option<String> {
    Some(match deed {
        "texts" => {
            let fixed = catch_unwind(|| panic!("fixed"));
            let made = catch_unwind(|| panic!("made of {}", black_box(1)));
            format!("{}, {}", told(&fixed), told(&made))
        }
        "language" => {
            let empty: &[u32] = black_box(&[]);
            let index = catch_unwind(|| empty[black_box(3)]);
            let divided = catch_unwind(|| 1 / black_box(0));
            let none = catch_unwind(|| black_box(None::<u32>).unwrap_or_else(|| unreachable!()));
            format!("{}, {}, {}", told(&index), told(&divided), told(&none))
        }
        "any" => {
            let caught = catch_unwind(|| panic_any(vec![1, 2, 3]));
            let payload = caught.expect_err("it panics");
            format!("{:?}", payload.downcast_ref::<Vec<i32>>())
        }
        "resumed" => {
            let caught = catch_unwind(|| {
                let caught = catch_unwind(|| panic!("once"));
                resume_unwind(caught.expect_err("it panics"))
            });
            let other = catch_unwind(|| resume_unwind(Box::new(7u8)));
            let other = other.expect_err("it panics");
            format!("{} {:?}", told::<()>(&caught), other.downcast_ref::<u8>())
        }
        "destructors" => destructors(),
        "nested" => nested(),
        "join" => {
            let named = Builder::new().name("worker 1".into());
            let thread = named.spawn(|| -> u32 { panic!("in a thread") });
            let other = thread::spawn(|| 7);
            let joined = thread.expect("memory").join();
            format!("{} {:?}", told(&joined), other.join().ok())
        }
        "scoped" => {
            let mut sum = 0;
            let caught = catch_unwind(AssertUnwindSafe(|| {
                thread::scope(|scope| {
                    scope.spawn(|| panic!("in a scope"));
                    scope.spawn(|| sum += 1);
                });
            }));
            format!("{} {sum}", told(&caught))
        }
        "poisoned" => poisoned(),
        "rayon" => {
            let caught = catch_unwind(|| {
                (0..100).into_par_iter().for_each(|number| {
                    assert!(number != 57, "rayon's {number}");
                });
            });
            let sum: u32 = (0..100).into_par_iter().sum();
            format!("{} {sum}", told(&caught))
        }
        "tokio" => tokio(),
        "hook" => {
            let ours = take_hook();
            set_hook(Box::new(|panic| {
                // The log has it and nothing of jiffy's.
                jiffy::log::info!(
                    "told at line {}",
                    panic.location().map_or(0, |at| at.line())
                );
            }));
            let caught = catch_unwind(|| panic!("told elsewhere"));
            set_hook(ours);
            told::<()>(&caught)
        }
        "many" => many(number).to_string(),
        "deep" => {
            let mut dropped = 0;
            let caught = catch_unwind(AssertUnwindSafe(|| deep(number, &mut dropped)));
            format!("{} {dropped}", told(&caught))
        }
        "c-unwind" => {
            extern "C-unwind" fn panics() {
                panic!("through C's");
            }
            let function: extern "C-unwind" fn() = black_box(panics);
            told(&catch_unwind(|| function()))
        }
        _ => return None,
    })
}

/// The text of a payload.
pub(crate) fn text(payload: &Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("?").into()
}

fn told<T>(caught: &Result<T, Box<dyn Any + Send>>) -> String {
    caught.as_ref().map_or_else(text, |_| "no panic".into())
}

/// Counts in what it is given when it is dropped.
struct Counts<'a>(&'a mut u32);

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        *self.0 += 1;
    }
}

struct Writes<'a>(&'a Mutex<String>, &'a str);

impl Drop for Writes<'_> {
    fn drop(&mut self) {
        let mut written = self.0.lock().expect("not poisoned");
        written.push_str(self.1);
        written.push_str(if thread::panicking() { "! " } else { " " });
    }
}

fn destructors() -> String {
    let written = Mutex::new(String::new());
    let caught = catch_unwind(|| {
        let _first = Writes(&written, "first");
        let _second = Writes(&written, "second");
        drop(Writes(&written, "dropped"));
        let text = format!("{}", black_box(9)); // On the heap.
        panic!("with {text}");
    });
    format!(
        "{}{}",
        written.lock().expect("not poisoned"),
        told::<()>(&caught)
    )
}

/// Panics and catches while another panic goes by.
fn nested() -> String {
    struct Catches<'a>(&'a Mutex<String>);
    impl Drop for Catches<'_> {
        fn drop(&mut self) {
            let caught = catch_unwind(|| panic!("within"));
            *self.0.lock().expect("not poisoned") = told::<()>(&caught);
        }
    }
    let within = Mutex::new(String::new());
    let caught = catch_unwind(|| {
        let _catches = Catches(&within);
        panic!("around");
    });
    format!(
        "{} {}",
        within.lock().expect("not poisoned"),
        told::<()>(&caught)
    )
}

fn poisoned() -> String {
    let (mutex, lock) = (Mutex::new(1), RwLock::new(2));
    let caught = catch_unwind(|| {
        let _held = mutex.lock().expect("not poisoned");
        let _written = lock.write().expect("not poisoned");
        panic!("with locks");
    });
    let first = format!(
        "{} {} {}",
        told::<()>(&caught),
        mutex.is_poisoned(),
        lock.is_poisoned()
    );
    mutex.clear_poison();
    format!("{first} {:?}", mutex.lock().is_ok())
}

fn tokio() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(async {
        let task = tokio::spawn(async {
            tokio::task::yield_now().await;
            assert!(black_box(false), "in a task");
        });
        let blocking =
            tokio::task::spawn_blocking(|| assert!(black_box(false), "in a blocking task"));
        let other = tokio::spawn(async { 7 });
        let mut texts = vec![];
        for joined in [task.await, blocking.await] {
            let error = joined.expect_err("it panics");
            texts.push(format!(
                "{} {}",
                error.is_panic(),
                text(&error.into_panic())
            ));
        }
        format!("{} {:?}", texts.join(", "), other.await.ok())
    })
}

/// Panics so often, with something on the heap, and catches each: how many were caught.
fn many(count: u32) -> u32 {
    let ours = take_hook();
    set_hook(Box::new(|_| {})); // The log has room for less.
    let caught = (0..count)
        .filter(|number| {
            let caught = catch_unwind(|| {
                let kept = vec![*number; 100];
                assert!(kept.len() < 100, "{number}");
            });
            told(&caught) == number.to_string()
        })
        .count();
    set_hook(ours);
    caught as u32
}

#[inline(never)]
fn deep(depth: u32, dropped: &mut u32) {
    assert!(depth > 0, "at the bottom");
    let counts = Counts(dropped);
    deep(black_box(depth - 1), counts.0);
    drop(counts);
}
