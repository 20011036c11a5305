//! Talks TCP and UDP over its NIC, as its event says: one deed, and what came of it.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::time::Duration;

use jiffy::net::{Error, TcpListener, TcpStream, UdpSocket};

/// What a function is asked to do.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Sends so many bytes to an echo server, and compares what comes back.
    Echo {
        /// Where it is.
        to: String,
        /// How many.
        bytes: usize,
    },
    /// Has so many connections to an echo server at once, each of which is used in turn.
    Many {
        /// Where it is.
        to: String,
        /// How many.
        connections: usize,
    },
    /// Sends a text and answers with all that comes until the other side closes.
    Ask {
        /// Whom.
        to: String,
        /// What.
        text: String,
    },
    /// Sends a datagram to an echo server, and answers with what comes back.
    Datagram {
        /// Where it is.
        to: String,
        /// What.
        text: String,
    },
    /// Looks a name up.
    Lookup(String),
    /// Connects, and answers which address and port it has itself.
    WhoAmI(String),
    /// Listens at a port, and echoes what comes over so many connections, one after the other.
    Serve {
        /// Where.
        port: u16,
        /// How many.
        connections: usize,
    },
}

/// Has the NIC up in the snapshot, if there is one.
#[jiffy::init]
fn prepare() -> bool {
    jiffy::net::prepare().is_ok()
}

/// Does it.
#[jiffy::function]
pub fn dial(deed: Deed, is_up: &bool) -> Result<String, Error> {
    Ok(match deed {
        Deed::Echo { to, bytes } => {
            let mut socket = TcpStream::connect(to)?;
            format!("{} of {bytes} bytes", echo(&mut socket, bytes)?)
        }
        Deed::Many { to, connections } => {
            let mut sockets = vec![];
            for _ in 0..connections {
                sockets.push(TcpStream::connect(&*to)?);
            }
            let mut same = 0;
            for (number, socket) in sockets.iter_mut().enumerate() {
                same += usize::from(echo(socket, number + 1)? == number + 1);
            }
            format!("{same} of {connections} connections")
        }
        Deed::Ask { to, text } => {
            let mut socket = TcpStream::connect(to)?;
            socket.write_all(text.as_bytes())?;
            let mut all = vec![];
            read_to_end(&mut socket, &mut all)?;
            String::from_utf8_lossy(&all).into_owned()
        }
        Deed::Datagram { to, text } => {
            let mut socket = UdpSocket::bind(0)?;
            socket.send_to(text.as_bytes(), to)?;
            let mut answer = [0; 1500];
            let (len, _) = socket.recv_from_timeout(&mut answer, Duration::from_secs(5))?;
            String::from_utf8_lossy(&answer[..len]).into_owned()
        }
        Deed::Lookup(name) => {
            let found = jiffy::net::lookup(&name)?;
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            found.join(" ")
        }
        Deed::WhoAmI(to) => {
            let socket = TcpStream::connect(to)?;
            format!("{} {is_up}", socket.local_addr()?)
        }
        Deed::Serve { port, connections } => {
            let mut listener = TcpListener::bind(port)?;
            let mut bytes = 0;
            for _ in 0..connections {
                let (mut socket, _) = listener.accept()?;
                let mut part = vec![0; 16 << 10];
                loop {
                    let len = socket.read(&mut part)?;
                    if len == 0 {
                        break;
                    }
                    bytes += len;
                    socket.write_all(&part[..len])?;
                }
                socket.shutdown()?;
                socket.flush()?;
            }
            format!("{bytes} bytes")
        }
    })
}

/// Sends `bytes` bytes, and reads as many in turns: how many came back as they were sent.
fn echo(socket: &mut TcpStream, bytes: usize) -> Result<usize, Error> {
    let byte_at = |at: usize| (at.wrapping_mul(0x9e37_79b9) >> 16) as u8;
    let (mut sent, mut same) = (0, 0);
    let mut part = vec![0; 16 << 10];
    while same < bytes {
        if sent < bytes {
            let some: Vec<u8> = (sent..bytes.min(sent + part.len())).map(byte_at).collect();
            sent += socket.write(&some)?;
        }
        let len = socket.read(&mut part)?;
        let is_same = |(offset, byte): (usize, &u8)| *byte == byte_at(same + offset);
        if len == 0 || !part[..len].iter().enumerate().all(is_same) {
            break;
        }
        same += len;
    }
    Ok(same)
}

fn read_to_end(socket: &mut TcpStream, all: &mut Vec<u8>) -> Result<(), Error> {
    let mut part = vec![0; 16 << 10];
    loop {
        match socket.read(&mut part)? {
            0 => return Ok(()),
            len => all.extend_from_slice(&part[..len]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, TcpListener, UdpSocket},
        thread,
    };

    fn run(event: &str) -> String {
        jiffy::testing::call!().event(event).run().text()
    }

    #[test]
    fn the_host_s_sockets_stand_in_for_the_nic() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = listener.local_addr().expect("a port");
        thread::spawn(move || {
            for socket in listener.incoming() {
                thread::spawn(|| {
                    let mut socket = socket.expect("a connection");
                    let mut part = [0; 4096];
                    while let Ok(len @ 1..) = socket.read(&mut part) {
                        socket.write_all(&part[..len]).expect("echoed");
                    }
                });
            }
        });
        let echo = format!(r#"{{"echo":{{"to":"{at}","bytes":100000}}}}"#);
        assert_eq!(run(&echo), r#""100000 of 100000 bytes""#);
        let many = format!(r#"{{"many":{{"to":"{at}","connections":20}}}}"#);
        assert_eq!(run(&many), r#""20 of 20 connections""#);

        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = socket.local_addr().expect("a port");
        thread::spawn(move || {
            let mut datagram = [0; 100];
            let (len, from) = socket.recv_from(&mut datagram).expect("a datagram");
            socket.send_to(&datagram[..len], from).expect("echoed");
        });
        let datagram = format!(r#"{{"datagram":{{"to":"{at}","text":"hello"}}}}"#);
        assert_eq!(run(&datagram), r#""hello""#);
        assert_eq!(run(r#"{"lookup":"10.1.2.3"}"#), r#""10.1.2.3""#);
    }
}
