//! Dependencies point one way: what each crate of the workspace may depend on, over `cargo metadata`.
//! A crate that is not in `RULES` fails, so that a new one has to say where it stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What one crate of ours may depend on.
struct Rule {
    package: &'static str,
    /// Crates of ours, direct dependencies.
    ours: &'static [&'static str],
    /// Crates of others.
    others: Others,
}

enum Others {
    /// None at all.
    None,
    /// Any but these, which may not be reached through others either.
    Except(&'static [&'static str]),
}

/// A guest has neither an operating system nor a host's libraries.
const NOT_IN_A_GUEST: Others =
    Others::Except(&["getrandom", "libc", "rustix", "spin", "kvm-ioctls"]);
/// The VMM's field. Who talks to a VMM does so over its sockets.
const VMM_FIELD: &[&str] = &[
    "event-manager",
    "kvm-bindings",
    "kvm-ioctls",
    "linux-loader",
    "virtio-queue",
    "virtio-vsock",
    "vm-memory",
];

const NO_RUNTIME: &[&str] = &["kvm-ioctls", "tokio", "vm-memory"];

const RULES: &[Rule] = &[
    Rule {
        package: "jiffy-abi",
        ours: &[],
        others: Others::None,
    },
    Rule {
        package: "jiffy-rt",
        ours: &["jiffy-abi"],
        others: NOT_IN_A_GUEST,
    },
    Rule {
        // Under `std`, over the library OS: the SDK does not know it.
        package: "jiffy-libc",
        ours: &["jiffy-abi", "jiffy-rt"],
        others: NOT_IN_A_GUEST,
    },
    Rule {
        // A function crate as any author's, but for every function in C.
        package: "jiffy-c",
        ours: &["jiffy"],
        others: NOT_IN_A_GUEST,
    },
    Rule {
        package: "jiffy-macros",
        ours: &[],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        // The network stack, for functions that ask for it. Its one lock, of `spin`, is never waited for: a guest's threads take
        // turns, and none of them does while it is held.
        package: "jiffy-net",
        ours: &["jiffy-abi", "jiffy-rt"],
        others: Others::Except(&["getrandom", "libc", "rustix", "kvm-ioctls"]),
    },
    Rule {
        package: "jiffy",
        ours: &["jiffy-abi", "jiffy-rt", "jiffy-macros", "jiffy-net"],
        others: NOT_IN_A_GUEST,
    },
    Rule {
        package: "jiffy-console",
        ours: &[],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        // Values: it reads and writes nothing.
        package: "jiffy-model",
        ours: &["jiffy-abi", "jiffy-console", "jiffy-snapshots"],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        // Messages: nothing of a process, and no I/O but what those of snapshots do.
        package: "jiffy-control",
        ours: &["jiffy-abi", "jiffy-model", "jiffy-snapshots"],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        package: "jiffy-socket",
        ours: &["jiffy-control"],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        // Commands open TAPs. A shell gets one that is open.
        package: "jiffy-tap",
        ours: &["jiffy-abi", "jiffy-control"],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        package: "jiffy-client",
        ours: &[
            "jiffy-abi",
            "jiffy-control",
            "jiffy-files",
            "jiffy-model",
            "jiffy-snapshots",
            "jiffy-socket",
        ],
        // How one waits is its user's choice: the commands need no runtime for it.
        others: Others::Except(NO_RUNTIME),
    },
    Rule {
        package: "jiffy-snapshots",
        ours: &["jiffy-abi"],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        package: "jiffy-files",
        ours: &[],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        package: "jiffy-image",
        ours: &["jiffy-abi"],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        package: "jiffy-symbols",
        ours: &["jiffy-image"],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        package: "jiffy-vmm",
        ours: &[
            "jiffy-abi",
            "jiffy-console",
            "jiffy-control",
            "jiffy-files",
            "jiffy-image",
            "jiffy-snapshots",
            "jiffy-socket",
            "jiffy-tap",
        ],
        others: Others::Except(&["jiffy-client", "tokio"]),
    },
    Rule {
        package: "jiffy-tables",
        ours: &["jiffy-snapshots"],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        // An engine: calls and HTTP are around it.
        package: "jiffy-kv",
        ours: &["jiffy-model", "jiffy-tables"],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        // Queues are made of stores.
        package: "jiffy-queue",
        ours: &["jiffy-kv", "jiffy-model", "jiffy-tables"],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        // An engine, too.
        package: "jiffy-secrets",
        ours: &["jiffy-model", "jiffy-snapshots", "jiffy-tables"],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        package: "jiffy-capabilities",
        ours: &[
            "jiffy-abi",
            "jiffy-client",
            "jiffy-control",
            "jiffy-kv",
            "jiffy-files",
            "jiffy-model",
            "jiffy-queue",
            "jiffy-secrets",
        ],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        package: "jiffy-toolchain",
        ours: &[
            "jiffy-abi",
            "jiffy-capabilities",
            "jiffy-client",
            "jiffy-console",
            "jiffy-control",
            "jiffy-files",
            "jiffy-image",
            "jiffy-kv",
            "jiffy-model",
            "jiffy-queue",
            "jiffy-secrets",
            "jiffy-snapshots",
            "jiffy-symbols",
            "jiffy-tap",
        ],
        // `jiffy doctor` asks KVM what it can do, and that is all the tools know of it.
        others: Others::Except(&["event-manager", "linux-loader", "virtio-queue", "vm-memory"]),
    },
    Rule {
        package: "jiffyd",
        ours: &[
            "jiffy-abi",
            "jiffy-capabilities",
            "jiffy-client",
            "jiffy-console",
            "jiffy-control",
            "jiffy-files",
            "jiffy-image",
            "jiffy-kv",
            "jiffy-model",
            "jiffy-queue",
            "jiffy-secrets",
            "jiffy-snapshots",
            "jiffy-socket",
            "jiffy-symbols",
            "jiffy-tables",
        ],
        others: Others::Except(VMM_FIELD),
    },
    Rule {
        package: "jiffy-tests",
        // One of its programs is a VMM, the hostile one.
        ours: &[
            "jiffy-abi",
            "jiffy-client",
            "jiffy-console",
            "jiffy-control",
            "jiffy-snapshots",
            "jiffy-socket",
            "jiffy-vmm",
        ],
        others: Others::Except(&["tokio"]),
    },
    Rule {
        package: "jiffy-benches",
        // The floor reads the page map as the VMM does, a restore is measured in one process too, and calls are made as an
        // agent makes them. Images are read for their size.
        ours: &[
            "jiffy-abi",
            "jiffy-capabilities",
            "jiffy-client",
            "jiffy-console",
            "jiffy-control",
            "jiffy-image",
            "jiffy-kv",
            "jiffy-model",
            "jiffy-queue",
            "jiffy-secrets",
            "jiffy-snapshots",
            "jiffy-socket",
            "jiffy-vmm",
        ],
        others: Others::Except(&["axum"]),
    },
    Rule {
        package: "jiffy-fuzz",
        ours: &[
            "jiffy-abi",
            "jiffy-control",
            "jiffy-image",
            "jiffy-snapshots",
            "jiffy-socket",
            "jiffy-vmm",
            "jiffyd",
        ],
        others: Others::Except(&[]),
    },
];

/// Nothing depends on these, except where a rule names them.
const LEAVES: &[&str] = &["jiffy-tests", "jiffy-benches", "jiffy-fuzz"];

/// Nobody but these parses ELF files: there is one reader of images, and symbols are no part of what a VMM relies on.
const ELF_READERS: &[&str] = &["jiffy-image", "jiffy-symbols"];

/// Crates whose types cross crates: two versions of one would not fit together.
const ONE_VERSION: &[&str] = &["kvm-bindings", "virtio-queue", "vm-memory", "vmm-sys-util"];

/// The packages that take part in a build, by id.
type Graph = BTreeMap<String, Package>;

#[derive(Debug, Default)]
struct Package {
    name: String,
    is_ours: bool,
    /// Ids of what it is built with or links to.
    dependencies: BTreeSet<String>,
    /// Ids of what only its tests need.
    dev_dependencies: BTreeSet<String>,
}

/// The graph of the workspace, for all targets.
fn workspace() -> Graph {
    let metadata = MetadataCommand::new()
        .manifest_path(jiffy_tests::workspace_root().join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .expect("cargo metadata");
    let resolve = metadata
        .resolve
        .as_ref()
        .expect("metadata with dependencies");
    let package = |node: &cargo_metadata::Node| {
        let with = |is_dev: bool| {
            let is_kind = |kind: &DependencyKind| (*kind == DependencyKind::Development) == is_dev;
            let dependencies = node.deps.iter();
            dependencies
                .filter(|dependency| dependency.dep_kinds.iter().any(|info| is_kind(&info.kind)))
                .map(|dependency| dependency.pkg.to_string())
                .collect()
        };
        Package {
            name: metadata[&node.id].name.to_string(),
            is_ours: metadata.workspace_members.contains(&node.id),
            dependencies: with(false),
            dev_dependencies: with(true),
        }
    };
    resolve
        .nodes
        .iter()
        .map(|node| (node.id.to_string(), package(node)))
        .collect()
}

/// One sentence for each arrow that points the wrong way.
fn violations(graph: &Graph, rules: &[Rule]) -> Vec<String> {
    let mut found = vec![];
    for (id, package) in graph.iter().filter(|(_, package)| package.is_ours) {
        let name = &package.name;
        let Some(rule) = rules.iter().find(|rule| rule.package == name) else {
            found.push(format!("{name} has no rule: add it to RULES"));
            continue;
        };
        for dependency in package.dependencies.iter().map(|id| &graph[id]) {
            let other = dependency.name.as_str();
            let is_bad = match (dependency.is_ours, &rule.others) {
                (true, _) => !rule.ours.contains(&other),
                (false, Others::None) => true,
                (false, Others::Except(_)) => false,
            };
            if is_bad {
                found.push(format!("{name} may not depend on {other}"));
            }
        }
        if let Others::Except(never) = rule.others {
            let reached = reachable(graph, id);
            let reached = reached.iter().map(|id| graph[*id].name.as_str());
            let bad = reached.filter(|other| never.contains(other));
            found.extend(bad.map(|other| format!("{name} may not reach {other}")));
        }
        let parses = package
            .dependencies
            .iter()
            .any(|id| graph[id].name == "object");
        if parses && !ELF_READERS.contains(&name.as_str()) {
            found.push(format!(
                "{name} may not parse ELF files itself: use jiffy-image"
            ));
        }
        for dependency in package.dev_dependencies.iter().map(|id| &graph[id].name) {
            if LEAVES.contains(&dependency.as_str()) && !rule.ours.contains(&dependency.as_str()) {
                found.push(format!(
                    "{name} may not depend on {dependency} in its tests"
                ));
            }
        }
    }
    for name in ONE_VERSION {
        let count = graph
            .values()
            .filter(|package| package.name == *name)
            .count();
        if count > 1 {
            found.push(format!("{count} versions of {name} in the tree"));
        }
    }
    found
}

/// Everything that `from` is built with or links to, itself not included.
fn reachable<'a>(graph: &'a Graph, from: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        for dependency in &graph[id].dependencies {
            if reached.insert(dependency.as_str()) {
                open.push(dependency);
            }
        }
    }
    reached
}

#[test]
fn arrows_point_one_way() {
    let found = violations(&workspace(), RULES);
    assert!(found.is_empty(), "{found:#?}");
}

/// What makes `openapi.json` is a feature that only tests ask for; `cargo metadata` has it as if all did.
#[test]
fn schemas_are_not_shipped() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--prefix=none", "--edges=normal,build"])
        .args(["-p", "jiffyd", "-p", "jiffy-toolchain", "-p", "jiffy-vmm"])
        .current_dir(jiffy_tests::workspace_root())
        .output()
        .expect("cargo tree");
    let tree = String::from_utf8(tree.stdout).expect("text");
    assert!(tree.contains("jiffy-model v"), "{tree}");
    assert!(!tree.contains("schemars"), "{tree}");
}

/// The graph that `cargo metadata` gives is the real one: known arrows are in it.
#[test]
fn the_graph_is_read() {
    let graph = workspace();
    let find = |name: &str| graph.iter().find(|(_, package)| package.name == name);
    let (vmm, _) = find("jiffy-vmm").expect("jiffy-vmm is a member");
    let reached: Vec<_> = reachable(&graph, vmm)
        .iter()
        .map(|id| &graph[*id].name)
        .collect();
    for name in ["jiffy-abi", "kvm-ioctls", "vm-memory", "vmm-sys-util"] {
        assert!(
            reached.iter().any(|reached| *reached == name),
            "{name} in {reached:?}"
        );
    }
    let (_, sdk) = find("jiffy").expect("jiffy is a member");
    let (rt, _) = find("jiffy-rt").expect("jiffy-rt is a member");
    assert!(
        sdk.dependencies.contains(rt),
        "the arrow that only guests have"
    );
}

/// The checker can say no: each kind of wrong arrow in a made-up graph is found.
#[test]
fn wrong_arrows_are_found() {
    const FAKE: &[Rule] = &[
        Rule {
            package: "abi",
            ours: &[],
            others: Others::None,
        },
        Rule {
            package: "tool",
            ours: &["abi"],
            others: Others::Except(&["kvm"]),
        },
    ];
    // Names in upper case are ours; `a>b` is a dependency, `a~b` one of tests; `@` begins a version.
    let check = |arrows: &[&str]| {
        let mut graph = Graph::new();
        for arrow in arrows {
            let ends: Vec<_> = arrow.split(['>', '~']).collect();
            for id in &ends {
                let name = id.split('@').next().unwrap_or_default();
                let package = graph.entry((*id).to_owned()).or_default();
                package.name = name.to_lowercase();
                package.is_ours = name.chars().all(|letter| letter.is_ascii_uppercase());
            }
            if let [from, to] = ends[..] {
                let package = graph.get_mut(from).expect("made above");
                let is_dev = arrow.contains('~');
                let dependencies = if is_dev {
                    &mut package.dev_dependencies
                } else {
                    &mut package.dependencies
                };
                dependencies.insert(to.to_owned());
            }
        }
        violations(&graph, FAKE)
    };
    assert!(check(&["TOOL>ABI", "TOOL>serde", "TOOL~proptest", "ABI~proptest"]).is_empty());
    assert_eq!(check(&["ABI>TOOL"]), ["abi may not depend on tool"]);
    assert_eq!(check(&["ABI>serde"]), ["abi may not depend on serde"]);
    assert_eq!(
        check(&["TOOL>a", "a>b", "b>kvm", "b>a"]),
        ["tool may not reach kvm"]
    );
    assert_eq!(check(&["NEW"]), ["new has no rule: add it to RULES"]);
    assert_eq!(
        check(&["TOOL>object"]),
        ["tool may not parse ELF files itself: use jiffy-image"]
    );
    let in_tests = "tool may not depend on jiffy-tests in its tests";
    assert_eq!(check(&["TOOL~jiffy-tests"]), [in_tests]);
    assert_eq!(
        check(&["TOOL>a", "vm-memory@1", "vm-memory@2"]),
        ["2 versions of vm-memory in the tree"]
    );
}

/// What of its crate's own modules a file names: `crate::x` and the first words in `crate::{…}`.
fn modules_named(text: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_');
            named.insert(rest[..end.unwrap_or(rest.len())].to_owned());
            continue;
        };
        let (mut depth, mut item) = (1, String::new());
        for char in group.chars() {
            depth += i32::from(char == '{') - i32::from(char == '}');
            if depth == 0 || (depth == 1 && char == ',') {
                let name = item.trim().split(':').next().unwrap_or_default();
                named.insert(name.to_owned());
                item.clear();
            } else {
                item.push(char);
            }
            if depth == 0 {
                break;
            }
        }
    }
    named
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        match path.is_dir() {
            _ if is_test => {}
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

/// For each module of a crate, the others that it names; tests and comments apart.
fn modules(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut files = vec![];
    sources(root, &mut files);
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("text");
        let production = text.split("#[cfg(test)]\nmod tests {").next();
        let lines = production.unwrap_or_default().lines();
        let code: Vec<_> = lines
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let relative = file.strip_prefix(root).expect("below it");
        let module = relative.iter().next().expect("a name");
        let module = module.to_str().expect("text").trim_end_matches(".rs");
        let named = modules.entry(module.to_owned()).or_default();
        named.extend(modules_named(&code.join("\n")));
        named.remove(module);
    }
    // What is left names items of the root.
    let names: BTreeSet<_> = modules.keys().cloned().collect();
    for named in modules.values_mut() {
        named.retain(|name| names.contains(name));
    }
    modules
}

/// A module that is reached from itself, and the way.
fn circle(modules: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<&str>> {
    modules.keys().find_map(|start| {
        let mut ways = vec![vec![start.as_str()]];
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop() {
            for next in &modules[*way.last()?] {
                let longer = [&way[..], &[next.as_str()]].concat();
                if next == start {
                    return Some(longer);
                }
                if seen.insert(next) {
                    ways.push(longer);
                }
            }
        }
        None
    })
}

/// No two modules of the agent, of the toolchain or of the library OS need each other, neither at once nor by way of others.
#[test]
fn modules_form_no_circle() {
    let root = jiffy_tests::workspace_root();
    for (part, known) in [
        ("host-agent", ("service", "catalog")),
        ("toolchain", ("cli", "run")),
        ("unikernel/rt", ("serve", "vsock")),
    ] {
        let modules = modules(&root.join(part).join("src"));
        let (from, to) = known;
        assert!(modules[from].contains(to), "{part}: {from} needs {to}");
        assert_eq!(circle(&modules), None, "in {part}");
    }
}

#[test]
fn circles_are_found() {
    let graph = |arrows: &[(&str, &str)]| {
        let mut modules: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (from, to) in arrows {
            let named = modules.entry((*from).to_owned()).or_default();
            named.insert((*to).to_owned());
            modules.entry((*to).to_owned()).or_default();
        }
        modules
    };
    let check = |arrows: &[(&str, &str)], expected: Option<&[&str]>| {
        assert_eq!(circle(&graph(arrows)).as_deref(), expected);
    };
    check(&[("a", "b"), ("b", "c"), ("a", "c")], None);
    check(&[("a", "b"), ("b", "a")], Some(&["a", "b", "a"]));
    let around = [("a", "b"), ("b", "d"), ("b", "c"), ("c", "e"), ("e", "b")];
    check(&around, Some(&["b", "c", "e", "b"]));
}

/// Only the front room knows the routers, and no router knows another one.
#[test]
fn routers_know_neither_each_other_nor_the_front_room() {
    let root = jiffy_tests::workspace_root().join("host-agent/src");
    let mut known = BTreeSet::new();
    for (module, named) in modules(&root) {
        let named = named.into_iter();
        let routers = named.filter(|other| ["front", "native", "lambda"].contains(&&**other));
        known.extend(routers.map(|other| (module.clone(), other)));
    }
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    let allowed = BTreeSet::from([pair("front", "lambda"), pair("front", "native")]);
    assert_eq!(known, allowed);
}

/// `catalog` knows nothing of this host, `prepare` nothing of requests, `invoke` nothing of what starts it.
#[test]
fn the_agents_parts_point_one_way() {
    let modules = modules(&jiffy_tests::workspace_root().join("host-agent/src"));
    let parts: [(&str, &[&str]); 4] = [
        ("catalog", &["prepare", "invoke", "service", "pool", "vm"]),
        ("prepare", &["invoke", "service"]),
        ("invoke", &["service"]),
        ("service", &["native", "lambda", "front"]),
    ];
    for (part, forbidden) in parts {
        let wrong = forbidden.iter().find(|name| modules[part].contains(**name));
        assert_eq!(wrong, None, "{part}");
    }
}
