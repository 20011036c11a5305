//! What the agent knows of a function: names, versions, aliases, settings.
//!
//! Values are checked when they are made, so that everything behind the API can trust them.
//! Not here: where they are stored (`registry`), how they look in JSON for a client (`api`).

mod alias;
mod attached;
mod cors;
mod lambda_facts;

use std::{collections::BTreeMap, fmt, num::NonZeroU64, str::FromStr};

use jiffy_abi::layout::{RAM_BYTES_DEFAULT, RAM_BYTES_MAX, RAM_BYTES_MIN, RAM_BYTES_STEP};
pub use jiffy_control::{ENVIRONMENT_BYTES_MAX, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX};
use jiffy_control::{EnvironmentError, environment_page};
use jiffy_model::{EndsRequest, Outcome};
use jiffy_snapshots::Digest;
use serde::{Deserialize, Serialize};

pub(crate) use self::cors::ANY;
pub use self::{
    alias::{Alias, AliasTarget},
    attached::{Attached, FunctionUrl, Ready, TAGS_MAX, UrlAuth},
    cors::Cors,
    lambda_facts::{LambdaFacts, ZipFacts},
};

/// Characters of a function's name at most, as in Lambda's API.
pub const NAME_CHARS_MAX: usize = 64;
/// Characters of an alias's name at most, as in Lambda's API.
pub const ALIAS_CHARS_MAX: usize = 128;
/// Instances of one function at most.
pub const CONCURRENCY_MAX: u32 = 10_000;
/// Instances of one function unless its author says otherwise.
pub const CONCURRENCY_DEFAULT: u32 = 10;
/// Characters of a description at most.
pub const DESCRIPTION_CHARS_MAX: usize = 256;
/// Versions that an alias spreads its requests over at most.
pub const ALIAS_TARGETS_MAX: usize = 2;

/// What the live version is called where a number or an alias could stand.
const LIVE: &str = "live";

/// Why a value of a client is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum InvalidValue {
    #[error("{0:?} is no name: use 1 to {NAME_CHARS_MAX} letters, digits, hyphens and underscores")]
    Name(String),
    #[error(
        "{0:?} is not the name of an alias: use 1 to {ALIAS_CHARS_MAX} letters, digits, hyphens and underscores, not only digits"
    )]
    Alias(String),
    #[error("an alias cannot be called {LIVE}: the live version is")]
    AliasLive,
    #[error("{0:?} is no version: use a number from 1")]
    Version(String),
    #[error(
        "invalid memory {0} bytes: must be {RAM_BYTES_MIN} to {RAM_BYTES_MAX}, in steps of {RAM_BYTES_STEP}"
    )]
    Ram(u64),
    #[error("invalid timeout {0} ms: must be 1 to {TIMEOUT_MS_MAX}")]
    Timeout(u64),
    #[error("invalid concurrency {0}: must be 1 to {CONCURRENCY_MAX}")]
    Concurrency(u32),
    #[error(
        "{ready} instances cannot be kept ready of at most {concurrency}: use a smaller number"
    )]
    MinReady { ready: u32, concurrency: u32 },
    #[error("the value of {0} is what stands for one that is not shown: give its real value")]
    HiddenValue(String),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error("the description has {0} characters: use at most {DESCRIPTION_CHARS_MAX}")]
    Description(usize),
    #[error("an alias spreads its requests over at most {ALIAS_TARGETS_MAX} versions")]
    AliasTargets,
    #[error("invalid weight {0} per mille: must be 0 to 1000")]
    Weight(u16),
    #[error("an alias of the live version leads to nothing else: publish the version first")]
    LiveShared,
    #[error("the tag {0:?} is too long: must be 1 to 128 characters with a value of at most 256")]
    Tag(String),
    #[error("a function would have {0} tags: must be at most {TAGS_MAX}")]
    Tags(usize),
    #[error("VMs are kept ready for a published version, or for an alias of one")]
    ReadyLive,
}

impl EndsRequest for InvalidValue {
    fn outcome(&self) -> Outcome {
        Outcome::InvalidRequest
    }
}

/// What is shown in place of the value of an environment variable where that is not shown.
pub const HIDDEN_VALUE: &str = "(hidden: the agent has no token)";

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
                f.write_str(&self.0)
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

impl FromStr for Qualifier {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "" | "$LATEST" | LIVE => Ok(Self::Live),
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().map(Self::Version)
            }
            alias => alias.parse().map(Self::Alias),
        }
    }
}

/// Whether a request finds what those before it left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Every request finds the VM as the snapshot has it.
    #[default]
    Fresh,
    /// A request finds what those before it left.
    Reuse,
}

impl From<Isolation> for jiffy_control::Isolation {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Fresh => Self::Fresh,
            Isolation::Reuse => Self::Reuse,
        }
    }
}

/// What an author says of a function. Part of a version: it never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// RAM of a VM, bytes.
    pub memory_bytes: u64,
    /// What `init` and each request may take, milliseconds.
    pub timeout_ms: u64,
    /// Whether a VM is reset between two requests.
    pub isolation: Isolation,
    /// VMs at most.
    pub max_concurrency: u32,
    /// VMs that are kept ready although nobody asks.
    pub min_ready: u32,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// For people.
    pub description: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_bytes: RAM_BYTES_DEFAULT,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            isolation: Isolation::Fresh,
            max_concurrency: CONCURRENCY_DEFAULT,
            min_ready: 0,
            environment: BTreeMap::new(),
            description: String::new(),
        }
    }
}

impl Settings {
    /// Checks every value.
    pub fn check(&self) -> Result<(), InvalidValue> {
        let ram_bytes = self.memory_bytes;
        if !(RAM_BYTES_MIN..=RAM_BYTES_MAX).contains(&ram_bytes)
            || !ram_bytes.is_multiple_of(RAM_BYTES_STEP)
        {
            return Err(InvalidValue::Ram(ram_bytes));
        }
        if !(1..=TIMEOUT_MS_MAX).contains(&self.timeout_ms) {
            return Err(InvalidValue::Timeout(self.timeout_ms));
        }
        if !(1..=CONCURRENCY_MAX).contains(&self.max_concurrency) {
            return Err(InvalidValue::Concurrency(self.max_concurrency));
        }
        if self.min_ready > self.max_concurrency {
            return Err(InvalidValue::MinReady {
                ready: self.min_ready,
                concurrency: self.max_concurrency,
            });
        }
        let description_chars = self.description.chars().count();
        if description_chars > DESCRIPTION_CHARS_MAX {
            return Err(InvalidValue::Description(description_chars));
        }
        // Who writes back what was shown to them would lose what is hidden.
        let hidden = self
            .environment
            .iter()
            .find(|(_, value)| *value == HIDDEN_VALUE);
        if let Some((name, _)) = hidden {
            return Err(InvalidValue::HiddenValue(name.clone()));
        }
        environment_page(&self.environment)?;
        Ok(())
    }

    /// The same without the values of environment variables, which may be secrets.
    #[must_use]
    pub fn without_values(mut self) -> Self {
        for value in self.environment.values_mut() {
            HIDDEN_VALUE.clone_into(value);
        }
        self
    }
}

/// A version of a function. Once it is published it is immutable but for its snapshot, which follows the host; until
/// then it is the live one, has the number that it will get, and is replaced by every change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number.
    pub number: VersionNumber,
    /// Whether it has its number for good. All versions of earlier releases have.
    #[serde(default = "yes")]
    pub published: bool,
    /// What was said of it when it was published, in place of the description in `settings`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// SHA-256 of the image.
    pub image: Digest,
    /// Size of the image, bytes.
    pub image_bytes: u64,
    /// Whether its handler takes HTTP requests. Images of before do not say so.
    #[serde(default)]
    pub takes_http: bool,
    /// What the author said.
    pub settings: Settings,
    /// What only Lambda's API knows of it.
    #[serde(default)]
    pub lambda: LambdaFacts,
    /// SHA-256 of the snapshot's state.
    pub snapshot: Digest,
    /// What the snapshot was made with; on any other it is made again. See `service::HostIdentity`.
    pub snapshot_host: String,
    /// When it was deployed, milliseconds since 1970.
    pub created_ms: u64,
}

impl Version {
    /// What people are told of it.
    pub fn description(&self) -> &str {
        self.description
            .as_ref()
            .unwrap_or(&self.settings.description)
    }
}

const fn yes() -> bool {
    true
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: FunctionName,
    /// The version that requests without a qualifier go to: a published one, or `next`, which is not published yet.
    pub live: VersionNumber,
    /// The number that the next version to be published gets.
    pub next: VersionNumber,
    /// How often what is live has changed.
    #[serde(default)]
    pub changes: u64,
    /// Aliases.
    pub aliases: BTreeMap<AliasName, Alias>,
    /// What belongs to it apart from its versions.
    #[serde(default)]
    pub attached: Attached,
    /// A limit of VMs over all versions, set apart from deploys.
    pub reserved_concurrency: Option<u32>,
    /// When it was deployed first, milliseconds since 1970.
    pub created_ms: u64,
    /// When it was changed last, milliseconds since 1970.
    pub updated_ms: u64,
}
