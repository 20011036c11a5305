//! Orders in a database, over HTTP: `GET /orders`, `POST /orders`, and `GET`, `PUT` and `DELETE /orders/ID`. An order has a version, and
//! who changes one says which version it was: of two at once the second is told that it came too late.
//!
//! ```sql
//! create table orders (
//!     id bigint generated always as identity primary key,
//!     customer text not null,
//!     cents bigint not null check (cents >= 0),
//!     version int not null default 1,
//!     made timestamptz not null default now()
//! );
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Display;

use jiffy::{
    http::{Request, Response, StatusCode},
    sql::{self, Database},
};
use serde::{Deserialize, Serialize};

/// Orders of a page.
const PAGE_LEN: u32 = 50;

/// An order as it is.
#[derive(Deserialize, Serialize)]
struct Order {
    id: i64,
    customer: String,
    cents: i64,
    version: i32,
    made: String,
}

/// An order as somebody wants it; `version` is the one that it had.
#[derive(Deserialize)]
struct Wanted {
    customer: String,
    cents: i64,
    #[serde(default)]
    version: i32,
}

/// Why there is none.
#[derive(Serialize)]
struct Problem<'a> {
    problem: &'a str,
}

/// Answers a client.
#[jiffy::function]
pub fn orders(request: Request) -> Result<Response, jiffy::Error> {
    let db = sql::open("orders")?;
    let path = request.uri().path();
    let Some(rest) = path.strip_prefix("/orders") else {
        return problem(StatusCode::NOT_FOUND, "there is nothing here");
    };
    let method = request.method().as_str();
    let Some(id) = rest.strip_prefix('/') else {
        return match method {
            "GET" => list(&db, &request),
            "POST" => with_wanted(&request, |wanted| create(&db, wanted)),
            _ => not_allowed(method, "GET, POST"),
        };
    };
    let Ok(id) = id.parse::<i64>() else {
        return no_order(id);
    };
    match method {
        "GET" => one(id, find(&db, id)?),
        "PUT" => with_wanted(&request, |wanted| update(&db, id, wanted)),
        "DELETE" => delete(&db, id),
        _ => not_allowed(method, "DELETE, GET, PUT"),
    }
}

/// The orders behind `?after=ID`, of a `customer` if one is given.
fn list(db: &Database, request: &Request) -> Result<Response, jiffy::Error> {
    let after = request.uri().query_value("after");
    let after = after.as_deref().unwrap_or("0");
    let Ok(after) = after.parse::<i64>() else {
        let invalid = format!("invalid after {after}: must be the id of an order");
        return problem(StatusCode::BAD_REQUEST, &invalid);
    };
    let customer = request.uri().query_value("customer");
    let found: Vec<Order> = db.query(
        "select * from orders where id > $1 and ($2::text is null or customer = $2) order by id limit $3",
        (after, customer, PAGE_LEN),
    )?;
    json(StatusCode::OK, &found)
}

fn create(db: &Database, wanted: &Wanted) -> Result<Response, jiffy::Error> {
    let made = db.query::<Order>(
        "insert into orders (customer, cents) values ($1, $2) returning *",
        (&wanted.customer, wanted.cents),
    )?;
    json(StatusCode::CREATED, &made.first())
}

/// Changes an order that is as the client has seen it.
fn update(db: &Database, id: i64, wanted: &Wanted) -> Result<Response, jiffy::Error> {
    let changed = db.query::<Order>(
        "update orders set customer = $3, cents = $4, version = version + 1 where id = $1 and version = $2 returning *",
        (id, wanted.version, &wanted.customer, wanted.cents),
    )?;
    if !changed.is_empty() {
        return one(id, changed);
    }
    match find(db, id)?.first() {
        None => no_order(id),
        Some(order) => {
            let (wanted, is) = (wanted.version, order.version);
            let stale =
                format!("invalid version {wanted}: order {id} has version {is}, read it again");
            problem(StatusCode::CONFLICT, &stale)
        }
    }
}

fn delete(db: &Database, id: i64) -> Result<Response, jiffy::Error> {
    match db.execute("delete from orders where id = $1", (id,))? {
        0 => no_order(id),
        _ => Ok(Response::builder()
            .status(StatusCode::NO_CONTENT)
            .body("")?),
    }
}

fn with_wanted(
    request: &Request,
    work: impl FnOnce(&Wanted) -> Result<Response, jiffy::Error>,
) -> Result<Response, jiffy::Error> {
    match serde_json::from_slice::<Wanted>(request.body()) {
        Ok(wanted) if wanted.cents < 0 => {
            let invalid = format!("invalid cents {}: must be 0 or more", wanted.cents);
            problem(StatusCode::BAD_REQUEST, &invalid)
        }
        Ok(wanted) => work(&wanted),
        Err(error) => problem(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

fn find(db: &Database, id: i64) -> Result<Vec<Order>, jiffy::Error> {
    Ok(db.query("select * from orders where id = $1", (id,))?)
}

fn one(id: i64, found: Vec<Order>) -> Result<Response, jiffy::Error> {
    match found.first() {
        Some(order) => json(StatusCode::OK, order),
        None => no_order(id),
    }
}

fn no_order(id: impl Display) -> Result<Response, jiffy::Error> {
    let missing = format!("no order {id}: must be the id of one that was made");
    problem(StatusCode::NOT_FOUND, &missing)
}

fn not_allowed(method: &str, allowed: &str) -> Result<Response, jiffy::Error> {
    let invalid = format!("invalid method {method}: must be one of {allowed}");
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, &invalid)?;
    response.headers_mut().insert("allow", allowed)?;
    Ok(response)
}

fn problem(status: StatusCode, problem: &str) -> Result<Response, jiffy::Error> {
    json(status, &Problem { problem })
}

fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, jiffy::Error> {
    let builder = Response::builder().status(status);
    let builder = builder.header("content-type", "application/json");
    Ok(builder.body(serde_json::to_vec(body)?)?)
}

#[cfg(test)]
mod tests;
