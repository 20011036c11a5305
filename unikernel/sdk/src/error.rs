//! An author's errors as callers see them: the name of the type, and the text.

use alloc::{
    format,
    string::{String, ToString},
};
use core::fmt::{self, Display};

/// An error of any kind, for handlers and `init`s in which several may occur: `?` makes it of every
/// [`core::error::Error`], and [`Error::msg`] of a text. The caller gets the text, with its causes, and the name of the
/// type that it was made of.
///
/// ```
/// #[jiffy::function]
/// pub fn half(event: String) -> Result<u32, jiffy::Error> {
///     let number: u32 = event.parse()?;
///     if number % 2 == 1 {
///         return Err(jiffy::Error::msg(format_args!("{number} is odd")));
///     }
///     Ok(number / 2)
/// }
///
/// # fn main() {
/// let error = jiffy::testing::call!().event(r#""x""#).run().error();
/// assert_eq!((&*error.error_type, &*error.message), ("ParseIntError", "invalid digit found in string"));
/// let error = jiffy::testing::call!().event(r#""7""#).run().error();
/// assert_eq!((&*error.error_type, &*error.message), ("Error", "7 is odd"));
/// # }
/// ```
///
/// It is no [`core::error::Error`] itself, or there could not be a conversion from all of these.
pub struct Error {
    error_type: &'static str,
    message: String,
}

impl Error {
    /// An error with this text and the type `Error`.
    pub fn msg(message: impl Display) -> Self {
        Self::new("Error", message)
    }

    /// An error with this text, and a type for callers to tell it by.
    pub fn new(error_type: &'static str, message: impl Display) -> Self {
        Self {
            error_type,
            message: message.to_string(),
        }
    }

    /// The name that callers get of its type.
    pub fn error_type(&self) -> &str {
        self.error_type
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

impl<E: core::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors say what their causes say.
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Self {
            error_type: error_type::<E>(),
            message,
        }
    }
}

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
    fn an_error_says_its_causes_once() {
        #[derive(Debug)]
        struct Outer(&'static str, Option<core::num::ParseIntError>);

        impl Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }

        impl core::error::Error for Outer {
            fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
                self.1.as_ref().map(|error| error as _)
            }
        }

        let cause = || "x".parse::<u8>().err();
        let check = |text, cause, expected: &str| {
            let error = Error::from(Outer(text, cause));
            assert_eq!(
                (error.error_type(), error.to_string().as_str()),
                ("Outer", expected)
            );
        };
        check("no number", None, "no number");
        check(
            "no number",
            cause(),
            "no number: invalid digit found in string",
        );
        let whole = "no number: invalid digit found in string";
        check(whole, cause(), whole);
        let named = Error::new("Mine", 7);
        assert_eq!(alloc::format!("{named:?}"), "Mine: 7");
    }

    #[test]
    fn types_are_named_without_path_and_arguments() {
        assert_eq!(error_type::<core::num::ParseIntError>(), "ParseIntError");
        assert_eq!(error_type::<Box<dyn core::error::Error>>(), "Box");
        assert_eq!(error_type::<Cow<'static, str>>(), "Cow");
        assert_eq!(error_type::<&'static str>(), "&str");
    }
}
