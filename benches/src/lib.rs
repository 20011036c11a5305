//! Benchmarks of jiffy. Each directory beside this one is a benchmark; `cargo bench -p jiffy-benches`
//! runs them all, and what they said is kept in `docs/perf`.
//! Not here: tests. No test asserts on time.
#![forbid(unsafe_code)]

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
