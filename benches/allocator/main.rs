//! Which allocator a guest's heap should be: what each contender costs in pages, memory and time.
//! The answer and the reasons are in `docs/perf/allocator.md`.
#![expect(
    clippy::print_stdout,
    reason = "a benchmark of cargo's, whose table stands between criterion's lines"
)]

mod arena;
mod functions;
mod heaps;
mod trace;

use std::{alloc::Layout, io, ptr};

use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use heaps::{Buddy, Dlmalloc, Heap, LinkedList, Placed, Rlsf, Talc};
use trace::{Blocks, Recorder, Trace};

#[global_allocator]
static RECORDER: Recorder = Recorder;

const MIB: usize = 1 << 20;
/// The heap of a VM with 16 MiB, the default.
const DEFAULT_HEAP_BYTES: usize = 13 * MIB;
/// The heap of a VM with 128 MiB.
const LARGE_HEAP_BYTES: usize = 125 * MIB;

/// Calls a generic function for every contender.
macro_rules! for_each_heap {
    ($function:ident($($argument:expr),*)) => {
        $function::<Talc>($($argument),*);
        $function::<Rlsf>($($argument),*);
        $function::<Dlmalloc>($($argument),*);
        $function::<LinkedList>($($argument),*);
        $function::<Buddy>($($argument),*);
    };
}

/// Pages written by one replay of `request` in a clone that was frozen after `init`, and after a
/// first request too if `warm`.
fn pages<H: Heap>(init: &Trace, request: &Trace, warm: bool) -> io::Result<String> {
    let mut placed = Placed::<H>::new(DEFAULT_HEAP_BYTES)?;
    let replay = |placed: &mut Placed<H>, trace: &Trace| {
        trace.replay(placed.heap(), Blocks::Written).is_ok()
    };
    let mut fits = replay(&mut placed, init);
    if warm {
        fits &= replay(&mut placed, request);
    }
    placed.arena().freeze()?;
    fits &= replay(&mut placed, request);
    let pages = placed.arena().private_pages()?;
    Ok(if fits {
        pages.to_string()
    } else {
        "full".into()
    })
}

/// Smallest heap, MiB, in which `trace` fits; searched upwards, because a heap that is larger can
/// be cut into less useful pieces.
fn smallest_heap<H: Heap>(trace: &Trace, from_mib: usize) -> io::Result<String> {
    for mib in from_mib..=256 {
        let mut placed = Placed::<H>::new(mib * MIB)?;
        if trace.replay(placed.heap(), Blocks::Untouched).is_ok() {
            return Ok(mib.to_string());
        }
    }
    Ok("> 256".into())
}

fn print_row<H: Heap>() {
    let row = || -> io::Result<String> {
        let init = functions::init();
        let mut cells = vec![H::NAME.to_owned()];
        for request in [
            functions::hello(),
            functions::order(),
            functions::thumbnail(),
        ] {
            let (cold, warm) = (
                pages::<H>(&init, &request, false)?,
                pages::<H>(&init, &request, true)?,
            );
            cells.push(format!("{cold} / {warm}"));
        }
        cells.push(smallest_heap::<H>(&functions::grow(), 4)?);
        cells.push(smallest_heap::<H>(&functions::pieces(20), 100)?);
        cells.push(size_of::<H>().to_string());
        Ok(format!("| {} |", cells.join(" | ")))
    };
    match row() {
        Ok(row) => println!("{row}"),
        Err(error) => println!("| {} | cannot be measured: {error} |", H::NAME),
    }
}

fn time<H: Heap>(group: &mut BenchmarkGroup<'_, WallTime>, heap_bytes: usize, trace: &Trace) {
    let Ok(mut placed) = Placed::<H>::new(heap_bytes) else {
        return;
    };
    if trace.replay(placed.heap(), Blocks::Untouched).is_err() {
        return; // The table says that it does not fit.
    }
    group.throughput(Throughput::Elements(trace.steps.len() as u64));
    let live = vec![(ptr::null_mut(), Layout::new::<()>()); trace.slots];
    group.bench_function(H::NAME, |bencher| {
        bencher.iter_batched_ref(
            || live.clone(),
            |live| {
                trace
                    .replay_with(placed.heap(), Blocks::Untouched, live)
                    .is_ok()
            },
            BatchSize::LargeInput,
        );
    });
}

fn allocator(criterion: &mut Criterion) {
    println!(
        "| heap | hello, pages | order, pages | thumbnail, pages | grow fits, MiB | pieces fit, MiB | state, bytes |"
    );
    println!("|---|---|---|---|---|---|---|");
    for_each_heap!(print_row());
    println!("pages: written in a clone frozen after init / after init and one request\n");

    for (name, heap_bytes, trace) in [
        ("hello", DEFAULT_HEAP_BYTES, functions::hello()),
        ("order", DEFAULT_HEAP_BYTES, functions::order()),
        ("grow", DEFAULT_HEAP_BYTES, functions::grow()),
        ("churn", DEFAULT_HEAP_BYTES, functions::churn()),
        ("pieces", LARGE_HEAP_BYTES, functions::pieces(1)),
    ] {
        let mut group = criterion.benchmark_group(name);
        for_each_heap!(time(&mut group, heap_bytes, &trace));
        group.finish();
    }
}

criterion_group!(benches, allocator);
criterion_main!(benches);
