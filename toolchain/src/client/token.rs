//! The token that an agent may want.

use std::{
    env,
    path::{Path, PathBuf},
};

use jiffy_snapshots::read_secret;
use ureq::http::HeaderValue;

use super::ClientError;

/// The variable that holds the token itself.
const VARIABLE: &str = "JIFFY_TOKEN";
/// Bytes of a token at most.
const TOKEN_BYTES_MAX: u64 = 4096;

/// The `Authorization` header: with the token of `file`, of `JIFFY_TOKEN`, or of `jiffy/token` in the folder
/// for configuration, whichever comes first; `None` if there is none of them.
pub(super) fn find(file: Option<&Path>) -> Result<Option<HeaderValue>, ClientError> {
    if let Some(path) = file {
        return read(path).map(Some);
    }
    if let Some(text) = env::var_os(VARIABLE).filter(|text| !text.is_empty()) {
        let text = text.into_string().unwrap_or_default();
        return header(&text, VARIABLE.as_ref()).map(Some);
    }
    match config_file() {
        Some(path) if path.exists() => read(&path).map(Some),
        _ => Ok(None),
    }
}

fn config_file() -> Option<PathBuf> {
    Some(user_folder("XDG_CONFIG_HOME", ".config")?.join("jiffy/token"))
}

/// The folder that `variable` names, or else the one `below` the home folder; `None` without a home.
pub(crate) fn user_folder(variable: &str, below: &str) -> Option<PathBuf> {
    // A path that is not absolute is none, says the XDG specification.
    let absolute = |name: &str| {
        let path = env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(below)))
}

fn read(path: &Path) -> Result<HeaderValue, ClientError> {
    header(&read_secret(path, TOKEN_BYTES_MAX)?, path)
}

/// The header with this token, which is from `origin`.
fn header(text: &str, origin: &Path) -> Result<HeaderValue, ClientError> {
    let token = text.trim();
    let is_token = !token.is_empty()
        && text.len() as u64 <= TOKEN_BYTES_MAX
        && token.bytes().all(|byte| byte.is_ascii_graphic());
    let header = HeaderValue::try_from(format!("Bearer {token}")).ok();
    match header.filter(|_| is_token) {
        Some(mut header) => {
            header.set_sensitive(true);
            Ok(header)
        }
        None => Err(ClientError::Token(origin.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_token_is_printable_and_has_a_limit() {
        let check = |text: &str| header(text, Path::new("t")).ok();
        assert_eq!(check(" ab12\n").expect("a token"), "Bearer ab12");
        let longest = usize::try_from(TOKEN_BYTES_MAX).expect("small");
        assert!(check(&"x".repeat(longest)).is_some());
        let too_long = "x".repeat(longest + 1);
        for text in ["", "\n", "a b", "a\nb", "é", &too_long] {
            assert!(check(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_file_that_is_named_has_to_be_there() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("token");
        assert!(matches!(find(Some(&path)), Err(ClientError::TokenFile(_))));
        fs::write(&path, "secret\n").expect("written");
        let with_mode = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
            find(Some(&path))
        };
        let exposed = with_mode(0o644).expect_err("others can read it");
        assert!(
            crate::output::chain(&exposed).contains("chmod 600"),
            "{exposed}"
        );
        with_mode(0o600).expect("its owner alone can");
        let header = find(Some(&path)).expect("read").expect("a token");
        assert_eq!(header, "Bearer secret");
        assert!(!format!("{header:?}").contains("secret"));
        for path in [Path::new("/dev/zero"), folder.path()] {
            let error = find(Some(path)).expect_err("no file");
            assert!(matches!(error, ClientError::TokenFile { .. }), "{error}");
        }
    }
}
