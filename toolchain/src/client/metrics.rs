//! Gauges of a scrape: as much of the text format as a value without labels takes.

/// The value of the metric `name`, which has no labels; `None` if it is not there.
pub(super) fn gauge(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(' ')?;
        value.split(' ').next()
    })?;
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        let text = "# TYPE jiffy_vms_idle gauge\njiffy_vms_idle_seconds 1\njiffy_vms_idle 7\na{b=\"c\"} 2\nd 1.5\n";
        assert_eq!(gauge(text, "jiffy_vms_idle"), Some(7));
        assert_eq!(gauge(text, "jiffy_vms"), None);
        assert_eq!(gauge(text, "a"), None);
        assert_eq!(gauge(text, "d"), None);
    }
}
