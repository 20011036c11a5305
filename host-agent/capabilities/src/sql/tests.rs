//! Against Postgres, if it is installed, and against servers that are none.

#[path = "../../../../tests/tests/servers/certificates.rs"]
mod certificates;
mod connections;
mod kept;
#[path = "../../../../tests/tests/servers/postgres.rs"]
mod postgres;
mod refusals;
mod servers;
mod transaction;
mod values;

use std::time::Duration;

use jiffy_abi::frame::write_field;
use jiffy_client::Scope;
use jiffy_control::Request;
use jiffy_model::{Grants, UrlGrant};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use self::postgres::Postgres;
use super::*;
use crate::{Egress, Invoker};

/// A server, if there can be one.
fn start() -> Option<Postgres> {
    match Postgres::start() {
        Ok(postgres) => Some(postgres),
        Err(why) => {
            let is_required = std::env::var("JIFFY_REQUIRE_KVM").is_ok_and(|value| value == "1");
            assert!(!is_required, "{why}");
            eprintln!("LEFT OUT: SQL with a real server: {why}");
            None
        }
    }
}

/// A version that has the database `orders`, at the secret `url`.
struct Function {
    secrets: Arc<Secrets>,
    prepared: SqlOf,
}

fn secret_name() -> BindingName {
    "url".parse().expect("a name")
}

impl Function {
    fn new(url: &str, egress: Egress) -> Self {
        let secrets = Arc::new(Secrets::in_memory().expect("memory"));
        let kv = jiffy_kv::Kv::in_memory(jiffy_kv::Limits::default(), jiffy_kv::system_clock());
        let config = Config {
            kv: Arc::new(kv.expect("memory")),
            queues: crate::tests::queues(),
            secrets: Arc::clone(&secrets),
            egress: egress.clone(),
            invoker: Invoker::default(),
            release: "1".into(),
        };
        let net = Net::new(egress).expect("a network");
        let sql = Sql::configure(&config, &net).expect("configured");
        let mut grants = Grants::default();
        let grant = UrlGrant {
            url_secret: secret_name(),
        };
        grants.sql.insert("orders".parse().expect("a name"), grant);
        let prepared = sql.prepare(&Version {
            function: &"f".parse().expect("a name"),
            function_name: "f",
            grants: &grants,
        });
        let function = Self { secrets, prepared };
        function.set(url);
        function
    }

    fn local(url: &str) -> Self {
        let private = ["127.0.0.0/8", "localhost"].map(|it| it.parse().expect("an address"));
        let private = private.to_vec();
        let egress = Egress {
            private,
            ..Egress::default()
        };
        Self::new(url, egress)
    }

    fn set(&self, url: &str) {
        let tenant = TenantName::default();
        let set = self.secrets.set(&tenant, &secret_name(), url.as_bytes(), 1);
        set.expect("set");
    }

    fn idle(&self) -> usize {
        self.prepared.databases["orders"].idle()
    }

    /// Connections that requests keep.
    fn own(&self) -> usize {
        self.prepared.databases["orders"].own()
    }

    /// Nobody uses a connection, and none is being put in order.
    fn is_quiet(&self) -> bool {
        self.prepared.databases["orders"].is_quiet()
    }
}

/// Its answer, and its fields.
#[derive(Debug)]
struct Answer(Reply);

impl Answer {
    #[track_caller]
    fn rows(&self) -> Value {
        let body = String::from_utf8_lossy(&self.0.body);
        assert_eq!(self.0.error, None, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    #[track_caller]
    fn field(&self, tag: Tag) -> u64 {
        let body = String::from_utf8_lossy(&self.0.body);
        assert_eq!(self.0.error, None, "{body}");
        let mut fields = Fields::new(&self.0.fields).flatten();
        let (_, value) = fields.find(|(it, _)| *it == tag).expect("a field");
        let mut bytes = [0; 8];
        bytes[..value.len()].copy_from_slice(value);
        u64::from_le_bytes(bytes)
    }

    #[track_caller]
    fn error(&self, kind: CallErrorKind, sent: Sent, word: &str) {
        let body = String::from_utf8_lossy(&self.0.body);
        assert_eq!((self.0.error, self.0.sent), (Some(kind), sent), "{body}");
        assert!(body.contains(word), "{body}");
        assert!(!body.contains("ada") && !body.contains("canary"), "{body}");
        assert!(
            !body.contains("localhost") && !body.contains("127.0.0"),
            "{body}"
        );
    }
}

/// A request of a function.
struct Asking<'a> {
    function: &'a Function,
    request: Request,
    scope: Scope,
}

impl<'a> Asking<'a> {
    fn new(function: &'a Function) -> Self {
        Self {
            function,
            request: Request::default(),
            scope: Scope::default(),
        }
    }

    fn call(&self, operation: u16, fields: &[(Tag, &[u8])], body: Value) -> CallFuture {
        let mut head = vec![];
        for (tag, value) in fields {
            write_field(*tag, value, |piece| head.extend_from_slice(piece)).expect("short");
        }
        let call = Call {
            service: SERVICE_SQL,
            operation,
            binding: "orders".into(),
            head,
            body: body.to_string().into_bytes(),
            ..Call::default()
        };
        let context = CallContext {
            request: &self.request,
            traceparent: None,
            scope: &self.scope,
            deadline: None,
        };
        self.function.prepared.call(call, &context)
    }

    async fn query(&self, sql: &str, values: Value) -> Answer {
        let fields = [(Tag::Statement, sql.as_bytes())];
        Answer(self.call(OPERATION_SQL_QUERY, &fields, values).await)
    }

    async fn execute(&self, sql: &str, values: Value) -> Answer {
        let fields = [(Tag::Statement, sql.as_bytes())];
        Answer(self.call(OPERATION_SQL_EXECUTE, &fields, values).await)
    }

    async fn begin(&self) -> Answer {
        let fields = [(Tag::Isolation, &[3][..]), (Tag::ReadOnly, &[0])];
        Answer(self.call(OPERATION_SQL_BEGIN, &fields, json!([])).await)
    }

    async fn within(&self, number: u64, sql: &str) -> Answer {
        self.within_with(number, sql, json!([])).await
    }

    async fn within_with(&self, number: u64, sql: &str, values: Value) -> Answer {
        let number = u32::try_from(number).expect("small").to_le_bytes();
        let fields = [
            (Tag::Statement, sql.as_bytes()),
            (Tag::Transaction, &number),
        ];
        Answer(self.call(OPERATION_SQL_EXECUTE, &fields, values).await)
    }

    async fn end(&self, number: u64, operation: u16) -> Answer {
        let number = u32::try_from(number).expect("small").to_le_bytes();
        Answer(
            self.call(operation, &[(Tag::Transaction, &number)], json!([]))
                .await,
        )
    }
}

/// The same URL with another user and password.
fn with_user(url: &str, user: &str) -> String {
    let (_, place) = url.split_once('@').expect("a URL");
    format!("postgres://{user}@{place}")
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.expect(what);
}
