//! What each principal may, and who is which.

use axum::{body::Body, http::HeaderValue};

use super::*;
use crate::config::FileConfig;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn config(has_token: bool, has_key: bool) -> Config {
    let mut config = Config::new(FileConfig::default()).expect("valid");
    config.token = has_token.then(|| TOKEN.to_owned().into());
    if has_key {
        config.lambda_keys = vec![("ID".into(), "secret".to_owned().into())];
    }
    config
}

#[test]
fn only_a_visitor_is_kept_to_what_is_public() {
    for scope in [
        Scope::Public,
        Scope::Read,
        Scope::Invoke,
        Scope::Data,
        Scope::Secrets,
        Scope::Deploy,
    ] {
        for principal in [
            Principal::Operator,
            Principal::Anonymous,
            Principal::KeyHolder,
        ] {
            assert!(principal.may(scope), "{principal:?} {scope:?}");
        }
        assert_eq!(Principal::Visitor.may(scope), scope == Scope::Public);
    }
}

#[test]
fn a_token_makes_an_operator_and_everybody_else_a_visitor() {
    let sent = |values: &[&str], config: &Config| {
        let mut request = Request::new(Body::empty());
        let peer = IpAddr::from([127, 0, 0, 1]);
        request.extensions_mut().insert(Caller::new(peer, false));
        for value in values {
            let value = HeaderValue::from_str(value).expect("a value");
            request.headers_mut().append(header::AUTHORIZATION, value);
        }
        let request = authenticate(request, config);
        request
            .extensions()
            .get::<Caller>()
            .expect("there")
            .principal
    };
    let (open, closed) = (config(false, true), config(true, true));
    let right = format!("Bearer {TOKEN}");
    for values in [&[][..], &["Bearer x"], &[&right]] {
        assert_eq!(sent(values, &open), Principal::Anonymous, "{values:?}");
    }
    for value in [&right, &format!("bEARER   {TOKEN}")] {
        assert_eq!(sent(&[value], &closed), Principal::Operator, "{value}");
    }
    let (wrong, glued) = (format!("{right}0"), format!("Bearer{TOKEN}"));
    for values in [
        &[][..],
        &["Bearer"],
        &["Bearer "],
        &[&wrong],
        &[&glued],
        &[&right, &right],
    ] {
        assert_eq!(sent(values, &closed), Principal::Visitor, "{values:?}");
    }
}

#[test]
fn keys_ask_for_a_signature_of_all_but_the_operator() {
    let (parts, _) = Request::new(Body::empty()).into_parts();
    let signer = |principal, config: &Config| signer(principal, &parts, None, config);
    let missing = Err(SignatureError::Missing);
    for (has_token, has_key) in [(false, false), (false, true), (true, false), (true, true)] {
        let config = config(has_token, has_key);
        let operator = Principal::Operator;
        assert_eq!(signer(operator, &config), Ok(Some(operator)));
        assert_eq!(signer(Principal::Visitor, &config), missing);
        let anonymous = signer(Principal::Anonymous, &config);
        match has_key {
            true => assert_eq!(anonymous, missing),
            false => assert_eq!(anonymous, Ok(Some(Principal::Anonymous))),
        }
    }
}
