//! Randomness: a cryptographic generator, keyed afresh before every request, so that two instances
//! never draw the same. In a test's call it is keyed by the call's seed.
//!
//! ```
//! use jiffy::random::{Random, Rng};
//!
//! let dice = 1 + Random.next_u32() % 6;
//! let mut key = [0; 32];
//! jiffy::random::fill(&mut key);
//! # assert!((1..=6).contains(&dice));
//! ```

use core::convert::Infallible;

pub use rand_core::{self, CryptoRng, Rng, TryCryptoRng, TryRng};

use crate::platform;

/// The generator, for everything that takes one of `rand_core`'s.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Random {}

/// Fills `bytes` with unpredictable ones.
pub fn fill(bytes: &mut [u8]) {
    platform::fill_random(bytes);
}

/// An unpredictable number.
pub fn u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
