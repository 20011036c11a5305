use std::{fs, os::unix::net::UnixListener};

use rustix::fs::{CWD, mknodat};

use super::*;

fn refused(path: impl AsRef<Path>) -> Option<Refused> {
    Refused::of(&read(path, 1000).expect_err("refused"))
}

/// Each of these would be waited for or read for ever.
#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, path("pipe"), FileType::Fifo, mode, 0).expect("a pipe");
    std::os::unix::fs::symlink(path("pipe"), path("link")).expect("a link");
    for (path, kind) in [
        (path("pipe"), "a pipe"),
        (path("link"), "a pipe"),
        (path(""), "a directory"),
        ("/dev/zero".into(), "a device"),
    ] {
        assert_eq!(refused(&path), Some(Refused::NotRegular(kind)), "{path:?}");
    }
    let _listener = UnixListener::bind(path("socket")).expect("a socket");
    let socket = read(path("socket"), 1000).expect_err("not a file to open");
    assert_eq!(Refused::of(&socket), None);
}

#[test]
fn limits_hold_on_both_sides() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    fs::write(&path, [7; 1000]).expect("written");
    assert_eq!(read(&path, 1000).expect("fits"), [7; 1000]);
    let (_, bytes) = open_up_to(&path, 1000).expect("fits");
    assert_eq!(bytes, 1000);
    let bytes_max = 999;
    let too_large = Refused::TooLarge {
        bytes: 1000,
        bytes_max,
    };
    let error = read(&path, bytes_max).expect_err("too large");
    assert_eq!(
        (Refused::of(&error), error.kind()),
        (Some(too_large), io::ErrorKind::FileTooLarge)
    );
    // Holding it would take as much memory.
    fs::File::create(&path)
        .and_then(|file| file.set_len(1 << 40))
        .expect("a sparse file");
    assert!(Refused::of(&read(&path, 1 << 30).expect_err("too large")).is_some());
}

/// Its length is zero, says the file system.
#[test]
fn a_file_whose_length_is_not_known_is_read_up_to_the_limit() {
    let path = "/proc/self/status";
    assert!(read_text(path, 64 << 10).expect("text").contains("Name:"));
    assert!(matches!(
        refused_at(path, 10),
        Some(Refused::TooLarge {
            bytes: 11,
            bytes_max: 10
        })
    ));
}

fn refused_at(path: &str, bytes_max: u64) -> Option<Refused> {
    Refused::of(&read(path, bytes_max).expect_err("refused"))
}
