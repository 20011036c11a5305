//! What a function may ask its host for: its *grants*. A setting of a deploy, by default nothing.
//!
//! Every value is checked when it is made, so that everything behind can trust it; only what several values make together
//! is left for [`Grants::check`]. Hosts and origins are `grants::origin`'s. Not here: what an operator allows beside it, and who
//! carries it out (`jiffy-capabilities`).

mod origin;

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::origin::{HOST_BYTES_MAX, Host, HostPattern, Origin, OriginPattern, Scheme};
#[cfg(feature = "schema")]
use crate::function::name_pattern;
use crate::{FunctionName, NAME_CHARS_MAX, function::is_name};

/// Names, hosts, origins and functions in the grants of a version at most.
pub const GRANTS_MAX: usize = 100;
/// Bytes of their texts together at most.
pub const GRANTS_BYTES_MAX: usize = 16 << 10;
/// Characters of a header's name at most.
pub const HEADER_CHARS_MAX: usize = 64;
/// Characters of the format of a secret at most.
pub const FORMAT_CHARS_MAX: usize = 128;
/// Where the secret goes in its format.
const PLACE: &str = "{}";
/// Headers that a secret cannot be in: they say how a message is sent, and to whom.
const HEADERS_NOT: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why something cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum InvalidGrant {
    #[error(
        "invalid origin {0:?}: must be https://HOST, http://HOST or tcp://HOST:PORT, with no path, user or fragment"
    )]
    Origin(String),
    #[error(
        "invalid host {0:?}: must be a name of ASCII letters, digits, hyphens and dots, or an IP address in its usual form, in lower case; \
         *.example.com stands for all names below example.com, * for all names"
    )]
    Host(String),
    #[error(
        "invalid name {0:?}: must be 1 to {NAME_CHARS_MAX} letters, digits, hyphens and underscores"
    )]
    Name(String),
    #[error(
        "invalid header {0:?} of a secret: must be a header's name of at most {HEADER_CHARS_MAX} characters in lower case, \
         and none that says how a message is sent"
    )]
    Header(String),
    #[error(
        "invalid format {0:?} of a secret: must have {PLACE} once among at most {FORMAT_CHARS_MAX} printable ASCII characters"
    )]
    Format(String),
    #[error(
        "invalid secret {0}: must have hosts and a header, or neither, and a format only with a header"
    )]
    HalfInjected(BindingName),
    #[error("invalid grants: there are {0} of them, must be at most {GRANTS_MAX}")]
    TooMany(usize),
    #[error("invalid grants: they have {0} bytes, must be at most {GRANTS_BYTES_MAX}")]
    TooLarge(usize),
}

macro_rules! text {
    ($name:ident, $error:ident, $is:expr) => {
        impl TryFrom<String> for $name {
            type Error = InvalidGrant;

            fn try_from(text: String) -> Result<Self, InvalidGrant> {
                let is: fn(&str) -> bool = $is;
                match is(&text) {
                    true => Ok(Self(text)),
                    false => Err(InvalidGrant::$error(text)),
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidGrant;

            fn from_str(text: &str) -> Result<Self, InvalidGrant> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
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

/// Name of a secret, a store, a queue or a database, by which a function asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("minLength" = 1, "maxLength" = NAME_CHARS_MAX, "pattern" = name_pattern()))
)]
pub struct BindingName(String);
text!(BindingName, Name, |text| is_name(text, NAME_CHARS_MAX));

/// The header that a secret is put into, in lower case; none that says how a message is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(inline, extend("pattern" = format!("^[a-z0-9_-]{{1,{HEADER_CHARS_MAX}}}$")))
)]
pub struct SecretHeader(String);
text!(SecretHeader, Header, |text| {
    let is_of_name = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    (1..=HEADER_CHARS_MAX).contains(&text.len())
        && text.bytes().all(is_of_name)
        && !HEADERS_NOT.contains(&text)
});

/// What the header says; the secret stands for `{}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(inline, example = "Bearer {}", extend("maxLength" = FORMAT_CHARS_MAX))
)]
pub struct SecretFormat(String);
text!(SecretFormat, Format, |text| {
    text.len() <= FORMAT_CHARS_MAX
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim() == text
        && text.matches(PLACE).count() == 1
});

impl Default for SecretFormat {
    fn default() -> Self {
        Self(PLACE.into())
    }
}

impl SecretFormat {
    /// The header's value, the only copy of the secret that is made.
    pub fn with(&self, secret: &[u8]) -> Vec<u8> {
        let (before, after) = self.0.split_once(PLACE).unwrap_or_default();
        [before.as_bytes(), secret, after.as_bytes()].concat()
    }
}

/// Method of a request that a function makes. `CONNECT` and `TRACE` can be granted to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "they are HTTP's")]
pub enum GrantedMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl GrantedMethod {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
    ];

    /// As HTTP spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

/// What a function may ask its host for; nothing that is not here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(description = format!(
        "What a function may ask its host for; nothing that is not here. At most {GRANTS_MAX} names, hosts and origins, and {GRANTS_BYTES_MAX} bytes of them."
    ))
)]
pub struct Grants {
    /// Where it may connect to.
    #[serde(skip_serializing_if = "is_default")]
    pub network: NetworkGrant,
    /// Secrets, by the names that they are stored under.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<BindingName, SecretGrant>,
    /// SQL databases, by the names that the function calls them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sql: BTreeMap<BindingName, UrlGrant>,
    /// Redis databases, by the names that the function calls them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub redis: BTreeMap<BindingName, UrlGrant>,
    /// Key-value stores, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kv: BTreeMap<BindingName, NamedGrant>,
    /// Queues, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub queue: BTreeMap<BindingName, NamedGrant>,
    /// Functions that may be called.
    #[serde(skip_serializing_if = "is_default")]
    pub invoke: InvokeGrant,
}

/// Where a function may connect to, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkGrant {
    /// Origins, or patterns of them.
    pub allow: Vec<OriginPattern>,
    /// Methods of HTTP requests; all of them unless said otherwise.
    pub methods: Vec<GrantedMethod>,
}

impl Default for NetworkGrant {
    fn default() -> Self {
        Self {
            allow: vec![],
            methods: GrantedMethod::ALL.into(),
        }
    }
}

/// A secret that is put into requests to these hosts, in this header, without the function having it; or one that the function
/// reads, if this says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecretGrant {
    /// Where it is sent to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostPattern>,
    /// In which header; none that says how a message is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<SecretHeader>,
    /// What the header says, with `{}` for the secret; the secret alone unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<SecretFormat>,
}

/// A database, whose address with user and password is a secret that the function does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UrlGrant {
    /// Name of the secret.
    pub url_secret: BindingName,
}

/// Nothing: there is no more to say than the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NamedGrant {}

/// Functions that may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InvokeGrant {
    /// Their names.
    pub allow: Vec<FunctionName>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl SecretGrant {
    /// The header that it is put into and what that says; `None` if the function reads it itself.
    pub fn injected(&self) -> Option<(&SecretHeader, SecretFormat)> {
        let header = self.header.as_ref()?;
        Some((header, self.format.clone().unwrap_or_default()))
    }
}

impl Grants {
    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.network.allow.is_empty() && self.texts().next().is_none()
    }

    /// Checks what its values make together: how many they are, and whether each secret is whole.
    pub fn check(&self) -> Result<(), InvalidGrant> {
        for (name, secret) in &self.secrets {
            let has_header = secret.header.is_some();
            if has_header == secret.hosts.is_empty() || (secret.format.is_some() && !has_header) {
                return Err(InvalidGrant::HalfInjected(name.clone()));
            }
        }
        let (count, bytes) = self
            .texts()
            .fold((0, 0), |(count, bytes), text| (count + 1, bytes + text));
        if count > GRANTS_MAX {
            return Err(InvalidGrant::TooMany(count));
        }
        if bytes > GRANTS_BYTES_MAX {
            return Err(InvalidGrant::TooLarge(bytes));
        }
        Ok(())
    }

    /// The bytes of each thing that is named, with all that is said of it alone.
    fn texts(&self) -> impl Iterator<Item = usize> {
        let origins = self.network.allow.iter().map(|it| it.to_string().len());
        let secrets = self.secrets.iter().flat_map(|(name, secret)| {
            let header = secret.header.as_ref().map_or(0, |it| it.as_ref().len());
            let format = secret.format.as_ref().map_or(0, |it| it.as_ref().len());
            let hosts = secret.hosts.iter().map(|host| host.to_string().len());
            hosts.chain([name.as_ref().len() + header + format])
        });
        let urls = self.sql.iter().chain(&self.redis);
        let urls = urls.map(|(name, url)| name.as_ref().len() + url.url_secret.as_ref().len());
        let named = self.kv.keys().chain(self.queue.keys());
        let named = named.map(|name| name.as_ref().len());
        let functions = self.invoke.allow.iter().map(|it| it.as_ref().len());
        origins
            .chain(secrets)
            .chain(urls)
            .chain(named)
            .chain(functions)
    }

    /// What may be reached, a line for each thing, for people.
    pub fn lines(&self) -> Vec<String> {
        let methods: Vec<_> = self.network.methods.iter().map(|it| it.name()).collect();
        let methods = match self.network.methods == GrantedMethod::ALL {
            true => String::new(),
            false => format!(" ({})", methods.join(", ")),
        };
        let origins = self.network.allow.iter().map(|origin| match origin.scheme {
            Scheme::Tcp => origin.to_string(),
            Scheme::Http | Scheme::Https => format!("{origin}{methods}"),
        });
        let secrets = self.secrets.iter().map(|(name, secret)| {
            let hosts: Vec<_> = secret.hosts.iter().map(ToString::to_string).collect();
            match &secret.header {
                Some(header) => format!("secret {name}, as {header} to {}", hosts.join(", ")),
                None => format!("secret {name}, which it reads"),
            }
        });
        let sql = self.sql.iter().map(|(name, url)| ("SQL", name, url));
        let redis = self.redis.iter().map(|(name, url)| ("Redis", name, url));
        let urls = sql.chain(redis).map(|(what, name, url)| {
            format!("{what} {name}, at the address in secret {}", url.url_secret)
        });
        let kv = self.kv.keys().map(|name| format!("store {name}"));
        let queues = self.queue.keys().map(|name| format!("queue {name}"));
        let functions = self.invoke.allow.iter();
        let functions = functions.map(|name| format!("function {name}"));
        let lines = origins.chain(secrets).chain(urls).chain(kv);
        lines.chain(queues).chain(functions).collect()
    }
}

#[cfg(test)]
mod tests;
