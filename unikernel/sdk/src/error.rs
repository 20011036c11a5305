//! An author's errors as callers see them: the name of the type, and the text.

use alloc::string::{String, ToString};
use core::fmt::Display;

/// The text of an error.
pub fn error_text<E: Display + ?Sized>(error: &E) -> String {
    error.to_string()
}

/// The name of an error's type: the last segment of its path, without generic arguments.
pub(crate) fn error_type<E: ?Sized>() -> &'static str {
    let path = core::any::type_name::<E>();
    let path = path.split_once('<').map_or(path, |(path, _)| path);
    path.rsplit_once("::").map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{borrow::Cow, boxed::Box};

    #[test]
    fn types_are_named_without_path_and_arguments() {
        assert_eq!(error_type::<core::num::ParseIntError>(), "ParseIntError");
        assert_eq!(error_type::<Box<dyn core::error::Error>>(), "Box");
        assert_eq!(error_type::<Cow<'static, str>>(), "Cow");
        assert_eq!(error_type::<&'static str>(), "&str");
    }
}
