//! What tests change of a spawner, so that they see what the shells' jail is for. With the feature `testing` only.

use std::{fs::File, io};

use jiffy_socket::ControlSocket;

use super::{Options, SpawnerError, run_with};
use crate::{
    jail::{Filter, JailError},
    mem::PageMap,
};

/// As [`run`](super::run), changed.
pub fn run(owner: ControlSocket, options: &Options, hooks: Hooks) -> Result<(), SpawnerError> {
    run_with(owner, options, hooks)
}

/// What a shell does once its jail is closed.
pub type Jailed = Box<dyn Fn(&ControlSocket)>;

/// What is changed.
#[derive(Default)]
pub struct Hooks {
    /// Another filter than the shells' own.
    pub filter: Option<Filter>,
    /// Runs in a shell once its jail is closed, in the place of a VMM that was taken over.
    pub jailed: Option<Jailed>,
    /// Shells list written pages as kernels before `PAGEMAP_SCAN` (Linux 6.7) have to.
    pub old_page_map: bool,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

impl Hooks {
    pub(super) fn filter(&self) -> Result<Filter, JailError> {
        match &self.filter {
            Some(filter) => Ok(filter.clone()),
            None => Filter::compile(),
        }
    }

    pub(super) fn page_map(&self, file: File) -> io::Result<PageMap> {
        match self.old_page_map {
            true => Ok(PageMap::from_old_file(file)),
            false => PageMap::from_file(file),
        }
    }

    pub(super) fn jailed(&self, control: &ControlSocket) {
        if let Some(jailed) = &self.jailed {
            jailed(control);
        }
    }
}
