//! Against Postgres, if it is installed, and against servers that are none.

#[path = "../../../../tests/tests/servers/certificates.rs"]
mod certificates;
#[path = "../../../../tests/tests/servers/postgres.rs"]
mod postgres;
mod servers;

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

const TYPES: &str = "create type colour as enum ('red', 'green'); create domain price as numeric(8, 2); \
     create table t (a int2, b int4, c int8, d float4, e float8, f bool, g text, h varchar(9), i char(3), j name, k numeric, \
     l json, m jsonb, n uuid, o date, p time, q timestamp, r timestamptz, s bytea, t int4[], u text[], v colour, w price, x oid, y jsonb[])";

#[tokio::test]
async fn values_of_all_types_go_both_ways() {
    let Some(postgres) = start() else { return };
    postgres.sql(TYPES);
    let function = Function::local(&postgres.url("sslmode=disable"));
    let asking = Asking::new(&function);
    let values = json!([
        -32768, 2_147_483_647, i64::MIN, 0.1, 1e-300, true, "a\"ä\\\n", "b", "c", "d",
        "12345678901234567890.1200", {"a": [1.5, null]}, {"b": "ü"}, "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "2024-02-29", "23:59:59.5", "2024-02-29T12:00:00.25", "2024-02-29T12:00:00+02:00", [0, 255], [1, null, 3],
        [["a\"", "NULL"], ["", "{}"]], "green", 1.5, 4_294_967_295u32, [{"x": 1}, [2], null],
    ]);
    let places: Vec<_> = (1..=25).map(|place| format!("${place}")).collect();
    let sql = format!("insert into t values ({}) returning *", places.join(", "));
    let rows = asking.query(&sql, values).await.rows();
    let expected = json!([{
        "a": -32768, "b": 2_147_483_647, "c": i64::MIN, "d": 0.1, "e": 1e-300, "f": true, "g": "a\"ä\\\n", "h": "b", "i": "c  ",
        "j": "d", "k": "12345678901234567890.1200", "l": {"a": [1.5, null]}, "m": {"b": "ü"},
        "n": "00010203-0405-0607-0809-0a0b0c0d0e0f", "o": "2024-02-29", "p": "23:59:59.500", "q": "2024-02-29T12:00:00.250",
        "r": "2024-02-29T10:00:00Z", "s": "\\x00ff", "t": [1, null, 3], "u": [["a\"", "NULL"], ["", "{}"]], "v": "green",
        "w": "1.50", "x": 4_294_967_295u32, "y": [{"x": 1}, [2], null],
    }]);
    assert_eq!(rows, expected);
    // What comes goes back as it is.
    let back: Vec<_> = "abcdefghijklmnopqrstuvwxy"
        .chars()
        .map(|name| rows[0][name.to_string()].clone())
        .collect();
    assert_eq!(asking.query(&sql, json!(back)).await.rows(), expected);
    let nulls = asking
        .query(&sql, json!(vec![Value::Null; 25]))
        .await
        .rows();
    let all_null = nulls[0]
        .as_object()
        .expect("a row")
        .values()
        .all(Value::is_null);
    assert!(all_null, "{nulls}");
    let counted = asking
        .query("select count(*) from t", json!([]))
        .await
        .rows();
    assert_eq!(counted, json!([{ "count": 3 }]));
    let floats = "select 'NaN'::float8 n, '-Infinity'::float4 i, 'infinity'::timestamptz t, '0044-03-15 BC'::date d, null::text x";
    let floats = asking.query(floats, json!([])).await.rows();
    assert_eq!(
        floats,
        json!([{ "n": "NaN", "i": "-Infinity", "t": "infinity", "d": "0044-03-15 BC", "x": null }])
    );
    // Text is read by Postgres for what is not known here, both ways.
    let inet = asking
        .query("select $1::inet::text as a", json!(["10.0.0.1/8"]))
        .await;
    assert_eq!(inet.rows(), json!([{ "a": "10.0.0.1/8" }]));
    let changed = asking
        .execute("delete from t where a = $1", json!([-32768]))
        .await;
    assert_eq!(changed.field(Tag::Changed), 2);
}

#[tokio::test]
async fn what_is_wrong_has_its_kind() {
    use CallErrorKind::{Conflict, Failed, Invalid, Limit};
    let Some(postgres) = start() else { return };
    postgres.sql("create table t (a int primary key, b uuid)");
    let function = Function::local(&postgres.url(""));
    // Preferred, but its certificate is of an authority that nobody knows here.
    let asking = Asking::new(&function);
    let answer = asking.query("select 1", json!([])).await;
    answer.error(Failed, Sent::No, "an authority that is not known here");
    function.set(&postgres.url("sslmode=disable"));
    let asking = Asking::new(&function);
    for (sql, values, kind, sent, word) in [
        (
            "selec 1",
            json!([]),
            Invalid,
            Sent::No,
            "SQLSTATE 42601: syntax error",
        ),
        (
            "select 1; select 2",
            json!([]),
            Invalid,
            Sent::No,
            "multiple commands",
        ),
        ("select x", json!([]), Invalid, Sent::No, "SQLSTATE 42703"),
        (
            "select $1::int",
            json!([]),
            Invalid,
            Sent::No,
            "has 1 parameters, and 0 are given",
        ),
        (
            "select $1::int",
            json!([true]),
            Invalid,
            Sent::No,
            "invalid parameter $1 of type int4: must be a number",
        ),
        (
            "select $1::int",
            json!([1.5]),
            Invalid,
            Sent::Yes,
            "invalid parameter $1",
        ),
        (
            "select $1::uuid",
            json!(["secret"]),
            Invalid,
            Sent::Yes,
            "SQLSTATE 22P02: invalid parameter $1: must",
        ),
        (
            "select $1::int",
            json!([1u64 << 40]),
            Invalid,
            Sent::Yes,
            "SQLSTATE 22003",
        ),
        (
            "select 1 / $1::int",
            json!([0]),
            Invalid,
            Sent::Yes,
            "SQLSTATE 22012: division by zero",
        ),
        (
            "select 1 as a, 2 as a",
            json!([]),
            Invalid,
            Sent::No,
            "two columns are called \"a\"",
        ),
        (
            "select '1.2.3.4'::inet as a",
            json!([]),
            Invalid,
            Sent::No,
            "cast it to text, as a::text",
        ),
        (
            "select generate_series(1, 10001) as a",
            json!([]),
            Limit,
            Sent::Yes,
            "more than 10000 rows",
        ),
        (
            "select repeat('x', 1000000) as a from generate_series(1, 5)",
            json!([]),
            Limit,
            Sent::Yes,
            "more than 4 MiB",
        ),
        (
            "select repeat('x', 9000000) as a",
            json!([]),
            Limit,
            Sent::Maybe,
            "more than may be read",
        ),
        (" ", json!([]), Invalid, Sent::No, "must be SQL"),
    ] {
        let answer = asking.query(sql, values).await;
        answer.error(kind, sent, word);
    }
    let long = format!("select '{}'", "x".repeat(STATEMENT_BYTES_MAX));
    let answer = asking.query(&long, json!([])).await;
    answer.error(Invalid, Sent::No, "must be at most 61440");
    let insert = "insert into t (a) values ($1)";
    assert_eq!(
        asking.execute(insert, json!([1])).await.field(Tag::Changed),
        1
    );
    let again = asking.execute(insert, json!([1])).await;
    again.error(Conflict, Sent::Yes, "SQLSTATE 23505: duplicate key value");
    for sql in [
        "copy t from stdin",
        " -- a comment\n ; /* another, /* nested */ * / */ COPY\t(select 1) to stdout",
    ] {
        let copy = asking.execute(sql, json!([])).await;
        copy.error(Invalid, Sent::No, "COPY is not supported");
    }
    let as_copy = asking.query("/* copy */ select 1 as copy", json!([]));
    assert_eq!(as_copy.await.rows(), json!([{ "copy": 1 }]));
    // All of them together have cost no more than they should, and the next statement works.
    let rows = asking.query("select a from t", json!([])).await.rows();
    assert_eq!(rows, json!([{ "a": 1 }]));
    let unknown = asking.call(9, &[], json!([])).await;
    Answer(unknown).error(
        CallErrorKind::Unknown,
        Sent::No,
        "unknown operation 9 of service sql",
    );
    for (url, word) in [
        (
            postgres.url("sslmode=disable").replace("canary", "canbry"),
            "SQLSTATE 28P01",
        ),
        (
            postgres
                .url("sslmode=disable")
                .replace("/postgres?", "/nothing?"),
            "SQLSTATE 3D000",
        ),
        (
            "postgres://ada@localhost/x?options=1".into(),
            "may not have options",
        ),
        (
            postgres.url("sslmode=disable&channel_binding=require"),
            "binds the password to no certificate",
        ),
        (
            with_user(&postgres.url("sslmode=disable"), "ada"),
            "has no password",
        ),
    ] {
        let function = Function::local(&url);
        let answer = Asking::new(&function).query("select 1", json!([])).await;
        answer.error(Failed, Sent::No, word);
    }
    let strict = Function::new(&postgres.url("sslmode=disable"), Egress::default());
    let answer = Asking::new(&strict).query("select 1", json!([])).await;
    answer.error(
        CallErrorKind::Denied,
        Sent::No,
        "an address that is loopback",
    );
}

#[tokio::test]
async fn nothing_that_a_request_sets_reaches_the_next() {
    let Some(postgres) = start() else { return };
    let function = Function::local(&postgres.url("sslmode=disable"));
    let sets = [
        "set search_path to nowhere",
        "set role eve",
        "set session authorization eve",
        "select set_config('jiffy.left', 'behind', false)",
        "create temp table left_behind (a int)",
        "select pg_advisory_lock(7)",
        "listen left_behind",
        "prepare left_behind as select 1",
        "begin",
        "set session characteristics as transaction read only",
        "declare left_behind cursor with hold for select 1",
        "deallocate all",
    ];
    let look = "select current_user::text as who, session_user::text as by, current_setting('search_path') as path, current_setting('jiffy.left', true) as set_before, \
        to_regclass('pg_temp.left_behind') is null as no_table, (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks, \
        (select count(*) from pg_listening_channels()) as channels, (select count(*) from pg_cursors where name <> '') as cursors, \
        (select count(*) from pg_prepared_statements where from_sql) as statements, \
        current_setting('transaction_read_only') as reads";
    postgres.sql("create role eve; create table marks (a int)");
    for (count, sets) in (1..).zip(sets) {
        let asking = Asking::new(&function);
        asking.execute(sets, json!([])).await.field(Tag::Changed);
        drop(asking);
        // The same connection, or another if it could not be put in order.
        for _ in 0..3 {
            let rows = Asking::new(&function).query(look, json!([])).await.rows();
            let expected = json!([{
                "who": "ada", "by": "ada", "path": "\"$user\", public", "set_before": rows[0]["set_before"], "no_table": true, "locks": 0, "channels": 0,
                "cursors": 0, "statements": 0, "reads": "off",
            }]);
            assert_eq!(rows, expected, "{sets}");
            assert_ne!(rows[0]["set_before"], "behind");
        }
        // Not within a transaction of another.
        let mark = Asking::new(&function);
        let marked = mark
            .execute("insert into marks values (1)", json!([]))
            .await;
        assert_eq!(marked.field(Tag::Changed), 1, "{sets}");
        assert_eq!(
            postgres.sql("select count(*) from marks"),
            count.to_string()
        );
    }
    // Not without the statements that are kept prepared, and those that ask for types among them.
    let quiet = || eventually("it is put in order", || function.is_quiet());
    postgres.sql("create type colour as enum ('red'); create table paints (a colour)");
    let paint = "insert into paints values ($1)";
    for sets in [
        "deallocate all",
        "do $$ begin execute 'deallocate all'; end $$",
    ] {
        for is_within in [false, true] {
            let asking = Asking::new(&function);
            asking
                .execute(paint, json!(["red"]))
                .await
                .field(Tag::Changed);
            // Each has the connection that the one before had.
            quiet().await;
            match is_within {
                false => drop(asking.execute(sets, json!([])).await.field(Tag::Changed)),
                true => {
                    let number = asking.begin().await.field(Tag::Transaction);
                    asking.within(number, sets).await.field(Tag::Changed);
                    let ended = asking.end(number, OPERATION_SQL_COMMIT).await;
                    assert_eq!(ended.0.error, None);
                }
            }
            drop(asking);
            quiet().await;
            let asking = Asking::new(&function);
            let number = asking.begin().await.field(Tag::Transaction);
            let sql = "insert into paints select unnest(enum_range(null::colour)) returning a";
            asking.within(number, sql).await.field(Tag::Changed);
            let ended = asking.end(number, OPERATION_SQL_COMMIT).await;
            assert_eq!(ended.0.error, None, "{sets}");
        }
    }
    // In the transaction that takes them away the connection is lost, but not to the next request.
    let asking = Asking::new(&function);
    let number = asking.begin().await.field(Tag::Transaction);
    let select = "select a from paints";
    for sql in [select, "deallocate all"] {
        asking.within(number, sql).await.field(Tag::Changed);
    }
    let failed = asking.within(number, select).await;
    failed.error(CallErrorKind::Failed, Sent::No, "SQLSTATE 26000");
    let failed = asking.within(number, "select 1").await;
    let ended = "the transaction has ended";
    failed.error(CallErrorKind::Failed, Sent::No, ended);
    asking.query(select, json!([])).await.rows();
    // It was the same one most of the time, and its statement is kept prepared.
    eventually("it waits", || function.idle() >= 1).await;
    let connections = "select count(*) from pg_stat_activity where application_name = 'jiffy'";
    let connections: usize = postgres.sql(connections).parse().expect("a number");
    // One is put in order while the next request has come already.
    assert!((1..=8).contains(&connections), "{connections}");
}

#[tokio::test]
async fn transactions_are_of_one_request() {
    use CallErrorKind::{Failed, Invalid, Limit};
    let Some(postgres) = start() else { return };
    postgres.sql("create table t (a int primary key)");
    let function = Function::local(&postgres.url("sslmode=disable"));
    let count = || postgres.sql("select count(*) from t");
    let asking = Asking::new(&function);
    let number = asking.begin().await.field(Tag::Transaction);
    asking
        .within(number, "insert into t values (1)")
        .await
        .field(Tag::Changed);
    assert_eq!(count(), "0");
    // Another request has not this number.
    let other = Asking::new(&function);
    for answer in [
        other.within(number, "insert into t values (9)").await,
        other.end(number, OPERATION_SQL_COMMIT).await,
    ] {
        answer.error(
            Invalid,
            Sent::No,
            "invalid transaction 1 of orders: must be one that this request has begun and not ended",
        );
    }
    assert_eq!(asking.end(number, OPERATION_SQL_COMMIT).await.0.error, None);
    assert_eq!(count(), "1");
    let answer = asking.end(number, OPERATION_SQL_COMMIT).await;
    answer.error(
        Invalid,
        Sent::No,
        "invalid transaction 1 of orders: must be",
    );
    let number = asking.begin().await.field(Tag::Transaction);
    asking
        .within(number, "insert into t values (2)")
        .await
        .field(Tag::Changed);
    assert_eq!(
        asking.end(number, OPERATION_SQL_ROLLBACK).await.0.error,
        None
    );
    assert_eq!(count(), "1");
    // A statement fails and the function commits all the same: it is told that nothing is.
    let number = asking.begin().await.field(Tag::Transaction);
    asking
        .within(number, "insert into t values (3)")
        .await
        .field(Tag::Changed);
    let failed = asking.within(number, "insert into t values (1)").await;
    failed.error(CallErrorKind::Conflict, Sent::Yes, "23505");
    let answer = asking.end(number, OPERATION_SQL_COMMIT).await;
    answer.error(Failed, Sent::Yes, "rolled back");
    // Unless it went back to before that.
    let number = asking.begin().await.field(Tag::Transaction);
    for sql in ["insert into t values (4)", "savepoint s"] {
        asking.within(number, sql).await.field(Tag::Changed);
    }
    let failed = asking.within(number, "insert into t values (1)").await;
    failed.error(CallErrorKind::Conflict, Sent::Yes, "23505");
    asking
        .within(number, "rollback to s")
        .await
        .field(Tag::Changed);
    assert_eq!(asking.end(number, OPERATION_SQL_COMMIT).await.0.error, None);
    assert_eq!(count(), "2");
    // As many as may be open; they end with the request.
    for _ in 0..transactions::OPEN_MAX {
        let number = asking.begin().await.field(Tag::Transaction);
        let sql = format!("insert into t values ({})", 10 + number);
        asking.within(number, &sql).await.field(Tag::Changed);
    }
    asking
        .begin()
        .await
        .error(Limit, Sent::No, "4 transactions open at once");
    let open = "select count(*) from pg_stat_activity where state like 'idle in transaction%'";
    assert_eq!(postgres.sql(open), "4");
    drop(asking);
    eventually("they end", || postgres.sql(open) == "0").await;
    assert_eq!(count(), "2");
    // A call that is dropped in the middle is the end of its transaction.
    let asking = Asking::new(&function);
    let number = asking.begin().await.field(Tag::Transaction);
    let slow = asking.within(number, "select pg_sleep(60)");
    assert!(timeout(Duration::from_millis(300), slow).await.is_err());
    let answer = asking.within(number, "select 1").await;
    answer.error(Failed, Sent::No, "the transaction has ended");
    let sleeping = "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()";
    eventually("it is ended in the database", || {
        postgres.sql(sleeping) == "0"
    })
    .await;
}

#[tokio::test]
async fn connections_are_few_and_are_replaced() {
    let Some(mut postgres) = start() else { return };
    let function = Function::local(&postgres.url("sslmode=disable"));
    let asking = Asking::new(&function);
    let sql = "select pg_backend_pid() as pid, pg_sleep(0.01)::text as slept";
    let all = (0..64).map(|_| asking.query(sql, json!([])));
    let answers = futures_util::future::join_all(all).await;
    let pids: std::collections::BTreeSet<_> = answers
        .iter()
        .map(|answer| answer.rows()[0]["pid"].as_u64().expect("a number"))
        .collect();
    assert!(
        (2..=pool::CONNECTIONS_MAX).contains(&pids.len()),
        "{pids:?}"
    );
    eventually("they wait", || function.idle() >= 1).await;
    // A statement that nobody waits for is ended in the database, and its connection with it.
    let slow = asking.query("select pg_sleep(60)::text as s", json!([]));
    assert!(timeout(Duration::from_millis(300), slow).await.is_err());
    let sleeping = "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()";
    eventually("it is ended", || postgres.sql(sleeping) == "0").await;
    // The server ends, and so do all connections that wait; the next statement gets a new one.
    postgres.pause();
    let answer = asking.query("select 1 as a", json!([])).await;
    assert_eq!(
        (answer.0.error, answer.0.sent),
        (Some(CallErrorKind::Failed), Sent::No)
    );
    postgres.resume();
    let answer = asking.query("select 1 as a", json!([])).await;
    assert_eq!(answer.rows(), json!([{ "a": 1 }]));
    // A table changes under a statement that is kept.
    postgres.sql("create table t (a int); insert into t values (1)");
    for _ in 0..3 {
        let rows = asking.query("select * from t", json!([])).await.rows();
        assert_eq!(rows, json!([{ "a": 1 }]));
        eventually("it waits", || function.idle() >= 1).await;
    }
    postgres.sql("alter table t add column b text default 'new'");
    let rows = asking.query("select * from t", json!([])).await.rows();
    assert_eq!(rows, json!([{ "a": 1, "b": "new" }]));
}

#[tokio::test]
async fn a_statement_that_is_kept_is_not_what_it_was() {
    use CallErrorKind::{Conflict, Invalid};
    let Some(postgres) = start() else { return };
    postgres.sql("create table t (a int)");
    let function = Function::local(&postgres.url("sslmode=disable"));
    let quiet = || eventually("it waits", || function.is_quiet());
    let insert = "insert into t values ($1)";
    let select = "select * from t";
    // What is prepared for a temporary table is of that transaction alone.
    let asking = Asking::new(&function);
    let number = asking.begin().await.field(Tag::Transaction);
    for sql in ["create temp table t (a text) on commit drop", select] {
        asking.within(number, sql).await.field(Tag::Changed);
    }
    let values = json!(["text"]);
    let changed = asking.within_with(number, insert, values).await;
    assert_eq!(changed.field(Tag::Changed), 1);
    let ended = asking.end(number, OPERATION_SQL_COMMIT).await;
    assert_eq!(ended.0.error, None);
    quiet().await;
    let refused = asking.execute(insert, json!(["text"])).await;
    refused.error(Invalid, Sent::Yes, "SQLSTATE 22P02: invalid parameter $1");
    quiet().await;
    let changed = asking.execute(insert, json!([1])).await;
    assert_eq!(changed.field(Tag::Changed), 1);
    // What a table has is of another type: it is seen the time after at the latest.
    for (alter, value) in [
        ("text", json!(["text"])),
        ("int", json!(["7"])),
        ("bool", json!([true])),
    ] {
        quiet().await;
        postgres.sql(&format!(
            "truncate t; alter table t alter column a type {alter} using null"
        ));
        let _ = asking.execute(insert, value.clone()).await;
        quiet().await;
        let changed = asking.execute(insert, value).await;
        assert_eq!(changed.field(Tag::Changed), 1, "{alter}");
    }
    // Within a transaction nothing is repeated: the function may begin it again.
    quiet().await;
    asking.query(select, json!([])).await.rows();
    quiet().await;
    postgres.sql("alter table t add column b int");
    let number = asking.begin().await.field(Tag::Transaction);
    let stale = asking.within(number, select).await;
    stale.error(Conflict, Sent::Yes, "SQLSTATE 0A000");
    let ended = asking.end(number, OPERATION_SQL_ROLLBACK).await;
    assert_eq!(ended.0.error, None);
    quiet().await;
    let number = asking.begin().await.field(Tag::Transaction);
    asking.within(number, select).await.field(Tag::Changed);
    let ended = asking.end(number, OPERATION_SQL_COMMIT).await;
    assert_eq!(ended.0.error, None);
    quiet().await;
    assert_eq!(function.idle(), 1);
    // A connection that told of very many settings is not for another request.
    let number = asking.begin().await.field(Tag::Transaction);
    for count in 0..500 {
        let sql = format!("set application_name to 'jiffy {count}'");
        asking.within(number, &sql).await.field(Tag::Changed);
    }
    let ended = asking.end(number, OPERATION_SQL_COMMIT).await;
    assert_eq!(ended.0.error, None);
    quiet().await;
    assert_eq!(function.idle(), 0);
}

#[tokio::test]
async fn a_url_that_is_set_anew_is_used() {
    let Some(postgres) = start() else { return };
    let ca_file = Some(postgres.ca_file());
    let private = ["127.0.0.0/8", "localhost"].map(|it| it.parse().expect("an address"));
    let private = private.to_vec();
    let egress = Egress {
        private,
        ca_file,
        ..Egress::default()
    };
    let function = Function::new(
        &postgres.url("sslmode=require&channel_binding=require"),
        egress,
    );
    let asking = Asking::new(&function);
    let look =
        "select ssl, current_user::text as who from pg_stat_ssl where pid = pg_backend_pid()";
    let rows = asking.query(look, json!([])).await.rows();
    assert_eq!(rows, json!([{ "ssl": true, "who": "ada" }]));
    postgres.sql("create role eve login password 'e'");
    let other = with_user(&postgres.url(""), "eve:e");
    function.set(&other);
    eventually("it waits", || function.idle() == 1).await;
    // As if its time were over.
    function.prepared.databases["orders"].expire();
    let rows = asking.query(look, json!([])).await.rows();
    assert_eq!(rows, json!([{ "ssl": true, "who": "eve" }]));
    let cancels = asking.query("select pg_sleep(60)::text as s", json!([]));
    assert!(timeout(Duration::from_millis(500), cancels).await.is_err());
    let sleeping = "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()";
    eventually("it is ended, by TLS", || postgres.sql(sleeping) == "0").await;
    assert!(
        function
            .secrets
            .remove(&TenantName::default(), &secret_name())
            .expect("removed")
    );
    function.prepared.databases["orders"].expire();
    let answer = asking.query(look, json!([])).await;
    answer.error(
        CallErrorKind::Failed,
        Sent::No,
        "the secret url is granted and not set",
    );
    assert_eq!(function.idle(), 0);
}

#[tokio::test]
async fn what_is_not_granted_is_denied() {
    let function = Function::local("postgres://ada@localhost/x");
    let asking = Asking::new(&function);
    let context = CallContext {
        request: &asking.request,
        traceparent: None,
        scope: &asking.scope,
        deadline: None,
    };
    let call = Call {
        service: SERVICE_SQL,
        operation: OPERATION_SQL_QUERY,
        binding: "others".into(),
        ..Call::default()
    };
    let answer = Answer(function.prepared.call(call, &context).await);
    answer.error(
        CallErrorKind::Denied,
        Sent::No,
        "jiffy.toml names, as [sql.NAME]",
    );
}

/// `jiffy run` has no runtime: calls get one, and what a request leaves is ended from outside of it.
#[test]
fn a_caller_without_a_runtime_is_answered_too() {
    let Some(postgres) = start() else { return };
    postgres.sql("create table t (a int)");
    let function = Function::local(&postgres.url("sslmode=disable"));
    let asking = Asking::new(&function);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    let call = |operation, fields: &[(Tag, &[u8])]| {
        let calling = asking.call(operation, fields, json!([]));
        Answer(runtime.block_on(calling))
    };
    let statement = |sql: &'static str| (Tag::Statement, sql.as_bytes());
    let rows = call(OPERATION_SQL_QUERY, &[statement("select 1 as a")]).rows();
    assert_eq!(rows, json!([{ "a": 1 }]));
    for _ in 0..2 {
        let number = call(OPERATION_SQL_BEGIN, &[]).field(Tag::Transaction);
        let number = u32::try_from(number).expect("small").to_le_bytes();
        let insert = [
            statement("insert into t values (1)"),
            (Tag::Transaction, &number),
        ];
        let changed = call(OPERATION_SQL_EXECUTE, &insert).field(Tag::Changed);
        assert_eq!(changed, 1);
    }
    // One call is dropped in the middle, and two transactions are left.
    drop(asking.call(
        OPERATION_SQL_QUERY,
        &[statement("select pg_sleep(60)::text as s")],
        json!([]),
    ));
    drop(asking);
    let open = "select count(*) from pg_stat_activity where application_name = 'jiffy' and state <> 'idle'";
    let began = std::time::Instant::now();
    while postgres.sql(open) != "0" {
        assert!(began.elapsed() < Duration::from_secs(20), "they go on");
    }
    assert_eq!(postgres.sql("select count(*) from t"), "0");
}

/// What the session of a statement is; the last column is of what it prepared by itself.
const LOOK: &str = "select current_user::text as who, session_user::text as by, current_setting('search_path') as path, \
    coalesce(current_setting('jiffy.left', true), '') as left, to_regclass('pg_temp.left_behind') is null as no_table, \
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks, \
    (select count(*) from pg_listening_channels()) as channels, (select count(*) from pg_cursors where name <> '') as cursors, \
    current_setting('transaction_read_only') as reads, (select count(*) from pg_prepared_statements where from_sql) as prepared";

/// Statements that change their session as they are about rows.
const LEAVES: &[&str] = &[
    "select set_config('search_path', 'nowhere', false)",
    "select set_config('jiffy.left', 'behind', false)",
    "select set_config('role', 'eve', false)",
    "select set_config('session_authorization', 'eve', false)",
    "select 1 as a into temp left_behind",
    "select pg_advisory_lock(7)",
    "select pg_advisory_lock_shared(7, 8)",
    "select leave('set search_path to nowhere')",
    "select leave('set session authorization eve')",
    "select leave('set role eve')",
    "select leave('set session characteristics as transaction read only')",
    "select leave('create temp table left_behind (a int)')",
    "select leave('listen left_behind')",
    "select leave('declare left_behind cursor with hold for select 1')",
    "select leave('prepare left_behind as select 1')",
    "select leave('deallocate all')",
    "with a as (select leave('set role eve')) select * from a",
];

#[tokio::test]
async fn a_request_finds_nothing_on_the_connection_that_it_keeps() {
    let Some(postgres) = start() else { return };
    let function = Function::local(&postgres.url("sslmode=disable"));
    postgres.sql(
        "create role eve; create table t (a int); create function leave(what text) returns void language plpgsql \
         as 'begin execute what; end'",
    );
    let mut kept = 0;
    for leaves in LEAVES {
        for _ in 0..3 {
            let asking = Asking::new(&function);
            asking.execute(leaves, json!([])).await.field(Tag::Changed);
            kept += function.own();
            let expected = |prepared: &Value| {
                json!([{
                    "who": "ada", "by": "ada", "path": "\"$user\", public", "left": "", "no_table": true, "locks": 0,
                    "channels": 0, "cursors": 0, "reads": "off", "prepared": prepared,
                }])
            };
            // Another of the request does not find it.
            let rows = asking.query(LOOK, json!([])).await.rows();
            assert_eq!(rows, expected(&rows[0]["prepared"]), "{leaves}");
            // Nor does what changes rows, or is prepared there. What a function has prepared may be there still.
            let _ = asking.execute(leaves, json!([])).await;
            let insert = format!("insert into t values ($1) -- {leaves}");
            let changed = asking.execute(&insert, json!([1])).await;
            assert_eq!(changed.field(Tag::Changed), 1, "{leaves}");
            let _ = asking.execute(leaves, json!([])).await;
            drop(asking);
            // Nor another request, of what was prepared either.
            assert_eq!(function.own(), 0);
            for _ in 0..2 {
                let rows = Asking::new(&function).query(LOOK, json!([])).await.rows();
                assert_eq!(rows, expected(&json!(0)), "{leaves}");
            }
        }
    }
    assert!(kept > LEAVES.len(), "{kept}");
    let all = (3 * LEAVES.len()).to_string();
    assert_eq!(postgres.sql("select count(*) from t"), all);
}

#[tokio::test]
async fn a_connection_is_kept_for_its_request_and_not_from_others() {
    let Some(postgres) = start() else { return };
    let function = Function::local(&postgres.url("sslmode=disable"));
    postgres.sql("create table t (a int)");
    // Time passes, so that it may be given back before one looks.
    let mut was_kept = false;
    for _ in 0..100 {
        let asking = Asking::new(&function);
        asking.query("select 1 as a", json!([])).await.rows();
        was_kept |= function.own() == 1;
        drop(asking);
        assert_eq!(function.own(), 0);
    }
    assert!(was_kept);
    let asking = Asking::new(&function);
    // Not behind what is not about rows, and what failed.
    for sql in [
        "set search_path to nowhere",
        "begin",
        "prepare a as select 1",
        "(select 1)",
        "select 1 / 0",
    ] {
        let _ = asking.execute(sql, json!([])).await;
        assert_eq!(function.own(), 0, "{sql}");
    }
    // Nor for longer than a moment: a lock that a statement left is not in the way of another request, or of a transaction.
    let lock = "select pg_advisory_lock(7)";
    asking.execute(lock, json!([])).await.field(Tag::Changed);
    let other = Asking::new(&function);
    let within = async {
        let locked = other.execute(lock, json!([])).await;
        locked.field(Tag::Changed);
        let number = asking.begin().await.field(Tag::Transaction);
        asking.within(number, lock).await.field(Tag::Changed);
        asking.end(number, OPERATION_SQL_COMMIT).await
    };
    let ended = timeout(Duration::from_secs(10), within).await;
    assert_eq!(ended.expect("in time").0.error, None);
    eventually("it is given back", || {
        function.own() == 0 && function.is_quiet()
    })
    .await;
    // Many requests of many statements each have no more connections than there are, and none waits for long.
    let requests = (0..64).map(|_| async {
        let asking = Asking::new(&function);
        for number in 0..20 {
            let changed = asking.execute("insert into t values ($1)", json!([number]));
            assert_eq!(changed.await.field(Tag::Changed), 1);
        }
    });
    let all = futures_util::future::join_all(requests);
    timeout(Duration::from_secs(60), all)
        .await
        .expect("in time");
    assert_eq!(postgres.sql("select count(*) from t"), "1280");
    assert_eq!(function.own(), 0);
    eventually("all wait", || function.is_quiet()).await;
    assert!(function.idle() <= pool::CONNECTIONS_MAX);
}
