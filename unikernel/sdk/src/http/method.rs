//! Methods.

use alloc::{borrow::ToOwned, boxed::Box};
use core::fmt;

use super::{Error, is_token};

/// A request's method. Methods are case-sensitive, the usual ones are constants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Method(Kind);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Kind {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Other(Box<str>),
}

impl Method {
    /// `GET`
    pub const GET: Self = Self(Kind::Get);
    /// `HEAD`
    pub const HEAD: Self = Self(Kind::Head);
    /// `POST`
    pub const POST: Self = Self(Kind::Post);
    /// `PUT`
    pub const PUT: Self = Self(Kind::Put);
    /// `PATCH`
    pub const PATCH: Self = Self(Kind::Patch);
    /// `DELETE`
    pub const DELETE: Self = Self(Kind::Delete);
    /// `OPTIONS`
    pub const OPTIONS: Self = Self(Kind::Options);

    /// The method as it stands in a request.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Get => "GET",
            Kind::Head => "HEAD",
            Kind::Post => "POST",
            Kind::Put => "PUT",
            Kind::Patch => "PATCH",
            Kind::Delete => "DELETE",
            Kind::Options => "OPTIONS",
            Kind::Other(name) => name,
        }
    }
}

impl TryFrom<&str> for Method {
    type Error = Error;

    fn try_from(name: &str) -> Result<Self, Error> {
        Ok(Self(match name {
            "GET" => Kind::Get,
            "HEAD" => Kind::Head,
            "POST" => Kind::Post,
            "PUT" => Kind::Put,
            "PATCH" => Kind::Patch,
            "DELETE" => Kind::Delete,
            "OPTIONS" => Kind::Options,
            other if is_token(other) => Kind::Other(other.into()),
            other => return Err(Error::Method(other.to_owned())),
        }))
    }
}

impl PartialEq<Method> for &Method {
    fn eq(&self, other: &Method) -> bool {
        **self == *other
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for name in [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "get",
        ] {
            assert_eq!(Method::try_from(name).expect("a token").as_str(), name);
        }
        assert_eq!(Method::try_from("GET"), Ok(Method::GET));
        for bad in ["", "GET ", "G\nT", "É"] {
            assert_eq!(Method::try_from(bad), Err(Error::Method(bad.to_owned())));
        }
    }
}
