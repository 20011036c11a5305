//! How a run ended: as text, as JSON, as an exit code.

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiffy_abi::frame::ResponseKind;
use jiffy_client::InvokeError;
use jiffy_console::Exit;
use jiffy_control::{Backtrace, Blame, GuestFault, Outcome, Response};
use jiffy_symbols::{Frame, Innermost, shorten, vector_name};
use serde::Serialize;

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

/// Whether the handler returned what it wanted to.
pub(super) fn is_ok(response: &Response) -> bool {
    matches!(response.kind, ResponseKind::Ok | ResponseKind::Http)
}

/// The failure that a response tells of.
pub(super) fn failure_of_response(response: &Response) -> Option<Failure> {
    let message = String::from_utf8_lossy(&response.body).into_owned();
    let kind = match response.kind {
        ResponseKind::FunctionError => Kind::FunctionError {
            error_type: response.error_type.clone(),
        },
        ResponseKind::BadEvent => Kind::BadEvent,
        ResponseKind::Ok | ResponseKind::Http => return None,
    };
    Some(Failure {
        kind,
        message,
        backtrace: vec![],
        hint: None,
    })
}

/// Why there is no response that the handler wanted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(flatten)]
    kind: Kind,
    message: String,
    /// Innermost first.
    backtrace: Vec<Frame>,
    /// Why the backtrace is addresses only.
    #[serde(skip)]
    hint: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kind {
    FunctionError {
        error_type: String,
    },
    Init,
    /// The request does not fit a frame.
    Request,
    BadEvent,
    Panic {
        file: String,
        line: u32,
        column: u32,
    },
    Exception(Exception),
    OutOfMemory {
        requested_bytes: u64,
        ram_bytes: u64,
    },
    Timeout {
        timeout_ms: u64,
    },
    /// The library OS met something that cannot be.
    Runtime,
    /// The guest broke a rule of a device.
    Device,
    /// The CPU could not go on.
    Cpu,
    /// What came back is no response.
    BadResponse,
    /// The image ended on purpose.
    Exited {
        code: u8,
    },
    /// The image ended, and nobody knows why.
    Ended,
    ImageRefused,
    Host,
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
    /// Size of the stack that overflowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    stack_bytes: Option<u64>,
}

impl Exception {
    fn describe(&self) -> String {
        let Some(address) = self.address else {
            return self.name.into();
        };
        if let Some(bytes) = self.stack_bytes {
            return format!(
                "stack overflow: {} are used up: set a larger stack, `stack = \"8M\"` under [package.metadata.jiffy] in Cargo.toml, and build again, or look for a recursion without end",
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
    pub(crate) fn of_invoke(error: &InvokeError, symbols: &Symbols) -> Self {
        let (kind, message) = match error {
            InvokeError::Stopped(report) => return Self::of_outcome(&report.outcome, symbols),
            InvokeError::Failed {
                blame: Blame::Input,
                message,
            } => (Kind::ImageRefused, message.clone()),
            InvokeError::Failed {
                blame: Blame::Host,
                message,
            } => (Kind::Host, message.clone()),
            InvokeError::Failed {
                blame: Blame::Bug,
                message,
            } => (Kind::Host, format!("this is a bug of jiffy's: {message}")),
            InvokeError::Request(_) => (Kind::Request, chain(error)),
            InvokeError::Response(_) => (Kind::BadResponse, chain(error)),
            InvokeError::VmmDied(_)
            | InvokeError::Control(_)
            | InvokeError::OtherRelease(_)
            | InvokeError::OutOfTurn(_)
            | InvokeError::Unresponsive(_)
            | InvokeError::Stream(_) => (Kind::Host, chain(error)),
        };
        Self {
            kind,
            message,
            backtrace: vec![],
            hint: None,
        }
    }

    fn of_outcome(outcome: &Outcome, symbols: &Symbols) -> Self {
        let no_backtrace = Backtrace::default();
        let (kind, message, backtrace) = match outcome {
            Outcome::Finished => (
                Kind::Ended,
                "the VM ended before it answered".into(),
                &no_backtrace,
            ),
            Outcome::Exited(code) => {
                let message = format!("the image exited with code {code} before it answered");
                (Kind::Exited { code: *code }, message, &no_backtrace)
            }
            Outcome::TimedOut {
                timeout_ms,
                backtrace,
            } => {
                let message = format!(
                    "not done within {timeout_ms} ms: grant more with --timeout, or look for an endless loop"
                );
                (
                    Kind::Timeout {
                        timeout_ms: *timeout_ms,
                    },
                    message,
                    backtrace,
                )
            }
            Outcome::Fault(fault) => return Self::of_fault(fault, symbols),
        };
        Self::with_backtrace(kind, message, backtrace, symbols)
    }

    fn of_fault(fault: &GuestFault, symbols: &Symbols) -> Self {
        let no_backtrace = Backtrace::default();
        let (kind, message, backtrace) = match fault {
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
                    stack_bytes: *stack_overflow,
                };
                let message = exception.describe();
                (Kind::Exception(exception), message, backtrace)
            }
            GuestFault::Panic {
                message,
                file,
                line,
                column,
                backtrace,
            } => {
                let kind = Kind::Panic {
                    file: symbols.readable(file),
                    line: *line,
                    column: *column,
                };
                (kind, message.clone(), backtrace)
            }
            GuestFault::OutOfMemory {
                requested_bytes,
                ram_bytes,
                backtrace,
            } => {
                let message = format!(
                    "an allocation of {} failed in a VM of {}: grant more with --memory, a snapshot's when it is created",
                    Bytes(*requested_bytes),
                    Bytes(*ram_bytes)
                );
                let (requested_bytes, ram_bytes) = (*requested_bytes, *ram_bytes);
                (
                    Kind::OutOfMemory {
                        requested_bytes,
                        ram_bytes,
                    },
                    message,
                    backtrace,
                )
            }
            GuestFault::Init { message } => (Kind::Init, message.clone(), &no_backtrace),
            GuestFault::Runtime { message } => (Kind::Runtime, message.clone(), &no_backtrace),
            GuestFault::Device { message, backtrace } => (Kind::Device, message.clone(), backtrace),
            GuestFault::Cpu { message, backtrace } => (Kind::Cpu, message.clone(), backtrace),
        };
        Self::with_backtrace(kind, message, backtrace, symbols)
    }

    fn with_backtrace(
        kind: Kind,
        message: String,
        backtrace: &Backtrace,
        symbols: &Symbols,
    ) -> Self {
        let innermost = match kind {
            Kind::Panic { .. } | Kind::OutOfMemory { .. } => Innermost::Return,
            _ => Innermost::Instruction,
        };
        let (frames, hint) = symbols.frames(&backtrace.0, innermost);
        let backtrace = shorten(&frames, innermost).to_vec();
        Self {
            kind,
            message,
            backtrace,
            hint,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self.kind {
            Kind::FunctionError { .. } | Kind::Init => Exit::FunctionError,
            Kind::Request => Exit::Usage,
            Kind::BadEvent => Exit::BadEvent,
            Kind::Panic { .. } => Exit::Panic,
            Kind::Timeout { .. } => Exit::Timeout,
            Kind::OutOfMemory { .. } => Exit::OutOfMemory,
            Kind::ImageRefused => Exit::ImageRefused,
            Kind::Host => Exit::Host,
            Kind::Exception(_)
            | Kind::Runtime
            | Kind::Device
            | Kind::Cpu
            | Kind::BadResponse
            | Kind::Exited { .. }
            | Kind::Ended => Exit::Fault,
        }
    }

    /// Prints the failure and the short backtrace. All texts are the guest's.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        match &self.kind {
            Kind::FunctionError { error_type } if error_type.is_empty() => {
                write!(out, "function error")?;
            }
            Kind::FunctionError { error_type } => {
                write!(out, "function error ({})", Line(error_type))?;
            }
            Kind::Init => write!(out, "init failed")?,
            Kind::Request => write!(out, "bad request")?,
            Kind::BadEvent => write!(out, "bad event")?,
            Kind::Panic { file, .. } if file.is_empty() => write!(out, "panic")?,
            Kind::Panic { file, line, column } => {
                write!(out, "panic at {}:{line}:{column}", Line(file))?;
            }
            Kind::OutOfMemory { .. } => write!(out, "out of memory")?,
            Kind::Timeout { .. } => write!(out, "timeout")?,
            Kind::Exception(_) | Kind::Device | Kind::Cpu => write!(out, "fault")?,
            Kind::Runtime => write!(out, "fault in the library OS")?,
            Kind::BadResponse | Kind::Exited { .. } | Kind::Ended => write!(out, "no answer")?,
            Kind::ImageRefused => write!(out, "refused")?,
            Kind::Host => write!(out, "error")?,
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
