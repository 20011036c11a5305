//! `/dev/kvm`: there, ours to use, and with what `jiffy-vmm` needs.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use kvm_ioctls::{Cap, Kvm};

use super::Check;

const DEVICE: &str = "/dev/kvm";
/// The only version there ever was.
const API_VERSION: i32 = 12;
/// Without these no VM is made.
const NEEDED: [(Cap, &str); 4] = [
    (Cap::UserMemory, "USER_MEMORY"),
    (Cap::ImmediateExit, "IMMEDIATE_EXIT"),
    (Cap::SyncRegs, "SYNC_REGS"),
    (Cap::Xcrs, "XCRS"),
];
/// What makes jiffy faster or stricter.
const WANTED: [(Cap, &str); 3] = [
    (Cap::ReadonlyMem, "READONLY_MEM"),
    (Cap::VcpuEvents, "VCPU_EVENTS"),
    (Cap::Xsave, "XSAVE"),
];
/// KVM's modules and what they are called here.
const BACKENDS: [(&str, &str); 3] = [
    ("kvm_intel", "vmx: Intel's virtualization"),
    ("kvm_amd", "svm: AMD's virtualization"),
    (
        "kvm_pvm",
        "pvm: no hardware virtualization, so exits and page faults take longer",
    ),
];

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![backend(|module| {
        Path::new("/sys/module").join(module).exists()
    })];
    let access = access();
    let usable = access.status == super::Status::Ok;
    checks.push(access);
    if !usable {
        return checks;
    }
    match Kvm::new() {
        Ok(kvm) => {
            checks.push(api_version(kvm.get_api_version()));
            checks.push(capabilities(|capability| kvm.check_extension(capability)));
            checks.push(virtual_machine(&kvm));
        }
        Err(error) => {
            let fix = "look into the kernel's log: `dmesg | grep -i kvm`";
            checks.push(Check::fail(
                "KVM",
                format!("cannot be opened: {error}"),
                fix,
            ));
        }
    }
    checks
}

fn backend(is_loaded: impl Fn(&str) -> bool) -> Check {
    let name = "KVM backend";
    match BACKENDS.iter().find(|(module, _)| is_loaded(module)) {
        Some((_, backend)) => Check::ok(name, *backend),
        None => Check::warn(
            name,
            "none of kvm_intel, kvm_amd, kvm_pvm is loaded",
            "`modprobe kvm_intel` or `modprobe kvm_amd`; in a VM, have its owner switch nested virtualization on",
        ),
    }
}

fn access() -> Check {
    let opened = OpenOptions::new().read(true).write(true).open(DEVICE);
    match opened {
        Ok(_) => Check::ok(DEVICE, "readable and writable"),
        Err(error) => {
            let device = fs::metadata(DEVICE).ok();
            let mode = device.as_ref().map(|device| device.mode() & 0o777);
            let has_group = device.is_some_and(|device| device.gid() != 0);
            no_access(&error, mode, has_group)
        }
    }
}

/// `has_group`: it belongs to a group other than root's.
fn no_access(error: &io::Error, mode: Option<u32>, has_group: bool) -> Check {
    // What the group needs to open it.
    const GROUP: u32 = 0o060;
    let mode = mode.unwrap_or_default();
    match error.kind() {
        io::ErrorKind::NotFound => Check::fail(
            DEVICE,
            "is not there",
            "load KVM (`modprobe kvm_intel` or `modprobe kvm_amd`), switch virtualization on in the firmware, or give the container the device (`--device /dev/kvm`)",
        ),
        io::ErrorKind::PermissionDenied => Check::fail(
            DEVICE,
            format!("is not ours to use (mode {mode:o})"),
            if has_group && mode & GROUP == GROUP {
                "join its group: `sudo usermod -aG kvm $USER`, then log in anew"
            } else {
                "nobody but its owner may use it: `sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm`, for good with the udev rule KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0660\"; then join the group: `sudo usermod -aG kvm $USER`"
            },
        ),
        _ => Check::fail(
            DEVICE,
            format!("cannot be opened: {error}"),
            "look into the kernel's log: `dmesg | grep -i kvm`",
        ),
    }
}

fn api_version(version: i32) -> Check {
    if version == API_VERSION {
        return Check::ok("KVM API", format!("version {version}"));
    }
    let fix = "boot a Linux kernel of this century";
    Check::fail(
        "KVM API",
        format!("version {version}, not {API_VERSION}"),
        fix,
    )
}

fn capabilities(has: impl Fn(Cap) -> bool) -> Check {
    let missing = |list: &[(Cap, &'static str)]| -> Vec<&'static str> {
        list.iter()
            .filter(|(capability, _)| !has(*capability))
            .map(|(_, name)| *name)
            .collect()
    };
    let (needed, wanted) = (missing(&NEEDED), missing(&WANTED));
    let name = "KVM capabilities";
    if !needed.is_empty() {
        let fix = "boot a newer Linux kernel, 6.1 or later";
        return Check::fail(name, format!("without {}", needed.join(", ")), fix);
    }
    if !wanted.is_empty() {
        let fix = "a newer Linux kernel may have them";
        return Check::warn(name, format!("without {}", wanted.join(", ")), fix);
    }
    let all: Vec<_> = NEEDED
        .iter()
        .chain(&WANTED)
        .map(|(_, name)| *name)
        .collect();
    Check::ok(name, all.join(", "))
}

/// Makes a VM with a vCPU and lets go of it: what the rest only promises.
fn virtual_machine(kvm: &Kvm) -> Check {
    let name = "virtual machine";
    let fix =
        "see that nothing else holds the CPU's virtualization, and look into `dmesg | grep -i kvm`";
    match kvm.create_vm().and_then(|vm| vm.create_vcpu(0)) {
        Ok(_) => Check::ok(name, "made, with a vCPU"),
        Err(error) => Check::fail(name, format!("cannot be made: {error}"), fix),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn each_lack_has_its_fix() {
        let check = |check: Check, status, part: &str| {
            let fix = check.fix.unwrap_or_default();
            assert_eq!(check.status, status);
            assert!(fix.contains(part), "{fix}");
        };
        check(
            no_access(&io::ErrorKind::NotFound.into(), None, false),
            Status::Fail,
            "modprobe",
        );
        let denied = io::ErrorKind::PermissionDenied.into();
        check(
            no_access(&denied, Some(0o660), true),
            Status::Fail,
            "usermod -aG kvm",
        );
        check(
            no_access(&io::ErrorKind::Other.into(), None, false),
            Status::Fail,
            "dmesg",
        );
        check(api_version(11), Status::Fail, "kernel");
        check(api_version(12), Status::Ok, "");
        check(capabilities(|_| true), Status::Ok, "");
        check(capabilities(|has| has != Cap::Xsave), Status::Warn, "newer");
        check(
            capabilities(|has| has != Cap::SyncRegs),
            Status::Fail,
            "6.1",
        );
        check(backend(|_| false), Status::Warn, "modprobe");
    }

    #[test]
    fn backends_are_told_apart() {
        let found = |loaded: &str| backend(|module| module == loaded).found;
        assert!(found("kvm_intel").starts_with("vmx"));
        assert!(found("kvm_amd").starts_with("svm"));
        assert!(found("kvm_pvm").starts_with("pvm"));
    }

    /// Joining a group helps only where the group may do something.
    #[test]
    fn a_device_of_nobodys_group_is_opened_by_mode_not_by_joining() {
        let denied: io::Error = io::ErrorKind::PermissionDenied.into();
        for (mode, has_group, joins_only) in [
            (0o660, true, true),
            (0o666, true, true),
            (0o600, true, false),
            (0o640, true, false),
            (0o600, false, false),
            (0o660, false, false),
        ] {
            let check = format!("{:?}", no_access(&denied, Some(mode), has_group));
            assert!(check.contains(&format!("mode {mode:o}")) && check.contains("usermod"));
            assert_eq!(
                !check.contains("udev rule"),
                joins_only,
                "{mode:o} {has_group}"
            );
        }
    }
}
