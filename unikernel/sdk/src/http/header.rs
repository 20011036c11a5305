//! Headers.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};

use super::{Error, is_token};

/// The headers of a request or a response, in order. Names are case-insensitive; they are kept in
/// lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMap {
    entries: Vec<(String, HeaderValue)>,
}

impl HeaderMap {
    /// No headers.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// The value of the first header with this name.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.get_all(name).next()
    }

    /// The values of all headers with this name.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &HeaderValue> {
        let is_named = move |entry: &&(String, HeaderValue)| entry.0.eq_ignore_ascii_case(name);
        self.entries.iter().filter(is_named).map(|(_, value)| value)
    }

    /// Whether there is a header with this name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a header in place of those with its name.
    pub fn insert(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        let entry = entry(name, value.as_ref())?;
        self.remove(name);
        self.entries.push(entry);
        Ok(())
    }

    /// Adds a header beside those with its name.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.entries.push(entry(name, value.as_ref())?);
        Ok(())
    }

    /// Removes all headers with this name and tells whether there were any.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.len();
        self.entries
            .retain(|entry| !entry.0.eq_ignore_ascii_case(name));
        self.len() < before
    }

    /// The headers, names in lower case.
    pub fn iter(&self) -> Headers<'_> {
        Headers {
            entries: self.entries.iter(),
        }
    }

    /// Number of headers.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn entry(name: &str, value: &[u8]) -> Result<(String, HeaderValue), Error> {
    if !is_token(name) {
        return Err(Error::HeaderName(name.to_owned()));
    }
    let value = HeaderValue::new(value).ok_or_else(|| Error::HeaderValue(name.to_owned()))?;
    Ok((name.to_ascii_lowercase(), value))
}

impl<'a> IntoIterator for &'a HeaderMap {
    type Item = (&'a str, &'a HeaderValue);
    type IntoIter = Headers<'a>;

    fn into_iter(self) -> Headers<'a> {
        self.iter()
    }
}

/// Iterates over a [`HeaderMap`].
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    entries: core::slice::Iter<'a, (String, HeaderValue)>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a HeaderValue);

    fn next(&mut self) -> Option<Self::Item> {
        self.entries
            .next()
            .map(|(name, value)| (name.as_str(), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

/// A header's value: bytes without control characters, the tabulator excepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderValue(Box<[u8]>);

impl HeaderValue {
    fn new(value: &[u8]) -> Option<Self> {
        let is_allowed = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        value.iter().all(is_allowed).then(|| Self(value.into()))
    }

    /// The value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value, if it is ASCII, as all standard headers' values are.
    pub fn to_str(&self) -> Result<&str, Error> {
        match str::from_utf8(&self.0) {
            Ok(text) if text.is_ascii() => Ok(text),
            _ => Err(Error::HeaderText),
        }
    }
}

impl PartialEq<str> for HeaderValue {
    fn eq(&self, text: &str) -> bool {
        *self.0 == *text.as_bytes()
    }
}

impl PartialEq<&str> for HeaderValue {
    fn eq(&self, text: &&str) -> bool {
        *self == **text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn names_are_case_insensitive() {
        let mut headers = HeaderMap::new();
        headers.append("X-Many", "1").expect("valid");
        headers.append("x-many", "2").expect("valid");
        headers.insert("X-One", "a").expect("valid");
        assert_eq!(headers.get("x-MANY").expect("there"), &"1");
        assert_eq!(headers.get_all("X-Many").count(), 2);
        headers.insert("X-MANY", "3").expect("valid");
        let entries: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name, value.to_str()))
            .collect();
        assert_eq!(entries, vec![("x-one", Ok("a")), ("x-many", Ok("3"))]);
        assert!(headers.remove("X-one") && !headers.remove("x-one"));
        assert!(!headers.contains_key("x-one") && !headers.is_empty());
    }

    #[test]
    fn nobody_smuggles_a_header() {
        let mut headers = HeaderMap::new();
        for bad in ["a\r\nset-cookie: b", "a\nb", "\0", "\x7f"] {
            assert_eq!(
                headers.append("x", bad),
                Err(Error::HeaderValue("x".into()))
            );
        }
        for bad in ["", "a b", "a:", "é", "a\n"] {
            assert_eq!(headers.insert(bad, ""), Err(Error::HeaderName(bad.into())));
        }
        assert!(headers.is_empty());
        headers.append("x", b"a\tb \xff").expect("valid");
        assert_eq!(
            headers.get("x").expect("there").to_str(),
            Err(Error::HeaderText)
        );
    }
}
