//! When the next request is sent.
//!
//! In a **closed loop** a client sends the next request when the last is answered. That finds how many requests a second
//! there can be, and says little of their latency: while the server stalls nobody asks, so of all the requests that would have
//! suffered only one is counted. In an **open loop** each request has its time, whatever became of those before it, and its
//! latency counts from that time. A request that no client was free to send waits, and that is its latency too.

use std::{
    num::NonZeroU64,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::thread::set_current_timer_slack;

use crate::{
    samples::Samples,
    suites::{Failure, Fallible},
};

/// From the call to the first request that is due: time to start the threads.
const LEAD: Duration = Duration::from_millis(20);
/// How late the kernel may wake a client on purpose. Its habit is 50 µs, a third of a fresh request.
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::MIN;

/// When requests are due: evenly, at so many a second.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    first: Instant,
    per_s: f64,
}

impl Schedule {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a run has far fewer than 2^52 requests"
    )]
    fn due(&self, number: u64) -> Instant {
        self.first + Duration::from_secs_f64(number as f64 / self.per_s)
    }
}

/// Has `clients` do `count` requests, `per_s` each second, the n-th when it is due by whichever client is free. Each takes from
/// when it was due until its client is done with it.
///
/// # Errors
/// The first of any client; the others stop then.
pub fn open_loop<C>(clients: Vec<C>, per_s: f64, count: u64) -> Fallible<Samples>
where
    C: FnMut(u64) -> Fallible<()> + Send,
{
    if !per_s.is_normal() || per_s < 0.0 {
        return Err(format!("{per_s} requests a second cannot be sent").into());
    }
    let schedule = Schedule {
        first: Instant::now() + LEAD,
        per_s,
    };
    let (next, all) = (AtomicU64::new(0), Mutex::new(Samples::new()));
    for_each(clients, |client, is_over| {
        // Without it the clients are late, which their samples then say.
        let _ = set_current_timer_slack(Some(TIMER_SLACK_NS));
        let mut samples = Samples::new();
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= count || is_over.load(Relaxed) {
                break;
            }
            let due = schedule.due(number);
            sleep_until(due);
            client(number)?;
            samples.push(due.elapsed());
        }
        all.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .merge(&samples);
        Ok(())
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Has `clients` do requests, each the next when it is done with the last, for so long; how many a second were done.
///
/// # Errors
/// The first of any client; the others stop then.
#[expect(
    clippy::cast_precision_loss,
    reason = "a run has far fewer than 2^52 requests"
)]
pub fn closed_loop<C>(clients: Vec<C>, lasting: Duration) -> Fallible<f64>
where
    C: FnMut(u64) -> Fallible<()> + Send,
{
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    for_each(clients, |client, is_over| {
        while began.elapsed() < lasting && !is_over.load(Relaxed) {
            client(next.fetch_add(1, Relaxed))?;
            done.fetch_add(1, Relaxed);
        }
        Ok(())
    })?;
    Ok(done.into_inner() as f64 / began.elapsed().as_secs_f64())
}

/// Gives each client to `work` on a thread of its own, with a flag that says when another has failed.
pub(super) fn for_each<C: Send>(
    clients: Vec<C>,
    work: impl Fn(&mut C, &AtomicBool) -> Fallible<()> + Sync,
) -> Fallible<()> {
    let (is_over, failure) = (AtomicBool::new(false), Mutex::new(None::<Failure>));
    thread::scope(|scope| {
        for mut client in clients {
            let (work, is_over, failure) = (&work, &is_over, &failure);
            scope.spawn(move || {
                if let Err(error) = work(&mut client, is_over) {
                    is_over.store(true, Relaxed);
                    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert(error);
                }
            });
        }
    });
    let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok(()), Err)
}

fn sleep_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantile(samples: &Samples, share: f64) -> f64 {
        let distribution = samples.measured("x").distribution;
        let mut above = distribution.iter().filter(|(at, _)| *at >= share);
        above.next().map_or(0.0, |(_, us)| *us)
    }

    #[test]
    fn requests_are_due_evenly() {
        let first = Instant::now();
        let schedule = Schedule {
            first,
            per_s: 1000.0,
        };
        assert_eq!(schedule.due(0), first);
        assert_eq!(schedule.due(2500), first + Duration::from_millis(2500));
    }

    /// A server that stalls once: what was due meanwhile is late, all of it, and not one is left out.
    #[test]
    fn a_stall_is_counted_for_each_request_that_it_delays() {
        const STALL: Duration = Duration::from_millis(200);
        // One request at a time is served.
        let server = Mutex::new(());
        let client = |number| {
            let _turn = server.lock();
            if number == 100 {
                thread::sleep(STALL);
            }
            Ok(())
        };
        let samples = open_loop(vec![client; 2], 1000.0, 500).expect("no errors");
        assert_eq!(samples.len(), 500);
        // Of 500 requests 200 were due in the stall, and half of them waited for more than half of it.
        let half_us = STALL.as_micros() as f64 / 2.0;
        assert!(samples.measured("x").max >= half_us * 1.99);
        assert!(quantile(&samples, 0.85) >= half_us, "{samples:?}");
    }

    /// The same in a closed loop would be one slow request of hundreds; an open loop with a client too few is late as well.
    #[test]
    fn a_server_that_is_too_slow_gets_ever_later() {
        let client = |_| {
            thread::sleep(Duration::from_millis(2));
            Ok(())
        };
        let samples = open_loop(vec![client], 1000.0, 100).expect("no errors");
        let measured = samples.measured("x");
        // The last was due after 100 ms and done after 200 ms.
        assert!(measured.max >= 100_000.0, "{measured:?}");
        assert!(measured.p50 >= 49_000.0, "{measured:?}");
    }

    #[test]
    fn an_error_of_one_client_ends_all() {
        let client = |number| match number {
            7 => Err("seven".into()),
            _ => Ok(()),
        };
        let error = open_loop(vec![client; 3], 1000.0, u64::MAX).expect_err("one of them");
        assert_eq!(error.to_string(), "seven");
        let error = closed_loop(vec![client; 3], Duration::from_secs(3600));
        assert_eq!(error.expect_err("one of them").to_string(), "seven");
    }

    #[test]
    fn nonsense_rates_are_refused() {
        for per_s in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(open_loop(vec![|_| Ok(())], per_s, 1).is_err());
        }
    }

    #[test]
    fn a_closed_loop_does_what_goes() {
        let client = |_| {
            thread::sleep(Duration::from_millis(1));
            Ok(())
        };
        let per_s = closed_loop(vec![client; 4], Duration::from_millis(100)).expect("no errors");
        assert!((10.0..=4000.0).contains(&per_s), "{per_s}");
    }
}
