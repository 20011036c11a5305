//! Events as AWS documents them, cut to what has a meaning here.

use jiffy_abi::frame::ResponseKind;

use super::*;

fn check(
    event: &Value,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    format: u8,
) {
    let found = unpack(event.to_string().as_bytes()).expect("an HTTP request");
    assert_eq!((&*found.http.method, &*found.http.target), (method, target));
    let text = |(name, value): &(String, Vec<u8>)| {
        (
            name.clone(),
            String::from_utf8(value.clone()).expect("text"),
        )
    };
    let found_headers: Vec<_> = found.http.headers.iter().map(text).collect();
    let wanted = headers
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    assert_eq!(found_headers, wanted.collect::<Vec<(String, String)>>());
    assert_eq!((&*found.body, found.format), (body, format));
}

#[test]
fn format_2_is_what_function_urls_send() {
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/my/path",
        "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=a%20b",
        "cookies": ["cookie1=1", "cookie2=2"],
        "headers": { "Header1": "value1,value2", "connection": "close", "jiffy-start": "forged" },
        "queryStringParameters": { "parameter1": "value1,value2" },
        "requestContext": {
            "accountId": "123456789012", "apiId": "<urlid>", "authentication": null,
            "http": { "method": "POST", "path": "/my/path", "protocol": "HTTP/1.1",
                      "sourceIp": "123.123.123.123", "userAgent": "agent" },
        },
        "body": "Hello from client!",
        "pathParameters": null, "isBase64Encoded": false, "stageVariables": null,
    });
    let target = "/my/path?parameter1=value1&parameter1=value2&parameter2=a%20b";
    let headers = [
        ("header1", "value1,value2"),
        ("cookie", "cookie1=1; cookie2=2"),
    ];
    check(
        &event,
        "POST",
        target,
        &headers,
        b"Hello from client!",
        FORMAT_2,
    );
    event["isBase64Encoded"] = json!(true);
    event["body"] = json!("AP8=");
    event["rawQueryString"] = json!("");
    event["rawPath"] = json!("/a path");
    check(&event, "POST", "/a%20path", &headers, &[0, 0xff], FORMAT_2);
    event["body"] = json!("no base64");
    assert_eq!(unpack(event.to_string().as_bytes()), None);
    event["body"] = json!(null);
    check(&event, "POST", "/a%20path", &headers, b"", FORMAT_2);
}

#[test]
fn format_1_is_what_rest_apis_send() {
    let mut event = json!({
        "version": "1.0", "resource": "/my/path", "path": "/my/path", "httpMethod": "GET",
        "headers": { "header1": "value1", "header2": "value2" },
        "multiValueHeaders": { "header1": ["value1"], "header2": ["value1", "value2"] },
        "queryStringParameters": { "parameter1": "value1", "parameter2": "value" },
        "multiValueQueryStringParameters": { "parameter1": ["value1", "a&b"], "parameter2": ["value"] },
        "requestContext": { "accountId": "123456789012", "httpMethod": "GET", "path": "/my/path" },
        "pathParameters": null, "stageVariables": null, "body": null, "isBase64Encoded": false,
    });
    let target = "/my/path?parameter1=value1&parameter1=a%26b&parameter2=value";
    let headers = [
        ("header1", "value1"),
        ("header2", "value1"),
        ("header2", "value2"),
    ];
    check(&event, "GET", target, &headers, b"", FORMAT_1);
    event["multiValueHeaders"] = json!(null);
    event["multiValueQueryStringParameters"] = json!(null);
    let headers = [("header1", "value1"), ("header2", "value2")];
    let target = "/my/path?parameter1=value1&parameter2=value";
    check(&event, "GET", target, &headers, b"", FORMAT_1);
    // A load balancer decodes nothing.
    event["requestContext"] = json!({ "elb": { "targetGroupArn": "arn" } });
    event["queryStringParameters"] = json!({ "a": "b%20c", "d": null });
    check(
        &event,
        "GET",
        "/my/path?a=b%20c&d=",
        &headers,
        b"",
        FORMAT_1,
    );
}

#[test]
fn what_is_no_request_over_http_stays_an_event() {
    for event in [
        "",
        "{}",
        "[]",
        "7",
        "null",
        "{",
        "\"text\"",
        r#"{"name":"Ada"}"#,
        r#"{"httpMethod":"GET"}"#,
        r#"{"version":"2.0","requestContext":{}}"#,
        r#"{"version":"2.0","requestContext":{"http":{"method":"GET"}},"headers":7}"#,
        r#"{"version":"1.0","requestContext":{"http":{"method":"GET"}}}"#,
        r#"{"Records":[{"eventSource":"aws:s3"}]}"#,
    ] {
        assert_eq!(unpack(event.as_bytes()), None, "{event}");
    }
}

fn response() -> Response {
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    Response {
        kind: ResponseKind::Http,
        status: 201,
        error_type: String::new(),
        headers: vec![
            header("Set-Cookie", "a=1; Path=/"),
            header("set-cookie", "b=2"),
            header("Vary", "a"),
            header("vary", "b"),
            header("x", "y"),
        ],
        body: b"text".to_vec(),
    }
}

#[test]
fn an_answer_has_the_format_of_its_event() {
    let document = |response: &Response, format| {
        serde_json::from_slice::<Value>(&pack(response, format)).expect("JSON")
    };
    let mut response = response();
    for format in [Some(FORMAT_2), None] {
        let wanted = json!({
            "statusCode": 201, "headers": { "vary": "a,b", "x": "y" },
            "cookies": ["a=1; Path=/", "b=2"], "body": "text", "isBase64Encoded": false,
        });
        assert_eq!(document(&response, format), wanted);
    }
    let wanted = json!({
        "statusCode": 201, "body": "text", "isBase64Encoded": false,
        "headers": { "set-cookie": "b=2", "vary": "b", "x": "y" },
        "multiValueHeaders": { "set-cookie": ["a=1; Path=/", "b=2"], "vary": ["a", "b"], "x": ["y"] },
    });
    assert_eq!(document(&response, Some(FORMAT_1)), wanted);
    response.body = vec![0xff];
    let found = document(&response, None);
    assert_eq!(
        (&found["body"], &found["isBase64Encoded"]),
        (&json!("/w=="), &json!(true))
    );
}
