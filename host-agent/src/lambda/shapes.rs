//! Requests and responses in Lambda's words. Which members a request may have is `members`'s; here is what their values
//! may be. Members of responses that mean nothing here have fixed values, because clients read them.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiffy_abi::layout::RAM_BYTES_STEP;
use jiffy_model::Outcome;
use jiffy_snapshots::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    error::LambdaError,
    name::{LATEST, arn, version_text},
};
use crate::{
    config::LambdaSettings,
    model::{
        Alias, AliasName, AliasTarget, Function, LambdaFacts, Settings, Version, VersionNumber,
    },
};

/// Memory of a function whose client says nothing of it, MiB: as in Lambda.
const MEMORY_MIB_DEFAULT: u64 = 128;
/// VMs of a function at most: Lambda's default for an account, because its API says nothing of a single function.
const CONCURRENCY: u32 = 1000;
const MIB: u64 = 1 << 20;
/// Runtimes that stand for an image; one of any other would have to be interpreted.
const RUNTIMES: [&str; 3] = ["provided.al2023", "provided.al2", "provided"];
/// The handler of a function whose client names none.
const HANDLER_DEFAULT: &str = "bootstrap";
/// Characters of a handler at most.
const HANDLER_CHARS_MAX: usize = 128;
/// Characters of a role's ARN at most.
const ROLE_CHARS_MAX: usize = 2048;
/// Characters of the name of a group of logs at most.
const LOG_GROUP_CHARS_MAX: usize = 512;
/// What a weight of an alias is a multiple of, and how many make a whole.
const PER_MILLE: f64 = 1000.0;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateFunction<'a> {
    pub(super) function_name: String,
    #[serde(borrow)]
    pub(super) code: Code<'a>,
    #[serde(default)]
    pub(super) publish: bool,
    #[serde(default)]
    pub(super) tags: Option<BTreeMap<String, String>>,
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
    role: Option<String>,
    handler: Option<String>,
    runtime: Option<String>,
    logging_config: Option<LoggingConfig>,
    snap_start: Option<ApplyOn>,
    pub(super) revision_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LoggingConfig {
    log_group: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApplyOn {
    apply_on: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Environment {
    #[serde(default)]
    variables: Option<BTreeMap<String, String>>,
}

impl Configuration {
    /// What a new function is made of.
    pub(super) fn new_function(self) -> Result<(Settings, LambdaFacts), LambdaError> {
        let default = Settings {
            memory_bytes: MEMORY_MIB_DEFAULT * MIB,
            max_concurrency: CONCURRENCY,
            ..Settings::default()
        };
        self.over(default, LambdaFacts::default())
    }

    /// What there is, with what the client says over it.
    pub(super) fn over(
        self,
        mut settings: Settings,
        mut facts: LambdaFacts,
    ) -> Result<(Settings, LambdaFacts), LambdaError> {
        settings.description = self.description.unwrap_or(settings.description);
        let timeout_ms = self.timeout.map(|seconds| seconds.saturating_mul(1000));
        settings.timeout_ms = timeout_ms.unwrap_or(settings.timeout_ms);
        if let Some(memory_mib) = self.memory_size {
            let bytes = memory_mib.saturating_mul(MIB);
            // Lambda has steps of 1 MiB: a client gets at least what it asks for.
            settings.memory_bytes = bytes
                .checked_next_multiple_of(RAM_BYTES_STEP)
                .unwrap_or(bytes);
        }
        if let Some(environment) = self.environment {
            settings.environment = environment.variables.unwrap_or_default();
        }
        settings.check()?;
        let log_group = self.logging_config.and_then(|config| config.log_group);
        facts.role = self.role.map(check_role).transpose()?.or(facts.role);
        facts.handler = self
            .handler
            .map(check_handler)
            .transpose()?
            .or(facts.handler);
        facts.runtime = self
            .runtime
            .map(check_runtime)
            .transpose()?
            .or(facts.runtime);
        facts.log_group = log_group
            .map(check_log_group)
            .transpose()?
            .or(facts.log_group);
        if let Some(apply_on) = self.snap_start.and_then(|config| config.apply_on) {
            facts.snap_start = match apply_on.as_str() {
                "PublishedVersions" => true,
                "None" => false,
                other => {
                    return Err(LambdaError::invalid(format!(
                        "SnapStart.ApplyOn is {other:?}: must be PublishedVersions or None"
                    )));
                }
            };
        }
        Ok((settings, facts))
    }
}

/// `value`, if it is right.
fn checked(name: &str, value: String, is_right: bool, rule: &str) -> Result<String, LambdaError> {
    match is_right {
        true => Ok(value),
        false => Err(LambdaError::invalid(format!("{name} is {value:?}: {rule}"))),
    }
}

fn check_role(role: String) -> Result<String, LambdaError> {
    let fields: Vec<_> = role.splitn(6, ':').collect();
    let is_role = matches!(fields[..], ["arn", _, "iam", "", account, name]
        if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) && name.starts_with("role/"));
    let is_right = is_role && role.len() <= ROLE_CHARS_MAX;
    let rule = "must be the ARN of a role, such as arn:aws:iam::000000000000:role/any";
    checked("Role", role, is_right, rule)
}

fn check_handler(handler: String) -> Result<String, LambdaError> {
    let is_right = handler.len() <= HANDLER_CHARS_MAX && !handler.contains(char::is_whitespace);
    let rule = format!("must be at most {HANDLER_CHARS_MAX} characters without spaces");
    checked("Handler", handler, is_right, &rule)
}

fn check_runtime(runtime: String) -> Result<String, LambdaError> {
    let is_right = RUNTIMES.contains(&runtime.as_str());
    let image = RUNTIMES[0];
    let rule = format!("must be {image}, because a function is an image here");
    checked("Runtime", runtime, is_right, &rule)
}

fn check_log_group(group: String) -> Result<String, LambdaError> {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte);
    let is_right = (1..=LOG_GROUP_CHARS_MAX).contains(&group.len()) && group.bytes().all(is_of_it);
    let rule = format!("must be 1 to {LOG_GROUP_CHARS_MAX} of letters, digits and .-_/#");
    checked("LoggingConfig.LogGroup", group, is_right, &rule)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PublishVersion {
    #[serde(rename = "CodeSha256")]
    pub(super) code_sha256: Option<String>,
    pub(super) description: Option<String>,
    pub(super) revision_id: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Concurrency {
    pub(super) reserved_concurrent_executions: i64,
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

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Routing {
    #[serde(default)]
    additional_version_weights: Option<BTreeMap<String, f64>>,
}

impl PutAlias {
    /// The alias that is wanted, over what is `before`.
    pub(super) fn alias(self, before: Option<Alias>) -> Result<Alias, LambdaError> {
        let version = match (self.function_version, &before) {
            (Some(text), _) if text == LATEST => AliasTarget::Live,
            (Some(text), _) => AliasTarget::Version(text.parse().map_err(|_| {
                LambdaError::invalid(format!("FunctionVersion is {text:?}: must be {LATEST} or the number of a published version"))
            })?),
            (None, Some(before)) => before.version,
            (None, None) => return Err(LambdaError::invalid("FunctionVersion is missing")),
        };
        let (other_before, description_before) = before
            .map(|before| (before.other, before.description))
            .unwrap_or_default();
        let other = match self.routing_config {
            None => other_before,
            Some(routing) => {
                let weights = routing.additional_version_weights.unwrap_or_default();
                if weights.len() > 1 {
                    return Err(LambdaError::invalid(
                        "an alias has at most one additional version",
                    ));
                }
                weights.into_iter().next().map(weight).transpose()?
            }
        };
        if let Some((other, _)) = other
            && version == AliasTarget::Version(other)
        {
            return Err(LambdaError::invalid(format!(
                "RoutingConfig has version {other}, which is FunctionVersion: must be another"
            )));
        }
        Ok(Alias {
            version,
            other,
            description: self.description.unwrap_or(description_before),
        })
    }
}

fn weight((version, weight): (String, f64)) -> Result<(VersionNumber, u16), LambdaError> {
    let number = version.parse().map_err(|_| {
        LambdaError::invalid(format!(
            "RoutingConfig has version {version:?}: must be the number of a published version"
        ))
    })?;
    let per_mille = (weight * PER_MILLE).round();
    // Such a weight would come back as another.
    if !(0.0..=1.0).contains(&weight) || per_mille / PER_MILLE != weight {
        return Err(LambdaError::invalid(format!(
            "a weight is {weight}: must be 0.0 to 1.0 in steps of 0.001"
        )));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 1000"
    )]
    let per_mille = per_mille as u16;
    Ok((number, per_mille))
}

/// A function's configuration: of a published version, or of the live one as `$LATEST`.
#[derive(Debug, Serialize)]
pub(super) struct FunctionConfiguration {
    #[serde(rename = "FunctionArn")]
    arn: String,
    #[serde(skip)]
    unqualified_arn: String,
    #[serde(flatten)]
    facts: Value,
}

impl FunctionConfiguration {
    /// Of `version`, which is called by its number or, as the live one, `$LATEST`.
    pub(super) fn new(
        lambda: &LambdaSettings,
        function: &Function,
        version: Version,
        is_latest: bool,
    ) -> Self {
        let name = &function.name;
        let revision_id = match is_latest {
            true => latest_revision(function),
            false => version_revision(function, &version),
        };
        let description = match is_latest {
            true => &version.settings.description,
            false => version.description(),
        };
        let told = &version.lambda;
        let or = |told: &Option<String>, default: String| told.clone().unwrap_or(default);
        let has_snap_start = told.snap_start;
        let mut facts = json!({
            "FunctionName": name.to_string(),
            "Runtime": or(&told.runtime, RUNTIMES[0].into()),
            "Role": or(&told.role, format!("arn:aws:iam::{}:role/jiffy", lambda.account_id)),
            "Handler": or(&told.handler, HANDLER_DEFAULT.into()),
            "CodeSize": told.code.map_or(version.image_bytes, |code| code.bytes),
            "Description": description,
            "Timeout": version.settings.timeout_ms.div_ceil(1000),
            "MemorySize": version.settings.memory_bytes / MIB,
            "LastModified": timestamp(version.created_ms),
            "CodeSha256": code_sha256(&version),
            "Version": version_text((!is_latest).then_some(version.number)),
            "TracingConfig": { "Mode": "PassThrough" },
            "RevisionId": revision_id,
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "PackageType": "Zip",
            "Architectures": ["x86_64"],
            "EphemeralStorage": { "Size": 512 },
            "SnapStart": {
                "ApplyOn": if has_snap_start { "PublishedVersions" } else { "None" },
                "OptimizationStatus": if has_snap_start && !is_latest { "On" } else { "Off" },
            },
            "LoggingConfig": {
                "LogFormat": "Text",
                "LogGroup": or(&told.log_group, format!("/aws/lambda/{name}")),
            },
        });
        if !version.settings.environment.is_empty() {
            facts["Environment"] = json!({ "Variables": version.settings.environment });
        }
        let arn = arn(lambda, name);
        let configuration = Self {
            arn: arn.clone(),
            unqualified_arn: arn,
            facts,
        };
        match is_latest {
            true => configuration,
            false => configuration.asked_for_as(&version.number.to_string()),
        }
    }

    /// The same, without a version in its ARN.
    pub(super) fn unqualified(self) -> Self {
        Self {
            arn: self.unqualified_arn.clone(),
            ..self
        }
    }

    /// The same, with the qualifier in its ARN by which a client asked for it.
    pub(super) fn asked_for_as(self, qualifier: &str) -> Self {
        Self {
            arn: format!("{}:{qualifier}", self.unqualified_arn),
            ..self
        }
    }
}

/// SHA-256 of the zip file; of the image itself if it came in none.
pub(super) fn code_sha256(version: &Version) -> String {
    let Digest(digest) = version
        .lambda
        .code
        .map_or(version.image, |code| code.sha256);
    BASE64.encode(digest)
}

/// Changes with everything that changes what is live.
pub(super) fn latest_revision(function: &Function) -> String {
    revision(&format!(
        "{}\n{}\n{}",
        function.name, function.created_ms, function.changes
    ))
}

fn version_revision(function: &Function, version: &Version) -> String {
    revision(&format!(
        "{}\n{}\n{}",
        function.name, version.number, version.created_ms
    ))
}

pub(super) fn alias_revision(function: &Function, name: &AliasName, alias: &Alias) -> String {
    let Alias {
        version,
        other,
        description,
    } = alias;
    revision(&format!(
        "{}\n{name}\n{version:?}\n{other:?}\n{description}",
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
            Outcome::StaleRevision,
            format!("RevisionId is {found} by now: read it again and try again"),
        )),
        _ => Ok(()),
    }
}

/// `2024-01-31T12:34:56.789+0000`
pub(super) fn timestamp(ms: u64) -> String {
    // 9999-12-31, beyond which there is no such text.
    const MS_MAX: u64 = 253_402_300_799_999;
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(ms.min(MS_MAX));
    let text = humantime::format_rfc3339_millis(time).to_string();
    text.replace('Z', "+0000")
}

/// An alias's main version in Lambda's words.
pub(super) fn target_text(target: &AliasTarget) -> String {
    version_text(match target {
        AliasTarget::Live => None,
        AliasTarget::Version(number) => Some(*number),
    })
}

/// An alias as clients read it.
pub(super) fn alias_document(
    lambda: &LambdaSettings,
    function: &Function,
    name: &AliasName,
    alias: &Alias,
) -> Value {
    let mut document = json!({
        "AliasArn": format!("{}:{name}", arn(lambda, &function.name)),
        "Name": name,
        "FunctionVersion": target_text(&alias.version),
        "Description": alias.description,
        "RevisionId": alias_revision(function, name, alias),
    });
    if let Some((version, per_mille)) = alias.other {
        let weight = f64::from(per_mille) / PER_MILLE;
        let weights = json!({ (version.to_string()): weight });
        document["RoutingConfig"] = json!({ "AdditionalVersionWeights": weights });
    }
    document
}
