//! A shell beside its floor: how long until it waits, what it holds while it waits, and how long from
//! handing it a snapshot and a request to the response.
//!
//! `cargo bench -p jiffy-benches --bench shell [-- ITERATIONS]`. The floor is a process with a bare VM,
//! its slot set: it takes a memory file over a socket, maps it, brings in as many pages as the
//! function writes, runs to the first exit and answers. Both take turns in one run.
#![allow(
    clippy::cast_possible_truncation,
    reason = "x86-64 only, and the numbers of a benchmark are small"
)]

#[path = "../restore/floor.rs"]
#[allow(
    dead_code,
    reason = "shared with the benchmark `restore`, which uses the rest"
)]
mod floor;

use std::{
    env,
    error::Error,
    fs,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use jiffy_control::{
    Event, Isolation, NewSnapshot, Request, Shell, Spawner, SpawnerOptions, create_snapshot,
    read_response, restore_packet, write_request,
};
use jiffy_snapshots::{PageRun, Snapshot, write_working_set};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// First argument of this program where it is a floor.
const FLOOR: &str = "floor";
const ITERATIONS: usize = 300;
const LIMIT: Duration = Duration::from_secs(10);

fn main() -> Fallible<()> {
    let arguments: Vec<String> = env::args().collect();
    if let [_, first, ram_bytes, pages] = &arguments[..]
        && first == FLOOR
    {
        return be_floor(ram_bytes.parse()?, pages.parse()?);
    }
    let iterations = arguments.iter().find_map(|argument| argument.parse().ok());
    let iterations = iterations.unwrap_or(ITERATIONS);
    let (image, vmm) = jiffy_benches::image_and_vmm("examples/hello");
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("hello.snap");
    let new = NewSnapshot {
        vmm: vmm.clone(),
        spawner: SpawnerOptions::default(),
        image,
        ram_bytes: None,
        timeout: Some(LIMIT),
        output: path.clone(),
    };
    create_snapshot(&new, |_| {})?;
    let spawner = Spawner::start(&vmm, &SpawnerOptions::default())?;
    let pages = record(&spawner, &path)?;
    let snapshot = Snapshot::open(&path)?;
    let ram_bytes = snapshot.ram_bytes() as usize;
    let floor_file = floor::ram_file(ram_bytes)?;

    let (mut ready, mut answered, mut floors) = (vec![], vec![], vec![]);
    let mut private_kib = 0;
    for _ in 0..iterations {
        let began = Instant::now();
        let shell = waiting(&spawner, snapshot.ram_bytes())?;
        ready.push(began.elapsed());
        private_kib = private_kib.max(private(shell.process_id())?);
        answered.push(hand_over(&shell, &snapshot)?);
        drop(shell);
        let mut floor = Floor::start(ram_bytes, pages)?;
        floors.push(floor.hand_over(&floor_file)?);
    }
    let line = |name: &str, times: &mut Vec<Duration>| {
        times.sort_unstable();
        let at = |percent: usize| {
            let index = (times.len() * percent / 100).min(times.len() - 1);
            times[index].as_nanos() as f64 / 1000.0
        };
        println!(
            "{name:<34} p50 {:>8.1} µs   p90 {:>8.1}   p99 {:>8.1}",
            at(50),
            at(90),
            at(99)
        );
        at(50)
    };
    println!(
        "{iterations} times each, {pages} pages of working set, {} MiB of RAM",
        ram_bytes >> 20
    );
    line("shell: spawn until it waits", &mut ready);
    let jiffy = line("shell: hand-over until response", &mut answered);
    let floor = line("floor: hand-over until answer", &mut floors);
    println!("hand-over, ratio to the floor      {:.2}", jiffy / floor);
    println!("private memory of a waiting shell  {private_kib} KiB at most");
    Ok(())
}

/// Makes a shell and waits until it waits.
fn waiting(spawner: &Spawner, ram_bytes: u64) -> Fallible<Shell> {
    let shell = spawner.shell(ram_bytes)?;
    match shell.control.recv()? {
        Some(Event::Waiting { .. }) => Ok(shell),
        other => Err(format!("instead of waiting: {other:?}").into()),
    }
}

/// From the command until the response to the first request.
fn hand_over(shell: &Shell, snapshot: &Snapshot) -> Fallible<Duration> {
    let request = Request {
        body: br#"{"name":"Ada"}"#.to_vec(),
        ..Request::default()
    };
    let packet = restore_packet(snapshot, Isolation::Fresh, Some(LIMIT))?;
    let began = Instant::now();
    let control = &shell.control;
    control.send_with(&packet, &[snapshot.ram_file().as_fd()])?;
    write_request(&mut &shell.stream, &request)?;
    let response = read_response(&mut &shell.stream)?;
    let took = began.elapsed();
    assert!(response.body.starts_with(br#"{"greeting":"Hello, Ada!"#));
    Ok(took)
}

/// Records the working set beside the snapshot; how many pages it has.
fn record(spawner: &Spawner, path: &Path) -> Fallible<usize> {
    let snapshot = Snapshot::open(path)?;
    let shell = waiting(spawner, snapshot.ram_bytes())?;
    hand_over(&shell, &snapshot)?;
    loop {
        match shell.control.recv()? {
            Some(Event::WorkingSet(runs)) => {
                let run = |&(first_page, pages): &(u64, u64)| PageRun {
                    first_page: first_page as u32,
                    pages: pages as u32,
                };
                let runs: Vec<_> = runs.iter().map(run).collect();
                write_working_set(path, &runs)?;
                return Ok(runs.iter().map(|run| run.pages as usize).sum());
            }
            Some(_) => {}
            None => return Err("the shell ended".into()),
        }
    }
}

/// Memory that is a process's own, KiB.
fn private(process_id: u32) -> Fallible<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process_id}/smaps_rollup"))?;
    let of = |name: &str| -> Option<u64> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let both = of("Private_Clean:").zip(of("Private_Dirty:"));
    let (clean, dirty) = both.ok_or("no private memory in smaps_rollup")?;
    Ok(clean + dirty)
}

/// A process that is a floor.
struct Floor {
    process: Child,
    socket: UnixStream,
}

impl Floor {
    fn start(ram_bytes: usize, pages: usize) -> Fallible<Self> {
        let (mut socket, far) = UnixStream::pair()?;
        let process = Command::new(env::current_exe()?)
            .args([FLOOR, &ram_bytes.to_string(), &pages.to_string()])
            .stdin(Stdio::from(OwnedFd::from(far)))
            .spawn()?;
        socket.read_exact(&mut [0])?;
        Ok(Self { process, socket })
    }

    fn hand_over(&mut self, file: &fs::File) -> Fallible<Duration> {
        let began = Instant::now();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let file = [file.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&file));
        let slices = [IoSlice::new(&[1])];
        sendmsg(&self.socket, &slices, &mut ancillary, SendFlags::empty())?;
        self.socket.read_exact(&mut [0])?;
        Ok(began.elapsed())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It is our own child, and it may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits for a memory file on standard input, and answers there once its VM has run.
fn be_floor(ram_bytes: usize, pages: usize) -> Fallible<()> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut vm = floor::Prepared::new(ram_bytes, pages)?;
    socket.write_all(&[1])?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut slices = [IoSliceMut::new(&mut byte)];
    recvmsg(
        &socket,
        &mut slices,
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let file = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    vm.restore(&file.ok_or("no file")?.into(), pages)?;
    socket.write_all(&[1])?;
    Ok(())
}
