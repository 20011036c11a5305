//! What `jiffyd.toml` holds, key by key, with its defaults.

use std::{net::SocketAddr, path::PathBuf};

use jiffy_abi::frame::HEAD_BYTES_MAX;
use jiffy_console::quantity::{bytes_or_text, ms_or_text};
use serde::{Deserialize, Serialize};

use crate::{logs::LogLimits, pool::PoolConfig, usage::UsageLimits};

/// How the agent logs of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// Lines of JSON.
    Json,
}

/// Where a trusted proxy says for whom it speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressHeader {
    /// `X-Forwarded-For`, and scheme and host in `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// `jiffyd.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where registry, images, snapshots, logs and usage are.
    pub data_dir: PathBuf,
    /// A file with the token that every request has to carry. Needed beyond loopback. Reloaded.
    pub token_file: Option<PathBuf>,
    /// Without a token: names beside those of loopback that requests may be addressed to, and pages be of. Reloaded.
    pub hosts: Vec<String>,
    /// Addresses and ranges of proxies that are believed for whom they speak. Reloaded.
    pub trusted_proxies: Vec<String>,
    /// Where they say it. Reloaded.
    pub client_address_header: AddressHeader,
    /// The `jiffy-vmm` program; a bare name is looked for beside `jiffyd`, then in `PATH`.
    pub vmm: PathBuf,
    /// What the agent logs of itself, as in `RUST_LOG`. Reloaded.
    pub log: String,
    /// How it looks.
    pub log_format: LogFormat,
    /// Limits.
    pub limits: Limits,
    /// Which VMs are kept.
    pub pool: PoolConfig,
    /// How VMs are jailed.
    pub jail: JailSettings,
    /// Logs of functions.
    pub logs: LogLimits,
    /// Usage records.
    pub usage: UsageLimits,
    /// Stores of keys and values.
    pub kv: KvSettings,
    /// Queues.
    pub queue: QueueSettings,
    /// Secrets.
    pub secrets: SecretsSettings,
    /// Where functions may connect to.
    pub egress: EgressSettings,
    /// The Lambda-compatible API.
    pub lambda: LambdaSettings,
}

/// Limits. All are reloaded but `builds_max` and the three of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once. One more takes the place of one that is idle, or is refused.
    pub connections_max: u32,
    /// Connections beyond those, for health, metrics and operators.
    pub connections_reserved: u32,
    /// Connections of one client address, of IPv6 of one /64; loopback and trusted proxies have no such limit.
    pub connections_per_address_max: u32,
    /// Time that a connection waits for its next request, milliseconds, before it is closed.
    #[serde(deserialize_with = "ms_or_text")]
    pub idle_ms_max: u64,
    /// Bytes of a request's line and headers.
    #[serde(deserialize_with = "bytes_or_text")]
    pub header_bytes_max: u32,
    /// Time from a connection, or from the first byte of a further request on it, to the end of that request's headers, milliseconds.
    #[serde(deserialize_with = "ms_or_text")]
    pub header_ms_max: u64,
    /// Time for a request's body, milliseconds.
    #[serde(deserialize_with = "ms_or_text")]
    pub body_ms_max: u64,
    /// Bytes of a request to a function.
    #[serde(deserialize_with = "bytes_or_text")]
    pub body_bytes_max: u32,
    /// Bytes of all bodies of requests and responses at once; 0: a part of the host's memory, see
    /// [`Limits::bodies_bytes_max`].
    #[serde(deserialize_with = "bytes_or_text")]
    pub bodies_bytes_max: u64,
    /// Bytes of an image.
    #[serde(deserialize_with = "bytes_or_text")]
    pub image_bytes_max: u64,
    /// Functions.
    pub functions_max: u64,
    /// Published versions of one function; beyond it none is published until one is deleted.
    pub versions_max: u64,
    /// Aliases of one function.
    pub aliases_max: usize,
    /// Snapshots that are built at once.
    pub builds_max: u32,
    /// Snapshots that are kept open, three file descriptors each at most.
    pub open_snapshots_max: u32,
    /// An image that no version has is removed after this time, milliseconds.
    #[serde(deserialize_with = "ms_or_text")]
    pub unused_image_ms_max: u64,
    /// What requests get to end when the agent stops, milliseconds.
    #[serde(deserialize_with = "ms_or_text")]
    pub drain_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_reserved: 16,
            connections_per_address_max: 1000,
            idle_ms_max: 75_000,
            header_bytes_max: HEAD_BYTES_MAX,
            header_ms_max: 15_000,
            body_ms_max: 60_000,
            body_bytes_max: 6 << 20,
            bodies_bytes_max: 0,
            image_bytes_max: 64 << 20,
            functions_max: 10_000,
            versions_max: 64,
            aliases_max: 64,
            builds_max: 2,
            open_snapshots_max: 4096,
            unused_image_ms_max: 60 * 60 * 1000,
            drain_ms_max: 30_000,
        }
    }
}

impl Limits {
    /// What all bodies may have together, bytes, on a host with this memory. By default a sixty-fourth of it: VMs are given
    /// three quarters, and a body is in memory up to three times while it is handed to one. At least ten of the largest
    /// bodies that are taken by default, at most a thousand.
    pub fn bodies_bytes_max(&self, host_memory_bytes: u64) -> u64 {
        match self.bodies_bytes_max {
            0 => (host_memory_bytes / 64).clamp(60 << 20, 6000 << 20),
            bytes => bytes,
        }
    }
}

/// How VMs are jailed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JailSettings {
    /// Run VMs although the host gives no control groups, or not all: their CPU and memory are then limited by less.
    pub allow_missing_cgroups: bool,
    /// A VM with this much RAM may use a whole CPU, a smaller one its part, bytes; 0: the VMM's default.
    #[serde(deserialize_with = "bytes_or_text")]
    pub cpu_full_ram_bytes: u64,
}

/// Stores of keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KvSettings {
    /// Bytes of one store.
    #[serde(deserialize_with = "bytes_or_text")]
    pub store_bytes_max: u64,
    /// Stores of all tenants.
    pub stores_max: u64,
}

impl Default for KvSettings {
    fn default() -> Self {
        let jiffy_kv::Limits {
            store_bytes_max,
            stores_max,
        } = jiffy_kv::Limits::default();
        Self {
            store_bytes_max,
            stores_max,
        }
    }
}

/// Queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// Bytes of one queue.
    #[serde(deserialize_with = "bytes_or_text")]
    pub queue_bytes_max: u64,
    /// Queues of all tenants.
    pub queues_max: u64,
}

impl Default for QueueSettings {
    fn default() -> Self {
        let jiffy_queue::Limits {
            queue_bytes_max,
            queues_max,
        } = jiffy_queue::Limits::default();
        Self {
            queue_bytes_max,
            queues_max,
        }
    }
}

/// Secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretsSettings {
    /// The file with the master key, made at the first start. Default: systemd's credential `jiffyd.master-key`, or else `master-key`
    /// in the data directory.
    pub master_key_file: Option<PathBuf>,
}

/// Where functions may connect to, whatever their authors say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressSettings {
    /// The only hosts that functions may reach; all, if there are none.
    pub hosts: Vec<String>,
    /// Addresses, ranges and hosts that are not of the public Internet and may be reached all the same.
    pub private: Vec<String>,
    /// Certificates of authorities beside those of the system.
    pub ca_file: Option<PathBuf>,
}

/// The Lambda-compatible API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LambdaSettings {
    /// Whether it is served.
    pub enabled: bool,
    /// The region in ARNs and in signatures.
    pub region: String,
    /// The account in ARNs.
    pub account_id: String,
    /// A file with a line `ACCESS_KEY_ID:SECRET_ACCESS_KEY` for each key. Reloaded.
    pub keys_file: Option<PathBuf>,
}

impl Default for LambdaSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            region: "us-east-1".into(),
            account_id: "000000000000".into(),
            keys_file: None,
        }
    }
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            data_dir: "/var/lib/jiffyd".into(),
            token_file: None,
            hosts: vec![],
            trusted_proxies: vec![],
            client_address_header: AddressHeader::default(),
            vmm: "jiffy-vmm".into(),
            log: "info".into(),
            log_format: LogFormat::Text,
            limits: Limits::default(),
            pool: PoolConfig::default(),
            jail: JailSettings::default(),
            logs: LogLimits::default(),
            usage: UsageLimits::default(),
            kv: KvSettings::default(),
            queue: QueueSettings::default(),
            secrets: SecretsSettings::default(),
            egress: EgressSettings::default(),
            lambda: LambdaSettings::default(),
        }
    }
}
