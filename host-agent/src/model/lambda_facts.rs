//! What only Lambda's API says of a version: kept and given back, without effect on what runs.
//! Not here: which values are taken (`lambda::shapes`).

use jiffy_snapshots::Digest;
use serde::{Deserialize, Serialize};

/// What a client of Lambda's API said of a version. `None`: nothing, so that API answers with a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LambdaFacts {
    /// The zip file that the image came in; `None` if it came in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<ZipFacts>,
    /// ARN of the role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The handler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The group that logs are said to be in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_group: Option<String>,
    /// Whether published versions are to start from snapshots, as all do here.
    pub snap_start: bool,
}

/// A zip file that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZipFacts {
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Its size, bytes.
    pub bytes: u64,
}
