//! What one request leaves on a connection, and in its statements that are kept, is not there for the next.

use super::*;

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
