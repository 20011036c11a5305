//! Counts primes: `{"limit":100}` gets `{"count":25,"largest":97}`.
//!
//! The primes below 65536, whose multiples have to be crossed out, are found once, by the
//! initialisation; a request then goes through the numbers window by window.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{vec, vec::Vec};

use serde::{Deserialize, Serialize};

/// One byte for each odd number of a window, small enough to stay in the CPU's cache.
const WINDOW_LEN: u64 = 32 << 10;

/// Up to where to count.
#[derive(Deserialize)]
pub struct Question {
    limit: u32,
}

/// What was found.
#[derive(Serialize)]
pub struct Answer {
    /// Number of primes up to the limit.
    count: u32,
    /// The largest of them, if there are any.
    largest: Option<u32>,
}

/// The odd primes below 65536: every other number below 2^32 that is odd and not prime has one of
/// them as a factor.
#[jiffy::init]
fn small_primes() -> Vec<u32> {
    const END: usize = 1 << 16;
    let mut composite = vec![false; END];
    let mut primes = Vec::new();
    for number in (3..END).step_by(2) {
        if !composite[number] {
            primes.push(number as u32);
            for multiple in (number * number..END).step_by(2 * number) {
                composite[multiple] = true;
            }
        }
    }
    primes
}

/// Counts the primes up to the limit.
#[jiffy::function]
pub fn primes(Question { limit }: Question, small_primes: &[u32]) -> Answer {
    let limit = u64::from(limit);
    // Two is the only even prime; the windows hold odd numbers.
    let mut answer = match limit {
        0 | 1 => {
            return Answer {
                count: 0,
                largest: None,
            };
        }
        _ => Answer {
            count: 1,
            largest: Some(2),
        },
    };
    let mut composite = vec![false; WINDOW_LEN as usize];
    for start in (1..=limit).step_by(2 * WINDOW_LEN as usize) {
        let odds = (limit - start) / 2 + 1;
        let window = &mut composite[..odds.min(WINDOW_LEN) as usize];
        cross_out(window, start, small_primes);
        for (index, _) in window
            .iter()
            .enumerate()
            .filter(|(_, composite)| !**composite)
        {
            answer.count += 1;
            answer.largest = u32::try_from(start + 2 * index as u64).ok();
        }
    }
    answer
}

/// Marks what is not prime among the odd numbers from `start`.
fn cross_out(window: &mut [bool], start: u64, small_primes: &[u32]) {
    window.fill(false);
    if start == 1 {
        window[0] = true;
    }
    let end = start + 2 * window.len() as u64;
    for prime in small_primes.iter().map(|prime| u64::from(*prime)) {
        if prime * prime >= end {
            break;
        }
        let multiple = start.next_multiple_of(prime);
        let odd_multiple = if multiple.is_multiple_of(2) {
            multiple + prime
        } else {
            multiple
        };
        let first = odd_multiple.max(prime * prime);
        for number in (first..end).step_by(2 * prime as usize) {
            window[((number - start) / 2) as usize] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn primes_are_counted() {
        let check = |limit: u32, answer: &str| {
            let event = format!(r#"{{"limit":{limit}}}"#);
            assert_eq!(jiffy::testing::call!().event(event).run().text(), answer);
        };
        check(0, r#"{"count":0,"largest":null}"#);
        check(1, r#"{"count":0,"largest":null}"#);
        check(2, r#"{"count":1,"largest":2}"#);
        check(3, r#"{"count":2,"largest":3}"#);
        check(9, r#"{"count":4,"largest":7}"#);
        check(100, r#"{"count":25,"largest":97}"#);
        check(65_536, r#"{"count":6542,"largest":65521}"#);
        check(65_537, r#"{"count":6543,"largest":65537}"#);
        check(10_000_000, r#"{"count":664579,"largest":9999991}"#);
    }

    /// Against the definition, around the first ends of windows.
    #[test]
    fn windows_join_without_a_seam() {
        let is_prime = |number: u32| {
            number >= 2
                && (2..)
                    .take_while(|f| f * f <= number)
                    .all(|f| !number.is_multiple_of(f))
        };
        let count_of =
            |limit: u32| super::primes(super::Question { limit }, &super::small_primes());
        for seam in [65_537, 131_073] {
            for limit in seam - 9..seam + 9 {
                let (before, now) = (count_of(limit - 1), count_of(limit));
                assert_eq!(
                    now.count - before.count,
                    u32::from(is_prime(limit)),
                    "{limit}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for event in [
            r#"{"limit":-1}"#,
            r#"{"limit":4294967296}"#,
            r#"{"limit":"9"}"#,
            "[]",
        ] {
            jiffy::testing::call!().event(event).run().bad_event();
        }
    }
}
