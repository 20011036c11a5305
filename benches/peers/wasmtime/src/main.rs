//! Answers events with a WASI command that was compiled ahead of time.
//!
//! - `once MODULE.cwasm`: one event from standard input, its answer to standard output; what a process for each request costs.
//! - `serve MODULE.cwasm EVENT`: for each line of standard input one answer in this process, and a line `NANOSECONDS ANSWER`.
//!   `cold` answers in a new instance out of a pool, made for this request; `warm` in the one of the request before.

use std::{
    env,
    io::{Read, Write, stdin, stdout},
    time::{Duration, Instant},
};

use wasmtime::{
    Caller, Config, Engine, Extern, InstanceAllocationStrategy, InstancePre, Linker, Memory,
    Module, PoolingAllocationConfig, Result, Store, TypedFunc, bail, format_err,
};

const EVENT_BYTES_MAX: u64 = 4096;
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Instances that live at once: the one of `warm`, and those of `cold` while the last one goes.
const POOL_INSTANCES: u32 = 4;
const INSTANCE_MEMORY_BYTES_MAX: usize = 1 << 20;
/// Of an instance's memory, what is cleared by writing and not by unmapping; the module's own has two pages.
const KEEP_RESIDENT_BYTES: usize = 128 << 10;

/// WASI's numbers for "it worked" and for "nothing has that name".
const SUCCESS: i32 = 0;
const BAD_DESCRIPTOR: i32 = 8;
const SPAN_BYTES: usize = 8;

/// What an instance reads and writes.
#[derive(Default)]
struct Streams {
    event: Vec<u8>,
    read_bytes: usize,
    answer: Vec<u8>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [_, "once", module] => once(module),
        [_, "serve", module, event] => serve(module, event),
        _ => bail!("usage: wasmtime-peer once MODULE.cwasm | serve MODULE.cwasm EVENT"),
    }
}

fn once(module: &str) -> Result<()> {
    let module = prepare(&Config::new(), module)?;
    let mut event = vec![];
    stdin().take(EVENT_BYTES_MAX).read_to_end(&mut event)?;
    let mut instance = Instance::new(&module)?;
    let answer = instance.answer(event)?;
    stdout().write_all(&answer)?;
    Ok(())
}

fn serve(module: &str, event: &str) -> Result<()> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_core_instances(POOL_INSTANCES)
        .total_memories(POOL_INSTANCES)
        .total_tables(POOL_INSTANCES)
        .max_memory_size(INSTANCE_MEMORY_BYTES_MAX)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let module = prepare(&config, module)?;

    let mut kept = Instance::new(&module)?;
    for line in stdin().lines() {
        let (took, answer) = match line?.as_str() {
            "cold" => {
                let event = event.into();
                let start = Instant::now();
                let mut instance = Instance::new(&module)?;
                let answer = instance.answer(event)?;
                // The instance goes after the clock was read, as a VM does.
                (start.elapsed(), answer)
            }
            "warm" => {
                let event = event.into();
                let start = Instant::now();
                let answer = kept.answer(event)?;
                (start.elapsed(), answer)
            }
            other => bail!("{other:?} is neither `cold` nor `warm`"),
        };
        report(took, &answer)?;
    }
    Ok(())
}

fn report(took: Duration, answer: &[u8]) -> Result<()> {
    let mut stdout = stdout().lock();
    let answer = String::from_utf8_lossy(answer);
    writeln!(stdout, "{} {answer}", took.as_nanos())?;
    stdout.flush()?;
    Ok(())
}

fn prepare(config: &Config, module: &str) -> Result<InstancePre<Streams>> {
    let engine = Engine::new(config)?;
    // SAFETY: `scripts/peers` made the file with the same version of wasmtime, which the file's header confirms, and nobody
    // else writes into its folder.
    let module = unsafe { Module::deserialize_file(&engine, module) }?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("wasi_snapshot_preview1", "fd_read", fd_read)?;
    linker.func_wrap("wasi_snapshot_preview1", "fd_write", fd_write)?;
    linker.instantiate_pre(&module)
}

struct Instance {
    store: Store<Streams>,
    start: TypedFunc<(), ()>,
}

impl Instance {
    fn new(module: &InstancePre<Streams>) -> Result<Self> {
        let mut store = Store::new(module.module().engine(), Streams::default());
        let instance = module.instantiate(&mut store)?;
        let start = instance.get_typed_func(&mut store, "_start")?;
        Ok(Self { store, start })
    }

    fn answer(&mut self, event: Vec<u8>) -> Result<Vec<u8>> {
        let streams = self.store.data_mut();
        (streams.event, streams.read_bytes) = (event, 0);
        self.start.call(&mut self.store, ())?;
        Ok(std::mem::take(&mut self.store.data_mut().answer))
    }
}

fn fd_read(
    mut caller: Caller<'_, Streams>,
    fd: i32,
    spans: i32,
    count: i32,
    moved: i32,
) -> Result<i32> {
    if fd != 0 || count != 1 {
        return Ok(BAD_DESCRIPTOR);
    }
    let (memory, streams) = memory_of(&mut caller)?.data_and_store_mut(&mut caller);
    let into = one_span(memory, spans)?;
    let rest = &streams.event[streams.read_bytes..];
    let len = rest.len().min(into.len());
    slice_mut(memory, into.start, len)?.copy_from_slice(&rest[..len]);
    streams.read_bytes += len;
    store_len(memory, moved, len)?;
    Ok(SUCCESS)
}

fn fd_write(
    mut caller: Caller<'_, Streams>,
    fd: i32,
    spans: i32,
    count: i32,
    moved: i32,
) -> Result<i32> {
    if fd != 1 || count != 1 {
        return Ok(BAD_DESCRIPTOR);
    }
    let (memory, streams) = memory_of(&mut caller)?.data_and_store_mut(&mut caller);
    let from = one_span(memory, spans)?;
    let len = from
        .len()
        .min(ANSWER_BYTES_MAX.saturating_sub(streams.answer.len()));
    let written = slice_mut(memory, from.start, len)?;
    streams.answer.extend_from_slice(written);
    store_len(memory, moved, len)?;
    Ok(SUCCESS)
}

fn memory_of(caller: &mut Caller<'_, Streams>) -> Result<Memory> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        _ => bail!("the module exports no memory"),
    }
}

/// Address and length at `at`, as a range that is inside memory when it is used.
fn one_span(memory: &mut [u8], at: i32) -> Result<std::ops::Range<usize>> {
    let span = slice_mut(memory, offset(at), SPAN_BYTES)?;
    let (address, len) = span.split_at(SPAN_BYTES / 2);
    let number = |bytes: &[u8]| {
        let bytes = <[u8; 4]>::try_from(bytes)?;
        Ok::<_, std::array::TryFromSliceError>(u32::from_le_bytes(bytes) as usize)
    };
    let (address, len) = (number(address)?, number(len)?);
    Ok(address..address.saturating_add(len))
}

fn store_len(memory: &mut [u8], at: i32, len: usize) -> Result<()> {
    let len = u32::try_from(len)?.to_le_bytes();
    slice_mut(memory, offset(at), len.len())?.copy_from_slice(&len);
    Ok(())
}

/// A module's pointers are unsigned, whatever wasm calls them.
fn offset(at: i32) -> usize {
    at.cast_unsigned() as usize
}

fn slice_mut(memory: &mut [u8], start: usize, len: usize) -> Result<&mut [u8]> {
    let end = start.saturating_add(len);
    let has_bytes = memory.len();
    let slice = memory.get_mut(start..end);
    slice.ok_or_else(|| {
        format_err!("{start}..{end} is not in the module's memory of {has_bytes} bytes")
    })
}
