//! Requests and responses in Lambda's words. Fields that mean nothing here are accepted and ignored in requests, because
//! clients have to send some of them, and have fixed values in responses, because clients read them.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiffy_abi::layout::RAM_BYTES_STEP;
use jiffy_snapshots::Digest;
use serde::{Deserialize, Serialize};

use super::{
    error::{Exception, LambdaError},
    name::{arn, version_text},
};
use crate::{
    config::LambdaSettings,
    model::{Alias, AliasName, Function, Settings, Version, VersionNumber},
};

/// Memory of a function whose client says nothing of it, MiB: as in Lambda.
const MEMORY_MIB_DEFAULT: u64 = 128;
/// VMs of a function at most: Lambda's default for an account, because its API says nothing of a single function.
const CONCURRENCY: u32 = 1000;
const MIB: u64 = 1 << 20;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateFunction<'a> {
    pub(super) function_name: String,
    #[serde(borrow)]
    pub(super) code: Code<'a>,
    #[serde(default)]
    pub(super) publish: bool,
    #[serde(default, flatten)]
    pub(super) configuration: Configuration,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Code<'a> {
    /// Tens of megabytes: borrowed.
    #[serde(borrow)]
    pub(super) zip_file: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateCode<'a> {
    #[serde(borrow)]
    pub(super) zip_file: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) publish: bool,
    #[serde(default)]
    pub(super) dry_run: bool,
    pub(super) revision_id: Option<String>,
}

/// What can be set of a function.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Configuration {
    description: Option<String>,
    timeout: Option<u64>,
    memory_size: Option<u64>,
    environment: Option<Environment>,
    pub(super) revision_id: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Environment {
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

impl Configuration {
    /// The settings of a new function.
    pub(super) fn settings(self) -> Result<Settings, LambdaError> {
        let default = Settings {
            memory_bytes: MEMORY_MIB_DEFAULT * MIB,
            max_concurrency: CONCURRENCY,
            ..Settings::default()
        };
        self.over(default)
    }

    /// `settings` with what the client says over them.
    pub(super) fn over(self, mut settings: Settings) -> Result<Settings, LambdaError> {
        if let Some(description) = self.description {
            settings.description = description;
        }
        if let Some(timeout_s) = self.timeout {
            settings.timeout_ms = timeout_s.saturating_mul(1000);
        }
        if let Some(memory_mib) = self.memory_size {
            let bytes = memory_mib.saturating_mul(MIB);
            // Lambda has steps of 1 MiB: a client gets at least what it asks for.
            settings.memory_bytes = bytes
                .checked_next_multiple_of(RAM_BYTES_STEP)
                .unwrap_or(bytes);
        }
        if let Some(environment) = self.environment {
            settings.environment = environment.variables;
        }
        settings.check()?;
        Ok(settings)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PublishVersion {
    #[serde(rename = "CodeSha256")]
    pub(super) code_sha256: Option<String>,
    pub(super) revision_id: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Concurrency {
    pub(super) reserved_concurrent_executions: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutAlias {
    /// Only to create one.
    pub(super) name: Option<String>,
    function_version: Option<String>,
    description: Option<String>,
    routing_config: Option<Routing>,
    pub(super) revision_id: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Routing {
    #[serde(default)]
    additional_version_weights: BTreeMap<String, f64>,
}

impl PutAlias {
    /// The alias that is wanted, over what is `before`.
    pub(super) fn alias(self, before: Option<Alias>) -> Result<Alias, LambdaError> {
        let invalid = |message: &str| LambdaError::new(Exception::InvalidParameterValue, message);
        let version = match (self.function_version, &before) {
            (Some(text), _) => text.parse().map_err(|_| {
                invalid("FunctionVersion has to be the number of a version: publish one")
            })?,
            (None, Some(before)) => before.version,
            (None, None) => return Err(invalid("FunctionVersion is missing")),
        };
        let (other_before, description_before) = before
            .map(|before| (before.other, before.description))
            .unwrap_or_default();
        let other = match self.routing_config {
            None => other_before,
            Some(routing) => {
                let mut weights = routing.additional_version_weights.into_iter();
                let other = weights.next();
                if weights.next().is_some() {
                    return Err(invalid("an alias has at most one additional version"));
                }
                other.map(weight).transpose()?
            }
        };
        Ok(Alias {
            version,
            other,
            description: self.description.unwrap_or(description_before),
        })
    }
}

fn weight((version, weight): (String, f64)) -> Result<(VersionNumber, u16), LambdaError> {
    if !(0.0..=1.0).contains(&weight) {
        let message = format!("a weight of {weight} cannot be: use 0.0 to 1.0");
        return Err(LambdaError::new(Exception::InvalidParameterValue, message));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 1000"
    )]
    let per_mille = (weight * 1000.0).round() as u16;
    Ok((version.parse()?, per_mille))
}

/// A function's configuration: of one version, or of the live one as `$LATEST`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FunctionConfiguration {
    function_name: String,
    function_arn: String,
    runtime: &'static str,
    role: String,
    handler: &'static str,
    code_size: u64,
    description: String,
    timeout: u64,
    memory_size: u64,
    last_modified: String,
    #[serde(rename = "CodeSha256")]
    code_sha256: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Environment>,
    tracing_config: Mode,
    revision_id: String,
    state: &'static str,
    last_update_status: &'static str,
    package_type: &'static str,
    architectures: [&'static str; 1],
    ephemeral_storage: Size,
    snap_start: SnapStart,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Mode {
    mode: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    size: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SnapStart {
    apply_on: &'static str,
    optimization_status: &'static str,
}

impl FunctionConfiguration {
    /// Of `version`, which is called by its number or, as the live one, `$LATEST`.
    pub(super) fn new(
        lambda: &LambdaSettings,
        function: &Function,
        version: Version,
        is_latest: bool,
    ) -> Self {
        let mut function_arn = arn(lambda, &function.name);
        let text = version_text((!is_latest).then_some(version.number));
        if !is_latest {
            function_arn = format!("{function_arn}:{text}");
        }
        let variables = version.settings.environment.clone();
        Self {
            function_name: function.name.to_string(),
            function_arn,
            runtime: "provided.al2023",
            role: format!("arn:aws:iam::{}:role/jiffy", lambda.account_id),
            handler: "bootstrap",
            code_size: version.image_bytes,
            timeout: version.settings.timeout_ms.div_ceil(1000),
            memory_size: version.settings.memory_bytes / MIB,
            last_modified: timestamp(version.created_ms),
            code_sha256: code_sha256(&version),
            version: text,
            environment: (!variables.is_empty()).then_some(Environment { variables }),
            tracing_config: Mode {
                mode: "PassThrough",
            },
            revision_id: version_revision(function, &version),
            description: version.settings.description,
            state: "Active",
            last_update_status: "Successful",
            package_type: "Zip",
            architectures: ["x86_64"],
            ephemeral_storage: Size { size: 512 },
            snap_start: SnapStart {
                apply_on: "None",
                optimization_status: "Off",
            },
        }
    }
}

/// SHA-256 of the image. Lambda's is of the zip file, which is not kept here.
pub(super) fn code_sha256(version: &Version) -> String {
    BASE64.encode(version.image.0)
}

/// Changes with every deploy and every rollback.
pub(super) fn version_revision(function: &Function, version: &Version) -> String {
    revision(&format!(
        "{}\n{}\n{}",
        function.name, version.number, version.created_ms
    ))
}

fn alias_revision(function: &Function, name: &AliasName, alias: &Alias) -> String {
    let Alias {
        version,
        other,
        description,
    } = alias;
    revision(&format!(
        "{}\n{name}\n{version}\n{other:?}\n{description}",
        function.name
    ))
}

fn revision(of: &str) -> String {
    let Digest(digest) = Digest::of(of.as_bytes());
    let half = digest.first_chunk().copied().unwrap_or_default();
    uuid::Builder::from_custom_bytes(half)
        .into_uuid()
        .to_string()
}

/// Refuses a change that was meant for another revision.
pub(super) fn check_revision(wanted: Option<&str>, found: &str) -> Result<(), LambdaError> {
    match wanted {
        Some(wanted) if wanted != found => Err(LambdaError::new(
            Exception::PreconditionFailed,
            format!("RevisionId is {found} by now: read it again and try again"),
        )),
        _ => Ok(()),
    }
}

/// `2024-01-31T12:34:56.789+0000`
fn timestamp(ms: u64) -> String {
    // 9999-12-31, beyond which there is no such text.
    const MS_MAX: u64 = 253_402_300_799_999;
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(ms.min(MS_MAX));
    let text = humantime::format_rfc3339_millis(time).to_string();
    text.replace('Z', "+0000")
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AliasConfiguration {
    alias_arn: String,
    pub(super) name: AliasName,
    function_version: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_config: Option<Routing>,
    pub(super) revision_id: String,
}

impl AliasConfiguration {
    pub(super) fn new(
        lambda: &LambdaSettings,
        function: &Function,
        name: &AliasName,
        alias: &Alias,
    ) -> Self {
        let routing = |(version, per_mille): (VersionNumber, u16)| Routing {
            additional_version_weights: BTreeMap::from([(
                version.to_string(),
                f64::from(per_mille) / 1000.0,
            )]),
        };
        Self {
            alias_arn: format!("{}:{name}", arn(lambda, &function.name)),
            name: name.clone(),
            function_version: alias.version.to_string(),
            description: alias.description.clone(),
            routing_config: alias.other.map(routing),
            revision_id: alias_revision(function, name, alias),
        }
    }
}
