//! Standard output and standard error, which may be closed or full at any time.
//!
//! Whoever reads what a program prints may stop to (`| head`), and the disk it goes to may be full. Neither may end the
//! program in a panic, as `println!` does, nor change what its exit code says of the work. So writing here never fails:
//!
//! ```text
//! standard output  closed   nothing more is written; the reader has seen what it wanted
//!                  full     nothing more is written, and `Exit::end` tells it on standard error
//! standard error   either   nobody can be told; what follows is still tried
//! ```
//!
//! Whoever prints without end asks [`is_output_lost`] now and then. Files are not here: their errors are errors.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place where the standard library's streams are used"
)]

use std::{
    fmt,
    io::{self, ErrorKind, IsTerminal, Write},
    process::ExitCode,
    sync::OnceLock,
};

use crate::Exit;

/// The first error of standard output.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Standard output. Writing to it never fails.
#[derive(Clone, Copy, Debug)]
pub struct Stdout(());

/// Standard error. Writing to it never fails. What is formatted in one piece arrives in one piece.
#[derive(Clone, Copy, Debug)]
pub struct Stderr(());

/// Standard output.
pub fn stdout() -> Stdout {
    Stdout(())
}

/// Standard error.
pub fn stderr() -> Stderr {
    Stderr(())
}

/// Whether nobody gets what is printed any more: printing on makes no sense.
pub fn is_output_lost() -> bool {
    LOST.get().is_some()
}

/// Writes out what standard output holds back. Why some of what was printed is lost, unless its reader is gone by its
/// own wish.
pub fn lost_output() -> Option<&'static io::Error> {
    note(io::stdout().flush(), ());
    LOST.get()
        .filter(|error| error.kind() != ErrorKind::BrokenPipe)
}

/// What was done, or as if it had been.
fn note<T>(done: io::Result<T>, otherwise: T) -> T {
    done.unwrap_or_else(|error| {
        let _ = LOST.set(error); // The first one says why.
        otherwise
    })
}

impl Stdout {
    /// Whether a person looks at it.
    pub fn is_terminal(self) -> bool {
        io::stdout().is_terminal()
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if is_output_lost() {
            return Ok(bytes.len());
        }
        match io::stdout().write(bytes) {
            // Said of the call and not of the output: the caller repeats it.
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            written => Ok(note(written, bytes.len())),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !is_output_lost() {
            note(io::stdout().flush(), ());
        }
        Ok(())
    }
}

impl Stderr {
    /// Whether a person looks at it.
    pub fn is_terminal(self) -> bool {
        io::stderr().is_terminal()
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        let mut whole = String::new();
        let _ = fmt::Write::write_fmt(&mut whole, text); // What can be formatted is shown.
        self.write_all(whole.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The command line, or the end of the program: help and version go to standard output, what is wrong to standard error.
pub fn arguments<A: clap::Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        let printed = error.print();
        if error.use_stderr() {
            return Exit::Usage.end();
        }
        note(printed, ());
        Exit::Ok.end()
    })
}
