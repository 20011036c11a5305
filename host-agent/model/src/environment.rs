//! A function's time and environment: limits, defaults, and how variables travel to a VM.
//!
//! Not here: RAM (`jiffy_abi::layout`).

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
/// What a variable costs besides its text, bytes: what two texts take in a map, and what an allocator adds to them. Without it a
/// thousand variables of a letter each had thirty times of what the text takes, in each version that an agent remembers.
pub const VARIABLE_COST_BYTES: usize = 96;
const _: () = assert!(VARIABLE_COST_BYTES >= 2 * size_of::<String>() + 2 * 16);
/// What an environment may cost, bytes, [`VARIABLE_COST_BYTES`] for each variable among them.
pub const ENVIRONMENT_COST_BYTES_MAX: usize = 16 << 10;

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
    #[error(
        "invalid environment of {variables} variables and {bytes} bytes: must cost at most {ENVIRONMENT_COST_BYTES_MAX} bytes, \
         {VARIABLE_COST_BYTES} of them for each variable"
    )]
    TooMany { variables: usize, bytes: usize },
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
    let (variables, bytes) = (variables.len(), page.len());
    if bytes > ENVIRONMENT_BYTES_MAX {
        return Err(EnvironmentError::TooLarge(bytes));
    }
    if bytes + variables * VARIABLE_COST_BYTES > ENVIRONMENT_COST_BYTES_MAX {
        return Err(EnvironmentError::TooMany { variables, bytes });
    }
    Ok(page)
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

    /// Small variables cost more than their text.
    #[test]
    fn each_variable_of_an_environment_is_charged() {
        let many = |variables: usize| {
            let variables = (0..variables).map(|number| (format!("A{number:03}"), String::new()));
            environment_page(&variables.collect())
        };
        // Six bytes of text each: four of the name, an equals sign, a zero.
        let fit = ENVIRONMENT_COST_BYTES_MAX / (VARIABLE_COST_BYTES + 6);
        assert_eq!(many(fit).map(|page| page.len()), Ok(fit * 6));
        let over = EnvironmentError::TooMany {
            variables: fit + 1,
            bytes: (fit + 1) * 6,
        };
        assert_eq!(many(fit + 1), Err(over.clone()));
        assert!(over.to_string().contains("161 variables"), "{over}");
    }
}
