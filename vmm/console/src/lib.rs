//! How the programs speak with people.
//!
//! ```text
//! output    standard output and standard error, which may be closed or full at any time
//! exit      exit codes: one enum, and the table that help and README show
//! quantity  sizes and times as people write them, on command lines and in configurations
//! ```
//! Not here: what a program says. How a VM's end becomes an exit code is in `jiffy-control`.
#![forbid(unsafe_code)]

mod exit;
mod output;
pub mod quantity;

pub use exit::Exit;
pub use output::{Stderr, Stdout, arguments, is_output_lost, lost_output, stderr, stdout};
