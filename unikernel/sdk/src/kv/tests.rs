//! Calls for keys and values, against the stand-in.

extern crate std;

use std::{string::String, vec, vec::Vec};

use crate::{
    call::CallErrorKind,
    dispatch::{Invocation, Reply},
    kv,
    testing::{Call, Store},
};

fn text(result: Result<Vec<String>, crate::Error>) -> Vec<u8> {
    match result {
        Ok(lines) => lines.join(" ").into_bytes(),
        Err(error) => std::format!("error: {error}").into_bytes(),
    }
}

macro_rules! run {
    ($store:expr, $body:expr) => {{
        fn handler(_: &Invocation<'_>) -> Reply {
            let body: fn() -> Result<Vec<String>, crate::Error> = $body;
            Reply::ok(text(body()))
        }
        Call::new(handler).kv("s", $store).run().text()
    }};
}

#[test]
fn what_is_put_is_there_with_its_version_and_metadata() {
    let store = Store::from([("a", "1"), ("b", "2")]);
    let said = run!(&store, || {
        let store = kv::open("s")?;
        let put = store.put("c", "3").metadata("m").send()?;
        let (a, c, none) = crate::join((store.get("a"), store.get("c"), store.get("d")))?;
        let (a, c) = (a.expect("there"), c.expect("there"));
        assert_eq!(
            (c.version, &*c.metadata, c.expires_ms),
            (put.version, "m", None)
        );
        assert!(none.is_none() && !put.existed);
        let deleted = store.delete("a").if_version(a.version).send()?;
        Ok(vec![
            String::from_utf8(a.value)?,
            String::from_utf8(c.value)?,
            std::format!("{}", deleted.existed),
        ])
    });
    assert_eq!(said, "1 3 true");
    assert_eq!(store.keys(), ["b", "c"]);
}

#[test]
fn a_conflict_can_be_told_and_a_batch_is_all_or_none() {
    let store = Store::from([("a", "1")]);
    let said = run!(&store, || {
        let store = kv::open("s")?;
        let batch = store.batch().then(store.put("b", "2"));
        let error = batch
            .then(store.delete("a").if_version(99))
            .send()
            .expect_err("a conflict");
        assert_eq!(error.kind(), CallErrorKind::Conflict);
        assert!(error.is_conflict());
        let batch = store.batch().then(store.put("b", "2").if_absent());
        let done = batch.then(store.delete("a").if_present()).send()?;
        Ok(vec![std::format!("{error}; {}", done.len())])
    });
    assert!(said.starts_with("the entry \"a\" has version 1"), "{said}");
    assert!(said.ends_with("; 2"), "{said}");
    assert_eq!(store.keys(), ["b"]);
}

#[test]
fn a_list_goes_on_where_it_ended_and_time_takes_what_expires() {
    let store = Store::from([("a/1", "1"), ("a/2", "22"), ("a/3", ""), ("b", "")]);
    let said = run!(&store, || {
        let store = kv::open("s")?;
        let ttl = core::time::Duration::from_millis(5);
        store.put("a/0", "x").ttl(ttl).send()?;
        let first = store.list().prefix("a/").limit(2).send()?;
        crate::time::sleep(ttl);
        let next = first.next.clone().unwrap_or_default();
        let second = store.list().prefix("a/").cursor(&next).limit(2).send()?;
        assert!(store.get("a/0").send()?.is_none() && second.next.is_none());
        let entries = first.entries.iter().chain(&second.entries);
        Ok(entries
            .map(|entry| std::format!("{}={}", entry.key, entry.value_bytes))
            .collect())
    });
    assert_eq!(said, "a/0=1 a/1=1 a/2=2 a/3=0");
}

#[test]
#[should_panic(
    expected = "opens the store \"s\", of which the test says nothing: add `.kv(\"s\", […])`; it has other"
)]
fn a_store_that_the_test_does_not_give_is_named() {
    fn handler(_: &Invocation<'_>) -> Reply {
        let _ = kv::open("s").expect("a name").get("k").send();
        Reply::ok(vec![])
    }
    let _ = Call::new(handler).kv("other", [("a", "b")]).run();
}
