//! Charges an order at Stripe, once, however often it is asked to. The key is in the host, which puts it into the request: this code
//! never has it, so neither its log nor its errors can.
//!
//! What is not answered may have been charged or not. So every charge of an order has the same idempotency key, by which Stripe
//! knows it again; and the errors tell what was surely not charged from what may have been.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
};
use core::time::Duration;

use jiffy::{
    call::{CallError, CallErrorKind, Sent},
    http::{self, Response},
};
use serde::{Deserialize, Serialize};

/// Where it is, unless the variable `STRIPE` names another place, as a test does.
const STRIPE: &str = "https://api.stripe.com";
/// What a charge may take. It is asked for at most so often, and only if nothing was sent before.
const CHARGE_TIME_MAX: Duration = Duration::from_secs(8);
const TRIES_MAX: u32 = 3;
const CENTS_MAX: u64 = 99_999_999;

/// What is to be paid.
#[derive(Deserialize)]
pub struct Order {
    /// Never used for another order: the same one is charged once.
    order: String,
    cents: u64,
    /// Such as `eur`.
    currency: String,
    /// What Stripe gave the customer's browser for the card, such as `pm_card_visa`.
    method: String,
}

/// What was paid.
#[derive(Serialize)]
pub struct Paid {
    payment: String,
}

/// Why an order is not paid, or is not known to be.
#[derive(Debug, PartialEq, Eq)]
enum PayError {
    /// It is no order that can be charged.
    Invalid(&'static str),
    /// The customer has to pay otherwise.
    Declined(String),
    /// Surely not charged: it can be tried again.
    NotCharged(String),
    /// It may have been charged. Ask again for the same order, which is charged once; never make another of it.
    Unknown(String),
    /// Not the customer's fault, and no use to try again: a key, a grant, or this code.
    Broken(String),
}

/// What the caller tells them by.
impl From<PayError> for jiffy::Error {
    fn from(error: PayError) -> Self {
        match error {
            PayError::Invalid(rule) => Self::new("Invalid", rule),
            PayError::Declined(why) => Self::new("Declined", why),
            PayError::NotCharged(why) => Self::new("NotCharged", why),
            PayError::Unknown(why) => Self::new("Unknown", why),
            PayError::Broken(why) => Self::new("Broken", why),
        }
    }
}

/// Pays an order.
#[jiffy::function]
pub fn pay(order: Order) -> Result<Paid, jiffy::Error> {
    check(&order)?;
    let result = match charge(&order) {
        Ok(response) => read(&response),
        Err(error) => Err(not_answered(&error)),
    };
    match &result {
        Ok(paid) => jiffy::log!("{}: paid by {}", order.order, paid.payment),
        Err(error) => jiffy::log::warn!("{}: {error:?}", order.order),
    }
    Ok(result?)
}

/// What is left needs no escaping, neither in a form nor in a header.
fn check(order: &Order) -> Result<(), PayError> {
    let is_name = |text: &str| {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=64).contains(&text.len()) && text.bytes().all(is_of_name)
    };
    let is_currency =
        |text: &str| text.len() == 3 && text.bytes().all(|it| it.is_ascii_lowercase());
    match order {
        Order { order, .. } if !is_name(order) => Err(PayError::Invalid(
            "an order is 1 to 64 letters, digits, - and _",
        )),
        Order { method, .. } if !is_name(method) => Err(PayError::Invalid(
            "a method is 1 to 64 letters, digits, - and _",
        )),
        Order { currency, .. } if !is_currency(currency) => {
            Err(PayError::Invalid("a currency is three small letters"))
        }
        Order { cents, .. } if !(1..=CENTS_MAX).contains(cents) => {
            Err(PayError::Invalid("cents are 1 to 99999999"))
        }
        _ => Ok(()),
    }
}

/// Asks for the charge, and again if nothing of it has left the host.
fn charge(order: &Order) -> Result<Response, CallError> {
    let Order {
        order,
        cents,
        currency,
        method,
    } = order;
    let url = format!(
        "{}/v1/payment_intents",
        jiffy::env::var("STRIPE").unwrap_or(STRIPE)
    );
    let form = format!(
        "amount={cents}&currency={currency}&payment_method={method}&confirm=true&error_on_requires_action=true&metadata[order]={order}"
    );
    let mut tries = 0;
    loop {
        let request = http::post(&url)
            .secret("stripe")
            .header("idempotency-key", format!("order-{order}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.as_str());
        tries += 1;
        match request.timeout(CHARGE_TIME_MAX).send() {
            Err(error) if error.sent() == Sent::No && may_pass(&error) && tries < TRIES_MAX => {}
            result => return result,
        }
    }
}

/// Whether the same call may come to something else.
fn may_pass(error: &CallError) -> bool {
    use CallErrorKind::{Failed, Limit, Timeout};
    matches!(error.kind(), Failed | Limit | Timeout)
}

fn not_answered(error: &CallError) -> PayError {
    match error.sent() {
        Sent::No if may_pass(error) => PayError::NotCharged(error.to_string()),
        Sent::No => PayError::Broken(error.to_string()),
        Sent::Maybe | Sent::Yes => PayError::Unknown(error.to_string()),
    }
}

/// As much of an answer as matters here.
#[derive(Default, Deserialize)]
struct Answer {
    #[serde(default)]
    id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    error: Problem,
}

#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    message: String,
}

fn read(response: &Response) -> Result<Paid, PayError> {
    let status = response.status().as_u16();
    // Whatever stands before Stripe may answer something else.
    let answer: Answer = response.json().unwrap_or_default();
    let why = format!(
        "status {status} {}: {}",
        answer.status, answer.error.message
    );
    match status {
        200 if answer.status == "succeeded" => Ok(Paid { payment: answer.id }),
        402 => Err(PayError::Declined(answer.error.message)),
        429 => Err(PayError::NotCharged(why)),
        // A charge of this order is under way.
        409 => Err(PayError::Unknown(why)),
        400..=499 => Err(PayError::Broken(why)),
        _ => Err(PayError::Unknown(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiffy::testing::{Call, call};

    const URL: &str = "https://api.stripe.com/v1/payment_intents";
    const PAID: &str = r#"{"id":"pi_1","status":"succeeded"}"#;

    fn order() -> Call {
        call!().event(r#"{"order":"A-17","cents":1999,"currency":"eur","method":"pm_card_visa"}"#)
    }

    fn answer(call: Call, status: u16, body: &str) -> Call {
        call.http_call("POST", URL, status, body)
            .with_secret("stripe")
    }

    fn fails(call: Call, kind: CallErrorKind, sent: Sent) -> Call {
        let error = CallError::new(kind, sent, "no answer");
        call.http_call_fails("POST", URL, error)
            .with_secret("stripe")
    }

    #[track_caller]
    fn check_error(call: Call, error_type: &str) {
        let error = call.run().error();
        assert_eq!(error.error_type, error_type, "{}", error.message);
    }

    #[test]
    fn an_order_is_paid_with_a_key_that_the_host_has() {
        assert_eq!(
            answer(order(), 200, PAID).run().text(),
            r#"{"payment":"pi_1"}"#
        );
    }

    /// The stand-in gives one answer after the other: a try too many would be paid, and one too few an error.
    #[test]
    fn only_what_was_not_sent_is_tried_again() {
        let call = fails(order(), CallErrorKind::Failed, Sent::No);
        let call = fails(call, CallErrorKind::Timeout, Sent::No);
        assert_eq!(
            answer(call, 200, PAID).run().text(),
            r#"{"payment":"pi_1"}"#
        );
        for sent in [Sent::Maybe, Sent::Yes] {
            let call = fails(order(), CallErrorKind::Timeout, sent);
            check_error(answer(call, 200, PAID), "Unknown");
        }
        let call = fails(order(), CallErrorKind::Denied, Sent::No);
        check_error(answer(call, 200, PAID), "Broken");
        check_error(
            fails(order(), CallErrorKind::Failed, Sent::No),
            "NotCharged",
        );
    }

    #[test]
    fn each_answer_has_its_error() {
        for (status, body, error_type) in [
            (
                402,
                r#"{"error":{"message":"Your card was declined."}}"#,
                "Declined",
            ),
            (401, r#"{"error":{"message":"Invalid API Key"}}"#, "Broken"),
            (409, "{}", "Unknown"),
            (429, "{}", "NotCharged"),
            (500, "<html>", "Unknown"),
            (200, "<html>", "Unknown"),
            (200, r#"{"id":"pi_1","status":"processing"}"#, "Unknown"),
        ] {
            check_error(answer(order(), status, body), error_type);
        }
    }

    #[test]
    fn what_is_no_order_is_not_charged() {
        for (order, cents, currency, method) in [
            ("", 1, "eur", "pm_1"),
            ("A&amount=1", 1, "eur", "pm_1"),
            ("A-17", 0, "eur", "pm_1"),
            ("A-17", CENTS_MAX + 1, "eur", "pm_1"),
            ("A-17", 1, "EUR", "pm_1"),
            ("A-17", 1, "eur", "pm 1"),
        ] {
            let event = format!(
                r#"{{"order":"{order}","cents":{cents},"currency":"{currency}","method":"{method}"}}"#
            );
            check_error(call!().event(event), "Invalid");
        }
    }
}
