//! What a function asks of its heap: recorded from real code, or made up where size is the point.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::heaps::Heap;

/// One step; a slot names a block from its allocation to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Allocate { slot: usize, layout: Layout },
    Resize { slot: usize, new_bytes: usize },
    Free { slot: usize },
}

/// Steps in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    pub(crate) steps: Vec<Step>,
    pub(crate) slots: usize,
}

/// The heap had no room for a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full;

/// Whether blocks are written as their owner would, or only their allocator's bookkeeping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocks {
    Written,
    Untouched,
}

impl Trace {
    /// Goes through the steps on `heap`. Blocks that the trace does not free stay.
    pub(crate) fn replay(&self, heap: &mut impl Heap, blocks: Blocks) -> Result<(), Full> {
        let mut live = vec![(std::ptr::null_mut(), Layout::new::<()>()); self.slots];
        self.replay_with(heap, blocks, &mut live)
    }

    /// As `replay`, with the table of blocks from outside, to keep it out of a measured time.
    pub(crate) fn replay_with(
        &self,
        heap: &mut impl Heap,
        blocks: Blocks,
        live: &mut [(*mut u8, Layout)],
    ) -> Result<(), Full> {
        for step in &self.steps {
            match *step {
                Step::Allocate { slot, layout } => {
                    let block = heap.allocate(layout);
                    write(block, 0, layout.size(), blocks)?;
                    live[slot] = (block, layout);
                }
                Step::Resize { slot, new_bytes } => {
                    let (block, layout) = live[slot];
                    // SAFETY: the slot holds a live block of this heap and the layout it has.
                    let block = unsafe { heap.resize(block, layout, new_bytes) };
                    write(block, layout.size(), new_bytes, blocks)?;
                    let layout = Layout::from_size_align(new_bytes, layout.align());
                    live[slot] = (block, layout.map_err(|_| Full)?);
                }
                Step::Free { slot } => {
                    let (block, layout) = live[slot];
                    // SAFETY: as above; no later step of a trace names the slot again before it is
                    // allocated again.
                    unsafe { heap.free(block, layout) };
                }
            }
        }
        Ok(())
    }
}

fn write(block: *mut u8, from: usize, to: usize, blocks: Blocks) -> Result<(), Full> {
    if block.is_null() {
        return Err(Full);
    }
    if blocks == Blocks::Written && from < to {
        // SAFETY: `from` is within the block, which has `to` bytes.
        let new = unsafe { block.add(from) };
        // SAFETY: as above.
        unsafe { new.write_bytes(0xa5, to - from) };
    }
    Ok(())
}

/// Forwards to the system's allocator and notes what one thread asks while it records.
pub(crate) struct Recorder;

#[derive(Clone, Copy, Debug)]
enum Call {
    Allocate(usize, Layout),
    Resize(usize, usize, usize),
    Free(usize),
}

const CALLS_MAX: usize = 1 << 18;
static CALLS: Mutex<Vec<Call>> = Mutex::new(Vec::new());
thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(false) };
}

fn note(call: Call) {
    if RECORDING.get() {
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        // Within its capacity a push allocates nothing, so `note` is not entered again.
        if calls.len() < CALLS_MAX {
            calls.push(call);
        }
    }
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Recorder {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let block = unsafe { System.alloc(layout) };
        note(Call::Allocate(block.addr(), layout));
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(Call::Free(block.addr()));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        let old = block.addr();
        // SAFETY: as the caller promises.
        let block = unsafe { System.realloc(block, layout, new_bytes) };
        note(Call::Resize(old, block.addr(), new_bytes));
        block
    }
}

/// What `code` allocates, resizes and frees on this thread.
pub(crate) fn record<T>(code: impl FnOnce() -> T) -> Trace {
    let calls = || CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    calls().reserve(CALLS_MAX);
    RECORDING.set(true);
    let value = code();
    RECORDING.set(false);
    drop(value); // Unrecorded: what `code` returns lives on in the replayed heap.

    let mut trace = Trace::default();
    let mut slots = HashMap::new();
    assert!(calls().len() < CALLS_MAX, "more calls than CALLS_MAX");
    for call in calls().drain(..) {
        match call {
            Call::Allocate(address, layout) => {
                slots.insert(address, trace.slots);
                trace.steps.push(Step::Allocate {
                    slot: trace.slots,
                    layout,
                });
                trace.slots += 1;
            }
            Call::Resize(from, to, new_bytes) => {
                let slot = slots.remove(&from).expect("allocated while recording");
                slots.insert(to, slot);
                trace.steps.push(Step::Resize { slot, new_bytes });
            }
            Call::Free(address) => {
                let slot = slots.remove(&address).expect("allocated while recording");
                trace.steps.push(Step::Free { slot });
            }
        }
    }
    trace
}
