//! Bytes of what servers answer, while it is read: so many of one version, so many of all functions.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// What answers may have yet while they are read, in bytes.
#[derive(Debug)]
pub(crate) struct Room {
    /// Those to one version.
    pub(crate) own: Semaphore,
    /// All of them.
    pub(crate) all: Arc<Semaphore>,
}

/// What one answer has of it, until it is read.
#[derive(Debug, Default)]
pub(crate) struct Taken<'a>(Option<(SemaphorePermit<'a>, SemaphorePermit<'a>)>);

impl Room {
    /// Has an answer take so many bytes more, or says what is full.
    pub(crate) fn take<'a>(&'a self, taken: &mut Taken<'a>, bytes: usize) -> Result<(), String> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let full = |whose| {
            move |_| {
                format!(
                    "the responses to {whose} have all the bytes that they may have together: try it again later"
                )
            }
        };
        let own = self.own.try_acquire_many(bytes);
        let own = own.map_err(full("this function"))?;
        let all = self.all.try_acquire_many(bytes);
        let all = all.map_err(full("all functions"))?;
        // One for all of them: an answer may come byte by byte.
        match &mut taken.0 {
            Some(before) => {
                before.0.merge(own);
                before.1.merge(all);
            }
            none => *none = Some((own, all)),
        }
        Ok(())
    }
}
