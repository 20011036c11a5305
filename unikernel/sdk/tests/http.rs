//! A handler for HTTP.

use jiffy::http::{Error, Method, Request, Response, StatusCode};
use proptest::prelude::*;

/// Says back what it was asked.
#[jiffy::function]
fn mirror(request: Request) -> Result<Response, Error> {
    match *request.method() {
        Method::GET | Method::POST => {}
        _ => return Response::builder().status(405).body(""),
    }
    let mut response = Response::builder()
        .status(StatusCode::CREATED)
        .header("x-method", request.method().as_str())
        .header("x-target", request.uri().as_str());
    for (name, value) in request.headers() {
        response = response.header(name, value.as_bytes());
    }
    response.body(request.into_body())
}

#[test]
fn a_request_arrives_whole() {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/a/b?c=d")
        .header("Accept", "text/html")
        .header("accept", "text/plain")
        .body([0, 1, 0xff])
        .expect("valid");
    let response = jiffy::testing::call!().http(request).run().http();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers().get("X-Method").expect("there"), &"POST");
    assert_eq!(
        response.headers().get("x-target").expect("there"),
        &"/a/b?c=d"
    );
    assert_eq!(response.headers().get_all("accept").count(), 2);
    assert_eq!(response.into_body(), [0, 1, 0xff]);
}

#[test]
fn an_event_is_a_post_to_the_root() {
    let response = jiffy::testing::call!().event("body").run().http();
    assert_eq!(response.headers().get("x-method").expect("there"), &"POST");
    assert_eq!(response.headers().get("x-target").expect("there"), &"/");
    assert_eq!(response.body(), b"body");
}

#[test]
fn another_status() {
    let request = Request::builder().method("DELETE").body([]).expect("valid");
    assert_eq!(
        jiffy::testing::call!()
            .http(request)
            .run()
            .http()
            .status()
            .as_u16(),
        405
    );
}

#[test]
fn builders_tell_the_first_mistake() {
    let response = Response::builder().status(99).header("a b", "").body("");
    assert_eq!(response, Err(Error::Status(99)));
    let response = Response::builder().header("a", "\n").status(1000).body("");
    assert_eq!(response, Err(Error::HeaderValue("a".into())));
    assert_eq!(
        Request::builder().uri("x").body([]),
        Err(Error::Target("x".into()))
    );
    assert_eq!(
        Request::builder().method("").body([]),
        Err(Error::Method(String::new()))
    );
}

mod broad {
    use super::*;

    #[jiffy::function]
    fn broad(event: &[u8]) -> Response {
        let mut response = Response::default();
        let value = vec![b'a'; event.len()];
        for name in ["x", "y"] {
            response.headers_mut().insert(name, &value).expect("valid");
        }
        response
    }

    #[test]
    fn headers_have_a_limit() {
        let call = |len: usize| jiffy::testing::Call::new(__jiffy_function).event(vec![0; len]);
        assert_eq!(call(32_000).run().http().headers().len(), 2);
        for len in [33_000, 66_000] {
            let error = call(len).run().error();
            assert_eq!(error.error_type, "ResponseTooLarge");
        }
    }
}

proptest! {
    /// Whatever a builder admits arrives as it was sent.
    #[test]
    fn what_is_sent_arrives(
        target in "/[!-~]{0,40}",
        headers in prop::collection::vec(("[!#$%&'*+.^_`|~0-9a-z-]{1,12}", "[\t -~é]{0,20}"), 0..8),
        body: Vec<u8>,
    ) {
        let mut request = Request::builder().uri(&target);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let request = request.body(body.clone()).expect("valid");
        let response = jiffy::testing::call!().http(request).run().http();
        let names = ["x-method", "x-target"].map(String::from);
        let expected: Vec<_> =
            names.iter().chain(headers.iter().map(|(name, _)| name)).cloned().collect();
        let arrived: Vec<_> = response.headers().iter().map(|(name, _)| name.to_owned()).collect();
        prop_assert_eq!(arrived, expected);
        for ((_, sent), (_, arrived)) in headers.iter().zip(response.headers().iter().skip(2)) {
            prop_assert_eq!(arrived.as_bytes(), sent.as_bytes());
        }
        prop_assert_eq!(response.body(), body);
    }
}
