//! Where a Redis database is and as whom one speaks with it: `redis://USER:PASSWORD@HOST:PORT/DB`, or `rediss://` with TLS.
//!
//! It is a secret: nothing of it is in an error or printed.

use std::fmt;

use jiffy_model::{Host, Origin, Scheme};
use percent_encoding::percent_decode_str;

const PORT: u16 = 6379;
/// Bytes of a URL, which is a secret, that are looked at.
const URL_BYTES_MAX: usize = 8 << 10;

/// What a URL says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) is_encrypted: bool,
    pub(super) origin: Origin,
    /// User, if it is not the server's default one.
    pub(super) user: Option<Vec<u8>>,
    pub(super) password: Option<Vec<u8>>,
    pub(super) database: u32,
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Url {
    /// Takes a URL apart; or says which part of it is not as it must be.
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        if text.len() > URL_BYTES_MAX {
            return Err("it is too long");
        }
        let text = str::from_utf8(text).map_err(|_| "it is not text")?.trim();
        let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
        let is_encrypted = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err("its scheme is another one"),
        };
        if rest.contains(['?', '#']) {
            return Err("it has a query or a fragment");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let database = match path {
            "" => 0,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| "its database is too large")?
            }
            _ => return Err("its database is not a number"),
        };
        let (who, place) = match authority.rsplit_once('@') {
            Some((who, place)) => (Some(who), place),
            None => (None, authority),
        };
        let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
            None | Some(("", "")) => (None, None),
            Some((_, "")) => return Err("it has a user and no password"),
            Some((user, password)) => {
                let user = (!user.is_empty()).then(|| percent_decode_str(user).collect());
                (user, Some(percent_decode_str(password).collect()))
            }
        };
        // An address of IPv6 is in brackets, and has colons.
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse().ok().filter(|port| *port > 0 && is_number);
                (
                    host,
                    port.ok_or("its port is not a number from 1 to 65535")?,
                )
            }
            _ => (place, PORT),
        };
        let host: Host = host
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| "its host is neither a name nor an address")?;
        Ok(Self {
            is_encrypted,
            origin: Origin {
                scheme: Scheme::Tcp,
                host,
                port,
            },
            user,
            password,
            database,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (bool, String, Option<String>, Option<String>, u32) {
        let url = Url::parse(text.as_bytes()).expect(text);
        let text = |bytes: Option<Vec<u8>>| bytes.map(|it| String::from_utf8(it).expect("text"));
        let place = format!("{}:{}", url.origin.host, url.origin.port);
        (
            url.is_encrypted,
            place,
            text(url.user),
            text(url.password),
            url.database,
        )
    }

    #[test]
    fn a_url_says_where_and_as_whom() {
        let some = |text: &str| Some(text.to_owned());
        for (url, expected) in [
            ("redis://host", (false, "host:6379".into(), None, None, 0)),
            ("redis://host/", (false, "host:6379".into(), None, None, 0)),
            (
                "rediss://me:p%40ss%2f:word@Cache.Example:7000/12\n",
                (
                    true,
                    "cache.example:7000".into(),
                    some("me"),
                    some("p@ss/:word"),
                    12,
                ),
            ),
            (
                "redis://:word@10.0.0.1",
                (false, "10.0.0.1:6379".into(), None, some("word"), 0),
            ),
            (
                "redis://a:b@c@[2001:db8::1]:1/0",
                (false, "[2001:db8::1]:1".into(), some("a"), some("b@c"), 0),
            ),
            ("redis://[::1]", (false, "[::1]:6379".into(), None, None, 0)),
            ("redis://@host", (false, "host:6379".into(), None, None, 0)),
        ] {
            assert_eq!(parsed(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_a_part_of_it() {
        let long = format!("redis://{}", "a".repeat(URL_BYTES_MAX));
        for url in [
            "",
            "host:6379",
            "http://canary",
            "REDIS://canary",
            "redis://",
            "redis://:canary@",
            "redis://canary@host",
            "redis://canary:@host",
            "redis://host:0",
            "redis://host:",
            "redis://host:+1",
            "redis://host:65536",
            "redis://host:canary",
            "redis://host/canary",
            "redis://host/0/1",
            "redis://host/4294967296",
            "redis://host/-1",
            "redis://host?protocol=3",
            "redis://host/0#canary",
            "redis://ca nary",
            "redis://127.1",
            "redis://0x7f.1",
            "unix:///canary",
            &long,
        ] {
            let why = Url::parse(url.as_bytes()).expect_err(url);
            assert!(!why.contains("canary"), "{url}: {why}");
        }
        Url::parse(b"redis://\xff").expect_err("not text");
        let url = Url::parse(b"redis://canary:canary@canary").expect("a URL");
        assert!(!format!("{url:?}").contains("canary"));
    }
}
