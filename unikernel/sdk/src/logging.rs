//! The function's log: `jiffy::log!` and the backend of the `log` crate.

use core::fmt;

use jiffy_abi::log_ring::Level;
use log::{LevelFilter, Log, Metadata, Record};

use crate::platform;

/// What `jiffy::log!` expands to.
pub fn log_info(text: fmt::Arguments<'_>) {
    platform::log(Level::Info, text);
}

struct Backend;

impl Log for Backend {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            platform::log(level_of(record.level()), *record.args());
        }
    }

    fn flush(&self) {}
}

/// Makes the `log` crate's macros write to the function's log, at level Info and above. Elsewhere
/// than in an image somebody may have installed another backend, which then stays.
pub(crate) fn install() {
    if log::set_logger(&Backend).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

fn level_of(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::Error,
        log::Level::Warn => Level::Warn,
        log::Level::Info => Level::Info,
        log::Level::Debug => Level::Debug,
        log::Level::Trace => Level::Trace,
    }
}
