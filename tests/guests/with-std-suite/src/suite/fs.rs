//! `fs`, below a folder of the test's own in `/tmp`.

use std::{
    fs::{self, File, OpenOptions},
    io::{
        self, BufRead as _, BufReader, BufWriter, ErrorKind, IoSlice, IoSliceMut, Read as _,
        Seek as _, SeekFrom, Write as _,
    },
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::Random;

tests! {
    open_options_of_files_that_are_not_there open_options_of_files_that_are open_options_that_are_invalid
    write_and_read append_goes_to_the_end truncate_on_open set_len_grows_with_zeros seek_past_the_end
    seek_from_each_side seek_before_the_beginning read_at_and_write_at read_exact_at_the_end vectored
    rename_replaces rename_of_folders rename_into_itself copy_is_a_copy remove_what_is_not_there
    folders_are_made_and_removed create_dir_all_is_idempotent remove_dir_that_is_full remove_dir_all
    read_dir_lists_all read_dir_of_a_file metadata_of_files_and_folders metadata_of_what_is_open times_are_set
    permissions_are_kept a_name_is_gone_a_file_stays two_descriptors_have_a_place_each clones_share_their_place
    buffered_lines large_files_as_they_were errors_and_their_kinds exists canonicalize read_to_string_of_bad_text
    names_at_their_limit create_new_is_first random_steps_as_a_vec hard_links_share_a_file
    symbolic_links_are_followed write_to_what_is_read_only_opened read_from_what_is_write_only_opened
    trailing_slashes_and_dots a_file_is_no_folder sync locks stream_position_and_len write_all_vec_extend
    dir_builder_modes
}

/// A folder that is gone with this value.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Self {
        let room = Path::new("/tmp").join(format!("std-suite-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&room);
        fs::create_dir(&room).expect("a folder");
        Self(room)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("room");
        path
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Read, write, append, truncate, create, create_new.
fn options(which: &str) -> OpenOptions {
    let mut options = File::options();
    options
        .read(which.contains('r'))
        .write(which.contains('w'))
        .append(which.contains('a'))
        .truncate(which.contains('t'))
        .create(which.contains('c'))
        .create_new(which.contains('n'));
    options
}

fn open_options_of_files_that_are_not_there() {
    let room = Room::new("absent");
    for (which, error) in [
        ("r", Some(ErrorKind::NotFound)),
        ("w", Some(ErrorKind::NotFound)),
        ("a", Some(ErrorKind::NotFound)),
        ("wt", Some(ErrorKind::NotFound)),
        ("rw", Some(ErrorKind::NotFound)),
        ("wc", None),
        ("ac", None),
        ("wn", None),
        ("an", None),
        ("rwc", None),
        ("wct", None),
    ] {
        let path = room.path(which);
        assert_eq!(kind(options(which).open(&path)), error, "{which}");
        assert_eq!(path.exists(), error.is_none(), "{which}");
    }
}

fn open_options_of_files_that_are() {
    let room = Room::new("present");
    for (which, error, len) in [
        ("r", None, 4),
        ("w", None, 4),
        ("a", None, 4),
        ("wt", None, 0),
        ("rwc", None, 4),
        ("wct", None, 0),
        ("wn", Some(ErrorKind::AlreadyExists), 4),
        ("an", Some(ErrorKind::AlreadyExists), 4),
    ] {
        let path = room.file(which, "four");
        assert_eq!(kind(options(which).open(&path)), error, "{which}");
        assert_eq!(fs::metadata(&path).expect("there").len(), len, "{which}");
    }
}

fn open_options_that_are_invalid() {
    let room = Room::new("invalid");
    let path = room.file("file", "four");
    for which in ["", "t", "rt", "c", "rc", "rn", "at", "act", "rat"] {
        assert_eq!(
            kind(options(which).open(&path)),
            Some(ErrorKind::InvalidInput),
            "{which}"
        );
    }
    assert_eq!(fs::read(&path).expect("there"), b"four");
}

fn write_and_read() {
    let room = Room::new("write");
    let path = room.file("file", "first");
    fs::write(&path, "2nd").expect("room");
    assert_eq!(fs::read_to_string(&path).expect("there"), "2nd");
    let mut file = File::open(&path).expect("there");
    let mut bytes = [0; 2];
    assert_eq!((file.read(&mut bytes).ok(), bytes), (Some(2), *b"2n"));
    assert_eq!(file.read(&mut bytes).ok(), Some(1));
    assert_eq!(file.read(&mut bytes).ok(), Some(0));
    assert_eq!(file.read(&mut []).ok(), Some(0));
}

fn write_all_vec_extend() {
    let room = Room::new("extend");
    let path = room.file("file", "0123456789");
    let mut vec = b"have ".to_vec();
    let mut file = File::open(&path).expect("there");
    file.seek(SeekFrom::Start(5)).expect("a place");
    assert_eq!(file.read_to_end(&mut vec).ok(), Some(5));
    assert_eq!(vec, b"have 56789");
}

fn append_goes_to_the_end() {
    let room = Room::new("append");
    let path = room.file("file", "one");
    let mut file = options("ra").open(&path).expect("there");
    file.rewind().expect("a place");
    file.write_all(b"two").expect("room");
    // Another one has made it longer meanwhile.
    options("a")
        .open(&path)
        .expect("there")
        .write_all(b"three")
        .expect("room");
    file.seek(SeekFrom::Start(1)).expect("a place");
    file.write_all(b"four").expect("room");
    assert_eq!(fs::read_to_string(&path).expect("there"), "onetwothreefour");
    assert_eq!(file.stream_position().ok(), Some(15));
    file.rewind().expect("a place");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("text");
    assert_eq!(text, "onetwothreefour");
}

fn truncate_on_open() {
    let room = Room::new("truncate");
    let path = room.file("file", "0123456789");
    drop(File::create(&path).expect("room"));
    assert_eq!(fs::metadata(&path).expect("there").len(), 0);
}

fn set_len_grows_with_zeros() {
    let room = Room::new("set-len");
    let path = room.file("file", "abcdef");
    let file = options("w").open(&path).expect("there");
    file.set_len(3).expect("room");
    file.set_len(6).expect("room");
    assert_eq!(fs::read(&path).expect("there"), b"abc\0\0\0");
    assert_eq!(
        kind(File::open(&path).expect("there").set_len(1)),
        Some(ErrorKind::InvalidInput)
    );
    file.set_len(0).expect("room");
    assert_eq!(fs::metadata(&path).expect("there").len(), 0);
}

fn seek_past_the_end() {
    let room = Room::new("past");
    let path = room.file("file", "ab");
    let mut file = options("rw").open(&path).expect("there");
    assert_eq!(file.seek(SeekFrom::End(3)).ok(), Some(5));
    assert_eq!(file.metadata().expect("open").len(), 2);
    assert_eq!(file.read(&mut [0; 4]).ok(), Some(0));
    file.write_all(b"z").expect("room");
    assert_eq!(fs::read(&path).expect("there"), b"ab\0\0\0z");
}

fn seek_from_each_side() {
    let room = Room::new("seek");
    let mut file = File::open(room.file("file", "0123456789")).expect("there");
    let mut at = |from: SeekFrom| {
        let place = file.seek(from).expect("a place");
        let mut byte = [0];
        let count = file.read(&mut byte).expect("readable");
        (place, (count > 0).then_some(byte[0] as char))
    };
    assert_eq!(at(SeekFrom::Start(4)), (4, Some('4')));
    assert_eq!(at(SeekFrom::Current(2)), (7, Some('7')));
    assert_eq!(at(SeekFrom::Current(-3)), (5, Some('5')));
    assert_eq!(at(SeekFrom::End(-1)), (9, Some('9')));
    assert_eq!(at(SeekFrom::End(0)), (10, None));
    assert_eq!(at(SeekFrom::Current(0)), (10, None));
}

fn seek_before_the_beginning() {
    let room = Room::new("before");
    let mut file = File::open(room.file("file", "0123")).expect("there");
    file.seek(SeekFrom::Start(2)).expect("a place");
    assert_eq!(
        kind(file.seek(SeekFrom::Current(-3))),
        Some(ErrorKind::InvalidInput)
    );
    assert_eq!(
        kind(file.seek(SeekFrom::End(-5))),
        Some(ErrorKind::InvalidInput)
    );
    assert_eq!(
        kind(file.seek(SeekFrom::Start(u64::MAX))),
        Some(ErrorKind::InvalidInput)
    );
    assert_eq!(file.stream_position().ok(), Some(2));
}

fn stream_position_and_len() {
    let room = Room::new("position");
    let mut file = File::open(room.file("file", "0123")).expect("there");
    file.seek_relative(3).expect("a place");
    assert_eq!(
        (
            file.stream_position().ok(),
            file.metadata().expect("open").len()
        ),
        (Some(3), 4)
    );
}

fn read_at_and_write_at() {
    let room = Room::new("at");
    let mut file = options("rwc").open(room.path("file")).expect("room");
    file.write_all_at(b"0123456789", 0).expect("room");
    file.write_all_at(b"XY", 4).expect("room");
    let mut bytes = [0; 4];
    assert_eq!(file.read_at(&mut bytes, 3).ok(), Some(4));
    assert_eq!(&bytes, b"3XY6");
    assert_eq!(file.read_at(&mut bytes, 8).ok(), Some(2));
    assert_eq!(file.read_at(&mut bytes, 99).ok(), Some(0));
    // The place of the descriptor is another one.
    assert_eq!(file.stream_position().ok(), Some(0));
    file.write_all_at(b"!", 12).expect("room");
    assert_eq!(file.metadata().expect("open").len(), 13);
}

fn read_exact_at_the_end() {
    let room = Room::new("exact");
    let mut file = File::open(room.file("file", "abc")).expect("there");
    file.read_exact(&mut [0; 2]).expect("two");
    assert_eq!(
        kind(file.read_exact(&mut [0; 2])),
        Some(ErrorKind::UnexpectedEof)
    );
    assert_eq!(
        kind(file.read_exact_at(&mut [0; 2], 2)),
        Some(ErrorKind::UnexpectedEof)
    );
    file.read_exact_at(&mut [0; 3], 0).expect("three");
}

fn vectored() {
    let room = Room::new("vectored");
    let mut file = options("rwc").open(room.path("file")).expect("room");
    let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
    assert_eq!(file.write_vectored(&parts).ok(), Some(5));
    file.rewind().expect("a place");
    let (mut one, mut other) = ([0; 1], [0; 9]);
    let count = file.read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)]);
    assert_eq!(
        (count.ok(), &one, &other[..4]),
        (Some(5), b"a", &b"bcde"[..])
    );
}

fn rename_replaces() {
    let room = Room::new("rename");
    let (one, other) = (room.file("one", "1"), room.file("other", "2"));
    let opened = File::open(&other).expect("there");
    fs::rename(&one, &other).expect("both files");
    assert_eq!(
        (one.exists(), fs::read_to_string(&other).ok().as_deref()),
        (false, Some("1"))
    );
    assert_eq!(io::read_to_string(opened).ok().as_deref(), Some("2"));
    assert_eq!(kind(fs::rename(&one, &other)), Some(ErrorKind::NotFound));
    fs::rename(&other, &other).expect("the same");
    assert_eq!(fs::read_to_string(&other).ok().as_deref(), Some("1"));
}

fn rename_of_folders() {
    let room = Room::new("rename-folders");
    fs::create_dir_all(room.path("a/b")).expect("room");
    room.file("a/b/file", "deep");
    fs::create_dir(room.path("empty")).expect("room");
    fs::create_dir(room.path("full")).expect("room");
    room.file("full/x", "");
    let file = room.file("file", "");
    assert_eq!(
        kind(fs::rename(room.path("a"), room.path("full"))),
        Some(ErrorKind::DirectoryNotEmpty)
    );
    assert_eq!(
        kind(fs::rename(room.path("a"), &file)),
        Some(ErrorKind::NotADirectory)
    );
    assert_eq!(
        kind(fs::rename(&file, room.path("empty"))),
        Some(ErrorKind::IsADirectory)
    );
    fs::rename(room.path("a"), room.path("empty")).expect("it was empty");
    assert_eq!(
        fs::read_to_string(room.path("empty/b/file"))
            .ok()
            .as_deref(),
        Some("deep")
    );
}

fn rename_into_itself() {
    let room = Room::new("rename-self");
    fs::create_dir_all(room.path("a/b")).expect("room");
    assert_eq!(
        kind(fs::rename(room.path("a"), room.path("a/b/c"))),
        Some(ErrorKind::InvalidInput)
    );
    assert!(room.path("a/b").is_dir());
}

fn copy_is_a_copy() {
    let room = Room::new("copy");
    let from = room.file("from", vec![7; 100_000]);
    fs::set_permissions(&from, fs::Permissions::from_mode(0o640)).expect("ours");
    let to = room.file("to", vec![1; 200_000]);
    assert_eq!(fs::copy(&from, &to).ok(), Some(100_000));
    fs::write(&from, "changed").expect("room");
    assert_eq!(fs::read(&to).expect("there"), vec![7; 100_000]);
    let made = room.path("made");
    fs::copy(&from, &made).expect("room");
    assert_eq!(
        fs::metadata(&made).expect("there").permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(
        kind(fs::copy(room.path("none"), &to)),
        Some(ErrorKind::NotFound)
    );
    assert!(fs::copy(&room.0, &to).is_err());
}

fn remove_what_is_not_there() {
    let room = Room::new("remove");
    let file = room.file("file", "");
    assert_eq!(
        kind(fs::remove_file(room.path("none"))),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(kind(fs::remove_dir(&file)), Some(ErrorKind::NotADirectory));
    assert!(matches!(
        kind(fs::remove_file(&room.0)),
        Some(ErrorKind::IsADirectory | ErrorKind::PermissionDenied)
    ));
    fs::remove_file(&file).expect("there");
    assert_eq!(kind(fs::remove_file(&file)), Some(ErrorKind::NotFound));
    assert_eq!(
        kind(fs::remove_dir_all(room.path("none"))),
        Some(ErrorKind::NotFound)
    );
}

fn folders_are_made_and_removed() {
    let room = Room::new("folders");
    let inner = room.path("a/b");
    assert_eq!(kind(fs::create_dir(&inner)), Some(ErrorKind::NotFound));
    fs::create_dir(room.path("a")).expect("room");
    assert_eq!(
        kind(fs::create_dir(room.path("a"))),
        Some(ErrorKind::AlreadyExists)
    );
    fs::create_dir(&inner).expect("room");
    assert!(inner.is_dir() && !inner.is_file());
    fs::remove_dir(&inner).expect("empty");
    assert!(!inner.exists());
    room.file("file", "");
    assert_eq!(
        kind(fs::create_dir(room.path("file"))),
        Some(ErrorKind::AlreadyExists)
    );
    assert_eq!(
        kind(fs::create_dir(room.path("file/x"))),
        Some(ErrorKind::NotADirectory)
    );
}

fn create_dir_all_is_idempotent() {
    let room = Room::new("all");
    let deep = room.path("a/b/c/d");
    fs::create_dir_all(&deep).expect("room");
    fs::create_dir_all(&deep).expect("it is there");
    room.file("a/file", "");
    assert!(fs::create_dir_all(room.path("a/file")).is_err());
    assert!(fs::create_dir_all(room.path("a/file/x")).is_err());
    fs::create_dir_all("").expect("nothing to make");
}

fn dir_builder_modes() {
    use std::os::unix::fs::DirBuilderExt as _;
    let room = Room::new("builder");
    let path = room.path("a/b");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .expect("room");
    assert_eq!(
        fs::metadata(&path).expect("there").permissions().mode() & 0o777,
        0o700
    );
    let file = File::options()
        .write(true)
        .create(true)
        .mode(0o600)
        .open(room.path("file"))
        .expect("room");
    assert_eq!(file.metadata().expect("open").mode() & 0o777, 0o600);
}

fn remove_dir_that_is_full() {
    let room = Room::new("full");
    room.file("x", "");
    assert_eq!(
        kind(fs::remove_dir(&room.0)),
        Some(ErrorKind::DirectoryNotEmpty)
    );
    assert!(room.path("x").exists());
}

fn remove_dir_all() {
    let room = Room::new("remove-all");
    for folder in ["a", "a/b", "a/b/c", "a/d"] {
        fs::create_dir(room.path(folder)).expect("room");
        for number in 0..5 {
            room.file(&format!("{folder}/{number}"), "x");
        }
    }
    fs::remove_dir_all(room.path("a")).expect("all of it");
    assert_eq!(fs::read_dir(&room.0).expect("there").count(), 0);
}

fn read_dir_lists_all() {
    let room = Room::new("list");
    for number in 0..100 {
        room.file(&format!("{number:03}"), "");
    }
    fs::create_dir(room.path("sub")).expect("room");
    let mut names = Vec::new();
    for entry in fs::read_dir(&room.0).expect("there") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        let is_folder = entry.file_type().expect("a kind").is_dir();
        assert_eq!(is_folder, name == "sub");
        assert_eq!(entry.metadata().expect("there").is_dir(), is_folder);
        assert_eq!(entry.path(), room.path(&name));
        names.push(name);
    }
    names.sort();
    assert_eq!(names.len(), 101);
    assert_eq!(
        (names[0].as_str(), names[99].as_str(), names[100].as_str()),
        ("000", "099", "sub")
    );
}

fn read_dir_of_a_file() {
    let room = Room::new("list-file");
    assert_eq!(
        kind(fs::read_dir(room.file("file", ""))),
        Some(ErrorKind::NotADirectory)
    );
    assert_eq!(
        kind(fs::read_dir(room.path("none"))),
        Some(ErrorKind::NotFound)
    );
}

fn metadata_of_files_and_folders() {
    let room = Room::new("metadata");
    let path = room.file("file", "12345");
    let file = fs::metadata(&path).expect("there");
    assert!(file.is_file() && !file.is_dir() && !file.is_symlink() && file.file_type().is_file());
    assert_eq!((file.len(), file.size(), file.nlink()), (5, 5, 1));
    let folder = fs::metadata(&room.0).expect("there");
    assert!(folder.is_dir() && !folder.is_file());
    assert_ne!(file.ino(), folder.ino());
    assert_eq!(
        fs::symlink_metadata(&path).expect("there").ino(),
        file.ino()
    );
    assert_eq!(
        kind(fs::metadata(room.path("none"))),
        Some(ErrorKind::NotFound)
    );
}

fn metadata_of_what_is_open() {
    let room = Room::new("open");
    let mut file = File::create(room.path("file")).expect("room");
    file.write_all(b"123").expect("room");
    assert_eq!(file.metadata().expect("open").len(), 3);
    assert_eq!(
        file.metadata().expect("open").ino(),
        fs::metadata(room.path("file")).expect("there").ino()
    );
}

fn times_are_set() {
    let room = Room::new("times");
    let before = SystemTime::now();
    let path = room.file("file", "x");
    let file = options("w").open(&path).expect("there");
    let then = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    let modified = fs::metadata(&path)
        .expect("there")
        .modified()
        .expect("a time");
    // A file system's clock may be a tick behind.
    assert!(modified + Duration::from_secs(1) > before);
    file.set_modified(then).expect("ours");
    assert_eq!(
        fs::metadata(&path).expect("there").modified().ok(),
        Some(then)
    );
    let later = then + Duration::from_secs(60);
    file.set_times(fs::FileTimes::new().set_accessed(then).set_modified(later))
        .expect("ours");
    let metadata = file.metadata().expect("open");
    assert_eq!(
        (metadata.accessed().ok(), metadata.modified().ok()),
        (Some(then), Some(later))
    );
}

fn permissions_are_kept() {
    let room = Room::new("permissions");
    let path = room.file("file", "x");
    for mode in [0o600, 0o644, 0o777, 0o400, 0o000] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        let permissions = fs::metadata(&path).expect("there").permissions();
        assert_eq!(
            (permissions.mode() & 0o777, permissions.readonly()),
            (mode, mode & 0o222 == 0)
        );
    }
    assert_eq!(
        kind(fs::set_permissions(
            room.path("none"),
            fs::Permissions::from_mode(0o600)
        )),
        Some(ErrorKind::NotFound)
    );
}

fn a_name_is_gone_a_file_stays() {
    let room = Room::new("gone");
    let path = room.path("file");
    let mut file = options("rwc").open(&path).expect("room");
    file.write_all(b"still").expect("room");
    fs::remove_file(&path).expect("there");
    file.write_all(b" here").expect("room");
    file.rewind().expect("a place");
    assert_eq!(
        io::read_to_string(&file).ok().as_deref(),
        Some("still here")
    );
    assert_eq!(file.metadata().expect("open").nlink(), 0);
    fs::write(&path, "another").expect("room");
    assert_eq!(file.metadata().expect("open").len(), 10);
}

fn two_descriptors_have_a_place_each() {
    let room = Room::new("two");
    let path = room.file("file", "abcdef");
    let (mut one, mut other) = (
        File::open(&path).expect("there"),
        File::open(&path).expect("there"),
    );
    let mut bytes = [0; 3];
    one.read_exact(&mut bytes).expect("three");
    other.read_exact(&mut bytes[..1]).expect("one");
    assert_eq!(
        (one.stream_position().ok(), other.stream_position().ok()),
        (Some(3), Some(1))
    );
}

fn clones_share_their_place() {
    let room = Room::new("clones");
    let mut file = File::open(room.file("file", "abcdef")).expect("there");
    let mut clone = file.try_clone().expect("a descriptor");
    clone.read_exact(&mut [0; 2]).expect("two");
    assert_eq!(file.stream_position().ok(), Some(2));
    drop(file);
    assert_eq!(io::read_to_string(clone).ok().as_deref(), Some("cdef"));
}

fn buffered_lines() {
    let room = Room::new("lines");
    let path = room.path("file");
    let mut writer = BufWriter::with_capacity(7, File::create(&path).expect("room"));
    for number in 0..500 {
        writeln!(writer, "line {number}").expect("room");
    }
    writer
        .into_inner()
        .expect("flushed")
        .sync_all()
        .expect("kept");
    let lines: Vec<String> = BufReader::with_capacity(13, File::open(&path).expect("there"))
        .lines()
        .map(|line| line.expect("text"))
        .collect();
    assert_eq!(
        (lines.len(), lines[0].as_str(), lines[499].as_str()),
        (500, "line 0", "line 499")
    );
}

fn large_files_as_they_were() {
    let room = Room::new("large");
    let path = room.path("file");
    let mut random = Random::new();
    let bytes: Vec<u8> = (0..1 << 17)
        .flat_map(|_| random.next().to_le_bytes())
        .collect();
    let mut file = File::create(&path).expect("room");
    for piece in bytes.chunks(33_333) {
        file.write_all(piece).expect("room");
    }
    drop(file);
    assert!(fs::read(&path).expect("there") == bytes);
}

fn errors_and_their_kinds() {
    let room = Room::new("errors");
    let file = room.file("file", "");
    assert_eq!(
        kind(File::open(file.join("x"))),
        Some(ErrorKind::NotADirectory)
    );
    assert_eq!(kind(File::open("")), Some(ErrorKind::NotFound));
    assert_eq!(kind(File::open("/tmp/a\0b")), Some(ErrorKind::InvalidInput));
    assert_eq!(
        kind(options("w").open(&room.0)),
        Some(ErrorKind::IsADirectory)
    );
    assert_eq!(kind(fs::read(&room.0)), Some(ErrorKind::IsADirectory));
    let error = File::open(room.path("none")).expect_err("none");
    assert_eq!(error.raw_os_error(), Some(2));
    // What it says before that is the system's own.
    assert!(error.to_string().ends_with(" (os error 2)"), "{error}");
}

fn a_file_is_no_folder() {
    let room = Room::new("no-folder");
    let file = room.file("file", "");
    assert_eq!(
        kind(fs::metadata(file.join("."))),
        Some(ErrorKind::NotADirectory)
    );
    assert_eq!(
        kind(fs::write(file.join("x"), "")),
        Some(ErrorKind::NotADirectory)
    );
    assert_eq!(
        kind(fs::remove_file(file.join("x"))),
        Some(ErrorKind::NotADirectory)
    );
    assert_eq!(
        kind(fs::rename(file.join("x"), room.path("y"))),
        Some(ErrorKind::NotADirectory)
    );
}

fn exists() {
    let room = Room::new("exists");
    let file = room.file("file", "");
    assert_eq!(
        (fs::exists(&file).ok(), fs::exists(room.path("none")).ok()),
        (Some(true), Some(false))
    );
    assert!(file.try_exists().expect("an answer"));
    // That it cannot be there is an error of this one alone.
    assert!(file.join("x").try_exists().is_err());
    assert!(!file.join("x").exists());
}

fn canonicalize() {
    let room = Room::new("canonical");
    fs::create_dir(room.path("a")).expect("room");
    let file = room.file("a/file", "");
    assert_eq!(
        fs::canonicalize(room.path("a/../a/./file")).ok(),
        Some(file.clone())
    );
    assert_eq!(fs::canonicalize("/").ok().as_deref(), Some(Path::new("/")));
    assert_eq!(
        kind(fs::canonicalize(room.path("none"))),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(
        kind(fs::canonicalize(file.join("x"))),
        Some(ErrorKind::NotADirectory)
    );
}

fn read_to_string_of_bad_text() {
    let room = Room::new("bad");
    let path = room.file("file", b"good \xff");
    assert_eq!(
        kind(fs::read_to_string(&path)),
        Some(ErrorKind::InvalidData)
    );
    let mut text = String::from("kept");
    assert!(
        File::open(&path)
            .expect("there")
            .read_to_string(&mut text)
            .is_err()
    );
    assert_eq!(text, "kept");
}

fn names_at_their_limit() {
    let room = Room::new("names");
    fs::write(room.path(&"n".repeat(255)), "x").expect("room");
    assert!(matches!(
        kind(fs::write(room.path(&"n".repeat(256)), "x")),
        Some(ErrorKind::InvalidFilename)
    ));
    let deep = room.path(&"d/".repeat(3000));
    assert!(matches!(
        kind(File::open(deep)),
        Some(ErrorKind::InvalidFilename)
    ));
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe spaced \n name");
    use std::os::unix::ffi::OsStrExt as _;
    fs::write(room.0.join(name), "odd").expect("room");
    let found = fs::read_dir(&room.0)
        .expect("there")
        .any(|entry| entry.expect("an entry").file_name() == name);
    assert!(found);
}

fn create_new_is_first() {
    let room = Room::new("new");
    let path = room.path("file");
    File::create_new(&path)
        .expect("the first")
        .write_all(b"x")
        .expect("room");
    assert_eq!(
        kind(File::create_new(&path)),
        Some(ErrorKind::AlreadyExists)
    );
    assert_eq!(fs::read(&path).expect("there"), b"x");
}

fn random_steps_as_a_vec() {
    let room = Room::new("random");
    let mut random = Random::new();
    let mut file = options("rwc").open(room.path("file")).expect("room");
    let (mut model, mut at) = (Vec::<u8>::new(), 0usize);
    for step in 0..2000 {
        match random.below(6) {
            0 | 1 => {
                let bytes = vec![step as u8; random.below(300)];
                file.write_all(&bytes).expect("room");
                if !bytes.is_empty() {
                    model.resize(model.len().max(at + bytes.len()), 0);
                    model[at..][..bytes.len()].copy_from_slice(&bytes);
                    at += bytes.len();
                }
            }
            2 | 3 => {
                let mut bytes = vec![0; random.below(300)];
                let count = file.read(&mut bytes).expect("readable");
                let expected = &model[at.min(model.len())..];
                let expected = &expected[..bytes.len().min(expected.len())];
                assert_eq!(&bytes[..count], expected);
                at += count;
            }
            4 => {
                at = random.below(6000);
                file.seek(SeekFrom::Start(at as u64)).expect("a place");
            }
            _ => {
                let len = random.below(5000);
                file.set_len(len as u64).expect("room");
                model.resize(len, 0);
            }
        }
    }
    assert!(fs::read(room.path("file")).expect("there") == model);
}

fn hard_links_share_a_file() {
    let room = Room::new("hard");
    let (one, other) = (room.file("one", "1"), room.path("other"));
    fs::hard_link(&one, &other).expect("a link");
    fs::write(&one, "2").expect("room");
    assert_eq!(fs::read_to_string(&other).ok().as_deref(), Some("2"));
}

fn symbolic_links_are_followed() {
    let room = Room::new("soft");
    let (one, other) = (room.file("one", "1"), room.path("other"));
    std::os::unix::fs::symlink(&one, &other).expect("a link");
    assert_eq!(fs::read_to_string(&other).ok().as_deref(), Some("1"));
    assert_eq!(fs::read_link(&other).ok(), Some(one));
}

fn write_to_what_is_read_only_opened() {
    let room = Room::new("read-only");
    let mut file = File::open(room.file("file", "kept")).expect("there");
    assert_eq!(
        file.write(b"x")
            .expect_err("not opened for it")
            .raw_os_error(),
        Some(9)
    );
    assert!(file.write_at(b"x", 0).is_err());
    assert_eq!(io::read_to_string(file).ok().as_deref(), Some("kept"));
}

fn read_from_what_is_write_only_opened() {
    let room = Room::new("write-only");
    let mut file = File::create(room.path("file")).expect("room");
    assert_eq!(
        file.read(&mut [0; 1])
            .expect_err("not opened for it")
            .raw_os_error(),
        Some(9)
    );
}

fn trailing_slashes_and_dots() {
    let room = Room::new("slashes");
    fs::create_dir(room.path("a")).expect("room");
    let file = room.file("a/file", "x");
    assert!(Path::new(&format!("{}/", room.path("a").display())).is_dir());
    assert!(room.path("a//./file").is_file());
    assert_eq!(
        kind(fs::metadata(format!("{}/", file.display()))),
        Some(ErrorKind::NotADirectory)
    );
    fs::create_dir(format!("{}/", room.path("b").display())).expect("a folder may end so");
    fs::remove_dir(format!("{}/", room.path("b").display())).expect("it is there");
}

fn sync() {
    let room = Room::new("sync");
    let mut file = File::create(room.path("file")).expect("room");
    file.write_all(b"x").expect("room");
    file.sync_data().expect("kept");
    file.sync_all().expect("kept");
    file.flush().expect("nothing is buffered");
}

fn locks() {
    let room = Room::new("locks");
    let path = room.file("file", "");
    let one = File::open(&path).expect("there");
    one.lock().expect("nobody has it");
    one.unlock().expect("it was locked");
    one.try_lock_shared().expect("nobody has it");
}
