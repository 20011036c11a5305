//! The layers around each VM: cgroups, user namespaces, Landlock, seccomp.
//!
//! Looks and changes nothing: switching controllers on is the VMM's (`jiffy_vmm::cgroup`), whose
//! order of looking is followed here.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    thread,
};

use landlock::{
    AccessFs, BitFlags, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr, RulesetError,
};
use rustix::fs::{Access, access};

use super::Check;

const CGROUPS: &str = "/sys/fs/cgroup";
/// The controllers that limit a VM: as the kernel calls them, what their check is called, and what is
/// unlimited without.
const CONTROLLERS: [(&str, &str, &str); 3] = [
    (
        "memory",
        "cgroup memory",
        "the memory of the VMM and kernel",
    ),
    ("cpu", "cgroup cpu", "the CPU time of a VM"),
    ("pids", "cgroup pids", "the number of tasks of a VM"),
];
const DELEGATE: &str = "start the agent as root or from a systemd unit with `Delegate=yes`";
/// The newest Landlock that the jail uses; each older one leaves something out.
const LANDLOCK_ABI_WANTED: i32 = 6;

pub(super) fn checks() -> Vec<Check> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let is_writable = |path: &Path| access(path, Access::WRITE_OK).is_ok();
    let mut checks = cgroups(Path::new(CGROUPS), &own, is_writable);
    checks.push(user_namespaces(
        rustix::process::geteuid().is_root(),
        Path::new("/proc/self/ns/user").exists(),
        |setting| fs::read_to_string(Path::new("/proc/sys").join(setting)).ok(),
    ));
    checks.push(landlock(landlock_status()));
    checks.push(seccomp(fs::read_to_string(
        "/proc/sys/kernel/seccomp/actions_avail",
    )));
    checks
}

/// One line for what there is, and one for each controller that is missing.
fn cgroups(root: &Path, own: &str, is_writable: impl Fn(&Path) -> bool) -> Vec<Check> {
    let unified = [root.to_owned(), root.join("unified")]
        .into_iter()
        .find(|top| top.join("cgroup.controllers").is_file());
    let (mut found, mut missing) = (vec![], vec![]);
    for (controller, name, unlimited) in CONTROLLERS {
        let separate = root.join(controller);
        let is_offered = |dir: &Path| {
            let list = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
            list.split_whitespace().any(|one| one == controller)
        };
        if let Some(top) = unified.as_ref().filter(|top| is_offered(top)) {
            let group = own_group(top, own, "");
            // Groups are made in the own one, or next to it.
            let above = group.parent().filter(|dir| dir.starts_with(top));
            let can_switch_on = is_writable(&top.join("cgroup.subtree_control"));
            let can_make = is_writable(&group) || above.is_some_and(&is_writable);
            if can_switch_on || (can_make && is_offered(&group)) {
                found.push(format!("{controller} (version 2)"));
            } else {
                let found = format!("is not passed on to {}", group.display());
                missing.push(Check::warn(name, found, DELEGATE));
            }
        } else if separate.join("cgroup.procs").is_file() {
            let group = own_group(&separate, own, controller);
            if is_writable(&group) {
                found.push(format!("{controller} (version 1)"));
            } else {
                let found = format!("no group can be made in {}", group.display());
                missing.push(Check::warn(name, found, "start the agent as root"));
            }
        } else {
            let fix = format!(
                "`mount -t cgroup2 none {}`, and boot without `cgroup_disable={controller}`; until then nothing limits {unlimited}",
                root.display()
            );
            missing.push(Check::warn(name, "is not mounted", fix));
        }
    }
    if !found.is_empty() {
        missing.insert(0, Check::ok("cgroups", found.join(", ")));
    }
    missing
}

/// The directory of this process's group in the hierarchy at `top`; the top if it cannot be seen.
fn own_group(top: &Path, own: &str, controller: &str) -> PathBuf {
    let path = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, parts.next()?);
        let is_it = names.split(',').any(|name| name == controller);
        is_it.then(|| Path::new(path.trim_start_matches('/')))
    });
    let is_inside = |path: &&Path| {
        let mut parts = path.components().peekable();
        parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
    };
    path.filter(is_inside)
        .map(|path| top.join(path))
        .filter(|dir| dir.is_dir())
        .unwrap_or_else(|| top.to_owned())
}

/// Whether an ordinary user may make user namespaces; root gives every VM a user of its own instead.
fn user_namespaces(
    is_root: bool,
    is_built_in: bool,
    setting: impl Fn(&str) -> Option<String>,
) -> Check {
    let name = "user namespaces";
    let reads = |path, wanted| setting(path).is_some_and(|text| text.trim() == wanted);
    let problem = if !is_built_in {
        Some(("not in this kernel", "boot a kernel with CONFIG_USER_NS"))
    } else if reads("user/max_user_namespaces", "0") {
        let fix = "`sysctl user.max_user_namespaces=10000`";
        Some(("switched off", fix))
    } else if is_root {
        None
    } else if reads("kernel/unprivileged_userns_clone", "0") {
        let fix = "`sysctl kernel.unprivileged_userns_clone=1`, or run as root";
        Some(("for root only", fix))
    } else if reads("kernel/apparmor_restrict_unprivileged_userns", "1") {
        let fix = "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run as root";
        Some(("held back by AppArmor", fix))
    } else {
        None
    };
    match problem {
        Some((found, _)) if is_root => {
            Check::ok(name, format!("{found}, and not needed: running as root"))
        }
        Some((found, fix)) => Check::warn(name, found, fix),
        None => Check::ok(name, "available"),
    }
}

/// What the kernel says of Landlock. The question can only be asked by restricting somebody: a thread
/// that does nothing else, and only in executing files.
fn landlock_status() -> io::Result<LandlockStatus> {
    let restrict = || -> Result<RestrictionStatus, RulesetError> {
        let handled: BitFlags<AccessFs> = AccessFs::Execute.into();
        let ruleset = Ruleset::default().handle_access(handled)?;
        ruleset.create()?.restrict_self()
    };
    let thread = thread::Builder::new().spawn(restrict)?;
    let status = thread.join().map_err(|_| io::Error::other("panicked"))?;
    status
        .map(|status| status.landlock)
        .map_err(io::Error::other)
}

fn landlock(status: io::Result<LandlockStatus>) -> Check {
    let name = "Landlock";
    let less = "until then the VMM's jail has one layer less";
    match status {
        Ok(LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        }) => {
            let abi = kernel_abi.unwrap_or(effective_abi as i32);
            let found = format!("version {abi}");
            if abi >= LANDLOCK_ABI_WANTED {
                return Check::ok(name, found);
            }
            let fix = "Linux 6.12 or later restricts sockets and signals too";
            Check::warn(name, found, fix)
        }
        Ok(LandlockStatus::NotEnabled) => {
            let fix = format!("boot with landlock in `lsm=`; {less}");
            Check::warn(name, "in the kernel, not active", fix)
        }
        Ok(LandlockStatus::NotImplemented) => {
            let fix = format!("boot a kernel with CONFIG_SECURITY_LANDLOCK; {less}");
            Check::warn(name, "not in this kernel", fix)
        }
        Err(error) => {
            let fix = "see whether a sandbox around this command forbids to ask";
            Check::warn(name, format!("unknown: {error}"), fix)
        }
    }
}

fn seccomp(actions: io::Result<String>) -> Check {
    let name = "seccomp";
    match actions {
        Ok(actions) if actions.split_whitespace().any(|one| one == "kill_process") => {
            Check::ok(name, "filters that kill")
        }
        // No VM is jailed without.
        _ => Check::fail(
            name,
            "no filters",
            "boot a kernel with CONFIG_SECCOMP_FILTER, and mount /proc",
        ),
    }
}

#[cfg(test)]
mod tests {
    use landlock::ABI;

    use super::{super::Status, *};

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        root
    }

    /// `name: found` of each check.
    fn lines(checks: &[Check]) -> Vec<String> {
        let line = |check: &Check| {
            assert_eq!(check.fix.is_some(), check.status != Status::Ok);
            format!("{}: {}", check.name, check.found)
        };
        checks.iter().map(line).collect()
    }

    #[test]
    fn each_missing_controller_is_named() {
        let host = tree(&[
            ("memory/own/cgroup.procs", ""),
            ("memory/cgroup.procs", ""),
            ("cpu/cgroup.procs", ""),
            ("unified/cgroup.controllers", "pids\n"),
        ]);
        let root = host.path();
        let own = "2:memory:/own\n1:cpu:/\n0::/\n";
        let all = "cgroups: memory (version 1), cpu (version 1), pids (version 2)";
        assert_eq!(lines(&cgroups(root, own, |_| true)), [all]);
        let own_only = |path: &Path| path.ends_with("memory/own");
        let found = lines(&cgroups(root, own, own_only));
        assert_eq!(found[0], "cgroups: memory (version 1)");
        assert!(found[1].starts_with("cgroup cpu: no group can be made in "));
        assert!(found[2].starts_with("cgroup pids: is not passed on to "));

        let none = lines(&cgroups(tree(&[]).path(), own, |_| true));
        let expected = ["memory", "cpu", "pids"].map(|one| format!("cgroup {one}: is not mounted"));
        assert_eq!(none, expected);
    }

    #[test]
    fn a_delegated_group_is_enough() {
        let host = tree(&[
            ("cgroup.controllers", "cpu memory pids\n"),
            ("user/app/cgroup.controllers", "memory pids\n"),
        ]);
        let below_user = |path: &Path| path.ends_with("user") || path.ends_with("user/app");
        let found = lines(&cgroups(host.path(), "0::/user/app\n", below_user));
        assert_eq!(found[0], "cgroups: memory (version 2), pids (version 2)");
        assert!(found[1].starts_with("cgroup cpu: is not passed on to "));
        let as_root = cgroups(host.path(), "0::/user/app\n", |_| true);
        assert_eq!(as_root.len(), 1);
    }

    #[test]
    fn what_holds_user_namespaces_back_is_named() {
        let check = |is_root, path: &str, value: &str| {
            user_namespaces(is_root, true, |asked| {
                (asked == path).then(|| value.to_owned())
            })
        };
        for (path, value) in [
            ("user/max_user_namespaces", "0\n"),
            ("kernel/unprivileged_userns_clone", "0\n"),
            ("kernel/apparmor_restrict_unprivileged_userns", "1\n"),
        ] {
            let found = check(false, path, value);
            assert_eq!(found.status, Status::Warn);
            assert!(found.fix.expect("a fix").contains(&path.replace('/', ".")));
            assert_eq!(check(true, path, value).status, Status::Ok);
        }
        assert_eq!(check(false, "none", "").status, Status::Ok);
        let missing = user_namespaces(false, false, |_| None);
        assert_eq!(missing.status, Status::Warn);
    }

    #[test]
    fn landlock_and_seccomp_are_told() {
        let available = |effective_abi, kernel_abi| {
            landlock(Ok(LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            }))
        };
        assert_eq!(available(ABI::V6, None).status, Status::Ok);
        assert_eq!(available(ABI::V6, Some(99)).found, "version 99");
        assert_eq!(available(ABI::V2, None).status, Status::Warn);
        for status in [LandlockStatus::NotEnabled, LandlockStatus::NotImplemented] {
            assert_eq!(landlock(Ok(status)).status, Status::Warn);
        }
        assert!(landlock_status().is_ok(), "the kernel can be asked");
        assert_eq!(
            seccomp(Ok("kill_process allow\n".into())).status,
            Status::Ok
        );
        assert_eq!(seccomp(Ok("allow\n".into())).status, Status::Fail);
        let unknown = seccomp(Err(io::ErrorKind::NotFound.into()));
        assert_eq!(unknown.status, Status::Fail);
    }
}
