//! What the bodies of calls for Redis hold: its own protocol, RESP version 2, in both directions.
//!
//! ```text
//! command = "*" count CRLF ("$" bytes CRLF byte* CRLF)*
//! reply   = "+" text CRLF | "-" text CRLF | ":" number CRLF | "$-1" CRLF | "*-1" CRLF
//!         | "$" bytes CRLF byte* CRLF | "*" count CRLF reply*
//! ```
//!
//! Whoever reads, reads what comes from others: a guest's commands, a server's replies. What is not written exactly so is no
//! command and no reply, so that nobody takes them apart in another way. Which commands may be sent: [`commands`].

pub mod commands;

/// Arguments of a command, its name among them.
pub const COMMAND_ARGUMENTS_MAX: usize = 1024;
/// Bytes of a command as it travels.
pub const COMMAND_BYTES_MAX: usize = 1 << 20;
/// Commands that are made together.
pub const ATOMIC_COMMANDS_MAX: usize = 100;
/// Bytes of a reply as it travels.
pub const REPLY_BYTES_MAX: usize = 4 << 20;
/// Arrays within one another in a reply.
pub const REPLY_DEPTH_MAX: usize = 16;
/// Things in a reply, its arrays among them.
pub const REPLY_ELEMENTS_MAX: usize = 100_000;
/// Bytes of a line: of an error, of a status.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a line that is a number: what the longest has.
const NUMBER_BYTES_MAX: usize = 20;

/// Why bytes are no command or no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RespError {
    /// A thing begins with this byte.
    Kind(u8),
    /// A line has more bytes than a line may, or another end.
    Line,
    /// What has to be a number is none, or not written as numbers are.
    Number,
    /// Bytes are not followed by the end of a line.
    Unterminated,
    /// A reply has more than [`REPLY_BYTES_MAX`] bytes.
    Bytes,
    /// A reply has arrays that lie more than [`REPLY_DEPTH_MAX`] deep.
    Depth,
    /// A reply has more than [`REPLY_ELEMENTS_MAX`] things.
    Elements,
    /// A command is not an array of at least one argument, each of which is bytes.
    Command,
    /// A command has more than [`COMMAND_ARGUMENTS_MAX`] arguments.
    Arguments,
    /// A command has more than [`COMMAND_BYTES_MAX`] bytes.
    CommandBytes,
}

impl RespError {
    /// Whether the bytes are well-formed, and too many.
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::Bytes | Self::Depth | Self::Elements | Self::Arguments | Self::CommandBytes
        )
    }
}

impl core::fmt::Display for RespError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Kind(byte) => write!(f, "byte {byte:#04x} begins nothing of RESP version 2"),
            Self::Line => write!(
                f,
                "a line has no end within {LINE_BYTES_MAX} bytes, or another than CR LF"
            ),
            Self::Number => f.write_str("a number is not written as RESP writes numbers"),
            Self::Unterminated => f.write_str("bytes are not followed by CR LF"),
            Self::Bytes => write!(
                f,
                "a reply has too many bytes: must be at most {REPLY_BYTES_MAX}"
            ),
            Self::Depth => write!(
                f,
                "a reply has arrays within one another: must be at most {REPLY_DEPTH_MAX}"
            ),
            Self::Elements => write!(
                f,
                "a reply has too many elements: must be at most {REPLY_ELEMENTS_MAX}"
            ),
            Self::Command => f.write_str("a command must be an array of at least one argument"),
            Self::Arguments => write!(
                f,
                "a command has too many arguments: must be at most {COMMAND_ARGUMENTS_MAX}"
            ),
            Self::CommandBytes => write!(
                f,
                "a command has too many bytes: must be at most {COMMAND_BYTES_MAX}"
            ),
        }
    }
}

impl core::error::Error for RespError {}

/// What a reply is made of, in the order in which it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A status, such as `OK`.
    Status(&'a [u8]),
    /// An error's text.
    Error(&'a [u8]),
    /// A number.
    Int(i64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Nothing.
    Nil,
    /// An array of so many replies, which follow.
    Array(usize),
}

/// The token that `bytes` begin with, and how many of them it has; `None` if more have to come.
pub fn token(bytes: &[u8]) -> Result<Option<(Token<'_>, usize)>, RespError> {
    let Some((kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let is_number = match kind {
        b'+' | b'-' => false,
        b':' | b'$' | b'*' => true,
        other => return Err(RespError::Kind(*other)),
    };
    let line_bytes_max = match is_number {
        true => NUMBER_BYTES_MAX,
        false => LINE_BYTES_MAX,
    };
    let searched = &rest[..rest.len().min(line_bytes_max + 1)];
    let Some(end) = searched.iter().position(|byte| *byte == b'\r') else {
        return match searched.len() > line_bytes_max || searched.contains(&b'\n') {
            true => Err(RespError::Line),
            false => Ok(None),
        };
    };
    let line = &rest[..end];
    match rest.get(end + 1) {
        None => return Ok(None),
        Some(b'\n') if !line.contains(&b'\n') => {}
        Some(_) => return Err(RespError::Line),
    }
    let used = 1 + end + 2;
    let length = |max: usize, beyond: RespError| match number(line)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= max => Ok(Some(length)),
            Ok(_) => Err(beyond),
            Err(_) => Err(RespError::Number),
        },
    };
    let token = match kind {
        b'+' => Token::Status(line),
        b'-' => Token::Error(line),
        b':' => Token::Int(number(line)?),
        b'*' => match length(REPLY_ELEMENTS_MAX, RespError::Elements)? {
            Some(count) => Token::Array(count),
            None => Token::Nil,
        },
        _ => match length(REPLY_BYTES_MAX, RespError::Bytes)? {
            None => Token::Nil,
            Some(length) => {
                let rest = &bytes[used..];
                let (Some(value), Some(end)) = (rest.get(..length), rest.get(length..length + 2))
                else {
                    return Ok(None);
                };
                return match end {
                    b"\r\n" => Ok(Some((Token::Bytes(value), used + length + 2))),
                    _ => Err(RespError::Unterminated),
                };
            }
        },
    };
    Ok(Some((token, used)))
}

/// A number as it is written: no sign but a minus, no zero in front.
fn number(line: &[u8]) -> Result<i64, RespError> {
    let digits = line.strip_prefix(b"-").unwrap_or(line);
    let is_plain = digits.first() != Some(&b'0') || line == b"0";
    let text = str::from_utf8(line).map_err(|_| RespError::Number)?;
    match is_plain && digits.first().is_some_and(u8::is_ascii_digit) {
        true => text.parse().map_err(|_| RespError::Number),
        false => Err(RespError::Number),
    }
}

/// Finds where a reply ends, as its bytes come.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Bytes that are looked at.
    at: usize,
    /// Things so far.
    elements: usize,
    /// Of the arrays that are open, how many things each lacks yet.
    lacking: [u32; REPLY_DEPTH_MAX],
    depth: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Self::new()
    }
}

impl Scan {
    /// Nothing is looked at yet.
    pub const fn new() -> Self {
        Self {
            at: 0,
            elements: 0,
            lacking: [0; REPLY_DEPTH_MAX],
            depth: 0,
        }
    }

    /// Looks at all bytes of the reply that are there, those that it has been given before first: how many the reply has, when all
    /// of them are there.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, RespError> {
        while let Some((token, used)) = token(bytes.get(self.at..).unwrap_or_default())? {
            self.at += used;
            if self.at > REPLY_BYTES_MAX {
                return Err(RespError::Bytes);
            }
            self.elements += 1;
            if self.elements > REPLY_ELEMENTS_MAX {
                return Err(RespError::Elements);
            }
            if let Token::Array(count @ 1..) = token {
                let place = self.lacking.get_mut(self.depth);
                *place.ok_or(RespError::Depth)? =
                    u32::try_from(count).map_err(|_| RespError::Elements)?;
                self.depth += 1;
                continue;
            }
            // Whatever ends with this ends too.
            while let Some(open) = self.depth.checked_sub(1) {
                self.lacking[open] -= 1;
                if self.lacking[open] > 0 {
                    break;
                }
                self.depth = open;
            }
            if self.depth == 0 {
                return Ok(Some(self.at));
            }
        }
        match bytes.len() > REPLY_BYTES_MAX {
            true => Err(RespError::Bytes),
            false => Ok(None),
        }
    }
}

/// The arguments of one command.
#[derive(Clone, Debug)]
pub struct Arguments<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Arguments<'a> {
    fn next_one(&mut self) -> Result<&'a [u8], RespError> {
        match token(self.rest)? {
            Some((Token::Bytes(argument), used)) => {
                self.rest = &self.rest[used..];
                self.left -= 1;
                Ok(argument)
            }
            _ => Err(RespError::Command),
        }
    }
}

impl<'a> Iterator for Arguments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self.left {
            0 => None,
            // They were looked at when the command was taken.
            _ => self.next_one().ok(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// The commands of a body, one behind the other. Behind one that is none, nothing comes.
#[derive(Clone, Debug)]
pub struct Commands<'a> {
    rest: &'a [u8],
}

impl<'a> Commands<'a> {
    /// The commands in `body`.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    fn next_one(&mut self) -> Result<Arguments<'a>, RespError> {
        let Some((Token::Array(left @ 1..), used)) = token(self.rest)? else {
            return Err(RespError::Command);
        };
        if left > COMMAND_ARGUMENTS_MAX {
            return Err(RespError::Arguments);
        }
        let rest = &self.rest[used..];
        let command = Arguments { left, rest };
        let mut looked_at = command.clone();
        for _ in 0..left {
            looked_at.next_one()?;
        }
        let bytes = self.rest.len() - looked_at.rest.len();
        if bytes > COMMAND_BYTES_MAX {
            return Err(RespError::CommandBytes);
        }
        self.rest = looked_at.rest;
        Ok(command)
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Arguments<'a>, RespError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let command = self.next_one();
        if command.is_err() {
            self.rest = &[];
        }
        Some(command)
    }
}

#[cfg(test)]
mod tests;
