use jiffy_abi::{
    call::{OPERATION_HOST_INFO, SERVICE_HOST},
    frame::{Fields, Tag},
};
use jiffy_control::Request;

use super::*;

/// Queues that nobody sends to.
pub(crate) fn queues() -> Arc<dyn Queues> {
    let limits = jiffy_queue::Limits::default();
    let queues = jiffy_queue::FileQueues::in_memory(limits, jiffy_kv::system_clock());
    Arc::new(queues.expect("memory"))
}

/// What comes at once of a call for request `r-1` of version 7.
fn call(call: Call) -> Reply {
    let capabilities = Capabilities::new(&Config {
        kv: Arc::new(
            Kv::in_memory(jiffy_kv::Limits::default(), jiffy_kv::system_clock()).expect("memory"),
        ),
        queues: queues(),
        secrets: Arc::new(Secrets::in_memory().expect("memory")),
        egress: Egress::default(),
        invoker: Invoker::default(),
        release: "1.2.3".into(),
    });
    let prepared = capabilities.expect("nothing to open").prepare(&Version {
        function: &"deployed-as".parse().expect("a name"),
        function_name: "f",
        grants: &Grants::default(),
    });
    let request = Request {
        request_id: "r-1".into(),
        function_version: "7".into(),
        ..Request::default()
    };
    let context = CallContext {
        request: &request,
        traceparent: None,
        scope: &jiffy_client::Scope::default(),
        deadline: None,
    };
    let mut reply = prepared.call(call, &context);
    drop(prepared);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match reply.as_mut().poll(&mut context) {
        std::task::Poll::Ready(reply) => reply,
        std::task::Poll::Pending => panic!("nothing is waited for"),
    }
}

fn host_info() -> Call {
    Call {
        service: SERVICE_HOST,
        operation: OPERATION_HOST_INFO,
        ..Call::default()
    }
}

#[test]
fn the_host_tells_what_runs_a_function() {
    let reply = call(host_info());
    assert_eq!(reply.error, None);
    let fields: Vec<_> = Fields::new(&reply.fields)
        .map(|field| field.expect("well-formed"))
        .collect();
    let expected = [
        (Tag::Release, &b"1.2.3"[..]),
        (Tag::FunctionName, b"f"),
        (Tag::FunctionVersion, b"7"),
        (Tag::RequestId, b"r-1"),
    ];
    assert_eq!(fields, expected);
}

#[test]
fn what_nobody_has_is_an_error_that_can_be_told_from_others() {
    let check = |wrong: Call, kind, message: &str| {
        let reply = call(wrong);
        assert_eq!((reply.error, reply.sent), (Some(kind), Sent::No));
        assert_eq!(String::from_utf8_lossy(&reply.body), message);
    };
    for service in [0, 9999, u16::MAX] {
        let message = format!(
            "unknown service {service}: must be one of 1 (host), 2 (http), 3 (sql), 4 (redis), 16 (kv), 17 (secret), 18 (functions), 19 (queue)"
        );
        check(
            Call {
                service,
                ..host_info()
            },
            CallErrorKind::Unknown,
            &message,
        );
    }
    let operation = Call {
        operation: 9,
        ..host_info()
    };
    check(
        operation,
        CallErrorKind::Unknown,
        "unknown operation 9 of service host",
    );
    let binding = Call {
        binding: "cart".into(),
        ..host_info()
    };
    check(
        binding,
        CallErrorKind::Denied,
        "invalid binding \"cart\": the host has none",
    );
}
