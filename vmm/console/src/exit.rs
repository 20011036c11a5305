//! Exit codes, told once: for the processes, for `--help`, for README.md and for JSON.

use std::{fmt, process::ExitCode};

use crate::{lost_output, stderr};

/// How a command ended, for scripts to tell the outcomes apart. `doctor` alone uses 1 for "something that is needed
/// is missing".
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[expect(missing_docs, reason = "`meaning` says it")]
pub enum Exit {
    Ok = 0,
    FunctionError = 1,
    Usage = 2,
    BadEvent = 3,
    Panic = 4,
    Fault = 5,
    Timeout = 6,
    OutOfMemory = 7,
    ImageRefused = 8,
    Host = 9,
    Build = 10,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 11] = [
        Self::Ok,
        Self::FunctionError,
        Self::Usage,
        Self::BadEvent,
        Self::Panic,
        Self::Fault,
        Self::Timeout,
        Self::OutOfMemory,
        Self::ImageRefused,
        Self::Host,
        Self::Build,
    ];

    /// What it tells.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "the function answered",
            Self::FunctionError => "the function, or its `init`, returned an error",
            Self::Usage => "the command was used wrongly, or names what is not there",
            Self::BadEvent => "the function does not take this event",
            Self::Panic => "the function, or its `init`, panicked",
            Self::Fault => {
                "a guest fault: CPU exception, stack overflow, broken device rule, or an end without an answer"
            }
            Self::Timeout => "the deadline passed",
            Self::OutOfMemory => "the function, or its `init`, ran out of memory",
            Self::ImageRefused => "the image, or the snapshot, was refused",
            Self::Host => {
                "this machine, the agent or jiffy itself failed, the agent is busy or out of reach, or the output could not be written"
            }
            Self::Build => "the function's crate does not build",
        }
    }

    /// The table that `--help` shows, up to `last`.
    pub fn table(last: Self) -> impl fmt::Display {
        struct Table(Exit);

        impl fmt::Display for Table {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Exit codes:")?;
                let shown = Exit::ALL.iter().filter(|exit| **exit as u8 <= self.0 as u8);
                for exit in shown {
                    write!(f, "\n  {:>2}  {}", *exit as u8, exit.meaning())?;
                }
                Ok(())
            }
        }

        Table(last)
    }

    /// Ends a program whose work ended like this. What was printed is written out, and if it cannot be, that is told: work
    /// that was done ends with [`Exit::Host`] then, and work that failed with the code it failed with. A reader that closed
    /// the output has seen what it wanted, and changes nothing.
    pub fn end(self) -> ExitCode {
        use std::io::Write as _;

        let exit = match lost_output() {
            None => self,
            Some(error) => {
                let _ = writeln!(
                    stderr(),
                    "error: cannot write to standard output: {error}; what was printed is not complete"
                );
                match self {
                    Self::Ok => Self::Host,
                    failed => failed,
                }
            }
        };
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_has_every_code_once_and_in_order() {
        // A variant more does not compile until it is in `meaning`, and here its code is missed.
        for (code, exit) in (0_u8..).zip(Exit::ALL) {
            assert_eq!(exit as u8, code);
        }
        assert_eq!(Exit::ALL.len(), Exit::Build as usize + 1);
    }

    #[test]
    fn a_table_ends_where_it_is_told_to() {
        let table = Exit::table(Exit::Host).to_string();
        assert_eq!(table.lines().count(), 11);
        assert!(table.contains("\n   4  the function, or its `init`, panicked\n"));
        assert!(!table.contains("build"), "{table}");
        assert!(Exit::table(Exit::Build).to_string().contains("\n  10  "));
    }
}
