//! Has as much text as an interpreter of a large language, and runs all of it.
#![cfg_attr(not(test), no_std)]

// Instructions that do nothing, and at their end one that returns.
core::arch::global_asm!(
    ".pushsection .text.large, \"ax\", @progbits",
    ".globl large_text",
    "large_text: .fill 56 << 20, 1, 0x90",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    /// All of it.
    safe fn large_text();
}

/// Runs the text and returns the event.
#[jiffy::function]
pub fn run(event: &[u8]) -> &[u8] {
    large_text();
    event
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_returns() {
        assert_eq!(jiffy::testing::call!().event("a").run().text(), "a");
    }
}
