//! What an author says of a function, told once: the list below. [`Settings`] is all of it, [`SomeSettings`] what somebody
//! says of some of it, and [`SettingsChanges`] how two differ.
//!
//! Not here: how a setting is written on a command line or in `jiffy.toml` (`toolchain`), and what it does.

use std::collections::BTreeMap;

use jiffy_abi::layout::{RAM_BYTES_DEFAULT, RAM_BYTES_MAX, RAM_BYTES_MIN, RAM_BYTES_STEP};
use jiffy_snapshots::Digest;
use serde::{Deserialize, Serialize};

use crate::{Grants, InvalidValue, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX, environment_page};

/// Instances of one function at most.
pub const CONCURRENCY_MAX: u32 = 10_000;
/// Instances of one function unless its author says otherwise.
pub const CONCURRENCY_DEFAULT: u32 = 10;
/// Characters of a description at most.
pub const DESCRIPTION_CHARS_MAX: usize = 256;
/// What is shown in place of the value of an environment variable where that is not shown.
pub const HIDDEN_VALUE: &str = "(hidden: the agent has no token)";

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;
/// Changes of single variables: a text sets one, `None` removes it.
pub type EnvironmentChanges = BTreeMap<String, Option<String>>;

/// Whether a request finds what those before it left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Nothing: the VM goes back to its snapshot after every request.
    #[default]
    Fresh,
    /// All they left.
    Reuse,
}

impl std::fmt::Display for Isolation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Fresh => "fresh",
            Self::Reuse => "reuse",
        })
    }
}

macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $default:expr $(, schema($($schema:tt)*))?;)*) => {
        /// What an author says of a function. Part of a version: it never changes.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub struct Settings {
            $($(#[$doc])* $(#[cfg_attr(feature = "schema", schemars($($schema)*))])?
            pub $field: $type,)*
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        /// What somebody says of some of the settings.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct SomeSettings {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }

        impl SomeSettings {
            /// What this says, and `other` where this says nothing.
            #[must_use]
            pub fn over(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field),)* }
            }

            /// The settings that come of it, not checked: `base` where this says nothing.
            pub fn or(self, base: Settings) -> Settings {
                Settings { $($field: self.$field.unwrap_or(base.$field),)* }
            }
        }

        /// What a client deploys: an image, and what is to change in the settings. What is left out stays as the live version
        /// has it; a new function, or `reset`, begins with the defaults.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub struct Deploy {
            /// SHA-256 of an image that was uploaded.
            pub image: Digest,
            /// Begin with the defaults and not with what the live version has.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            #[cfg_attr(feature = "schema", schemars(!skip_serializing_if))]
            pub reset: bool,
            /// Whether the version gets its number for good, as it does unless this is `false`. If not, it is live until the next
            /// change replaces it.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub publish: Option<bool>,
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")]
            $(#[cfg_attr(feature = "schema", schemars($($schema)*))])?
            pub $field: Option<$type>,)*
            /// Some environment variables, over what `environment` or the live version says: a text sets one, `null` removes it.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "schema", schemars(extend(
                "propertyNames" = { "pattern": VARIABLE_NAME },
                "additionalProperties" = { "type": ["string", "null"], "pattern": VARIABLE_VALUE }
            )))]
            pub environment_changes: Option<EnvironmentChanges>,
        }

        impl Deploy {
            /// An image with these settings.
            pub fn new(image: Digest, settings: SomeSettings) -> Self {
                Self {
                    image,
                    reset: false,
                    publish: None,
                    $($field: settings.$field,)*
                    environment_changes: None,
                }
            }

            /// The settings that come of it, not checked.
            pub fn over(self, live: Option<&Settings>) -> Settings {
                let base = live.filter(|_| !self.reset).cloned().unwrap_or_default();
                let settings = SomeSettings { $($field: self.$field,)* };
                let mut settings = settings.or(base);
                let changes = self.environment_changes.unwrap_or_default();
                change_environment(&mut settings.environment, changes);
                settings
            }
        }

        /// How a deploy changed a function's settings; what it did not change is left out.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Changes"))]
        pub struct SettingsChanges {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")]
            pub $field: Option<<$type as Setting>::Change>,)*
        }

        impl SettingsChanges {
            /// What is different in `to`.
            pub fn between(from: &Settings, to: &Settings) -> Self {
                Self { $($field: from.$field.change_to(&to.$field),)* }
            }
        }
    };
}

// `schema(…)` is what `openapi.json` says of the values that `check` takes.
settings! {
    /// RAM of a VM, bytes.
    memory_bytes: u64 = RAM_BYTES_DEFAULT,
        schema(range(min = RAM_BYTES_MIN, max = RAM_BYTES_MAX), extend("multipleOf" = RAM_BYTES_STEP));
    /// What `init` and each request may take, milliseconds.
    timeout_ms: u64 = TIMEOUT_MS_DEFAULT, schema(range(min = 1, max = TIMEOUT_MS_MAX));
    /// Whether a VM is reset between two requests.
    isolation: Isolation = Isolation::Fresh;
    /// VMs at most.
    max_concurrency: u32 = CONCURRENCY_DEFAULT, schema(range(min = 1, max = CONCURRENCY_MAX));
    /// VMs that are kept ready although nobody asks; not more than `max_concurrency`.
    min_ready: u32 = 0, schema(range(max = CONCURRENCY_MAX));
    /// Environment variables.
    environment: Environment = Environment::new(),
        schema(
            description = environment_rule(),
            extend(
                "propertyNames" = { "pattern": VARIABLE_NAME },
                "additionalProperties" = { "type": "string", "pattern": VARIABLE_VALUE }
            )
        );
    /// For people.
    description: String = String::new(), schema(length(max = DESCRIPTION_CHARS_MAX));
    /// All that the function may ask its host for.
    grants: Grants = Grants::default();
}

#[cfg(feature = "schema")]
const VARIABLE_NAME: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
#[cfg(feature = "schema")]
const VARIABLE_VALUE: &str = r"^[^\x00]*$";

#[cfg(feature = "schema")]
fn environment_rule() -> String {
    use crate::{ENVIRONMENT_BYTES_MAX, ENVIRONMENT_COST_BYTES_MAX, VARIABLE_COST_BYTES};
    format!(
        "All environment variables: at most {ENVIRONMENT_BYTES_MAX} bytes, names and values with a byte each behind them, and at \
         most {ENVIRONMENT_COST_BYTES_MAX} with {VARIABLE_COST_BYTES} more for each variable. If the agent has no token, it shows \
         each value as `{HIDDEN_VALUE}`."
    )
}

/// A value that a setting can have.
pub trait Setting {
    /// How one becomes another.
    type Change;

    /// How this becomes `to`, if they differ.
    fn change_to(&self, to: &Self) -> Option<Self::Change>;
}

/// From one value to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change<T> {
    /// Before.
    pub from: T,
    /// Now.
    pub to: T,
}

/// Names of variables: values may be secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvironmentChange {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those with another value.
    pub changed: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
}

macro_rules! plain {
    ($($type:ty: $change:literal),*) => {$(
        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for Change<$type> {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $change.into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let value = generator.subschema_for::<$type>();
                schemars::json_schema!({
                    "type": "object",
                    "properties": { "from": value, "to": value },
                    "required": ["from", "to"],
                })
            }
        }

        impl Setting for $type {
            type Change = Change<Self>;

            fn change_to(&self, to: &Self) -> Option<Change<Self>> {
                (self != to).then(|| Change { from: self.clone(), to: to.clone() })
            }
        }
    )*};
}
plain!(u32: "NumberChange", u64: "NumberChange", String: "TextChange", Isolation: "IsolationChange", Grants: "GrantsChange");

impl Setting for Environment {
    type Change = EnvironmentChange;

    fn change_to(&self, to: &Self) -> Option<EnvironmentChange> {
        let names = |of: &Self, which: &dyn Fn(&str, &str) -> bool| {
            let found = of.iter().filter(|(name, value)| which(name, value));
            found.map(|(name, _)| name.clone()).collect()
        };
        (self != to).then(|| EnvironmentChange {
            added: names(to, &|name, _| !self.contains_key(name)),
            changed: names(to, &|name, value| {
                self.get(name).is_some_and(|from| from != value)
            }),
            removed: names(self, &|name, _| !to.contains_key(name)),
        })
    }
}

/// Makes single changes in an environment.
pub fn change_environment(environment: &mut Environment, changes: EnvironmentChanges) {
    for (name, value) in changes {
        match value {
            Some(value) => environment.insert(name, value),
            None => environment.remove(&name),
        };
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
        self.grants.check()?;
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
