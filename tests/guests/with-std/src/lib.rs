//! Uses `std`: the event is the name of a deed, the answer what came of it.

#![allow(
    clippy::disallowed_methods,
    reason = "what is printed here is a function's log"
)]

use std::{
    cell::Cell,
    collections::{HashMap, HashSet, hash_map::RandomState},
    env,
    fs::{self, File},
    hash::BuildHasher,
    hint::black_box,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{self, Command},
    sync::{Condvar, LazyLock, Mutex, OnceLock, RwLock, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(40) };
    static KEPT: Cell<String> = Cell::new("of this thread".repeat(2));
    static SCATTERED: Cell<[u8; 64]> = const { Cell::new([0; 64]) };
}

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| HashSet::from(["one", "two"]));
static ONCE: OnceLock<u64> = OnceLock::new();
static STATICS: Mutex<[u8; 64]> = Mutex::new([0; 64]);

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
    fs::write("/tmp/of-init", "of init").expect("room");
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
        ("read", text(fs::read("/none"))),
        ("write", text(fs::write("/app/x", "x"))),
        ("create", text(fs::create_dir_all("/x/y"))),
        ("list", text(fs::read_dir("/none"))),
        ("remove", text(fs::remove_file("/app/greeting.txt"))),
        ("link", text(std::os::unix::fs::symlink("/a", "/tmp/a"))),
        ("canonical", text(fs::canonicalize("x"))),
        ("connect", text(TcpStream::connect("127.0.0.1:80"))),
        ("resolve", text("localhost:80".to_socket_addrs())),
        ("command", text(Command::new("ls").output())),
        ("set current", text(env::set_current_dir("/x"))),
    ];
    let mut input = String::new();
    let input = io::stdin().read_to_string(&mut input).expect("an end");
    let mut lines: Vec<String> = refused.map(|(what, why)| format!("{what}: {why}")).into();
    lines.push(format!(
        "{input} {:?} {}",
        env::current_dir().ok(),
        env::args().count()
    ));
    lines.join("\n")
}

/// What was linked in, and devices.
fn linked_in() -> io::Result<String> {
    let mut names: Vec<String> = fs::read_dir("/app")?
        .map(|entry| {
            let entry = entry?;
            let kind = if entry.file_type()?.is_dir() { "/" } else { "" };
            Ok(format!("{}{kind}", entry.file_name().to_string_lossy()))
        })
        .collect::<io::Result<_>>()?;
    names.sort();
    let mut random = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let hosts = fs::read_to_string("/etc/hosts")?;
    let metadata = fs::metadata("/app/greeting.txt")?;
    File::options()
        .write(true)
        .open("/dev/stderr")?
        .write_all(b"by name\n")?;
    Ok(format!(
        "{names:?} {:?} {} {} {} {:?}",
        fs::read_to_string("/app/greeting.txt")?,
        metadata.len(),
        metadata.permissions().readonly(),
        random != [0; 32] && hosts.contains("localhost"),
        fs::canonicalize("/app/../app/./sub/deep.txt")?,
    ))
}

/// A folder below `/tmp`: made, filled, moved, measured, copied, read in pieces, removed.
fn temporary() -> io::Result<String> {
    let place = Path::new("/tmp/work");
    fs::create_dir_all(place.join("a/b"))?;
    env::set_current_dir(place)?;
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open("a/file")?;
    writeln!(file, "one")?;
    writeln!(file, "two")?;
    file.seek(SeekFrom::Start(1))?;
    file.write_all(b"NE")?;
    file.set_len(1 << 20)?;
    file.sync_all()?;
    let mut other = file.try_clone()?;
    other.rewind()?;
    let mut lines = BufReader::new(&file).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    fs::rename("a", "moved")?;
    let copied = fs::copy("moved/file", "copy")?;
    let again = text(fs::create_dir("moved/b"));
    let full = text(fs::remove_dir("moved"));
    let mut appended = File::options().append(true).open("copy")?;
    appended.write_all(b"end")?;
    let len = fs::metadata("copy")?.len();
    let modified = fs::metadata("copy")?.modified()?;
    let is_now = SystemTime::now().duration_since(modified).is_ok();
    fs::set_permissions("copy", fs::Permissions::from_mode(0o600))?;
    let mode = fs::metadata("copy")?.permissions().mode() & 0o777;
    let here = env::current_dir()?;
    env::set_current_dir("/")?;
    fs::remove_dir_all(place)?;
    let gone = !fs::exists(place)?;
    Ok(format!(
        "{first} {copied} {len} {is_now} {mode:o} {again} | {full} | {here:?} {gone}"
    ))
}

/// Writes until there is no room, and takes it away again.
fn fill() -> io::Result<String> {
    let mut file = File::create("/tmp/large")?;
    let piece = vec![7; 64 << 10];
    let (mut bytes, error) = (
        0,
        loop {
            if let Err(error) = file.write_all(&piece) {
                break error;
            }
        },
    );
    bytes += file.metadata()?.len();
    drop(file);
    fs::remove_file("/tmp/large")?;
    fs::write("/tmp/small", &piece)?;
    Ok(format!("{bytes} {:?}: {error}", error.kind()))
}

/// Leaves `word` and the name of each place wherever a request can leave something.
fn scatter(word: &str) -> io::Result<()> {
    let bytes = |place: &str| {
        let mut bytes = [0; 64];
        let text = format!("{word}:{place}");
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes
    };
    black_box(bytes("heap").to_vec().leak());
    *STATICS.lock().expect("nobody panicked") = bytes("static");
    SCATTERED.set(bytes("thread-local"));
    SCATTERED.with(|kept| black_box(kept.as_ptr()));
    fs::write("/tmp/scattered", bytes("file"))?;
    // SAFETY: nobody reads it meanwhile.
    unsafe { env::set_var("SCATTERED", format!("{word}:environment")) };
    let of_stack = bytes("stack");
    thread::spawn(move || {
        let mut stack = [of_stack; 16];
        black_box(&mut stack);
        loop {
            thread::park();
            black_box(&mut stack);
        }
    });
    thread::yield_now();
    Ok(())
}

/// Panics three closures deep.
fn nested(number: u32) -> u32 {
    let outer = |number: u32| {
        let inner =
            || black_box([1u32, 2]).map(|entry| entry.checked_sub(number).expect("nested closure"));
        inner().iter().sum::<u32>()
    };
    outer(black_box(number))
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
        "linked-in" => linked_in().unwrap_or_else(|error| error.to_string()),
        "temporary" => temporary().unwrap_or_else(|error| error.to_string()),
        "fill" => fill().unwrap_or_else(|error| error.to_string()),
        "left" => {
            let found = fs::exists("/tmp/left").expect("an answer");
            fs::write("/tmp/left", rest).expect("room");
            format!(
                "{found} {}",
                fs::read_to_string("/tmp/of-init").expect("left")
            )
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
        "allocate" => {
            let all = vec![black_box(1u8); 1 << 40];
            format!("{}", all.len())
        }
        "allocate-zeros" => {
            let all = vec![black_box(0u64); black_box(1 << 37)];
            format!("{}", all.len())
        }
        "scatter" => text(scatter(rest)),
        "nested" => nested(2).to_string(),
        "spin" => loop {
            black_box(&rest);
        },
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
