//! Begins threads: the event is the name of a deed, the answer what came of it.

#![allow(
    clippy::disallowed_methods,
    reason = "what is printed here is a function's log"
)]

mod c;
mod crates;
mod endings;
mod waits;

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

/// What destructors of thread-locals have written, the first first.
static DESTROYED: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// What threads that outlive a request have counted.
static COUNTED: AtomicU32 = AtomicU32::new(0);

struct Noisy(&'static str);

impl Drop for Noisy {
    fn drop(&mut self) {
        let name = thread::current().name().unwrap_or("?").to_owned();
        DESTROYED
            .lock()
            .expect("nobody panicked")
            .push(format!("{} of {name}", self.0));
    }
}

thread_local! {
    static NOISY: Noisy = const { Noisy("a thread-local") };
    static COUNT: Cell<u32> = const { Cell::new(40) };
}

/// A thread of `init`'s, which answers what it is sent.
pub struct Left {
    ask: Mutex<Sender<u32>>,
    answers: Mutex<Receiver<u32>>,
}

/// Begins a thread that goes on in every request.
#[jiffy::init]
fn setup() -> Left {
    let (ask, asked) = channel::<u32>();
    let (answer, answers) = channel();
    thread::Builder::new()
        .name("of init".into())
        .spawn(move || {
            println!("the thread of init waits");
            let mut sum = 0;
            for number in asked {
                sum += number;
                if answer.send(sum).is_err() {
                    break;
                }
            }
        })
        .expect("memory for a stack");
    Left {
        ask: Mutex::new(ask),
        answers: Mutex::new(answers),
    }
}

fn joined(count: u32) -> String {
    let threads: Vec<_> = (0..count)
        .map(|number| {
            thread::spawn(move || {
                COUNT.set(COUNT.get() + number);
                thread::yield_now();
                COUNT.get()
            })
        })
        .collect();
    let values: Vec<u32> = threads
        .into_iter()
        .map(|thread| thread.join().expect("nobody panicked"))
        .collect();
    format!(
        "{} {} {}",
        values.len(),
        values.iter().sum::<u32>(),
        COUNT.get()
    )
}

fn scoped() -> String {
    let mut numbers = vec![3, 1, 2];
    let mut sum = 0;
    let (left, right) = numbers.split_at_mut(1);
    thread::scope(|scope| {
        scope.spawn(|| left[0] += 10);
        scope.spawn(|| right.sort_by(|one, other| other.cmp(one)));
        sum += 1;
    });
    format!("{numbers:?} {sum}")
}

fn locals() -> String {
    DESTROYED.lock().expect("nobody panicked").clear();
    for name in ["first", "second"] {
        let thread = thread::Builder::new().name(name.into());
        let thread = thread.spawn(|| NOISY.with(|noisy| noisy.0.len()));
        thread.expect("memory").join().expect("nobody panicked");
    }
    let mut destroyed = DESTROYED.lock().expect("nobody panicked");
    // What the thread of requests has is not destroyed.
    NOISY.with(|noisy| noisy.0.len());
    destroyed.sort();
    destroyed.join(", ")
}

fn leave_behind() -> String {
    thread::spawn(|| {
        loop {
            COUNTED.fetch_add(1, Relaxed);
            thread::sleep(Duration::from_millis(1));
        }
    });
    let before = COUNTED.load(Relaxed);
    thread::sleep(Duration::from_millis(20));
    format!("{before} {}", COUNTED.load(Relaxed) > before)
}

/// Does what the event names.
#[jiffy::function]
pub async fn with_threads(event: &[u8], left: &Left) -> Vec<u8> {
    let event = String::from_utf8_lossy(event).into_owned();
    let (deed, rest) = event.split_once(' ').unwrap_or((&event, ""));
    let number = rest.parse().unwrap_or(0);
    let answer = match deed {
        "joined" => joined(number),
        "scoped" => scoped(),
        "locals" => locals(),
        "of-init" => {
            let ask = left.ask.lock().expect("nobody panicked");
            ask.send(number).expect("the thread of init is there");
            let answers = left.answers.lock().expect("nobody panicked");
            answers.recv().expect("an answer").to_string()
        }
        "keys" => {
            let key = || RandomState::new().hash_one(1);
            let other = thread::spawn(key).join().expect("nobody panicked");
            format!("{} {other}", key())
        }
        "one-after-the-other" => {
            for number in 0..number {
                let thread = thread::spawn(move || vec![number; 100].len());
                thread.join().expect("nobody panicked");
            }
            "done".into()
        }
        "leave-behind" => leave_behind(),
        "counted" => COUNTED.load(Relaxed).to_string(),
        "calls" => waits::calls(number),
        "late-call" => waits::late_call(),
        "future" => waits::future().await,
        _ => waits::deed(deed, number)
            .or_else(|| crates::deed(deed))
            .or_else(|| c::deed(deed))
            .or_else(|| endings::deed(deed, number))
            .unwrap_or_else(|| format!("no deed {deed:?}")),
    };
    answer.into_bytes()
}
