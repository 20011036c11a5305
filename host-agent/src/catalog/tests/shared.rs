//! Two catalogs over one registry, as agents on two hosts have it.

use super::*;

fn two() -> [Arc<Catalog>; 2] {
    let registry: Arc<dyn Registry> = Arc::new(registry_on(&Disk::default()).expect("registry"));
    let catalog = || Catalog::new(Arc::clone(&registry), Limits::default()).expect("catalog");
    [catalog(), catalog()]
}

async fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("not within two seconds: {what}");
}

/// Whoever follows hears of what the other changed, in order and without asking, deletions too.
#[tokio::test]
async fn changes_of_another_are_followed() {
    let [here, there] = two();
    let heard = Arc::new(Mutex::new(vec![]));
    let hears = Arc::clone(&heard);
    here.followed_by(Box::new(move |followed| {
        let live = |entry: Option<Arc<Entry>>| Some(entry?.function.live.0.get());
        let change = (live(followed.before), live(followed.after));
        hears.lock().push(change);
    }));
    put(&there, "f", new("1", 1)).await;
    until("the first", || here.len() == 1).await;
    put(&there, "f", new("2", 2)).await;
    until("the second", || {
        here.function(&name("f")).is_ok_and(|f| f.live == number(2))
    })
    .await;
    assert_eq!(
        here.get(&name("f")).as_deref(),
        there.get(&name("f")).as_deref()
    );
    put(&there, "g", new("1", 1)).await;
    there.delete_function(&name("f")).await.expect("deleted");
    until("the deletion", || here.get(&name("f")).is_none()).await;
    assert_eq!(here.len(), 1);
    let heard = heard.lock().clone();
    let of_f = [(None, Some(1)), (Some(1), Some(2)), (Some(2), None)];
    let heard: Vec<_> = heard.into_iter().filter(|h| of_f.contains(h)).collect();
    // The other function's first version looks like the first of this one.
    assert_eq!(heard, [of_f[0], of_f[1], of_f[0], of_f[2]]);
}

/// Nobody follows: each looks for what the other did before it decides, and decides again if the other was faster even so.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_once_lose_nothing() {
    let catalogs = two();
    put(&catalogs[0], "f", new("1", 1)).await;
    let tag = |which: usize, key: u32| {
        let catalog = Arc::clone(&catalogs[which]);
        tokio::spawn(async move {
            let tags = [(format!("{which}-{key}"), String::new())].into();
            catalog.tag(&name("f"), tags, vec![]).await
        })
    };
    let changes = (0..20).flat_map(|key| [tag(0, key), tag(1, key)]);
    for change in changes.collect::<Vec<_>>() {
        change.await.expect("no panic").expect("tagged");
    }
    for catalog in &catalogs {
        catalog.follow().expect("followed");
        let function = catalog.function(&name("f")).expect("there");
        assert_eq!(function.attached.tags.len(), 40);
        assert_eq!(function.generation, Generation(41));
    }
}

/// A condition of the client is not decided again: of two deploys of the same next version, one is refused.
#[tokio::test]
async fn of_two_deploys_at_once_one_is_refused() {
    let [here, there] = two();
    put(&here, "f", new("here", 1)).await;
    // Nobody has told `there` of it.
    let late = there.put_version(&name("f"), new("there", 1)).await;
    assert!(matches!(late, Err(ChangeError::Changed(_))));
    let live = there.version(&name("f"), number(1)).expect("it has now");
    assert_eq!(live.image, Digest::of(b"here"));
}

/// What comes late changes nothing.
#[test]
fn a_directory_never_goes_back() {
    let directory = Directory::default();
    let update = |generation, live| {
        let mut entry = Entry::new(name("f"), 0);
        entry.function.generation = Generation(generation);
        entry.function.live = number(live);
        Update {
            name: name("f"),
            entry: Some(Arc::new(entry)),
        }
    };
    let live = || directory.get(&name("f")).expect("there").function.live;
    assert!(directory.take(update(5, 2)).is_some());
    for late in [4, 5] {
        assert!(directory.take(update(late, 1)).is_none());
        assert_eq!(live(), number(2));
    }
    assert!(directory.take(update(6, 3)).is_some());
    assert_eq!(live(), number(3));
}
