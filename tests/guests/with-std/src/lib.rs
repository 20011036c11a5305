//! Uses `std`: the event is the name of a deed, the answer what came of it.

#![allow(
    clippy::disallowed_methods,
    reason = "what is printed here is a function's log"
)]

use std::{
    cell::Cell,
    collections::{HashMap, HashSet, hash_map::RandomState},
    env, fs,
    hash::BuildHasher,
    hint::black_box,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    process::{self, Command},
    sync::{Condvar, LazyLock, Mutex, OnceLock, RwLock, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(40) };
    static KEPT: Cell<String> = Cell::new("of this thread".repeat(2));
}

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| HashSet::from(["one", "two"]));
static ONCE: OnceLock<u64> = OnceLock::new();

/// What `init` leaves.
pub struct Left {
    /// A table, and what it hashes to.
    table: HashMap<String, u32>,
    hash: u64,
}

/// Uses tables and thread-locals, as a request does after it.
#[jiffy::init]
fn setup() -> Left {
    COUNT.set(1000);
    println!("init prints");
    Left {
        table: (0..100)
            .map(|number| (number.to_string(), number))
            .collect(),
        hash: RandomState::new().hash_one(1),
    }
}

fn deadlock() {
    let lock = Mutex::new(1);
    let guard = black_box(&lock).lock();
    let again = black_box(&lock).lock();
    println!("{:?} {:?}", guard.is_ok(), again.is_ok());
}

#[expect(unconditional_recursion, reason = "the stack is to run out")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1)) + depth)
}

fn text<T>(result: io::Result<T>) -> String {
    match result {
        Ok(_) => "it worked".into(),
        Err(error) => format!("{:?}: {error}", error.kind()),
    }
}

fn locks() -> String {
    let lock = RwLock::new(1);
    *lock.write().expect("nobody panicked") += 1;
    let (sender, receiver) = mpsc::channel();
    sender.send(3).expect("somebody receives");
    let condition = Condvar::new();
    let mutex = Mutex::new(());
    let guard = mutex.lock().expect("nobody panicked");
    let before = Instant::now();
    let wait = Duration::from_millis(5);
    let (_guard, timed_out) = condition
        .wait_timeout(guard, wait)
        .expect("nobody panicked");
    let nothing = receiver.recv().and_then(|_| {
        drop(sender);
        receiver.recv()
    });
    format!(
        "{} {} {} {} {nothing:?} {}",
        lock.read().expect("nobody panicked"),
        WORDS.contains("two"),
        ONCE.get_or_init(|| 9),
        timed_out.timed_out() && before.elapsed() >= wait,
        thread::available_parallelism().expect("a number"),
    )
}

fn missing() -> String {
    let refused = [
        ("read", text(fs::read("/etc/hosts"))),
        ("write", text(fs::write("/tmp/x", "x"))),
        ("create", text(fs::create_dir_all("/tmp/x/y"))),
        ("list", text(fs::read_dir("/"))),
        ("metadata", text(fs::metadata("/x"))),
        ("canonical", text(fs::canonicalize("x"))),
        ("spawn", text(thread::Builder::new().spawn(|| 1))),
        ("connect", text(TcpStream::connect("127.0.0.1:80"))),
        ("resolve", text("localhost:80".to_socket_addrs())),
        ("command", text(Command::new("ls").output())),
        ("set current", text(env::set_current_dir("/x"))),
    ];
    let exists = fs::exists("/etc").expect("an answer");
    let mut input = String::new();
    let input = io::stdin().read_to_string(&mut input).expect("an end");
    let mut lines: Vec<String> = refused.map(|(what, why)| format!("{what}: {why}")).into();
    lines.push(format!(
        "{exists} {input} {:?} {}",
        env::current_dir().ok(),
        env::args().count()
    ));
    lines.join("\n")
}

/// Does what the event names.
#[jiffy::function]
pub fn with_std(event: &[u8], left: &Left) -> Vec<u8> {
    let event = String::from_utf8_lossy(event).into_owned();
    let (deed, rest) = event.split_once(' ').unwrap_or((&event, ""));
    let seen = {
        let mut seen = SEEN.lock().expect("nobody panicked");
        seen.push(event.clone());
        seen.len()
    };
    let answer = match deed {
        "table" => {
            let mut counts = HashMap::new();
            for word in rest.split_whitespace() {
                *counts.entry(word).or_insert(0) += 1;
            }
            let mut counts: Vec<_> = counts.into_iter().collect();
            counts.sort();
            format!("{counts:?} {} {seen}", left.table["7"])
        }
        "keys" => format!("{} {}", RandomState::new().hash_one(1), left.hash),
        "print" => {
            println!("one {}", 1);
            print!("two ");
            println!("and a half");
            eprintln!("three {}", 3);
            let _ = io::stdout().write_all(b"\xffbytes\n");
            print!("not ended");
            "printed".into()
        }
        "time" => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let start = Instant::now();
            thread::sleep(Duration::from_millis(20));
            let slept = start.elapsed();
            format!(
                "{} {}",
                now.expect("after 1970").as_nanos(),
                slept.as_millis()
            )
        }
        "variable" => {
            // SAFETY: there is one thread.
            unsafe { env::set_var("SET", "here") };
            let there = env::vars().any(|(name, value)| name == "SET" && value == "here");
            format!("{:?} {there} {:?}", env::var(rest), env::var("HOME").ok())
        }
        "floats" => {
            let x: f64 = black_box(2.0);
            format!(
                "{} {:.3} {:e} {} {} {}",
                x.sqrt(),
                x.sin().powf(2.5),
                1.0 / 3.0,
                (x as f32).ln(),
                (7.5f64 % x).floor(),
                x.mul_add(3.0, 0.5),
            )
        }
        "thread-locals" => {
            COUNT.set(COUNT.get() + 2);
            format!("{} {}", COUNT.get(), KEPT.take())
        }
        "locks" => locks(),
        "missing" => missing(),
        "panic" => panic!("a panic of std: {rest}"),
        "spawn" => thread::spawn(|| String::from("a thread"))
            .join()
            .expect("joined"),
        "allocate" => {
            let all = vec![black_box(1u8); 1 << 40];
            format!("{}", all.len())
        }
        "recurse" => recurse(0).to_string(),
        "deadlock" => {
            deadlock();
            "unlocked".into()
        }
        "exit" => process::exit(7),
        "die" => process::abort(),
        "abort" => {
            eprintln!("this is why");
            process::abort()
        }
        other => format!("no deed {other:?}"),
    };
    answer.into_bytes()
}
