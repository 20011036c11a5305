//! Who the client is: the peer of the connection, or whom a trusted proxy speaks for.
//!
//! A proxy appends whom it speaks for to a list that the client began as it pleased. So the list is read from its end, as long as
//! those that wrote it are trusted: `trusted_proxies`. The first address that is none of them is the client. Only one
//! header is read, `client_address_header`: a proxy that sets the one passes on whatever a client wrote into the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderValue, request::Parts, uri::Authority};

use crate::{
    auth::Caller,
    config::{AddressHeader, Cidr},
};

/// Headers of widespread proxies, beside `Forwarded` and `X-Forwarded-*`, that tell an address.
const TELLS_ADDRESS: [&str; 8] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-real-ip",
];
const FORWARDED: &str = "forwarded";
const X_FORWARDED_PREFIX: &str = "x-forwarded-";
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Whether a header that was received stays behind because it says who the client is: of a stranger all of them, of
/// a proxy those that are written anew.
pub(crate) fn is_about_client(name: &str, is_proxy: bool) -> bool {
    name == FORWARDED
        || (name.starts_with(X_FORWARDED_PREFIX)
            && (!is_proxy || matches!(&name[X_FORWARDED_PREFIX.len()..], "for" | "proto" | "host")))
        || (!is_proxy && TELLS_ADDRESS.contains(&name))
}

/// Who is at the other end of a request's connection.
pub(crate) fn peer(parts: &Parts) -> IpAddr {
    let caller = parts.extensions.get::<Caller>();
    caller.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |caller| caller.peer)
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address.
    pub(crate) address: IpAddr,
    /// The trusted proxies between it and the agent, the nearest to the agent last.
    via: Vec<IpAddr>,
    /// How it spoke to the first of them.
    is_https: bool,
    /// The host it asked that one for, if that is said.
    host: Option<String>,
}

impl Client {
    /// Who sent a request with these headers through `peer`.
    pub(crate) fn new(
        peer: IpAddr,
        headers: &HeaderMap,
        trusted: &[Cidr],
        which: AddressHeader,
    ) -> Self {
        let mut client = Self {
            address: peer,
            via: vec![],
            is_https: false,
            host: None,
        };
        if !is_trusted(peer, trusted) {
            return client;
        }
        match which {
            AddressHeader::XForwardedFor => {
                let lists = headers.get_all(X_FORWARDED_FOR).iter().rev();
                let entries = lists.flat_map(|list| text(list).rsplit(','));
                for entry in entries {
                    if !client.is_behind(node(entry.trim()), trusted) {
                        break;
                    }
                }
                let last = |name: &str| headers.get_all(name).iter().next_back().map(text);
                let last_of = |list: &'_ str| {
                    list.rsplit(',')
                        .next()
                        .unwrap_or_default()
                        .trim()
                        .to_owned()
                };
                client.is_https = last("x-forwarded-proto")
                    .map(last_of)
                    .is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
                client.host = last("x-forwarded-host").map(last_of).and_then(host);
            }
            AddressHeader::Forwarded => {
                let lists: Vec<_> = headers.get_all(FORWARDED).iter().map(text).collect();
                let elements: Vec<_> = lists.iter().flat_map(|list| split(list, ',')).collect();
                for element in elements.iter().rev() {
                    let pair = |name: &str| {
                        split(element, ';').into_iter().find_map(|pair| {
                            let (key, value) = pair.split_once('=')?;
                            key.trim()
                                .eq_ignore_ascii_case(name)
                                .then(|| unquoted(value.trim()))
                        })
                    };
                    // What is said of the connection of the first trusted proxy is in the element that names the client.
                    client.is_https =
                        pair("proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
                    client.host = pair("host").and_then(host);
                    if !client.is_behind(pair("for").and_then(|value| node(&value)), trusted) {
                        break;
                    }
                }
            }
        }
        client
    }

    /// Takes note of whom the proxy that is now held for the client speaks for. False: no further back is anybody known.
    fn is_behind(&mut self, node: Option<IpAddr>, trusted: &[Cidr]) -> bool {
        // `unknown`, a name that hides it (RFC 7239, 6), or nonsense: the proxy is the nearest that is known.
        let Some(address) = node else { return false };
        self.via.insert(0, self.address);
        self.address = address;
        is_trusted(address, trusted)
    }

    /// The same as headers for a function: who is asked by which of them finds the same client, from either end.
    pub(crate) fn headers(&self, received_host: Option<&HeaderValue>) -> Vec<(String, Vec<u8>)> {
        let proto = if self.is_https { "https" } else { "http" };
        let mut addresses = self.address.to_string();
        for address in &self.via {
            addresses.push_str(", ");
            addresses.push_str(&address.to_string());
        }
        let mut forwarded = match self.address {
            IpAddr::V4(address) => format!("for={address};proto={proto}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\";proto={proto}"),
        };
        let host = self.host.as_deref();
        if let Some(host) = host.or_else(|| received_host.and_then(|host| host.to_str().ok())) {
            let is_token = host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
            match is_token {
                true => forwarded.push_str(&format!(";host={host}")),
                false => forwarded.push_str(&format!(";host=\"{host}\"")),
            }
        }
        let mut headers = vec![
            (FORWARDED.to_owned(), forwarded.into_bytes()),
            (X_FORWARDED_FOR.to_owned(), addresses.into_bytes()),
            ("x-forwarded-proto".to_owned(), proto.into()),
        ];
        if let Some(host) = host {
            headers.push(("x-forwarded-host".to_owned(), host.into()));
        }
        headers
    }
}

/// Whether an address is one of `trusted`.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[Cidr]) -> bool {
    trusted.iter().any(|cidr| cidr.contains(address))
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

fn host(text: String) -> Option<String> {
    let is_host = |host: Authority| !host.as_str().contains('@');
    Authority::try_from(text.as_str())
        .is_ok_and(is_host)
        .then_some(text)
}

/// The address of a node: with or without a port, an IPv6 address with or without brackets.
fn node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            IpAddr::V6(address.parse::<Ipv6Addr>().ok().filter(|_| is_port)?)
        }
        None => match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => {
                IpAddr::V4(address.parse().ok().filter(|_| is_port(port))?)
            }
            _ => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

/// A port, or one that is hidden (RFC 7239, 6.3).
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() || text.starts_with('_')
}

/// The parts of a list, separators within quotes excepted.
fn split(list: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut is_quoted, mut is_escaped) = (vec![], 0, false, false);
    for (at, char) in list.char_indices() {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if char == separator && !is_quoted => {
                parts.push(&list[from..at]);
                from = at + char.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    parts
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
    else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        text.extend(if char == '\\' {
            chars.next()
        } else {
            Some(char)
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    fn trusted() -> Vec<Cidr> {
        ["10.0.0.0/8", "fd00::/16", "192.0.2.7"]
            .map(|text| text.parse().expect("a range"))
            .into()
    }

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                header::HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("a value"),
            )
        };
        let mut map = HeaderMap::new();
        pairs.iter().map(pair).for_each(|(name, value)| {
            map.append(name, value);
        });
        map
    }

    #[track_caller]
    fn check(
        peer: &str,
        which: AddressHeader,
        pairs: &[(&'static str, &str)],
        client: &str,
        list: &str,
    ) {
        let found = Client::new(
            peer.parse().expect("an address"),
            &map(pairs),
            &trusted(),
            which,
        );
        assert_eq!(found.address.to_string(), client, "{pairs:?}");
        let headers = found.headers(None);
        let value = headers
            .iter()
            .find(|(name, _)| name == X_FORWARDED_FOR)
            .expect("there");
        assert_eq!(String::from_utf8_lossy(&value.1), list, "{pairs:?}");
    }

    #[test]
    fn a_stranger_is_not_believed() {
        for which in [AddressHeader::XForwardedFor, AddressHeader::Forwarded] {
            let lies = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")];
            check("203.0.113.9", which, &lies, "203.0.113.9", "203.0.113.9");
        }
    }

    #[test]
    fn lists_are_read_from_their_end_while_proxies_are_trusted() {
        let which = AddressHeader::XForwardedFor;
        let check = |value: &str, client: &str, list: &str| {
            check(
                "10.0.0.1",
                which,
                &[("x-forwarded-for", value)],
                client,
                list,
            )
        };
        check("203.0.113.9", "203.0.113.9", "203.0.113.9, 10.0.0.1");
        check(
            "6.6.6.6, 203.0.113.9",
            "203.0.113.9",
            "203.0.113.9, 10.0.0.1",
        );
        check(
            "6.6.6.6, 203.0.113.9, 10.9.9.9",
            "203.0.113.9",
            "203.0.113.9, 10.9.9.9, 10.0.0.1",
        );
        check("203.0.113.9:4711", "203.0.113.9", "203.0.113.9, 10.0.0.1");
        check("2001:db8::1", "2001:db8::1", "2001:db8::1, 10.0.0.1");
        check(
            "[2001:db8::1]:80,fd00::5",
            "2001:db8::1",
            "2001:db8::1, fd00::5, 10.0.0.1",
        );
        check("::ffff:203.0.113.9", "203.0.113.9", "203.0.113.9, 10.0.0.1");
        // The nearest that is known.
        for hidden in [
            "unknown",
            "_secret",
            "",
            "6.6.6.6, ",
            "6.6.6.6, nonsense",
            "1.2.3.4:99999",
            "[::1",
            "[::1]x",
        ] {
            check(hidden, "10.0.0.1", "10.0.0.1");
        }
        check(
            "6.6.6.6, unknown, 10.2.2.2",
            "10.2.2.2",
            "10.2.2.2, 10.0.0.1",
        );
        // All are trusted: the first of them asked itself.
        check(
            "10.3.3.3, 10.2.2.2",
            "10.3.3.3",
            "10.3.3.3, 10.2.2.2, 10.0.0.1",
        );
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "203.0.113.9, 10.1.1.1"),
        ];
        check(
            "192.0.2.7",
            AddressHeader::XForwardedFor,
            &lines,
            "203.0.113.9",
            "203.0.113.9, 10.1.1.1, 192.0.2.7",
        );
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_has_it() {
        let check = |value: &str, client: &str| {
            let found = Client::new(
                "10.0.0.1".parse().expect("address"),
                &map(&[("forwarded", value), ("x-forwarded-for", "6.6.6.6")]),
                &trusted(),
                AddressHeader::Forwarded,
            );
            assert_eq!(found.address.to_string(), client, "{value}");
            found
        };
        check("for=203.0.113.9", "203.0.113.9");
        check(
            "For=\"203.0.113.9:80\" ; proto=http;by=203.0.113.43",
            "203.0.113.9",
        );
        check(
            "for=6.6.6.6, for=\"[2001:db8:cafe::17]:4711\"",
            "2001:db8:cafe::17",
        );
        check("for=\"a,b;for=1.1.1.1\"", "10.0.0.1");
        check("for=unknown", "10.0.0.1");
        check("for=_hidden", "10.0.0.1");
        check("proto=https", "10.0.0.1");
        let found = check(
            "for=203.0.113.9;proto=https;host=\"shop.example:8443\", for=10.5.5.5;proto=http",
            "203.0.113.9",
        );
        assert!(found.is_https);
        assert_eq!(found.host.as_deref(), Some("shop.example:8443"));
    }

    #[test]
    fn a_proxy_says_scheme_and_host_and_a_stranger_does_not() {
        let headers = map(&[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-for", "203.0.113.9"),
        ]);
        let client = |peer: &str| {
            Client::new(
                peer.parse().expect("address"),
                &headers,
                &trusted(),
                AddressHeader::XForwardedFor,
            )
        };
        let text = |client: Client| {
            client
                .headers(Some(&HeaderValue::from_static("inside:7070")))
                .into_iter()
                .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(&value)))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            text(client("10.0.0.1")),
            [
                "forwarded: for=203.0.113.9;proto=https;host=shop.example",
                "x-forwarded-for: 203.0.113.9, 10.0.0.1",
                "x-forwarded-proto: https",
                "x-forwarded-host: shop.example"
            ]
        );
        assert_eq!(
            text(client("2001:db8::9")),
            [
                "forwarded: for=\"[2001:db8::9]\";proto=http;host=\"inside:7070\"",
                "x-forwarded-for: 2001:db8::9",
                "x-forwarded-proto: http"
            ]
        );
    }

    #[test]
    fn what_a_stranger_says_of_itself_stays_behind() {
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-port",
            "x-real-ip",
            "true-client-ip",
        ] {
            assert!(is_about_client(name, false), "{name}");
        }
        assert!(!is_about_client("x-forwarded-port", true) && !is_about_client("x-real-ip", true));
        assert!(!is_about_client("x-forwarding", false) && !is_about_client("host", false));
    }
}
