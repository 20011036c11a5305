//! Keeps what is in this process's memory out of core files.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From here on this process leaves no core file, and no other process of its user reads its memory: values were in buffers
/// that are freed and not all wiped. Root still can, with a debugger.
///
/// What it starts leaves none either, unless the host's `core_pattern` is a program: the kernel asks no limit then, and "not
/// dumpable" is gone with the next program that is executed.
pub fn keep_out_of_core_files() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
