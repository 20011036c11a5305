//! Answers with a page of a slow server. A page that was asked for within the last minute comes out of Redis; the cache is a help
//! and no more: if it is broken or slow, the page comes from the server, as if there were none.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{format, string::String};
use core::time::Duration;

use jiffy::{
    call::CallError,
    http,
    redis::{self, Redis},
};
use serde::{Deserialize, Serialize};

/// The server, unless the variable of this name has another.
const ORIGIN: &str = "https://slow.example";
/// How long a page is kept.
const KEPT_S: u32 = 60;
/// What the cache may take: less than the server does, or it is no help.
const CACHE_TIME_MAX: Duration = Duration::from_millis(200);

/// What is looked for.
#[derive(Deserialize)]
pub struct Wanted {
    page: String,
}

/// What is answered.
#[derive(Serialize)]
pub struct Page {
    text: String,
    is_cached: bool,
}

/// The page, out of the cache or from its server.
#[jiffy::function]
pub fn cached(wanted: Wanted) -> Result<Page, jiffy::Error> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !wanted.page.bytes().all(is_of_name) {
        return Err(jiffy::Error::msg("a page is letters, digits and hyphens"));
    }
    let key = format!("page:{}", wanted.page);
    let cache = redis::open("cache")?;
    match hit(&cache, &key) {
        Ok(Some(text)) => {
            let is_cached = true;
            return Ok(Page { text, is_cached });
        }
        Ok(None) => {}
        Err(error) => jiffy::log::warn!("the cache does not help: {error}"),
    }
    let origin = jiffy::env::var("ORIGIN").unwrap_or(ORIGIN);
    let answer = http::get(&format!("{origin}/{}", wanted.page)).send()?;
    if !answer.status().is_success() {
        let status = answer.status();
        return Err(jiffy::Error::msg(format!("the server answers {status}")));
    }
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let keep = cache.command_call(("SET", &key, &text, "EX", KEPT_S));
    if let Err(error) = keep.timeout(CACHE_TIME_MAX).send() {
        jiffy::log::warn!("the page is not kept: {error}");
    }
    let is_cached = false;
    Ok(Page { text, is_cached })
}

/// What the cache has.
fn hit(cache: &Redis, key: &str) -> Result<Option<String>, CallError> {
    let hit = cache.command_call(("GET", key)).timeout(CACHE_TIME_MAX);
    let hit = hit.send()?;
    hit.option()
        .map(|it| it.text().map(String::from))
        .transpose()
}

#[cfg(test)]
mod tests {
    use jiffy::call::{CallErrorKind, Sent};
    use jiffy::redis::Value;
    use jiffy::testing::{Call, call};

    use super::*;

    fn ask() -> Call {
        call!().event(r#"{"page":"news"}"#)
    }

    const URL: &str = "https://slow.example/news";

    #[test]
    fn a_page_in_the_cache_is_not_asked_for() {
        let cache = |command: &[&str]| match command {
            ["GET", "page:news"] => "old",
            other => panic!("{other:?}"),
        };
        let outcome = ask().redis("cache", cache).run();
        assert_eq!(outcome.text(), r#"{"text":"old","is_cached":true}"#);
    }

    #[test]
    fn a_page_that_is_asked_for_is_kept() {
        let cache = |command: &[&str]| match command {
            ["GET", "page:news"] => Value::Nil,
            ["SET", "page:news", "new", "EX", "60"] => "OK".into(),
            other => panic!("{other:?}"),
        };
        let outcome = ask()
            .redis("cache", cache)
            .http_call("GET", URL, 200, "new")
            .run();
        assert_eq!(outcome.text(), r#"{"text":"new","is_cached":false}"#);
    }

    #[test]
    fn without_a_cache_the_page_comes_from_its_server() {
        let error = CallError::new(CallErrorKind::Failed, Sent::No, "no cache");
        let outcome = ask()
            .redis_fails("cache", error)
            .http_call("GET", URL, 200, "new")
            .run();
        assert_eq!(outcome.text(), r#"{"text":"new","is_cached":false}"#);
        let full = |command: &[&str]| match command {
            ["GET", _] => Value::Nil,
            _ => Value::Error("OOM command not allowed".into()),
        };
        let outcome = ask()
            .redis("cache", full)
            .http_call("GET", URL, 200, "new")
            .run();
        assert_eq!(outcome.text(), r#"{"text":"new","is_cached":false}"#);
    }

    #[test]
    fn an_error_of_the_server_is_not_kept() {
        let cache = |command: &[&str]| match command {
            ["GET", _] => (),
            other => panic!("{other:?}"),
        };
        let outcome = ask()
            .redis("cache", cache)
            .http_call("GET", URL, 503, "")
            .run();
        assert!(outcome.error().message.contains("503"));
    }
}
