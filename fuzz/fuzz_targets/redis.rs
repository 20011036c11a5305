//! RESP from both sides: what a server replies, in one piece and cut anywhere, and what a guest says are commands.
#![no_main]

use jiffy_abi::redis::{
    COMMAND_ARGUMENTS_MAX, COMMAND_BYTES_MAX, Commands, REPLY_BYTES_MAX, Scan, commands,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (cut, bytes) = bytes.split_first().unwrap_or((&0, bytes));
    let whole = Scan::new().advance(bytes);
    if let Ok(Some(end)) = whole {
        assert!(end <= bytes.len().min(REPLY_BYTES_MAX));
        // What ends there ends there whatever follows, and not before.
        assert_eq!(Scan::new().advance(&bytes[..end]), Ok(Some(end)));
        assert_eq!(Scan::new().advance(&bytes[..end - 1]), Ok(None));
    }
    let mut scan = Scan::new();
    let cut = bytes.len().min(usize::from(*cut));
    let cut_off = match scan.advance(&bytes[..cut]) {
        Ok(None) => scan.advance(bytes),
        ended => ended,
    };
    assert_eq!(cut_off, whole);
    for command in Commands::new(bytes).flatten() {
        let (_, name) = (
            commands::refusal(command.clone()),
            commands::name(command.clone()),
        );
        assert!(name.to_string().len() <= 4 * 32);
        let (count, len) = command.fold((0, 0), |(count, len), it| (count + 1, len + it.len()));
        assert!((1..=COMMAND_ARGUMENTS_MAX).contains(&count) && len <= COMMAND_BYTES_MAX);
    }
});
