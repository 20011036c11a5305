//! Names that a command line may hold, checked before anything is sent.

use std::{
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiffy_model::{FunctionName, InvalidValue, Qualifier};

/// Why a word is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error(transparent)]
    Name(InvalidValue),
    #[error("behind the colon stands a version's number or an alias, as in hello:3 or hello:prod")]
    Qualifier,
    #[error("write a time as 5m or 2h, or as 2026-01-31T12:00:00Z")]
    Since,
}

/// A function, and which of its versions: `NAME` or `NAME:QUALIFIER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionRef {
    pub(crate) name: FunctionName,
    pub(crate) qualifier: Option<Qualifier>,
}

impl FromStr for FunctionRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, qualifier) = match text.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier)),
            None => (text, None),
        };
        let name = name.parse().map_err(NameError::Name)?;
        let qualifier = qualifier.map(Qualifier::from_str).transpose();
        let qualifier = qualifier.map_err(|_| NameError::Qualifier)?;
        Ok(Self { name, qualifier })
    }
}

/// A moment in the past, milliseconds since 1970: so long ago, or then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since(pub(crate) u64);

impl FromStr for Since {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let since_1970 = match jiffy_console::quantity::parse_time(text) {
            Ok(ago) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                now.unwrap_or(Duration::ZERO).saturating_sub(ago)
            }
            Err(_) => humantime::parse_rfc3339_weak(text)
                .ok()
                .and_then(|then| then.duration_since(UNIX_EPOCH).ok())
                .ok_or(NameError::Since)?,
        };
        let ms = u64::try_from(since_1970.as_millis());
        ms.map(Self).map_err(|_| NameError::Since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_may_have_a_qualifier() {
        let check = |text: &str, name: &str, qualifier: Option<&str>| {
            let found: FunctionRef = text.parse().expect(text);
            assert_eq!(found.name.to_string(), name);
            let found = found.qualifier.map(|found| found.to_string());
            assert_eq!(found.as_deref(), qualifier);
        };
        check("hello", "hello", None);
        check("hello:3", "hello", Some("3"));
        check("a-B_2:prod", "a-B_2", Some("prod"));
        check(&"x".repeat(64), &"x".repeat(64), None);
        for text in ["", ":3", "a b", "a/b", "é", "..", &"x".repeat(65)] {
            let refused = text.parse::<FunctionRef>();
            assert!(matches!(refused, Err(NameError::Name(_))), "{text}");
        }
        for text in ["a:", "a:b:c", "a:b/c"] {
            assert_eq!(text.parse::<FunctionRef>(), Err(NameError::Qualifier));
        }
    }

    #[test]
    fn a_moment_is_so_long_ago_or_then() {
        let then: Since = "2026-01-31T12:00:00Z".parse().expect("a moment");
        assert_eq!(then, Since(1_769_860_800_000));
        let (hour, two): (Since, Since) = ("1h".parse().expect("1h"), "2h".parse().expect("2h"));
        assert!(hour.0 - two.0 >= 3_599_000 && hour.0 - two.0 <= 3_600_000);
        assert_eq!("1000years".parse(), Ok(Since(0)));
        for text in ["", "soon", "1960-01-01T00:00:00Z", "5"] {
            assert_eq!(text.parse::<Since>(), Err(NameError::Since), "{text}");
        }
    }
}
