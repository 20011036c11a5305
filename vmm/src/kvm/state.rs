//! The vCPU's state as a snapshot holds it, and putting a vCPU back to it.
//!
//! By contract a doorbell clobbers all vector and floating-point state, so a snapshot holds none of
//! it: every vCPU that goes on from one begins with the registers' reset values. A guest in ring 3
//! can change general registers, segments, the FPU and nothing else, so these three are what a
//! reset puts back; control registers and XCR0 go with the segments at no cost.

use jiffy_snapshots::{
    CpuNeeds, CpuRegister, CpuWord,
    state::{Registers, SegmentState, Segments, TableState, VcpuState},
};
use kvm_bindings::{
    CpuId, Msrs, kvm_dtable, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::{Kvm, SyncReg};

use super::{
    CR4_TSD, Exit, KvmError, Machine, RFLAGS_IOPL3, XCR0_AVX, XCR0_X87, XCR0_X87_SSE, ring3,
    segments,
};

/// Flags that ring 3 may have set: the arithmetic ones, DF, AC and ID (Intel SDM volume 1, 3.4.3).
const RFLAGS_USER: u64 = 0x8d5 | 1 << 10 | 1 << 18 | 1 << 21;
/// What this VMM sets XCR0 to, on one CPU or another.
const XCR0_ALL: [u64; 3] = [XCR0_X87, XCR0_X87_SSE, XCR0_X87_SSE | XCR0_AVX];

// Intel SDM volume 1, section 13.4: the legacy region of an XSAVE area and its header, in u32 words.
const XSAVE_FCW: usize = 0;
const XSAVE_MXCSR: usize = 6;
const XSAVE_HEADER: usize = 128;
/// Reset values of the x87 control word and of MXCSR.
const FCW_RESET: u32 = 0x37f;
const MXCSR_RESET: u32 = 0x1f80;
/// In the header: x87 and SSE come from the area; AVX, not named, takes its reset value.
const XSTATE_X87_SSE: u32 = 0b011;

/// What a vCPU is put back to, as KVM takes it.
pub struct VcpuTarget {
    regs: kvm_regs,
    sregs: kvm_sregs,
    xsave: Box<kvm_xsave>,
}

/// Vector and floating-point state at their reset values, all else zero.
impl Default for VcpuTarget {
    fn default() -> Self {
        let mut xsave = Box::new(kvm_xsave::default());
        xsave.region[XSAVE_FCW] = FCW_RESET;
        xsave.region[XSAVE_MXCSR] = MXCSR_RESET;
        xsave.region[XSAVE_HEADER] = XSTATE_X87_SSE;
        Self {
            regs: kvm_regs::default(),
            sregs: kvm_sregs::default(),
            xsave,
        }
    }
}

impl std::fmt::Debug for VcpuTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VcpuTarget")
            .field("regs", &self.regs)
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// The vCPU's state after a doorbell, the doorbell's instruction behind it.
    pub fn save(&mut self) -> Result<VcpuState, KvmError> {
        // Backends differ in whether the port write is over when they exit. Entering with
        // `immediate_exit` set completes it and goes no further.
        self.vcpu.set_kvm_immediate_exit(1);
        match self.run()? {
            Exit::Signal => {}
            other => return Err(KvmError::Incomplete(format!("{other:?}"))),
        }
        let regs = self.vcpu.get_regs().map_err(KvmError::GetRegisters)?;
        let sregs = self.vcpu.get_sregs().map_err(KvmError::GetRegisters)?;
        let xcrs = self.vcpu.get_xcrs().map_err(KvmError::GetRegisters)?;
        let xcr0 = xcrs.xcrs[..xcrs.nr_xcrs as usize]
            .iter()
            .find(|xcr| xcr.xcr == 0);
        Ok(VcpuState {
            regs: registers(&regs),
            segments: Segments {
                cs: segment_state(&sregs.cs),
                ds: segment_state(&sregs.ds),
                es: segment_state(&sregs.es),
                fs: segment_state(&sregs.fs),
                gs: segment_state(&sregs.gs),
                ss: segment_state(&sregs.ss),
                tr: segment_state(&sregs.tr),
                ldt: segment_state(&sregs.ldt),
            },
            gdt: TableState {
                base: sregs.gdt.base,
                limit: sregs.gdt.limit,
            },
            idt: TableState {
                base: sregs.idt.base,
                limit: sregs.idt.limit,
            },
            cr0: sregs.cr0,
            cr2: sregs.cr2,
            cr3: sregs.cr3,
            cr4: sregs.cr4,
            cr8: sregs.cr8,
            efer: sregs.efer,
            apic_base: sregs.apic_base,
            xcr0: xcr0.map_or(0, |xcr| xcr.value),
        })
    }

    /// Prepares `state` for [`Machine::set`]. What ring 3 cannot change has to be what this VMM sets,
    /// so that no snapshot, however it came about, starts a vCPU elsewhere.
    pub fn target(&mut self, state: &VcpuState) -> Result<VcpuTarget, KvmError> {
        let sregs = kvm_sregs_of(state);
        let mut ours = self.reset;
        ring3(&mut ours, state.cr4 & CR4_TSD == 0);
        (ours.ds, ours.es, ours.fs, ours.gs) = (sregs.ds, sregs.es, sregs.fs, sregs.gs);
        ours.cr2 = sregs.cr2;
        let rflags_kept = RFLAGS_USER | RFLAGS_IOPL3;
        let xcr0_ours = XCR0_ALL.contains(&state.xcr0) && state.xcr0 & !self.xcr0 == 0;
        if ours != sregs || state.regs.rflags & !rflags_kept != 0 || !xcr0_ours {
            return Err(KvmError::NotRing3);
        }
        if self.xcr0 != state.xcr0 {
            let mut xcrs = kvm_xcrs {
                nr_xcrs: 1,
                ..Default::default()
            };
            xcrs.xcrs[0].value = state.xcr0;
            self.vcpu.set_xcrs(&xcrs).map_err(KvmError::SetXcrs)?;
            self.xcr0 = state.xcr0;
        }
        Ok(VcpuTarget {
            regs: kvm_regs_of(&state.regs),
            sregs,
            ..VcpuTarget::default()
        })
    }

    /// Puts general registers, segments and control registers to `target`; they go in with the next
    /// `KVM_RUN`, without a system call. The thread that calls this is the one that runs the guest.
    pub fn set(&mut self, target: &VcpuTarget) -> Result<(), KvmError> {
        segments::clear()?;
        let sync = self.vcpu.sync_regs_mut();
        sync.regs = target.regs;
        sync.sregs = target.sregs;
        self.vcpu.set_sync_dirty_reg(SyncReg::Register);
        self.vcpu.set_sync_dirty_reg(SyncReg::SystemRegister);
        Ok(())
    }

    /// Puts vector and floating-point state to its reset values. A vCPU that never ran has them.
    pub fn clean_fpu(&self, target: &VcpuTarget) -> Result<(), KvmError> {
        // SAFETY: no extended feature is enabled that makes the state larger than `kvm_xsave`: that
        // takes an `arch_prctl` which this process never calls.
        unsafe { self.vcpu.set_xsave(&target.xsave) }.map_err(KvmError::SetFpu)
    }

    /// Vector and floating-point state: the XSAVE area, in words. No snapshot holds it; it is for
    /// who checks that nothing is left in it.
    pub fn xsave_words(&self) -> Result<Vec<u32>, KvmError> {
        let xsave = self.vcpu.get_xsave().map_err(KvmError::GetRegisters)?;
        Ok(xsave.region.to_vec())
    }

    /// Every model-specific register that KVM lists and lets be read, as (number, value). No
    /// snapshot holds them, because ring 3 cannot write one; this is for who checks that.
    pub fn msrs(&self) -> Result<Vec<(u32, u64)>, KvmError> {
        let kvm = Kvm::new().map_err(KvmError::Open)?;
        let list = kvm.get_msr_index_list().map_err(KvmError::GetRegisters)?;
        let read = |&index: &u32| {
            let entry = kvm_msr_entry {
                index,
                ..Default::default()
            };
            // One at a time: KVM stops at the first that this vCPU does not have.
            let mut msrs = Msrs::from_entries(&[entry]).ok()?;
            let read = self.vcpu.get_msrs(&mut msrs).ok()?;
            (read == 1).then(|| (index, msrs.as_slice()[0].data))
        };
        Ok(list.as_slice().iter().filter_map(read).collect())
    }
}

/// Leaves of CPUID whose bits say what a program may execute (Intel SDM volume 2, CPUID).
pub(super) fn cpu_needs(cpuid: &CpuId) -> CpuNeeds {
    /// OSXSAVE and OSPKE tell what the operating system set, not what the CPU can.
    const NOT_FEATURES: [(u32, CpuRegister, u32); 2] = [
        (1, CpuRegister::Ecx, 1 << 27),
        (7, CpuRegister::Ecx, 1 << 4),
    ];
    let mut needs = CpuNeeds {
        vendor: [0; 12],
        words: Vec::new(),
    };
    for leaf in cpuid.as_slice() {
        let (function, index) = (leaf.function, leaf.index);
        if function == 0 {
            let name = [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes);
            needs.vendor.copy_from_slice(name.as_flattened());
        }
        let registers: &[(CpuRegister, u32)] = match (function, index) {
            (1, _) | (0x8000_0001, _) => {
                &[(CpuRegister::Ecx, leaf.ecx), (CpuRegister::Edx, leaf.edx)]
            }
            (7, 0) => &[
                (CpuRegister::Ebx, leaf.ebx),
                (CpuRegister::Ecx, leaf.ecx),
                (CpuRegister::Edx, leaf.edx),
            ],
            (7, 1) | (0xd, 1) => &[(CpuRegister::Eax, leaf.eax)],
            _ => &[],
        };
        for &(register, bits) in registers {
            let ignored = NOT_FEATURES
                .iter()
                .find(|(leaf, of, _)| *leaf == function && *of == register)
                .map_or(0, |(.., bits)| *bits);
            needs.words.push(CpuWord {
                function,
                index,
                register,
                bits: bits & !ignored,
            });
        }
    }
    needs
}

fn registers(regs: &kvm_regs) -> Registers {
    Registers {
        rax: regs.rax,
        rbx: regs.rbx,
        rcx: regs.rcx,
        rdx: regs.rdx,
        rsi: regs.rsi,
        rdi: regs.rdi,
        rsp: regs.rsp,
        rbp: regs.rbp,
        r8: regs.r8,
        r9: regs.r9,
        r10: regs.r10,
        r11: regs.r11,
        r12: regs.r12,
        r13: regs.r13,
        r14: regs.r14,
        r15: regs.r15,
        rip: regs.rip,
        rflags: regs.rflags,
    }
}

fn kvm_regs_of(regs: &Registers) -> kvm_regs {
    kvm_regs {
        rax: regs.rax,
        rbx: regs.rbx,
        rcx: regs.rcx,
        rdx: regs.rdx,
        rsi: regs.rsi,
        rdi: regs.rdi,
        rsp: regs.rsp,
        rbp: regs.rbp,
        r8: regs.r8,
        r9: regs.r9,
        r10: regs.r10,
        r11: regs.r11,
        r12: regs.r12,
        r13: regs.r13,
        r14: regs.r14,
        r15: regs.r15,
        rip: regs.rip,
        rflags: regs.rflags,
    }
}

fn segment_state(segment: &kvm_segment) -> SegmentState {
    SegmentState {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: segment.type_,
        present: segment.present,
        dpl: segment.dpl,
        db: segment.db,
        s: segment.s,
        l: segment.l,
        g: segment.g,
        avl: segment.avl,
        unusable: segment.unusable,
    }
}

fn kvm_segment_of(segment: &SegmentState) -> kvm_segment {
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: segment.type_,
        present: segment.present,
        dpl: segment.dpl,
        db: segment.db,
        s: segment.s,
        l: segment.l,
        g: segment.g,
        avl: segment.avl,
        unusable: segment.unusable,
        padding: 0,
    }
}

fn kvm_sregs_of(state: &VcpuState) -> kvm_sregs {
    let table = |table: &TableState| kvm_dtable {
        base: table.base,
        limit: table.limit,
        ..Default::default()
    };
    kvm_sregs {
        cs: kvm_segment_of(&state.segments.cs),
        ds: kvm_segment_of(&state.segments.ds),
        es: kvm_segment_of(&state.segments.es),
        fs: kvm_segment_of(&state.segments.fs),
        gs: kvm_segment_of(&state.segments.gs),
        ss: kvm_segment_of(&state.segments.ss),
        tr: kvm_segment_of(&state.segments.tr),
        ldt: kvm_segment_of(&state.segments.ldt),
        gdt: table(&state.gdt),
        idt: table(&state.idt),
        cr0: state.cr0,
        cr2: state.cr2,
        cr3: state.cr3,
        cr4: state.cr4,
        cr8: state.cr8,
        efer: state.efer,
        apic_base: state.apic_base,
        interrupt_bitmap: [0; 4],
    }
}
