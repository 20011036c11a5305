//! How much a function may log. Pure.

use std::time::{Duration, Instant};

/// A bucket that fills with the bytes of a rate and holds those of one second. It admits a line as long as anything
/// is in it, so that a line is never too long for it.
#[derive(Debug)]
pub(super) struct Rate {
    pub(super) bytes_per_s_max: u64,
    bytes: i64,
    filled: Option<Instant>,
}

impl Rate {
    pub(super) fn new(bytes_per_s_max: u64) -> Self {
        Self {
            bytes_per_s_max,
            bytes: 0,
            filled: None,
        }
    }

    pub(super) fn admit(&mut self, bytes: usize, now: Instant) -> bool {
        let full = i64::try_from(self.bytes_per_s_max).unwrap_or(i64::MAX);
        // The first line finds it full.
        let elapsed = self.filled.map_or(Duration::from_secs(1), |filled| {
            now.saturating_duration_since(filled)
        });
        let added = u128::from(self.bytes_per_s_max) * elapsed.as_nanos() / 1_000_000_000;
        if added > 0 {
            let added = i64::try_from(added).unwrap_or(i64::MAX);
            self.bytes = self.bytes.saturating_add(added).min(full);
            self.filled = Some(now);
        }
        let is_admitted = self.bytes > 0;
        if is_admitted {
            self.bytes = self
                .bytes
                .saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        is_admitted
    }
}
