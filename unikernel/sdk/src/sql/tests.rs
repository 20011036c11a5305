//! Calls for SQL, against the stand-in.

extern crate std;

use std::{cell::RefCell, rc::Rc, string::String, vec, vec::Vec};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    call::{CallError, CallErrorKind, Sent},
    dispatch::{Invocation, Reply},
    sql::{self, Isolation},
    testing::Call,
};

#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Row {
    id: i64,
    name: Option<String>,
}

macro_rules! run {
    ($answer:expr, $body:expr) => {{
        fn handler(_: &Invocation<'_>) -> Reply {
            let body: fn() -> Result<String, crate::Error> = $body;
            Reply::ok(match body() {
                Ok(text) => text.into_bytes(),
                Err(error) => std::format!("error: {error}").into_bytes(),
            })
        }
        Call::new(handler).sql("s", $answer).run().text()
    }};
}

#[test]
fn rows_and_counts_are_read_and_parameters_written() {
    let asked = Rc::new(RefCell::new(vec![]));
    let asks = Rc::clone(&asked);
    let said = run!(
        move |sql: &str, parameters: &Value| {
            asks.borrow_mut()
                .push((String::from(sql), parameters.clone()));
            Ok(match sql {
                "select" => json!([{ "id": 1, "name": null }, { "id": -2, "name": "b" }]),
                "insert" => json!(3),
                _ => json!([]),
            })
        },
        || {
            let db = sql::open("s")?;
            let rows: Vec<Row> = db.query("select", (1, "a", None::<u8>, [1.5], vec![0u8]))?;
            let changed = db.execute("insert", ())?;
            let list: Vec<Row> = db.query("none", vec![1, 2])?;
            let (joined, count) = crate::join((
                db.query_call::<Row>("select", ()),
                db.execute_call("insert", (true,)),
            ))?;
            assert_eq!((&joined, count), (&rows, 3));
            Ok(std::format!(
                "{} {} {changed} {}",
                rows[0].id,
                rows[1].id,
                list.len()
            ))
        }
    );
    assert_eq!(said, "1 -2 3 0");
    let expected = [
        ("select", json!([1, "a", null, [1.5], [0]])),
        ("insert", json!([])),
        ("none", json!([1, 2])),
        ("select", json!([])),
        ("insert", json!([true])),
    ];
    let expected = expected.map(|(sql, parameters)| (sql.into(), parameters));
    assert_eq!(*asked.borrow(), expected);
}

#[test]
fn errors_say_what_is_wrong() {
    let said = run!(
        |sql: &str, _: &Value| match sql {
            "conflict" => Err(CallError::new(CallErrorKind::Conflict, Sent::Yes, "23505")),
            _ => Ok(json!([{ "id": "seven" }])),
        },
        || {
            let db = sql::open("s")?;
            let misfit = db.query::<Row>("select", ()).expect_err("no number");
            assert_eq!(
                (misfit.kind(), misfit.sent()),
                (CallErrorKind::Failed, Sent::Yes)
            );
            let text = std::format!("{misfit}");
            assert!(
                text.contains("expected i64") && text.contains("\"seven\""),
                "{text}"
            );
            for wrong in [
                db.execute("select", 7).expect_err("no tuple"),
                db.execute("select", Row { id: 1, name: None })
                    .expect_err("no tuple"),
                sql::open("a b").expect_err("no name"),
            ] {
                assert_eq!(
                    (wrong.kind(), wrong.sent()),
                    (CallErrorKind::Invalid, Sent::No)
                );
            }
            let conflict = db.execute("conflict", ()).expect_err("a conflict");
            assert!(conflict.is_conflict());
            Ok("done".into())
        }
    );
    assert_eq!(said, "done");
}

#[test]
fn a_transaction_ends_with_its_work() {
    let said = run!(
        |sql: &str, _: &Value| match sql {
            "fail" => Err(CallError::new(CallErrorKind::Invalid, Sent::Yes, "no")),
            _ => Ok(json!(1)),
        },
        || {
            let db = sql::open("s")?;
            let one = db.transaction(|tx| {
                tx.execute("insert", ())?;
                tx.execute("insert", (1,))
            })?;
            let failed: Result<u64, CallError> =
                db.transaction_with(Isolation::Serializable, |tx| {
                    tx.execute("insert", ())?;
                    tx.execute("fail", ())
                });
            let own: Result<(), crate::Error> =
                db.read_only(|_| Err("own".parse::<u8>().expect_err("no number").into()));
            Ok(std::format!(
                "{one} {} {}",
                failed.expect_err("failed"),
                own.expect_err("own")
            ))
        }
    );
    assert_eq!(said, "1 no invalid digit found in string");
}

#[test]
#[should_panic(expected = "add `.sql(\"other\", |sql, parameters| …)`; it has s")]
fn a_database_of_which_the_test_says_nothing_is_named() {
    run!(|_: &str, _: &Value| Ok(json!([])), || {
        let changed = sql::open("other")?.execute("insert", ())?;
        Ok(std::format!("{changed}"))
    });
}
