//! Restore and reset beside their floor, in one run: how they grow with written pages and with RAM.
//!
//! `cargo bench -p jiffy-benches --bench restore [-- ITERATIONS]`. Floor and jiffy take turns, so that both see the same
//! machine. Everything runs in this process, without a wake-up of another one: a restore into a
//! prepared VM until its first response is written; and a request on a VM that is then reset. The
//! floor's guest writes as many pages as the function does and exits; see `floor`.
#![allow(
    clippy::cast_possible_truncation,
    reason = "x86-64 only, and the numbers of a benchmark are small"
)]

mod floor;

use std::{
    error::Error,
    fs::File,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use jiffy_control::{Phases, Request};
use jiffy_snapshots::{Snapshot, state::ImageInfo};
use jiffy_vmm::{
    boot::{self, Image},
    kvm::Machine,
    mem::{PageMap, Ram},
    run::{Isolation, Prepared, Vm},
};

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> Fallible<()> {
    let iterations = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next();
    let iterations: usize = iterations.unwrap_or(300);
    let (hello, _) = jiffy_benches::image_and_vmm("examples/hello");
    let (dirty, _) = jiffy_benches::image_and_vmm("benches/guests/dirty");
    let event = br#"{"name":"Ada"}"#;

    println!("{HEADER}");
    measure("hello", &hello, event, 16, iterations)?;
    for pages in [8, 24, 128, 1024] {
        let event = pages.to_string();
        measure(
            &format!("{pages} pages"),
            &dirty,
            event.as_bytes(),
            64,
            iterations,
        )?;
    }
    for mib in [16, 64, 256, 1024] {
        measure(
            &format!("hello, {mib} MiB"),
            &hello,
            event,
            mib,
            iterations.min(200),
        )?;
    }
    Ok(())
}

const HEADER: &str = "\
p50 (p90), µs      | pages | restore: jiffy   |  floor           | ratio | reset+request    |  floor           | ratio | reset | request
-------------------|-------|------------------|------------------|-------|------------------|------------------|-------|-------|--------";

fn measure(name: &str, image: &Path, event: &[u8], mib: usize, iterations: usize) -> Fallible<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("bench.snap");
    let ram_bytes = mib << 20;
    snapshot(image, ram_bytes as u64, &path)?;
    let runs = working_set(&path, event)?;
    let pages = runs.iter().map(|run| u64::from(run.pages)).sum::<u64>() as usize;
    jiffy_snapshots::write_working_set(&path, &runs)?;

    let floor_file = floor::ram_file(ram_bytes)?;
    let (mut restores, mut floor_restores) = (vec![], vec![]);
    for _ in 0..iterations.min(300) {
        restores.push(restore(&path, event)?);
        floor_restores.push(floor::Prepared::new(ram_bytes, pages)?.restore(&floor_file, pages)?);
    }
    let resets = reset(&path, event, &floor_file, pages, iterations * 10)?;

    let (restore, floor_restore) = (Quantiles::of(restores), Quantiles::of(floor_restores));
    let Resets {
        whole,
        floor,
        reset,
        request,
    } = resets;
    println!(
        "{name:<19}|{pages:>6} | {restore} | {floor_restore} | {:>5.2} | {whole} | {floor} | {:>5.2} | {:>5.1} | {:>6.1}",
        restore.p50 / floor_restore.p50,
        whole.p50 / floor.p50,
        reset.p50,
        request.p50,
    );
    Ok(())
}

/// Makes a snapshot of `image` at `path`.
fn snapshot(image: &Path, ram_bytes: u64, path: &Path) -> Fallible<()> {
    let bytes = std::fs::read(image)?;
    let image = Image::parse(&bytes)?;
    let ram = Ram::new(ram_bytes)?;
    let loaded = boot::load(&ram, &image, &bytes)?;
    let (stream, _client) = UnixStream::pair()?;
    let machine = Machine::new(ram)?;
    let mut vm = Prepared::new(machine, stream, None, |_| {})?.boot(loaded, Phases::default())?;
    let state = vm.capture(ImageInfo::default())?;
    let ram = vm.machine().ram();
    jiffy_snapshots::create(path, &state, ram_bytes, |number, page| {
        *page = ram
            .read_array(number * 4096)
            .ok_or(std::io::ErrorKind::UnexpectedEof)?;
        Ok(())
    })?;
    Ok(())
}

/// A restored VM and the client's end of its request stream, the request already in it.
fn restored(
    path: &Path,
    event: &[u8],
) -> Fallible<(Duration, Vm<impl FnMut(jiffy_control::Event)>, UnixStream)> {
    let snapshot = Snapshot::open(path)?;
    let (stream, mut client) = UnixStream::pair()?;
    send(&mut client, event)?;
    let machine = Machine::new(Ram::reserve(snapshot.ram_bytes())?)?;
    let prepared = Prepared::new(machine, stream, None, |_| {})?;
    let began = Instant::now();
    let vm = prepared.restore(&snapshot, Isolation::Fresh)?;
    Ok((began.elapsed(), vm, client))
}

fn send(client: &mut UnixStream, event: &[u8]) -> Fallible<()> {
    let request = Request {
        body: event.to_vec(),
        ..Request::default()
    };
    Ok(jiffy_control::write_request(client, &request)?)
}

fn receive(client: &mut UnixStream) -> Fallible<()> {
    let mut response = [0; 4096];
    let len = client.read(&mut response)?;
    if len > 16 {
        Ok(())
    } else {
        Err("a response of no content".into())
    }
}

/// From the prepared VM to the response written.
fn restore(path: &Path, event: &[u8]) -> Fallible<Duration> {
    let (restore, mut vm, mut client) = restored(path, event)?;
    if let Some(end) = vm.serve_request()? {
        return Err(format!("the VM ended: {end:?}").into());
    }
    receive(&mut client)?;
    Ok(restore + Duration::from_nanos(vm.stats().last_request_ns))
}

/// The pages that one request writes.
fn working_set(path: &Path, event: &[u8]) -> Fallible<Vec<jiffy_snapshots::PageRun>> {
    let snapshot = Snapshot::open(path)?;
    let (stream, mut client) = UnixStream::pair()?;
    send(&mut client, event)?;
    let machine = Machine::new(Ram::reserve(snapshot.ram_bytes())?)?;
    let mut runs = vec![];
    let mut on_event = |event| {
        if let jiffy_control::Event::WorkingSet(found) = event {
            runs = found;
        }
    };
    let mut vm = Prepared::new(machine, stream, None, &mut on_event)?
        .restore(&snapshot, Isolation::Reuse)?;
    vm.serve_request()?;
    drop(vm);
    let run = |(first, pages): (u64, u64)| jiffy_snapshots::PageRun {
        first_page: first as u32,
        pages: pages as u32,
    };
    Ok(runs.into_iter().map(run).collect())
}

struct Resets {
    whole: Quantiles,
    floor: Quantiles,
    reset: Quantiles,
    request: Quantiles,
}

/// Requests on one VM that is reset after each, and the floor's resets, in turns.
fn reset(
    path: &Path,
    event: &[u8],
    floor_file: &File,
    pages: usize,
    iterations: usize,
) -> Fallible<Resets> {
    let (_, mut vm, mut client) = restored(path, event)?;
    vm.serve_request()?;
    receive(&mut client)?;

    let ram_bytes = vm.machine().ram().bytes() as usize;
    let mut floor = floor::Prepared::new(ram_bytes, pages)?;
    let clean = floor.clean_fpu()?;
    floor.restore(floor_file, pages)?;
    let base = floor::map_base(floor_file, ram_bytes)?;
    let mut page_map = PageMap::open()?;

    let (mut whole, mut floors, mut resets, mut requests) = (vec![], vec![], vec![], vec![]);
    for _ in 0..iterations {
        send(&mut client, event)?;
        let began = Instant::now();
        if let Some(end) = vm.serve_request()? {
            return Err(format!("the VM ended: {end:?}").into());
        }
        whole.push(began.elapsed());
        receive(&mut client)?;
        resets.push(Duration::from_nanos(vm.stats().last_reset_ns));
        requests.push(Duration::from_nanos(vm.stats().last_request_ns));
        floors.push(floor.reset(&mut page_map, base, &clean)?);
    }
    client.flush()?;
    Ok(Resets {
        whole: Quantiles::of(whole),
        floor: Quantiles::of(floors),
        reset: Quantiles::of(resets),
        request: Quantiles::of(requests),
    })
}

struct Quantiles {
    p50: f64,
    p90: f64,
}

impl Quantiles {
    fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort();
        let at = |part: usize| samples[(samples.len() - 1) * part / 100].as_secs_f64() * 1e6;
        Self {
            p50: at(50),
            p90: at(90),
        }
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>7.1} ({:>6.1})", self.p50, self.p90)
    }
}
