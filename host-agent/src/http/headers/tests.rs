//! Each rule of the table, in the direction in which it holds.

use super::*;

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    map
}

fn passed(pairs: &[(&'static str, &'static str)], pass: Pass<'_>) -> Vec<String> {
    let passed = for_guest(&map(pairs), pass);
    passed.into_iter().map(|(name, _)| name).collect()
}

fn answered(pairs: &[(&str, &str)]) -> Vec<String> {
    let owned = |(name, value): &(&str, &str)| (String::from(*name), value.as_bytes().to_owned());
    let headers = of_function(pairs.iter().map(owned).collect()).expect("well-formed");
    headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect()
}

/// RFC 9110, 7.6.1, and what predates it.
const OF_CONNECTION: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[test]
fn headers_of_the_connection_pass_in_neither_direction() {
    for name in OF_CONNECTION {
        assert_eq!(
            passed(&[(name, "x"), ("kept", "1")], Pass::default()),
            ["kept"],
            "{name}"
        );
        assert_eq!(answered(&[(name, "x"), ("kept", "1")]), ["kept"], "{name}");
        let upper = name.to_ascii_uppercase();
        assert_eq!(
            answered(&[(&upper, "x"), ("kept", "1")]),
            ["kept"],
            "{name}"
        );
    }
}

#[test]
fn what_any_connection_header_nominates_passes_in_neither_direction() {
    let pairs = [
        ("connection", "close, X-One"),
        ("x-one", "1"),
        ("x-two", "1"),
        ("x-three", "1"),
        ("connection", " x-two ,keep-alive"),
    ];
    assert_eq!(passed(&pairs, Pass::default()), ["x-three"]);
    assert_eq!(answered(&pairs), ["x-three"]);
}

#[test]
fn the_agents_own_stay_behind() {
    assert_eq!(
        answered(&[("jiffy-start", "warm"), ("JIFFY-Error", "x"), ("a", "")]),
        ["a"]
    );
    let pairs = [
        ("jiffy-request-id", "forged"),
        ("expect", "100-continue"),
        ("host", "h"),
    ];
    assert_eq!(passed(&pairs, Pass::default()), ["host"]);
}

#[test]
fn the_token_stays_behind_and_other_credentials_do_not() {
    let pairs = [("authorization", "Bearer secret"), ("cookie", "a=b")];
    let with = |has_token| {
        let pass = Pass {
            has_token,
            ..Pass::default()
        };
        passed(&pairs, pass)
    };
    assert_eq!(with(true), ["cookie"]);
    assert_eq!(with(false), ["authorization", "cookie"]);
}

#[test]
fn a_trace_context_passes_if_it_is_the_requests() {
    let pairs = [("traceparent", "00-a-b-01"), ("tracestate", "c=d")];
    let with = |traceparent| {
        let pass = Pass {
            traceparent,
            ..Pass::default()
        };
        passed(&pairs, pass)
    };
    assert_eq!(with("00-a-b-01"), ["traceparent", "tracestate"]);
    assert_eq!(with("00-made-anew"), [""; 0]);
}

#[test]
fn no_function_speaks_for_the_whole_origin() {
    for name in SPEAKS_FOR_ORIGIN {
        assert_eq!(
            answered(&[(name, "x"), ("set-cookie", "a=1")]),
            ["set-cookie"],
            "{name}"
        );
    }
}

#[test]
fn timings_are_added_and_other_facts_are_set() {
    let mut headers = map(&[
        ("server-timing", "db;dur=5"),
        ("date", "then"),
        ("jiffy-start", "x"),
    ]);
    add_facts(
        &mut headers,
        map(&[("server-timing", "run;dur=1"), ("jiffy-start", "cold")]),
    );
    let timings: Vec<_> = headers.get_all("server-timing").iter().collect();
    assert_eq!(timings, ["db;dur=5", "run;dur=1"]);
    let starts: Vec<_> = headers.get_all("jiffy-start").iter().collect();
    assert_eq!(starts, ["cold"]);
    assert_eq!(headers["date"], "then");
}

#[test]
fn several_values_of_one_header_stay_several() {
    let owned = [("set-cookie", "a=1"), ("Set-Cookie", "b=2")]
        .map(|(name, value)| (name.to_owned(), value.into()));
    let headers = of_function(owned.into()).expect("well-formed");
    assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
}
