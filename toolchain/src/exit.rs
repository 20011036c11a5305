//! Exit codes, told once: for the process, for `--help` and for JSON.

use std::process::ExitCode;

use jiffy_control::RunExit;

/// How a command ended. `doctor` alone uses 1 for "something that is needed is missing".
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub(crate) enum Exit {
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

// `jiffy run` and `jiffy-vmm` end alike.
const _: () = {
    assert!(Exit::Ok as u8 == RunExit::Answered as u8);
    assert!(Exit::FunctionError as u8 == RunExit::FunctionError as u8);
    assert!(Exit::Usage as u8 == RunExit::Usage as u8);
    assert!(Exit::BadEvent as u8 == RunExit::BadEvent as u8);
    assert!(Exit::Panic as u8 == RunExit::Panic as u8);
    assert!(Exit::Fault as u8 == RunExit::Fault as u8);
    assert!(Exit::Timeout as u8 == RunExit::TimedOut as u8);
    assert!(Exit::OutOfMemory as u8 == RunExit::OutOfMemory as u8);
    assert!(Exit::ImageRefused as u8 == RunExit::Refused as u8);
    assert!(Exit::Host as u8 == RunExit::Platform as u8);
};

/// The table that `--help` shows.
pub(crate) const TABLE: &str = "\
Exit codes:
   0  the function answered
   1  the function, or its init, returned an error
   2  the command was used wrongly, or names what is not there
   3  the function does not take this event
   4  the function panicked
   5  a guest fault: CPU exception, stack overflow, broken device rule, or an end without an answer
   6  the deadline passed
   7  the function ran out of memory
   8  the image, or the snapshot, was refused
   9  this machine, the agent or jiffy itself failed, or the agent is busy or out of reach
  10  the function's crate does not build";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_code_once() {
        let codes: Vec<u8> = TABLE
            .lines()
            .skip(1)
            .map(|line| {
                line.split_whitespace()
                    .next()
                    .and_then(|code| code.parse().ok())
                    .expect("a code")
            })
            .collect();
        let all: Vec<u8> = (Exit::Ok as u8..=Exit::Build as u8).collect();
        assert_eq!(codes, all);
    }
}
