//! `time`.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

tests! {
    duration_parts duration_checked duration_saturating duration_from_floats duration_try_from_floats duration_to_floats
    duration_scaled duration_divided duration_debug duration_debug_precision duration_compares_and_sums duration_abs_diff
    duration_as_wholes instants_go_on instant_arithmetic instant_saturates system_time_arithmetic system_time_before_the_epoch
    system_time_edges sleep_takes_its_time sleep_of_nothing sleep_until_then elapsed now_is_after_2023 instants_as_durations
}

const MS: Duration = Duration::from_millis(1);

fn duration_parts() {
    let duration = Duration::new(5, 1_234_567_890);
    assert_eq!(
        (duration.as_secs(), duration.subsec_nanos()),
        (6, 234_567_890)
    );
    assert_eq!(
        (duration.subsec_millis(), duration.subsec_micros()),
        (234, 234_567)
    );
    assert_eq!(Duration::from_millis(1500), Duration::new(1, 500_000_000));
    assert_eq!(Duration::from_micros(2_000_001), Duration::new(2, 1000));
    assert_eq!(
        Duration::from_nanos(u64::MAX).as_nanos(),
        u128::from(u64::MAX)
    );
    assert_eq!(Duration::MAX.as_secs(), u64::MAX);
}

fn duration_as_wholes() {
    assert_eq!(
        Duration::MAX.as_nanos(),
        u128::from(u64::MAX) * 1_000_000_000 + 999_999_999
    );
    assert_eq!(Duration::new(1, 999_999_999).as_millis(), 1999);
    assert_eq!(Duration::new(1, 999_999_999).as_micros(), 1_999_999);
    assert!(Duration::ZERO.is_zero() && !Duration::from_nanos(1).is_zero());
}

fn duration_checked() {
    assert_eq!(Duration::MAX.checked_add(Duration::from_nanos(1)), None);
    assert_eq!(Duration::ZERO.checked_sub(Duration::from_nanos(1)), None);
    assert_eq!(
        Duration::new(1, 0).checked_sub(Duration::from_nanos(1)),
        Some(Duration::new(0, 999_999_999))
    );
    assert_eq!(Duration::MAX.checked_mul(2), None);
    assert_eq!(Duration::new(2, 0).checked_div(0), None);
    assert_eq!(
        Duration::new(2, 500_000_000).checked_mul(3),
        Some(Duration::new(7, 500_000_000))
    );
}

fn duration_saturating() {
    assert_eq!(Duration::MAX.saturating_add(MS), Duration::MAX);
    assert_eq!(MS.saturating_sub(2 * MS), Duration::ZERO);
    assert_eq!(Duration::MAX.saturating_mul(7), Duration::MAX);
}

fn duration_from_floats() {
    assert_eq!(Duration::from_secs_f64(2.7), Duration::new(2, 700_000_000));
    assert_eq!(Duration::from_secs_f64(1e-9), Duration::from_nanos(1));
    // To the nearest.
    assert_eq!(Duration::from_secs_f64(0.4e-9), Duration::ZERO);
    assert_eq!(Duration::from_secs_f64(0.6e-9), Duration::from_nanos(1));
    assert_eq!(Duration::from_secs_f32(0.5), Duration::from_millis(500));
    assert_eq!(
        Duration::from_secs_f64(0.999_999_999_9),
        Duration::from_secs(1)
    );
}

fn duration_try_from_floats() {
    for bad in [-1.0, f64::NAN, f64::INFINITY, 1e20, -1e-9] {
        assert!(Duration::try_from_secs_f64(bad).is_err(), "{bad}");
    }
    assert_eq!(Duration::try_from_secs_f64(-0.0), Ok(Duration::ZERO));
}

fn duration_to_floats() {
    assert_eq!(Duration::new(2, 500_000_000).as_secs_f64(), 2.5);
    assert_eq!(Duration::from_millis(250).as_secs_f32(), 0.25);
    assert_eq!(
        Duration::from_secs(3).div_duration_f64(Duration::from_secs(2)),
        1.5
    );
}

fn duration_scaled() {
    assert_eq!(
        Duration::from_secs(3).mul_f64(0.5),
        Duration::from_millis(1500)
    );
    assert_eq!(Duration::from_secs(3).div_f64(0.5), Duration::from_secs(6));
    assert_eq!(3 * Duration::from_secs(2), Duration::from_secs(2) * 3);
}

fn duration_divided() {
    assert_eq!(Duration::from_secs(10) / 4, Duration::from_millis(2500));
    assert_eq!(Duration::new(1, 1) / 2, Duration::from_nanos(500_000_000));
    let mut duration = Duration::from_secs(4);
    duration /= 8;
    duration *= 3;
    duration += MS;
    duration -= 2 * MS;
    assert_eq!(duration, Duration::from_millis(1499));
}

fn duration_debug() {
    for (duration, text) in [
        (Duration::ZERO, "0ns"),
        (Duration::from_nanos(999), "999ns"),
        (Duration::from_nanos(1500), "1.5µs"),
        (Duration::from_micros(1_000), "1ms"),
        (Duration::new(0, 100_000_001), "100.000001ms"),
        (Duration::new(3, 10), "3.00000001s"),
        (
            Duration::new(u64::MAX, 999_999_999),
            "18446744073709551615.999999999s",
        ),
    ] {
        assert_eq!(format!("{duration:?}"), text);
    }
}

fn duration_debug_precision() {
    assert_eq!(format!("{:.0?}", Duration::from_millis(1500)), "2s");
    assert_eq!(format!("{:.2?}", Duration::new(1, 999_999_999)), "2.00s");
    assert_eq!(format!("{:.3?}", Duration::from_nanos(1234)), "1.234µs");
    assert_eq!(
        format!(
            "{:>10?}|{:<8?}|{:^9.1?}",
            Duration::from_secs(1),
            MS,
            Duration::from_micros(15)
        ),
        "        1s|1ms     | 15.0µs  "
    );
    assert_eq!(format!("{:+?}", MS), "+1ms");
}

fn duration_compares_and_sums() {
    assert!(Duration::new(1, 0) > Duration::new(0, 999_999_999));
    let sum: Duration = [MS, 2 * MS, 3 * MS].iter().sum();
    assert_eq!(sum, 6 * MS);
}

fn duration_abs_diff() {
    assert_eq!(MS.abs_diff(4 * MS), 3 * MS);
    assert_eq!((4 * MS).abs_diff(MS), 3 * MS);
}

fn instants_go_on() {
    let mut last = Instant::now();
    for _ in 0..1000 {
        let now = Instant::now();
        assert!(now >= last);
        last = now;
    }
}

fn instant_arithmetic() {
    let start = Instant::now();
    let later = start + Duration::from_secs(10);
    assert_eq!(later - start, Duration::from_secs(10));
    assert_eq!(later - Duration::from_secs(10), start);
    assert_eq!(
        later.checked_duration_since(start),
        Some(Duration::from_secs(10))
    );
    assert_eq!(start.checked_duration_since(later), None);
    assert_eq!(start.checked_add(Duration::MAX), None);
    assert_eq!(start.checked_sub(Duration::MAX), None);
    assert!(later > start);
}

fn instant_saturates() {
    let start = Instant::now();
    assert_eq!(start.duration_since(start + MS), Duration::ZERO);
    assert_eq!(start.saturating_duration_since(start + MS), Duration::ZERO);
    assert_eq!(start - (start + MS), Duration::ZERO);
}

fn instants_as_durations() {
    let (one, other) = (Instant::now(), Instant::now());
    assert_eq!(other.duration_since(one), other - one);
}

fn system_time_arithmetic() {
    let then = UNIX_EPOCH + Duration::new(1_700_000_000, 5);
    assert_eq!(
        then.duration_since(UNIX_EPOCH).ok(),
        Some(Duration::new(1_700_000_000, 5))
    );
    let error = UNIX_EPOCH.duration_since(then).expect_err("it is before");
    assert_eq!(error.duration(), Duration::new(1_700_000_000, 5));
    assert_eq!(
        then - Duration::from_nanos(5),
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    );
}

fn system_time_before_the_epoch() {
    let before = UNIX_EPOCH - Duration::new(1, 500_000_000);
    assert_eq!(
        UNIX_EPOCH.duration_since(before).ok(),
        Some(Duration::from_millis(1500))
    );
    assert!(before < UNIX_EPOCH);
    assert_eq!(
        before + Duration::from_secs(2),
        UNIX_EPOCH + Duration::from_millis(500)
    );
}

fn system_time_edges() {
    assert_eq!(UNIX_EPOCH.checked_add(Duration::MAX), None);
    assert_eq!(UNIX_EPOCH.checked_sub(Duration::MAX), None);
    let far = UNIX_EPOCH
        .checked_add(Duration::new(i64::MAX as u64, 999_999_999))
        .expect("the last");
    assert_eq!(far.checked_add(Duration::from_nanos(1)), None);
}

fn now_is_after_2023() {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    assert!(since > Duration::from_secs(1_700_000_000) && since < Duration::from_secs(1 << 33));
}

fn sleep_takes_its_time() {
    let (start, of_day) = (Instant::now(), SystemTime::now());
    thread::sleep(7 * MS);
    let slept = start.elapsed();
    assert!(
        slept >= 7 * MS && slept < Duration::from_secs(30),
        "{slept:?}"
    );
    assert!(of_day.elapsed().expect("later") >= 6 * MS);
}

fn sleep_of_nothing() {
    let start = Instant::now();
    for _ in 0..100 {
        thread::sleep(Duration::ZERO);
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

fn sleep_until_then() {
    let then = Instant::now() + 3 * MS;
    while let Some(left) = then
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        thread::sleep(left);
    }
    assert!(Instant::now() >= then);
}

fn elapsed() {
    let start = Instant::now();
    thread::sleep(MS);
    assert!(start.elapsed() >= MS);
    assert!((start + Duration::from_secs(60)).elapsed() == Duration::ZERO);
}
