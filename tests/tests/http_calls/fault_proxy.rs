//! Stands between a function and a server, and breaks what the server answers.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It comes later.
    Delay(Duration),
    /// Each byte takes so long.
    SlowBytes(Duration),
    /// The connection is reset when the request has come.
    Reset,
    /// So many bytes of it come, then its end.
    Cut(usize),
    /// So many bytes of its body come, then its end.
    CutBody(usize),
    /// There is more than its length says.
    LongerThanSaid,
    /// There is less than its length says.
    ShorterThanSaid,
    /// It does not come.
    Never,
}

/// One that listens on loopback, until the test ends.
#[derive(Debug)]
pub(crate) struct FaultProxy(u16);

impl FaultProxy {
    /// In front of the server at `port`.
    pub(crate) fn start(fault: Fault, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    // A client that leaves ends it, and so does a server.
                    let _ = pass(stream, fault, port);
                });
            }
        });
        Self(own)
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://localhost:{}", self.0)
    }
}

fn pass(mut client: TcpStream, fault: Fault, port: u16) -> std::io::Result<()> {
    let head = read_head(&mut client)?;
    if fault == Fault::Never {
        return client.read_to_end(&mut vec![]).map(|_| ());
    }
    if fault == Fault::Reset {
        set_socket_linger(&client, Some(Duration::ZERO))?;
        return Ok(());
    }
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    // One request on each connection, so that the answer's end is the connection's.
    server.write_all(&[&head[..head.len() - 2], b"connection: close\r\n\r\n"].concat())?;
    let mut answer = vec![];
    server.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let body_at = answer.find("\r\n\r\n").map_or(0, |at| at + 4);
    let told = format!("Content-Length: {}", answer.len() - body_at);
    let with_length = |bytes: usize| answer.replace(&told, &format!("Content-Length: {bytes}"));
    let broken = match fault {
        Fault::Cut(bytes) => answer[..bytes].to_owned(),
        Fault::CutBody(bytes) => answer[..body_at + bytes].to_owned(),
        Fault::LongerThanSaid => format!("{answer}{answer}"),
        Fault::ShorterThanSaid => with_length(answer.len()),
        _ => answer,
    };
    match fault {
        Fault::Delay(delay) => thread::sleep(delay),
        Fault::SlowBytes(each) => {
            for byte in broken.as_bytes() {
                client.write_all(&[*byte])?;
                thread::sleep(each);
            }
            return Ok(());
        }
        _ => {}
    }
    client.write_all(broken.as_bytes())
}

fn read_head(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = vec![];
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}
