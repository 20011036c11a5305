//! Dates and times as Postgres has them, since 2000, and as RFC 3339 and Postgres write them.

use std::fmt;

const DAY_US: i64 = 86_400_000_000;
const INFINITY: &str = "infinity";
const MINUS_INFINITY: &str = "-infinity";

/// Days since 2000.
pub(super) struct Date(pub(super) i32);

/// Microseconds since midnight.
pub(super) struct Time(pub(super) i64);

/// Microseconds since 2000.
pub(super) struct Timestamp {
    pub(super) since_2000_us: i64,
    /// Otherwise it is of no zone.
    pub(super) is_utc: bool,
}

/// Year, month and day; the year before 1 is 0.
fn civil(days: i64) -> (i64, i64, i64) {
    // Days since March 1 of the year 0, in which leap days come last.
    let days = days + 730_425;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// The date, and whether it is before the year 1, which is said behind it.
fn date(f: &mut fmt::Formatter<'_>, days: i64) -> Result<bool, fmt::Error> {
    let (year, month, day) = civil(days);
    let is_before = year <= 0;
    let year = if is_before { 1 - year } else { year };
    write!(f, "{year:04}-{month:02}-{day:02}")?;
    Ok(is_before)
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            i32::MAX => f.write_str(INFINITY),
            i32::MIN => f.write_str(MINUS_INFINITY),
            days => match date(f, days.into())? {
                true => f.write_str(" BC"),
                false => Ok(()),
            },
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Postgres has 24:00:00, too.
        let us = self.0.clamp(0, DAY_US);
        let seconds = us / 1_000_000;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        write!(f, "{hours:02}:{minutes:02}:{:02}", seconds % 60)?;
        match us % 1_000_000 {
            0 => Ok(()),
            us if us % 1000 == 0 => write!(f, ".{:03}", us / 1000),
            us => write!(f, ".{us:06}"),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.since_2000_us {
            i64::MAX => return f.write_str(INFINITY),
            i64::MIN => return f.write_str(MINUS_INFINITY),
            _ => {}
        }
        let is_before = date(f, self.since_2000_us.div_euclid(DAY_US))?;
        write!(f, "T{}", Time(self.since_2000_us.rem_euclid(DAY_US)))?;
        if self.is_utc {
            f.write_str("Z")?;
        }
        match is_before {
            true => f.write_str(" BC"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, text) in [
            (0, "2000-01-01"),
            (59, "2000-02-29"),
            (60, "2000-03-01"),
            (365, "2000-12-31"),
            (-1, "1999-12-31"),
            (-10_957, "1970-01-01"),
            (8_825, "2024-02-29"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (2_921_940, "10000-01-01"),
            (i32::MAX, "infinity"),
            (i32::MIN, "-infinity"),
        ] {
            assert_eq!(Date(days).to_string(), text);
        }
        // Whatever a server sends.
        for days in [i32::MAX - 1, i32::MIN + 1] {
            assert!(Date(days).to_string().len() > 10);
        }
    }

    #[test]
    fn times_have_no_more_digits_than_they_need() {
        for (us, text) in [
            (0, "2000-01-01T00:00:00Z"),
            (1, "2000-01-01T00:00:00.000001Z"),
            (1_500_000, "2000-01-01T00:00:01.500Z"),
            (-1, "1999-12-31T23:59:59.999999Z"),
            (i64::MAX, "infinity"),
            (i64::MIN, "-infinity"),
        ] {
            let time = Timestamp {
                since_2000_us: us,
                is_utc: true,
            };
            assert_eq!(time.to_string(), text);
        }
        for since_2000_us in [i64::MAX - 1, i64::MIN + 1] {
            let time = Timestamp {
                since_2000_us,
                is_utc: false,
            };
            assert!(time.to_string().len() > 20);
        }
        for (us, text) in [
            (DAY_US, "24:00:00"),
            (-1, "00:00:00"),
            (i64::MAX, "24:00:00"),
        ] {
            assert_eq!(Time(us).to_string(), text);
        }
    }
}
