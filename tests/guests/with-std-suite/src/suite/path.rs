//! `path`.

use std::path::{Component, MAIN_SEPARATOR, Path, PathBuf};

tests! {
    components joins push_and_pop file_names extensions with_extension set_file_name strips starts_and_ends ancestors
    compares_by_components iterates_from_both_ends absolute_and_relative from_components displays normal_paths_stay
    extension_of_odd_names hashes_as_it_compares to_str_of_bad_text collects is_separator prefixes_none file_prefix
    absolute_without_a_disk
}

fn components() {
    let all = |path: &str| {
        Path::new(path)
            .components()
            .map(|part| part.as_os_str().to_str().expect("text").to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (path, parts) in [
        ("/a/b", "/ a b"),
        ("a//b/./c/", "a b c"),
        ("./a", ". a"),
        ("../a/..", ".. a .."),
        ("/", "/"),
        ("", ""),
        ("//a", "/ a"),
        ("/.", "/"),
        (".", "."),
    ] {
        assert_eq!(all(path), parts, "{path}");
    }
}

fn joins() {
    for (one, other, both) in [
        ("/a", "b", "/a/b"),
        ("/a/", "b", "/a/b"),
        ("a", "/b", "/b"),
        ("", "b", "b"),
        ("a", "", "a/"),
        ("a", "../b", "a/../b"),
    ] {
        assert_eq!(Path::new(one).join(other), PathBuf::from(both));
        assert_eq!(Path::new(one).join(other).as_os_str(), both);
    }
}

fn push_and_pop() {
    let mut path = PathBuf::from("/a");
    path.push("b");
    path.push("c.txt");
    assert_eq!(path, Path::new("/a/b/c.txt"));
    assert!(path.pop() && path.pop() && path.pop());
    assert!(!path.pop() && path == Path::new("/"));
    path.push("/x");
    assert_eq!(path, Path::new("/x"));
}

fn file_names() {
    for (path, name) in [
        ("/a/b", Some("b")),
        ("/a/b/", Some("b")),
        ("a/b/.", Some("b")),
        ("/", None),
        ("a/..", None),
        ("", None),
        ("x", Some("x")),
    ] {
        assert_eq!(
            Path::new(path)
                .file_name()
                .map(|name| name.to_str().expect("text")),
            name,
            "{path}"
        );
    }
}

fn extensions() {
    for (path, stem, extension) in [
        ("a.txt", Some("a"), Some("txt")),
        ("a.tar.gz", Some("a.tar"), Some("gz")),
        (".hidden", Some(".hidden"), None),
        (".hidden.x", Some(".hidden"), Some("x")),
        ("a.", Some("a"), Some("")),
        ("a", Some("a"), None),
        ("..", None, None),
        ("d.d/a", Some("a"), None),
    ] {
        let path = Path::new(path);
        assert_eq!(
            (
                path.file_stem().and_then(|stem| stem.to_str()),
                path.extension().and_then(|end| end.to_str())
            ),
            (stem, extension),
            "{path:?}"
        );
    }
}

fn extension_of_odd_names() {
    assert_eq!(
        Path::new("a..b").extension().and_then(|end| end.to_str()),
        Some("b")
    );
    assert_eq!(
        Path::new("...").file_stem().and_then(|stem| stem.to_str()),
        Some("..")
    );
}

fn file_prefix() {
    assert_eq!(
        Path::new("a.tar.gz")
            .file_prefix()
            .and_then(|stem| stem.to_str()),
        Some("a")
    );
    assert_eq!(
        Path::new(".a.b")
            .file_prefix()
            .and_then(|stem| stem.to_str()),
        Some(".a")
    );
}

fn with_extension() {
    for (path, extension, new) in [
        ("a.txt", "rs", "a.rs"),
        ("a", "rs", "a.rs"),
        ("a.tar.gz", "", "a.tar"),
        ("a.b", "x.y", "a.x.y"),
        ("/", "x", "/"),
    ] {
        assert_eq!(Path::new(path).with_extension(extension), Path::new(new));
    }
    let mut path = PathBuf::from("..");
    assert!(!path.set_extension("x"));
    assert_eq!(
        Path::new("a.txt").with_added_extension("gz"),
        Path::new("a.txt.gz")
    );
}

fn set_file_name() {
    for (path, name, new) in [
        ("a/b", "c", "a/c"),
        ("/", "c", "/c"),
        ("a/..", "c", "a/../c"),
        ("a", "c", "c"),
    ] {
        let mut changed = PathBuf::from(path);
        changed.set_file_name(name);
        assert_eq!(
            (
                changed.as_path(),
                Path::new(path).with_file_name(name).as_path()
            ),
            (Path::new(new), Path::new(new))
        );
    }
}

fn strips() {
    let path = Path::new("/a/b/c");
    assert_eq!(path.strip_prefix("/a").ok(), Some(Path::new("b/c")));
    assert_eq!(path.strip_prefix("/a/b/c").ok(), Some(Path::new("")));
    assert!(path.strip_prefix("/a/bb").is_err() && path.strip_prefix("a").is_err());
    assert_eq!(
        path.strip_prefix("/x").expect_err("another").to_string(),
        "prefix not found"
    );
}

fn starts_and_ends() {
    let path = Path::new("/etc/passwd");
    assert!(
        path.starts_with("/etc")
            && path.starts_with("/etc/")
            && !path.starts_with("/e")
            && path.starts_with("/")
    );
    assert!(
        path.ends_with("passwd")
            && path.ends_with("etc/passwd")
            && !path.ends_with("wd")
            && !path.ends_with("/passwd")
    );
}

fn ancestors() {
    assert_eq!(
        Path::new("/a/b").ancestors().collect::<Vec<_>>(),
        [Path::new("/a/b"), Path::new("/a"), Path::new("/")]
    );
    assert_eq!(Path::new("a/b").ancestors().last(), Some(Path::new("")));
    assert_eq!(
        (
            Path::new("a").parent(),
            Path::new("/").parent(),
            Path::new("").parent()
        ),
        (Some(Path::new("")), None, None)
    );
}

fn compares_by_components() {
    assert_eq!(Path::new("a/b"), Path::new("a//b/."));
    assert_ne!(Path::new("./a"), Path::new("a"));
    assert!(Path::new("a/b") < Path::new("a-b"));
    assert!(Path::new("a") < Path::new("a/b"));
}

fn hashes_as_it_compares() {
    let set = std::collections::HashSet::from([
        PathBuf::from("a/b"),
        PathBuf::from("a//b/"),
        PathBuf::from("a/./b"),
    ]);
    assert_eq!(set.len(), 1);
}

fn iterates_from_both_ends() {
    let mut parts = Path::new("/a/b/c").components();
    assert_eq!(
        (parts.next(), parts.next_back()),
        (
            Some(Component::RootDir),
            Some(Component::Normal("c".as_ref()))
        )
    );
    assert_eq!(parts.as_path(), Path::new("a/b"));
    assert_eq!(
        Path::new("/a/b").iter().rev().collect::<Vec<_>>(),
        ["b", "a", "/"]
    );
}

fn absolute_and_relative() {
    assert!(
        Path::new("/a").is_absolute()
            && Path::new("a").is_relative()
            && Path::new("/").has_root()
            && !Path::new("").has_root()
    );
}

fn absolute_without_a_disk() {
    assert_eq!(
        std::path::absolute("/a/./b/../c").ok().as_deref(),
        Some(Path::new("/a/b/../c"))
    );
    assert!(std::path::absolute("").is_err());
}

fn from_components() {
    let path: PathBuf = Path::new("/a/./b//c").components().collect();
    assert_eq!(path.as_os_str(), "/a/b/c");
}

fn collects() {
    assert_eq!(
        ["a", "b", "c"].iter().collect::<PathBuf>(),
        Path::new("a/b/c")
    );
    let mut path = PathBuf::from("/");
    path.extend(["x", "y"]);
    assert_eq!(path, Path::new("/x/y"));
}

fn displays() {
    use std::os::unix::ffi::OsStrExt as _;
    let path = Path::new(std::ffi::OsStr::from_bytes(b"a\xff"));
    assert_eq!(
        (path.display().to_string(), format!("{path:?}")),
        ("a\u{fffd}".into(), r#""a\xFF""#.into())
    );
}

fn to_str_of_bad_text() {
    use std::os::unix::ffi::OsStrExt as _;
    let path = Path::new(std::ffi::OsStr::from_bytes(b"a\xff"));
    assert_eq!(
        (path.to_str(), &*path.to_string_lossy()),
        (None, "a\u{fffd}")
    );
}

fn normal_paths_stay() {
    let boxed = PathBuf::from("a/b").into_boxed_path();
    assert_eq!(
        (boxed.as_os_str(), boxed.clone().into_path_buf()),
        ("a/b".as_ref(), PathBuf::from("a/b"))
    );
}

fn is_separator() {
    assert!(
        std::path::is_separator('/') && !std::path::is_separator('\\') && MAIN_SEPARATOR == '/'
    );
}

fn prefixes_none() {
    assert!(!Path::new("C:\\a").is_absolute());
    assert_eq!(Path::new("C:\\a").components().count(), 1);
}
