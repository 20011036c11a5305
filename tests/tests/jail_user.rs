//! jiffy as an ordinary user: it works, reduced, and says what is missing.
//!
//! Root plays the user here: a mount namespace of its own has a `/dev/kvm` that everybody may open, and
//! `setpriv` drops all rights before `jiffy` is started.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

const NOBODY: &str = "65534";
/// `$1` is a directory to mount on, the rest is the command.
const AS_USER: &str = r#"
set -e
mount -t tmpfs -o mode=755 none "$1"
mknod -m 666 "$1/kvm" c $(stat -c '0x%t 0x%T' /dev/kvm)
mount --bind "$1/kvm" /dev/kvm
shift
exec setpriv --reuid="$0" --regid="$0" --clear-groups --inh-caps=-all --bounding-set=-all -- "$@"
"#;

#[test]
fn an_ordinary_user_runs_a_function_and_is_told_what_is_missing() {
    if !jiffy_tests::require_root("only root can play another user") || !jiffy_tests::require_kvm()
    {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Another user may have no way into the folder that this was built in.
    let public = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(public.path(), Permissions::from_mode(0o755)).expect("a mode");
    let vmm = copy_to(public.path(), &jiffy_tests::vmm_path());
    let jiffy = copy_to(public.path(), &jiffy_tests::jiffy_path());
    let image = copy_to(public.path(), &jiffy_tests::image("hello"));
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation=private",
        "sh",
        "-c",
        AS_USER,
        NOBODY,
    ]);
    command.arg(folder.path()).arg(jiffy).arg("run");
    command.arg(image);
    command.args(["--event", r#"{"name":"Ada"}"#]);
    command.env("JIFFY_VMM", vmm).env("HOME", "/nonexistent");
    let output = command.output().expect("unshare and setpriv");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    println!("{stderr}");
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.contains("Hello, Ada!"), "{stdout}");
    let lacks = |layer: &str| {
        let wanted = format!("the VM's jail lacks {layer}: ");
        assert!(stderr.contains(&wanted), "{layer}: {stderr}");
    };
    lacks("own user");
    lacks("resource limits");
    assert!(!stderr.contains("system call filter"), "{stderr}");
}

fn copy_to(folder: &Path, file: &Path) -> PathBuf {
    let copy = folder.join(file.file_name().expect("a file"));
    fs::copy(file, &copy).expect("a copy");
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("a mode");
    copy
}
