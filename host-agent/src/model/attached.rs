//! What belongs to a function apart from its versions: tags, URLs, and VMs that are kept ready.
//! Not here: what a URL answers (`lambda::url`), which VMs there are (`pool`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cors, InvalidValue, TAGS_MAX};

/// Characters of a tag's key at most.
const TAG_KEY_CHARS_MAX: usize = 128;
/// Characters of a tag's value at most.
const TAG_VALUE_CHARS_MAX: usize = 256;

/// What belongs to a function apart from its versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attached {
    /// For people.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// URLs: of what is live, under the empty name, and of aliases, under theirs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub urls: BTreeMap<String, FunctionUrl>,
    /// VMs that are kept ready for a published version, under its number, and for an alias, under its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ready: BTreeMap<String, Ready>,
}

/// A URL of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionUrl {
    /// Who may use it.
    pub auth: UrlAuth,
    /// Which web pages may.
    pub cors: Option<Cors>,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// When it was changed last, milliseconds since 1970.
    pub updated_ms: u64,
}

/// Who may use a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UrlAuth {
    /// Anybody who reaches the agent.
    #[serde(rename = "NONE")]
    Anybody,
    /// Who signs with one of the agent's keys, or has its token.
    #[serde(rename = "AWS_IAM")]
    Signed,
}

/// VMs that are kept ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// How many.
    pub vms: u32,
    /// When that was said, milliseconds since 1970.
    pub updated_ms: u64,
}

impl Attached {
    /// Adds `tags`, in place of those with their keys.
    pub(crate) fn tag(&mut self, tags: &BTreeMap<String, String>) -> Result<(), InvalidValue> {
        for (key, value) in tags {
            let (key_chars, value_chars) = (key.chars().count(), value.chars().count());
            if !(1..=TAG_KEY_CHARS_MAX).contains(&key_chars) || value_chars > TAG_VALUE_CHARS_MAX {
                return Err(InvalidValue::Tag(
                    key.chars().take(TAG_KEY_CHARS_MAX).collect(),
                ));
            }
            self.tags.insert(key.clone(), value.clone());
        }
        match self.tags.len() {
            0..=TAGS_MAX => Ok(()),
            tags => Err(InvalidValue::Tags(tags)),
        }
    }

    /// Removes what belongs to a version or an alias that is gone.
    pub(crate) fn forget(&mut self, qualifier: &str) {
        self.urls.remove(qualifier);
        self.ready.remove(qualifier);
    }
}
