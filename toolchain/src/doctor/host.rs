//! Kernel, CPU, Rust, and the parts of jiffy.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::Check;
use crate::{
    build::{self, NativeError, cargo_program},
    output::chain,
    sdk::{self, SdkError},
};

/// First Linux with the `PAGEMAP_SCAN` ioctl.
const PAGEMAP_SCAN_SINCE: (u32, u32) = (6, 7);
/// Oldest Rust that compiles jiffy.
const RUST_SINCE: (u32, u32) = (1, 95);
const INSTALL_RUST: &str = "install Rust from https://rustup.rs";

pub(super) fn checks() -> Vec<Check> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut checks = vec![
        cpu(&cpuinfo),
        pagemap_scan(&release),
        tool("cargo", &cargo_program()),
        rustc(run("rustc".as_ref(), &["--version"])),
    ];
    checks.extend(
        run("rustc".as_ref(), &["--print", "sysroot"])
            .ok()
            .map(|root| linker(root.trim())),
    );
    checks.push(compiler(build::compiler_version()));
    let found = sdk::sdk(sdk::named().as_deref());
    checks.push(part("SDK", found.and_then(with_version)));
    let vmm = sdk::vmm().map(|path| path.display().to_string());
    checks.push(part("jiffy-vmm", vmm));
    checks
}

fn cpu(cpuinfo: &str) -> Check {
    let name = "CPU";
    let flags = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags"))
        .unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|found| found == flag);
    let missing: Vec<_> = ["fsgsbase", "nx", "xsave"]
        .into_iter()
        .filter(|flag| !has(flag))
        .collect();
    if missing.is_empty() {
        return Check::ok(name, "fsgsbase, nx, xsave");
    }
    let fix = "use a CPU of 2013 or later; in a VM, have its owner pass the host's CPU features on";
    Check::fail(name, format!("without {}", missing.join(", ")), fix)
}

fn pagemap_scan(release: &str) -> Check {
    let name = "PAGEMAP_SCAN";
    let found = format!("Linux {release}");
    match version(release) {
        Some(version) if version >= PAGEMAP_SCAN_SINCE => Check::ok(name, found),
        _ => Check::warn(name, found, "Linux 6.7 or later finds written pages faster"),
    }
}

fn tool(name: &'static str, program: &OsStr) -> Check {
    match run(program, &["--version"]) {
        Ok(version) => Check::ok(name, version.trim()),
        Err(error) => Check::fail(name, format!("does not run: {error}"), INSTALL_RUST),
    }
}

fn rustc(found: io::Result<String>) -> Check {
    let name = "rustc";
    let found = match found {
        Ok(found) => found.trim().to_owned(),
        Err(error) => return Check::fail(name, format!("does not run: {error}"), INSTALL_RUST),
    };
    match found.split(' ').nth(1).and_then(version) {
        Some(version) if version >= RUST_SINCE => Check::ok(name, found),
        _ => Check::fail(
            name,
            found,
            "`rustup update`: images need Rust 1.95 or later",
        ),
    }
}

/// The linker of images, and the library for the target they are built for.
fn linker(root: &str) -> Check {
    let name = "rust-lld";
    let target = Path::new(root).join("lib/rustlib/x86_64-unknown-linux-gnu");
    if !target.join("lib").is_dir() {
        let fix = "`rustup target add x86_64-unknown-linux-gnu`";
        return Check::fail(name, "the target x86_64-unknown-linux-gnu is missing", fix);
    }
    let program = target.join("bin/rust-lld");
    if program.is_file() {
        return Check::ok(name, program.display().to_string());
    }
    let fix = "use a toolchain from https://rustup.rs, which brings it";
    Check::fail(
        name,
        format!("is not in {}", target.join("bin").display()),
        fix,
    )
}

/// What only functions in C need, and crates with C in them: without one all is well for the others.
fn compiler(found: Result<String, NativeError>) -> Check {
    let name = "C compiler";
    match found {
        Ok(version) => Check::ok(name, version),
        Err(error) => Check::ok(
            name,
            format!("{}; only functions with C need it", chain(&error)),
        ),
    }
}

fn with_version(sdk: PathBuf) -> Result<String, SdkError> {
    let version = sdk::version(&sdk)?;
    Ok(format!("{version}, {}", sdk.display()))
}

fn part(name: &'static str, found: Result<String, SdkError>) -> Check {
    match found {
        Ok(found) => Check::ok(name, found),
        Err(SdkError::NotThere(path)) => Check::fail(
            name,
            format!("is not at {}", path.display()),
            "name the folder unikernel/sdk of a jiffy checkout with JIFFY_SDK",
        ),
        Err(SdkError::CheckoutGone(path)) => Check::fail(
            name,
            format!("is no longer at {}", path.display()),
            "name another checkout's unikernel/sdk with JIFFY_SDK",
        ),
        Err(SdkError::NoVersion(path)) => Check::fail(
            name,
            format!("at {} has no version", path.display()),
            "name the folder unikernel/sdk of a jiffy checkout with JIFFY_SDK",
        ),
        Err(SdkError::NoVmm) => Check::fail(
            name,
            "is not there",
            "put it beside jiffy or on PATH, or name it with JIFFY_VMM; `cargo build --release` in a jiffy checkout makes it",
        ),
        Err(SdkError::VmmNotThere(path)) => Check::fail(
            name,
            format!("is not at {}, which JIFFY_VMM names", path.display()),
            "name a file with JIFFY_VMM, or unset it",
        ),
    }
}

fn run(program: &OsStr, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(output.status.to_string()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Major and minor version at the beginning of a text.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(version("x"), None);
        assert_eq!(pagemap_scan("6.7.0").status, Status::Ok);
        assert_eq!(pagemap_scan("6.18.44").status, Status::Ok);
        assert_eq!(pagemap_scan("6.6.99").status, Status::Warn);
        assert_eq!(
            rustc(Ok("rustc 1.95.0 (5980 2026-04-14)\n".into())).status,
            Status::Ok
        );
        assert_eq!(rustc(Ok("rustc 1.80.0\n".into())).status, Status::Fail);
        assert_eq!(
            rustc(Err(io::ErrorKind::NotFound.into())).status,
            Status::Fail
        );
    }

    #[test]
    fn what_the_host_lacks_is_named() {
        let good = "model name : x\nflags\t\t: fpu nx xsave fsgsbase\n";
        assert_eq!(cpu(good).status, Status::Ok);
        assert_eq!(cpu("flags : nx xsave").found, "without fsgsbase");
        assert_eq!(linker("/nonexistent").status, Status::Fail);
    }

    #[test]
    fn a_c_compiler_may_be_missing() {
        let (language, package, variable) = ("C", "gcc", "CC");
        let check = compiler(Err(NativeError::NoCompiler {
            language,
            package,
            variable,
        }));
        assert_eq!((check.status, check.fix), (Status::Ok, None));
        assert!(check.found.starts_with("no C compiler on PATH: must be"));
        assert!(check.found.ends_with("only functions with C need it"));
    }

    #[test]
    fn missing_parts_are_told_with_what_helps() {
        let nowhere = || PathBuf::from("/nonexistent");
        for (name, error, found, fix) in [
            (
                "SDK",
                SdkError::NotThere(nowhere()),
                "is not at /nonexistent",
                "name the folder unikernel/sdk",
            ),
            (
                "SDK",
                SdkError::CheckoutGone(nowhere()),
                "is no longer at /nonexistent",
                "name another",
            ),
            (
                "jiffy-vmm",
                SdkError::NoVmm,
                "is not there",
                "put it beside",
            ),
            (
                "jiffy-vmm",
                SdkError::VmmNotThere(nowhere()),
                "is not at /nonexistent, which JIFFY_VMM names",
                "name a file",
            ),
        ] {
            let check = part(name, Err(error));
            assert_eq!((check.status, check.found.as_str()), (Status::Fail, found));
            let given = check.fix.expect("a fix");
            assert!(given.starts_with(fix), "{given}");
        }
    }
}
