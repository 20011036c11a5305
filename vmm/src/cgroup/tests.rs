use std::{
    env, fs,
    os::fd::{AsRawFd, RawFd},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use super::{
    Controller::{Cpu, Memory, Pids},
    Version::{V1, V2},
    group::{find_number, memory_end},
    limits::{pids_for, settings},
    *,
};

const MIB: u64 = 1 << 20;
const LIMITS: Limits = Limits {
    memory_bytes: 32 * MIB,
    cpu_percent: None,
    cpu_weight: 100,
    pids: 8,
};

/// Real groups of this host. `None`, and a word why, where there are none; with `JIFFY_REQUIRE_KVM=1` that fails.
fn real(test: &str) -> Option<Hierarchy> {
    let hierarchy = Hierarchy::detect(Path::new("/sys/fs/cgroup"), &format!("jiffy-test-{test}"));
    let [(controller, reason), ..] = hierarchy.missing() else {
        return Some(hierarchy);
    };
    let text = format!("the cgroup controller {controller} is missing: {reason}");
    let is_required = env::var("JIFFY_REQUIRE_KVM").is_ok_and(|value| value == "1");
    assert!(!is_required, "{text}, and JIFFY_REQUIRE_KVM=1 demands it");
    eprintln!("skipped: {text}");
    hierarchy.remove().expect("removed");
    None
}

/// A shell that joins the group as a VM's process does, by itself, and then runs `script`.
fn start(group: &Group, script: &str) -> Child {
    let path = |fd: RawFd| format!("/proc/{}/fd/{fd}", std::process::id());
    let v1 = group.join_fds().iter().map(|fd| path(fd.as_raw_fd()));
    let v2 = group
        .into_cgroup_fd()
        .map(|fd| path(fd.as_raw_fd()) + "/cgroup.procs");
    let joins: String = v1
        .chain(v2)
        .map(|file| format!("echo 0 > {file} || exit 99; "))
        .collect();
    Command::new("sh")
        .args(["-c", &(joins + script)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh")
}

fn run(group: &Group, script: &str) -> ExitStatus {
    let status = start(group, script).wait().expect("sh ends");
    assert_ne!(status.code(), Some(99), "cannot join the group");
    status
}

/// Directories of a group, one for each hierarchy.
fn dirs(hierarchy: &Hierarchy) -> Vec<PathBuf> {
    let link = |tree: &Tree| format!("/proc/self/fd/{}", tree.parent.dir().as_raw_fd());
    let trees = hierarchy.trees.iter();
    trees
        .map(|tree| fs::read_link(link(tree)).expect("a directory"))
        .collect()
}

#[test]
fn a_group_that_takes_too_much_memory_is_killed_and_its_neighbour_is_not() {
    let Some(hierarchy) = real("memory") else {
        return;
    };
    let [greedy, modest] = [1, 2].map(|id| hierarchy.create(id, &LIMITS).expect("a group"));
    // A block that is read at once is in memory at once.
    let script = |mib: u32| format!("dd if=/dev/zero of=/dev/null bs={mib}M count=1");
    assert!(!run(&greedy, &script(128)).success());
    assert!(run(&modest, &script(8)).success());
    let events = greedy.events().expect("events");
    assert!(events.oom_kills >= Some(1), "{events:?}");
    assert_eq!(modest.events().expect("events").oom_kills, Some(0));
    greedy.remove().expect("removed");
    modest.remove().expect("removed");
    hierarchy.remove().expect("removed");
}

/// The group above all VMs has less than one of them may take.
#[test]
fn whose_memory_ran_out_is_told_apart() {
    let Some(hierarchy) = real("squeeze") else {
        return;
    };
    let [greedy, squeezed, modest] =
        [1, 2, 3].map(|id| hierarchy.create(id, &LIMITS).expect("a group"));
    let script = |mib: u32| format!("dd if=/dev/zero of=/dev/null bs={mib}M count=1");
    assert!(run(&modest, &script(8)).success());
    assert!(!run(&greedy, &script(128)).success());
    let memory = hierarchy
        .trees
        .iter()
        .find(|tree| tree.controllers.contains(&Memory));
    let memory = memory.expect("the memory controller");
    let file = match memory.version {
        V1 => "memory.limit_in_bytes",
        V2 => "memory.max",
    };
    let limit = (20 * MIB).to_string();
    files::write(memory.parent.dir(), file, &limit).expect("a limit above");
    assert!(!run(&squeezed, &script(28)).success());
    let end = |group: &Group| group.memory_end().expect("its files");
    assert_eq!(end(&greedy), Some(MemoryEnd::Own));
    assert_eq!(end(&squeezed), Some(MemoryEnd::Above));
    assert_eq!(end(&modest), None);
    for group in [greedy, squeezed, modest] {
        group.remove().expect("removed");
    }
    hierarchy.remove().expect("removed");
}

/// What the files of either version say of it, as Linux 6.18 writes them.
#[test]
fn whose_memory_ran_out_is_read_from_both_versions() {
    let base = tempfile::tempdir().expect("a folder");
    let end = |version, files: &[(&str, &str)]| {
        let dir: OwnedFd = fs::File::open(base.path()).expect("a folder").into();
        let tree = Tree {
            version,
            controllers: vec![Memory],
            parent: Parent::create(dir, "jiffy-1".into()).expect("a folder"),
            cpu: CpuGroups::default(),
        };
        let group = base.path().join("jiffy-1/vm-1");
        fs::create_dir_all(&group).expect("a folder");
        for (file, text) in files {
            fs::write(group.join(file), text).expect("a file");
        }
        memory_end(&tree, "vm-1", 32 * MIB).expect("its files")
    };
    let v1 = |kills: u64, had_bytes: u64| {
        let control = format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n");
        let files = [
            ("memory.oom_control", &*control),
            ("memory.max_usage_in_bytes", &format!("{had_bytes}\n")),
        ];
        end(V1, &files)
    };
    assert_eq!(v1(1, 32 * MIB), Some(MemoryEnd::Own));
    assert_eq!(v1(1, 31 * MIB), Some(MemoryEnd::Own));
    assert_eq!(v1(1, 20 * MIB), Some(MemoryEnd::Above));
    assert_eq!(v1(0, 32 * MIB), None);
    let v2 = |ooms: u64, kills: u64| {
        let events =
            format!("low 0\nhigh 0\nmax 9\noom {ooms}\noom_kill {kills}\noom_group_kill 0\n");
        end(V2, &[("memory.events", &events)])
    };
    assert_eq!(v2(1, 1), Some(MemoryEnd::Own));
    assert_eq!(v2(0, 1), Some(MemoryEnd::Above));
    assert_eq!(v2(1, 0), None);
    assert_eq!(v2(0, 0), None);
}

#[test]
fn a_fork_past_the_limit_is_refused() {
    let Some(hierarchy) = real("pids") else {
        return;
    };
    let limits = Limits { pids: 1, ..LIMITS };
    let mut group = hierarchy.create(1, &limits).expect("a group");
    assert!(!run(&group, "/bin/true; exit 0").success());
    assert!(group.events().expect("events").forks_refused >= Some(1));
    group
        .set_limits(&Limits { pids: 2, ..LIMITS })
        .expect("limits");
    assert!(run(&group, "/bin/true; exit 0").success());
    group.remove().expect("removed");
    hierarchy.remove().expect("removed");
}

#[test]
fn time_past_the_quota_is_waited_for() {
    let Some(hierarchy) = real("cpu") else {
        return;
    };
    let limits = Limits {
        cpu_percent: Some(10),
        ..LIMITS
    };
    let group = hierarchy.create(1, &limits).expect("a group");
    // For as long on a slow host, where so many rounds would take too long.
    let spin = "timeout 1 sh -c 'while :; do :; done'; true";
    assert!(run(&group, spin).success());
    let throttled = group.events().expect("events").throttled;
    assert!(throttled > Some(std::time::Duration::ZERO), "{throttled:?}");
    group.remove().expect("removed");
    hierarchy.remove().expect("removed");
}

#[test]
fn limits_grow_and_shrink() {
    let Some(hierarchy) = real("limits") else {
        return;
    };
    let mut group = hierarchy.create(7, &LIMITS).expect("a group");
    for memory_bytes in [64 * MIB, 16 * MIB, 16 * MIB] {
        let limits = Limits {
            memory_bytes,
            cpu_percent: Some(50),
            cpu_weight: 10_000,
            pids: 1,
        };
        group.set_limits(&limits).expect("limits");
        let set = |file: &str| {
            let mut files = dirs(&hierarchy).into_iter().flat_map(|dir| {
                ["vm-7", "cpu-0/vm-7", "cpu-0"].map(|group| dir.join(group).join(file))
            });
            files.find_map(|file| fs::read_to_string(file).ok())
        };
        let memory = set("memory.max").or(set("memory.limit_in_bytes"));
        assert_eq!(memory, Some(format!("{memory_bytes}\n")));
        let cpu = set("cpu.max").or(set("cpu.cfs_quota_us"));
        assert_eq!(
            cpu.expect("a quota").split_whitespace().next(),
            Some("50000")
        );
    }
    group.remove().expect("removed");
    hierarchy.remove().expect("removed");
}

#[test]
fn a_busy_group_says_so_and_goes_with_the_rest() {
    let Some(hierarchy) = real("busy") else {
        return;
    };
    let mut group = hierarchy.create(1, &LIMITS).expect("a group");
    let mut child = start(&group, "sleep 60");
    let procs: Vec<_> = dirs(&hierarchy)
        .into_iter()
        .flat_map(|dir| ["vm-1", "cpu-0/vm-1", "cpu-0"].map(|group| dir.join(group)))
        .filter(|dir| is_leaf(dir))
        .map(|dir| dir.join("cgroup.procs"))
        .collect();
    let joined = || {
        let lists = procs.iter().map(fs::read_to_string);
        lists
            .into_iter()
            .all(|list| list.is_ok_and(|list| !list.is_empty()))
    };
    while !joined() {
        std::thread::yield_now();
    }
    group.close_entrance();
    assert!(group.join_fds().is_empty() && group.into_cgroup_fd().is_none());
    assert!(matches!(group.remove(), Err(CgroupError::Remove { .. })));
    // The shell may have a child.
    for list in procs.iter().map(fs::read_to_string) {
        for pid in list.expect("a list").lines() {
            let kill = Command::new("kill")
                .args(["-9", pid])
                .stderr(Stdio::null())
                .status();
            kill.expect("kill");
        }
    }
    child.wait().expect("ended");
    let left = dirs(&hierarchy);
    hierarchy.remove().expect("removed");
    assert!(left.iter().all(|dir| !dir.exists()));
}

/// Whether it is a group without groups below.
fn is_leaf(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else {
        return false;
    };
    !entries
        .map(|entry| entry.expect("an entry"))
        .any(|entry| entry.path().is_dir())
}

#[test]
fn a_vm_that_cannot_have_its_group_takes_part_in_none() {
    let Some(hierarchy) = real("clash") else {
        return;
    };
    // The same number, and the same place, as the group that comes next.
    let path = hierarchy.trees.iter().find_map(|tree| {
        let has_own = !tree.own_controllers().is_empty();
        let path = if tree.has_cpu() { "cpu-0/vm-1" } else { "vm-1" };
        has_own.then_some((tree, path))
    });
    let (tree, path) = path.expect("memory and tasks");
    hierarchy
        .create(2, &LIMITS)
        .expect("a group")
        .remove()
        .expect("removed");
    files::make_dir(tree.parent.dir(), path).expect("in the way");
    let error = hierarchy.create(1, &LIMITS).expect_err("it is taken");
    assert!(matches!(error, CgroupError::Create { .. }), "{error:?}");
    files::remove_dir(tree.parent.dir(), path).expect("as it was");
    let group = hierarchy
        .create(1, &LIMITS)
        .expect("nothing is left of the first try");
    assert_eq!(cpu_groups(&hierarchy), 1);
    group.remove().expect("removed");
    hierarchy.remove().expect("removed");
}

/// Groups for CPU time that were made.
fn cpu_groups(hierarchy: &Hierarchy) -> usize {
    let entries = dirs(hierarchy)
        .into_iter()
        .flat_map(|dir| fs::read_dir(dir).expect("a group"));
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("cpu-"))
        .count()
}

/// Up to so many VMs have a group for CPU time of their own; more share them evenly, with what they may use together.
#[test]
fn many_vms_share_groups_for_cpu_time() {
    let Some(hierarchy) = real("shared") else {
        return;
    };
    let limits = Limits {
        cpu_percent: Some(3),
        cpu_weight: 20,
        ..LIMITS
    };
    let number = |index: usize, file: &str| -> Option<u64> {
        let files = dirs(&hierarchy)
            .into_iter()
            .map(|dir| dir.join(format!("cpu-{index}")).join(file));
        let text = files
            .into_iter()
            .find_map(|file| fs::read_to_string(file).ok())?;
        text.split_whitespace().next()?.parse().ok()
    };
    let quota = |index| number(index, "cpu.max").or(number(index, "cpu.cfs_quota_us"));
    let weight = |index| {
        number(index, "cpu.weight")
            .or(number(index, "cpu.shares").map(|shares| (shares * 100).div_ceil(1024)))
    };
    let vms = u32::try_from(CPU_GROUPS_MAX).expect("few") + 1;
    let mut groups: Vec<_> = (0..vms)
        .map(|id| hierarchy.create(id, &limits).expect("a group"))
        .collect();
    assert_eq!(cpu_groups(&hierarchy), CPU_GROUPS_MAX);
    assert_eq!((quota(0), weight(0)), (Some(6_000), Some(40)));
    assert_eq!(quota(1), Some(3_000));
    let more = Limits {
        cpu_percent: Some(50),
        ..limits
    };
    groups[0].set_limits(&more).expect("limits");
    assert_eq!(quota(0), Some(53_000));
    groups.remove(0).remove().expect("removed");
    assert_eq!(quota(0), Some(3_000));
    // The next one goes where nobody is.
    groups.remove(4).remove().expect("removed");
    let next = hierarchy.create(vms, &more).expect("a group");
    assert_eq!(quota(5), Some(50_000));
    for group in groups.into_iter().chain([next]) {
        group.remove().expect("removed");
    }
    assert_eq!(
        cpu_groups(&hierarchy),
        CPU_GROUPS_MAX,
        "kept for those to come"
    );
    let left = dirs(&hierarchy);
    hierarchy.remove().expect("removed");
    assert!(left.iter().all(|dir| !dir.exists()));
}

#[test]
fn groups_of_killed_spawners_are_swept() {
    let Some(living) = real("sweep") else {
        return;
    };
    let kept = living.create(1, &LIMITS).expect("a group");
    let bases: Vec<_> = dirs(&living)
        .into_iter()
        .map(|dir| dir.parent().expect("a base").to_owned())
        .collect();
    for base in &bases {
        fs::create_dir_all(base.join("jiffy-test-sweep-4194305/vm-3")).expect("a stale group");
        fs::create_dir_all(base.join("jiffy-test-sweep-4194305/cpu-1/vm-4"))
            .expect("a stale group");
        fs::create_dir_all(base.join("jiffy-test-sweep-x1")).expect("another's group");
    }
    let root = Path::new("/sys/fs/cgroup");
    let own = fs::read_to_string("/proc/self/cgroup").expect("own groups");
    let second = Hierarchy::detect_as(root, "jiffy-test-sweep", &own, 4_194_306);
    assert!(second.missing().is_empty());
    for base in &bases {
        assert!(!base.join("jiffy-test-sweep-4194305").exists());
        fs::remove_dir(base.join("jiffy-test-sweep-x1")).expect("not swept");
    }
    assert!(kept.events().is_ok(), "a living spawner's group was swept");
    // The same process number again, as in another namespace, while the first lives.
    let clash = Hierarchy::detect_as(root, "jiffy-test-sweep", &own, 4_194_306);
    assert_eq!(clash.missing().len(), 3);
    kept.remove().expect("removed");
    second.remove().expect("removed");
    living.remove().expect("removed");
}

#[test]
fn limits_follow_the_size_of_a_vm() {
    let full = 1024 * MIB;
    let limits = |ram| Limits::for_vm(ram, full, PIDS_WITH_WORKER);
    let of_16 = limits(16 * MIB);
    assert_eq!(of_16.memory_bytes, 16 * MIB + MIB / 4 + VMM_ALLOWANCE_BYTES);
    assert_eq!((of_16.cpu_percent, of_16.cpu_weight), (Some(1), 16));
    assert_eq!(limits(512 * MIB).cpu_percent, Some(50));
    assert_eq!(limits(full).cpu_percent, Some(100));
    assert_eq!(limits(8 * full).cpu_percent, Some(100));
    assert_eq!(limits(64 * full).cpu_weight, 10_000);
    assert_eq!(limits(0).cpu_weight, 1);
    let largest = Limits::for_vm(u64::MAX, 0, 1);
    assert_eq!(
        (largest.memory_bytes, largest.cpu_percent),
        (u64::MAX, Some(100))
    );
}

#[test]
fn only_a_switched_off_worker_needs_no_task() {
    assert_eq!(pids_for(Some("never\n")), PIDS_PLAIN);
    for setting in [Some("N\n"), Some("Y\n"), None] {
        assert_eq!(pids_for(setting), PIDS_WITH_WORKER);
    }
}

#[test]
fn only_what_changed_is_written_and_in_an_order_the_kernel_takes() {
    let write = |version, controller, old: Option<&Limits>, new: &Limits| -> Vec<String> {
        let all = settings(version, controller, old, new).into_iter();
        all.map(|setting| format!("{}={}", setting.file, setting.value))
            .collect()
    };
    for version in [V1, V2] {
        for controller in Controller::ALL {
            assert!(write(version, controller, Some(&LIMITS), &LIMITS).is_empty());
        }
    }
    let more = Limits {
        memory_bytes: 64 * MIB,
        cpu_percent: Some(0),
        cpu_weight: 200,
        pids: 9,
    };
    assert_eq!(
        write(V1, Memory, Some(&LIMITS), &more),
        [
            "memory.memsw.limit_in_bytes=67108864",
            "memory.limit_in_bytes=67108864"
        ]
    );
    assert_eq!(
        write(V1, Memory, Some(&more), &LIMITS),
        [
            "memory.limit_in_bytes=33554432",
            "memory.memsw.limit_in_bytes=33554432"
        ]
    );
    assert_eq!(
        write(V2, Memory, None, &LIMITS),
        [
            "memory.swap.max=0",
            "memory.oom.group=1",
            "memory.max=33554432"
        ]
    );
    assert_eq!(
        write(V1, Cpu, None, &LIMITS),
        ["cpu.cfs_quota_us=-1", "cpu.shares=1024"]
    );
    assert_eq!(
        write(V2, Cpu, None, &LIMITS),
        ["cpu.max=max 100000", "cpu.weight=100"]
    );
    assert_eq!(
        write(V1, Cpu, None, &more),
        ["cpu.cfs_quota_us=1000", "cpu.shares=2048"]
    );
    assert_eq!(
        write(V2, Cpu, Some(&LIMITS), &more),
        ["cpu.max=1000 100000", "cpu.weight=200"]
    );
    assert_eq!(write(V2, Pids, Some(&LIMITS), &more), ["pids.max=9"]);
}

#[test]
fn numbers_are_found_by_their_key() {
    let text = "under_oom 0\noom_kill_disable 1\noom_kill 3\nbad x\n";
    assert_eq!(find_number(text, "oom_kill"), Some(3));
    assert_eq!(find_number(text, "bad"), None);
    assert_eq!(find_number(text, "oom"), None);
    assert_eq!(find_number("", "oom"), None);
}

/// A directory tree that looks like a cgroup file system to `place::find`.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new(files: &[(&str, &str)]) -> Self {
        let fake = Self(tempfile::tempdir().expect("a directory"));
        for (path, text) in files {
            let path = fake.root().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        fake
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    /// `controller: version base` and `controller: missing`, for a process whose groups are `own`.
    fn check(&self, own: &str, expected: &[&str]) {
        let (homes, missing) = place::find(self.root(), "jiffy", own);
        let homes = homes.iter().map(|home| {
            let base = home.base.strip_prefix(self.root()).expect("below the root");
            let line = format!("{} {:?} {}", home.controller, home.version, base.display());
            line.trim_end().to_owned()
        });
        let missing = missing.iter().map(|(controller, reason)| match reason {
            Missing::NotMounted { .. } => format!("{controller} not mounted"),
            Missing::NotEnabled { .. } => format!("{controller} not enabled"),
            Missing::NotWritable { .. } => format!("{controller} not writable"),
        });
        let found: Vec<_> = homes.chain(missing).collect();
        assert_eq!(found, expected);
    }
}

const ALL: &str = "cpuset cpu io memory pids\n";

#[test]
fn version_2_takes_the_own_group_if_it_passes_controllers_on() {
    let fake = Fake::new(&[
        ("cgroup.controllers", ALL),
        ("cgroup.subtree_control", ALL),
        ("a/b/cgroup.controllers", ALL),
        ("a/b/cgroup.subtree_control", ALL),
        ("a/cgroup.subtree_control", ALL),
    ]);
    fake.check("0::/a/b\n", &["memory V2 a/b", "cpu V2 a/b", "pids V2 a/b"]);
    fake.check("0::/\n", &["memory V2", "cpu V2", "pids V2"]);
    // Outside the namespace, or gone: as high as one can see.
    fake.check("0::/../x\n", &["memory V2", "cpu V2", "pids V2"]);
    fake.check("0::/gone\n", &["memory V2", "cpu V2", "pids V2"]);
    fake.check("", &["memory V2", "cpu V2", "pids V2"]);
}

#[test]
fn version_2_goes_next_to_a_group_with_processes() {
    let fake = Fake::new(&[
        ("cgroup.controllers", ALL),
        ("cgroup.subtree_control", ALL),
        ("s/cgroup.controllers", ALL),
        ("s/cgroup.subtree_control", ALL),
        ("s/own/cgroup.controllers", ALL),
        ("s/own/cgroup.procs", "1\n2\n"),
    ]);
    fake.check("0::/s/own\n", &["memory V2 s", "cpu V2 s", "pids V2 s"]);
    let leaf = fake.root().join("s/own/jiffy-agent");
    assert!(
        !leaf.exists(),
        "processes of a group that is not ours were moved"
    );
}

#[test]
fn version_2_empties_the_root_of_a_container() {
    let fake = Fake::new(&[
        ("cgroup.controllers", ALL),
        ("cgroup.type", "domain\n"),
        ("cgroup.procs", "17\n"),
        ("jiffy-agent/cgroup.procs", ""),
    ]);
    place::find(fake.root(), "jiffy", "0::/\n");
    let moved = fs::read_to_string(fake.root().join("jiffy-agent/cgroup.procs"));
    assert_eq!(moved.expect("the leaf's list"), "17");
}

#[test]
fn what_is_not_passed_on_is_missing() {
    let fake = Fake::new(&[
        ("cgroup.controllers", ALL),
        ("own/cgroup.controllers", "memory pids\n"),
        ("own/cgroup.subtree_control", "memory pids\n"),
    ]);
    let expected = ["memory V2 own", "pids V2 own", "cpu not enabled"];
    fake.check("0::/own\n", &expected);
}

#[test]
fn version_1_and_mixtures_are_found() {
    let v1 = [
        ("memory/own/cgroup.procs", ""),
        ("memory/cgroup.procs", ""),
        ("cpu/cgroup.procs", ""),
        ("pids/cgroup.procs", ""),
        ("unified/cgroup.controllers", "hugetlb\n"),
    ];
    let own = "4:memory:/own\n3:cpu,cpuacct:/gone\n2:name=systemd:/x\n0::/\n";
    let fake = Fake::new(&v1);
    fake.check(own, &["memory V1 memory/own", "cpu V1 cpu", "pids V1 pids"]);
    let mut mixed = v1[1..3].to_vec();
    mixed.extend([
        ("unified/cgroup.controllers", "pids\n"),
        ("unified/cgroup.subtree_control", "pids\n"),
    ]);
    Fake::new(&mixed).check(own, &["memory V1 memory", "cpu V1 cpu", "pids V2 unified"]);
    Fake::new(&v1[..2]).check(
        own,
        &[
            "memory V1 memory/own",
            "cpu not mounted",
            "pids not mounted",
        ],
    );
    Fake::new(&[]).check(
        own,
        &["memory not mounted", "cpu not mounted", "pids not mounted"],
    );
}
