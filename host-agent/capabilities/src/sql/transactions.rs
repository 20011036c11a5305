//! Transactions of one request. Each holds a connection until it is committed or rolled back; one that is neither when its request
//! ends is rolled back by its database, whose connection ends with it.

use std::{collections::BTreeMap, sync::Arc};

use jiffy_abi::call::{CallErrorKind, Sent};
use parking_lot::Mutex;
use tokio::sync::{Mutex as Turns, OwnedMutexGuard};

use super::pool::Lease;
use crate::Failure;

/// Transactions of a request that are open at once at most.
pub(super) const OPEN_MAX: usize = 4;

/// Those of one request, by their numbers, which are its own.
#[derive(Debug, Default)]
pub(super) struct Transactions(Mutex<Numbered>);

#[derive(Debug, Default)]
struct Numbered {
    last: u32,
    /// Those that are being begun.
    beginning: usize,
    open: BTreeMap<u32, Open>,
}

#[derive(Clone, Debug)]
struct Open {
    /// The database, as the function calls it.
    binding: String,
    transaction: Arc<Turns<Transaction>>,
}

/// An open transaction: its calls have it one after the other.
#[derive(Debug)]
pub(super) struct Transaction {
    /// `None`: its connection has ended, and it with that.
    pub(super) lease: Option<Lease>,
    /// A statement of it failed: the database may take no more of them.
    pub(super) has_failed: bool,
}

/// A place for one that is being begun.
pub(super) struct Beginning(Arc<Transactions>);

impl Drop for Beginning {
    fn drop(&mut self) {
        self.0.0.lock().beginning -= 1;
    }
}

fn refused(kind: CallErrorKind, message: String) -> Failure {
    Failure::new(kind, Sent::No, message)
}

impl Transactions {
    /// A place for another one.
    pub(super) fn place(self: &Arc<Self>) -> Result<Beginning, Failure> {
        let mut all = self.0.lock();
        if all.open.len() + all.beginning >= OPEN_MAX {
            let message = format!("a request may have {OPEN_MAX} transactions open at once");
            return Err(refused(CallErrorKind::Limit, message));
        }
        all.beginning += 1;
        Ok(Beginning(Arc::clone(self)))
    }

    /// Adds one that has begun: its number.
    pub(super) fn add(&self, binding: &str, lease: Lease) -> u32 {
        let mut all = self.0.lock();
        // A request makes 1,000 calls.
        all.last = all.last.wrapping_add(1);
        let number = all.last;
        let transaction = Transaction {
            lease: Some(lease),
            has_failed: false,
        };
        let open = Open {
            binding: binding.into(),
            transaction: Arc::new(Turns::new(transaction)),
        };
        all.open.insert(number, open);
        number
    }

    /// The transaction of this number, when it is this call's turn.
    pub(super) async fn turn(
        &self,
        number: u32,
        binding: &str,
    ) -> Result<OwnedMutexGuard<Transaction>, Failure> {
        let open = self.0.lock().open.get(&number).cloned();
        let open = open.filter(|open| open.binding == binding);
        let unknown = || {
            let message = format!(
                "invalid transaction {number} of {binding}: must be one that this request has begun and not ended"
            );
            refused(CallErrorKind::Invalid, message)
        };
        Ok(open.ok_or_else(unknown)?.transaction.lock_owned().await)
    }

    /// Takes it away: no further call has it.
    pub(super) fn remove(&self, number: u32) {
        let removed = self.0.lock().open.remove(&number);
        drop(removed);
    }
}

impl Transaction {
    /// Its connection; an error if that has ended.
    pub(super) fn lease(&mut self) -> Result<&mut Lease, Failure> {
        let ended = || {
            let message =
                "the transaction has ended with a call of it, and nothing of it is done".into();
            Failure::new(CallErrorKind::Failed, Sent::No, message)
        };
        let is_broken = self.lease.as_ref().is_some_and(Lease::is_broken);
        if is_broken {
            self.lease = None;
        }
        self.lease.as_mut().ok_or_else(ended)
    }
}
