//! Records as they stand in the store: JSON, so that a release can add fields that the one before lacks.

use serde::{Serialize, de::DeserializeOwned};

use super::RegistryError;

/// `record` in bytes. `what` names it in errors.
pub(super) fn encode(record: &impl Serialize, what: &str) -> Result<Vec<u8>, RegistryError> {
    serde_json::to_vec(record).map_err(|_| RegistryError::Damaged(what.into()))
}

/// The record in `bytes`.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes).map_err(|_| RegistryError::Damaged(what.into()))
}
