//! The engine: order and ids, whatever the clock does; limits at their edges; restarts, and a disk that fills up. What becomes of
//! a kill is the test of `jiffy-kv`, and that of `tests/tests/queue.rs`.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use jiffy_kv::{Clock, Kv, system_clock};
use jiffy_tables::testing::Disk;

use super::*;

const CONTENT_TYPE: &str = "application/octet-stream";

/// A clock that is set by hand, milliseconds.
#[derive(Clone)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn at(ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(ms)))
    }

    fn clock(&self) -> Clock {
        let hands = Arc::clone(&self.0);
        Arc::new(move || hands.load(SeqCst))
    }

    fn set(&self, ms: u64) {
        self.0.store(ms, SeqCst);
    }
}

fn queue(name: &str) -> QueueId {
    QueueId::new(&TenantName::default(), name)
}

fn message(body: &[u8]) -> NewMessage {
    NewMessage {
        body: body.into(),
        content_type: CONTENT_TYPE.into(),
    }
}

fn done<T>(changing: Changing<T>) -> Result<T, QueueError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(changing)
}

fn send(queues: &FileQueues, name: &str, body: &[u8]) -> Result<MessageId, QueueError> {
    done(queues.send(queue(name), message(body)))
}

/// Ids of all messages, in parts of two.
fn ids(queues: &FileQueues, name: &str) -> Vec<MessageId> {
    let (mut ids, mut after) = (vec![], None);
    loop {
        let page = queues.list(&queue(name), after.as_ref(), 2).expect("reads");
        assert!(page.messages.len() <= 2);
        ids.extend(page.messages.into_iter().map(|message| message.id));
        match page.next {
            Some(next) => after = Some(next),
            None => return ids,
        }
    }
}

#[test]
fn a_message_is_there_as_it_was_sent_until_it_is_removed() {
    let hands = Hands::at(1_700_000_000_123);
    let queues = FileQueues::in_memory(Limits::default(), hands.clock()).expect("memory");
    assert_eq!(ids(&queues, "emails"), []);
    let large = vec![b'x'; MESSAGE_BYTES_MAX];
    let mut sent = vec![];
    for body in [&b"{}"[..], b"", &large] {
        sent.push(send(&queues, "emails", body).expect("sent"));
    }
    let text = NewMessage {
        content_type: "text/plain; charset=utf-8".into(),
        ..message(b"hello")
    };
    sent.push(done(queues.send(queue("emails"), text.clone())).expect("sent"));
    assert_eq!(ids(&queues, "emails"), sent);
    let got = |id| queues.get(&queue("emails"), id).expect("reads");
    let NewMessage { body, content_type } = text;
    let sent_ms = 1_700_000_000_123;
    let whole = Message {
        body,
        sent_ms,
        content_type,
    };
    assert_eq!(got(&sent[3]), Some(whole));
    assert_eq!(got(&sent[2]).map(|message| message.body), Some(large));
    assert_eq!(queues.get(&queue("other"), &sent[0]), Ok(None));
    let page = queues.list(&queue("emails"), Some(&sent[1]), 1);
    let page = page.expect("reads");
    let [listed] = &page.messages[..] else {
        panic!("one message: {page:?}");
    };
    assert_eq!((&listed.id, listed.body_bytes), (&sent[2], 256 << 10));
    assert_eq!(listed.sent_ms, sent_ms);
    assert_eq!(listed.content_type, CONTENT_TYPE);
    for existed in [true, false] {
        assert_eq!(done(queues.remove(queue("emails"), &sent[0])), Ok(existed));
        assert_eq!(got(&sent[0]), None);
    }
    assert_eq!(ids(&queues, "emails"), sent[1..]);
    for existed in [true, false] {
        assert_eq!(done(queues.remove_queue(queue("emails"))), Ok(existed));
        assert_eq!(ids(&queues, "emails"), []);
    }
}

#[test]
fn order_is_that_of_sending_whatever_the_clock_does() {
    let folder = tempfile::tempdir().expect("folder");
    let hands = Hands::at(2_000_000);
    let open = || {
        let path = folder.path().join("queues");
        FileQueues::open(&path, Limits::default(), hands.clock()).expect("opens")
    };
    let mut queues = open();
    let mut sent = vec![];
    for (number, ms) in [2_000_000, 1_000_000, 0, 2_000_001, 2_000_000]
        .into_iter()
        .enumerate()
    {
        hands.set(ms);
        for name in ["a", "b"] {
            let body = number.to_string();
            sent.push(send(&queues, name, body.as_bytes()).expect("sent"));
        }
        if number == 2 {
            drop(queues);
            queues = open();
        }
    }
    assert!(sent.is_sorted(), "{sent:?}");
    let unique: BTreeSet<_> = sent.iter().collect();
    assert_eq!(unique.len(), sent.len());
    let of_a: Vec<_> = sent.iter().step_by(2).cloned().collect();
    assert_eq!(ids(&queues, "a"), of_a);
    drop(queues);
    // Also when nothing is left of those before.
    let queues = open();
    for name in ["a", "b"] {
        assert_eq!(done(queues.remove_queue(queue(name))), Ok(true));
    }
    drop(queues);
    hands.set(0);
    let again = send(&open(), "a", b"").expect("sent");
    assert!(Some(&again) > sent.last(), "{again}");
}

#[test]
fn who_looks_on_misses_nothing_that_many_send_at_once() {
    const THREADS: usize = 4;
    const EACH: usize = 50;
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("queues");
    let queues = FileQueues::open(&path, Limits::default(), system_clock()).expect("opens");
    let mut seen: Vec<MessageId> = vec![];
    let mut sent = thread::scope(|scope| {
        let senders = (0..THREADS).map(|_| {
            let one = || send(&queues, "q", b"m").expect("sent");
            scope.spawn(move || (0..EACH).map(|_| one()).collect::<Vec<_>>())
        });
        let senders: Vec<_> = senders.collect();
        loop {
            // If it was so before, one more look finds all.
            let is_last = senders.iter().all(|sender| sender.is_finished());
            let page = queues.list(&queue("q"), seen.last(), PAGE_MAX);
            let messages = page.expect("reads").messages.into_iter();
            seen.extend(messages.map(|message| message.id));
            if is_last {
                break;
            }
        }
        let sent = senders.into_iter().map(|sender| sender.join());
        sent.flat_map(|ids| ids.expect("sent")).collect::<Vec<_>>()
    });
    sent.sort();
    assert_eq!(seen, sent);
}

#[test]
fn each_limit_holds_at_its_edge_and_says_queue() {
    let limits = Limits {
        queue_bytes_max: 2 * (MESSAGE_BYTES_MAX as u64),
        queues_max: 2,
    };
    let queues = FileQueues::in_memory(limits, system_clock()).expect("memory");
    let refused = |message: NewMessage, text: &str| {
        let error = done(queues.send(queue("q"), message)).expect_err("beyond");
        assert_eq!(error.to_string(), text);
    };
    let large = vec![0; MESSAGE_BYTES_MAX];
    send(&queues, "q", &large).expect("the largest message");
    refused(
        message(&vec![0; MESSAGE_BYTES_MAX + 1]),
        "invalid message of 262145 bytes: must be at most 262144",
    );
    let of_type = |content_type: &str| NewMessage {
        content_type: content_type.into(),
        ..message(b"")
    };
    let long = "t".repeat(CONTENT_TYPE_CHARS_MAX);
    let sent = done(queues.send(queue("q"), of_type(&long)));
    sent.expect("the longest content type");
    for content_type in [&*format!("{long}t"), "", "a\n", "ü", " a", "a "] {
        let error = done(queues.send(queue("q"), of_type(content_type))).expect_err("beyond");
        let text = error.to_string();
        assert!(text.starts_with("invalid content type "), "{text}");
    }
    let one = MESSAGE_OVERHEAD_BYTES + CONTENT_TYPE.len() as u64;
    let longest = MESSAGE_OVERHEAD_BYTES + CONTENT_TYPE_CHARS_MAX as u64;
    let bytes = 2 * (MESSAGE_BYTES_MAX as u64 + one) + longest;
    refused(
        message(&large),
        &format!(
            "the queue q would have {bytes} bytes: must be at most 524288, each message with 94 more than it has; remove some, or raise queue.queue_bytes_max"
        ),
    );
    send(&queues, "r", b"").expect("the second queue");
    let error = send(&queues, "s", b"").expect_err("a third queue");
    let text = "there would be more than 2 queues: remove one, or raise queue.queues_max";
    assert_eq!(error.to_string(), text);
    let found = queues.queues(&TenantName::default(), None, 9);
    let [q, r] = &found.expect("reads")[..] else {
        panic!("two queues");
    };
    assert_eq!((&*q.name, q.messages), ("q", 2));
    let info = QueueInfo {
        name: "r".into(),
        messages: 1,
        bytes: one,
    };
    assert_eq!(*r, info);
    for limit in [0, PAGE_MAX + 1] {
        let error = queues.list(&queue("q"), None, limit);
        assert_eq!(error, Err(Unfit::Limit(limit).into()));
        let error = queues.queues(&TenantName::default(), None, limit);
        assert_eq!(error, Err(Unfit::Limit(limit).into()));
    }
}

#[test]
fn only_an_id_that_was_given_is_one() {
    let id = MessageId::new(0x0006_48f2_a1b3_c4d5);
    assert_eq!(id.to_string(), "000648f2a1b3c4d5");
    assert_eq!("000648f2a1b3c4d5".parse(), Ok(id));
    for text in [
        "",
        "000648f2a1b3c4d",
        "000648f2a1b3c4d50",
        "000648F2A1B3C4D5",
        "+00648f2a1b3c4d5",
        "00064üf2a1b3c4d",
    ] {
        let error = text.parse::<MessageId>().expect_err("no id").to_string();
        let expected = format!(
            "invalid id {text:?} of a message: must be 16 hexadecimal digits, in lower case"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn queues_are_of_their_tenant() {
    let queues = FileQueues::in_memory(Limits::default(), system_clock()).expect("memory");
    let tenant = |name: &str| name.parse::<TenantName>().expect("a name");
    for of in ["a", "b"] {
        let sent = queues.send(QueueId::new(&tenant(of), "q"), message(of.as_bytes()));
        done(sent).expect("sent");
    }
    let of_a = QueueId::new(&tenant("a"), "q");
    let page = queues.list(&of_a, None, 9).expect("reads");
    let [listed] = &page.messages[..] else {
        panic!("one message: {page:?}");
    };
    let got = queues.get(&of_a, &listed.id).expect("reads");
    assert_eq!(got.map(|message| message.body), Some(b"a".to_vec()));
    let other = queues.get(&QueueId::new(&tenant("b"), "q"), &listed.id);
    assert_eq!(other, Ok(None));
    let found = queues.queues(&tenant("b"), None, 9).expect("reads");
    assert_eq!(found.len(), 1);
}

/// Whatever step of the disk fails, a message is there or its sender has an error, and it goes on when there is room again.
#[test]
fn a_full_disk_is_an_error_and_loses_no_message() {
    for fails_at in 0.. {
        let disk = Disk::default();
        let open = |disk: &Disk| {
            let kv = Kv::with_open(disk.open(), Limits::default().into(), system_clock());
            FileQueues::new(kv.expect("opens"), system_clock())
        };
        let queues = open(&disk);
        let first = send(&queues, "q", b"first").expect("sent");
        disk.fill_after(Some(fails_at));
        let outcome = send(&queues, "q", &[7; 5000]);
        let expected = match &outcome {
            Ok(second) => Some(vec![first.clone(), second.clone()]),
            Err(QueueError::DiskFull) => Some(vec![first.clone()]),
            Err(QueueError::Unknown(_)) => None,
            Err(error) => panic!("{error}"),
        };
        let check = |queues: &FileQueues| {
            let found = ids(queues, "q");
            let is_so = expected.as_ref().is_none_or(|expected| found == *expected);
            assert!(is_so && found[0] == first, "{found:?}, fails_at {fails_at}");
        };
        for loses_unsynced in [true, false] {
            check(&open(&disk.after_crash(loses_unsynced)));
        }
        disk.fill_after(None);
        check(&queues);
        let last = send(&queues, "q", b"last").expect("room again");
        assert_eq!(ids(&queues, "q").last(), Some(&last));
        if outcome.is_ok() {
            assert!(fails_at > 5, "hardly anything failed");
            break;
        }
    }
}
