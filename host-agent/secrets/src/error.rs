//! Why secrets cannot be had.

use std::path::PathBuf;

use jiffy_model::{EndsRequest, Outcome, TenantName};
use jiffy_tables::TableFileError;

use crate::{MasterError, SECRET_BYTES_MAX, SECRETS_MAX};

/// Why a secret is not kept, or cannot be had. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum SecretsError {
    #[error("invalid secret of {0} bytes: must be 1 to {SECRET_BYTES_MAX}")]
    Bytes(usize),
    #[error("there would be more than {SECRETS_MAX} secrets: remove one")]
    TooMany,
    #[error("the secret {0} is damaged: set it again")]
    Damaged(String),
    #[error("the key of all secrets of {0} is damaged: remove and set them again")]
    DamagedKey(TenantName),
    #[error(
        "the master key in {key} does not open the secrets in {secrets}: put back the one that they were encrypted with, or move {secrets} away to begin without any"
    )]
    WrongKey { key: PathBuf, secrets: PathBuf },
    #[error(
        "the master key {key} is not there, and the secrets in {secrets} are encrypted with it: put it back, or move {secrets} away to begin without any"
    )]
    NoKey { key: PathBuf, secrets: PathBuf },
    #[error(
        "the secrets in {path} have format {found}: must be {known}, so they are another release's"
    )]
    Format {
        path: PathBuf,
        found: u64,
        known: u64,
    },
    #[error("the host has no random numbers")]
    Random,
    #[error(transparent)]
    Master(#[from] MasterError),
    #[error(transparent)]
    File(#[from] TableFileError),
}

impl EndsRequest for SecretsError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Bytes(_) => Outcome::InvalidRequest,
            Self::TooMany => Outcome::Full,
            Self::File(error) if error.is_full() => Outcome::Full,
            Self::Master(MasterError::Credential(_)) => Outcome::Conflict,
            Self::Damaged(_)
            | Self::DamagedKey(_)
            | Self::WrongKey { .. }
            | Self::NoKey { .. }
            | Self::Format { .. }
            | Self::Random
            | Self::Master(_)
            | Self::File(_) => Outcome::Host,
        }
    }
}
