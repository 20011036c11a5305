//! What the answers of databases may have in memory while they are read: those to one version, and all of them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of all answers together.
pub(super) const ROOM_BYTES_MAX: usize = 256 << 20;
/// Bytes of those to one version, so that none has all of it.
pub(super) const ROOM_PER_VERSION_BYTES_MAX: usize = 64 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Room {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            own: Arc::new(Semaphore::new(ROOM_PER_VERSION_BYTES_MAX)),
            all: Arc::new(Semaphore::new(ROOM_BYTES_MAX)),
        }
    }
}

impl Room {
    /// The room of another version.
    pub(super) fn for_version(&self) -> Self {
        Self {
            all: Arc::clone(&self.all),
            ..Self::default()
        }
    }
}

/// What one answer has of it.
#[derive(Debug, Default)]
pub(super) struct Held(Option<[OwnedSemaphorePermit; 2]>);

impl Held {
    /// Takes so many bytes more, if they are left.
    pub(super) fn take(&mut self, room: &Room, bytes: usize) -> Result<(), ()> {
        let bytes = u32::try_from(bytes).map_err(drop)?;
        let take = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_many_owned(bytes);
        let own = take(&room.own).map_err(drop)?;
        let all = take(&room.all).map_err(drop)?;
        match &mut self.0 {
            // One for all of them: an answer comes in many pieces.
            Some([own_before, all_before]) => {
                own_before.merge(own);
                all_before.merge(all);
            }
            None => self.0 = Some([own, all]),
        }
        Ok(())
    }
}
