//! Accepts webhooks that are signed as GitHub signs them: the header `X-Hub-Signature-256` holds
//! `sha256=` and the HMAC-SHA256 of the body under a shared secret, in hexadecimal digits.
#![cfg_attr(not(test), no_std)]

use hmac::{Hmac, KeyInit, Mac};
use jiffy::http::{Error, Method, Request, Response, StatusCode};
use sha2::Sha256;

/// Shared with the sender.
const SECRET: &[u8] = b"It's a Secret to Everybody";

/// The secret, already mixed into the hash: each request starts from a copy.
#[jiffy::init]
fn keyed() -> Result<Hmac<Sha256>, hmac::digest::InvalidLength> {
    Hmac::new_from_slice(SECRET)
}

/// Answers 202 to what is signed and 401 to everything else.
#[jiffy::function]
pub fn receive(request: Request, keyed: &Hmac<Sha256>) -> Result<Response, Error> {
    if request.method() != Method::POST {
        return Response::builder()
            .status(StatusCode::METHOD_NOT_ALLOWED)
            .header("allow", "POST")
            .body("use POST\n");
    }
    let signature = request
        .headers()
        .get("x-hub-signature-256")
        .and_then(|value| value.as_bytes().strip_prefix(b"sha256="))
        .and_then(bytes_of_hex);
    let Some(signature) = signature else {
        return unauthorized("the header X-Hub-Signature-256 is missing or malformed\n");
    };
    // Takes the same time wherever the first difference is, so nobody can guess byte by byte.
    if keyed
        .clone()
        .chain_update(request.body())
        .verify_slice(&signature)
        .is_err()
    {
        return unauthorized("the signature does not match\n");
    }
    let event = request
        .headers()
        .get("x-github-event")
        .map(|event| event.to_str());
    let event = event.transpose()?.unwrap_or("unnamed");
    jiffy::log!("{event}: {} bytes", request.body().len());
    Response::builder()
        .status(StatusCode::ACCEPTED)
        .header("x-event", event)
        .body("accepted\n")
}

fn unauthorized(why: &str) -> Result<Response, Error> {
    jiffy::log::warn!("refused: {}", why.trim_end());
    Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .body(why)
}

/// The 32 bytes that 64 hexadecimal digits say.
fn bytes_of_hex(digits: &[u8]) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = digits.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |index: usize| char::from(pair[index]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8; // Both are below 16.
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GitHub's documentation for this header.
    const BODY: &str = "Hello, World!";
    const SIGNATURE: &str =
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn post(body: &str, signature: &str) -> Response {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/hooks")
            .header("X-Hub-Signature-256", signature)
            .header("X-GitHub-Event", "push")
            .body(body)
            .expect("valid");
        jiffy::testing::call!().http(request).run().http()
    }

    #[test]
    fn what_is_signed_is_accepted() {
        let response = post(BODY, SIGNATURE);
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.headers().get("x-event").expect("there"), &"push");
        assert_eq!(response.body(), b"accepted\n");
        let upper = SIGNATURE.to_uppercase().replace("SHA256", "sha256");
        assert_eq!(post(BODY, &upper).status(), StatusCode::ACCEPTED);
    }

    #[test]
    fn what_is_not_is_refused() {
        let check = |body: &str, signature: &str, why: &str| {
            let response = post(body, signature);
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{signature}");
            assert!(
                String::from_utf8_lossy(response.body()).contains(why),
                "{signature}"
            );
        };
        check("Hello, World?", SIGNATURE, "does not match");
        check("", SIGNATURE, "does not match");
        check(BODY, &SIGNATURE.replace("57", "58"), "does not match");
        for malformed in [
            "",
            "sha256=",
            &SIGNATURE[7..],
            &SIGNATURE[..70],
            "sha1=757107ea",
        ] {
            check(BODY, malformed, "malformed");
        }
        check(BODY, &format!("{SIGNATURE}0"), "malformed");
        check(BODY, &SIGNATURE.replace('7', "x"), "malformed");
    }

    #[test]
    fn other_methods_are_refused() {
        let request = Request::builder().uri("/hooks").body([]).expect("valid");
        let response = jiffy::testing::call!().http(request).run().http();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers().get("allow").expect("there"), &"POST");
    }
}
