//! Names of functions as SDKs spell them: `NAME`, `NAME:QUALIFIER`, `ACCOUNT:function:NAME` and whole ARNs.

use axum::http::Uri;
pub(super) use jiffy_model::LATEST;

use super::error::LambdaError;
use crate::{
    config::LambdaSettings,
    http::input::decode,
    model::{AliasTarget, Function, FunctionId, Qualifier, VersionNumber},
};

/// A function, and perhaps a version or an alias of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: FunctionId,
    pub(super) qualifier: Qualifier,
    /// Whether the client said which version or alias it means.
    pub(super) is_qualified: bool,
}

impl Target {
    /// Reads a segment of a path and the `Qualifier` of the query; of the two only one may be there, or both alike.
    pub(super) fn new(segment: &str, uri: &Uri) -> Result<Self, LambdaError> {
        let (name, in_name) = split(segment)?;
        let in_query = parameter(uri, "Qualifier");
        let is_qualified = in_name.is_some() || in_query.is_some();
        let qualifier = match (in_name, in_query) {
            (Some(one), Some(other)) if one != other => {
                return Err(LambdaError::invalid(format!(
                    "the name says {one} and Qualifier says {other}: leave one out"
                )));
            }
            (one, other) => one.or(other).unwrap_or_default(),
        };
        Ok(Self {
            name,
            qualifier: Qualifier::of_lambda(&qualifier)?,
            is_qualified,
        })
    }

    /// Whether it is `$LATEST`, by that name or by an alias that leads there; such an alias has no other version beside it.
    pub(super) fn is_latest(&self, function: &Function) -> bool {
        match &self.qualifier {
            Qualifier::Live => true,
            Qualifier::Version(_) => false,
            Qualifier::Alias(alias) => {
                let to = function.aliases.get(alias);
                to.is_some_and(|to| to.version == AliasTarget::Live)
            }
        }
    }

    /// The same, where a version or an alias has no place.
    pub(super) fn unqualified(segment: &str) -> Result<FunctionId, LambdaError> {
        match split(segment)? {
            (name, None) => Ok(name),
            (name, Some(qualifier)) => Err(LambdaError::invalid(format!(
                "{qualifier} has no place here: name {name} alone"
            ))),
        }
    }
}

fn split(segment: &str) -> Result<(FunctionId, Option<String>), LambdaError> {
    let no_name = |text: &str| {
        let message = format!("{text:?} is not a function's name or ARN");
        LambdaError::invalid(message)
    };
    let text = decode(segment).ok_or_else(|| no_name(segment))?;
    let fields: Vec<_> = text.split(':').collect();
    let (name, qualifier) = match fields[..] {
        [name] => (name, None),
        [name, qualifier] => (name, Some(qualifier)),
        [_, "function", name] | ["arn", _, "lambda", _, _, "function", name] => (name, None),
        [_, "function", name, qualifier]
        | ["arn", _, "lambda", _, _, "function", name, qualifier] => (name, Some(qualifier)),
        _ => return Err(no_name(&text)),
    };
    Ok((name.parse()?, qualifier.map(Into::into)))
}

/// A parameter of the query, decoded.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    parameters(uri, name).next()
}

/// All values of a parameter of the query, decoded.
pub(super) fn parameters(uri: &Uri, name: &str) -> impl Iterator<Item = String> {
    let query = uri.query().unwrap_or_default().as_bytes();
    form_urlencoded::parse(query)
        .filter(move |(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
}

/// A parameter of the query that is a number.
pub(super) fn number(uri: &Uri, name: &str) -> Result<Option<usize>, LambdaError> {
    let text = parameter(uri, name);
    let number = text.map(|text| {
        text.parse().map_err(|_| {
            let message = format!("{name} is {text:?} and has to be a number");
            LambdaError::invalid(message)
        })
    });
    number.transpose()
}

/// ARN of a function.
pub(super) fn arn(settings: &LambdaSettings, name: &FunctionId) -> String {
    format!(
        "arn:aws:lambda:{}:{}:function:{name}",
        settings.region, settings.account_id
    )
}

/// A version in Lambda's words.
pub(super) fn version_text(version: Option<VersionNumber>) -> String {
    version.map_or_else(|| LATEST.into(), |version| version.to_string())
}

#[cfg(test)]
mod tests {
    use jiffy_model::Outcome;

    use super::*;

    fn target(segment: &str, query: &str) -> Result<(String, Qualifier), Outcome> {
        let uri = format!("/x?{query}").parse().expect("uri");
        Target::new(segment, &uri)
            .map(|target| (target.name.to_string(), target.qualifier))
            .map_err(|error| error.outcome())
    }

    #[test]
    fn every_spelling_leads_to_the_function() {
        let live = Ok(("hello".to_owned(), Qualifier::Live));
        let arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello";
        for spelling in ["hello", "hello:$LATEST", "1:function:hello", arn] {
            assert_eq!(target(spelling, ""), live, "{spelling}");
        }
        let version = Qualifier::Version(VersionNumber::FIRST);
        let version = Ok(("hello".to_owned(), version));
        assert_eq!(target("hello:1", ""), version);
        assert_eq!(target("hello", "Qualifier=1"), version);
        assert_eq!(target(&format!("{arn}:1"), "Qualifier=1"), version);
        let alias = Qualifier::Alias("prod".parse().expect("alias"));
        assert_eq!(
            target("hello", "a=b&Qualifier=prod"),
            Ok(("hello".to_owned(), alias))
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for (segment, query) in [
            ("", ""),
            ("a b", ""),
            ("%ff", ""),
            ("hello:1", "Qualifier=2"),
            ("hello", "Qualifier=0"),
            ("hello", "Qualifier=%ff"),
            ("arn:aws:s3:::hello", ""),
            ("a:b:c:d:e:f:g:h:i", ""),
        ] {
            let refused = Err(Outcome::InvalidRequest);
            assert_eq!(target(segment, query), refused, "{segment} {query}");
        }
        assert!(Target::unqualified("hello:1").is_err());
    }
}
