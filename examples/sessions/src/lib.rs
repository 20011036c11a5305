//! Keeps the sessions of a web site in a store: `POST /login` begins one for the name in the body and sets a cookie, `GET /`
//! counts a visit, `POST /logout` ends it. A session that nobody uses for an hour is gone.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
};
use core::time::Duration;

use jiffy::{
    http::{Method, Request, Response, StatusCode},
    kv::{self, Entry, Store},
};
use serde::{Deserialize, Serialize};

const COOKIE: &str = "session=";
const TTL: Duration = Duration::from_secs(3600);
/// Somebody else may change the session at the same time; more often than this is not by chance.
const TRIES_MAX: u32 = 20;

#[derive(Deserialize, Serialize)]
struct Session {
    user: String,
    visits: u32,
}

/// Answers a visitor.
#[jiffy::function]
pub fn sessions(request: Request) -> Result<Response, jiffy::Error> {
    let store = kv::open("sessions")?;
    let id = cookie(&request);
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/login") => login(&store, core::str::from_utf8(request.body())?),
        (&Method::POST, "/logout") => {
            if let Some(id) = id {
                store.delete(id).send()?;
            }
            answer(StatusCode::OK, "bye\n")
        }
        (&Method::GET, "/") => visit(&store, id.unwrap_or_default()),
        _ => answer(StatusCode::NOT_FOUND, "there is nothing\n"),
    }
}

/// Begins a session under an id that nobody can guess.
fn login(store: &Store, user: &str) -> Result<Response, jiffy::Error> {
    let mut bytes = [0; 16];
    jiffy::random::fill(&mut bytes);
    let id = format!("{:032x}", u128::from_le_bytes(bytes));
    let session = Session {
        user: user.to_string(),
        visits: 0,
    };
    store.put_json(&id, &session).if_absent().ttl(TTL).send()?;
    let cookie = format!("{COOKIE}{id}; HttpOnly; SameSite=Strict; Path=/; Max-Age=3600");
    Ok(Response::builder()
        .status(StatusCode::CREATED)
        .header("set-cookie", cookie)
        .body("welcome\n")?)
}

/// Counts a visit: what was read is written back only if nobody else has written meanwhile.
fn visit(store: &Store, id: &str) -> Result<Response, jiffy::Error> {
    for _ in 0..TRIES_MAX {
        let Some(entry) = find(store, id)? else {
            return answer(StatusCode::UNAUTHORIZED, "log in first\n");
        };
        let mut session: Session = entry.json()?;
        session.visits += 1;
        let put = store.put_json(id, &session).if_version(entry.version);
        match put.ttl(TTL).send() {
            Ok(_) => {
                let text = format!("{}, visit {}\n", session.user, session.visits);
                return answer(StatusCode::OK, &text);
            }
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    answer(StatusCode::SERVICE_UNAVAILABLE, "too many at once\n")
}

fn find(store: &Store, id: &str) -> Result<Option<Entry>, jiffy::Error> {
    // What a client sends is not always an id.
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_id {
        true => Ok(store.get(id).send()?),
        false => Ok(None),
    }
}

fn cookie<'a>(request: &'a Request) -> Option<&'a str> {
    let cookies = request.headers().get("cookie")?.to_str().ok()?;
    let mut cookies = cookies.split(';').map(str::trim);
    cookies.find_map(|cookie| cookie.strip_prefix(COOKIE))
}

fn answer(status: StatusCode, text: &str) -> Result<Response, jiffy::Error> {
    Ok(Response::builder().status(status).body(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiffy::{http, testing::Store};

    fn ask(store: &Store, method: Method, path: &str, cookie: &str, body: &str) -> http::Response {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("cookie", cookie)
            .body(body);
        let call = jiffy::testing::call!().kv("sessions", store);
        call.http(request.expect("a request")).run().http()
    }

    fn text(response: &http::Response) -> &str {
        core::str::from_utf8(response.body()).expect("text")
    }

    #[test]
    fn a_session_lasts_from_login_to_logout() {
        let store = Store::default();
        let login = ask(&store, Method::POST, "/login", "", "ada");
        assert_eq!(login.status(), StatusCode::CREATED);
        let cookie = login.headers().get("set-cookie").expect("a cookie");
        let cookie = cookie.to_str().expect("text");
        let cookie = cookie.split(';').next().expect("one");
        for visit in 1..4 {
            let response = ask(&store, Method::GET, "/", &format!("a=b; {cookie}"), "");
            assert_eq!(text(&response), format!("ada, visit {visit}\n"));
        }
        ask(&store, Method::POST, "/logout", cookie, "");
        assert!(store.keys().is_empty());
        for cookie in [cookie, "", "session=../x"] {
            let response = ask(&store, Method::GET, "/", cookie, "");
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{cookie}");
        }
    }
}
