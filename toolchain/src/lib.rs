//! The `jiffy` command: makes a function crate, builds its image, looks into images, runs them, deploys them.
//!
//! ```text
//! new      a function crate from a template
//! registry how cargo is told where the SDK is, which no crate names by its path
//! build    function crate -> wrapper crate -> cargo -> image
//! image    what an ELF file says of itself, checked          (inspect prints it)
//! run      image or snapshot -> VM -> requests -> outcome -> exit code
//! snapshot makes snapshots, says what is in them
//! doctor   what this machine has and lacks
//! bench    becomes `jiffy-bench`, which measures
//! client   the verbs that ask an agent: deploy, invoke, ls, logs, ... (manifest: jiffy.toml)
//! dev      an agent in the foreground, and a crate that is deployed anew whenever it changes
//! ```
//! Not here: KVM and guest memory. A VM is a `jiffy-vmm` process, spoken with through
//! `jiffy-client`; symbols (`jiffy-symbols`) are read in a process of their own.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod cli;
mod client;
mod dev;
mod doctor;
mod image;
mod input;
mod inspect;
mod manifest;
mod new;
mod output;
mod registry;
mod run;
mod runnable;
mod sdk;
mod secret_value;
mod snapshot;
mod symbols;
mod vm_settings;

pub use cli::main;
