//! `env`. Each test has variables of its own: on the host they share a process.

use std::{env, ffi::OsString};

tests! {
    set_and_remove vars_has_what_was_set not_unicode empty_values bad_names_are_not_found paths_are_split_and_joined
    current_dir_is_absolute args_has_a_name temp_dir consts overwritten values_with_equals home_or_none
}

/// # Safety of all that follows
///
/// In a VM threads take turns; on the host, no other test reads the environment by C.
fn set(name: &str, value: impl AsRef<std::ffi::OsStr>) {
    // SAFETY: as above.
    unsafe { env::set_var(name, value) };
}

fn remove(name: &str) {
    // SAFETY: as in `set`.
    unsafe { env::remove_var(name) };
}

fn set_and_remove() {
    assert_eq!(env::var("SUITE_ONE"), Err(env::VarError::NotPresent));
    set("SUITE_ONE", "1");
    assert_eq!(env::var("SUITE_ONE").as_deref(), Ok("1"));
    remove("SUITE_ONE");
    assert_eq!(
        (env::var_os("SUITE_ONE"), env::var("SUITE_ONE").is_err()),
        (None, true)
    );
    remove("SUITE_ONE");
}

fn overwritten() {
    for value in ["a", "a longer value than before", "b"] {
        set("SUITE_TWO", value);
        assert_eq!(env::var("SUITE_TWO").as_deref(), Ok(value));
    }
    assert_eq!(
        env::vars().filter(|(name, _)| name == "SUITE_TWO").count(),
        1
    );
    remove("SUITE_TWO");
}

fn vars_has_what_was_set() {
    set("SUITE_THREE", "value");
    assert!(env::vars().any(|(name, value)| name == "SUITE_THREE" && value == "value"));
    let os = env::vars_os().find(|(name, _)| name == "SUITE_THREE");
    assert_eq!(os, Some(("SUITE_THREE".into(), "value".into())));
    remove("SUITE_THREE");
    assert!(!env::vars_os().any(|(name, _)| name == "SUITE_THREE"));
}

fn not_unicode() {
    use std::os::unix::ffi::OsStringExt as _;
    let bad = OsString::from_vec(b"a\xff".to_vec());
    set("SUITE_FOUR", &bad);
    assert_eq!(
        env::var("SUITE_FOUR"),
        Err(env::VarError::NotUnicode(bad.clone()))
    );
    assert_eq!(env::var_os("SUITE_FOUR"), Some(bad));
    remove("SUITE_FOUR");
}

fn empty_values() {
    set("SUITE_FIVE", "");
    assert_eq!(env::var("SUITE_FIVE").as_deref(), Ok(""));
    remove("SUITE_FIVE");
}

fn values_with_equals() {
    set("SUITE_SIX", "a=b=c");
    assert_eq!(env::var("SUITE_SIX").as_deref(), Ok("a=b=c"));
    assert!(env::vars().any(|(name, value)| name == "SUITE_SIX" && value == "a=b=c"));
    remove("SUITE_SIX");
}

fn bad_names_are_not_found() {
    assert!(env::var("").is_err() && env::var("A=B").is_err() && env::var("A\0B").is_err());
}

fn paths_are_split_and_joined() {
    let paths: Vec<_> = env::split_paths("/a:/b::c").collect();
    assert_eq!(paths, ["/a", "/b", "", "c"].map(std::path::PathBuf::from));
    assert_eq!(env::join_paths(["/a", "b"]).ok(), Some("/a:b".into()));
    assert!(env::join_paths(["a:b"]).is_err());
}

fn current_dir_is_absolute() {
    assert!(env::current_dir().expect("one").is_absolute());
}

fn args_has_a_name() {
    assert!(env::args().len() >= 1 && env::args_os().next().is_some());
    let (mut one, mut other) = (env::args(), env::args());
    assert_eq!(one.next(), other.next());
}

fn temp_dir() {
    assert!(env::temp_dir().is_absolute());
}

fn consts() {
    assert_eq!(
        (
            env::consts::OS,
            env::consts::ARCH,
            env::consts::FAMILY,
            env::consts::DLL_SUFFIX
        ),
        ("linux", "x86_64", "unix", ".so")
    );
}

fn home_or_none() {
    assert!(env::home_dir().is_none_or(|home| !home.as_os_str().is_empty()));
}
