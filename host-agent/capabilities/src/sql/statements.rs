//! Statements that a connection keeps prepared, by their text: those that were used last, within limits.

use std::{collections::HashMap, time::Instant};

use tokio_postgres::Statement;

/// Statements at most.
pub(super) const KEPT_STATEMENTS_MAX: usize = 100;
/// Bytes of all of them at most: of their text, and of what the database said when it described them, which is kept too.
pub(super) const KEPT_STATEMENTS_BYTES_MAX: usize = 256 << 10;
/// The same of one.
pub(super) const KEPT_STATEMENT_BYTES_MAX: usize = 32 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Statements<T = Statement> {
    all: HashMap<String, Kept<T>>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept<T> {
    statement: T,
    bytes: usize,
    used: Instant,
}

impl<T> Default for Statements<T> {
    fn default() -> Self {
        Self {
            all: HashMap::new(),
            bytes: 0,
        }
    }
}

impl<T: Clone> Statements<T> {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&mut self, sql: &str) -> Option<T> {
        let kept = self.all.get_mut(sql)?;
        kept.used = Instant::now();
        Some(kept.statement.clone())
    }

    /// Keeps one, unless it is too large. Those that were used longest ago go for it.
    pub(super) fn keep(&mut self, sql: &str, statement: T, described_bytes: usize) {
        self.remove(sql);
        let bytes = sql.len() + described_bytes;
        if bytes > KEPT_STATEMENT_BYTES_MAX {
            return;
        }
        while self.all.len() >= KEPT_STATEMENTS_MAX
            || self.bytes + bytes > KEPT_STATEMENTS_BYTES_MAX
        {
            let oldest = self.all.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(sql, _)| sql.clone()) else {
                return;
            };
            self.remove(&oldest);
        }
        self.bytes += bytes;
        let used = Instant::now();
        let kept = Kept {
            statement,
            bytes,
            used,
        };
        self.all.insert(sql.to_owned(), kept);
    }

    pub(super) fn remove(&mut self, sql: &str) {
        if let Some(kept) = self.all.remove(sql) {
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_used_last_are_kept() {
        let mut statements = Statements::default();
        for number in 0..KEPT_STATEMENTS_MAX {
            statements.keep(&number.to_string(), number, 1);
        }
        assert_eq!(statements.len(), KEPT_STATEMENTS_MAX);
        assert_eq!(statements.get("0"), Some(0));
        statements.keep("one more", 1000, 1);
        assert_eq!(statements.len(), KEPT_STATEMENTS_MAX);
        assert_eq!((statements.get("0"), statements.get("1")), (Some(0), None));
        statements.remove("0");
        statements.remove("0");
        assert_eq!(statements.get("0"), None);
    }

    #[test]
    fn they_are_counted_with_what_is_said_of_them() {
        let mut statements = Statements::default();
        let largest = KEPT_STATEMENT_BYTES_MAX - 1;
        statements.keep("a", 0, largest + 1);
        assert_eq!(statements.len(), 0);
        for number in 0..9 {
            // Once more is not twice.
            statements.keep(&number.to_string(), number, largest);
            statements.keep(&number.to_string(), number, largest);
        }
        assert_eq!(statements.len(), 8);
        assert_eq!((statements.get("0"), statements.get("8")), (None, Some(8)));
        for number in 0..9 {
            statements.remove(&number.to_string());
        }
        assert_eq!((statements.len(), statements.bytes), (0, 0));
    }
}
