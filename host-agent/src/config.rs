//! The agent's configuration: `jiffyd.toml`, then `JIFFYD_*` variables, then the command line; the last wins.
//!
//! A variable names a key, with two underscores behind a section: `JIFFYD_LISTEN`, `JIFFYD_POOL__SHELLS_MIN`.
//! `jiffyd.toml` beside this crate explains each key. Not here: the command line itself (`main`).

mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use axum::http::uri::Authority;
use jiffy_abi::frame::{BODY_BYTES_MAX, HEAD_BYTES_MAX};
use jiffy_capabilities::Egress;
pub use jiffy_model::Cidr;
use jiffy_model::InvalidGrant;
use jiffy_snapshots::{SecretError, read_secret, why};
pub use settings::{
    AddressHeader, EgressSettings, FileConfig, JailSettings, KvSettings, LambdaSettings, Limits,
    LogFormat, QueueSettings, SecretsSettings,
};

/// Bytes of `jiffyd.toml`, of the token file or of the key file at most.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Characters of a token at least: 128 bits, if they are random hexadecimal digits.
const TOKEN_CHARS_MIN: usize = 32;
/// Names in `hosts` at most: each request is compared with all of them.
const HOSTS_MAX: usize = 64;
/// Ranges in `trusted_proxies` at most.
const PROXIES_MAX: usize = 256;
const VARIABLE_PREFIX: &str = "JIFFYD_";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum ConfigError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("cannot read {path}: {}", why(source))]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} has more than {FILE_BYTES_MAX} bytes: is it the right file?")]
    TooLarge(PathBuf),
    #[error("cannot use {path}: it must be TOML with the keys of the sample jiffyd.toml")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error(
        "invalid value of the variable {name}: must be one that its key in jiffyd.toml can have"
    )]
    Variable {
        name: String,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("invalid {key} {value}: must be {allowed}")]
    Range {
        key: &'static str,
        value: u64,
        allowed: String,
    },
    #[error(
        "listening on {0} lets other machines in: set token_file to a file with a secret, or listen on 127.0.0.1"
    )]
    OpenToAll(SocketAddr),
    #[error(
        "the token in {0} has fewer than {TOKEN_CHARS_MIN} printable characters: make one with `openssl rand -hex 32`"
    )]
    Token(PathBuf),
    #[error("invalid host {0:?} in hosts: must be a name or an address, without scheme and port")]
    Host(String),
    #[error("there are {0} hosts, more than {HOSTS_MAX}: list fewer")]
    Hosts(usize),
    #[error(
        "invalid proxy {0:?} in trusted_proxies: must be an address or a range such as 10.0.0.0/8"
    )]
    Proxy(String),
    #[error("{0} ranges in trusted_proxies: must be at most {PROXIES_MAX}")]
    Proxies(usize),
    #[error("invalid value in egress.hosts: {0}")]
    EgressHost(InvalidGrant),
    #[error("invalid value in egress.private: {0}")]
    EgressPrivate(String),
    #[error("invalid line {line} of {path}: must be ACCESS_KEY_ID:SECRET_ACCESS_KEY")]
    Keys { path: PathBuf, line: usize },
}

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// All of it, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the file, the variables and the command line say.
    pub settings: FileConfig,
    /// The token that requests have to carry, if there is a `token_file`.
    pub token: Option<Secret>,
    /// `trusted_proxies`, parsed.
    pub proxies: Vec<Cidr>,
    /// Where functions may connect to.
    pub egress: Egress,
    /// Keys of the Lambda-compatible API: id and secret. Without any, signatures are not checked.
    pub lambda_keys: Vec<(String, Secret)>,
}

impl std::ops::Deref for Config {
    type Target = FileConfig;

    fn deref(&self) -> &FileConfig {
        &self.settings
    }
}

impl FileConfig {
    /// The configuration in `path`, or the default, with `variables` over it. Those of [`unknown_variables`] are passed over.
    pub fn load(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table = match path {
            Some(path) => read_table(path)?,
            None => toml::Table::new(),
        };
        let known = every_key();
        for (name, value) in variables {
            apply_variable(&mut table, &known, &name, &value)?;
        }
        table.try_into().map_err(|source| ConfigError::Parse {
            path: path.unwrap_or(Path::new("the configuration")).to_owned(),
            source: Box::new(source),
        })
    }
}

fn read_table(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = read(path)?;
    let parse = |source| ConfigError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    };
    // Decoded once as it stands, because errors of this decoder show line and column.
    toml::from_str::<FileConfig>(&text).map_err(parse)?;
    text.parse().map_err(parse)
}

/// The variables that begin as ours do and name no key, so that they change nothing. Kubernetes and Docker set such ones
/// for a service that is called `jiffyd`: `JIFFYD_PORT`, `JIFFYD_SERVICE_HOST`.
pub fn unknown_variables<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> impl Iterator<Item = &'a str> {
    let known = every_key();
    names.into_iter().filter(move |name| {
        let key = name.strip_prefix(VARIABLE_PREFIX);
        key.is_some_and(|key| !is_key(&known, &key.to_ascii_lowercase()))
    })
}

/// A table with every key there is.
fn every_key() -> toml::Table {
    let default = FileConfig::default();
    let complete = FileConfig {
        // What has no value by default would be left out.
        token_file: Some(PathBuf::new()),
        lambda: LambdaSettings {
            keys_file: Some(PathBuf::new()),
            ..default.lambda
        },
        secrets: SecretsSettings {
            master_key_file: Some(PathBuf::new()),
        },
        egress: EgressSettings {
            ca_file: Some(PathBuf::new()),
            ..default.egress
        },
        ..default
    };
    toml::Table::try_from(complete).unwrap_or_default()
}

/// Whether a variable's name, without the prefix and in lower case, is that of a key.
fn is_key(known: &toml::Table, name: &str) -> bool {
    // The command line's own variable.
    if name == "config" {
        return true;
    }
    match name.split_once("__") {
        Some((section, key)) => {
            let section = known.get(section).and_then(toml::Value::as_table);
            section.is_some_and(|section| section.contains_key(key))
        }
        None => known.contains_key(name),
    }
}

/// Sets the key that a variable names, if there is one, and checks that it can have this value.
fn apply_variable(
    table: &mut toml::Table,
    known: &toml::Table,
    name: &str,
    value: &str,
) -> Result<(), ConfigError> {
    let Some(key) = name.strip_prefix(VARIABLE_PREFIX) else {
        return Ok(());
    };
    let key = key.to_ascii_lowercase();
    if key == "config" || !is_key(known, &key) {
        return Ok(());
    }
    let parsed = format!("v = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .filter(|value| value.is_integer() || value.is_bool() || value.is_array());
    let no_text = parsed.unwrap_or_else(|| value.into());
    // A text may look like a number, so both are tried.
    let mut last = None;
    for value in [no_text, toml::Value::from(value)] {
        let mut candidate = table.clone();
        match key.split_once("__") {
            Some((section, key)) => {
                let section = candidate
                    .entry(section)
                    .or_insert_with(|| toml::Table::new().into());
                if let Some(section) = section.as_table_mut() {
                    section.insert(key.into(), value);
                }
            }
            None => {
                candidate.insert(key.clone(), value);
            }
        }
        match candidate.clone().try_into::<FileConfig>() {
            Ok(_) => {
                *table = candidate;
                return Ok(());
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(source) => Err(ConfigError::Variable {
            name: name.to_owned(),
            source: Box::new(source),
        }),
        None => Ok(()),
    }
}

impl Config {
    /// Checks `settings` and reads the secrets they name.
    pub fn new(settings: FileConfig) -> Result<Self, ConfigError> {
        check_ranges(&settings)?;
        check_hosts(&settings.hosts)?;
        if settings.trusted_proxies.len() > PROXIES_MAX {
            return Err(ConfigError::Proxies(settings.trusted_proxies.len()));
        }
        let parse = |text: &String| text.parse().map_err(|_| ConfigError::Proxy(text.clone()));
        let proxies = settings.trusted_proxies.iter().map(parse);
        let proxies = proxies.collect::<Result<_, _>>()?;
        let token = settings.token_file.as_deref().map(read_token).transpose()?;
        if token.is_none() && !settings.listen.ip().is_loopback() {
            return Err(ConfigError::OpenToAll(settings.listen));
        }
        let keys = settings.lambda.keys_file.as_deref().map(read_keys);
        Ok(Self {
            egress: egress(&settings.egress)?,
            token,
            proxies,
            lambda_keys: keys.transpose()?.unwrap_or_default(),
            settings,
        })
    }

    /// Whether who has come past the check of the native API may see the values of environment variables. Without a
    /// token that is anybody on this machine, and values may be secrets.
    pub fn shows_environment(&self) -> bool {
        self.token.is_some()
    }

    /// As [`Config::shows_environment`], of the Lambda-compatible API, which checks signatures, too.
    pub fn shows_environment_to_lambda(&self) -> bool {
        self.token.is_some() || !self.lambda_keys.is_empty()
    }

    /// The keys that differ in `next` and take effect only at the next start.
    pub fn needs_restart(&self, next: &Self) -> Vec<String> {
        let (now, next) = (keys(&self.settings), keys(&next.settings));
        let names: BTreeSet<&String> = now.keys().chain(next.keys()).collect();
        let waits = |name: &&String| {
            now.get(*name) != next.get(*name) && !RELOADED.contains(&name.as_str())
        };
        names.into_iter().filter(waits).cloned().collect()
    }
}

/// The keys that are read from the configuration whenever they are needed; all others are read at the start.
const RELOADED: [&str; 22] = [
    "client_address_header",
    "hosts",
    "lambda.account_id",
    "lambda.enabled",
    "lambda.keys_file",
    "lambda.region",
    "limits.bodies_bytes_max",
    "limits.body_bytes_max",
    "limits.body_ms_max",
    "limits.connections_max",
    "limits.connections_per_address_max",
    "limits.connections_reserved",
    "limits.drain_ms_max",
    "limits.header_bytes_max",
    "limits.header_ms_max",
    "limits.idle_ms_max",
    "limits.image_bytes_max",
    "limits.open_snapshots_max",
    "limits.unused_image_ms_max",
    "log",
    "token_file",
    "trusted_proxies",
];

/// Each key by its name, as `limits.body_ms_max`, with its value.
fn keys(settings: &FileConfig) -> BTreeMap<String, serde_json::Value> {
    let Ok(serde_json::Value::Object(all)) = serde_json::to_value(settings) else {
        return BTreeMap::new(); // Texts, numbers and lists always encode.
    };
    let keys = all.into_iter().flat_map(|(key, value)| match value {
        serde_json::Value::Object(section) => {
            let inner = section.into_iter();
            inner
                .map(|(name, value)| (format!("{key}.{name}"), value))
                .collect()
        }
        value => vec![(key, value)],
    });
    keys.collect()
}

/// Sections and keys with what they can be.
macro_rules! ranges {
    ($settings:ident: $($section:ident.$key:ident $range:expr;)*) => {
        [$((
            concat!(stringify!($section), ".", stringify!($key)),
            u64::from($settings.$section.$key),
            $range,
        ),)*]
    };
}

fn check_ranges(settings: &FileConfig) -> Result<(), ConfigError> {
    let shells_min = u64::from(settings.pool.shells_min);
    let ranges = ranges! { settings:
        limits.connections_max 1..=1 << 20;
        limits.connections_reserved 0..=1 << 16;
        limits.connections_per_address_max 1..=1 << 20;
        limits.idle_ms_max 100..=3_600_000;
        limits.header_bytes_max 8192..=u64::from(HEAD_BYTES_MAX);
        limits.header_ms_max 100..=3_600_000;
        limits.body_ms_max 100..=3_600_000;
        limits.body_bytes_max 1..=u64::from(BODY_BYTES_MAX);
        limits.image_bytes_max 4096..=1 << 30;
        limits.functions_max 1..=1 << 20;
        limits.versions_max 2..=1 << 16;
        limits.builds_max 1..=1024;
        limits.open_snapshots_max 16..=1 << 20;
        kv.store_bytes_max 1..=1 << 50;
        kv.stores_max 1..=1 << 30;
        queue.queue_bytes_max 1..=1 << 50;
        queue.queues_max 1..=1 << 30;
        pool.shells_max shells_min..=100_000;
        pool.shells_making_max 1..=1024;
        pool.queue_ms_max 0..=15 * 60 * 1000;
        pool.ram_charged_per_mille 0..=1000;
    };
    for (key, value, range) in ranges {
        if !range.contains(&value) {
            let allowed = format!("{} to {}", range.start(), range.end());
            return Err(ConfigError::Range {
                key,
                value,
                allowed,
            });
        }
    }
    Ok(())
}

fn egress(settings: &EgressSettings) -> Result<Egress, ConfigError> {
    let EgressSettings {
        hosts,
        private,
        ca_file,
    } = settings;
    let hosts = hosts.iter().map(|text| text.parse());
    let private = private.iter().map(|text| text.parse());
    Ok(Egress {
        hosts: hosts
            .collect::<Result<_, _>>()
            .map_err(ConfigError::EgressHost)?,
        private: private
            .collect::<Result<_, _>>()
            .map_err(ConfigError::EgressPrivate)?,
        ca_file: ca_file.clone(),
    })
}

fn check_hosts(hosts: &[String]) -> Result<(), ConfigError> {
    if hosts.len() > HOSTS_MAX {
        return Err(ConfigError::Hosts(hosts.len()));
    }
    let is_host = |text: &str| {
        text.parse::<Authority>()
            .is_ok_and(|host| host.host() == text)
    };
    match hosts.iter().find(|host| !is_host(host)) {
        Some(host) => Err(ConfigError::Host(host.clone())),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let wrong = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    jiffy_files::read_text(path, FILE_BYTES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => ConfigError::TooLarge(path.to_owned()),
        _ => wrong(error),
    })
}

fn read_token(path: &Path) -> Result<Secret, ConfigError> {
    let text = read_secret(path, FILE_BYTES_MAX)?;
    let token = text.trim();
    if token.len() < TOKEN_CHARS_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::Token(path.to_owned()));
    }
    Ok(Secret(token.to_owned()))
}

fn read_keys(path: &Path) -> Result<Vec<(String, Secret)>, ConfigError> {
    let text = read_secret(path, FILE_BYTES_MAX)?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    keys.map(|(line, text)| match text.split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
            Ok((id.to_owned(), Secret(secret.to_owned())))
        }
        _ => Err(ConfigError::Keys {
            path: path.to_owned(),
            line,
        }),
    })
    .collect()
}

#[cfg(test)]
mod tests;
