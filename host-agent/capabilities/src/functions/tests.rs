use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use jiffy_control::Request;
use jiffy_model::{Grants, InvokeGrant};

use super::*;

/// Answers an event with itself, in reverse, and refuses those that are empty.
struct Mirror;

impl Invoke for Mirror {
    fn answer_call(self: Arc<Self>, event: Event) -> Answering {
        Box::pin(async move {
            assert_eq!(event.function.to_string(), "mirror");
            assert_eq!(event.traceparent.as_deref(), Some("00-1-2-03"));
            let is_empty = event.body.is_empty();
            let mirrored = event.body.into_iter().rev().collect();
            (!is_empty).then_some(mirrored).ok_or(Unanswered {
                sent: Sent::Yes,
                text: "there is nothing".into(),
            })
        })
    }
}

fn prepared(invoker: &Invoker, allowed: &[&str]) -> FunctionsOf {
    let allowed = allowed.iter().map(|name| name.parse().expect("a name"));
    let grants = Grants {
        invoke: InvokeGrant {
            allow: allowed.collect(),
        },
        ..Grants::default()
    };
    let config = Config {
        kv: Arc::new(
            jiffy_kv::Kv::in_memory(jiffy_kv::Limits::default(), jiffy_kv::system_clock())
                .expect("memory"),
        ),
        queues: crate::tests::queues(),
        secrets: Arc::new(jiffy_secrets::Secrets::in_memory().expect("memory")),
        egress: crate::Egress::default(),
        invoker: invoker.clone(),
        release: "1".into(),
    };
    let net = Net::new(config.egress.clone()).expect("no file to read");
    let functions = Functions::configure(&config, &net).expect("nothing to open");
    Capability::prepare(
        &functions,
        &Version {
            function: &"caller".parse().expect("a name"),
            function_name: "caller",
            grants: &grants,
        },
    )
}

fn call(binding: &str, body: &[u8]) -> Call {
    Call {
        service: SERVICE_FUNCTIONS,
        operation: OPERATION_INVOKE,
        binding: binding.into(),
        body: body.into(),
        ..Call::default()
    }
}

async fn ask(
    functions: &FunctionsOf,
    call: Call,
) -> Result<Vec<u8>, (CallErrorKind, Sent, String)> {
    let request = Request {
        traceparent: Some("00-1-2-03".into()),
        ..Request::default()
    };
    let context = CallContext {
        request: &request,
        traceparent: Some("00-1-2-03"),
        scope: &jiffy_client::Scope::default(),
        deadline: None,
    };
    let reply = functions.call(call, &context).await;
    match reply.error {
        None => Ok(reply.body),
        Some(kind) => {
            let text = String::from_utf8(reply.body).expect("text");
            Err((kind, reply.sent, text))
        }
    }
}

#[tokio::test]
async fn a_function_that_is_allowed_answers_or_says_why_not() {
    let invoker = Invoker::default();
    let functions = prepared(&invoker, &["mirror"]);
    let (kind, sent, _) = ask(&functions, call("mirror", b"ab"))
        .await
        .expect_err("nobody");
    assert_eq!((kind, sent), (CallErrorKind::Failed, Sent::No));
    let mirror: Arc<dyn Invoke> = Arc::new(Mirror);
    invoker.set(Arc::downgrade(&mirror));
    assert_eq!(
        ask(&functions, call("mirror", b"ab")).await,
        Ok(b"ba".to_vec())
    );
    let failed = (CallErrorKind::Failed, Sent::Yes, "there is nothing".into());
    assert_eq!(ask(&functions, call("mirror", b"")).await, Err(failed));
    drop(mirror);
    ask(&functions, call("mirror", b"ab"))
        .await
        .expect_err("nobody again");
}

#[tokio::test]
async fn other_names_are_refused_whether_there_is_such_a_function_or_not() {
    let mirror: Arc<dyn Invoke> = Arc::new(Mirror);
    let invoker = Invoker::default();
    invoker.set(Arc::downgrade(&mirror));
    let functions = prepared(&invoker, &["other"]);
    for name in [
        "mirror",
        "Other",
        "other/mirror",
        "default/other",
        "other:1",
        "",
    ] {
        let (kind, sent, text) = ask(&functions, call(name, b"a")).await.expect_err("denied");
        assert_eq!((kind, sent), (CallErrorKind::Denied, Sent::No));
        assert!(text.contains("[invoke]"), "{text}");
    }
    let unknown = Call {
        operation: 2,
        ..call("other", b"a")
    };
    let (kind, ..) = ask(&functions, unknown).await.expect_err("no operation");
    assert_eq!(kind, CallErrorKind::Unknown);
}

/// A function that invokes itself until it may not.
struct Deep {
    functions: OnceLock<FunctionsOf>,
    invoked: AtomicU32,
}

impl Invoke for Deep {
    fn answer_call(self: Arc<Self>, event: Event) -> Answering {
        self.invoked.fetch_add(1, Relaxed);
        Box::pin(async move {
            let functions = self.functions.get().expect("prepared");
            let answer = ask(functions, call("deep", &event.body)).await;
            answer.map_err(|(kind, sent, text)| Unanswered {
                sent,
                text: format!("{kind:?} {text}"),
            })
        })
    }
}

#[tokio::test]
async fn a_chain_has_an_end() {
    let invoker = Invoker::default();
    let deep = Arc::new(Deep {
        functions: OnceLock::new(),
        invoked: AtomicU32::new(0),
    });
    let functions = prepared(&invoker, &["deep"]);
    deep.functions
        .set(prepared(&invoker, &["deep"]))
        .expect("once");
    let weak: Weak<dyn Invoke> = Arc::downgrade(&deep) as Weak<dyn Invoke>;
    invoker.set(weak);
    for _ in 0..2 {
        let (.., text) = ask(&functions, call("deep", b""))
            .await
            .expect_err("an end");
        assert!(text.contains("Limit too many functions wait"), "{text}");
        // The first of the chain is the client's.
        assert_eq!(deep.invoked.swap(0, Relaxed), CHAIN_LEN_MAX - 1);
    }
}

/// A function that never answers.
struct Silent;

impl Invoke for Silent {
    fn answer_call(self: Arc<Self>, _: Event) -> Answering {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn so_many_are_invoked_at_once_and_no_more() {
    let invoker = Invoker::default();
    let silent: Arc<dyn Invoke> = Arc::new(Silent);
    invoker.set(Arc::downgrade(&silent));
    let functions = prepared(&invoker, &["silent"]);
    let request = Request::default();
    let context = CallContext {
        request: &request,
        traceparent: None,
        scope: &jiffy_client::Scope::default(),
        deadline: None,
    };
    let ask_all = || -> Vec<_> {
        let calls = (0..INVOKED_PER_VERSION_MAX).map(|_| call("silent", b""));
        calls.map(|call| functions.call(call, &context)).collect()
    };
    for _ in 0..2 {
        let waiting = ask_all();
        let (kind, sent, _) = ask(&functions, call("silent", b""))
            .await
            .expect_err("a limit");
        assert_eq!((kind, sent), (CallErrorKind::Limit, Sent::No));
        drop(waiting);
    }
}
