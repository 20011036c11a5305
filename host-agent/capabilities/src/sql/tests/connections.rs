//! How many there are, and when one is made anew.

use super::*;

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
