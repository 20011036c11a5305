//! Sends back what it gets.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::vec::Vec;

/// Returns the event as it came.
#[jiffy::function]
pub fn echo(event: &[u8]) -> Vec<u8> {
    event.to_vec()
}

#[cfg(test)]
mod tests {
    #[test]
    fn everything_comes_back() {
        for event in ["", "jiffy", "\0\n\u{7f}", "größer"] {
            assert_eq!(jiffy::testing::call!().event(event).run().text(), event);
        }
        let all_bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(
            jiffy::testing::call!().event(&all_bytes).run().ok(),
            all_bytes
        );
    }
}
