//! Handlers that take and return bytes, and the limits of replies.

use jiffy::testing::Call;

mod lent {
    type Bytes<'a> = &'a [u8];

    #[jiffy::function]
    fn reverse(event: Bytes<'_>) -> Vec<u8> {
        event.iter().rev().copied().collect()
    }
}

mod owned {
    #[jiffy::function]
    fn sort(mut event: Vec<u8>) -> Result<Vec<u8>, String> {
        if event.is_empty() {
            return Err("nothing to sort".into());
        }
        event.sort_unstable();
        Ok(event)
    }
}

mod part {
    #[jiffy::function]
    fn tail<'a>(
        event: &'a [u8],
        _context: &jiffy::Context,
    ) -> Result<&'a [u8], core::str::Utf8Error> {
        let text = str::from_utf8(event)?;
        Ok(text.split_once(' ').map_or("", |(_, tail)| tail).as_bytes())
    }
}

mod large {
    #[jiffy::function]
    fn zeros(len_bytes: usize) -> Vec<u8> {
        vec![0; len_bytes]
    }
}

#[test]
fn bytes_are_passed_as_they_are() {
    assert_eq!(
        Call::new(lent::__jiffy_function)
            .event([1, 0, 0xff])
            .run()
            .ok(),
        [0xff, 0, 1]
    );
    assert_eq!(Call::new(lent::__jiffy_function).run().text(), "");
    assert_eq!(
        Call::new(owned::__jiffy_function)
            .event("jiffy")
            .run()
            .text(),
        "ffijy"
    );
    assert_eq!(
        Call::new(part::__jiffy_function)
            .event("a b c")
            .run()
            .text(),
        "b c"
    );
}

#[test]
fn errors_are_named() {
    let error = Call::new(owned::__jiffy_function).run().error();
    assert_eq!(
        (&*error.error_type, &*error.message),
        ("String", "nothing to sort")
    );
    let error = Call::new(part::__jiffy_function)
        .event([0xff])
        .run()
        .error();
    assert_eq!(error.error_type, "Utf8Error");
}

#[test]
fn a_response_is_at_most_16_mib() {
    let zeros = |len: usize| {
        Call::new(large::__jiffy_function)
            .event(len.to_string())
            .run()
    };
    assert_eq!(zeros(16 << 20).ok().len(), 16 << 20);
    let error = zeros((16 << 20) + 1).error();
    assert_eq!(error.error_type, "ResponseTooLarge");
    assert_eq!(
        error.message,
        "the response has 16777217 bytes: return at most 16777216"
    );
}

mod failing_init {
    #[jiffy::init]
    fn setup() -> Result<u32, &'static str> {
        Err("no table")
    }

    #[jiffy::function]
    fn table(_event: &[u8], table: &u32) -> u32 {
        *table
    }

    #[test]
    fn the_text_of_a_failed_init_is_told() {
        assert_eq!(__jiffy_init(), Err("no table".into()));
    }

    #[test]
    #[should_panic(expected = "init failed: no table")]
    fn a_test_that_needs_the_state_fails() {
        jiffy::testing::Call::new(__jiffy_function).run();
    }
}
