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
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "Name", extend("minLength" = 1, "maxLength" = NAME_CHARS_MAX, "pattern" = name_pattern()))
)]
pub struct FunctionName(String);

/// Name of an alias: not only digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend(
        "minLength" = 1,
        "maxLength" = ALIAS_CHARS_MAX,
        "pattern" = "^[0-9]*[A-Za-z_-][A-Za-z0-9_-]*$"
    ))
)]
pub struct AliasName(String);

/// What [`is_name`] takes of up to [`NAME_CHARS_MAX`] characters.
#[cfg(feature = "schema")]
pub(crate) fn name_pattern() -> String {
    format!("^[A-Za-z0-9_-]{{1,{NAME_CHARS_MAX}}}$")
}

pub(crate) fn is_name(text: &str, chars_max: usize) -> bool {
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

/// Name of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantName(String);

/// The tenant that is implied where none is named: so far all functions are of it.
const TENANT_DEFAULT: &str = "default";

impl TryFrom<String> for TenantName {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        if is_name(&text, NAME_CHARS_MAX) {
            Ok(Self(text))
        } else {
            Err(InvalidValue::Name(text))
        }
    }
}

impl Default for TenantName {
    fn default() -> Self {
        Self(TENANT_DEFAULT.into())
    }
}
text!(TenantName);

/// A function of a tenant: what all that an agent keeps is kept under.
///
/// Its text is unique, and stands in the registry, in the names of files, in records and in labels: the name alone for the
/// tenant `default`, `TENANT/NAME` for any other. What is read from a client is a name and no more, so that nobody names
/// another's function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionId {
    /// In one piece, so that a copy costs one allocation.
    text: String,
    /// Where the name begins in it.
    name_at: usize,
}

impl FunctionId {
    /// `name` of `tenant`.
    pub fn new(tenant: &TenantName, name: &FunctionName) -> Self {
        match tenant.as_ref() {
            TENANT_DEFAULT => name.clone().into(),
            tenant => Self {
                text: format!("{tenant}/{name}"),
                name_at: tenant.len() + 1,
            },
        }
    }

    /// Whose it is.
    pub fn tenant(&self) -> TenantName {
        match self.name_at.checked_sub(1) {
            None => TenantName::default(),
            Some(tenant_bytes) => TenantName(self.text[..tenant_bytes].into()),
        }
    }

    /// What its tenant calls it.
    pub fn name(&self) -> FunctionName {
        FunctionName(self.text[self.name_at..].into())
    }
}

impl From<FunctionName> for FunctionId {
    fn from(name: FunctionName) -> Self {
        Self {
            text: name.0,
            name_at: 0,
        }
    }
}

impl TryFrom<String> for FunctionId {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        FunctionName::try_from(text).map(Self::from)
    }
}

impl FromStr for FunctionId {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Self::try_from(text.to_owned())
    }
}

impl From<FunctionId> for String {
    fn from(id: FunctionId) -> Self {
        id.text
    }
}

impl AsRef<str> for FunctionId {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Number of a version: 1 for the first that is published of a function, and one more for each after it. Never
/// given twice, not even after a deletion of the version. The live version has the next one before it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("maximum" = u64::MAX))
)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_tenant_is_implied_and_no_other_can_be_written() {
        let name: FunctionName = "hello".parse().expect("a name");
        let id = FunctionId::new(&TenantName::default(), &name);
        assert_eq!("hello".parse(), Ok(id.clone()));
        assert_eq!(
            (id.tenant(), id.name()),
            (TenantName::default(), name.clone())
        );
        assert_eq!(serde_json::to_string(&id).expect("JSON"), "\"hello\"");
        let tenant: TenantName = "acme".parse().expect("a name");
        let other = FunctionId::new(&tenant, &name);
        assert_eq!(other.to_string(), "acme/hello");
        assert_eq!((other.tenant(), other.name()), (tenant, name));
        assert_ne!(other, id);
        for text in ["acme/hello", "default/hello", "/hello", "hello/", ""] {
            assert!(text.parse::<FunctionId>().is_err(), "{text}");
            assert!(
                serde_json::from_value::<FunctionId>(text.into()).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_qualifier_is_spelled_as_each_api_has_it() {
        let alias = |text: &str| Qualifier::Alias(text.parse().expect("an alias"));
        let first = Qualifier::Version(VersionNumber::FIRST);
        for (text, native, lambda) in [
            ("live", Qualifier::Live, alias("live")),
            ("$LATEST", Qualifier::Live, Qualifier::Live),
            ("1", first.clone(), first),
            ("prod", alias("prod"), alias("prod")),
        ] {
            assert_eq!(text.parse(), Ok(native), "{text}");
            assert_eq!(Qualifier::of_lambda(text), Ok(lambda), "{text}");
        }
        assert_eq!("".parse::<Qualifier>(), Err(InvalidValue::Qualifier));
        assert_eq!(Qualifier::of_lambda(""), Ok(Qualifier::Live));
        for text in ["0", "a/b", "-1 "] {
            assert!(text.parse::<Qualifier>().is_err(), "{text}");
        }
    }
}
