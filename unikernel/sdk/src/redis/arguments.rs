//! What a command is made of.

use alloc::{
    borrow::{Cow, ToOwned},
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};

use jiffy_abi::redis::{COMMAND_ARGUMENTS_MAX, COMMAND_BYTES_MAX, RespError};
use serde::Serialize;

/// A command that is being put together, its name first.
#[derive(Clone, Debug, Default)]
pub struct Command {
    arguments: Vec<u8>,
    count: usize,
    /// Why it cannot be sent, if it cannot.
    invalid: Option<String>,
}

impl Command {
    /// A command of these arguments.
    pub fn new(arguments: &(impl Arguments + ?Sized)) -> Self {
        let mut command = Self::default();
        arguments.put(&mut command);
        command
    }

    /// Adds an argument.
    pub fn add(&mut self, argument: &[u8]) {
        self.count += 1;
        if self.count > COMMAND_ARGUMENTS_MAX {
            self.refuse(&RespError::Arguments);
        } else if self.arguments.len() + argument.len() > COMMAND_BYTES_MAX {
            self.refuse(&RespError::CommandBytes);
        } else {
            let head = format!("${}\r\n", argument.len());
            self.arguments.extend_from_slice(head.as_bytes());
            self.arguments.extend_from_slice(argument);
            self.arguments.extend_from_slice(b"\r\n");
        }
    }

    fn refuse(&mut self, why: &impl ToString) {
        self.invalid.get_or_insert_with(|| why.to_string());
    }

    /// Appends it to `body` as it travels, or says why it cannot be sent.
    pub(super) fn write(self, body: &mut Vec<u8>) -> Result<(), String> {
        let head = format!("*{}\r\n", self.count);
        let invalid = match self.count {
            0 => Some(RespError::Command.to_string()),
            _ if head.len() + self.arguments.len() > COMMAND_BYTES_MAX => {
                Some(RespError::CommandBytes.to_string())
            }
            _ => None,
        };
        match self.invalid.or(invalid) {
            Some(why) => Err(why),
            None => {
                body.reserve(head.len() + self.arguments.len());
                body.extend_from_slice(head.as_bytes());
                body.extend_from_slice(&self.arguments);
                Ok(())
            }
        }
    }
}

/// What a command, or a part of it, may be: a text, bytes, a number; a tuple, slice, array or vector of such, each of which
/// is an argument; [`Json`]. `&[u8]`, `[u8; N]` and `Vec<u8>` are one argument, the bytes; so there is none of a `u8`.
///
/// ```
/// # use jiffy::{call::CallError, redis::{Json, Redis}};
/// fn fill(cache: &Redis, bytes: &[u8], pairs: &[(String, f64)]) -> Result<(), CallError> {
///     cache.command(("SET", "raw", bytes, "EX", 60))?;
///     cache.command(("SET", "pairs", Json(pairs)))?;
///     cache.command(("HSET", "pairs-as-hash", pairs))?; // Their names and numbers, one after the other.
///     cache.command(vec!["DEL", "a", "b"])?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a Redis command",
    note = "texts, bytes and numbers can, and tuples, slices and vectors of them; a `u8` is a part of bytes: convert it to an `u32`"
)]
pub trait Arguments {
    /// Adds it to a command.
    fn put(&self, command: &mut Command);
}

impl Arguments for str {
    fn put(&self, command: &mut Command) {
        command.add(self.as_bytes());
    }
}

impl Arguments for [u8] {
    fn put(&self, command: &mut Command) {
        command.add(self);
    }
}

impl<const N: usize> Arguments for [u8; N] {
    fn put(&self, command: &mut Command) {
        command.add(self);
    }
}

impl Arguments for Vec<u8> {
    fn put(&self, command: &mut Command) {
        command.add(self);
    }
}

impl Arguments for String {
    fn put(&self, command: &mut Command) {
        command.add(self.as_bytes());
    }
}

impl Arguments for char {
    fn put(&self, command: &mut Command) {
        command.add(self.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

impl<T: Arguments + ?Sized> Arguments for &T {
    fn put(&self, command: &mut Command) {
        (**self).put(command);
    }
}

impl<T: Arguments + ?Sized> Arguments for Box<T> {
    fn put(&self, command: &mut Command) {
        (**self).put(command);
    }
}

impl<T: Arguments + ToOwned + ?Sized> Arguments for Cow<'_, T> {
    fn put(&self, command: &mut Command) {
        (**self).put(command);
    }
}

impl<T: Arguments> Arguments for [T] {
    fn put(&self, command: &mut Command) {
        for argument in self {
            argument.put(command);
        }
    }
}

impl<T: Arguments, const N: usize> Arguments for [T; N] {
    fn put(&self, command: &mut Command) {
        self[..].put(command);
    }
}

impl<T: Arguments> Arguments for Vec<T> {
    fn put(&self, command: &mut Command) {
        self[..].put(command);
    }
}

/// A value as JSON, which is one argument; [`Value::json`](super::Value::json) reads it back.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> Arguments for Json<T> {
    fn put(&self, command: &mut Command) {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => command.add(&bytes),
            Err(error) => command.refuse(&error),
        }
    }
}

macro_rules! numbers {
    ($($number:ty)+) => {$(
        impl Arguments for $number {
            fn put(&self, command: &mut Command) {
                command.add(self.to_string().as_bytes());
            }
        }
    )+};
}

numbers! { i16 i32 i64 i128 isize u16 u32 u64 u128 usize f32 f64 }

macro_rules! tuples {
    ($($($part:ident)+;)+) => {$(
        impl<$($part: Arguments),+> Arguments for ($($part,)+) {
            fn put(&self, command: &mut Command) {
                #[allow(non_snake_case, reason = "named like their types")]
                let ($($part,)+) = self;
                $($part.put(command);)+
            }
        }
    )+};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
}
