//! Texts in documents whose types are not here, as `openapi.json` describes them.

use schemars::JsonSchema;

/// How much a line of a log matters.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Whose words a line of a log is.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum LogSource {
    Function,
    Platform,
}

/// Id of a message; those of one queue sort as the messages were sent.
#[derive(Debug, JsonSchema)]
pub struct MessageId(#[schemars(length(equal = 16), regex(pattern = "^[0-9a-f]{16}$"))] pub String);
