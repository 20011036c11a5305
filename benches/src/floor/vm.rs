//! A VM in as few ioctls as there can be.
#![allow(unsafe_code, reason = "bare KVM is the measure")]

use std::{ffi::c_void, fs::File, io, ops::Range, os::unix::fs::FileExt, ptr};

use jiffy_vmm::mem::PageMap;
use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_userspace_memory_region, kvm_xsave,
};
use kvm_ioctls::{Kvm, SyncReg, VcpuExit, VcpuFd, VmFd};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use super::PAGE_BYTES;

const PAGE_TABLES: u64 = 0x1000;
const CODE: u64 = 0x1_0000;
const STACK: u64 = 0x8_0000;
/// Where the guest writes.
const DATA: usize = 0x40_0000;
/// Of the written pages; those behind them are holes, and cheaper to copy than a snapshot's.
const CONTENT_PAGES: usize = 8192;
/// The least RAM: code, tables and some data.
const RAM_BYTES_MIN: usize = 8 << 20;
/// What the page tables reach.
const RAM_BYTES_MAX: usize = 1 << 30;
const PORT: u8 = 0x98;

/// `0: mov rcx, r9; mov rsi, r10; 1: mov byte [rsi], 1; add rsi, 4096; dec rcx; jnz 1b; out PORT, al; jmp 0b`
const GUEST: [u8; 26] = [
    0x4c, 0x89, 0xc9, 0x4c, 0x89, 0xd6, 0xc6, 0x06, 0x01, 0x48, 0x81, 0xc6, 0x00, 0x10, 0x00, 0x00,
    0x48, 0xff, 0xc9, 0x75, 0xf1, 0xe6, PORT, 0xeb, 0xe7, 0xf4,
];

/// A RAM file of `ram_bytes` with the guest in it; the guest may write up to 8,192 pages, as far as RAM goes.
pub fn ram_file(ram_bytes: usize) -> io::Result<File> {
    if !(RAM_BYTES_MIN..=RAM_BYTES_MAX).contains(&ram_bytes) {
        let text = format!("{ram_bytes} bytes of RAM: the floor takes 8 MiB to 1 GiB");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let file = tempfile::tempfile()?;
    file.set_len(ram_bytes as u64)?;
    // Present, writable, user, accessed; the last level dirty and large too.
    let entry = |address: u64| (address | 0x27).to_le_bytes();
    file.write_all_at(&entry(PAGE_TABLES + 0x1000), PAGE_TABLES)?;
    file.write_all_at(&entry(PAGE_TABLES + 0x2000), PAGE_TABLES + 0x1000)?;
    for index in 0..512u64 {
        let large = (index << 21 | 0xe7).to_le_bytes();
        file.write_all_at(&large, PAGE_TABLES + 0x2000 + index * 8)?;
    }
    file.write_all_at(&GUEST, CODE)?;
    for page in 0..CONTENT_PAGES.min((ram_bytes - DATA) / PAGE_BYTES) {
        file.write_all_at(&[1; 64], (DATA + page * PAGE_BYTES) as u64)?;
    }
    Ok(file)
}

/// Memory of this process, unmapped with this value.
#[derive(Debug)]
struct Mapping {
    start: *mut c_void,
    bytes: usize,
}

impl Mapping {
    /// Nothing yet: addresses that a VM's slot may name.
    fn reserve(bytes: usize) -> io::Result<Self> {
        let rw = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a null hint without FIXED: the kernel picks a free range, and no live mapping is replaced.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, rw, flags)? };
        Ok(Self { start, bytes })
    }

    /// `file`, for reading.
    fn shared(file: &File, bytes: usize) -> io::Result<Self> {
        let flags = MapFlags::SHARED;
        // SAFETY: as in `reserve`.
        let start = unsafe { mmap(ptr::null_mut(), bytes, ProtFlags::READ, flags, file, 0)? };
        Ok(Self { start, bytes })
    }

    /// Puts `file` here, copied when written.
    fn map_over(&self, file: &File) -> io::Result<()> {
        let rw = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: replaces exactly this value's own mapping, of which nobody holds a reference.
        unsafe { mmap(self.start, self.bytes, rw, flags, file, 0)? };
        Ok(())
    }

    fn populate(&self, at: usize, bytes: usize) -> io::Result<()> {
        let start = self.start.wrapping_byte_add(at);
        // SAFETY: inside this value's mapping, by the check of `Vm::new`; content does not change.
        unsafe { madvise(start, bytes, Advice::LinuxPopulateWrite)? };
        Ok(())
    }

    /// Addresses, as the kernel counts them.
    fn addresses(&self) -> Range<u64> {
        let start = self.start.addr() as u64;
        start..start + self.bytes as u64
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped. A VM with a slot here is closed first: it stands before its RAM in `Vm`.
        let _ = unsafe { munmap(self.start, self.bytes) };
    }
}

/// A VM with its slot and vCPU made, as a shell has it.
#[derive(Debug)]
pub struct Vm {
    vcpu: VcpuFd,
    _vm: VmFd,
    ram: Mapping,
    pages: usize,
    regs: kvm_regs,
}

impl Vm {
    /// With `ram_bytes` of RAM, for a guest that writes `pages`.
    pub fn new(ram_bytes: usize, pages: usize) -> io::Result<Self> {
        if pages == 0 || DATA + pages * PAGE_BYTES > ram_bytes {
            let text = format!("{pages} pages do not fit {ram_bytes} bytes of the floor's RAM");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let kvm = Kvm::new()?;
        let vm = kvm.create_vm()?;
        let ram = Mapping::reserve(ram_bytes)?;
        let slot = kvm_userspace_memory_region {
            memory_size: ram_bytes as u64,
            userspace_addr: ram.addresses().start,
            ..Default::default()
        };
        // SAFETY: the mapping lives as long as this value, whose drop closes the VM first.
        unsafe { vm.set_user_memory_region(slot)? };
        let vcpu = vm.create_vcpu(0)?;
        vcpu.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?)?;
        let mut sregs = vcpu.get_sregs()?;
        sregs.cr0 = 0x8005_0033;
        sregs.cr3 = PAGE_TABLES;
        sregs.cr4 = 1 << 5 | 1 << 9 | 1 << 10 | 1 << 16;
        sregs.efer = 0xd00;
        let code = kvm_segment {
            limit: u32::MAX,
            selector: 0x33,
            type_: 11,
            present: 1,
            dpl: 3,
            s: 1,
            l: 1,
            g: 1,
            ..Default::default()
        };
        let data = kvm_segment {
            selector: 0x2b,
            type_: 3,
            l: 0,
            db: 1,
            ..code
        };
        sregs.cs = code;
        (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
        vcpu.set_sregs(&sregs)?;
        let regs = kvm_regs {
            rip: CODE,
            rsp: STACK,
            rflags: 0x3002, // Ports are open in ring 3.
            r9: pages as u64,
            r10: DATA as u64,
            ..Default::default()
        };
        Ok(Self {
            vcpu,
            _vm: vm,
            ram,
            pages,
            regs,
        })
    }

    /// Maps `file`, prefaults, sets registers, runs to the first exit.
    pub fn restore(&mut self, file: &File) -> io::Result<()> {
        self.ram.map_over(file)?;
        self.ram.populate(DATA, self.pages * PAGE_BYTES)?;
        self.run()
    }

    fn run(&mut self) -> io::Result<()> {
        self.vcpu.sync_regs_mut().regs = self.regs;
        self.vcpu.set_sync_dirty_reg(SyncReg::Register);
        match self.vcpu.run()? {
            VcpuExit::IoOut(port, _) if port == u16::from(PORT) => Ok(()),
            other => Err(io::Error::other(format!(
                "the floor's guest ended with {other:?}"
            ))),
        }
    }
}

/// A VM that exits again and again.
#[derive(Debug)]
pub struct Exits(Vm);

impl Exits {
    /// As [`Vm::new`], with a guest that writes one page; it has run once.
    pub fn new(ram_bytes: usize) -> io::Result<Self> {
        let mut vm = Vm::new(ram_bytes, 1)?;
        vm.restore(&ram_file(ram_bytes)?)?;
        Ok(Self(vm))
    }

    /// Runs to the next exit.
    pub fn exit(&mut self) -> io::Result<()> {
        self.0.run()
    }
}

/// A VM that is put back to its file again and again.
#[derive(Debug)]
pub struct Resets {
    vm: Vm,
    base: Mapping,
    page_map: PageMap,
    clean: Box<kvm_xsave>,
}

impl Resets {
    /// As [`Vm::new`]; it has run once.
    pub fn new(ram_bytes: usize, pages: usize) -> io::Result<Self> {
        let file = ram_file(ram_bytes)?;
        let mut vm = Vm::new(ram_bytes, pages)?;
        let clean = Box::new(vm.vcpu.get_xsave()?);
        vm.restore(&file)?;
        Ok(Self {
            vm,
            base: Mapping::shared(&file, ram_bytes)?,
            page_map: PageMap::open()?,
            clean,
        })
    }

    /// Lists the written pages, copies them back, cleans the FPU, sets registers, runs to the next exit.
    pub fn reset(&mut self) -> io::Result<()> {
        let Self {
            vm,
            base,
            page_map,
            clean,
        } = self;
        let all = vm.ram.addresses();
        page_map.private_runs(all.clone(), |run| {
            let (at, bytes) = (
                to_usize(run.start - all.start),
                to_usize(run.end - run.start),
            );
            let from = base.start.wrapping_byte_add(at).cast::<u8>();
            let to = vm.ram.start.wrapping_byte_add(at).cast::<u8>();
            // SAFETY: the scan found the run inside the RAM's mapping, the base's is as long and another, and the guest
            // does not run.
            unsafe { ptr::copy_nonoverlapping(from, to, bytes) };
        })?;
        // SAFETY: no dynamically enabled feature makes the state larger than `kvm_xsave`.
        unsafe { vm.vcpu.set_xsave(clean)? };
        vm.run()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "offsets in a mapping of this process"
)]
fn to_usize(bytes: u64) -> usize {
    bytes as usize
}
