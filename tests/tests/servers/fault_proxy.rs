//! Stands between a function and a server, and breaks what the server answers to requests that have [`MARK`] in them. All others pass.
//!
//! ```text
//! client ─▶ up: is it marked? ─▶ server
//! client ◀─ down: the fault ◀─── server     a reply is what the server sends at once
//! ```

use std::{
    io::{self, Read as _, Write as _},
    mem,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

/// In a request whose answer is to break.
pub(crate) const MARK: &str = "faulty";
/// What Postgres is told by one that leaves.
const TERMINATE: &[u8] = b"X\0\0\0\x04";
const READ_BYTES: usize = 64 << 10;
/// What has come is read by then.
const READ_WITHIN: Duration = Duration::from_millis(100);

/// What becomes of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    /// It comes later.
    Delay(Duration),
    /// Each byte takes so long.
    SlowBytes(Duration),
    /// The connection is reset when the request has come, which the server does not get.
    Reset,
    /// It does not come, and neither does the server get the request.
    Never,
    /// Something else comes, and then this.
    Changed(fn(&[u8]) -> Vec<u8>, End),
    /// The first, and then the second again and again.
    Endless(&'static [u8], &'static [u8]),
}

/// What comes of the connection behind a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    GoesOn,
    Closed,
    Reset,
}

/// What all connections know.
#[derive(Debug)]
struct Shared {
    /// The server's.
    port: u16,
    /// What marked requests meet, and whether nobody knows afterwards what their connection has yet to say.
    fault: Mutex<(Fault, bool)>,
    open: Mutex<Vec<Weak<TcpStream>>>,
    struck: AtomicU32,
    used_in_doubt: AtomicU32,
}

/// One that listens on loopback, until the test ends.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
}

impl FaultProxy {
    /// In front of the server at `port`.
    pub(crate) fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            port,
            fault: Mutex::new((Fault::None, false)),
            open: Mutex::default(),
            struck: AtomicU32::new(0),
            used_in_doubt: AtomicU32::new(0),
        });
        let all = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                thread::spawn(move || {
                    // A client that leaves ends it, and so does a server.
                    let _ = pass(stream, &all);
                });
            }
        });
        Self { port: own, shared }
    }

    /// What becomes of marked requests from now on; whether their connections are not to be used again.
    pub(crate) fn set(&self, fault: Fault, leaves_doubt: bool) {
        *lock(&self.shared.fault) = (fault, leaves_doubt);
    }

    /// Closes all connections, as a server does with those that nobody uses.
    pub(crate) fn close_all(&self) {
        for stream in mem::take(&mut *lock(&self.shared.open)) {
            if let Some(stream) = stream.upgrade() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Requests that met a fault.
    pub(crate) fn struck(&self) -> u32 {
        self.shared.struck.load(SeqCst)
    }

    /// How often something was sent on a connection that a fault had left in doubt.
    pub(crate) fn used_in_doubt(&self) -> u32 {
        self.shared.used_in_doubt.load(SeqCst)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().expect("nobody panics with it")
}

/// A connection, for both of its directions.
struct Passing {
    client: Arc<TcpStream>,
    server: TcpStream,
    /// What the next answer meets.
    pending: Mutex<Option<Fault>>,
    is_reset: AtomicBool,
}

fn pass(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", shared.port))?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let passing = Arc::new(Passing {
        client: Arc::new(client),
        server,
        pending: Mutex::default(),
        is_reset: AtomicBool::new(false),
    });
    lock(&shared.open).push(Arc::downgrade(&passing.client));
    let down = Arc::clone(&passing);
    thread::spawn(move || {
        let _ = down.answer();
        down.end();
    });
    let _ = passing.ask(shared);
    passing.end();
    Ok(())
}

impl Passing {
    fn ask(&self, shared: &Shared) -> io::Result<()> {
        let mut bytes = vec![0; READ_BYTES];
        let (mut in_doubt, mut is_silent) = (false, false);
        loop {
            let read = (&*self.client).read(&mut bytes)?;
            let request = &bytes[..read];
            if read == 0 {
                return Ok(());
            }
            if in_doubt && request != TERMINATE {
                shared.used_in_doubt.fetch_add(1, SeqCst);
            }
            let mut windows = request.windows(MARK.len());
            if windows.any(|it| it == MARK.as_bytes()) {
                let (fault, leaves_doubt) = *lock(&shared.fault);
                shared.struck.fetch_add(1, SeqCst);
                in_doubt |= leaves_doubt;
                match fault {
                    Fault::Reset => return self.reset(),
                    Fault::Never => is_silent = true,
                    _ => *lock(&self.pending) = Some(fault),
                }
            }
            if !is_silent {
                (&self.server).write_all(request)?;
            }
        }
    }

    /// Passes on what the server answers, or what a fault makes of it.
    fn answer(&self) -> io::Result<()> {
        let mut client = &*self.client;
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let read = (&self.server).read(&mut bytes)?;
            let answer = &bytes[..read];
            if read == 0 {
                return Ok(());
            }
            let fault = lock(&self.pending).take();
            match fault {
                None | Some(Fault::None | Fault::Reset | Fault::Never) => {
                    client.write_all(answer)?;
                }
                Some(Fault::Delay(delay)) => {
                    thread::sleep(delay);
                    client.write_all(answer)?;
                }
                Some(Fault::SlowBytes(each)) => {
                    for byte in answer {
                        client.write_all(&[*byte])?;
                        thread::sleep(each);
                    }
                }
                Some(Fault::Changed(make, end)) => {
                    client.write_all(&make(answer))?;
                    match end {
                        End::GoesOn => {}
                        End::Closed => return Ok(()),
                        End::Reset => {
                            // What was sent is read before.
                            thread::sleep(READ_WITHIN);
                            return self.reset();
                        }
                    }
                }
                Some(Fault::Endless(begin, again)) => {
                    client.write_all(begin)?;
                    let again = again.repeat(READ_BYTES / again.len());
                    loop {
                        client.write_all(&again)?;
                    }
                }
            }
        }
    }

    /// Has the client see a reset when the last of this is gone.
    fn reset(&self) -> io::Result<()> {
        self.is_reset.store(true, SeqCst);
        set_socket_linger(&self.client, Some(Duration::ZERO)).map_err(Into::into)
    }

    /// Ends the other direction, too.
    fn end(&self) {
        let _ = self.server.shutdown(Shutdown::Both);
        let _ = match self.is_reset.load(SeqCst) {
            true => self.client.shutdown(Shutdown::Read),
            false => self.client.shutdown(Shutdown::Both),
        };
    }
}
