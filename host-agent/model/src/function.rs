//! What functions, their versions and aliases are called, and which of them somebody means.
//!
//! Names are checked when they are made, so that everything behind can trust them.

use std::{fmt, num::NonZeroU64, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::InvalidValue;

/// Characters of a function's name at most, as in Lambda's API.
pub const NAME_CHARS_MAX: usize = 64;
/// Characters of an alias's name at most, as in Lambda's API.
pub const ALIAS_CHARS_MAX: usize = 128;

/// What the live version is called where a number or an alias could stand.
pub(crate) const LIVE: &str = "live";
/// The same in Lambda's API.
pub const LATEST: &str = "$LATEST";

/// Name of a function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName(String);

/// Name of an alias.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AliasName(String);

fn is_name(text: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl TryFrom<String> for FunctionName {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        if is_name(&text, NAME_CHARS_MAX) {
            Ok(Self(text))
        } else {
            Err(InvalidValue::Name(text))
        }
    }
}

impl TryFrom<String> for AliasName {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        if is_name(&text, ALIAS_CHARS_MAX) && !text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text))
        } else {
            Err(InvalidValue::Alias(text))
        }
    }
}

impl AliasName {
    /// Refuses the word that means the live version wherever API v1 takes a qualifier.
    pub fn check_not_live(&self) -> Result<(), InvalidValue> {
        match self.0.as_str() {
            LIVE => Err(InvalidValue::AliasLive),
            _ => Ok(()),
        }
    }
}

macro_rules! text {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}
text!(FunctionName);
text!(AliasName);

/// Number of a version: 1 for the first that is published of a function, and one more for each after it. Never
/// given twice, not even after a deletion of the version. The live version has the next one before it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionNumber(pub NonZeroU64);

impl VersionNumber {
    /// The first.
    pub const FIRST: Self = Self(NonZeroU64::MIN);
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VersionNumber {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        text.parse()
            .map(Self)
            .map_err(|_| InvalidValue::Version(text.into()))
    }
}

/// Which version of a function is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Qualifier {
    /// The live one. In Lambda's API: none, or `$LATEST`.
    #[default]
    Live,
    /// This one.
    Version(VersionNumber),
    /// Whichever the alias leads to.
    Alias(AliasName),
}

impl Qualifier {
    /// As Lambda's API spells it: nothing or `$LATEST` is the live version, and an alias may be called `live`.
    pub fn of_lambda(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "" | LATEST => Ok(Self::Live),
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().map(Self::Version)
            }
            alias => alias.parse().map(Self::Alias),
        }
    }
}

/// As the native API and the command line spell it: a number, an alias, `live` or `$LATEST`.
impl FromStr for Qualifier {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "" => Err(InvalidValue::Qualifier),
            LIVE => Ok(Self::Live),
            text => Self::of_lambda(text),
        }
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => f.write_str(LIVE),
            Self::Version(number) => number.fmt(f),
            Self::Alias(alias) => alias.fmt(f),
        }
    }
}
