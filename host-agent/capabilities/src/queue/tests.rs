//! What calls come to: a message that is sent, each refusal, and whose queues are whose.

use std::pin::pin;

use jiffy_abi::frame::write_field;
use jiffy_control::Request;
use jiffy_model::{FunctionId, FunctionName, Grants, TenantName};
use jiffy_queue::{Changing, FileQueues, Limits, Listed, Message, MessageId, Page, QueueInfo};

use super::*;

struct Bench {
    queues: Arc<dyn Queues>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let queues = FileQueues::in_memory(limits, jiffy_kv::system_clock()).expect("memory");
        Self {
            queues: Arc::new(queues),
        }
    }

    /// Calls as the function of a tenant to which these queues are granted.
    fn call(&self, tenant: &str, queues: &[&str], call: Call) -> Reply {
        let tenant: TenantName = tenant.parse().expect("a name");
        let name: FunctionName = "f".parse().expect("a name");
        let function = FunctionId::new(&tenant, &name);
        let granted = queues
            .iter()
            .map(|name| (name.parse().expect("a name"), Default::default()));
        let grants = Grants {
            queue: granted.collect(),
            ..Grants::default()
        };
        let capability = AllQueues {
            queues: Arc::clone(&self.queues),
        };
        let prepared = capability.prepare(&Version {
            function: &function,
            function_name: "f",
            grants: &grants,
        });
        let context = CallContext {
            request: &Request::default(),
            traceparent: None,
            scope: &jiffy_client::Scope::default(),
            deadline: None,
        };
        let mut future = pin!(prepared.call(call, &context));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let std::task::Poll::Ready(reply) = future.as_mut().poll(&mut context) {
                return reply;
            }
            std::thread::yield_now();
        }
    }

    fn own(&self, call: Call) -> Reply {
        self.call("default", &["q"], call)
    }

    fn messages(&self, tenant: &str) -> Vec<(MessageId, Message)> {
        let queue = QueueId::new(&tenant.parse().expect("a name"), "q");
        let page = self.queues.list(&queue, None, 100).expect("reads");
        let whole = |Listed { id, .. }| {
            let message = self.queues.get(&queue, &id).expect("reads");
            (id, message.expect("there"))
        };
        page.messages.into_iter().map(whole).collect()
    }
}

fn send(fields: &[(Tag, &[u8])], body: &[u8]) -> Call {
    let mut head = vec![];
    for (tag, value) in fields {
        write_field(*tag, value, |piece| head.extend_from_slice(piece)).expect("short");
    }
    Call {
        service: SERVICE_QUEUE,
        operation: OPERATION_QUEUE_SEND,
        binding: "q".into(),
        head,
        body: body.into(),
        ..Call::default()
    }
}

#[track_caller]
fn check_error(reply: &Reply, kind: CallErrorKind, text: &str) {
    assert_eq!((reply.error, reply.sent), (Some(kind), Sent::No));
    assert_eq!(String::from_utf8_lossy(&reply.body), text);
}

#[test]
fn a_message_is_sent_with_its_type_and_its_id_is_told() {
    let bench = Bench::new();
    let json = bench.own(send(&[(Tag::ContentType, b"application/json")], b"{}"));
    let bytes = bench.own(send(&[], b"\xff"));
    let found = bench.messages("default");
    let ids = [json, bytes].map(|reply| {
        assert_eq!((reply.error, reply.fields.len()), (None, 0), "{reply:?}");
        String::from_utf8(reply.body).expect("an id")
    });
    let seen: Vec<_> = found.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(seen, ids);
    let expected = [
        (&b"{}"[..], "application/json"),
        (b"\xff", CONTENT_TYPE_DEFAULT),
    ];
    for ((_, message), (body, content_type)) in found.iter().zip(expected) {
        assert_eq!(
            (&*message.body, &*message.content_type),
            (body, content_type)
        );
    }
}

#[test]
fn only_queues_that_are_granted_are_there_and_each_tenant_has_its_own() {
    let bench = Bench::new();
    let denied = "invalid queue \"q\": must be one that jiffy.toml names, as [queue.NAME]";
    for queues in [&[][..], &["r", "Q"]] {
        for operation in 0..3 {
            let refused = Call {
                operation,
                ..send(&[], b"m")
            };
            let reply = bench.call("default", queues, refused);
            check_error(&reply, CallErrorKind::Denied, denied);
        }
    }
    for binding in ["", "default/q", "../q", "other/q"] {
        let other = Call {
            binding: binding.into(),
            ..send(&[], b"m")
        };
        let reply = bench.own(other);
        assert_eq!(reply.error, Some(CallErrorKind::Denied), "{binding}");
    }
    assert_eq!(bench.messages("default"), []);
    assert_eq!(bench.call("other", &["q"], send(&[], b"m")).error, None);
    assert_eq!(bench.messages("default"), []);
    assert_eq!(bench.messages("other").len(), 1);
}

#[test]
fn what_is_no_call_is_refused_and_so_is_what_is_too_much() {
    let bench = Bench::with(Limits {
        queue_bytes_max: 300 << 10,
        queues_max: 1,
    });
    let invalid = |call: Call| {
        let reply = bench.own(call);
        let is = (reply.error, reply.sent);
        assert_eq!(is, (Some(CallErrorKind::Invalid), Sent::No), "{reply:?}");
    };
    let large = vec![0; jiffy_queue::MESSAGE_BYTES_MAX];
    invalid(send(&[], &[&large[..], b"1"].concat()));
    for content_type in [&b"\xff"[..], b"", b"a\nb"] {
        invalid(send(&[(Tag::ContentType, content_type)], b""));
    }
    let mut torn = send(&[(Tag::ContentType, b"text/plain")], b"");
    torn.head.pop();
    invalid(torn);
    let unknown = Call {
        operation: 99,
        ..send(&[], b"")
    };
    let text = "unknown operation 99 of service queue";
    check_error(&bench.own(unknown), CallErrorKind::Unknown, text);
    assert_eq!(bench.own(send(&[], &large)).error, None);
    let full = bench.own(send(&[], &large));
    assert_eq!(
        (full.error, full.sent),
        (Some(CallErrorKind::Limit), Sent::No)
    );
    let text = String::from_utf8(full.body).expect("text");
    assert!(text.starts_with("the queue q would have "), "{text}");
    let other = bench.call("other", &["q"], send(&[], b""));
    let text = "there would be more than 1 queues: remove one, or raise queue.queues_max";
    check_error(&other, CallErrorKind::Limit, text);
}

/// Queues of a host whose disk does not work.
#[derive(Debug)]
struct Broken(QueueError);

impl Queues for Broken {
    fn send(&self, _: QueueId, _: NewMessage) -> Changing<MessageId> {
        Box::pin(std::future::ready(Err(self.0.clone())))
    }

    fn list(&self, _: &QueueId, _: Option<&MessageId>, _: usize) -> Result<Page, QueueError> {
        Err(self.0.clone())
    }

    fn get(&self, _: &QueueId, _: &MessageId) -> Result<Option<Message>, QueueError> {
        Err(self.0.clone())
    }

    fn remove(&self, _: QueueId, _: &MessageId) -> Changing<bool> {
        Box::pin(std::future::ready(Err(self.0.clone())))
    }

    fn queues(
        &self,
        _: &TenantName,
        _: Option<&str>,
        _: usize,
    ) -> Result<Vec<QueueInfo>, QueueError> {
        Err(self.0.clone())
    }

    fn remove_queue(&self, _: QueueId) -> Changing<bool> {
        Box::pin(std::future::ready(Err(self.0.clone())))
    }
}

#[test]
fn a_host_that_cannot_write_says_whether_it_was_sent_and_names_no_file() {
    let unnamed = "the host cannot read or write its queues: its log says why";
    let file = || "cannot read or write /secret/queues".to_owned();
    for (error, sent, text) in [
        (
            QueueError::Busy,
            Sent::No,
            "too much waits to be written: try again later",
        ),
        (QueueError::Storage(file()), Sent::No, unnamed),
        (QueueError::Unknown(file()), Sent::Maybe, unnamed),
        (
            QueueError::Stopped,
            Sent::Maybe,
            "the queues are being closed",
        ),
    ] {
        let bench = Bench {
            queues: Arc::new(Broken(error)),
        };
        let reply = bench.own(send(&[], b""));
        assert_eq!(
            (reply.error, reply.sent),
            (Some(CallErrorKind::Failed), sent)
        );
        assert_eq!(String::from_utf8_lossy(&reply.body), text);
    }
}
