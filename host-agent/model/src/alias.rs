//! Where an alias leads.

use serde::{Deserialize, Serialize};

use crate::{InvalidValue, VersionNumber, function::LIVE};

/// Versions that an alias spreads its requests over at most.
pub const ALIAS_TARGETS_MAX: usize = 2;

/// Where an alias leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The version that gets what `other` does not.
    pub version: AliasTarget,
    /// Another version, and its share of the requests, per mille. Only beside a published one.
    pub other: Option<(VersionNumber, u16)>,
    /// For people.
    pub description: String,
}

impl Alias {
    /// Whether it leads to the published version `number`.
    pub fn names(&self, number: VersionNumber) -> bool {
        self.version == AliasTarget::Version(number)
            || self.other.is_some_and(|(other, _)| other == number)
    }
}

/// A published version, or whichever is live. In JSON a number or `"live"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
pub enum AliasTarget {
    /// Whichever is live; Lambda's `$LATEST`.
    Live,
    /// This one.
    Version(VersionNumber),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
enum Written {
    Number(VersionNumber),
    Text(#[cfg_attr(feature = "schema", schemars(extend("const" = LIVE)))] String),
}

impl TryFrom<Written> for AliasTarget {
    type Error = InvalidValue;

    fn try_from(written: Written) -> Result<Self, InvalidValue> {
        match written {
            Written::Number(number) => Ok(Self::Version(number)),
            Written::Text(text) if text == LIVE => Ok(Self::Live),
            Written::Text(text) => Err(InvalidValue::Version(text)),
        }
    }
}

impl From<AliasTarget> for Written {
    fn from(target: AliasTarget) -> Self {
        match target {
            AliasTarget::Live => Self::Text(LIVE.into()),
            AliasTarget::Version(number) => Self::Number(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of earlier releases have numbers.
    #[test]
    fn a_target_is_a_number_or_live() {
        let check = |text: &str, target| {
            assert_eq!(
                serde_json::from_str::<AliasTarget>(text).expect(text),
                target
            );
            assert_eq!(serde_json::to_string(&target).expect("JSON"), text);
        };
        check("1", AliasTarget::Version(VersionNumber::FIRST));
        check("\"live\"", AliasTarget::Live);
        for wrong in ["0", "-1", "\"1\"", "null", "\"prod\""] {
            assert!(
                serde_json::from_str::<AliasTarget>(wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
