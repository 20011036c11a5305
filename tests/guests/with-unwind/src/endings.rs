//! What ends the VM, although somebody would catch it if it were a panic like others.

use std::{
    hint::black_box,
    panic::{catch_unwind, resume_unwind, set_hook},
    process, thread,
    thread::Builder,
};

/// Does it, if it is one of these.
pub(crate) fn deed(deed: &str, number: u32) -> Option<String> {
    Some(match deed {
        "uncaught" => outer(number),
        "after-others" => {
            let _ = catch_unwind(|| panic!("caught before"));
            panic!("not caught")
        }
        "uncaught-resumed" => {
            let caught = catch_unwind(|| panic!("and again"));
            resume_unwind(caught.expect_err("it panics"))
        }
        "untold" => {
            set_hook(Box::new(|_| {}));
            panic!("nobody is told")
        }
        "extern-c" => {
            extern "C" fn callback() {
                panic!("in a callback");
            }
            let callback: extern "C" fn() = black_box(callback);
            caught(|| callback())
        }
        "in-thread-c" => {
            extern "C" fn callback() {
                panic!("in a callback");
            }
            let thread = Builder::new().name("worker 1".into());
            let thread = thread.spawn(|| {
                let callback: extern "C" fn() = black_box(callback);
                callback();
            });
            format!("{:?}", thread.expect("memory").join().is_ok())
        }
        "in-destructor" => caught(|| {
            let _panics = Panics;
            panic!("the first");
        }),
        "hook-panics" => {
            set_hook(Box::new(|_| panic!("in the hook")));
            caught(|| panic!("the first"))
        }
        "allocate" => caught(|| drop(black_box(Vec::<u8>::with_capacity(1 << 40)))),
        "recurse" => caught(|| {
            black_box(recurse(0, u64::MAX));
        }),
        "thread-recurse" => {
            let thread = Builder::new().name("deep".into());
            let thread = thread.spawn(|| {
                let deep = recurse(0, 260);
                thread::yield_now();
                deep
            });
            thread.expect("memory").join().is_ok().to_string()
        }
        "abort" => caught(|| process::abort()),
        "exit" => caught(|| process::exit(7)),
        "fault" => caught(|| {
            let nowhere = black_box(std::ptr::without_provenance::<u64>(64));
            // SAFETY: there is none; it faults.
            black_box(unsafe { nowhere.read_volatile() });
        }),
        "spin" => caught(|| while black_box(true) {}),
        _ => return None,
    })
}

fn caught(work: impl FnOnce() + std::panic::UnwindSafe) -> String {
    format!("caught: {}", catch_unwind(work).is_err())
}

struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

#[inline(never)]
fn outer(number: u32) -> String {
    let text = inner(black_box(number));
    format!("{text}{}", black_box(number))
}

#[inline(never)]
fn inner(number: u32) -> String {
    // What would be dropped on the way.
    let text = black_box(String::from("nothing"));
    assert!(number > 0, "nobody catches this");
    text
}

fn recurse(depth: u64, end: u64) -> u64 {
    let here = black_box([depth; 64]);
    if depth == end {
        return here[0];
    }
    recurse(here[0] + 1, end) + here[1]
}
