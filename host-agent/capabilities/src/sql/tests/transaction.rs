//! Transactions are of one request, and end with it.

use super::*;

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
