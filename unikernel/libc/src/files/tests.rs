use std::{
    borrow::ToOwned as _,
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _, fs::PermissionsExt as _},
    path::PathBuf,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use super::{
    open::{From, Open},
    paths::Path,
    *,
};
use crate::errno::*;

const FILES: Embedded = &[
    ("/app/a.txt", b"embedded"),
    ("/app/sub/b.txt", b""),
    ("/etc/hosts", b"the author's"),
];
const TMP_BYTES: u64 = 1 << 20;
const NOW_NS: u64 = 1_700_000_000_000_000_000;

fn tree() -> Tree {
    Tree::new(FILES, TMP_BYTES)
}

fn path(text: &str) -> Path {
    Path::new(b"/", text.as_bytes()).expect(text)
}

fn randomly(to: &mut [u8]) {
    to.fill(7);
}

const READS: Options = Options {
    reads: true,
    writes: false,
    appends: false,
    creates: false,
    is_new: false,
    truncates: false,
    folder: false,
};
const CREATES: Options = Options {
    writes: true,
    creates: true,
    ..READS
};

fn read_all(open: &mut Open) -> Fallible<Vec<u8>> {
    let (mut all, mut piece) = (vec![], [0; 7]);
    loop {
        match open.read(&mut piece, randomly)? {
            0 => return Ok(all),
            bytes => all.extend_from_slice(&piece[..bytes]),
        }
    }
}

fn names(tree: &Tree, folder: &str) -> Vec<String> {
    let entries = tree.list(&path(folder)).expect(folder);
    let names = entries.into_iter().map(|entry| entry.name);
    let mut names: Vec<_> = names
        .map(|name| String::from_utf8(name).expect("text"))
        .collect();
    names.sort();
    names
}

#[test]
fn paths_are_cut_and_limited() {
    let whole = |folder: &str, text: &str| {
        let path = Path::new(folder.as_bytes(), text.as_bytes())?;
        Ok((
            String::from_utf8(path.text().to_vec()).expect("text"),
            path.is_folder,
        ))
    };
    for (folder, text, expected, is_folder) in [
        ("/", "a", "/a", false),
        ("/a/b", "../c", "/a/c", false),
        ("/a", "/x//y/./z/", "/x/y/z", true),
        ("/a", "..", "/", true),
        ("/", "../../..", "/", true),
        ("/tmp", ".", "/tmp", true),
        ("/tmp", "/", "/", true),
    ] {
        assert_eq!(whole(folder, text), Ok((expected.into(), is_folder)));
    }
    assert_eq!(whole("/", ""), Err(ENOENT));
    assert!(whole("/", &"n".repeat(255)).is_ok());
    assert_eq!(whole("/", &"n".repeat(256)), Err(ENAMETOOLONG));
    assert_eq!(whole("/", &"n/".repeat(2048)), Err(ENAMETOOLONG));
    let (folder, text) = ("/n".repeat(1500), "n/".repeat(1500));
    assert_eq!(whole(&folder, &text), Err(ENAMETOOLONG));
}

#[test]
fn what_was_linked_in_is_read_and_never_changed() {
    let mut tree = tree();
    let read = |tree: &mut Tree, name: &str| {
        let mut open = tree.open(&path(name), READS, 0, NOW_NS).expect(name);
        String::from_utf8(read_all(&mut open).expect("a file")).expect("text")
    };
    assert_eq!(read(&mut tree, "/app/a.txt"), "embedded");
    // An author's file wins over that of every function.
    assert_eq!(read(&mut tree, "/etc/hosts"), "the author's");
    assert_eq!(read(&mut tree, "/etc/hostname"), "function\n");
    assert_eq!(names(&tree, "/"), ["app", "dev", "etc", "tmp"]);
    assert_eq!(names(&tree, "/app"), ["a.txt", "sub"]);
    assert_eq!(names(&tree, "/etc"), ["hostname", "hosts", "resolv.conf"]);
    assert!(names(&tree, "/tmp").is_empty());
    let numbers: std::collections::BTreeSet<u64> = ["/", "/app", "/app/a.txt", "/app/sub/b.txt"]
        .map(|name| tree.stat(&path(name)).expect(name).number)
        .into();
    assert_eq!(numbers.len(), 4);
    let stat = tree.stat(&path("/app/a.txt")).expect("there");
    assert_eq!((stat.kind, stat.mode, stat.bytes), (Kind::File, 0o444, 8));
    for result in [
        tree.open(&path("/app/a.txt"), CREATES, 0, NOW_NS).map(drop),
        tree.open(&path("/app/new"), CREATES, 0, NOW_NS).map(drop),
        tree.make_folder(&path("/new"), 0o755, NOW_NS),
        tree.remove_file(&path("/app/a.txt")),
        tree.remove_folder(&path("/app")),
        tree.rename(&path("/app/a.txt"), &path("/tmp/a"), false),
        tree.set(&path("/app/a.txt"), Some(0), Times::default()),
        tree.access(&path("/app/a.txt"), true, false),
    ] {
        assert_eq!(result, Err(EROFS));
    }
    assert_eq!(tree.remove_folder(&path("/tmp")), Err(EBUSY));
    assert_eq!(tree.stat(&path("/app/a.txt/x")), Err(ENOTDIR));
    assert_eq!(tree.stat(&path("/app/a.txt/")), Err(ENOTDIR));
    assert_eq!(tree.stat(&path("/application")), Err(ENOENT));
    assert_eq!(tree.access(&path("/app/a.txt"), false, true), Err(EACCES));
}

#[test]
fn devices_do_what_they_are_for() {
    let mut tree = tree();
    let options = Options {
        writes: true,
        ..READS
    };
    let mut bytes = [1; 5];
    for (name, read, expected) in [
        ("/dev/null", 0, [1; 5]),
        ("/dev/zero", 5, [0; 5]),
        ("/dev/urandom", 5, [7; 5]),
    ] {
        let mut open = tree.open(&path(name), options, 0, NOW_NS).expect(name);
        assert_eq!(open.read(&mut bytes, randomly), Ok(read));
        assert_eq!(bytes, expected);
        assert_eq!(open.write(b"xyz", NOW_NS), Ok(3));
        assert_eq!(open.stat().kind, Kind::Device);
    }
    let open = tree.open(&path("/dev/stderr"), options, 0, NOW_NS);
    assert_eq!(open.expect("there").standard(), Some(2));
}

/// What is removed while it is open stays for who has it, and its room comes back when that is over.
#[test]
fn room_is_given_back_with_the_last_descriptor() {
    let mut tree = tree();
    let large = vec![1; 900 << 10];
    for _ in 0..100 {
        let mut open = tree
            .open(&path("/tmp/x"), CREATES, 0o644, NOW_NS)
            .expect("room");
        assert_eq!(open.write(&large, NOW_NS), Ok(large.len()));
        assert_eq!(open.write(&large, NOW_NS), Err(ENOSPC));
        assert_eq!(open.stat().bytes, large.len() as u64);
        tree.remove_file(&path("/tmp/x")).expect("there");
        let mut second = tree
            .open(&path("/tmp/x"), CREATES, 0o644, NOW_NS)
            .expect("room");
        assert_eq!(second.write(&large, NOW_NS), Err(ENOSPC));
        open.seek(0, From::Start).expect("a file");
        assert_eq!(read_all(&mut open).map(|all| all.len()), Ok(large.len()));
        drop(open);
        assert_eq!(second.write(&large, NOW_NS), Ok(large.len()));
        second.set_len(0, NOW_NS).expect("less");
        tree.remove_file(&path("/tmp/x")).expect("there");
    }
    // Entries count too.
    let made = (0..10_000)
        .map(|number| tree.make_folder(&path(&std::format!("/tmp/{number}")), 0o755, NOW_NS))
        .take_while(Result::is_ok)
        .count();
    assert_eq!(made as u64, TMP_BYTES / 256);
}

/// Both times are kept apart, and what has no name any more has no links.
#[test]
fn times_and_links_are_told() {
    let mut tree = tree();
    let name = path("/tmp/x");
    let open = tree.open(&name, CREATES, 0o644, NOW_NS).expect("room");
    let times = |accessed_ns, modified_ns| Times {
        accessed_ns,
        modified_ns,
    };
    let told = |open: &Open| (open.stat().accessed_ns, open.stat().modified_ns);
    assert_eq!(told(&open), (NOW_NS, NOW_NS));
    tree.set(&name, None, times(Some(1), Some(2)))
        .expect("ours");
    assert_eq!(told(&open), (1, 2));
    open.set(None, times(Some(3), None)).expect("ours");
    assert_eq!(told(&open), (3, 2));
    assert!(open.stat().is_named);
    tree.remove_file(&name).expect("there");
    assert!(!open.stat().is_named);

    // What another takes the place of.
    let open = tree.open(&name, CREATES, 0o644, NOW_NS).expect("room");
    let other = tree.open(&path("/tmp/y"), CREATES, 0o644, NOW_NS);
    let other = other.expect("room");
    tree.rename(&path("/tmp/y"), &name, false).expect("files");
    assert!(!open.stat().is_named && other.stat().is_named);
    tree.rename(&name, &name, false).expect("the same");
    assert!(other.stat().is_named);
}

#[test]
fn positions_and_holes_are_those_of_files() {
    let mut tree = tree();
    let mut open = tree
        .open(&path("/tmp/x"), CREATES, 0o644, NOW_NS)
        .expect("room");
    assert_eq!(open.seek(3, From::Start), Ok(3));
    assert_eq!(open.write(b"ab", NOW_NS), Ok(2));
    assert_eq!(open.seek(-1, From::Here), Ok(4));
    assert_eq!(open.seek(-6, From::End), Err(EINVAL));
    assert_eq!(open.seek(i64::MAX, From::Here), Err(EINVAL));
    open.set_appends(true);
    assert_eq!(open.write(b"c", NOW_NS), Ok(1));
    open.seek(0, From::Start).expect("a file");
    assert_eq!(read_all(&mut open), Ok(b"\0\0\0abc".to_vec()));
    assert_eq!(open.write_at(u64::MAX, b"x", NOW_NS), Err(EFBIG));
    assert_eq!(open.write_at(1 << 40, b"x", NOW_NS), Err(ENOSPC));
    assert_eq!(open.set_len(u64::MAX, NOW_NS), Err(ENOSPC));
    let reads = tree.open(&path("/tmp/x"), READS, 0, NOW_NS).expect("there");
    assert_eq!(reads.write_at(0, b"x", NOW_NS), Err(EBADF));
    assert_eq!(reads.set_len(0, NOW_NS), Err(EINVAL));
}

#[test]
fn descriptors_are_the_lowest_and_limited() {
    let mut tree = tree();
    let mut all = Descriptors::new();
    let open = tree.open(&path("/dev/null"), READS, 0, NOW_NS);
    let open = alloc::rc::Rc::new(core::cell::RefCell::new(open.expect("there")));
    let mut put = |lowest| all.put(alloc::rc::Rc::clone(&open), lowest);
    assert_eq!((put(0), put(0), put(10)), (Ok(3), Ok(4), Ok(10)));
    all.close(3).expect("open");
    assert_eq!(all.close(3), Err(EBADF));
    for closed in [-1, 0, 2, 3, 11, i32::MAX] {
        assert_eq!(all.get(closed).map(drop), Err(EBADF));
    }
    let mut put = |lowest| all.put(alloc::rc::Rc::clone(&open), lowest);
    assert_eq!((put(0), put(0)), (Ok(3), Ok(5)));
    while put(0).is_ok() {}
    assert_eq!(put(0), Err(EMFILE));
    assert!(all.get(1023).is_ok() && all.get(1024).is_err());
    assert_eq!(all.put_at(alloc::rc::Rc::clone(&open), 1), Err(EBADF));
    assert_eq!(all.put_at(open, 1024), Err(EMFILE));
}

/// Does the same here and in a folder of the host, and compares.
struct Both {
    tree: Tree,
    folder: PathBuf,
}

impl Both {
    fn host(&self, name: &str) -> PathBuf {
        // `/tmp/` is written before each name here.
        let mut path = self.folder.as_os_str().as_bytes().to_vec();
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
        PathBuf::from(OsStr::from_bytes(&path))
    }

    fn ours(name: &str) -> Path {
        path(&std::format!("/tmp/{name}"))
    }

    fn write(&mut self, name: &str, options: Options, at: u64, text: &[u8]) -> [String; 2] {
        let ours = self
            .tree
            .open(&Self::ours(name), options, 0o644, NOW_NS)
            .and_then(|mut open| {
                open.seek(i64::try_from(at).expect("small"), From::Start)?;
                if options.writes {
                    open.write(text, NOW_NS)?;
                }
                open.seek(0, From::Start)?;
                read_all(&mut open)
            });
        let theirs = OpenOptions::new()
            .read(true)
            .write(options.writes)
            .append(options.appends)
            .create(options.creates)
            .create_new(options.is_new && options.creates)
            .truncate(options.truncates)
            .open(self.host(name))
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(at))?;
                if options.writes {
                    file.write_all(text)?;
                }
                file.rewind()?;
                let mut all = vec![];
                file.read_to_end(&mut all)?;
                Ok(all)
            });
        [show(ours), show(theirs.map_err(number))]
    }

    fn stat(&self, name: &str) -> [String; 2] {
        let ours = self.tree.stat(&Self::ours(name)).map(|stat| {
            let is_folder = stat.kind == Kind::Folder;
            (is_folder, if is_folder { 0 } else { stat.bytes }, stat.mode)
        });
        let theirs = fs::metadata(self.host(name)).map(|stat| {
            let bytes = if stat.is_dir() { 0 } else { stat.len() };
            (stat.is_dir(), bytes, stat.mode() & 0o7777)
        });
        [show(ours), show(theirs.map_err(number))]
    }

    fn list(&self, name: &str) -> [String; 2] {
        let ours = self.tree.list(&Self::ours(name)).map(|entries| {
            let mut names: Vec<_> = entries
                .into_iter()
                .map(|entry| String::from_utf8(entry.name).expect("text"))
                .collect();
            names.sort();
            names
        });
        let theirs = fs::read_dir(self.host(name)).map(|entries| {
            let mut names: Vec<_> = entries
                .map(|entry| entry.expect("an entry").file_name().into_string())
                .map(|name| name.expect("text"))
                .collect();
            names.sort();
            names
        });
        [show(ours), show(theirs.map_err(number))]
    }
}

fn number(error: io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

fn show<T: std::fmt::Debug>(result: Result<T, i32>) -> String {
    std::format!("{result:?}")
}

/// Whatever is done, answers and error numbers are those of a Linux file system.
#[test]
fn a_file_system_of_linux_does_the_same() {
    const NAMES: [&str; 12] = [
        "a", "b", "a/b", "a/c", "b/a", "a/b/c", "b/a/", "a/", "c", "./a//b", "c/", "",
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let mut both = Both {
        tree: Tree::new(&[], 16 << 20),
        folder: folder.path().to_owned(),
    };
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).expect("ours");
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).expect("small")
    };
    for step in 0..20_000 {
        let (one, other) = (NAMES[draw(NAMES.len())], NAMES[draw(NAMES.len())]);
        let what = draw(8);
        let results = match what {
            0 => both.stat(one),
            1 => both.list(one),
            2 => [
                show(both.tree.make_folder(&Both::ours(one), 0o755, NOW_NS)),
                show(fs::create_dir(both.host(one)).map_err(number)),
            ],
            3 => [
                show(both.tree.remove_file(&Both::ours(one))),
                show(fs::remove_file(both.host(one)).map_err(number)),
            ],
            // `.` and `..` at the end are refused by Linux for reasons of its own.
            4 if one.is_empty() => continue,
            4 => [
                show(both.tree.remove_folder(&Both::ours(one))),
                show(fs::remove_dir(both.host(one)).map_err(number)),
            ],
            5 if one.is_empty() || other.is_empty() => continue,
            5 => [
                show(
                    both.tree
                        .rename(&Both::ours(one), &Both::ours(other), false),
                ),
                show(fs::rename(both.host(one), both.host(other)).map_err(number)),
            ],
            _ => {
                let bits = draw(32);
                let options = Options {
                    writes: bits & 1 != 0,
                    appends: bits & 3 == 3,
                    creates: bits & 5 == 5,
                    is_new: bits & 13 == 13,
                    truncates: bits & 19 == 17,
                    ..READS
                };
                let text = step.to_string();
                both.write(one, options, draw(20) as u64, text.as_bytes())
            }
        };
        let [ours, theirs] = results;
        assert_eq!(ours, theirs, "step {step}: {what} {one} {other}");
    }
}
