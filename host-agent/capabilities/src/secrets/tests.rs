//! Which secrets a function reads, and what it is told of others.

use std::pin::pin;

use jiffy_control::Request;
use jiffy_model::{FunctionId, FunctionName, Grants};

use super::*;

fn secrets() -> Arc<Secrets> {
    let secrets = Secrets::in_memory().expect("memory");
    for (of, name, value) in [
        ("default", "signing", "own"),
        ("default", "stripe", "sent by the host"),
        ("default", "ungranted", "another function's"),
        ("other", "signing", "another tenant's"),
        ("other", "unset", "another tenant's"),
    ] {
        let (of, name) = (of.parse().expect("a name"), name.parse().expect("a name"));
        secrets.set(&of, &name, value.as_bytes(), 1).expect("set");
    }
    Arc::new(secrets)
}

/// Calls as a function that may read `signing` and `unset`, and send `stripe`.
fn call(operation: u16, binding: &str) -> Reply {
    let name: FunctionName = "f".parse().expect("a name");
    let function = FunctionId::new(&TenantName::default(), &name);
    let grant = |name: &str, grant| (name.parse().expect("a name"), grant);
    let sent = SecretGrant {
        hosts: vec!["api.stripe.com".parse().expect("a host")],
        header: Some("authorization".parse().expect("a header")),
        format: None,
    };
    let grants = Grants {
        secrets: [
            grant("signing", SecretGrant::default()),
            grant("unset", SecretGrant::default()),
            grant("stripe", sent),
        ]
        .into(),
        ..Grants::default()
    };
    let capability = AllSecrets {
        secrets: secrets(),
        reads: Reads::default(),
    };
    let prepared = capability.prepare(&Version {
        function: &function,
        function_name: "f",
        grants: &grants,
    });
    let call = Call {
        service: SERVICE_SECRET,
        operation,
        binding: binding.into(),
        ..Call::default()
    };
    let context = CallContext {
        request: &Request::default(),
        traceparent: None,
        scope: &jiffy_client::Scope::default(),
        deadline: None,
    };
    let mut future = pin!(prepared.call(call, &context));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(reply) => reply,
        std::task::Poll::Pending => panic!("there is no runtime to wait in"),
    }
}

#[track_caller]
fn refusal(reply: Reply, kind: CallErrorKind) -> String {
    assert_eq!((reply.error, reply.sent), (Some(kind), Sent::No));
    String::from_utf8(reply.body).expect("text")
}

#[test]
fn a_function_reads_what_it_was_granted_of_its_own_tenant() {
    let reply = call(OPERATION_SECRET_READ, "signing");
    assert_eq!((reply.error, &*reply.body), (None, &b"own"[..]));
    let unset = refusal(call(OPERATION_SECRET_READ, "unset"), CallErrorKind::Failed);
    assert!(unset.contains("`jiffy secret set unset`"), "{unset}");
    let unknown = refusal(call(9, "signing"), CallErrorKind::Unknown);
    assert_eq!(unknown, "unknown operation 9 of service secret");
}

#[test]
fn a_secret_that_the_host_sends_is_never_read() {
    for operation in [OPERATION_SECRET_READ, 9] {
        let why = refusal(call(operation, "stripe"), CallErrorKind::Denied);
        assert!(
            why.contains("header authorization of requests to api.stripe.com"),
            "{why}"
        );
    }
}

#[test]
fn whether_there_is_a_secret_that_is_not_granted_nobody_learns() {
    let told = |name: &str| {
        let why = refusal(call(OPERATION_SECRET_READ, name), CallErrorKind::Denied);
        why.replace(name, "NAME")
    };
    for name in ["nowhere", "Signing", "a b"] {
        assert_eq!(told(name), told("ungranted"), "{name}");
    }
    refusal(call(OPERATION_SECRET_READ, ""), CallErrorKind::Denied);
}
