//! What jiffy costs: the latency suites of `jiffy bench`, their report, and the floor that they are compared with.
//!
//! ```text
//! main      the command line; the floor's processes are this program too, started again
//! suites/   a file for each suite: measures, and tells a Run each result
//! setup     programs, images, snapshots, shells: what suites begin with
//! floor/    the same work in bare KVM ioctls and bare sockets; the one place with unsafe code
//! load/     many requests at a time, sent when they are due and not when there is time
//! samples   durations -> quantiles
//! report    what a run found, as JSON; table, html, compare and ab read it
//! claims    what results say of each other, and what was promised
//! ```
//! Not here: tests. No test asserts on time. The directories beside `src` hold `cargo bench` targets for choices that were
//! made once; what they said is kept in `docs/perf`.
#![deny(unsafe_code)]

pub mod ab;
pub mod claims;
pub mod compare;
pub mod floor;
pub mod host;
pub mod html;
pub mod load;
pub mod report;
pub mod samples;
pub mod setup;
pub mod sides;
pub mod suites;
pub mod table;
pub mod turns;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The image of the function in folder `path` of the repository, built anew if it changed, and the `jiffy-vmm` to boot it; both
/// built for release, which `./scripts/quickstart` or `cargo build --release` does.
///
/// # Panics
/// If `jiffy` is not built or the example does not build: there is nothing to measure then.
pub fn image_and_vmm(path: &str) -> (PathBuf, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let name = path.rsplit('/').next().unwrap_or(path);
    let image = target.join(format!("jiffy-benches/{name}.elf"));
    std::fs::create_dir_all(target.join("jiffy-benches")).expect("a directory for images");
    let mut build = Command::new(target.join("release/jiffy"));
    build
        .arg("build")
        .arg(root.join(path))
        .arg("-o")
        .arg(&image);
    let status = build.status().expect("run `cargo build --release` first");
    assert!(status.success(), "`jiffy build` of {path} failed");
    (image, target.join("release/jiffy-vmm"))
}
