extern crate std;
use std::{format, string::String, vec, vec::Vec};

use super::*;

/// Where a reply ends, given byte by byte, and in one piece.
fn ends(bytes: &[u8]) -> Result<Option<usize>, RespError> {
    let whole = Scan::new().advance(bytes);
    let mut scan = Scan::new();
    let mut slowly = Ok(None);
    for end in 0..=bytes.len() {
        slowly = scan.advance(&bytes[..end]);
        if slowly != Ok(None) {
            break;
        }
    }
    assert_eq!(slowly, whole, "{}", bytes.escape_ascii());
    whole
}

#[test]
fn replies_end_where_they_end() {
    for reply in [
        "+OK\r\n",
        "+\r\n",
        "-ERR what\r\n",
        ":0\r\n",
        ":-9223372036854775808\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "$0\r\n\r\n",
        "$4\r\n\r\n\r\n\r\n",
        "*0\r\n",
        "*2\r\n*0\r\n*1\r\n:1\r\n",
        "*3\r\n$1\r\na\r\n*2\r\n+x\r\n*-1\r\n-ERR\r\n",
    ] {
        assert_eq!(ends(reply.as_bytes()), Ok(Some(reply.len())), "{reply}");
        let more = format!("{reply}+MORE\r\n");
        assert_eq!(ends(more.as_bytes()), Ok(Some(reply.len())), "{reply}");
        for end in 0..reply.len() {
            assert_eq!(ends(&reply.as_bytes()[..end]), Ok(None), "{reply} {end}");
        }
    }
}

#[test]
fn what_is_not_written_exactly_so_is_no_reply() {
    for (reply, error) in [
        ("HTTP/1.1 200", RespError::Kind(b'H')),
        ("%1\r\n+a\r\n+b\r\n", RespError::Kind(b'%')),
        ("\r\n", RespError::Kind(b'\r')),
        ("+a\rb\r\n", RespError::Line),
        ("+a\nb\r\n", RespError::Line),
        ("+a\n", RespError::Line),
        (":1\n", RespError::Line),
        (":\r\n", RespError::Number),
        (":+1\r\n", RespError::Number),
        (":01\r\n", RespError::Number),
        (":-0\r\n", RespError::Number),
        (":--1\r\n", RespError::Number),
        (": 1\r\n", RespError::Number),
        (":9223372036854775808\r\n", RespError::Number),
        (":123456789012345678901", RespError::Line),
        ("$-2\r\n", RespError::Number),
        ("$-\r\n", RespError::Number),
        ("$1\r\nab\r\n", RespError::Unterminated),
        ("$1\r\na\n\r", RespError::Unterminated),
        ("$9223372036854775807\r\n", RespError::Bytes),
        ("$4194305\r\n", RespError::Bytes),
        ("*100001\r\n", RespError::Elements),
        ("*2\r\n+a\r\n?", RespError::Kind(b'?')),
    ] {
        assert_eq!(ends(reply.as_bytes()), Err(error), "{reply}");
    }
    let endless = vec![b'+'; LINE_BYTES_MAX + 2];
    assert_eq!(Scan::new().advance(&endless), Err(RespError::Line));
}

/// Each limit holds at its edge and one step past it.
#[test]
fn a_reply_has_limits() {
    let deep = |depth: usize| format!("{}:1\r\n", "*1\r\n".repeat(depth));
    assert!(ends(deep(REPLY_DEPTH_MAX).as_bytes()).is_ok_and(|end| end.is_some()));
    assert_eq!(
        ends(deep(REPLY_DEPTH_MAX + 1).as_bytes()),
        Err(RespError::Depth)
    );
    let wide = |count: usize| format!("*{count}\r\n{}", ":1\r\n".repeat(count));
    let scan = |text: String| Scan::new().advance(text.as_bytes());
    assert!(scan(wide(REPLY_ELEMENTS_MAX - 1)).is_ok_and(|end| end.is_some()));
    assert_eq!(scan(wide(REPLY_ELEMENTS_MAX)), Err(RespError::Elements));
    // Many that are within the limit each.
    let nested = format!("*2\r\n{}{}", wide(60_000), wide(60_000));
    assert_eq!(scan(nested), Err(RespError::Elements));
    let large = |bytes: usize| {
        let mut reply = format!("*2\r\n$2097152\r\n{}\r\n${bytes}\r\n", "a".repeat(2 << 20));
        reply.push_str(&"a".repeat(bytes));
        reply + "\r\n"
    };
    assert!(scan(large(2_097_100)).is_ok_and(|end| end.is_some()));
    assert_eq!(scan(large(2_097_152)), Err(RespError::Bytes));
}

fn commands(body: &str) -> Result<Vec<Vec<&[u8]>>, RespError> {
    let commands = Commands::new(body.as_bytes());
    commands.map(|command| Ok(command?.collect())).collect()
}

#[test]
fn commands_are_taken_apart() {
    assert_eq!(commands(""), Ok(vec![]));
    let body = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$0\r\n\r\n";
    assert_eq!(
        commands(body),
        Ok(vec![vec![&b"GET"[..], b"k"], vec![&b""[..]]])
    );
    for wrong in [
        "GET k\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*1\r\n",
        "*1\r\n+GET\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n*1\r\n$1\r\na\r\n",
        "*2\r\n$3\r\nGET\r\n",
        "*1\r\n$3\r\nGE",
        "*1\r\n$3\r\nGET\r\nx",
        "*01\r\n$3\r\nGET\r\n",
        "*1\r\n$+3\r\nGET\r\n",
    ] {
        assert!(commands(wrong).is_err(), "{wrong}");
    }
    let wide = |count: usize| format!("*{count}\r\n{}", "$1\r\na\r\n".repeat(count));
    assert!(commands(&wide(COMMAND_ARGUMENTS_MAX)).is_ok());
    let too_many = wide(COMMAND_ARGUMENTS_MAX + 1);
    assert_eq!(commands(&too_many), Err(RespError::Arguments));
    let large = |bytes: usize| format!("*1\r\n${bytes}\r\n{}\r\n", "a".repeat(bytes));
    assert!(commands(&large(COMMAND_BYTES_MAX - 16)).is_ok());
    let too_large = large(COMMAND_BYTES_MAX);
    assert_eq!(commands(&too_large), Err(RespError::CommandBytes));
}

/// Replies of any shape, and what comes of them when a byte is another, end where they end however they are cut: [`ends`] looks.
#[test]
fn replies_of_any_shape_end_however_they_are_cut() {
    // xorshift64: the same replies every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit).expect("small")
    };
    let (mut whole, mut broken) = (0, 0);
    for _ in 0..2000 {
        let mut reply = String::new();
        let mut lacking = 1;
        while lacking > 0 {
            lacking -= 1;
            let count = below(4);
            match below(6) {
                0 => reply.push_str("+OK\r\n"),
                1 => reply.push_str("-ERR no\r\n"),
                2 => reply.push_str(&format!(":-{}\r\n", count + 1)),
                3 => reply.push_str("$-1\r\n"),
                4 if reply.len() < 200 => {
                    reply.push_str(&format!("*{count}\r\n"));
                    lacking += count;
                }
                _ => reply.push_str(&format!("${}\r\n{}\r\n", 2 * count, "\r\n".repeat(count))),
            }
        }
        assert_eq!(ends(reply.as_bytes()), Ok(Some(reply.len())), "{reply}");
        let mut bytes = reply.into_bytes();
        let place = below(bytes.len() as u64);
        bytes[place] = b"\r\n+-:$*019a\0"[below(12)];
        match ends(&bytes) {
            Ok(Some(end)) => {
                whole += 1;
                assert!(end <= bytes.len());
            }
            Ok(None) | Err(_) => broken += 1,
        }
    }
    assert!(whole > 100 && broken > 100, "{whole} {broken}");
}
