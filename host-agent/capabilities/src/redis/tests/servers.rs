//! What servers do.

use std::{
    pin::Pin,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::sleep,
};

use super::*;

/// What a server does with its n-th connection.
type Act = fn(TcpStream, u32) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A server; it counts its connections.
struct Server {
    port: u16,
    connections: Arc<AtomicU32>,
}

impl Server {
    async fn start(act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, SeqCst);
                tokio::spawn(act(stream, number));
            }
        });
        Self { port, connections }
    }

    fn function(&self) -> RedisOf {
        let url = format!("redis://127.0.0.1:{}", self.port);
        function(&url, &["127.0.0.1"])
    }

    fn connections(&self) -> u32 {
        self.connections.load(SeqCst)
    }
}

/// A command's words; `None` if the connection ends first.
async fn command(stream: &mut TcpStream) -> Option<Vec<String>> {
    async fn number(stream: &mut TcpStream, kind: u8) -> Option<usize> {
        let mut line = vec![];
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.ok()?);
        }
        assert_eq!(line[0], kind, "{}", line.escape_ascii());
        let text = String::from_utf8(line).expect("text");
        text[1..].trim().parse().ok()
    }
    let mut words = vec![];
    for _ in 0..number(stream, b'*').await? {
        let mut word = vec![0; number(stream, b'$').await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}

/// Takes the connection, and then each command is answered by `answer`; nothing is sent for an empty answer, and the connection
/// ends.
async fn answer_all(mut stream: TcpStream, answer: impl Fn(&[String]) -> Vec<u8>) {
    while let Some(words) = command(&mut stream).await {
        let answer = match &*words[0] {
            "PING" => b"+PONG\r\n".to_vec(),
            _ => answer(&words),
        };
        // A client that has had enough is gone.
        if answer.is_empty() || stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Answers with the last word.
async fn echo_all(stream: TcpStream) {
    answer_all(stream, |words| bulk(&words[words.len() - 1])).await;
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

#[track_caller]
fn room_is_free(function: &RedisOf) {
    let database = &function.databases["cache"];
    let room = &database.client.room;
    assert_eq!(room.own.available_permits(), ROOM_PER_VERSION_BYTES_MAX);
    assert_eq!(room.all.available_permits(), ROOM_BYTES_MAX);
}

#[tokio::test]
async fn a_connection_is_used_again_and_a_closed_one_costs_nothing() {
    let kept = Server::start(|stream, _| Box::pin(echo_all(stream))).await;
    let function = kept.function();
    for word in ["a", "b", "c"] {
        let answer = ask(&function, &format!("GET {word}")).await;
        assert_eq!(answer, Ok(format!("$1\r\n{word}\r\n")));
    }
    assert_eq!(kept.connections(), 1);
    // Another version has its own.
    ask(&kept.function(), "GET k").await.expect("an answer");
    assert_eq!(kept.connections(), 2);
    // This one closes without a word after each answer.
    let closes = Server::start(|mut stream, _| {
        Box::pin(async move {
            for answer in ["+PONG\r\n", "+OK\r\n"] {
                command(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        })
    })
    .await;
    let function = closes.function();
    for _ in 0..5 {
        assert_eq!(ask(&function, "SET k v").await, Ok("+OK\r\n".into()));
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(closes.connections(), 5);
    room_is_free(&function);
}

#[tokio::test]
async fn it_is_said_who_one_is_and_which_database_is_meant() {
    let server = Server::start(|mut stream, _| {
        Box::pin(async move {
            let mut seen = vec![];
            for _ in 0..2 {
                seen.push(command(&mut stream).await.expect("a command").join(" "));
                stream.write_all(b"+OK\r\n").await.expect("written");
            }
            let _ = command(&mut stream).await;
            let _ = stream.write_all(&bulk(&seen.join(", "))).await;
        })
    })
    .await;
    for (who, seen) in [
        ("me:p%20w@", "AUTH me p w, SELECT 3"),
        (":pw@", "AUTH pw, SELECT 3"),
    ] {
        let url = format!("redis://{who}127.0.0.1:{}/3", server.port);
        let answer = ask(&function(&url, &["127.0.0.1"]), "GET k").await;
        assert!(
            answer.as_ref().is_ok_and(|it| it.contains(seen)),
            "{answer:?}"
        );
    }
}

/// What a server says of a connection is not told as what it says of a command.
#[tokio::test]
async fn a_server_that_takes_no_connection() {
    let full = Server::start(|mut stream, _| {
        Box::pin(async move {
            let _ = stream
                .write_all(b"-ERR max number of clients reached by 10.0.0.7\r\n")
                .await;
            sleep(Duration::from_millis(100)).await;
        })
    });
    let wrong = Server::start(|mut stream, _| {
        Box::pin(async move {
            while command(&mut stream).await.is_some() {
                let _ = stream.write_all(b"-WRONGPASS for me at 10.0.0.7\r\n").await;
            }
        })
    });
    let closes = Server::start(|stream, _| Box::pin(async move { drop(stream) }));
    let talks = Server::start(|mut stream, _| {
        Box::pin(async move {
            command(&mut stream).await;
            let _ = stream.write_all(b"+PONG\r\n+OK\r\n").await;
            sleep(Duration::from_millis(100)).await;
        })
    });
    let http = Server::start(|mut stream, _| {
        Box::pin(async move {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            sleep(Duration::from_millis(100)).await;
        })
    });
    let servers = (
        full.await,
        wrong.await,
        closes.await,
        talks.await,
        http.await,
    );
    for server in [servers.0, servers.1, servers.2, servers.3, servers.4] {
        let answer = ask(&server.function(), "GET k").await;
        let (_, _, text) = answer.clone().expect_err("no connection");
        assert!(
            !text.contains("10.0.0.7") && !text.contains("127.0.0.1"),
            "{text}"
        );
        check(
            answer,
            CallErrorKind::Failed,
            Sent::No,
            "[redis.cache] does not take the connection",
        );
    }
    // Who may not ping may do other things.
    let strict = Server::start(|mut stream, _| {
        Box::pin(async move {
            while let Some(words) = command(&mut stream).await {
                let answer = match &*words[0] {
                    "PING" => "-NOPERM this user may not\r\n",
                    _ => "+OK\r\n",
                };
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        })
    })
    .await;
    assert_eq!(
        ask(&strict.function(), "SET k v").await,
        Ok("+OK\r\n".into())
    );
}

#[tokio::test]
async fn errors_of_the_server_are_told_without_its_places_and_users() {
    let server = Server::start(|stream, _| {
        Box::pin(answer_all(stream, |words| {
            let answer = match &*words[1] {
                "type" => "-WRONGTYPE Operation against a key\r\n",
                "perm" => "-NOPERM User me has no permissions\r\n",
                "moved" => "-MOVED 3999 10.0.0.7:6381\r\n",
                "auth" => "-NOAUTH Authentication required.\r\n",
                _ => "-\r\n",
            };
            answer.into()
        }))
    })
    .await;
    let function = server.function();
    for (key, kind, text) in [
        (
            "type",
            CallErrorKind::Failed,
            "GET: WRONGTYPE Operation against a key",
        ),
        (
            "perm",
            CallErrorKind::Denied,
            "GET: NOPERM the server's access list does not let the function's user do this",
        ),
        (
            "moved",
            CallErrorKind::Failed,
            "GET: the key is on another server of a cluster, where no call goes",
        ),
        (
            "auth",
            CallErrorKind::Failed,
            "GET: NOAUTH Authentication required.",
        ),
        ("none", CallErrorKind::Failed, "GET: "),
    ] {
        let answer = ask(&function, &format!("GET {key}")).await;
        assert_eq!(answer, Err((kind, Sent::Yes, text.into())));
    }
    // The one that knew nobody any more was not used again.
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn several_calls_at_once_get_their_own_replies() {
    let server = Server::start(|stream, _| {
        Box::pin(async move {
            let mut stream = stream;
            while let Some(words) = command(&mut stream).await {
                let last = &words[words.len() - 1];
                let pause = last.bytes().map(u64::from).sum::<u64>() % 7;
                sleep(Duration::from_millis(pause)).await;
                let answer = match &*words[0] {
                    "PING" => b"+PONG\r\n".to_vec(),
                    _ => bulk(last),
                };
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        })
    })
    .await;
    let function = server.function();
    for round in 0..3 {
        let calls = (0..200).map(|index| {
            let function = &function;
            async move {
                let word = format!("{round}-{index}");
                let answer = ask(function, &format!("GET {word}")).await;
                assert_eq!(answer, Ok(String::from_utf8(bulk(&word)).expect("text")));
            }
        });
        join_all(calls).await;
    }
    assert_eq!(server.connections(), 64);
    room_is_free(&function);
}

/// A call that is dropped in the middle takes its connection along: its reply is nobody's.
#[tokio::test]
async fn a_reply_that_nobody_waits_for_answers_no_other_call() {
    let (ended, mut is_ended) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let ended = ended.clone();
            tokio::spawn(async move {
                while let Some(words) = command(&mut stream).await {
                    let last = &words[words.len() - 1];
                    let answer = match &*words[0] {
                        "PING" => b"+PONG\r\n".to_vec(),
                        _ => bulk(last),
                    };
                    // The reply comes in two parts, and the call is dropped before, between and behind them.
                    let (begin, rest) = answer.split_at(answer.len() / 2);
                    for part in [begin, rest] {
                        if last.starts_with("slow") {
                            sleep(Duration::from_millis(20)).await;
                        }
                        let _ = stream.write_all(part).await;
                    }
                }
                let _ = ended.send(());
            });
        }
    });
    let function = function(&format!("redis://127.0.0.1:{port}"), &["127.0.0.1"]);
    for after_ms in [0, 1, 5, 15, 25, 30, 35, 60] {
        let slow = format!("GET slow-{after_ms}");
        let limit = Duration::from_millis(after_ms);
        let dropped = timeout(limit, ask(&function, &slow)).await;
        for index in 0..4 {
            let word = format!("{after_ms}-{index}");
            let answer = ask(&function, &format!("GET {word}")).await;
            assert_eq!(answer, Ok(String::from_utf8(bulk(&word)).expect("text")));
        }
        if let Ok(answer) = dropped {
            assert_eq!(answer.map(|it| it.contains("slow")), Ok(true));
        }
    }
    room_is_free(&function);
    // Those that were dropped are closed, though the function is there still.
    let closed = timeout(Duration::from_secs(5), is_ended.recv()).await;
    assert!(closed.is_ok());
}

#[tokio::test]
async fn a_connection_that_waits_for_minutes_is_closed() {
    let (ended, mut is_ended) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            echo_all(stream).await;
            let _ = ended.send(());
        }
    });
    let function = function(&format!("redis://127.0.0.1:{port}"), &["127.0.0.1"]);
    ask(&function, "GET k").await.expect("an answer");
    let places = Arc::clone(&function.databases["cache"].pool.places);
    assert_eq!(places.available_permits(), IDLE_MAX - 1);
    let wait = async |minutes: u64| {
        tokio::time::pause();
        for _ in 0..minutes {
            tokio::time::advance(Duration::from_secs(60)).await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        tokio::time::resume();
    };
    wait(4).await;
    assert!(is_ended.try_recv().is_err());
    ask(&function, "GET k").await.expect("an answer");
    wait(4).await;
    assert_eq!(
        places.available_permits(),
        IDLE_MAX - 1,
        "it was used meanwhile"
    );
    wait(3).await;
    let closed = timeout(Duration::from_secs(5), is_ended.recv()).await;
    assert_eq!(closed, Ok(Some(())));
    assert_eq!(places.available_permits(), IDLE_MAX);
}

/// Each is a typed error; memory is bounded; the next call is right.
#[tokio::test]
async fn hostile_replies_harm_nobody() {
    const LINE: usize = 70_000;
    let server = Server::start(|stream, _| {
        Box::pin(answer_all(stream, |words| {
            let text = match &*words[1] {
                "fine" => "$4\r\nfine\r\n".into(),
                "more" => "+OK\r\n+OK\r\n".into(),
                "huge" => "$9223372036854775807\r\n".into(),
                "large" => "$4194305\r\n".into(),
                "negative" => "$-2\r\n".into(),
                "short" => "$2\r\nabcd\r\n".into(),
                "wide" => "*2147483647\r\n".into(),
                "many" => {
                    format!("*60000\r\n{}*60000\r\n", ":1\r\n".repeat(59_999))
                        + &":1\r\n".repeat(60_000)
                }
                "deep" => "*1\r\n".repeat(100_000),
                "line" => format!("+{}", "a".repeat(LINE)),
                "resp3" => "%1\r\n+a\r\n+b\r\n".into(),
                "push" => ">2\r\n+message\r\n+a\r\n".into(),
                "null" => "_\r\n".into(),
                "lf" => "+OK\n".into(),
                _ => "\0\0\0\0".into(),
            };
            text.into_bytes()
        }))
    })
    .await;
    let function = server.function();
    for (key, kind, word) in [
        ("huge", CallErrorKind::Limit, "4194304"),
        ("large", CallErrorKind::Limit, "4194304"),
        ("wide", CallErrorKind::Limit, "100000"),
        ("many", CallErrorKind::Limit, "100000"),
        ("deep", CallErrorKind::Limit, "16"),
        ("negative", CallErrorKind::Failed, "malformed"),
        ("short", CallErrorKind::Failed, "malformed"),
        ("line", CallErrorKind::Failed, "malformed"),
        ("resp3", CallErrorKind::Failed, "malformed"),
        ("push", CallErrorKind::Failed, "malformed"),
        ("null", CallErrorKind::Failed, "malformed"),
        ("lf", CallErrorKind::Failed, "malformed"),
        ("zero", CallErrorKind::Failed, "malformed"),
    ] {
        let answer = ask(&function, &format!("GET {key}")).await;
        check(answer, kind, Sent::Yes, word);
        assert_eq!(
            ask(&function, "GET fine").await,
            Ok("$4\r\nfine\r\n".into())
        );
        room_is_free(&function);
    }
    // Who says more than it was asked is not asked again.
    let before = server.connections();
    for _ in 0..3 {
        assert_eq!(ask(&function, "SET more").await, Ok("+OK\r\n".into()));
    }
    assert_eq!(
        ask(&function, "GET fine").await,
        Ok("$4\r\nfine\r\n".into())
    );
    assert_eq!(server.connections(), before + 3);
}

#[tokio::test]
async fn a_reply_that_breaks_off_says_what_is_known() {
    let server = Server::start(|mut stream, _| {
        Box::pin(async move {
            command(&mut stream).await;
            let _ = stream.write_all(b"+PONG\r\n").await;
            let words = command(&mut stream).await.expect("a command");
            let half: &[u8] = match &*words[1] {
                "none" => b"",
                "half" => b"$4\r\nab",
                _ => b"*2\r\n+a\r\n",
            };
            let _ = stream.write_all(half).await;
        })
    })
    .await;
    for (key, sent) in [
        ("none", Sent::Maybe),
        ("half", Sent::Yes),
        ("array", Sent::Yes),
    ] {
        let function = server.function();
        let answer = ask(&function, &format!("INCR {key}")).await;
        check(answer, CallErrorKind::Failed, sent, "before");
        room_is_free(&function);
    }
    // A command is never sent twice.
    assert_eq!(server.connections(), 3);
}

/// Bytes that come one by one, and some that never end.
#[tokio::test]
async fn slow_and_endless_replies() {
    let slow = Server::start(|mut stream, _| {
        Box::pin(async move {
            while let Some(words) = command(&mut stream).await {
                let answer: &[u8] = match &*words[0] {
                    "PING" => b"+PONG\r\n",
                    _ => b"*2\r\n$3\r\nabc\r\n*1\r\n:-7\r\n",
                };
                for byte in answer {
                    stream.write_all(&[*byte]).await.expect("written");
                    sleep(Duration::from_millis(1)).await;
                }
            }
        })
    })
    .await;
    let answer = ask(&slow.function(), "LRANGE k 0 -1").await;
    assert_eq!(answer, Ok("*2\r\n$3\r\nabc\r\n*1\r\n:-7\r\n".into()));
    let endless = Server::start(|mut stream, _| {
        Box::pin(async move {
            command(&mut stream).await;
            let _ = stream.write_all(b"+PONG\r\n").await;
            command(&mut stream).await;
            let element = format!("${}\r\n{}\r\n", 1 << 20, "a".repeat(1 << 20));
            let _ = stream.write_all(b"*100000\r\n").await;
            while stream.write_all(element.as_bytes()).await.is_ok() {}
        })
    })
    .await;
    let function = endless.function();
    let answer = ask(&function, "LRANGE k 0 -1").await;
    check(answer, CallErrorKind::Limit, Sent::Yes, "4194304");
    room_is_free(&function);
    // One that says nothing is waited for as long as the call may last.
    let silent = Server::start(|mut stream, _| {
        Box::pin(async move {
            command(&mut stream).await;
            let _ = stream.write_all(b"+PONG\r\n").await;
            sleep(Duration::from_secs(60)).await;
        })
    })
    .await;
    let function = silent.function();
    let answer = timeout(Duration::from_millis(100), ask(&function, "GET k")).await;
    assert!(answer.is_err());
    room_is_free(&function);
}

/// So many bytes are read at once, of one version and of all.
#[tokio::test]
async fn replies_share_a_room() {
    let server = Server::start(|stream, _| Box::pin(echo_all(stream))).await;
    let function = server.function();
    let room = &function.databases["cache"].client.room;
    let own = room.own.try_acquire_many(32 << 20).expect("all is free");
    let answer = ask(&function, "GET k").await;
    check(answer, CallErrorKind::Limit, Sent::Yes, "this function");
    drop(own);
    let all = room.all.try_acquire_many(128 << 20).expect("all is free");
    let answer = ask(&function, "GET k").await;
    check(answer, CallErrorKind::Limit, Sent::Yes, "all functions");
    drop(all);
    ask(&function, "GET k").await.expect("an answer");
}

/// A server that knows no `MULTI`, or lets the user not have it, would make what comes behind it at once.
#[tokio::test]
async fn behind_a_multi_that_is_refused_nothing_is_made() {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let server = Server::start(|mut stream, _| {
        Box::pin(async move {
            while let Some(words) = command(&mut stream).await {
                let answer = match &*words[0] {
                    "PING" => "+PONG\r\n",
                    "MULTI" => "-NOPERM this user has no permissions\r\n",
                    _ => {
                        MADE.fetch_add(1, SeqCst);
                        ":1\r\n"
                    }
                };
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        })
    })
    .await;
    let function = server.function();
    for _ in 0..2 {
        let answer = atomic(&function, &["INCR a", "INCR b"]).await;
        check(
            answer,
            CallErrorKind::Denied,
            Sent::No,
            "MULTI: NOPERM the server's access list does not let the function's user do this; none of them is made",
        );
    }
    assert_eq!(MADE.load(SeqCst), 0);
    ask(&function, "INCR a").await.expect("an answer");
    assert_eq!(MADE.load(SeqCst), 1);
}

#[tokio::test]
async fn commands_that_are_made_together() {
    // What EXEC comes to is told by the first command's key.
    let server = Server::start(|mut stream, _| {
        Box::pin(async move {
            let mut first = String::new();
            while let Some(words) = command(&mut stream).await {
                let key = words.get(1).cloned().unwrap_or_default();
                let answer = match (&*words[0], &*key) {
                    ("PING", _) => "+PONG\r\n",
                    ("MULTI", _) => {
                        first.clear();
                        "+OK\r\n"
                    }
                    ("EXEC", _) => match &*first {
                        "fine" => "*2\r\n:1\r\n*1\r\n$1\r\na\r\n",
                        "type" => "*2\r\n:1\r\n-WRONGTYPE no\r\n",
                        "queue" => "-EXECABORT Transaction discarded\r\n",
                        "few" => "*1\r\n:1\r\n",
                        "nil" => "*-1\r\n",
                        _ => "+OK\r\n",
                    },
                    _ => {
                        if first.is_empty() {
                            first.clone_from(&key);
                        }
                        match &*key {
                            "unknown" => "-ERR unknown command\r\n",
                            "odd" => ":1\r\n",
                            _ => "+QUEUED\r\n",
                        }
                    }
                };
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        })
    })
    .await;
    let function = server.function();
    let fine = atomic(&function, &["INCR fine", "LRANGE b 0 1"]).await;
    assert_eq!(fine, Ok("*2\r\n:1\r\n*1\r\n$1\r\na\r\n".into()));
    for (commands, word) in [
        (
            ["INCR type", "LPOP b"],
            "command 2 (LPOP): WRONGTYPE no; the others are made",
        ),
        (
            ["INCR queue", "GET unknown"],
            "command 2 (GET): ERR unknown command; none of them is made",
        ),
        (
            ["INCR queue", "GET b"],
            "EXEC: EXECABORT Transaction discarded; none of them is made",
        ),
        (
            ["INCR few", "GET b"],
            "not those to commands that are made together",
        ),
        (
            ["INCR nil", "GET b"],
            "not those to commands that are made together",
        ),
        (
            ["INCR status", "GET b"],
            "not those to commands that are made together",
        ),
        (
            ["INCR fine", "GET odd"],
            "not those to commands that are made together",
        ),
    ] {
        let answer = atomic(&function, &commands).await;
        check(answer, CallErrorKind::Failed, Sent::Yes, word);
        let fine = atomic(&function, &["INCR fine", "LRANGE b 0 1"]).await;
        assert!(fine.is_ok(), "{fine:?}");
    }
    assert_eq!(server.connections(), 1);
}

/// A command has no runtime: there its calls are made by a thread.
#[test]
fn calls_are_made_without_a_runtime_too() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start(|stream, _| Box::pin(echo_all(stream))));
    let function = server.function();
    let context = CallContext {
        request: &Request::default(),
        traceparent: None,
        deadline: None,
        scope: &jiffy_client::Scope::default(),
    };
    for word in ["a", "b"] {
        let call = call(OPERATION_REDIS_COMMAND, encoded(&format!("GET {word}")));
        let mut reply = function.call(call, &context);
        let mut waiting = std::task::Context::from_waker(std::task::Waker::noop());
        let reply = loop {
            if let std::task::Poll::Ready(reply) = reply.as_mut().poll(&mut waiting) {
                break reply;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(reply.body, bulk(word));
    }
    assert_eq!(server.connections(), 1);
}
