//! Asks several shops for the price of an article, all at once, and answers with the best that came in time. A shop that is
//! slow, broken or does not have it costs the others nothing.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use jiffy::http;
use serde::{Deserialize, Serialize};

/// The shops, unless the variable of this name has others.
const SHOPS: &str = "https://red.shop.example https://green.shop.example https://blue.shop.example";
/// What a shop may take.
const SHOP_TIME_MAX: Duration = Duration::from_millis(800);

/// What is looked for.
#[derive(Deserialize)]
pub struct Wanted {
    article: String,
}

/// What a shop says.
#[derive(Deserialize)]
struct Price {
    cents: u64,
}

/// What is answered.
#[derive(Serialize)]
pub struct Quote {
    shop: String,
    cents: u64,
    /// Shops that said nothing useful, and why.
    silent: Vec<String>,
}

/// The best price of all shops.
#[jiffy::function]
pub fn quote(wanted: Wanted) -> Result<Quote, String> {
    let is_article = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !wanted.article.bytes().all(is_article) {
        return Err("an article is letters, digits and hyphens".into());
    }
    let shops = jiffy::env::var("SHOPS").unwrap_or(SHOPS);
    let asked = shops.split(' ').map(|shop| {
        let url = format!("{shop}/prices/{}", wanted.article);
        (shop, http::get(&url).timeout(SHOP_TIME_MAX).start())
    });
    // All of them are started before the first is waited for.
    let asked: Vec<_> = asked.collect();
    let (mut best, mut silent) = (None::<(u64, &str)>, Vec::new());
    for (shop, answer) in asked {
        let price = match answer.wait() {
            Ok(answer) if answer.status().is_success() => answer
                .json::<Price>()
                .map_err(|error| format!("{shop}: {error}")),
            Ok(answer) => Err(format!("{shop}: status {}", answer.status())),
            Err(error) => Err(format!("{shop}: {error}")),
        };
        match price {
            Ok(price) if best.is_none_or(|(cents, _)| price.cents < cents) => {
                best = Some((price.cents, shop));
            }
            Ok(_) => {}
            Err(why) => silent.push(why),
        }
    }
    let (cents, shop) = best.ok_or_else(|| silent.join("; "))?;
    Ok(Quote {
        shop: shop.to_string(),
        cents,
        silent,
    })
}

#[cfg(test)]
mod tests {
    use jiffy::call::{CallError, CallErrorKind, Sent};
    use jiffy::testing::{Call, call};

    fn ask() -> Call {
        call!().event(r#"{"article":"pen-7"}"#)
    }

    const RED: &str = "https://red.shop.example/prices/pen-7";
    const GREEN: &str = "https://green.shop.example/prices/pen-7";
    const BLUE: &str = "https://blue.shop.example/prices/pen-7";

    #[test]
    fn the_best_price_is_answered() {
        let outcome = ask()
            .http_call("GET", RED, 200, r#"{"cents":120}"#)
            .http_call("GET", GREEN, 200, r#"{"cents":95}"#)
            .http_call("GET", BLUE, 200, r#"{"cents":110}"#)
            .run();
        let expected = r#"{"shop":"https://green.shop.example","cents":95,"silent":[]}"#;
        assert_eq!(outcome.text(), expected);
    }

    #[test]
    fn a_shop_that_fails_costs_the_others_nothing() {
        let late = CallError::new(CallErrorKind::Timeout, Sent::Maybe, "too late");
        let outcome = ask()
            .http_call_fails("GET", RED, late)
            .http_call("GET", GREEN, 404, "")
            .http_call("GET", BLUE, 200, r#"{"cents":110}"#)
            .run();
        let expected = r#"{"shop":"https://blue.shop.example","cents":110,"silent":["https://red.shop.example: too late","https://green.shop.example: status 404"]}"#;
        assert_eq!(outcome.text(), expected);
    }
}
