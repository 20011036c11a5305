//! CPU time in which the backtraces of a function get names: an account for each function, which fills with time and may
//! be overdrawn by one reading, but not by a second.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::CPU_MS_PER_MINUTE;
use crate::model::FunctionId;

const MINUTE: Duration = Duration::from_secs(60);
const FULL: Duration = Duration::from_millis(CPU_MS_PER_MINUTE);
/// Accounts that are looked through for full ones, which say as little as none, before another is opened.
const ACCOUNTS_MAX: usize = 1024;

/// The accounts of all functions that have used some.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    accounts: HashMap<FunctionId, Account>,
}

/// What had been used `at` a time; all of a minute's worth comes back in a minute.
#[derive(Clone, Copy, Debug)]
struct Account {
    used: Duration,
    at: Instant,
}

impl Account {
    fn used(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at);
        let back = FULL.mul_f64(passed.as_secs_f64() / MINUTE.as_secs_f64());
        self.used.saturating_sub(back)
    }
}

impl Budgets {
    /// Whether `function` has time left; if not, when it has.
    pub(super) fn check(&self, function: &FunctionId, now: Instant) -> Result<(), Duration> {
        let used = self.accounts.get(function).map(|account| account.used(now));
        match used.and_then(|used| used.checked_sub(FULL)) {
            Some(beyond) => Err(MINUTE.mul_f64(beyond.as_secs_f64() / FULL.as_secs_f64())),
            None => Ok(()),
        }
    }

    /// Takes what a reading took.
    pub(super) fn charge(&mut self, function: &FunctionId, cpu: Duration, now: Instant) {
        if self.accounts.len() >= ACCOUNTS_MAX {
            self.accounts
                .retain(|_, account| !account.used(now).is_zero());
        }
        let account = self.accounts.entry(function.clone());
        let account = account.or_insert(Account {
            used: Duration::ZERO,
            at: now,
        });
        *account = Account {
            used: account.used(now).saturating_add(cpu),
            at: now,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str) -> FunctionId {
        name.parse().expect("a name")
    }

    /// However much one reading takes, on average it is no more than what is granted.
    #[test]
    fn a_function_gets_its_time_and_no_more() {
        let (mut budgets, start) = (Budgets::default(), Instant::now());
        let (greedy, other) = (function("greedy"), function("other"));
        let (reading, step) = (Duration::from_millis(700), Duration::from_millis(100));
        let (mut read, mut now) = (0, start);
        while now < start + 100 * MINUTE {
            if budgets.check(&greedy, now).is_ok() {
                budgets.charge(&greedy, reading, now);
                read += 1;
            }
            assert_eq!(budgets.check(&other, now), Ok(()));
            now += step;
        }
        let granted = 101 * FULL + reading;
        assert!(
            read * reading <= granted && (read + 2) * reading >= granted,
            "{read}"
        );
    }

    #[test]
    fn what_is_overdrawn_is_waited_for() {
        let (mut budgets, start) = (Budgets::default(), Instant::now());
        let name = function("greedy");
        budgets.charge(&name, FULL - Duration::from_millis(1), start);
        assert_eq!(budgets.check(&name, start), Ok(()));
        budgets.charge(&name, FULL, start);
        let wait = budgets.check(&name, start).expect_err("overdrawn");
        assert!(wait > MINUTE * 9 / 10 && wait < MINUTE, "{wait:?}");
        assert!(
            budgets
                .check(&name, start + wait - Duration::from_millis(500))
                .is_err()
        );
        assert!(
            budgets
                .check(&name, start + wait + Duration::from_millis(500))
                .is_ok()
        );
    }

    #[test]
    fn accounts_that_are_full_again_are_closed() {
        let (mut budgets, start) = (Budgets::default(), Instant::now());
        for number in 0..2 * ACCOUNTS_MAX {
            let now = start + MINUTE * u32::try_from(number).expect("small");
            budgets.charge(&function(&format!("f{number}")), FULL, now);
        }
        assert!(budgets.accounts.len() <= ACCOUNTS_MAX);
    }
}
