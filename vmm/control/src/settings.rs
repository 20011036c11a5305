//! What a function gets unless its author says otherwise, and what it may get at most: told once, so that `jiffy run` does
//! as a deploy would.
//!
//! Not here: RAM (`jiffy_abi::layout`), and what only an agent needs to know.

use std::collections::BTreeMap;

use jiffy_abi::environment::{self, write_variable};

/// What a request, or `init`, may take at most, milliseconds: 15 minutes, as in Lambda's API.
pub const TIMEOUT_MS_MAX: u64 = 15 * 60 * 1000;
/// What a request, or `init`, may take unless the author says otherwise, milliseconds.
pub const TIMEOUT_MS_DEFAULT: u64 = 3000;
/// Bytes of a function's environment, names and values with a byte each behind them: what fits the
/// page that the guest finds it in.
pub const ENVIRONMENT_BYTES_MAX: usize = 4000;
const _: () = assert!(ENVIRONMENT_BYTES_MAX <= environment::ENVIRONMENT_BYTES_MAX);

/// Why an environment cannot be a function's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum EnvironmentError {
    #[error(
        "invalid name of an environment variable {0:?}: must be letters, digits and underscores, no digit first"
    )]
    Name(String),
    #[error("invalid value of the environment variable {0}: must have no zero byte")]
    Value(String),
    #[error(
        "invalid environment of {0} bytes: must have at most {ENVIRONMENT_BYTES_MAX}, names and values with a byte each behind them"
    )]
    TooLarge(usize),
}

/// The environment as a VM takes it; an error if a function cannot have it.
pub fn environment_page(variables: &BTreeMap<String, String>) -> Result<Vec<u8>, EnvironmentError> {
    let mut page = vec![];
    for (name, value) in variables {
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name || name.bytes().next().is_none_or(|byte| byte.is_ascii_digit()) {
            return Err(EnvironmentError::Name(name.clone()));
        }
        if value.contains('\0') {
            return Err(EnvironmentError::Value(name.clone()));
        }
        write_variable(name, value, |piece| page.extend_from_slice(piece));
    }
    match page.len() {
        bytes @ 0..=ENVIRONMENT_BYTES_MAX => {
            debug_assert!(bytes <= environment::ENVIRONMENT_BYTES_MAX);
            Ok(page)
        }
        bytes => Err(EnvironmentError::TooLarge(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str) -> Result<Vec<u8>, EnvironmentError> {
        environment_page(&BTreeMap::from([(name.into(), value.into())]))
    }

    #[test]
    fn an_environment_has_names_values_and_a_limit() {
        assert_eq!(check("A_1", "x=y"), Ok(b"A_1=x=y\0".to_vec()));
        for name in ["", "1A", "A-B", "É", "A=B"] {
            assert_eq!(check(name, ""), Err(EnvironmentError::Name(name.into())));
        }
        assert_eq!(check("A", "\0"), Err(EnvironmentError::Value("A".into())));
        let fits = "x".repeat(ENVIRONMENT_BYTES_MAX - 3);
        assert_eq!(
            check("A", &fits).expect("it fits").len(),
            ENVIRONMENT_BYTES_MAX
        );
        let over = Err(EnvironmentError::TooLarge(ENVIRONMENT_BYTES_MAX + 1));
        assert_eq!(check("A", &format!("{fits}x")), over);
    }
}
