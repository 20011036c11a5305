//! How `openapi.json` comes of the table of endpoints, the types of documents, and the frame, which has parameters and responses
//! by name; in `problems` those with a problem, without what all of them have.

use serde_json::{Map, Value, json};

use super::{Answer, Sent, schemas::schemas};
use crate::{auth::Scope, native::endpoints::Endpoint, vm::Vms};

const FRAME: &str = include_str!("../openapi_frame.json");

/// The description of `endpoints`.
pub(in crate::native) fn document<V: Vms>(endpoints: &[Endpoint<V>]) -> Value {
    let mut document: Map<_, _> = serde_json::from_str(FRAME).expect("checked in");
    let problems = document.remove("problems").expect("checked in");
    let components = &mut document["components"];
    for (name, problem) in problems.as_object().expect("checked in") {
        components["responses"][name] = whole(problem);
    }
    components["schemas"] = schemas().into();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let path = endpoint.path.replace("{*", "{");
        let item = paths.entry(path).or_insert_with(|| json!({}));
        let parameters = path_parameters(endpoint.path);
        if !parameters.is_empty() {
            item["parameters"] = parameters.into();
        }
        item[endpoint.method.as_str().to_ascii_lowercase()] = operation(endpoint);
    }
    document.insert("paths".into(), paths.into());
    document.into()
}

/// A response with a problem, with what all have.
fn whole(problem: &Value) -> Value {
    let mut problem = problem.clone();
    problem["headers"]["jiffy-request-id"] = reference("headers", "RequestId");
    problem["headers"]["jiffy-error"] = reference("headers", "Error");
    problem["content"] = content("application/problem+json", &reference("schemas", "Problem"));
    problem
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn path_parameters(path: &str) -> Vec<Value> {
    let named = [
        ("{name}", "Name"),
        ("{version}", "Version"),
        ("{alias}", "Alias"),
        ("{*path}", "Path"),
        ("{store}", "Store"),
        ("{*key}", "Key"),
        ("{queue}", "Queue"),
        ("{message}", "Message"),
        ("{secret}", "Secret"),
    ];
    let named = named.iter().filter(|(segment, _)| path.contains(segment));
    named
        .map(|(_, name)| reference("parameters", name))
        .collect()
}

fn operation<V: Vms>(endpoint: &Endpoint<V>) -> Value {
    let mut responses = problems(endpoint);
    for answer in endpoint.answers {
        let (status, response) = match *answer {
            Answer::Json(status, description, schema) => {
                let content = content("application/json", &reference("schemas", schema));
                let response = json!({ "description": description, "content": content });
                (status.to_string(), response)
            }
            Answer::Done => ("204".into(), json!({ "description": "Done." })),
            Answer::Named(name) => ("200".into(), reference("responses", name)),
            Answer::Site => ("default".into(), reference("responses", "Site")),
        };
        responses.insert(status, response);
    }
    let mut operation = json!({
        "operationId": endpoint.id,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "responses": responses,
    });
    if !endpoint.query.is_empty() {
        let parameters = endpoint
            .query
            .iter()
            .map(|name| reference("parameters", name));
        operation["parameters"] = parameters.collect();
    }
    if endpoint.scope == Scope::Public {
        operation["security"] = json!([]);
    }
    let bytes = json!({ "type": "string", "format": "binary" });
    let body = match endpoint.sent {
        Sent::Nothing => return operation,
        Sent::Bytes(required) => (required, content("application/octet-stream", &bytes)),
        Sent::Json(schema, required) => (
            required,
            content("application/json", &reference("schemas", schema)),
        ),
        Sent::Anything => (false, json!({ "*/*": {} })),
    };
    operation["requestBody"] = json!({ "required": body.0, "content": body.1 });
    operation
}

fn content(media_type: &str, schema: &Value) -> Value {
    json!({ media_type: { "schema": schema } })
}

/// How the agent refuses a request: what follows from what an endpoint asks for, and what is particular to it.
fn problems<V: Vms>(endpoint: &Endpoint<V>) -> Map<String, Value> {
    if endpoint.answers == [Answer::Site] {
        return Map::new();
    }
    let (scope, is_of_one) = (endpoint.scope, endpoint.path.contains('{'));
    let (has_body, is_json) = match endpoint.sent {
        Sent::Nothing => (false, false),
        Sent::Bytes(_) | Sent::Anything => (true, false),
        Sent::Json(..) => (true, true),
    };
    let is_change = scope == Scope::Deploy && is_of_one;
    let is_cheap = matches!(scope, Scope::Public | Scope::Read);
    let follows = [
        (true, 400, "InvalidRequest"),
        (scope != Scope::Public, 401, "Unauthorized"),
        (true, 403, "OtherOrigin"),
        (is_of_one, 404, "NotFound"),
        (has_body, 408, "RequestTimeout"),
        (is_change, 409, "Conflict"),
        (has_body, 413, "TooLarge"),
        (true, 414, "TargetTooLong"),
        (is_json, 415, "UnsupportedMediaType"),
        (true, 421, "OtherHost"),
        (true, 431, "HeadersTooLarge"),
        (true, 501, "NotImplemented"),
        (is_cheap, 503, "Overloaded"),
        (!is_cheap, 503, "Platform"),
        (is_change, 507, "Full"),
    ];
    let follows = follows.iter().filter(|(applies, ..)| *applies);
    let follows = follows.map(|(_, status, name)| (*status, *name));
    follows
        .chain(endpoint.problems.iter().copied())
        .map(|(status, name): (u16, _)| (status.to_string(), reference("responses", name)))
        .collect()
}
