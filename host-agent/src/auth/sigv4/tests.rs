//! The published vectors of AWS's Signature Version 4 test suite, and what must not pass.

use axum::http::{Request, request::Builder};

use super::*;

const PUBLISHED: &str =
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";

const SCOPE: Scope<'_> = Scope {
    region: "us-east-1",
    service: "service",
};
const LAMBDA: Scope<'_> = Scope {
    service: "lambda",
    ..SCOPE
};

fn keys() -> [(String, Secret); 1] {
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned();
    [("AKIDEXAMPLE".into(), secret.into())]
}

fn now() -> SystemTime {
    parse_date("20150830T123600Z").expect("date")
}

fn request(method: &str, target: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(target)
        .header("host", "example.amazonaws.com")
        .header("x-amz-date", "20150830T123600Z")
}

fn signed(builder: Builder, headers: &str, signature: &str) -> Parts {
    let authorization = format!("{PUBLISHED}, SignedHeaders={headers}, Signature={signature}");
    let builder = builder.header("authorization", authorization);
    builder.body(()).expect("request").into_parts().0
}

fn check(parts: &Parts, body: &str) -> Result<(), SignatureError> {
    verify(parts, body.as_bytes(), &keys(), SCOPE, now())
}

const VANILLA: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

fn vanilla() -> Parts {
    signed(request("GET", "/"), "host;x-amz-date", VANILLA)
}

#[test]
fn published_vectors_pass() {
    let plain = "host;x-amz-date";
    let published = [
        (
            signed(request("GET", "/"), plain, VANILLA), // get-vanilla
            "",
        ),
        (
            signed(
                request("GET", "/?Param2=value2&Param1=value1"), // get-vanilla-query-order-key-case
                plain,
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            "",
        ),
        (
            signed(
                request("GET", "/?%E1%88%B4=bar"), // get-vanilla-utf8-query
                plain,
                "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            ),
            "",
        ),
        (
            signed(
                request("GET", "/") // get-header-value-trim
                    .header("My-Header1", " value1")
                    .header("My-Header2", " \"a   b   c\""),
                "host;my-header1;my-header2;x-amz-date",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            "",
        ),
        (
            signed(
                request("POST", "/") // post-x-www-form-urlencoded
                    .header("Content-Type", "application/x-www-form-urlencoded"),
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            "Param1=value1",
        ),
    ];
    for (parts, body) in published {
        assert_eq!(check(&parts, body), Ok(()), "{}", parts.uri);
    }
}

/// Made with botocore: what a client sends that names a function by its ARN.
#[test]
fn encoded_paths_are_encoded_once_more() {
    let authorization = "AWS4-HMAC-SHA256 \
        Credential=AKIDEXAMPLE/20150830/us-east-1/lambda/aws4_request, \
        SignedHeaders=host;x-amz-date;x-amz-invocation-type, \
        Signature=c3d1835f4876ec4c2506abc3fea63975ad168d10a41a7c8f29da6662abc38d40";
    let target = "/2015-03-31/functions/\
        arn%3Aaws%3Alambda%3Alocal%3A000000000000%3Afunction%3Ahello/invocations?Qualifier=%24LATEST";
    let parts = Request::post(target)
        .header("host", "127.0.0.1:7070")
        .header("x-amz-date", "20150830T123600Z")
        .header("x-amz-invocation-type", "RequestResponse")
        .header("authorization", authorization)
        .body(())
        .expect("request")
        .into_parts()
        .0;
    let verified = verify(&parts, br#"{"name":"Ada"}"#, &keys(), LAMBDA, now());
    assert_eq!(verified, Ok(()));
}

#[test]
fn whatever_is_changed_is_noticed() {
    assert_eq!(check(&vanilla(), "body"), Err(SignatureError::Mismatch));
    for (method, target) in [("POST", "/"), ("GET", "/x"), ("GET", "/?a=b")] {
        let parts = signed(request(method, target), "host;x-amz-date", VANILLA);
        assert_eq!(check(&parts, ""), Err(SignatureError::Mismatch));
    }
    let mut other_host = vanilla();
    other_host
        .headers
        .insert("host", "example.invalid".parse().expect("value"));
    assert_eq!(check(&other_host, ""), Err(SignatureError::Mismatch));
    let cut = signed(request("GET", "/"), "host;x-amz-date", &VANILLA[..63]);
    assert_eq!(check(&cut, ""), Err(SignatureError::Mismatch));
    let secret = [("AKIDEXAMPLE".into(), "another".to_owned().into())];
    let verified = verify(&vanilla(), b"", &secret, SCOPE, now());
    assert_eq!(verified, Err(SignatureError::Mismatch));
    let verified = verify(&vanilla(), b"", &[], SCOPE, now());
    assert_eq!(verified, Err(SignatureError::UnknownKey));
}

#[test]
fn the_clock_may_be_15_minutes_off_and_no_more() {
    for (offset_s, expected) in [(900, Ok(())), (901, Err(SignatureError::Expired))] {
        let offset = Duration::from_secs(offset_s);
        for now in [now() + offset, now() - offset] {
            assert_eq!(verify(&vanilla(), b"", &keys(), SCOPE, now), expected);
        }
    }
}

#[test]
fn malformed_headers_are_refused_and_not_panicked_over() {
    let malformed = |authorization: &str| {
        let parts = request("GET", "/")
            .header("authorization", authorization)
            .body(())
            .expect("request")
            .into_parts()
            .0;
        let verified = check(&parts, "");
        let named = matches!(verified, Err(SignatureError::Malformed(_)));
        assert!(named, "{authorization}: {verified:?}");
    };
    for text in [
        "",
        "Bearer x",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential",
        "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/1/2/3, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/1/2/3/aws4_request/5, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/1/2/other/aws4_request, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/2/3/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/20150830/3/service/aws4_request, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/20150830/3/service/aws4_request, SignedHeaders=x-amz-date, Signature=0",
        "AWS4-HMAC-SHA256 Signature=0, Signature=0",
        "AWS4-HMAC-SHA256 Other=0",
    ] {
        malformed(text);
    }
    let absent = signed(request("GET", "/"), "host;x-absent;x-amz-date", VANILLA);
    let verified = check(&absent, "");
    assert!(matches!(verified, Err(SignatureError::Malformed(_))));
    let mut unsigned = vanilla();
    unsigned.headers.remove("authorization");
    assert_eq!(check(&unsigned, ""), Err(SignatureError::Missing));
}

#[test]
fn dates_are_read_whole_or_not_at_all() {
    assert!(parse_date("20150830T123600Z").is_some());
    for text in [
        "",
        "20150830T123600",
        "20151330T123600Z",
        "2015083 T123600Z",
        "2015-830T123600Z",
        "20150830t123600Z",
        "20150830T1236000",
        "２0150830T123600",
    ] {
        assert_eq!(parse_date(text), None, "{text}");
    }
}

/// In AWS's words: whoever signs for elsewhere meant another agent.
#[test]
fn a_signature_for_another_region_or_service_is_refused() {
    let keys = keys();
    for (scope, what) in [
        (LAMBDA, "service"),
        (
            Scope {
                region: "eu-central-1",
                ..SCOPE
            },
            "region",
        ),
    ] {
        for refused in [
            verify(&vanilla(), b"", &keys, scope, now()),
            precheck(&vanilla(), &keys, scope, now()),
        ] {
            let refused = refused.expect_err(what);
            assert!(
                matches!(&refused, SignatureError::Scope { what: found, .. } if *found == what)
            );
            assert!(
                refused
                    .to_string()
                    .starts_with("Credential should be scoped to a valid ")
            );
        }
    }
}
