//! What is wrong, and what is said of it.

use super::*;

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
