//! Invocations. What went wrong in a function is a result here: status 200 and `X-Amz-Function-Error`.

use axum::http::{HeaderValue, header};

use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiffy_abi::frame::ResponseKind;
use jiffy_control::CUT_MARK;
use jiffy_model::{Lambda, Outcome};
use serde::de::IgnoredAny;
use serde_json::json;

use super::{
    Answer, Call,
    error::LambdaError,
    name::{Target, version_text},
    no_content,
    proxy::{pack, unpack},
};
use crate::{
    http::{
        bodies::counted,
        problem::{ERROR_TYPE_BYTES_MAX, bounded, text_of_error},
        trace::traceparent_or_amzn,
    },
    service::{InvokeFacts, InvokeFailure, InvokeInput},
    symbols::Frame,
    vm::Vms,
};

/// Bytes of a client's context in base64 at most, as in Lambda.
const CLIENT_CONTEXT_BYTES_MAX: usize = 3583;
/// Bytes of a `stackTrace` at most, by its frames' texts.
const STACK_TRACE_BYTES_MAX: usize = 16 << 10;
/// What a function that is invoked without a payload gets, as in Lambda.
const EMPTY_EVENT: &[u8] = b"{}";

/// Of `X-Amz-Function-Error`: the function noticed the error, or the platform.
const HANDLED: HeaderValue = HeaderValue::from_static("Handled");
const UNHANDLED: HeaderValue = HeaderValue::from_static("Unhandled");

impl<V: Vms> Call<'_, V> {
    pub(super) async fn invoke(mut self, name: &str) -> Answer {
        let target = Target::new(name, &self.parts.uri)?;
        match self.header("x-amz-invocation-type") {
            None | Some(b"RequestResponse") => {}
            Some(b"DryRun") => {
                self.service().resolve(&target.name, &target.qualifier)?;
                return no_content();
            }
            Some(b"Event") => {
                return Err(LambdaError::invalid(
                    "this agent has no asynchronous invocations yet: use InvocationType RequestResponse",
                ));
            }
            _ => {
                return Err(LambdaError::invalid(
                    "InvocationType has to be RequestResponse or DryRun",
                ));
            }
        }
        check_json(&self.body)?;
        let wants_log_tail = self
            .header("x-amz-log-type")
            .is_some_and(|log| log == b"Tail");
        let entry = self.catalog().entry(&target.name);
        let is_latest = entry.is_ok_and(|entry| target.is_latest(&entry.function));
        let body = if self.body.is_empty() {
            EMPTY_EVENT.to_owned()
        } else {
            std::mem::take(&mut self.body).into()
        };
        let input = InvokeInput {
            request_id: Some(self.id.as_str().to_owned()),
            traceparent: Some(traceparent_or_amzn(&self.parts.headers)),
            client_address: Some(self.lambda.backend.client(&self.parts).address.to_string()),
            client_context: self
                .header("x-amz-client-context")
                .map(client_context)
                .transpose()?,
            http: None,
            body,
            wants_log_tail,
            unpack_http: Some(unpack),
            version_text: is_latest.then(|| version_text(None)),
        };
        let service = self.service();
        let invoked = service.invoke(&target.name, &target.qualifier, input).await;
        match invoked {
            Ok(invoked) => {
                let response = invoked.response;
                let (error, body) = match (response.outcome().lambda(), response.kind) {
                    (Lambda::Handled(""), _) => {
                        let payload = failure_payload(&response.error_type, &response.body, &[]);
                        (Some(HANDLED), payload)
                    }
                    (Lambda::Handled(name), _) => {
                        (Some(HANDLED), failure_payload(name, &response.body, &[]))
                    }
                    (_, ResponseKind::Http) => (None, pack(&response, invoked.facts.http_format)),
                    _ => (None, response.body),
                };
                let body = counted(body, self.lambda.backend.held())?;
                Ok(result(body, error, &invoked.facts, is_latest))
            }
            Err(InvokeFailure { why, facts }) => {
                let Lambda::Unhandled(name) = why.outcome.lambda() else {
                    return Err(why.into());
                };
                let message = match why.outcome {
                    Outcome::Timeout => {
                        #[expect(
                            clippy::cast_precision_loss,
                            reason = "at most 15 minutes in milliseconds"
                        )]
                        let seconds = facts.timeout_ms as f64 / 1e3;
                        let id = &facts.request_id;
                        format!("{id} Task timed out after {seconds:.2} seconds")
                    }
                    _ => why.text,
                };
                let body = failure_payload(name, message.as_bytes(), &facts.backtrace);
                Ok(result(body.into(), Some(UNHANDLED), &facts, is_latest))
            }
        }
    }
}

/// Refuses a payload that is not JSON, as Lambda does before a function sees it.
fn check_json(body: &[u8]) -> Result<(), LambdaError> {
    if body.is_empty() {
        return Ok(());
    }
    let checked = serde_json::from_slice::<IgnoredAny>(body).map(drop);
    checked.map_err(|error| {
        let message = format!("Could not parse request body into json: {error}");
        LambdaError::new(Outcome::MalformedBody, message)
    })
}

/// The JSON in a client's context, which is base64.
fn client_context(text: &[u8]) -> Result<String, LambdaError> {
    let refused = |why: String| {
        let message = format!("X-Amz-Client-Context {why}");
        LambdaError::new(Outcome::MalformedBody, message)
    };
    if text.len() > CLIENT_CONTEXT_BYTES_MAX {
        let bytes = text.len();
        return Err(refused(format!(
            "has {bytes} bytes: must be at most {CLIENT_CONTEXT_BYTES_MAX}"
        )));
    }
    let json = BASE64.decode(text);
    let json = json.map_err(|_| refused("is not base64".into()))?;
    serde_json::from_slice::<IgnoredAny>(&json)
        .map_err(|error| refused(format!("is not JSON in base64: {error}")))?;
    String::from_utf8(json).map_err(|_| refused("is not UTF-8".into()))
}

/// An error as Lambda's runtimes say it, with where the function was. All of it may come from a guest, so each part is cut.
fn failure_payload(name: &str, message: &[u8], backtrace: &[Frame]) -> Vec<u8> {
    let mut room_bytes = STACK_TRACE_BYTES_MAX;
    let mut frames = vec![];
    for frame in backtrace {
        let frame = frame.to_string();
        let Some(left) = room_bytes.checked_sub(frame.len()) else {
            frames.push(CUT_MARK.to_owned());
            break;
        };
        room_bytes = left;
        frames.push(frame);
    }
    let name = bounded(name.to_owned(), ERROR_TYPE_BYTES_MAX);
    let mut document = json!({ "errorType": name, "errorMessage": text_of_error(message) });
    if !frames.is_empty() {
        document["stackTrace"] = frames.into();
    }
    document.to_string().into_bytes()
}

fn result(
    body: Bytes,
    error: Option<HeaderValue>,
    facts: &InvokeFacts,
    is_latest: bool,
) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    let headers = response.headers_mut();
    if let Some(error) = error {
        headers.insert("x-amz-function-error", error);
    }
    let version = version_text(facts.version.filter(|_| !is_latest));
    if let Ok(version) = HeaderValue::try_from(version) {
        headers.insert("x-amz-executed-version", version);
    }
    if let Some(tail) = &facts.log_tail {
        let tail = HeaderValue::try_from(BASE64.encode(tail));
        headers.insert(
            "x-amz-log-result",
            tail.expect("base64 is a header's value"),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::http::problem::DETAIL_BYTES_MAX;

    /// A function's error may have 16 MiB of control characters, of six bytes each in JSON.
    #[test]
    fn what_a_function_says_of_its_error_is_cut() {
        let mut frame = Frame::unknown(0x20_0000);
        (frame.function, frame.file) = (Some("f".repeat(1000)), Some("x".repeat(1000)));
        let read = |name: &str, message: &[u8], frames: &[Frame]| -> (usize, Value) {
            let payload = failure_payload(name, message, frames);
            let document = serde_json::from_slice(&payload).expect("JSON");
            (payload.len(), document)
        };
        let (bytes, document) = read(&"n".repeat(60_000), &vec![1; 16 << 20], &vec![frame; 100]);
        let bytes_max = 6 * DETAIL_BYTES_MAX + ERROR_TYPE_BYTES_MAX + STACK_TRACE_BYTES_MAX;
        assert!(bytes < bytes_max + 1000, "{bytes}");
        for member in ["errorType", "errorMessage"] {
            let text = document[member].as_str().expect("a text");
            assert!(text.ends_with(CUT_MARK), "{member}");
        }
        let frames = document["stackTrace"].as_array().expect("a list");
        assert!((2..20).contains(&frames.len()), "{}", frames.len());
        assert_eq!(frames.last(), Some(&json!(CUT_MARK)));

        // At the limit nothing is cut.
        let whole = "ü".repeat(DETAIL_BYTES_MAX / 2);
        let (_, document) = read("Error", whole.as_bytes(), &[]);
        assert_eq!(
            document,
            json!({ "errorType": "Error", "errorMessage": whole })
        );
        let (_, document) = read("Error", format!("{whole}ü").as_bytes(), &[]);
        assert_eq!(document["errorMessage"], format!("{whole}{CUT_MARK}"));
    }
}
