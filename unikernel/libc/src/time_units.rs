//! `timespec` and nanoseconds.

/// Seconds and nanoseconds, as C has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct timespec {
    pub(crate) tv_sec: i64,
    pub(crate) tv_nsec: i64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl timespec {
    pub(crate) const fn from_ns(ns: u64) -> Self {
        Self {
            tv_sec: (ns / SECOND_NS) as i64,
            tv_nsec: (ns % SECOND_NS) as i64,
        }
    }

    /// Nanoseconds, at most as many as there is a number for; `None` if it is no time.
    pub(crate) fn to_ns(self) -> Option<u64> {
        let seconds = u64::try_from(self.tv_sec).ok()?;
        let nanoseconds = u64::try_from(self.tv_nsec).ok()?;
        (nanoseconds < SECOND_NS).then(|| {
            seconds
                .saturating_mul(SECOND_NS)
                .saturating_add(nanoseconds)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for ns in [0, 1, SECOND_NS - 1, SECOND_NS, 1_800_000_000_123_456_789] {
            assert_eq!(timespec::from_ns(ns).to_ns(), Some(ns));
        }
        let to_ns = |tv_sec, tv_nsec| timespec { tv_sec, tv_nsec }.to_ns();
        assert_eq!(to_ns(i64::MAX, 0), Some(u64::MAX));
        assert_eq!(to_ns(-1, 0), None);
        assert_eq!(to_ns(0, -1), None);
        assert_eq!(to_ns(0, 1_000_000_000), None);
    }
}
