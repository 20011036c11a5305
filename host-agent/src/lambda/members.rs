//! What is done with each member of an operation's input: none is dropped in silence.
//!
//! A member that asks for what is not here is refused by name, unless it asks for nothing (`""`, `[]`, `false`): tools
//! send those for everything they know. `docs/lambda.md` has the same table; tests hold that, and that botocore's model
//! knows no other member.
//! Not here: whether the value of a member that is used is right (`shapes`).

use std::collections::BTreeMap;

use jiffy_model::Outcome;
use serde_json::{Value, value::RawValue};

use super::{error::LambdaError, operations::Verb};

/// What is done with a member.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decision {
    /// It has its effect.
    Used,
    /// It is kept and given back.
    Kept,
    /// It may only be one of these, in JSON: there is nothing else here.
    Only(&'static [&'static str], &'static str),
    /// It is refused.
    Refused(&'static str),
    /// Its members have rows of their own.
    Within,
}
use Decision::{Kept, Only, Refused, Used, Within};

/// A member's name, with those it is in before it, and what is done with it.
pub(super) type Member = (&'static str, Decision);

const NO_STORE: Decision = Refused("code comes in ZipFile: there is no object store here");
const NO_IMAGES: Decision =
    Refused("there are no container images here: send the image in ZipFile");
const NO_KMS: Decision = Refused("there is no key service here");
const NO_TARGET: Decision = Refused("there is one kind of published version here: use Publish");
const ONE_ARCHITECTURE: Decision = Only(&[r#"["x86_64"]"#], "functions run on x86_64");

macro_rules! members {
    ($($(#[$doc:meta])* $table:ident: $($name:literal $decision:expr;)*)*) => {
        $($(#[$doc])* const $table: &[Member] = &[$(($name, $decision)),*];)*
    };
}

members! {
    /// What CreateFunction and UpdateFunctionConfiguration both take.
    CONFIGURATION:
    "AcceleratorConfig" Refused("there are no accelerators here");
    "CapacityProviderConfig" Refused("VMs run on this host and on no other capacity");
    "DeadLetterConfig" Refused("events are not there yet");
    "Description" Used;
    "DurableConfig" Refused("executions are not durable");
    "Environment" Within;
    "Environment.Variables" Used;
    "EphemeralStorage" Within;
    "EphemeralStorage.Size" Only(&["512"], "it is what clients send by default; a function here has no disk");
    "FileSystemConfigs" Refused("a function here has no file system");
    "Handler" Kept;
    "ImageConfig" NO_IMAGES;
    "KMSKeyArn" NO_KMS;
    "Layers" Refused("an image has no layers: link everything into it");
    "LoggingConfig" Within;
    "LoggingConfig.ApplicationLogLevel" Refused("logs are not filtered");
    "LoggingConfig.LogFormat" Only(&["\"Text\""], "logs are lines of text");
    "LoggingConfig.LogGroup" Kept;
    "LoggingConfig.SystemLogLevel" Refused("logs are not filtered");
    "MemorySize" Used;
    "Role" Kept;
    "Runtime" Kept;
    "RuntimeConfig" Refused("an image brings its runtime");
    "SnapStart" Within;
    "SnapStart.ApplyOn" Kept;
    "Timeout" Used;
    "TracingConfig" Within;
    "TracingConfig.Mode" Only(&["\"PassThrough\""], "traces are passed on and not recorded");
    "VpcConfig" Refused("a function here has no network of its own");

    CREATE_FUNCTION:
    "Architectures" ONE_ARCHITECTURE;
    "Code" Within;
    "Code.ImageUri" NO_IMAGES;
    "Code.S3Bucket" NO_STORE;
    "Code.S3Key" NO_STORE;
    "Code.S3ObjectStorageMode" NO_STORE;
    "Code.S3ObjectVersion" NO_STORE;
    "Code.SourceKMSKeyArn" NO_KMS;
    "Code.ZipFile" Used;
    "CodeSigningConfigArn" Refused("code is not signed");
    "FunctionName" Used;
    "PackageType" Only(&["\"Zip\""], "send the image in a zip file");
    "Publish" Used;
    "PublishTo" NO_TARGET;
    "Tags" Used;
    "TenancyConfig" Refused("every request has a pristine VM of its own already");

    UPDATE_CODE:
    "Architectures" ONE_ARCHITECTURE;
    "DryRun" Used;
    "ImageUri" NO_IMAGES;
    "Publish" Used;
    "PublishTo" NO_TARGET;
    "RevisionId" Used;
    "S3Bucket" NO_STORE;
    "S3Key" NO_STORE;
    "S3ObjectStorageMode" NO_STORE;
    "S3ObjectVersion" NO_STORE;
    "SourceKMSKeyArn" NO_KMS;
    "ZipFile" Used;

    REVISION:
    "RevisionId" Used;

    PUBLISH_VERSION:
    "CodeSha256" Used;
    "Description" Used;
    "PublishTo" NO_TARGET;
    "RevisionId" Used;

    ALIAS:
    "Description" Used;
    "FunctionVersion" Used;
    "RoutingConfig" Within;
    "RoutingConfig.AdditionalVersionWeights" Used;

    NAME:
    "Name" Used;

    RESERVED:
    "ReservedConcurrentExecutions" Used;

    PROVISIONED:
    "ProvisionedConcurrentExecutions" Used;

    TAGS:
    "Tags" Used;

    URL:
    "AuthType" Used;
    "Cors" Within;
    "Cors.AllowCredentials" Used;
    "Cors.AllowHeaders" Used;
    "Cors.AllowMethods" Used;
    "Cors.AllowOrigins" Used;
    "Cors.ExposeHeaders" Used;
    "Cors.MaxAge" Used;
    "InvokeMode" Only(&["\"BUFFERED\""], "responses are not streamed yet");

    QUALIFIER:
    "Qualifier" Used;

    PAGE:
    "Marker" Used;
    "MaxItems" Used;

    LIST_FUNCTIONS:
    "FunctionVersion" Used;
    "MasterRegion" Refused("there are no replicas of functions of other regions here");

    LIST_ALIASES:
    "FunctionVersion" Used;

    LIST_PROVISIONED:
    "List" Used;

    UNTAG:
    "tagKeys" Used;

    /// Headers that Invoke takes.
    INVOKE_HEADERS:
    "X-Amz-Client-Context" Used;
    "X-Amz-Durable-Execution-Name" Refused("executions are not durable");
    "X-Amz-Invocation-Type" Used;
    "X-Amz-Log-Type" Used;
    "X-Amz-Tenant-Id" Refused("every request has a pristine VM of its own already");
}

/// The members of a verb's body, of its query, and of its headers.
pub(super) fn members(verb: Verb) -> [&'static [&'static [Member]]; 3] {
    let body: &[&[Member]] = match verb {
        Verb::CreateFunction => &[CREATE_FUNCTION, CONFIGURATION],
        Verb::UpdateFunctionConfiguration => &[CONFIGURATION, REVISION],
        Verb::UpdateFunctionCode => &[UPDATE_CODE],
        Verb::PublishVersion => &[PUBLISH_VERSION],
        Verb::CreateAlias => &[ALIAS, NAME],
        Verb::UpdateAlias => &[ALIAS, REVISION],
        Verb::PutFunctionConcurrency => &[RESERVED],
        Verb::PutProvisionedConcurrencyConfig => &[PROVISIONED],
        Verb::TagResource => &[TAGS],
        Verb::CreateFunctionUrlConfig | Verb::UpdateFunctionUrlConfig => &[URL],
        _ => &[],
    };
    let query: &[&[Member]] = match verb {
        Verb::ListFunctions => &[PAGE, LIST_FUNCTIONS],
        Verb::ListAliases => &[PAGE, LIST_ALIASES],
        Verb::ListProvisionedConcurrencyConfigs => &[PAGE, LIST_PROVISIONED],
        Verb::ListVersionsByFunction | Verb::ListFunctionUrlConfigs => &[PAGE],
        Verb::UntagResource => &[UNTAG],
        Verb::GetFunction
        | Verb::GetFunctionConfiguration
        | Verb::DeleteFunction
        | Verb::Invoke
        | Verb::CreateFunctionUrlConfig
        | Verb::GetFunctionUrlConfig
        | Verb::UpdateFunctionUrlConfig
        | Verb::DeleteFunctionUrlConfig
        | Verb::PutProvisionedConcurrencyConfig
        | Verb::GetProvisionedConcurrencyConfig
        | Verb::DeleteProvisionedConcurrencyConfig => &[QUALIFIER],
        _ => &[],
    };
    let headers: &[&[Member]] = match verb {
        Verb::Invoke => &[INVOKE_HEADERS],
        _ => &[],
    };
    [body, query, headers]
}

/// Looks at every member of a body that is a JSON document.
pub(super) fn check_body(verb: Verb, body: &[u8]) -> Result<(), LambdaError> {
    let [table, ..] = members(verb);
    check_object(table, "", body)
}

/// Looks at every parameter of a query.
pub(super) fn check_query(verb: Verb, query: &str) -> Result<(), LambdaError> {
    let [_, table, _] = members(verb);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    for (name, value) in pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        match decision(table, name) {
            None => return Err(unknown(name)),
            Some(Refused(why)) if !value.is_empty() => {
                return Err(refused(name, value, LEFT_OUT, why));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Looks at the headers that are input.
pub(super) fn check_headers(
    verb: Verb,
    headers: &axum::http::HeaderMap,
) -> Result<(), LambdaError> {
    let [.., table] = members(verb);
    for (name, decision) in table.iter().copied().flatten() {
        if let Refused(why) = decision
            && let Some(value) = headers.get(*name)
        {
            return Err(refused(
                name,
                &String::from_utf8_lossy(value.as_bytes()),
                LEFT_OUT,
                why,
            ));
        }
    }
    Ok(())
}

fn check_object(table: &[&[Member]], within: &str, object: &[u8]) -> Result<(), LambdaError> {
    // The values are not looked into unless they have to be: one may be a zip file.
    let found: BTreeMap<String, &RawValue> =
        serde_json::from_slice(object).map_err(|error| malformed(within, &error))?;
    for (name, value) in found {
        let path = format!("{within}{name}");
        let inner = format!("{path}.");
        let text = value.get();
        let has_inner = table
            .iter()
            .copied()
            .flatten()
            .any(|(name, _)| name.starts_with(&inner));
        if has_inner && text != "null" {
            check_object(table, &inner, text.as_bytes())?;
            continue;
        }
        match decision(table, &path) {
            None => return Err(unknown(&path)),
            Some(Used | Kept | Within) => {}
            Some(decision) => check_value(&path, decision, text)?,
        }
    }
    Ok(())
}

fn check_value(path: &str, decision: Decision, text: &str) -> Result<(), LambdaError> {
    let value: Value = serde_json::from_str(text).map_err(|error| malformed(path, &error))?;
    if asks_for_nothing(&value) {
        return Ok(());
    }
    match decision {
        Used | Kept | Within => Ok(()),
        Refused(why) => Err(refused(path, &shown(&value), LEFT_OUT, why)),
        Only(texts, why) => {
            let is_one =
                |text: &&str| serde_json::from_str::<Value>(text).is_ok_and(|one| one == value);
            match texts.iter().any(is_one) {
                true => Ok(()),
                false => Err(refused(path, &shown(&value), &texts.join(" or "), why)),
            }
        }
    }
}

fn decision(table: &[&[Member]], path: &str) -> Option<Decision> {
    let mut members = table.iter().copied().flatten();
    members
        .find(|(name, _)| *name == path)
        .map(|(_, decision)| *decision)
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.values().all(asks_for_nothing),
    }
}

/// Characters of a value that a message has at most.
const SHOWN_CHARS_MAX: usize = 80;

fn shown(value: &Value) -> String {
    value.to_string().chars().take(SHOWN_CHARS_MAX).collect()
}

/// The rule for what there is none of.
const LEFT_OUT: &str = "left out";

fn refused(name: &str, value: &str, rule: &str, why: &str) -> LambdaError {
    let value: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    let message = format!("unsupported {name} {value}: must be {rule} ({why})");
    LambdaError::invalid(message)
}

fn unknown(name: &str) -> LambdaError {
    let message = format!("unknown member {name}: must be one that this operation takes");
    LambdaError::invalid(message)
}

fn malformed(within: &str, error: &serde_json::Error) -> LambdaError {
    let what = within.trim_end_matches('.');
    let what = if what.is_empty() { "the body" } else { what };
    let message = format!("Could not parse request body into json: {what}: {error}");
    LambdaError::new(Outcome::MalformedBody, message)
}

#[cfg(test)]
mod tests;
