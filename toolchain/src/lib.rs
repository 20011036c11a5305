//! The `jiffy` command: makes a function crate, builds its image, looks into images, runs them, deploys them.
//!
//! ```text
//! new      a function crate from a template
//! build    function crate -> wrapper crate -> cargo -> image
//! image    what an ELF file says of itself, checked          (inspect prints it)
//! run      image or snapshot -> VM -> requests -> outcome -> exit code
//! snapshot makes snapshots, says what is in them
//! symbols  guest addresses -> function, file and line
//! doctor   what this machine has and lacks
//! client   the verbs that ask an agent: deploy, invoke, ls, logs, ... (manifest: jiffy.toml)
//! dev      an agent in the foreground, and a crate that is deployed anew whenever it changes
//! ```
//! Not here: KVM and guest memory. A VM is a `jiffy-vmm` process, spoken with through
//! `jiffy-control`; symbols are read in this process and never in the one with the VM.
#![forbid(unsafe_code)]

mod build;
mod cli;
mod client;
mod dev;
mod doctor;
mod exit;
mod image;
mod inspect;
mod manifest;
mod new;
mod output;
mod run;
mod runnable;
mod sdk;
mod snapshot;
mod symbols;

pub use cli::main;
