//! What passes between a client and a function, header by header.

use std::sync::Arc;

use super::*;
use crate::http::bodies::Budget;

fn held() -> Held {
    Held::new(&Arc::new(Budget::default()), u64::MAX)
}

fn response(status: u16, headers: &[(&str, &str)]) -> jiffy_control::Response {
    let owned = |(name, value): &(&str, &str)| (String::from(*name), value.as_bytes().to_owned());
    jiffy_control::Response {
        kind: ResponseKind::Http,
        status,
        error_type: String::new(),
        headers: headers.iter().map(owned).collect(),
        body: b"body".to_vec(),
    }
}

#[test]
fn what_a_function_answers_is_checked() {
    for status in [0, 99, 100, 101, 199, 600, u16::MAX] {
        let refused = http_response(response(status, &[]), &Method::GET, held())
            .expect_err("no final status");
        assert_eq!(refused.outcome(), Outcome::FunctionError);
    }
    for pair in [("a b", ""), ("", ""), ("x", "a\r\nb: c"), ("x\n", "")] {
        let refused =
            http_response(response(200, &[pair]), &Method::GET, held()).expect_err("malformed");
        assert_eq!(refused.outcome(), Outcome::FunctionError);
    }
}

#[test]
fn an_event_to_a_handler_for_http_returns_its_body() {
    let headers = [("content-type", "text/plain"), ("set-cookie", "a=1")];
    let answer = respond(response(401, &headers), Wanted::Output, held()).expect("response");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["jiffy-http-status"], "401");
    assert_eq!(answer.headers()["content-type"], "text/plain");
    assert_eq!(answer.headers().len(), 2);
    let answer =
        respond(response(401, &headers), Wanted::Http(&Method::GET), held()).expect("response");
    assert_eq!(answer.status(), 401);
}

#[test]
fn names_and_targets_are_split_where_the_client_wrote_them() {
    let check = |target: &str| {
        let request = Request::builder().uri(target).body(()).expect("request");
        function_and_target(&request.into_parts().0)
            .map(|(name, target)| (name.to_string(), target))
            .ok()
    };
    let found = |name: &str, target: &str| Some((name.to_owned(), target.to_owned()));
    assert_eq!(check("/fn/hello"), found("hello", "/"));
    assert_eq!(check("/fn/hello?a=b"), found("hello", "/?a=b"));
    assert_eq!(check("/fn/hello/"), found("hello", "/"));
    assert_eq!(check("/fn/hello/a%2Fb//?q"), found("hello", "/a%2Fb//?q"));
    assert_eq!(check("/fn/hell%6f/"), found("hello", "/"));
    for bad in ["/fn/", "/fn//x", "/fn/a%2Fb", "/fn/%ff"] {
        assert_eq!(check(bad), None, "{bad}");
    }
}

#[test]
fn a_value_is_json_if_its_handler_says_so() {
    let check = |headers: &[(&str, &str)], expected: &str| {
        let ok = jiffy_control::Response {
            kind: ResponseKind::Ok,
            status: 0,
            ..response(0, headers)
        };
        let answer = respond(ok, Wanted::Output, held()).expect("response");
        assert_eq!(answer.headers()["content-type"], expected);
        assert_eq!(answer.headers().len(), 1);
    };
    check(&[("content-type", "application/json")], "application/json");
    check(&[], "application/octet-stream");
    for hostile in ["text/html", "application/json; charset=x", "a\r\nb: c"] {
        check(&[("content-type", hostile)], "application/octet-stream");
    }
}
