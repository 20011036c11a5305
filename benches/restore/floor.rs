//! The floor: the work of a restore and of a reset in bare KVM ioctls, and nothing else.
//!
//! A guest of a dozen bytes writes as many pages as the function under measure does and exits. What
//! jiffy takes above this is jiffy's own.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    ptr,
    time::{Duration, Instant},
};

use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_userspace_memory_region, kvm_xsave,
};
use kvm_ioctls::{Kvm, SyncReg, VcpuExit, VcpuFd, VmFd};

const PAGE: usize = 4096;
const PAGE_TABLES: usize = 0x1000;
const CODE: usize = 0x1_0000;
const DATA: usize = 0x40_0000;
const PORT: u8 = 0x98;

/// `0: mov rcx, r9; mov rsi, r10; 1: mov byte [rsi], 1; add rsi, 4096; dec rcx; jnz 1b; out PORT, al; jmp 0b`
const GUEST: [u8; 26] = [
    0x4c, 0x89, 0xc9, 0x4c, 0x89, 0xd6, 0xc6, 0x06, 0x01, 0x48, 0x81, 0xc6, 0x00, 0x10, 0x00, 0x00,
    0x48, 0xff, 0xc9, 0x75, 0xf1, 0xe6, PORT, 0xeb, 0xe7, 0xf4,
];

/// A RAM file of `ram_bytes` with the guest in it.
pub(crate) fn ram_file(ram_bytes: usize) -> io::Result<File> {
    use std::os::unix::fs::FileExt;
    let file = tempfile::tempfile()?;
    file.set_len(ram_bytes as u64)?;
    let entry = |address: u64| (address | 0x27).to_le_bytes();
    file.write_all_at(&entry(PAGE_TABLES as u64 + 0x1000), PAGE_TABLES as u64)?;
    file.write_all_at(
        &entry(PAGE_TABLES as u64 + 0x2000),
        PAGE_TABLES as u64 + 0x1000,
    )?;
    for index in 0..512u64 {
        let large = (index << 21 | 0xe7).to_le_bytes();
        file.write_all_at(&large, PAGE_TABLES as u64 + 0x2000 + index * 8)?;
    }
    file.write_all_at(&GUEST, CODE as u64)?;
    // Pages that have content, as a snapshot's have; holes would be cheaper to copy.
    for page in 0..2048 {
        file.write_all_at(&[1; 64], (DATA + page * PAGE) as u64)?;
    }
    Ok(file)
}

/// A VM with its slot and vCPU made, as a shell has it.
pub(crate) struct Prepared {
    _vm: VmFd,
    vcpu: VcpuFd,
    ram: *mut u8,
    ram_bytes: usize,
    regs: kvm_regs,
}

impl Prepared {
    pub(crate) fn new(ram_bytes: usize, pages: usize) -> io::Result<Self> {
        let kvm = Kvm::new()?;
        let vm = kvm.create_vm()?;
        let (rw, anonymous) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        );
        // SAFETY: a new mapping at an address of the kernel's choice.
        let ram = unsafe { libc::mmap(ptr::null_mut(), ram_bytes, rw, anonymous, -1, 0) };
        if ram == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let slot = kvm_userspace_memory_region {
            memory_size: ram_bytes as u64,
            userspace_addr: ram as u64,
            ..Default::default()
        };
        // SAFETY: the mapping lives as long as this value, whose drop ends the VM first.
        unsafe { vm.set_user_memory_region(slot)? };
        let vcpu = vm.create_vcpu(0)?;
        vcpu.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?)?;
        let mut sregs = vcpu.get_sregs()?;
        sregs.cr0 = 0x8005_0033;
        sregs.cr3 = PAGE_TABLES as u64;
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
            rip: CODE as u64,
            rsp: 0x8_0000,
            rflags: 0x3002,
            r9: pages as u64,
            r10: DATA as u64,
            ..Default::default()
        };
        Ok(Self {
            _vm: vm,
            vcpu,
            ram: ram.cast(),
            ram_bytes,
            regs,
        })
    }

    /// Maps the file, prefaults, sets registers, runs to the first exit.
    pub(crate) fn restore(&mut self, file: &File, pages: usize) -> io::Result<Duration> {
        let began = Instant::now();
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE | libc::MAP_FIXED;
        let (ram, fd) = (self.ram.cast(), file.as_raw_fd());
        // SAFETY: replaces exactly this value's own mapping.
        let mapped = unsafe { libc::mmap(ram, self.ram_bytes, rw, flags, fd, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let data = self.ram.wrapping_add(DATA).cast();
        // SAFETY: pages of this value's own mapping.
        let populated = unsafe { libc::madvise(data, pages * PAGE, libc::MADV_POPULATE_WRITE) };
        if populated != 0 {
            return Err(io::Error::last_os_error());
        }
        self.run()?;
        Ok(began.elapsed())
    }

    /// Lists the written pages, copies them back from `base`, cleans the FPU, sets registers, runs
    /// to the next exit.
    pub(crate) fn reset(
        &mut self,
        page_map: &mut jiffy_vmm::mem::PageMap,
        base: &[u8],
        clean: &kvm_xsave,
    ) -> io::Result<Duration> {
        let began = Instant::now();
        let start = self.ram as u64;
        let ram = self.ram;
        page_map.private_runs(start..start + self.ram_bytes as u64, |run| {
            let (offset, len) = ((run.start - start) as usize, (run.end - run.start) as usize);
            let to = ram.wrapping_add(offset);
            // SAFETY: the scan found the run inside this value's mapping, and `base` is as long.
            unsafe { ptr::copy_nonoverlapping(base[offset..].as_ptr(), to, len) };
        })?;
        // SAFETY: no dynamically enabled feature makes the state larger than `kvm_xsave`.
        unsafe { self.vcpu.set_xsave(clean)? };
        self.run()?;
        Ok(began.elapsed())
    }

    pub(crate) fn clean_fpu(&self) -> io::Result<kvm_xsave> {
        Ok(self.vcpu.get_xsave()?)
    }

    fn run(&mut self) -> io::Result<()> {
        self.vcpu.sync_regs_mut().regs = self.regs;
        self.vcpu.set_sync_dirty_reg(SyncReg::Register);
        match self.vcpu.run()? {
            VcpuExit::IoOut(port, _) if port == u16::from(PORT) => Ok(()),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made. KVM keeps no pointer into it once the VM's
        // descriptors close, and the vCPU does not run.
        unsafe { libc::munmap(self.ram.cast(), self.ram_bytes) };
    }
}

/// The whole of `file`, mapped for reading, for ever.
pub(crate) fn map_base(file: &File, len: usize) -> io::Result<&'static [u8]> {
    let (null, fd) = (ptr::null_mut(), file.as_raw_fd());
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe { libc::mmap(null, len, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let base = base.cast::<u8>().cast_const();
    // SAFETY: the mapping is never undone, and nobody writes the file any more.
    Ok(unsafe { std::slice::from_raw_parts(base, len) })
}
