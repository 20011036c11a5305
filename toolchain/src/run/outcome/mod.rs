//! How a run ended: as text, as JSON, as an exit code.

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiffy_client::VmError;
use jiffy_console::Exit;
use jiffy_control::{Backtrace, GuestFault, Response, VmEnd};
use jiffy_model::{Blame, EndsRequest as _, Outcome};
use jiffy_symbols::{Frame, Innermost, shorten, vector_name};
use serde::{Serialize, Serializer};

use crate::{
    output::{Bytes, Line, Untrusted, chain},
    symbols::Symbols,
};

/// Frames of a backtrace that are printed; JSON has all.
const FRAMES_SHOWN_MAX: usize = 8;
/// Vector of a page fault, and bits of its error code.
const PAGE_FAULT: u8 = 14;
const PAGE_FAULT_WRITE: u64 = 1 << 1;
const PAGE_FAULT_EXECUTE: u64 = 1 << 4;

/// A response, for JSON.
#[derive(Serialize)]
pub(crate) struct ResponseView<'a> {
    /// HTTP status, if it is a response of HTTP.
    status: Option<u16>,
    headers: Vec<(&'a str, String)>,
    /// How `body` is to be read: `utf-8` or `base64`.
    encoding: &'static str,
    body: String,
}

impl<'a> ResponseView<'a> {
    pub(crate) fn new(response: &'a Response) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (encoding, body) = match str::from_utf8(&response.body) {
            Ok(body) => ("utf-8", body.to_owned()),
            Err(_) => ("base64", BASE64.encode(&response.body)),
        };
        Self {
            status: (response.status != 0).then_some(response.status),
            headers: response
                .headers
                .iter()
                .map(|(name, value)| (&**name, text(value)))
                .collect(),
            encoding,
            body,
        }
    }
}

/// The failure that a response tells of.
pub(super) fn failure_of_response(response: &Response) -> Option<Failure> {
    let outcome = response.outcome();
    (outcome != Outcome::Ok).then(|| Failure {
        outcome,
        detail: match outcome {
            Outcome::FunctionError => Detail::Type {
                error_type: response.error_type.clone(),
            },
            _ => Detail::None {},
        },
        message: String::from_utf8_lossy(&response.body).into_owned(),
        backtrace: vec![],
        hint: None,
    })
}

/// Why there is no response that the handler wanted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(rename = "kind", serialize_with = "snake_case")]
    outcome: Outcome,
    #[serde(flatten)]
    detail: Detail,
    message: String,
    /// Innermost first.
    backtrace: Vec<Frame>,
    /// Why the backtrace is addresses only.
    #[serde(skip)]
    hint: Option<&'static str>,
}

/// What goes with some of the outcomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Detail {
    Type {
        error_type: String,
    },
    Place {
        file: String,
        line: u32,
        column: u32,
    },
    Exception(Exception),
    Memory {
        requested_bytes: u64,
        ram_bytes: u64,
    },
    Timeout {
        timeout_ms: u64,
    },
    Exited {
        code: u8,
    },
    None {},
}

/// The name of an outcome as JSON for scripts has it.
pub(crate) fn snake_case<S: Serializer>(outcome: &Outcome, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&outcome.name().replace('-', "_"))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Exception {
    vector: u8,
    name: &'static str,
    error_code: u64,
    address: Option<u64>,
    instruction: u64,
    stack: u64,
    stack_overflow: bool,
    /// Size of the stack that overflowed, if it is not that of a thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    stack_bytes: Option<u64>,
}

impl Exception {
    fn describe(&self) -> String {
        let Some(address) = self.address else {
            return self.name.into();
        };
        if self.stack_overflow {
            let Some(bytes) = self.stack_bytes else {
                return "stack overflow of a thread: give it more with `thread::Builder::stack_size` or `RUST_MIN_STACK`, or look for a recursion without end".into();
            };
            return format!(
                "stack overflow: {} are used up: set a larger stack, `bytes = \"8M\"` under [stack] in jiffy.toml, and build again, or look for a recursion without end",
                Bytes(bytes)
            );
        }
        let access = match self.error_code {
            code if code & PAGE_FAULT_EXECUTE != 0 => "executing",
            code if code & PAGE_FAULT_WRITE != 0 => "writing",
            _ => "reading",
        };
        format!("{} {access} address {address:#x}", self.name)
    }
}

impl Failure {
    /// The failure of a request that got no response.
    pub(crate) fn of_invoke(error: &VmError, symbols: &Symbols) -> Self {
        let message = match error {
            VmError::Stopped(report) => return Self::of_end(&report.end, symbols),
            VmError::Failed {
                blame: Blame::Bug,
                message,
            } => format!("this is a bug of jiffy's: {message}"),
            VmError::Failed { message, .. } => message.clone(),
            // There was no other VM to have it.
            VmError::Undelivered(end) => return Self::of_invoke(end, symbols),
            error => chain(error),
        };
        Self {
            outcome: error.outcome(),
            detail: Detail::None {},
            message,
            backtrace: vec![],
            hint: None,
        }
    }

    fn of_end(end: &VmEnd, symbols: &Symbols) -> Self {
        let no_backtrace = Backtrace::default();
        let (detail, message, backtrace) = match end {
            VmEnd::Finished => (
                Detail::None {},
                "the VM ended before it answered".into(),
                &no_backtrace,
            ),
            VmEnd::Exited(code) => {
                let message = format!("the image exited with code {code} before it answered");
                (Detail::Exited { code: *code }, message, &no_backtrace)
            }
            VmEnd::TimedOut {
                timeout_ms,
                backtrace,
            } => {
                let timeout_ms = *timeout_ms;
                let message = format!(
                    "not done within {timeout_ms} ms: grant more with --timeout, or look for an endless loop"
                );
                (Detail::Timeout { timeout_ms }, message, backtrace)
            }
            VmEnd::Fault(fault) => match fault {
                GuestFault::Exception {
                    vector,
                    error_code,
                    address,
                    rip,
                    rsp,
                    stack_overflow,
                    backtrace,
                } => {
                    let exception = Exception {
                        vector: *vector,
                        name: vector_name(*vector),
                        error_code: *error_code,
                        address: (*vector == PAGE_FAULT).then_some(*address),
                        instruction: *rip,
                        stack: *rsp,
                        stack_overflow: stack_overflow.is_some(),
                        stack_bytes: stack_overflow.filter(|bytes| *bytes > 0),
                    };
                    let message = exception.describe();
                    (Detail::Exception(exception), message, backtrace)
                }
                GuestFault::Panic {
                    message,
                    file,
                    line,
                    column,
                    backtrace,
                } => {
                    let detail = Detail::Place {
                        file: symbols.readable(file),
                        line: *line,
                        column: *column,
                    };
                    (detail, message.clone(), backtrace)
                }
                GuestFault::OutOfMemory {
                    requested_bytes,
                    ram_bytes,
                    backtrace,
                } => {
                    let (requested_bytes, ram_bytes) = (*requested_bytes, *ram_bytes);
                    let message = format!(
                        "an allocation of {} failed in a VM of {}: grant more with --memory, a snapshot's when it is created",
                        Bytes(requested_bytes),
                        Bytes(ram_bytes)
                    );
                    let detail = Detail::Memory {
                        requested_bytes,
                        ram_bytes,
                    };
                    (detail, message, backtrace)
                }
                GuestFault::Init { message } | GuestFault::Runtime { message } => {
                    (Detail::None {}, message.clone(), &no_backtrace)
                }
                GuestFault::Device { message, backtrace }
                | GuestFault::Cpu { message, backtrace } => {
                    (Detail::None {}, message.clone(), backtrace)
                }
            },
        };
        let outcome = end.outcome();
        let innermost = match outcome {
            Outcome::Panic | Outcome::OutOfMemory => Innermost::Return,
            _ => Innermost::Instruction,
        };
        let (frames, hint) = symbols.frames(&backtrace.0, innermost);
        Self {
            outcome,
            detail,
            message,
            backtrace: shorten(&frames, innermost).to_vec(),
            hint,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        self.outcome.exit()
    }

    /// Prints the failure and the short backtrace. All texts are the guest's.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        match (self.outcome, &self.detail) {
            (_, Detail::Type { error_type }) if !error_type.is_empty() => {
                write!(out, "function error ({})", Line(error_type))?;
            }
            (_, Detail::Place { file, line, column }) if !file.is_empty() => {
                write!(out, "panic at {}:{line}:{column}", Line(file))?;
            }
            (Outcome::Init, _) => write!(out, "init failed")?,
            (Outcome::Unframed, _) => write!(out, "bad request")?,
            (Outcome::Exception | Outcome::Device | Outcome::Cpu, _) => write!(out, "fault")?,
            (Outcome::Runtime, _) => write!(out, "fault in the library OS")?,
            (Outcome::BadResponse | Outcome::Exited | Outcome::Ended, _) => {
                write!(out, "no answer")?;
            }
            (Outcome::ImageRefused, _) => write!(out, "refused")?,
            (Outcome::Host, _) => write!(out, "error")?,
            (outcome, _) => write!(out, "{}", outcome.name().replace('-', " "))?,
        }
        writeln!(out, ": {}", Untrusted(&self.message))?;
        for (number, frame) in self.backtrace.iter().take(FRAMES_SHOWN_MAX).enumerate() {
            let lead = if number == 0 { "at" } else { "by" };
            writeln!(out, "  {lead} {}", Line(&frame.to_string()))?;
        }
        if self.backtrace.len() > FRAMES_SHOWN_MAX {
            let more = self.backtrace.len() - FRAMES_SHOWN_MAX;
            writeln!(out, "  … {more} more: see -o json")?;
        }
        if let Some(hint) = self.hint {
            writeln!(out, "  ({hint})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
