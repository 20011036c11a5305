//! A disk for tests: in memory, full when the test wants it, and lost in part by a crash.

use std::{
    io,
    sync::{Arc, Mutex},
};

use redb::{Database, StorageBackend};

use crate::Open;

/// A file in memory that remembers what was synced and fails from its `fails_at`th change on.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    writes: usize,
    fails_at: Option<usize>,
}

impl Disk {
    fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().expect("lock"))
    }

    /// Opens the tables in it.
    pub fn open(&self) -> Open {
        let disk = self.clone();
        Box::new(move || Database::builder().create_with_backend(disk.clone()))
    }

    /// Has it full after so many more changes; `None`: never.
    pub fn fill_after(&self, writes: Option<usize>) {
        self.state(|state| state.fails_at = writes.map(|writes| state.writes + writes));
    }

    /// What is there after a crash: all that was written, or only what was synced.
    #[must_use]
    pub fn after_crash(&self, loses_unsynced: bool) -> Self {
        let bytes = self.state(|state| match loses_unsynced {
            true => state.synced.clone(),
            false => state.bytes.clone(),
        });
        let state = State {
            synced: bytes.clone(),
            bytes,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        self.writes += 1;
        match self.fails_at {
            Some(fails_at) if self.writes > fails_at => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state(|state| state.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.state(|state| {
            let start = usize::try_from(offset).expect("small");
            out.copy_from_slice(&state.bytes[start..start + out.len()]);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state(|state| {
            state.step()?;
            state.bytes.resize(usize::try_from(len).expect("small"), 0);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.state(|state| {
            state.step()?;
            state.synced = state.bytes.clone();
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.state(|state| {
            state.step()?;
            let start = usize::try_from(offset).expect("small");
            state.bytes[start..start + data.len()].copy_from_slice(data);
            Ok(())
        })
    }
}
