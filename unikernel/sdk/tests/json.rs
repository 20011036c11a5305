//! A handler that takes and returns JSON, with state and context in the other order than usual.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiffy::Context;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Order<'a> {
    item: &'a str,
    pieces: u32,
}

#[derive(serde::Serialize)]
struct Receipt<'a> {
    item: &'a str,
    cents: u32,
    request: &'a str,
}

#[derive(Debug)]
enum OrderError<T> {
    Unknown(T),
    TooMany(u32),
}

impl fmt::Display for OrderError<&str> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(item) => write!(f, "nobody sells {item:?}"),
            Self::TooMany(pieces) => write!(f, "{pieces} pieces are too many"),
        }
    }
}

type Prices = BTreeMap<String, u32>;
type Answer<'a> = Result<Receipt<'a>, OrderError<&'a str>>;

#[jiffy::init]
fn prices() -> Result<Prices, fmt::Error> {
    Ok([("tea".to_owned(), 250), ("cake".to_owned(), 320)].into())
}

#[jiffy::function]
fn order<'a>(
    Order { item, pieces }: Order<'a>,
    prices: &Prices,
    context: &jiffy::Context<'a>,
) -> Answer<'a> {
    let price = prices.get(item).ok_or(OrderError::Unknown(item))?;
    let cents = price
        .checked_mul(pieces)
        .ok_or(OrderError::TooMany(pieces))?;
    Ok(Receipt {
        item,
        cents,
        request: context.request_id(),
    })
}

/// The context's other facts; here because a crate has one handler.
fn check_context(context: &Context) {
    assert_eq!(context.deadline(), None);
    assert_eq!(context.remaining(), None);
}

#[test]
fn a_value_becomes_json() {
    let call = jiffy::testing::call!()
        .event(r#"{"item":"tea","pieces":2}"#)
        .request_id("r-1");
    assert_eq!(
        call.run().text(),
        r#"{"item":"tea","cents":500,"request":"r-1"}"#
    );
}

#[test]
fn an_error_becomes_its_type_and_text() {
    let error = jiffy::testing::call!()
        .event(r#"{"item":"gold","pieces":1}"#)
        .run()
        .error();
    assert_eq!(error.error_type, "OrderError");
    assert_eq!(error.message, r#"nobody sells "gold""#);
    let error = jiffy::testing::call!()
        .event(r#"{"item":"tea","pieces":4294967295}"#)
        .run();
    assert_eq!(error.error().message, "4294967295 pieces are too many");
}

#[test]
fn an_event_that_does_not_parse_is_told_why() {
    let check = |event: &str, why: &str| {
        let told = jiffy::testing::call!().event(event).run().bad_event();
        assert_eq!(told, format!("event does not parse: {why}"));
    };
    check(
        "",
        "invalid type: null, expected struct Order at line 1 column 4",
    );
    check("{", "EOF while parsing an object at line 1 column 1");
    check(
        r#"{"item":"tea"}"#,
        "missing field `pieces` at line 1 column 14",
    );
    check(
        r#"{"item":"tea","pieces":1}x"#,
        "trailing characters at line 1 column 26",
    );
    check("\u{feff}", "expected value at line 1 column 1");
    let told = jiffy::testing::call!().event([0xff]).run().bad_event();
    assert!(
        told.starts_with("event does not parse: expected value"),
        "{told}"
    );
}

#[test]
fn an_http_request_lends_its_body() {
    let body = r#"{"item":"cake","pieces":1}"#;
    let request = jiffy::http::Request::builder()
        .method("PUT")
        .body(body)
        .expect("valid");
    let text = jiffy::testing::call!().http(request).run().text();
    assert_eq!(text, r#"{"item":"cake","cents":320,"request":""}"#);
}

mod clocks {
    use super::*;
    use jiffy::random::Rng;
    use jiffy::time::{Instant, SystemTime, sleep};

    #[jiffy::function]
    fn clocks(nap_ms: u64, context: &Context) -> (u64, u128, u128, u64) {
        if nap_ms == 0 {
            check_context(context);
        }
        let (start, wall) = (Instant::now(), SystemTime::now());
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(
            (start, wall),
            (Instant::now(), SystemTime::now()),
            "time stands still"
        );
        sleep(Duration::from_millis(nap_ms));
        let left = context.remaining().unwrap_or_default().as_millis();
        let slept = start.elapsed().as_millis();
        (
            wall.unix_seconds(),
            slept,
            left,
            jiffy::random::Random.next_u64(),
        )
    }

    #[test]
    fn time_and_randomness_are_the_call_s() {
        let call = || jiffy::testing::Call::new(__jiffy_function).at(Duration::from_secs(99));
        let nap = || {
            call()
                .event("400")
                .timeout(Duration::from_millis(1000))
                .seed(7)
        };
        assert!(nap().run().text().starts_with("[99,400,600,"));
        assert_eq!(nap().run(), nap().run());
        assert_ne!(nap().seed(8).run(), nap().run());
        assert_ne!(
            call().event("0").run(),
            call().event("0").run(),
            "nobody knows the seed"
        );
        assert!(
            call()
                .event("5000")
                .timeout(Duration::from_secs(1))
                .run()
                .text()
                .contains(",0,")
        );
    }
}

mod maps {
    use super::*;

    #[jiffy::function]
    fn pairs(_event: ()) -> BTreeMap<(u8, u8), u8> {
        [((1, 2), 3)].into()
    }

    #[test]
    fn what_json_cannot_say_is_an_error() {
        let error = jiffy::testing::Call::new(__jiffy_function).run().error();
        assert_eq!(
            (&*error.error_type, &*error.message),
            ("SerializeError", "key must be a string")
        );
    }
}

mod doubles {
    #[jiffy::function]
    fn doubles(numbers: Vec<f64>) -> Vec<f64> {
        numbers
    }

    mod values {
        #[jiffy::function]
        fn values(value: serde_json::Value) -> serde_json::Value {
            value
        }
    }

    /// Every bit pattern that is a finite number is as likely as any other (Vigna's SplitMix64).
    fn random(count: usize) -> Vec<f64> {
        let mut state = 0_u64;
        let numbers = std::iter::from_fn(|| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Some(f64::from_bits(mixed ^ (mixed >> 31)))
        });
        numbers
            .filter(|number| number.is_finite())
            .take(count)
            .collect()
    }

    #[test]
    fn no_double_changes_on_its_way_in_and_out() {
        let mut numbers = vec![117.633_311_394_000_17, 0.1, 5e-324, f64::MAX, -0.0];
        numbers.extend(random(20_000));
        let event = serde_json::to_string(&numbers).expect("JSON");
        for function in [__jiffy_function, values::__jiffy_function] {
            let answer = jiffy::testing::Call::new(function).event(&event).run();
            // Compared as text: the parser of the test must not undo what that of the SDK did.
            assert_eq!(answer.text(), event);
        }
    }
}
