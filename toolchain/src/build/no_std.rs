//! Whether a crate does without `std`: what its root file says, as the compiler would read it for an image.

use std::collections::BTreeSet;

use syn::{
    Attribute, Expr, Lit, Meta, Token,
    parse::{ParseStream, Parser},
    punctuated::Punctuated,
};

type Metas = Punctuated<Meta, Token![,]>;

/// Whether the source of a crate's root has `#![no_std]`, or gets it by a `cfg_attr` in an image that is built with
/// `features`. Nothing but what the file begins with is read, so that it may be of any Rust; what is none has it not.
pub(super) fn is_no_std(source: &str, features: &BTreeSet<String>) -> bool {
    let beginning = |input: ParseStream<'_>| {
        let attributes = input.call(Attribute::parse_inner)?;
        while !input.is_empty() {
            input.step(|cursor| {
                let rest = cursor.token_tree().map(|(_, rest)| ((), rest));
                rest.ok_or_else(|| cursor.error("the end"))
            })?;
        }
        Ok(attributes)
    };
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let attributes = beginning.parse_str(source).unwrap_or_default();
    attributes
        .iter()
        .any(|attribute| meta_says_so(&attribute.meta, features))
}

fn meta_says_so(meta: &Meta, features: &BTreeSet<String>) -> bool {
    match meta {
        Meta::Path(path) => path.is_ident("no_std"),
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            let parts = list.parse_args_with(Metas::parse_terminated);
            let parts: Vec<Meta> = parts.map_or(vec![], |parts| parts.into_iter().collect());
            parts.split_first().is_some_and(|(predicate, attributes)| {
                holds(predicate, features)
                    && attributes.iter().any(|meta| meta_says_so(meta, features))
            })
        }
        _ => false,
    }
}

/// Whether a predicate of `cfg` holds in an image. What is not known does not.
fn holds(predicate: &Meta, features: &BTreeSet<String>) -> bool {
    match predicate {
        Meta::Path(path) => path.is_ident("jiffy_guest") || path.is_ident("unix"),
        Meta::List(list) => {
            let Ok(parts) = list.parse_args_with(Metas::parse_terminated) else {
                return false;
            };
            let mut parts = parts.iter().map(|part| holds(part, features));
            if list.path.is_ident("not") {
                !parts.all(|holds| holds)
            } else if list.path.is_ident("any") {
                parts.any(|holds| holds)
            } else {
                list.path.is_ident("all") && parts.all(|holds| holds)
            }
        }
        Meta::NameValue(pair) => {
            let Expr::Lit(literal) = &pair.value else {
                return false;
            };
            let Lit::Str(value) = &literal.lit else {
                return false;
            };
            let value = value.value();
            if pair.path.is_ident("feature") {
                return features.contains(&value);
            }
            const TARGET: [(&str, &str); 7] = [
                ("panic", "abort"),
                ("target_arch", "x86_64"),
                ("target_endian", "little"),
                ("target_env", "gnu"),
                ("target_family", "unix"),
                ("target_os", "linux"),
                ("target_pointer_width", "64"),
            ];
            TARGET
                .iter()
                .any(|(name, of_target)| pair.path.is_ident(name) && value == *of_target)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_compiler_would_find() {
        let features = BTreeSet::from(["small".to_owned()]);
        for (source, expected) in [
            ("", false),
            ("pub fn f() {}", false),
            ("#![no_std]", true),
            (
                "//! Docs.\n#![allow(unused)]\n#![no_std]\nextern crate alloc;",
                true,
            ),
            ("// #![no_std]\n", false),
            ("const A: &str = \"#![no_std]\";", false),
            ("#![cfg_attr(not(test), no_std)]", true),
            ("#![cfg_attr(test, no_std)]", false),
            ("#![cfg_attr(not(feature = \"std\"), no_std)]", true),
            ("#![cfg_attr(not(feature = \"small\"), no_std)]", false),
            ("#![cfg_attr(feature = \"small\", no_std)]", true),
            ("#![cfg_attr(jiffy_guest, allow(unused), no_std)]", true),
            (
                "#![cfg_attr(all(not(test), any(jiffy_guest, windows)), no_std)]",
                true,
            ),
            ("#![cfg_attr(target_os = \"none\", no_std)]", false),
            ("#![cfg_attr(target_os = \"linux\", no_std)]", true),
            ("#![cfg_attr(not(test), cfg_attr(unix, no_std))]", true),
            ("#![cfg_attr()]", false),
            ("mod a { #![no_std] }", false),
            ("this is not Rust", false),
            ("#![no_std] syntax of a Rust to come", true),
            ("\u{feff}#![no_std]", true),
            ("#![no_std] \"", false),
        ] {
            assert_eq!(is_no_std(source, &features), expected, "{source}");
        }
    }
}
