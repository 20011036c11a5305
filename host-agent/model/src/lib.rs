//! What agent, toolchain and VMM call things: one word for one thing, with all that follows from it.
//!
//! ```text
//! outcome      how a request ended: name, blame, HTTP status, Lambda's error, exit code in one table
//! cidr         ranges of addresses
//! blame        who is to blame for what went wrong
//! function     tenants, names, version numbers, qualifiers
//! grants       what a function may ask its host for
//! settings     what an author says of a function: limits, defaults, changes; environment: how variables reach a VM
//! alias        where an alias leads
//! documents    what the native API is sent and answers
//! invalid      why a value is refused
//! schema       texts in documents, for their description
//! ```
//! Values only. Not here: input and output, sockets, clocks; what a VM says of its end (`jiffy-control`).
#![forbid(unsafe_code)]

mod alias;
mod blame;
mod cidr;
pub mod documents;
mod environment;
mod function;
mod grants;
mod invalid;
mod outcome;
#[cfg(feature = "schema")]
pub mod schema;
mod settings;

pub use alias::{ALIAS_TARGETS_MAX, Alias, AliasTarget};
pub use blame::Blame;
pub use cidr::{Cidr, InvalidCidr};
pub use environment::{
    ENVIRONMENT_BYTES_MAX, ENVIRONMENT_COST_BYTES_MAX, EnvironmentError, TIMEOUT_MS_DEFAULT,
    TIMEOUT_MS_MAX, VARIABLE_COST_BYTES, environment_page,
};
pub use function::{
    ALIAS_CHARS_MAX, AliasName, FunctionId, FunctionName, LATEST, NAME_CHARS_MAX, Qualifier,
    TenantName, VersionNumber,
};
pub use grants::{
    BindingName, FORMAT_CHARS_MAX, GRANTS_BYTES_MAX, GRANTS_MAX, GrantedMethod, Grants,
    HEADER_CHARS_MAX, HOST_BYTES_MAX, Host, HostPattern, InvalidGrant, InvokeGrant, NamedGrant,
    NetworkGrant, Origin, OriginPattern, Scheme, SecretFormat, SecretGrant, SecretHeader, UrlGrant,
};
pub use invalid::{InvalidValue, TAGS_MAX};
pub use outcome::{EndsRequest, Lambda, Outcome, Stage, UnknownOutcome};
pub use settings::{
    CONCURRENCY_DEFAULT, CONCURRENCY_MAX, Change, DESCRIPTION_CHARS_MAX, Deploy, Environment,
    EnvironmentChange, EnvironmentChanges, HIDDEN_VALUE, Isolation, Setting, Settings,
    SettingsChanges, SomeSettings, change_environment,
};
