//! The users that a spawner gives to its shells: a block that no other spawner of the host has.
//!
//! Two shells of one user would count against one limit of processes, and each could signal the other.
//! A block is taken by binding an abstract Unix socket that is named after it, which the kernel gives
//! back however the spawner ends.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use super::{SHELLS_MAX, SpawnerError};

/// Spawners that a host has at a time. From [`super::USER_BASE_DEFAULT`] on all of their users are below
/// 2^31, from which on some programs take them for negative.
pub const SPAWNERS_MAX: u32 = 1 << 11;

const _: () =
    assert!(super::USER_BASE_DEFAULT as u64 + SPAWNERS_MAX as u64 * (SHELLS_MAX as u64) < 1 << 31);

/// A block of [`SHELLS_MAX`] users, and of as many groups with the same numbers.
#[derive(Debug)]
pub(super) struct Users {
    first: u32,
    /// Holds the block; `None` if nobody's user is changed.
    _taken: Option<UnixDatagram>,
}

impl Users {
    /// The users that would be given, on a host where that cannot be done.
    pub(super) fn unused(base: u32) -> Self {
        Self {
            first: base,
            _taken: None,
        }
    }

    /// Takes a block from `base` on.
    pub(super) fn take(base: u32) -> Result<Self, SpawnerError> {
        // Not all begin with the same one: a user that is given back rests for a while.
        let offset = std::process::id();
        for number in (0..SPAWNERS_MAX).map(|number| (number.wrapping_add(offset)) % SPAWNERS_MAX) {
            let first = base.checked_add(number * SHELLS_MAX);
            let Some(first) = first.filter(|first| first.checked_add(SHELLS_MAX).is_some()) else {
                continue; // The operator's base is that high.
            };
            let name = SocketAddr::from_abstract_name(format!("jiffy-users-{first}"));
            match name.and_then(|name| UnixDatagram::bind_addr(&name)) {
                Ok(taken) => {
                    return Ok(Self {
                        first,
                        _taken: Some(taken),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(SpawnerError::Users(error)),
            }
        }
        Err(SpawnerError::NoUsers)
    }

    /// User and group of the shell in `slot`.
    pub(super) fn of(&self, slot: u32) -> u32 {
        self.first + slot % SHELLS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spawners_have_no_user_in_common() {
        let base = super::super::USER_BASE_DEFAULT;
        let (one, other) = (Users::take(base), Users::take(base));
        let (one, other) = (one.expect("a block"), other.expect("a block"));
        assert!(one.of(0).abs_diff(other.of(0)) >= SHELLS_MAX);
        assert_eq!(one.of(SHELLS_MAX - 1), one.of(0) + SHELLS_MAX - 1);
        let first = one.of(0);
        drop(one);
        assert_eq!(Users::take(base).expect("given back").of(0), first);
    }

    #[test]
    fn a_base_without_room_is_told() {
        let error = Users::take(u32::MAX).expect_err("no room");
        assert!(matches!(error, SpawnerError::NoUsers), "{error}");
    }
}
