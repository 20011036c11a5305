//! The machine: one KVM VM with one memory slot and one vCPU that starts in ring 3.
//!
//! Order matters: the slot is set before anything else of the VM exists, and there is no irqchip,
//! no PIT and no ioeventfd; with one of them the same calls take milliseconds (DESIGN §8).
//! Not here: what the exits mean (`run`).

mod segments;
mod state;

pub use state::VcpuTarget;

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};

use jiffy_abi::layout::{GDT, IDT, PAGE_BYTES, PAGE_TABLES, STACK, TSS};
use jiffy_snapshots::CpuNeeds;
use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, KVMIO, kvm_dtable, kvm_pre_fault_memory, kvm_regs, kvm_run,
    kvm_segment, kvm_sregs, kvm_userspace_memory_region, kvm_xcrs,
};
use kvm_ioctls::{Cap, Kvm, VcpuExit, VcpuFd, VmFd};
use vmm_sys_util::ioctl::{_IOC_READ, _IOC_WRITE, ioctl_expr, ioctl_with_mut_ref};

use crate::{
    boot::{CODE_SELECTOR, DATA_SELECTOR, GDT_LIMIT, IDT_LIMIT, Loaded, TSS_LIMIT, TSS_SELECTOR},
    mem::Ram,
};

// Intel SDM volume 3, section 2.5: control registers; volume 4: IA32_EFER; volume 1, 3.4.3: flags.
const CR0_PE_MP_ET_NE_WP_AM_PG: u64 = 0x8005_0033;
const CR4_TSD: u64 = 1 << 2;
const CR4_PAE: u64 = 1 << 5;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
const CR4_FSGSBASE: u64 = 1 << 16;
const CR4_OSXSAVE: u64 = 1 << 18;
const EFER_LME_LMA_NXE: u64 = 1 << 8 | 1 << 10 | 1 << 11;
/// Bit 1 is always set; IOPL 3 is what VMX and SVM go by, the I/O bitmap what PVM goes by.
const RFLAGS_IOPL3: u64 = 1 << 1 | 3 << 12;
const XCR0_X87: u64 = 0b001;
const XCR0_X87_SSE: u64 = 0b011;
const XCR0_AVX: u64 = 0b100;
const CPUID_1_ECX_XSAVE: u32 = 1 << 26;
const CPUID_1_ECX_AVX: u32 = 1 << 28;

// Not among the calls of kvm-ioctls 0.25 (linux/kvm.h, since 6.11).
const KVM_PRE_FAULT_MEMORY: libc::c_ulong = {
    const BYTES: u32 = 64;
    const _: () = assert!(size_of::<kvm_pre_fault_memory>() == BYTES as usize);
    ioctl_expr(_IOC_READ | _IOC_WRITE, KVMIO, 0xd5, BYTES)
};

/// Where in a vCPU's mapping the data of port I/O is, `io.data_offset` of every such exit (KVM_PIO_PAGE_OFFSET, linux/kvm_host.h of x86).
const EXIT_DATA_OFFSET: usize = 4096;

/// Why there is no machine. All blame the host.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum KvmError {
    #[error("cannot open /dev/kvm: `jiffy doctor` says what is missing")]
    Open(#[source] kvm_ioctls::Error),
    #[error("KVM lacks the capability {0:?}: a newer kernel has it")]
    Capability(Cap),
    #[error("cannot make a VM")]
    CreateVm(#[source] kvm_ioctls::Error),
    #[error("cannot give the VM its memory")]
    SetMemory(#[source] kvm_ioctls::Error),
    #[error("cannot make a vCPU")]
    CreateVcpu(#[source] kvm_ioctls::Error),
    #[error("cannot read which CPU features KVM supports")]
    GetCpuid(#[source] kvm_ioctls::Error),
    #[error("cannot set the vCPU's features")]
    SetCpuid(#[source] kvm_ioctls::Error),
    #[error("cannot set the vCPU's extended state register")]
    SetXcrs(#[source] kvm_ioctls::Error),
    #[error("cannot read the vCPU's registers")]
    GetRegisters(#[source] kvm_ioctls::Error),
    #[error("cannot set the vCPU's registers")]
    SetRegisters(#[source] kvm_ioctls::Error),
    #[error(
        "the snapshot's vCPU is not in ring 3 as this VMM sets it up: create the snapshot again"
    )]
    NotRing3,
    #[error(
        "the guest changed the thread's segment registers, which cannot be put back: use a kernel with FSGSBASE (Linux 5.9)"
    )]
    Segments,
    #[error("cannot clean the vCPU's vector and floating-point state")]
    SetFpu(#[source] kvm_ioctls::Error),
    #[error("the vCPU did not stop after its doorbell: {0}")]
    Incomplete(String),
    #[error("a vCPU that was not to run came to {0:?}")]
    WarmUp(Exit),
    #[error("cannot run the vCPU")]
    Run(#[source] kvm_ioctls::Error),
}

/// A VM with its memory and its vCPU.
#[derive(Debug)]
pub struct Machine {
    vcpu: VcpuFd,
    /// System registers as KVM makes them.
    reset: kvm_sregs,
    xcr0: u64,
    cpu: CpuNeeds,
    /// See [`Machine::shadows_page_tables`].
    shadows: bool,
    // Dropped in this order: the VM before the RAM that it maps.
    vm: VmFd,
    ram: Ram,
}

/// Why the vCPU stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit {
    /// One byte is written to a port.
    PortWrite {
        /// The port.
        port: u16,
        /// The byte.
        byte: u8,
    },
    /// One byte is read from a port; [`Machine::answer_port`] says which.
    PortRead(u16),
    /// A port was used in any other way.
    Port(u16),
    /// A register is read as u32; [`Machine::answer_mmio`] says what it reads.
    MmioRead(u64),
    /// A register is written as u32.
    MmioWrite(u64, u32),
    /// Memory that is not there was accessed in any other way.
    Mmio(u64),
    /// A signal came.
    Signal,
    /// The CPU could not deliver an exception.
    TripleFault,
    /// KVM gave up; what it said.
    Failed(String),
}

/// The registers that faults and backtraces are told from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Frame pointer.
    pub rbp: u64,
    /// Address of the last page fault.
    pub cr2: u64,
    /// Privilege level, 0 or 3.
    pub ring: u8,
}

/// The host's KVM, and what does not depend on a VM: looked up once for all VMs of a spawner.
#[derive(Debug)]
pub struct Host {
    kvm: Kvm,
    cpuid: CpuId,
    /// What a guest's XCR0 is; `None` on a CPU without XSAVE.
    xcr0: Option<u64>,
}

impl Host {
    /// Opens `/dev/kvm` and looks at what it can do.
    pub fn open() -> Result<Self, KvmError> {
        let kvm = Kvm::new().map_err(KvmError::Open)?;
        for capability in [
            Cap::UserMemory,
            Cap::ImmediateExit,
            Cap::SyncRegs,
            Cap::Xcrs,
        ] {
            if !kvm.check_extension(capability) {
                return Err(KvmError::Capability(capability));
            }
        }
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(KvmError::GetCpuid)?;
        let features = cpuid.as_slice().iter().find(|leaf| leaf.function == 1);
        let features = features.map_or(0, |leaf| leaf.ecx);
        let with_xsave = if features & CPUID_1_ECX_AVX != 0 {
            XCR0_X87_SSE | XCR0_AVX
        } else {
            XCR0_X87_SSE
        };
        let xcr0 = (features & CPUID_1_ECX_XSAVE != 0).then_some(with_xsave);
        Ok(Self { kvm, cpuid, xcr0 })
    }

    /// The descriptor of `/dev/kvm`.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: it is open as long as `self`, from which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.kvm.as_raw_fd()) }
    }

    /// Makes a VM with `ram` and one vCPU.
    pub fn machine(&self, ram: Ram) -> Result<Machine, KvmError> {
        let vm = self.kvm.create_vm().map_err(KvmError::CreateVm)?;
        // SAFETY: the returned value owns `ram` and drops it after the VM.
        unsafe { set_memory(&vm, &ram) }?;
        let vcpu = vm.create_vcpu(0).map_err(KvmError::CreateVcpu)?;
        vcpu.set_cpuid2(&self.cpuid).map_err(KvmError::SetCpuid)?;
        if let Some(xcr0) = self.xcr0 {
            let mut xcrs = kvm_xcrs {
                nr_xcrs: 1,
                ..Default::default()
            };
            xcrs.xcrs[0].value = xcr0;
            vcpu.set_xcrs(&xcrs).map_err(KvmError::SetXcrs)?;
        }
        let reset = vcpu.get_sregs().map_err(KvmError::GetRegisters)?;
        Ok(Machine {
            vcpu,
            reset,
            xcr0: self.xcr0.unwrap_or(XCR0_X87),
            cpu: state::cpu_needs(&self.cpuid),
            shadows: false,
            vm,
            ram,
        })
    }
}

/// Makes `ram` the VM's memory.
///
/// # Safety
/// `ram` must outlive `vm`, or the VM must be given other memory before.
unsafe fn set_memory(vm: &VmFd, ram: &Ram) -> Result<(), KvmError> {
    let slot = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: ram.bytes(),
        userspace_addr: ram.host_address() as u64,
    };
    // SAFETY: the range is the whole of `ram`, which stays as long as the VM has it.
    unsafe { vm.set_user_memory_region(slot) }.map_err(KvmError::SetMemory)
}

impl Machine {
    /// Makes a VM with `ram` and one vCPU.
    pub fn new(ram: Ram) -> Result<Self, KvmError> {
        Host::open()?.machine(ram)
    }

    /// Gives the VM, which has not run yet, other RAM. It costs a system call or two more than a VM
    /// that was made with the right one.
    pub fn replace_ram(&mut self, ram: Ram) -> Result<(), KvmError> {
        let none = kvm_userspace_memory_region::default();
        // SAFETY: a slot of no bytes is a slot removed: it refers to no memory.
        unsafe { self.vm.set_user_memory_region(none) }.map_err(KvmError::SetMemory)?;
        // SAFETY: `self` owns `ram` from the next line on and drops it after the VM; if this fails,
        // the VM has no memory.
        unsafe { set_memory(&self.vm, &ram) }?;
        self.ram = ram;
        Ok(())
    }

    /// Guest RAM.
    pub fn ram(&self) -> &Ram {
        &self.ram
    }

    /// The CPU features that a guest of this machine could come to depend on.
    pub fn cpu(&self) -> &CpuNeeds {
        &self.cpu
    }

    /// Guest RAM, to map a snapshot over.
    pub fn ram_mut(&mut self) -> &mut Ram {
        &mut self.ram
    }

    /// Sets every register for the start of `loaded`: 64-bit mode, ring 3, at its entry point.
    pub fn start_at(&mut self, loaded: &Loaded) -> Result<(), KvmError> {
        let mut sregs = self.reset;
        ring3(&mut sregs, loaded.precise_clock);
        self.vcpu
            .set_sregs(&sregs)
            .map_err(KvmError::SetRegisters)?;
        let regs = kvm_regs {
            rip: loaded.entry,
            rsp: STACK + loaded.stack_bytes,
            rflags: RFLAGS_IOPL3,
            ..Default::default()
        };
        self.vcpu.set_regs(&regs).map_err(KvmError::SetRegisters)
    }

    /// Has KVM make now what it makes at a VM's first run, before a guest is there:
    /// since Linux 6.14 a thread, which takes it 40 µs, and what its page tables will need, 80 pages that take 50.
    pub fn warm_up(&mut self) -> Result<(), KvmError> {
        // In the mode in which it will run: what KVM makes for another it would make again.
        let mut sregs = self.reset;
        ring3(&mut sregs, false);
        self.vcpu
            .set_sregs(&sregs)
            .map_err(KvmError::SetRegisters)?;
        // `KVM_RUN` makes the thread, and is left before the guest runs.
        self.vcpu.set_kvm_immediate_exit(1);
        match self.run()? {
            Exit::Signal => {}
            exit => return Err(KvmError::WarmUp(exit)),
        }
        self.load_mmu();
        self.touch_exit_data();
        Ok(())
    }

    /// Has KVM load the vCPU's MMU. There is no call for that, but one which does it first: it then finds no memory behind
    /// the address, or, without nested paging, that it cannot do what it is for, which is worth knowing. Before Linux 6.11 it does
    /// not exist, and the first run is slower.
    fn load_mmu(&mut self) {
        let mut range = kvm_pre_fault_memory {
            gpa: PAGE_TABLES,
            size: PAGE_BYTES,
            ..Default::default()
        };
        // SAFETY: the kernel reads and writes one `kvm_pre_fault_memory`, which lives until it returns; what it
        // maps into the guest is memory that the guest has.
        let done = unsafe { ioctl_with_mut_ref(&self.vcpu, KVM_PRE_FAULT_MEMORY, &mut range) };
        let error = io::Error::last_os_error().raw_os_error();
        self.shadows = done < 0 && error == Some(libc::EOPNOTSUPP);
    }

    /// Whether KVM keeps tables of its own beside the guest's, as far as is known: each page that the guest touches first is then a
    /// fault that the guest's tables are walked for, and brings in the pages around it that are this process's own and have been
    /// used (`FNAME(prefetch_gpte)` in Linux `arch/x86/kvm/mmu/paging_tmpl.h`).
    pub fn shadows_page_tables(&self) -> bool {
        self.shadows
    }

    /// Takes the fault of the page in which KVM tells what a guest wrote to a port.
    fn touch_exit_data(&mut self) {
        let run: *const kvm_run = self.vcpu.get_kvm_run();
        let data = run.cast::<u8>().wrapping_add(EXIT_DATA_OFFSET);
        // SAFETY: on x86 the mapping of a vCPU has three pages, of which this is the second; any byte is a `u8`.
        unsafe { data.read_volatile() };
    }

    /// Runs the guest until it exits.
    pub fn run(&mut self) -> Result<Exit, KvmError> {
        let exit = match self.vcpu.run() {
            Ok(VcpuExit::IoOut(port, &[byte])) => Exit::PortWrite { port, byte },
            Ok(VcpuExit::IoIn(port, [_])) => Exit::PortRead(port),
            Ok(VcpuExit::IoOut(port, _) | VcpuExit::IoIn(port, _)) => Exit::Port(port),
            Ok(VcpuExit::MmioRead(address, [_, _, _, _])) => Exit::MmioRead(address),
            Ok(VcpuExit::MmioWrite(address, &[a, b, c, d])) => {
                Exit::MmioWrite(address, u32::from_le_bytes([a, b, c, d]))
            }
            Ok(VcpuExit::MmioRead(address, _) | VcpuExit::MmioWrite(address, _)) => {
                Exit::Mmio(address)
            }
            Ok(VcpuExit::Shutdown) => Exit::TripleFault,
            Ok(VcpuExit::Intr) => Exit::Signal,
            Ok(other) => Exit::Failed(format!("{other:?}")),
            Err(error) if error.errno() == libc::EINTR => Exit::Signal,
            // KVM cannot reach memory behind a guest address: the mapping is the VMM's to keep.
            Err(error) => return Err(KvmError::Run(error)),
        };
        if exit == Exit::Signal {
            self.vcpu.set_kvm_immediate_exit(0);
        }
        Ok(exit)
    }

    /// What the register reads that the last [`Exit::MmioRead`] asked for.
    pub fn answer_mmio(&mut self, value: u32) {
        let run = self.vcpu.get_kvm_run();
        // SAFETY: `mmio` is the member in use after an MMIO exit, and any bytes are valid for it.
        let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
        mmio.data[..4].copy_from_slice(&value.to_le_bytes());
    }

    /// The byte that the port reads that the last [`Exit::PortRead`] asked for.
    pub fn answer_port(&mut self, byte: u8) {
        let run: *mut kvm_run = self.vcpu.get_kvm_run();
        let data = run.cast::<u8>().wrapping_add(EXIT_DATA_OFFSET);
        // SAFETY: as in `touch_exit_data`; the kernel reads it when the vCPU runs again, and this mapping is ours alone until then.
        unsafe { data.write_volatile(byte) };
    }

    /// The registers as they are after an exit.
    pub fn registers(&self) -> Result<Registers, KvmError> {
        let regs = self.vcpu.get_regs().map_err(KvmError::GetRegisters)?;
        let sregs = self.vcpu.get_sregs().map_err(KvmError::GetRegisters)?;
        let (rip, rsp, rbp) = (regs.rip, regs.rsp, regs.rbp);
        Ok(Registers {
            rip,
            rsp,
            rbp,
            cr2: sregs.cr2,
            ring: sregs.ss.dpl,
        })
    }

    /// A handle with which a signal handler makes the next, or the present, `run` return.
    pub fn kicker(&mut self) -> Kicker {
        Kicker(&raw mut self.vcpu.get_kvm_run().immediate_exit)
    }
}

/// Makes `KVM_RUN` return.
#[derive(Debug)]
pub struct Kicker(*mut u8);

static KICKED: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

impl Kicker {
    /// Makes [`kick`] mean this vCPU until the returned value is dropped. A process has one VM that
    /// runs; a later one takes its place.
    pub fn install(self) -> InstalledKicker {
        KICKED.store(self.0, Relaxed);
        InstalledKicker(())
    }
}

/// A [`Kicker`] that is installed; to be dropped before the vCPU is.
#[derive(Debug)]
pub struct InstalledKicker(());

impl Drop for InstalledKicker {
    fn drop(&mut self) {
        KICKED.store(ptr::null_mut(), Relaxed);
    }
}

/// Makes the installed vCPU leave the guest, or not enter it. Safe in a signal handler: the signal
/// itself interrupts `KVM_RUN`, and this covers the one that comes just before it.
pub extern "C" fn kick(
    _signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    let immediate_exit = KICKED.load(Relaxed);
    if !immediate_exit.is_null() {
        // SAFETY: it points into the installed vCPU's `kvm_run`, whose owner uninstalls it before
        // the mapping goes away; the process has one thread, which this handler interrupts.
        unsafe { immediate_exit.write_volatile(1) };
    }
}

/// Sets what makes a vCPU run ring 3 of a jiffy guest; the rest of `sregs` is the vCPU's own.
fn ring3(sregs: &mut kvm_sregs, precise_clock: bool) {
    let time_stamp = if precise_clock { 0 } else { CR4_TSD };
    sregs.cr0 = CR0_PE_MP_ET_NE_WP_AM_PG;
    sregs.cr3 = PAGE_TABLES;
    sregs.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE | CR4_OSXSAVE | time_stamp;
    sregs.efer = EFER_LME_LMA_NXE;
    let code = segment(CODE_SELECTOR, 11, true);
    let data = segment(DATA_SELECTOR, 3, false);
    sregs.cs = code;
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.gdt = table(GDT, GDT_LIMIT);
    sregs.idt = table(IDT, IDT_LIMIT);
    sregs.tr = kvm_segment {
        base: TSS,
        limit: u32::from(TSS_LIMIT),
        selector: TSS_SELECTOR,
        type_: 11, // A busy 64-bit TSS.
        present: 1,
        ..Default::default()
    };
}

fn segment(selector: u16, type_: u8, long: bool) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        dpl: 3,
        db: u8::from(!long),
        s: 1,
        l: u8::from(long),
        g: 1,
        ..Default::default()
    }
}

fn table(base: u64, limit: u16) -> kvm_dtable {
    kvm_dtable {
        base,
        limit,
        ..Default::default()
    }
}
