//! What ends the VM, and what nearly does.

use std::{
    hint::black_box,
    io::ErrorKind,
    sync::{Mutex, mpsc},
    thread::{self, Builder},
    time::Duration,
};

/// Does it, if it is one of these.
pub(crate) fn deed(deed: &str, number: u32) -> Option<String> {
    Some(match deed {
        "panic" => {
            let thread = named("worker 1", || {
                let number = black_box(3);
                assert!(number < 3, "a thread has {number}");
            });
            format!("{:?}", thread.join().is_ok())
        }
        "deadlock" => deadlock(),
        "never" => {
            let (sender, receiver) = mpsc::channel::<u32>();
            thread::spawn(move || thread::sleep(Duration::from_millis(1)))
                .join()
                .expect("nobody panicked");
            let received = receiver.recv();
            drop(sender);
            format!("{received:?}")
        }
        "overflow" => named("deep", || {
            // Deeper than its stack, but not for ever; and then it waits.
            let deep = recurse(0, 400);
            thread::sleep(Duration::from_millis(1));
            deep
        })
        .join()
        .expect("it overflows")
        .to_string(),
        "endless" => named("endless", || recurse(0, u64::MAX))
            .join()
            .expect("it overflows")
            .to_string(),
        "boxes" => named("boxes", || boxes(0))
            .join()
            .map_or(0, |sum| sum)
            .to_string(),
        "deep" => {
            let thread = Builder::new().stack_size(1 << 20);
            let thread = thread.spawn(|| recurse(0, 1000)).expect("memory");
            thread.join().expect("nobody panicked").to_string()
        }
        "stacks" => stacks(),
        "many" => many(number),
        _ => return None,
    })
}

fn named<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let thread = Builder::new().name(name.into());
    thread.spawn(work).expect("memory for a stack")
}

/// About half a KiB a call.
fn recurse(depth: u64, until: u64) -> u64 {
    let locals = black_box([depth; 60]);
    if depth >= until {
        return locals[7];
    }
    black_box(recurse(black_box(depth + 1), until)).max(black_box(locals[3]))
}

/// Allocates all the way down.
#[expect(unconditional_recursion, reason = "the stack is to run out")]
fn boxes(depth: u64) -> u64 {
    let number = black_box(Box::new(depth));
    black_box(boxes(*number + 1)) + *number
}

/// Two that each wait for what the other has.
fn deadlock() -> String {
    static ONE: Mutex<()> = Mutex::new(());
    static OTHER: Mutex<()> = Mutex::new(());
    fn take(first: &'static Mutex<()>, second: &'static Mutex<()>) {
        let first = first.lock().expect("nobody panicked");
        thread::sleep(Duration::from_millis(1));
        drop(second.lock().expect("nobody panicked"));
        drop(first);
    }
    let one = named("one", || take(&ONE, &OTHER));
    let other = named("other", || take(&OTHER, &ONE));
    one.join().expect("it waits for ever");
    other.join().expect("it waits for ever");
    "both came through".into()
}

/// As many as there is memory for, which wait; then again.
fn stacks() -> String {
    let mut counts = Vec::new();
    let mut why = None;
    for _ in 0..2 {
        let mut threads = Vec::new();
        loop {
            match Builder::new().spawn(thread::park) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    why = Some(error.kind());
                    break;
                }
            }
        }
        counts.push(threads.len());
        for thread in threads {
            thread.thread().unpark();
            thread.join().expect("nobody panicked");
        }
    }
    let is_memory = why == Some(ErrorKind::OutOfMemory);
    format!("{} {is_memory}", counts.iter().all(|count| *count > 90))
}

/// So many at once, each of which waits for all others.
fn many(count: u32) -> String {
    let barrier = std::sync::Barrier::new(count as usize);
    let leaders: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| scope.spawn(|| barrier.wait().is_leader()))
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended
            .filter(|is_leader| matches!(is_leader, Ok(true)))
            .count()
    });
    format!("{count} {leaders}")
}
