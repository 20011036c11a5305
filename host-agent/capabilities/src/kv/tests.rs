//! What calls come to: each operation, each refusal, and whose stores are whose.

use std::pin::pin;

use jiffy_control::Request;
use jiffy_kv::{Limits, system_clock};
use jiffy_model::{FunctionId, FunctionName, Grants, TenantName};

use super::*;

struct Bench {
    kv: Arc<Kv>,
}

impl Bench {
    fn new() -> Self {
        let kv = Kv::in_memory(Limits::default(), system_clock()).expect("memory");
        Self { kv: Arc::new(kv) }
    }

    /// Calls as the function of a tenant to which these stores are granted.
    fn call(&self, tenant: &str, stores: &[&str], call: Call) -> Reply {
        let tenant: TenantName = tenant.parse().expect("a name");
        let name: FunctionName = "f".parse().expect("a name");
        let function = FunctionId::new(&tenant, &name);
        let granted = stores
            .iter()
            .map(|name| (name.parse().expect("a name"), Default::default()));
        let grants = Grants {
            kv: granted.collect(),
            ..Grants::default()
        };
        let capability = Stores {
            reads: Reads::default(),
            kv: Arc::clone(&self.kv),
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
        self.call("default", &["s"], call)
    }
}

fn head(fields: &[(Tag, &[u8])]) -> Vec<u8> {
    let mut head = vec![];
    for (tag, value) in fields {
        write_field(*tag, value, |piece| head.extend_from_slice(piece)).expect("short");
    }
    head
}

fn call(operation: u16, fields: &[(Tag, &[u8])], body: &[u8]) -> Call {
    Call {
        service: SERVICE_KV,
        operation,
        binding: "s".into(),
        head: head(fields),
        body: body.into(),
        ..Call::default()
    }
}

fn put(key: &str, value: &[u8]) -> Call {
    call(OPERATION_KV_PUT, &[(Tag::Key, key.as_bytes())], value)
}

fn get(key: &str) -> Call {
    call(OPERATION_KV_GET, &[(Tag::Key, key.as_bytes())], b"")
}

#[track_caller]
fn check_error(reply: &Reply, kind: CallErrorKind, text: &str) {
    assert_eq!((reply.error, reply.sent), (Some(kind), Sent::No));
    assert_eq!(String::from_utf8_lossy(&reply.body), text);
}

#[test]
fn only_stores_that_are_granted_are_there_and_each_tenant_has_its_own() {
    let bench = Bench::new();
    assert_eq!(bench.own(put("k", b"default's")).error, None);
    let denied = "invalid store \"s\": must be one that jiffy.toml names, as [kv.NAME]";
    for stores in [&[][..], &["t", "S", "default/s"]] {
        for operation in 0..7 {
            let refused = Call {
                operation,
                ..get("k")
            };
            let stores: Vec<_> = stores
                .iter()
                .copied()
                .filter(|name| !name.contains('/'))
                .collect();
            check_error(
                &bench.call("default", &stores, refused),
                CallErrorKind::Denied,
                denied,
            );
        }
    }
    for binding in ["", "default/s", "../s", "other/s"] {
        let other = Call {
            binding: binding.into(),
            ..get("k")
        };
        assert_eq!(
            bench.own(other).error,
            Some(CallErrorKind::Denied),
            "{binding}"
        );
    }
    let others = bench.call("other", &["s"], get("k"));
    assert_eq!(
        (others.error, others.body.len(), others.fields.len()),
        (None, 0, 0)
    );
    assert_eq!(bench.own(get("k")).body, b"default's");
}

#[test]
fn each_operation_comes_to_its_reply() {
    let bench = Bench::new();
    let fields: [(Tag, &[u8]); 3] = [
        (Tag::Key, b"a"),
        (Tag::Metadata, b"m"),
        (Tag::TtlMs, &60_000_u64.to_le_bytes()),
    ];
    let written = bench.own(call(OPERATION_KV_PUT, &fields, b"1"));
    let Ok(bytes) = written.body[..].try_into() else {
        panic!("{written:?}");
    };
    let Written { version, existed } = Written::from_bytes(bytes);
    assert!(!existed);
    let found = bench.own(get("a"));
    assert_eq!(found.body, b"1");
    let tags: Vec<_> = Fields::new(&found.fields)
        .map(|field| field.expect("whole").0)
        .collect();
    assert_eq!(tags, [Tag::EntryVersion, Tag::Metadata, Tag::ExpiresMs]);
    let wrong = (version + 1).to_le_bytes();
    let conflict = bench.own(call(
        OPERATION_KV_DELETE,
        &[(Tag::Key, b"a"), (Tag::IfVersion, &wrong)],
        b"",
    ));
    let text = format!(
        "the entry \"a\" has version {version}: must have version {}",
        version + 1
    );
    check_error(&conflict, CallErrorKind::Conflict, &text);
    let mut body = vec![];
    for (operation, key) in [(OPERATION_KV_DELETE, b"a"), (OPERATION_KV_PUT, b"b")] {
        let head = head(&[(Tag::Operation, &operation.to_le_bytes()), (Tag::Key, key)]);
        write_item(&head, b"", |piece| body.extend_from_slice(piece)).expect("small");
    }
    let both = bench.own(call(OPERATION_KV_BATCH, &[], &body));
    let (written, _) = both.body.as_chunks();
    let existed: Vec<_> = written
        .iter()
        .map(|one| Written::from_bytes(one).existed)
        .collect();
    assert_eq!((both.error, &existed[..]), (None, &[true, false][..]));
    bench.own(put("c", b"12"));
    let list = bench.own(call(
        OPERATION_KV_LIST,
        &[(Tag::Count, &1_u32.to_le_bytes())],
        b"",
    ));
    assert_eq!(Items::new(&list.body).count(), 1);
    let cursor = Fields::new(&list.fields)
        .next()
        .expect("one")
        .expect("whole");
    assert_eq!(cursor, (Tag::Cursor, &b"b"[..]));
    let rest = bench.own(call(OPERATION_KV_LIST, &[cursor, (Tag::Prefix, b"c")], b""));
    assert_eq!((Items::new(&rest.body).count(), rest.fields.len()), (1, 0));
}

#[test]
fn what_is_no_call_is_refused() {
    let bench = Bench::new();
    let invalid = |call: Call| {
        let reply = bench.own(call);
        assert_eq!(
            (reply.error, reply.sent),
            (Some(CallErrorKind::Invalid), Sent::No),
            "{reply:?}"
        );
    };
    let (key, zero) = ((Tag::Key, &b"k"[..]), 0_u64.to_le_bytes());
    invalid(put("", b""));
    invalid(get(&"k".repeat(513)));
    invalid(call(OPERATION_KV_PUT, &[(Tag::Key, b"\xff")], b""));
    invalid(call(OPERATION_KV_PUT, &[key, (Tag::TtlMs, &[1, 2])], b""));
    invalid(call(OPERATION_KV_PUT, &[key, (Tag::TtlMs, &zero)], b""));
    invalid(call(OPERATION_KV_PUT, &[key, (Tag::IfPresent, &[2])], b""));
    invalid(call(
        OPERATION_KV_PUT,
        &[key, (Tag::IfPresent, &[0]), (Tag::IfVersion, &zero)],
        b"",
    ));
    invalid(call(
        OPERATION_KV_PUT,
        &[key, (Tag::Metadata, b"a\nb")],
        b"",
    ));
    invalid(call(OPERATION_KV_DELETE, &[key], b"value"));
    invalid(call(OPERATION_KV_LIST, &[(Tag::Count, &[0; 4])], b""));
    invalid(call(OPERATION_KV_LIST, &[(Tag::Count, &[0xff; 4])], b""));
    invalid(call(OPERATION_KV_BATCH, &[], b""));
    invalid(call(OPERATION_KV_BATCH, &[], b"\x01"));
    // A million of them would take ten times what they came as.
    let mut many = vec![];
    let operation = head(&[(Tag::Operation, &OPERATION_KV_DELETE.to_le_bytes())]);
    for _ in 0..100_000 {
        write_item(&operation, &[], |piece| many.extend_from_slice(piece)).expect("short");
    }
    let reply = bench.own(call(OPERATION_KV_BATCH, &[], &many));
    check_error(
        &reply,
        CallErrorKind::Invalid,
        "invalid batch of 129 changes or more: must have 1 to 128",
    );
    let described = [(Tag::Key, &b"k"[..]), (Tag::Metadata, b"m")];
    invalid(call(OPERATION_KV_DELETE, &described, b""));
    let mut body = vec![];
    let head = head(&[(Tag::Operation, &OPERATION_KV_GET.to_le_bytes()), key]);
    write_item(&head, b"", |piece| body.extend_from_slice(piece)).expect("small");
    invalid(call(OPERATION_KV_BATCH, &[], &body));
    let unknown = bench.own(call(99, &[key], b""));
    check_error(
        &unknown,
        CallErrorKind::Unknown,
        "unknown operation 99 of service kv",
    );
    let mut torn = put("k", b"");
    torn.head.pop();
    invalid(torn);
}
