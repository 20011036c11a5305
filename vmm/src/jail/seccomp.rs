//! The system calls of a closed shell: `seccomp.json`, compiled once by the spawner.
//!
//! Any other call kills the process. Every entry of the list says why it is there, and none covers
//! another (`tests`); [`Filter::compile_without`] is for who shows that a shell needs it.

use seccompiler::{BpfProgram, TargetArch, apply_filter, compile_from_json};
use serde::{Deserialize, Serialize};

use super::JailError;

const LIST: &str = include_str!("seccomp.json");

/// The list as the file has it. Its fields are seccompiler's.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    shell: List,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct List {
    mismatch_action: String,
    match_action: String,
    filter: Vec<Entry>,
}

/// An entry of the list: a system call, with what its arguments have to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    pub syscall: String,
    /// Why it is there.
    pub comment: String,
    /// All of these have to hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Condition>,
}

/// What an argument has to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Which argument, from 0.
    pub index: u8,
    /// `dword` or `qword`: how much of it is looked at.
    #[serde(rename = "type")]
    pub size: String,
    /// The comparison, as seccompiler names it.
    pub op: serde_json::Value,
    /// The value it is compared with.
    pub val: u64,
    /// The value's name.
    pub comment: String,
}

/// The compiled list.
#[derive(Clone, Debug)]
pub struct Filter {
    program: BpfProgram,
}

impl Filter {
    /// Compiles the list: once, in the spawner.
    pub fn compile() -> Result<Self, JailError> {
        Self::compile_lists(&lists()?)
    }

    /// The entries of the list, in its order.
    pub fn entries() -> Result<Vec<Entry>, JailError> {
        Ok(lists()?.shell.filter)
    }

    /// Compiles the list without the entry at `index` of [`Filter::entries`]; all of it if there is
    /// none. For tests that show that the entry is needed.
    #[cfg(any(test, feature = "testing"))]
    pub fn compile_without(index: usize) -> Result<Self, JailError> {
        let mut lists = lists()?;
        if index < lists.shell.filter.len() {
            lists.shell.filter.remove(index);
        }
        Self::compile_lists(&lists)
    }

    fn compile_lists(lists: &Lists) -> Result<Self, JailError> {
        let json = serde_json::to_vec(lists).map_err(JailError::FilterList)?;
        let mut programs = compile_from_json(json.as_slice(), TargetArch::x86_64)
            .map_err(JailError::FilterCompile)?;
        // An empty program is refused when it is applied.
        let program = programs.remove("shell").unwrap_or_default();
        Ok(Self { program })
    }

    /// Applies it to this thread, for good.
    pub fn apply(&self) -> Result<(), JailError> {
        apply_filter(&self.program).map_err(JailError::FilterApply)
    }
}

/// The number of a system call, from what a list of it alone compiles to.
#[cfg(test)]
pub(super) fn number(syscall: &str) -> Option<i64> {
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ, Linux include/uapi/linux/bpf_common.h.
    let mut lists = lists().ok()?;
    lists.shell.filter = vec![Entry {
        syscall: syscall.into(),
        comment: String::new(),
        args: Vec::new(),
    }];
    let program = Filter::compile_lists(&lists).ok()?.program;
    let mut compared = program.iter().filter(|step| step.code == JUMP_IF_EQUAL);
    // The first is the architecture.
    compared.nth(1).map(|step| step.k.into())
}

fn lists() -> Result<Lists, JailError> {
    serde_json::from_str(LIST).map_err(JailError::FilterList)
}

#[cfg(test)]
mod tests {
    use kvm_bindings::{
        KVMIO, kvm_pre_fault_memory, kvm_regs, kvm_sregs, kvm_userspace_memory_region, kvm_xcrs,
        kvm_xsave,
    };
    use vmm_sys_util::ioctl::{_IOC_NONE, _IOC_READ, _IOC_WRITE, ioctl_expr};

    use super::*;

    #[test]
    fn ioctl_numbers_are_the_kernels() {
        let number = |direction, kind, number, bytes: usize| {
            ioctl_expr(
                direction,
                kind,
                number,
                u32::try_from(bytes).expect("small"),
            )
        };
        let (read, write) = (_IOC_READ, _IOC_WRITE);
        let expected = [
            ("KVM_RUN", number(_IOC_NONE, KVMIO, 0x80, 0)),
            (
                "KVM_PRE_FAULT_MEMORY",
                number(read | write, KVMIO, 0xd5, size_of::<kvm_pre_fault_memory>()),
            ),
            (
                "KVM_GET_REGS",
                number(read, KVMIO, 0x81, size_of::<kvm_regs>()),
            ),
            (
                "KVM_SET_REGS",
                number(write, KVMIO, 0x82, size_of::<kvm_regs>()),
            ),
            (
                "KVM_GET_SREGS",
                number(read, KVMIO, 0x83, size_of::<kvm_sregs>()),
            ),
            (
                "KVM_SET_SREGS",
                number(write, KVMIO, 0x84, size_of::<kvm_sregs>()),
            ),
            (
                "KVM_GET_XCRS",
                number(read, KVMIO, 0xa6, size_of::<kvm_xcrs>()),
            ),
            (
                "KVM_SET_XCRS",
                number(write, KVMIO, 0xa7, size_of::<kvm_xcrs>()),
            ),
            (
                "KVM_SET_XSAVE",
                number(write, KVMIO, 0xa5, size_of::<kvm_xsave>()),
            ),
            (
                "KVM_SET_USER_MEMORY_REGION",
                number(write, KVMIO, 0x46, size_of::<kvm_userspace_memory_region>()),
            ),
            // `struct pm_scan_arg` has twelve words.
            (
                "PAGEMAP_SCAN",
                number(read | write, u32::from(b'f'), 16, 96),
            ),
        ];
        let entries = Filter::entries().expect("the list");
        let ioctls = entries.iter().filter(|entry| entry.syscall == "ioctl");
        let mut listed: Vec<(&str, u64)> = ioctls
            .map(|entry| match entry.args.as_slice() {
                [number] => (number.comment.as_str(), number.val),
                _ => panic!("an ioctl is restricted by its number: {entry:?}"),
            })
            .collect();
        for ioctl in &listed {
            assert!(expected.contains(ioctl), "{ioctl:x?}");
        }
        listed.dedup();
        assert_eq!(listed.len(), expected.len(), "each once, and all of them");
    }

    /// A shell that has a TAP takes and gives frames: it neither goes to another interface nor asks for offloads.
    #[test]
    fn no_ioctl_of_a_tap_is_allowed() {
        const OF_TAPS: u64 = 0x54; // 'T' of Linux include/uapi/linux/if_tun.h.
        const OF_SOCKETS: u64 = 0x89; // Linux include/uapi/linux/sockios.h; a TAP answers some of them.
        let entries = Filter::entries().expect("the list");
        let ioctls = entries.iter().filter(|entry| entry.syscall == "ioctl");
        for number in ioctls.flat_map(|entry| &entry.args) {
            let kind = number.val >> 8 & 0xff;
            assert!(![OF_TAPS, OF_SOCKETS].contains(&kind), "{number:?}");
        }
    }

    #[test]
    fn every_entry_says_why_and_none_can_execute_or_open() {
        for entry in Filter::entries().expect("the list") {
            assert!(entry.comment.ends_with('.'), "{entry:?}");
            let forbidden = [
                "open", "exec", "clone", "fork", "socket", "ptrace", "kill", "prctl",
            ];
            let name = &entry.syscall;
            assert!(!forbidden.iter().any(|word| name.contains(word)), "{name}");
        }
    }

    #[test]
    fn every_shortened_list_compiles_and_is_shorter() {
        let whole = Filter::compile().expect("compiles").program.len();
        let entries = Filter::entries().expect("the list").len();
        for index in 0..entries {
            let filter = Filter::compile_without(index).expect("compiles");
            assert!(filter.program.len() < whole, "entry {index}");
        }
        let all = Filter::compile_without(entries).expect("compiles");
        assert_eq!(all.program.len(), whole);
    }
}
