//! With a table in memory that knows the statements of this function.

use std::{cell::RefCell, rc::Rc};

use jiffy::{call::CallError, http};
use serde_json::{Value, json};

use super::*;

type Table = Rc<RefCell<Vec<Value>>>;

/// What the database would answer.
fn answer(table: &Table, sql: &str, values: &Value) -> Result<Value, CallError> {
    let mut rows = table.borrow_mut();
    let is_it = |row: &Value| row["id"] == values[0];
    Ok(match sql.split_once(' ').expect("a statement") {
        ("insert", _) => {
            let row = json!({
                "id": rows.len() + 1, "customer": values[0], "cents": values[1], "version": 1, "made": "2026-01-01T00:00:00Z",
            });
            rows.push(row.clone());
            json!([row])
        }
        ("update", _) => {
            let found = rows
                .iter_mut()
                .find(|row| is_it(row) && row["version"] == values[1]);
            let Some(row) = found else {
                return Ok(json!([]));
            };
            row["customer"] = values[2].clone();
            row["cents"] = values[3].clone();
            row["version"] = json!(values[1].as_i64().expect("a number") + 1);
            json!([row])
        }
        ("delete", _) => {
            let before = rows.len();
            rows.retain(|row| !is_it(row));
            json!(before - rows.len())
        }
        ("select", rest) if rest.contains("limit") => {
            let is_of = |row: &&Value| values[1].is_null() || row["customer"] == values[1];
            json!(rows.iter().filter(is_of).collect::<Vec<_>>())
        }
        _ => json!(rows.iter().filter(|row| is_it(row)).collect::<Vec<_>>()),
    })
}

fn ask(table: &Table, method: &str, target: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri(target);
    let request = request.body(body.to_string()).expect("a request");
    let table = Rc::clone(table);
    let call =
        jiffy::testing::call!().sql("orders", move |sql, values| answer(&table, sql, values));
    let response: http::Response = call.http(request).run().http();
    let body = serde_json::from_slice(response.body()).unwrap_or_default();
    (response.status().as_u16(), body)
}

#[test]
fn an_order_is_made_read_changed_and_removed() {
    let table = Table::default();
    let pen = json!({ "customer": "ada", "cents": 250 });
    let (status, made) = ask(&table, "POST", "/orders", &pen);
    assert_eq!(
        (status, &made["id"], &made["version"]),
        (201, &json!(1), &json!(1))
    );
    assert_eq!(
        ask(&table, "GET", "/orders/1", &Value::Null),
        (200, made.clone())
    );
    let dearer = json!({ "customer": "ada", "cents": 300, "version": 1 });
    let (status, changed) = ask(&table, "PUT", "/orders/1", &dearer);
    assert_eq!(
        (status, &changed["cents"], &changed["version"]),
        (200, &json!(300), &json!(2))
    );
    // Another one that has seen the first version comes too late.
    let (status, problem) = ask(&table, "PUT", "/orders/1", &dearer);
    assert_eq!(status, 409, "{problem}");
    ask(
        &table,
        "POST",
        "/orders",
        &json!({ "customer": "eve", "cents": 1 }),
    );
    for (target, count) in [
        ("/orders", 2),
        ("/orders?customer=eve", 1),
        ("/orders?customer=nobody", 0),
    ] {
        let (_, listed) = ask(&table, "GET", target, &Value::Null);
        assert_eq!(listed.as_array().expect("a list").len(), count, "{target}");
    }
    assert_eq!(ask(&table, "DELETE", "/orders/1", &Value::Null).0, 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(ask(&table, method, "/orders/1", &Value::Null).0, 404);
    }
}

#[test]
fn what_is_no_order_is_refused() {
    let table = Table::default();
    for (method, target, body, status) in [
        ("POST", "/orders", json!({}), 400),
        (
            "POST",
            "/orders",
            json!({ "customer": "ada", "cents": -1 }),
            400,
        ),
        (
            "PUT",
            "/orders/7",
            json!({ "customer": "ada", "cents": 1, "version": 1 }),
            404,
        ),
        ("GET", "/orders/seven", json!(null), 404),
        ("GET", "/orders?after=x", json!(null), 400),
        ("PUT", "/orders", json!(null), 405),
        ("POST", "/orders/1", json!(null), 405),
        ("GET", "/", json!(null), 404),
        ("PATCH", "/orders", json!(null), 405),
    ] {
        let (found, body) = ask(&table, method, target, &body);
        assert_eq!(found, status, "{method} {target} {body}");
    }
    assert!(table.borrow().is_empty());
}
