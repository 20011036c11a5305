//! A VM's way into a snapshot and out of one, and back to it between two requests.
//!
//! ```text
//! boot ── init ── READY ── capture                                        once per deploy
//! restore: map RAM, working set, registers ── request ── reset ── request ── reset …
//! ```
//!
//! A restored VM begins where the captured one stood: at the `READY` doorbell, not yet answered.
//! A reset copies the pages that were written back from the snapshot, so that the guest's page
//! tables and the host's stay as they are; nothing of the request is left in RAM, registers, vector
//! state, devices, the log ring, or what waits at the NIC's TAP (`frames`). Only the resume page moves on.
//! Not here: files (`jiffy-snapshots`).

use std::{fs::File, ops::Range, time::Instant};

use jiffy_abi::{
    control_page::RANDOM_DRAWN,
    doorbell::Wait,
    layout::{RESUME_PAGE, STACK_BYTES_DEFAULT},
    note::{FLAG_RANDOM_INIT, stack_bytes},
    resume_page::RESUME_PAGE_BYTES,
};
pub use jiffy_control::Isolation;
use jiffy_control::{Event, Phases, VmEnd};
use jiffy_snapshots::{
    PageRun, Snapshot,
    devices::DeviceState,
    state::{ImageInfo, RunState, State},
};

use super::{GuestState, Prepared, RunError, Stop, Vm, nanoseconds, working_set};
use crate::{
    boot::Loaded,
    devices::{DeviceError, console::Console},
    kvm::{KvmError, Machine, VcpuTarget},
    mem::{BaseRam, RamError},
};

/// Pages that a reset copies back at most. If more were written, all are dropped instead: that
/// gives their memory back, at a fault for each page the next request touches.
pub const RESET_PAGES_MAX: u64 = 4096;

/// Why a guest that is ready cannot be captured.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum CaptureError {
    #[error("the guest ended before it was ready: {0:?}")]
    Ended(VmEnd),
    #[error(
        "`init` drew randomness, which every VM restored from the snapshot would share: draw it in the handler, or allow it with `random-init = true` under [package.metadata.jiffy]"
    )]
    RandomInit,
    #[error(
        "a VM is captured when it has booted and before its first request, and at no other time"
    )]
    Late,
    #[error("a device still has something to deliver, so there is no point to go on from")]
    NotIdle,
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Why a snapshot cannot be restored on this host.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum RestoreError {
    #[error(
        "the snapshot needs {ram_bytes} bytes of RAM, but the VM was prepared with {prepared_bytes}"
    )]
    RamBytes { ram_bytes: u64, prepared_bytes: u64 },
    #[error(
        "the snapshot needs CPU features that this host lacks ({0}): create it again on this host"
    )]
    Cpu(String),
    #[error(transparent)]
    Ram(#[from] RamError),
    #[error(transparent)]
    Kvm(#[from] KvmError),
    #[error("the snapshot's devices cannot go on")]
    Device(#[source] DeviceError),
    #[error("the snapshot's guest cannot be given a request: create the snapshot again")]
    NotListening,
    #[error(transparent)]
    Run(#[from] RunError),
}

/// What a VM goes back to.
#[derive(Debug)]
pub(super) struct Baseline {
    state: State,
    vcpu: VcpuTarget,
    ram_file: File,
    /// The same, mapped to copy from; made when it is needed first, after the first response.
    ram: Option<BaseRam>,
    working_set: Vec<PageRun>,
    isolation: Isolation,
    /// The first response has been given, and with it the working set is known.
    recorded: bool,
}

impl<F: FnMut(Event)> Vm<F> {
    /// Runs a booted guest until it is ready and captures all of it but RAM, which
    /// [`Vm::machine`] has. Nothing of the VM's own entropy stays in RAM.
    pub fn capture(&mut self, image: ImageInfo) -> Result<State, CaptureError> {
        if let Err(stop) = self.run_until_ready() {
            let _ = self.tell_console(Console::take_rest);
            let _ = self.drain_log();
            return Err(CaptureError::Ended(self.end_of(stop)?));
        }
        if self.stats.requests > 0 || self.baseline.is_some() {
            return Err(CaptureError::Late);
        }
        let ram = self.machine.ram();
        let drew = ram.read_u64(RANDOM_DRAWN) != Some(0);
        if drew && image.flags & FLAG_RANDOM_INIT == 0 {
            return Err(CaptureError::RandomInit);
        }
        ram.write(RESUME_PAGE, &[0; RESUME_PAGE_BYTES]);
        let devices = self.bus.state().ok_or(CaptureError::NotIdle)?;
        let run = RunState {
            writable: self.loaded.writable.clone(),
            heap_start: self.loaded.heap_start,
            heap_end: self.loaded.heap_end,
            precise_clock: self.loaded.precise_clock,
            generation: self.resume.generation(),
            monotonic_ns: self.resume.guest_ns(Instant::now()),
            log_tail: self.log.tail(),
        };
        let vcpu = self.machine.save().map_err(RunError::Kvm)?;
        Ok(State {
            image,
            vcpu,
            devices,
            run,
            cpu: self.machine.cpu().clone(),
        })
    }

    fn run_until_ready(&mut self) -> Result<(), Stop> {
        while self.guest == GuestState::Starting {
            self.step()?;
        }
        Ok(())
    }

    /// Where the time of a restored VM's start went.
    pub fn set_phases(&mut self, phases: Phases) {
        self.stats.phases = phases;
    }

    /// The machine, to look at what only a vCPU that stands still can tell.
    pub fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// State of the devices, as a snapshot has it; `None` while one has something to deliver.
    pub fn device_states(&self) -> Option<Vec<DeviceState>> {
        self.bus.state()
    }

    /// Pages of RAM that were touched; of a restored VM those that were written, because the rest
    /// is the page cache's.
    pub(super) fn pages_touched(&mut self) -> Result<u64, RamError> {
        if self.baseline.is_none() {
            return Ok(self.machine.ram().pages_touched().unwrap_or_default());
        }
        let mut written = 0;
        self.machine
            .ram()
            .private_pages(&mut self.page_map, |pages| {
                written += pages.end - pages.start;
            })?;
        Ok(written)
    }

    /// After a response: tells the working set once, and makes the VM pristine if it has to be.
    pub(super) fn after_request(&mut self) -> Result<(), RunError> {
        let Some(baseline) = &mut self.baseline else {
            return Ok(());
        };
        if !baseline.recorded {
            baseline.recorded = true;
            let ram = self.machine.ram();
            let mut written = Vec::new();
            ram.private_pages(&mut self.page_map, |pages| written.push(pages))?;
            self.stats.pages_touched = written.iter().map(|run| run.end - run.start).sum();
            let runs = if self.machine.shadows_page_tables() {
                written.retain(|run| !working_set::is_table(run.start));
                working_set::runs(ram, &written)
            } else {
                let runs = written.into_iter();
                runs.map(|run| (run.start, run.end - run.start)).collect()
            };
            (self.on_event)(Event::WorkingSet(runs));
        }
        match baseline.isolation {
            Isolation::Fresh => self.reset(),
            Isolation::Reuse => {
                self.stats.pages_touched = self.pages_touched()?;
                Ok(())
            }
        }
    }

    /// Puts everything back to the snapshot, as if the VM had just been restored from it and waited
    /// for its first request.
    /// With [`Isolation::Fresh`] that happens after every response; a VM that booted stays as it is.
    pub fn reset(&mut self) -> Result<(), RunError> {
        let Some(baseline) = &mut self.baseline else {
            return Ok(());
        };
        let began = Instant::now();
        let machine = &mut self.machine;
        let base = match &mut baseline.ram {
            Some(base) => base,
            none => none.insert(BaseRam::map(&baseline.ram_file, machine.ram())?),
        };
        let writable = &baseline.state.run.writable;
        let (mut private, mut written) = (0, 0);
        machine
            .ram()
            .private_pages(&mut self.page_map, |pages: Range<u64>| {
                private += pages.end - pages.start;
                written += working_set::writable(&pages, writable);
                // What was brought in to be read too: that nobody could write it is not relied on.
                if private <= RESET_PAGES_MAX {
                    base.copy_back(machine.ram(), pages);
                }
            })?;
        if private > RESET_PAGES_MAX {
            machine.ram().drop_private()?;
            populate(machine, &baseline.working_set)?;
        }
        let memory = machine.ram().device_memory();
        // The same state was accepted when the VM was restored.
        self.bus
            .set_state(memory, &baseline.state.devices)
            .map_err(RunError::Device)?;
        machine.set(&baseline.vcpu)?;
        machine.clean_fpu(&baseline.vcpu)?;
        self.log.go_on_from(baseline.state.run.log_tail);
        if let Some(network) = &mut self.network {
            network.is_stale = true;
        }
        self.stats.resets += 1;
        self.stats.last_reset_pages = written;
        // A page that was written once is listed at every reset, unless all were dropped.
        self.stats.pages_touched = self.stats.pages_touched.max(private);
        self.stats.last_reset_ns = nanoseconds(began.elapsed());
        Ok(())
    }
}

impl<F: FnMut(Event)> Prepared<F> {
    /// Gives it the guest of `snapshot`, which needs as much RAM as it was prepared with. With
    /// [`Isolation::Fresh`] every request finds the VM as the snapshot has it.
    pub fn restore(self, snapshot: Snapshot, isolation: Isolation) -> Result<Vm<F>, RestoreError> {
        let Self(mut vm) = self;
        let (ram_bytes, prepared_bytes) = (snapshot.ram_bytes(), vm.machine.ram().bytes());
        if ram_bytes != prepared_bytes {
            return Err(RestoreError::RamBytes {
                ram_bytes,
                prepared_bytes,
            });
        }
        let (state, ram_file, working_set) = snapshot.into_parts();
        let missing = state.cpu.missing_in(vm.machine.cpu());
        if !missing.is_empty() {
            let missing = missing
                .iter()
                .map(|word| format!("{word:x?}"))
                .collect::<Vec<_>>();
            return Err(RestoreError::Cpu(missing.join(", ")));
        }
        vm.machine.ram_mut().map_over(&ram_file)?;
        populate(&vm.machine, &working_set)?;
        if working_set.is_empty() && vm.machine.shadows_page_tables() {
            working_set::forget_reads(vm.machine.ram());
        }
        // Checked with the state, and cut to RAM besides.
        vm.machine.ram_mut().let_devices_write(&state.run.writable);
        let vcpu = vm.machine.target(&state.vcpu)?;
        vm.machine.set(&vcpu)?;
        let memory = vm.machine.ram().device_memory();
        vm.bus
            .set_state(memory, &state.devices)
            .map_err(RestoreError::Device)?;
        // Otherwise its first request would wait for ever: no deadline runs before it is there.
        let is_listening = vm.bus.vsock.can_receive(memory);
        if !is_listening.map_err(|error| RestoreError::Device(error.into()))? {
            return Err(RestoreError::NotListening);
        }
        vm.stats.ram_bytes = ram_bytes;
        vm.loaded = Loaded {
            entry: state.vcpu.regs.rip,
            stack_bytes: stack_bytes(state.image.flags).unwrap_or(STACK_BYTES_DEFAULT),
            heap_start: state.run.heap_start,
            heap_end: state.run.heap_end,
            precise_clock: state.run.precise_clock,
            writable: state.run.writable.clone(),
        };
        vm.resume.describe(&vm.loaded, vm.machine.ram());
        vm.resume
            .go_on_from(state.run.generation, state.run.monotonic_ns);
        vm.log.go_on_from(state.run.log_tail);
        vm.guest = GuestState::Idle;
        vm.rung = Some(Wait::Idle);
        vm.baseline = Some(Baseline {
            vcpu,
            ram_file,
            ram: None,
            recorded: !working_set.is_empty(),
            working_set,
            isolation,
            state,
        });
        Ok(vm)
    }
}

fn populate(machine: &Machine, working_set: &[PageRun]) -> Result<(), RamError> {
    for run in working_set {
        machine
            .ram()
            .populate(u64::from(run.first_page), u64::from(run.pages))?;
    }
    Ok(())
}
