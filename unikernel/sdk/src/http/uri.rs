//! Request targets.

use alloc::{
    borrow::{Cow, ToOwned},
    string::String,
    vec::Vec,
};
use core::fmt;

use super::Error;

/// What a request asks for: path and query. Host and scheme are the agent's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri(Cow<'static, str>);

impl Uri {
    /// The path, as it came: percent-encoded.
    pub fn path(&self) -> &str {
        self.0.split_once('?').map_or(&self.0, |(path, _)| path)
    }

    /// The query, as it came: without the question mark, percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.0.split_once('?').map(|(_, query)| query)
    }

    /// The `name=value` pairs of the query, decoded.
    pub fn query_pairs(&self) -> QueryPairs<'_> {
        QueryPairs {
            rest: self.query().unwrap_or_default(),
        }
    }

    /// The value of the first pair with this name in the query, decoded.
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The whole target, as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `/`
impl Default for Uri {
    fn default() -> Self {
        Self(Cow::Borrowed("/"))
    }
}

impl TryFrom<&str> for Uri {
    type Error = Error;

    fn try_from(target: &str) -> Result<Self, Error> {
        let is_path = target.starts_with('/') || target == "*";
        if !is_path
            || target
                .bytes()
                .any(|byte| byte == b' ' || byte.is_ascii_control())
        {
            return Err(Error::Target(target.to_owned()));
        }
        Ok(if target == "/" {
            Self::default()
        } else {
            Self(Cow::Owned(target.to_owned()))
        })
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Iterates over the `name=value` pairs of a query. A plus sign means a space; what is not UTF-8
/// after decoding is replaced.
#[derive(Clone, Debug)]
pub struct QueryPairs<'a> {
    rest: &'a str,
}

impl<'a> Iterator for QueryPairs<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (pair, rest) = self.rest.split_once('&').unwrap_or((self.rest, ""));
            self.rest = rest;
            if !pair.is_empty() {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                return Some((decode(name), decode(value)));
            }
        }
        None
    }
}

/// Decodes percent-encoding; a percent sign that encodes nothing stays.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let byte = match (first, tail) {
            (b'%', [high, low, after @ ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| {
                rest = after;
                high << 4 | low
            }),
            _ => None,
        };
        decoded.push(byte.unwrap_or_else(|| {
            rest = tail;
            if *first == b'+' { b' ' } else { *first }
        }));
    }
    Cow::Owned(match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn targets_are_taken_apart() {
        let check = |target: &str, path: &str, query: Option<&str>| {
            let uri = Uri::try_from(target).expect("a path");
            assert_eq!((uri.path(), uri.query()), (path, query));
            assert_eq!(uri.to_string(), target);
        };
        check("/", "/", None);
        check("/a/b?c=d?e", "/a/b", Some("c=d?e"));
        check("/?", "/", Some(""));
        check("*", "*", None);
        for bad in ["", "a", "/ a", "/\r\n", "http://host/"] {
            assert_eq!(Uri::try_from(bad), Err(Error::Target(bad.to_owned())));
        }
    }

    #[test]
    fn queries_are_decoded() {
        let uri = Uri::try_from("/?a=1&&b&c=%C3%a9+%2B&d=%&e=%zz&f=%ff&a=2").expect("a path");
        let pairs: Vec<_> = uri.query_pairs().collect();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let expected = [
            ("a", "1"),
            ("b", ""),
            ("c", "é +"),
            ("d", "%"),
            ("e", "%zz"),
            ("f", "\u{fffd}"),
            ("a", "2"),
        ];
        assert_eq!(pairs, expected);
        assert_eq!(uri.query_value("a").as_deref(), Some("1"));
        assert_eq!(uri.query_value("x"), None);
    }
}
