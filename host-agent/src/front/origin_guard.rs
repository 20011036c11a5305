//! Requests that a web page makes a browser on this machine send.
//!
//! An agent without a token trusts whoever reaches its loopback address, and a browser does so for any page it shows:
//!
//! | the page | is known by | may reach |
//! |---|---|---|
//! | has a name that suddenly leads to 127.0.0.1 (DNS rebinding) | a `Host` that is not loopback | nothing |
//! | is of another site | an `Origin` that is not loopback | nothing |
//! | is a function's own, or of another server on this machine | `Origin` or `Sec-Fetch-Site` | functions, `/fn/` and `/url/` |
//!
//! A token, which no such page has, makes all of it needless.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::{HeaderValue, Uri, header, uri::Authority};
use jiffy_model::{EndsRequest, Outcome};

use crate::http::is_functions;

/// Where a browser says what made it send a request (W3C Fetch Metadata); a page cannot change it.
const FETCH_SITE: &str = "sec-fetch-site";
/// What it says if a person typed the address.
const FETCH_SITE_OF_A_PERSON: &str = "none";

/// Why a request is not answered. The texts show what the client sent, as it was parsed: no longer than its header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "the agent has no token and answers only to localhost, not to {0:?}: set token_file, or list the name under `hosts` in jiffyd.toml"
    )]
    Host(String),
    #[error(
        "the agent has no token and answers no page of {0:?}: set token_file, or list its host under `hosts` in jiffyd.toml"
    )]
    Origin(String),
    /// What functions send to browsers has the same origin as the API, which would obey it.
    #[error(
        "the agent has no token and its API answers no web page: set token_file, or ask from a program"
    )]
    Page,
}

impl EndsRequest for Refused {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Host(_) => Outcome::OtherHost,
            Self::Origin(_) | Self::Page => Outcome::OtherOrigin,
        }
    }
}

/// Refuses a request to another host than this one and `hosts`, and what pages may not send. A request without a `Host`
/// is none of a browser's.
pub(super) fn check(request: &Request, hosts: &[String]) -> Result<(), Refused> {
    let headers = request.headers();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    // Where the target names a host, too, a proxy would go by that one (RFC 9112, 3.2.2).
    let in_target = request.uri().authority().map(ToString::to_string);
    let named = headers.get_all(header::HOST).iter().map(text);
    for host in named.chain(in_target) {
        let authority = Authority::try_from(host.as_str());
        if !authority.is_ok_and(|authority| is_known(authority.host(), hosts)) {
            return Err(Refused::Host(host));
        }
    }
    for origin in headers.get_all(header::ORIGIN).iter().map(text) {
        let uri = Uri::try_from(origin.as_str());
        if !uri.is_ok_and(|uri| uri.host().is_some_and(|host| is_known(host, hosts))) {
            return Err(Refused::Origin(origin));
        }
    }
    let is_of_a_page = headers.contains_key(header::ORIGIN)
        || headers
            .get_all(FETCH_SITE)
            .iter()
            .any(|site| site != FETCH_SITE_OF_A_PERSON);
    if is_of_a_page && !is_functions(request.uri().path()) {
        return Err(Refused::Page);
    }
    Ok(())
}

fn is_known(host: &str, hosts: &[String]) -> bool {
    let is_loopback = match host.strip_prefix('[') {
        Some(address) => address
            .strip_suffix(']')
            .and_then(|address| address.parse::<Ipv6Addr>().ok())
            .is_some_and(|address| address.to_canonical().is_loopback()),
        None => host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback()),
    };
    is_loopback
        || host.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn check_with(headers: &[(&str, &str)], target: &str) -> Result<(), Refused> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        check(&request, &["jiffy.internal".to_owned()])
    }

    #[test]
    fn only_loopback_and_listed_names_are_hosts() {
        for host in [
            "localhost",
            "LocalHost:7070",
            "127.0.0.1",
            "127.255.0.3:1",
            "[::1]",
            "[::1]:7070",
            "[::ffff:127.0.0.1]:7070",
            "jiffy.internal",
            "Jiffy.Internal:80",
        ] {
            assert_eq!(check_with(&[("host", host)], "/"), Ok(()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:7070",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "0.0.0.0:7070",
            "[::]:7070",
            "[::1.evil.example]",
            "128.0.0.1",
            "2130706433",
            "a.jiffy.internal",
        ] {
            let refused = Err(Refused::Host(host.to_owned()));
            assert_eq!(check_with(&[("host", host)], "/"), refused, "{host}");
        }
        assert_eq!(check_with(&[], "/"), Ok(()), "HTTP/1.0");
    }

    #[test]
    fn a_host_in_the_target_counts_as_well() {
        let local = [("host", "localhost")];
        assert_eq!(check_with(&local, "http://127.0.0.1:7070/"), Ok(()));
        let refused = Err(Refused::Host("evil.example".into()));
        assert_eq!(check_with(&local, "http://evil.example/"), refused);
    }

    #[test]
    fn pages_reach_functions_at_most() {
        let from = |path, origin| check_with(&[("host", "localhost"), ("origin", origin)], path);
        for origin in [
            "http://localhost:3000",
            "https://[::1]",
            "http://jiffy.internal",
        ] {
            assert_eq!(from("/fn/f/", origin), Ok(()), "{origin}");
            for path in ["/", "/fn", "/v1/functions", "/2015-03-31/functions"] {
                assert_eq!(from(path, origin), Err(Refused::Page), "{origin}");
            }
        }
        for origin in [
            "http://evil.example",
            "https://localhost.evil.example",
            "null",
            "file://",
            "",
        ] {
            for path in ["/fn/f/", "/v1/functions"] {
                let refused = Err(Refused::Origin(origin.into()));
                assert_eq!(from(path, origin), refused, "{origin}");
            }
        }
    }

    #[test]
    fn a_page_of_a_function_reads_nothing_from_the_api() {
        let from =
            |path, site| check_with(&[("host", "localhost"), ("sec-fetch-site", site)], path);
        for site in ["same-origin", "same-site", "cross-site", ""] {
            assert_eq!(from("/v1/functions", site), Err(Refused::Page), "{site}");
            assert_eq!(from("/fn/f/x", site), Ok(()), "{site}");
        }
        assert_eq!(from("/v1/functions", "none"), Ok(()), "typed by a person");
    }
}
