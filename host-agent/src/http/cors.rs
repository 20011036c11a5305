//! What a browser is told of requests that web pages make to another origin (Fetch, 3.2), for all that functions answer: one
//! policy, `model::Cors`, and one way to say it.
//!
//! A preflight carries no credentials, so an agent with a token would refuse it and the request that it asks for would never
//! come. Below `/fn/` such an agent therefore answers it by [`Cors::of_anybody`]: the request that follows has to carry the
//! token, which no browser adds of its own accord, and whether a page may read the answer the function says in that answer. A
//! function's URL has the policy that its author gave it, for preflights and answers. The function does not run for a preflight.
//! An agent without a token hands preflights below `/fn/` to the function, as any other request of a page that may reach it.
//! Not here: which pages an agent without a token obeys (`front::origin_guard`).

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::{body::Body, response::Response};

use crate::model::{ANY, Cors};

/// What an answer depends on, and what that to a preflight does.
const VARY: HeaderValue = HeaderValue::from_static("origin");
const VARY_OF_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);

/// Whether a browser asks what a page may do before it does it.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight: its status says nothing, its headers what `cors` allows.
pub(crate) fn answer(cors: &Cors, asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    say(cors, asked, response.headers_mut());
    response
}

/// Says what `cors` allows to who sent a request with the headers `asked`, in place of what the function says.
pub(crate) fn say(cors: &Cors, asked: &HeaderMap, response: &mut HeaderMap) {
    let Some(origin) = asked.get(header::ORIGIN) else {
        return;
    };
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        header::ACCESS_CONTROL_MAX_AGE,
    ] {
        response.remove(name);
    }
    let method = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD);
    // To those that are refused too: a cache must not tell one page what another was told.
    let vary = method.map_or(VARY, |_| VARY_OF_PREFLIGHT);
    response.append(header::VARY, vary);
    let origin = origin.to_str().ok();
    let Some(allowed) = origin.and_then(|origin| cors.allowed_origin(origin)) else {
        return;
    };
    let mut say = |name: HeaderName, text: &str| {
        if let Ok(value) = HeaderValue::try_from(text)
            && !text.is_empty()
        {
            response.insert(name, value);
        }
    };
    say(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if cors.allows_credentials() {
        say(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    let Some(method) = method else {
        say(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            &cors.expose_headers.join(","),
        );
        return;
    };
    // To browsers `*` is no method of a request with credentials, and never stands for `Authorization`: any is what was asked for.
    let list = |allowed: &[String], wanted: Option<&HeaderValue>| match allowed {
        any if any.iter().any(|one| one == ANY) => {
            let wanted = wanted.and_then(|wanted| wanted.to_str().ok());
            wanted.unwrap_or_default().to_owned()
        }
        some => some.join(","),
    };
    say(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        &list(&cors.allow_methods, Some(method)),
    );
    say(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        &list(
            &cors.allow_headers,
            asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS),
        ),
    );
    let max_age = cors.max_age_s.map(|seconds| seconds.to_string());
    say(header::ACCESS_CONTROL_MAX_AGE, &max_age.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "https://shop.example";

    fn asked(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().cloned();
        pairs
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect()
    }

    fn preflight() -> HeaderMap {
        asked(&[
            (header::ORIGIN, ORIGIN),
            (header::ACCESS_CONTROL_REQUEST_METHOD, "PUT"),
            (header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,x-a"),
        ])
    }

    fn told(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
        headers
            .get(name)
            .map(|value| value.to_str().expect("a text"))
    }

    #[test]
    fn a_preflight_names_origin_and_method() {
        assert!(is_preflight(&Method::OPTIONS, &preflight()));
        assert!(!is_preflight(&Method::PUT, &preflight()));
        for missing in [header::ORIGIN, header::ACCESS_CONTROL_REQUEST_METHOD] {
            let mut headers = preflight();
            headers.remove(missing);
            assert!(!is_preflight(&Method::OPTIONS, &headers));
        }
    }

    /// `*` in a list is told as what was asked for: browsers take it for no `Authorization`, and for nothing beside credentials.
    #[test]
    fn any_is_what_was_asked_for() {
        let every = |allow_credentials: bool| Cors {
            allow_credentials: Some(allow_credentials),
            ..Cors::of_anybody()
        };
        for (cors, origin) in [(every(false), ANY), (every(true), ORIGIN)] {
            let response = answer(&cors, &preflight());
            let headers = response.headers();
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
            assert_eq!(
                told(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN),
                Some(origin)
            );
            assert_eq!(
                told(headers, header::ACCESS_CONTROL_ALLOW_METHODS),
                Some("PUT")
            );
            assert_eq!(
                told(headers, header::ACCESS_CONTROL_ALLOW_HEADERS),
                Some("authorization,x-a")
            );
            assert_eq!(told(headers, header::ACCESS_CONTROL_MAX_AGE), Some("600"));
            let credentials = told(headers, header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
            assert_eq!(credentials, cors.allows_credentials().then_some("true"));
        }
    }

    #[test]
    fn a_page_is_told_what_is_allowed_and_nothing_of_the_functions_own() {
        let cors = Cors {
            allow_origins: vec![ORIGIN.into()],
            allow_methods: vec!["GET".into(), "PUT".into()],
            expose_headers: vec!["x-b".into()],
            ..Cors::default()
        };
        let own = || asked(&[(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")]);
        let mut headers = own();
        say(&cors, &asked(&[(header::ORIGIN, ORIGIN)]), &mut headers);
        assert_eq!(
            told(&headers, header::ACCESS_CONTROL_ALLOW_ORIGIN),
            Some(ORIGIN)
        );
        assert_eq!(
            told(&headers, header::ACCESS_CONTROL_EXPOSE_HEADERS),
            Some("x-b")
        );
        assert_eq!(told(&headers, header::ACCESS_CONTROL_ALLOW_METHODS), None);

        let mut headers = own();
        let other = asked(&[(header::ORIGIN, "https://other.example")]);
        say(&cors, &other, &mut headers);
        assert_eq!(told(&headers, header::ACCESS_CONTROL_ALLOW_ORIGIN), None);
        assert!(told(&headers, header::VARY).is_some());

        let response = answer(&cors, &preflight());
        let methods = told(response.headers(), header::ACCESS_CONTROL_ALLOW_METHODS);
        assert_eq!(methods, Some("GET,PUT"));
    }
}
