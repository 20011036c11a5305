//! What the compiler says while an image is built: shown as it is, but for what an author would not understand, and noted as far as it
//! matters to what is told in the end.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::PathBuf,
};

use cargo_metadata::{CompilerMessage, Message};
use jiffy_console::stderr;

/// What the glue of `#[jiffy::function]` is called.
const GLUE: &str = "__jiffy_function";
/// What else that makes, and what `#[jiffy::init]` makes.
const GLUE_OF: [(&str, &str); 6] = [
    (GLUE, "function"),
    ("__JIFFY_NOTE_FLAGS", "function"),
    ("__jiffy_init", "init"),
    ("__jiffy_state", "init"),
    ("__jiffy_make_state", "init"),
    ("__JIFFY_STATE", "init"),
];
/// What a crate without `std` gets of `alloc`, if it asks for it.
const OF_ALLOC: [&str; 8] = [
    "`alloc`",
    "`format`",
    "`vec`",
    "`Box`",
    "`String`",
    "`ToOwned`",
    "`ToString`",
    "`Vec`",
];
/// Most symbols of an error that are told; the linker's own message has more.
const MISSING_MAX: usize = 16;

/// What was noted.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) program: Option<PathBuf>,
    pub(super) handler_is_missing: bool,
    /// Which attribute the crate has twice, and where the second one is.
    pub(super) twice: Option<(&'static str, String)>,
    /// Symbols that the linker did not find.
    pub(super) missing: BTreeSet<String>,
    /// Libraries that it did not find.
    pub(super) missing_libraries: BTreeSet<String>,
    /// There is a panic handler beside that of `std`.
    pub(super) std_is_twice: bool,
    /// What Rust calls the crate that brings `std`.
    pub(super) brings_std: Option<String>,
    /// The function's crate names what `alloc` has, and has not asked for it.
    pub(super) alloc_is_missing: bool,
}

/// Shows the compiler's messages and takes note of what matters here, for a wrapper and the function in it, as Rust calls that.
pub(super) fn listen(messages: impl io::BufRead, wrapper: &str, function: &str) -> Said {
    let mut said = Said::default();
    // Nothing but cargo writes there; a line that is not understood is nothing to fail for, and at
    // an error of the pipe cargo's exit status tells what happened.
    for message in Message::parse_stream(messages).map_while(Result::ok) {
        match message {
            Message::CompilerArtifact(artifact) if artifact.target.name == wrapper => {
                said.program = artifact.executable.map(Into::into);
            }
            Message::CompilerMessage(message) => {
                if said.note(&message, wrapper, function)
                    && let Some(rendered) = &message.message.rendered
                {
                    let _ = write!(stderr(), "{rendered}");
                }
            }
            _ => {}
        }
    }
    said
}

/// What the linker says that it did not find, by what it says before each name.
fn missing(message: &str, before: &str) -> BTreeSet<String> {
    let names = message.split(before).skip(1);
    let names = names.filter_map(|rest| rest.split_whitespace().next());
    names.map(String::from).take(MISSING_MAX).collect()
}

/// Which crate brings `std`, of a message that says that it is not alone.
fn brings_std(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("`std` (which `")?;
    let (name, _) = rest.split_once("` depends on)")?;
    Some(name.into())
}

impl Said {
    /// Whether the message is to be shown.
    fn note(&mut self, message: &CompilerMessage, wrapper: &str, function: &str) -> bool {
        let diagnostic = &message.message;
        let text = &*diagnostic.message;
        let rendered = diagnostic.rendered.as_deref().unwrap_or_default();
        let code = diagnostic.code.as_ref().map(|code| &*code.code);
        // Its author never saw the wrapper crate, so its errors are told in other words.
        if message.target.name == wrapper {
            self.handler_is_missing |= text.contains(GLUE);
            if self.handler_is_missing {
                return false;
            }
            self.missing.extend(missing(rendered, "undefined symbol: "));
            self.missing_libraries
                .extend(missing(rendered, "unable to find library -l"));
        }
        if message.target.name.replace('-', "_") == function {
            let glue = GLUE_OF.iter().find(|(name, _)| text.contains(name));
            if let (Some("E0428"), Some((_, attribute))) = (code, glue) {
                let mut spans = diagnostic.spans.iter();
                let place = spans.find(|span| span.is_primary);
                let place = place.map(|span| format!("{}:{}", span.file_name, span.line_start));
                self.twice
                    .get_or_insert((attribute, place.unwrap_or_default()));
                return false;
            }
            let is_unknown = ["cannot find ", "failed to resolve", "use of un"];
            let is_unknown = is_unknown.iter().any(|begin| text.starts_with(begin));
            self.alloc_is_missing |= is_unknown && OF_ALLOC.iter().any(|name| text.contains(name));
        }
        if code == Some("E0152") && text.contains("panic_impl") {
            self.std_is_twice = true;
            self.brings_std = self.brings_std.take().or_else(|| brings_std(rendered));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(target: &str, code: Option<&str>, text: &str) -> String {
        let target = serde_json::json!({
            "kind": ["bin"], "crate_types": ["bin"], "name": target, "src_path": "/main.rs",
        });
        let span = serde_json::json!({
            "file_name": "src/lib.rs", "byte_start": 0, "byte_end": 1, "line_start": 6, "line_end": 6, "column_start": 1,
            "column_end": 2, "is_primary": true, "text": [], "label": null, "suggested_replacement": null, "expansion": null,
        });
        let code = code.map(|code| serde_json::json!({ "code": code, "explanation": null }));
        let diagnostic = serde_json::json!({
            "message": text, "code": code, "level": "error", "spans": [span], "children": [],
            "rendered": text,
        });
        let message = serde_json::json!({
            "reason": "compiler-message", "package_id": "x", "target": target,
            "message": diagnostic,
        });
        format!("{message}\n")
    }

    fn check(target: &str, code: Option<&str>, text: &str) -> Said {
        let message = message(target, code, text);
        listen(message.as_bytes(), "hello-you-image", "hello_you")
    }

    #[test]
    fn symbols_that_are_missing_are_named() {
        let message = "rust-lld: error: undefined symbol: forkpty\n>>> referenced by x.rs:1\n\
                       rust-lld: error: undefined symbol: crypt\n\nrust-lld: error: undefined symbol: forkpty";
        assert_eq!(
            missing(message, "undefined symbol: "),
            BTreeSet::from(["crypt".into(), "forkpty".into()])
        );
        assert!(missing("linking failed", "undefined symbol: ").is_empty());
        let message = "rust-lld: error: unable to find library -lstdc++\nrust-lld: error: unable to find library -lssl\n";
        assert_eq!(
            missing(message, "unable to find library -l"),
            BTreeSet::from(["ssl".into(), "stdc++".into()])
        );
    }

    #[test]
    fn a_missing_handler_is_told_from_other_errors() {
        let missing = "cannot find function `__jiffy_function` in crate `hello_you`";
        assert!(check("hello-you-image", None, missing).handler_is_missing);
        assert!(!check("hello-you", None, missing).handler_is_missing);
        assert!(!check("hello-you-image", None, "linking failed").handler_is_missing);
    }

    #[test]
    fn an_attribute_that_is_there_twice_is_told_with_its_line() {
        let twice = |name: &str| format!("the name `{name}` is defined multiple times");
        for (name, attribute) in GLUE_OF {
            let said = check("hello-you", Some("E0428"), &twice(name));
            assert_eq!(said.twice, Some((attribute, "src/lib.rs:6".into())));
        }
        for (target, code, name) in [
            ("hello-you", "E0428", "handler"),
            ("hello-you", "E0255", GLUE),
            ("other", "E0428", GLUE),
        ] {
            assert_eq!(check(target, Some(code), &twice(name)).twice, None);
        }
    }

    #[test]
    fn what_alloc_has_is_missed_in_the_functions_crate_alone() {
        for (target, text, expected) in [
            ("hello-you", "cannot find macro `vec` in this scope", true),
            ("hello-you", "cannot find type `String` in this scope", true),
            ("hello-you", "use of undeclared type `Vec`", true),
            (
                "hello_you",
                "failed to resolve: use of unresolved module or unlinked crate `alloc`",
                true,
            ),
            (
                "hello-you",
                "cannot find type `Vector` in this scope",
                false,
            ),
            ("hello-you", "mismatched types: expected `String`", false),
            ("other", "cannot find macro `vec` in this scope", false),
        ] {
            assert_eq!(
                check(target, None, text).alloc_is_missing,
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn who_brings_std_is_noted() {
        let text = "duplicate lang item in crate `std` (which `low` depends on): `panic_impl`";
        let said = check("hello-you", Some("E0152"), text);
        assert!(said.std_is_twice);
        assert_eq!(said.brings_std.as_deref(), Some("low"));
        let said = check("hello-you", Some("E0152"), "duplicate `panic_impl`");
        assert!(said.std_is_twice && said.brings_std.is_none());
        let other = "duplicate lang item in crate `std` (which `low` depends on): `sized`";
        assert!(!check("hello-you", Some("E0152"), other).std_is_twice);
    }
}
