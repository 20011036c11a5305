//! Cross-origin requests of web pages: who may make them, and what they may see.

use serde::{Deserialize, Serialize};

/// What stands for any.
pub(crate) const ANY: &str = "*";
/// Seconds for which a browser need not ask again where nobody says otherwise.
const MAX_AGE_S_DEFAULT: u32 = 600;

/// What web pages of other origins may do, as in Lambda's API. Lists may have `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cors {
    /// Whether browsers send cookies and the like: they do not, unless it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Headers that pages may send.
    pub allow_headers: Vec<String>,
    /// Methods that pages may use.
    pub allow_methods: Vec<String>,
    /// Origins of pages.
    pub allow_origins: Vec<String>,
    /// Headers that pages may see.
    pub expose_headers: Vec<String>,
    /// How long browsers may remember all of this, seconds.
    pub max_age_s: Option<u32>,
}

impl Cors {
    /// Any page may do anything but send cookies and the like: for what asks for a token, which browsers do not add.
    pub(crate) fn of_anybody() -> Self {
        let any = || vec![ANY.to_owned()];
        Self {
            allow_headers: any(),
            allow_methods: any(),
            allow_origins: any(),
            max_age_s: Some(MAX_AGE_S_DEFAULT),
            ..Self::default()
        }
    }

    /// Whether browsers send cookies and the like.
    pub(crate) fn allows_credentials(&self) -> bool {
        self.allow_credentials.unwrap_or_default()
    }

    /// What `Access-Control-Allow-Origin` says to a page of `origin`: `None` if it may nothing.
    pub fn allowed_origin<'a>(&self, origin: &'a str) -> Option<&'a str> {
        let is_it = |allowed: &String| {
            allowed == ANY
                || allowed.eq_ignore_ascii_case(origin)
                // `https://*` is any host by that scheme.
                || allowed.strip_suffix(ANY).is_some_and(|before| {
                    before.ends_with("://") && origin.starts_with(before)
                })
        };
        if !self.allow_origins.iter().any(is_it) {
            return None;
        }
        let is_any = self.allow_origins.iter().any(|allowed| allowed == ANY);
        // Browsers take no `*` where credentials are sent.
        Some(if is_any && !self.allows_credentials() {
            ANY
        } else {
            origin
        })
    }
}
