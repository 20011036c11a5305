//! Parameters of a statement: from JSON to the text that Postgres reads a value of the parameter's type from.
//!
//! Postgres converts: it knows every type that there is, its own and others', and says what does not fit. Here it is looked at what of
//! JSON may stand for what, so that nothing is taken for something else. Numbers pass as they are written, so that none is rounded.

use bytes::BytesMut;
use jiffy_abi::call::{CallErrorKind, Sent};
use serde_json::value::RawValue;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::rows::DEPTH_MAX;
use crate::Failure;

/// Parameters of a statement at most.
pub(super) const PARAMETERS_MAX: usize = 1000;
/// Bytes of all of them at most, as JSON.
pub(super) const PARAMETERS_BYTES_MAX: usize = 4 << 20;
/// Dimensions of an array at most: Postgres'.
const DIMENSIONS_MAX: u32 = 6;

/// A parameter, as text; `None`: null.
pub(super) struct Parameter(Option<String>);

/// It is of a function and its users.
impl std::fmt::Debug for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(value)")
    }
}

impl ToSql for Parameter {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match &self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// What a call has of parameters, taken apart.
pub(super) fn parse(body: &[u8]) -> Result<Vec<&RawValue>, Failure> {
    if body.is_empty() {
        return Ok(vec![]);
    }
    if body.len() > PARAMETERS_BYTES_MAX {
        let message = format!(
            "the parameters have {} bytes: must be at most {PARAMETERS_BYTES_MAX}",
            body.len()
        );
        return Err(invalid(message));
    }
    let all: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("the parameters are no JSON array: {error}")))?;
    match all.len() <= PARAMETERS_MAX {
        true => Ok(all),
        false => Err(invalid(format!(
            "there are {} parameters: must be at most {PARAMETERS_MAX}",
            all.len()
        ))),
    }
}

/// Each as its type wants it.
pub(super) fn convert(values: &[&RawValue], types: &[Type]) -> Result<Vec<Parameter>, Failure> {
    if values.len() != types.len() {
        return Err(invalid(format!(
            "the statement has {} parameters, and {} are given",
            types.len(),
            values.len()
        )));
    }
    let all = values.iter().zip(types).enumerate();
    let all = all.map(|(index, (value, kind))| {
        to_text(value.get(), kind, 0)
            .map(Parameter)
            .map_err(|rule| {
                invalid(format!(
                    "invalid parameter ${} of type {}: {rule}",
                    index + 1,
                    kind.name()
                ))
            })
    });
    all.collect()
}

fn invalid(message: String) -> Failure {
    Failure::new(CallErrorKind::Invalid, Sent::No, message)
}

type Rule = &'static str;

/// The text of a value; `None`: null. `depth`: how many types its type is within.
fn to_text(json: &str, kind: &Type, depth: u32) -> Result<Option<String>, Rule> {
    if depth > DEPTH_MAX {
        return Err(
            "the type is made of too many others: cast the parameter from text, as in $1::text::price",
        );
    }
    let json = json.trim();
    if json == "null" {
        return Ok(None);
    }
    if let Kind::Domain(base) = kind.kind() {
        return to_text(json, base, depth + 1);
    }
    if let Kind::Array(element) = kind.kind()
        // Two types of old whose texts are not those of arrays.
        && !matches!(*kind, Type::INT2_VECTOR | Type::OID_VECTOR)
    {
        return match json.starts_with('[') {
            true => array(json, element, 1, depth + 1).map(Some),
            false => Err("must be an array"),
        };
    }
    let first = json.as_bytes().first().copied().unwrap_or_default();
    let is_number = first == b'-' || first.is_ascii_digit();
    match *kind {
        Type::JSON | Type::JSONB => Ok(Some(json.into())),
        Type::BYTEA => bytes(json).map(Some),
        Type::BOOL if matches!(json, "true" | "false") => Ok(Some(json.into())),
        Type::BOOL => Err("must be true or false"),
        Type::INT2
        | Type::INT4
        | Type::INT8
        | Type::OID
        | Type::FLOAT4
        | Type::FLOAT8
        | Type::NUMERIC
        | Type::MONEY
            if is_number =>
        {
            Ok(Some(json.into()))
        }
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID if first != b'"' => {
            Err("must be a number")
        }
        Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC | Type::MONEY if first != b'"' => {
            Err("must be a number, or one as text")
        }
        _ if first == b'"' => text(json).map(Some),
        _ => Err("must be text"),
    }
}

fn text(json: &str) -> Result<String, Rule> {
    let text: String = serde_json::from_str(json).map_err(|_| "must be text")?;
    match text.contains('\0') {
        true => Err("may not have a character of number 0"),
        false => Ok(text),
    }
}

fn bytes(json: &str) -> Result<String, Rule> {
    const RULE: Rule = "must be an array of bytes, or text such as \\x00ff";
    if json.starts_with('"') {
        let text = text(json)?;
        let digits = text.strip_prefix("\\x").ok_or(RULE)?;
        let is_hex = digits.len() % 2 == 0 && digits.bytes().all(|it| it.is_ascii_hexdigit());
        return match is_hex {
            true => Ok(text),
            false => Err(RULE),
        };
    }
    let bytes: Vec<u8> = serde_json::from_str(json).map_err(|_| RULE)?;
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
    Ok(text)
}

/// `{1,NULL,"text"}`, and such in such.
fn array(json: &str, element: &Type, dimensions: u32, depth: u32) -> Result<String, Rule> {
    if dimensions > DIMENSIONS_MAX {
        return Err("must have at most 6 dimensions");
    }
    let all: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| "must be an array")?;
    let is_json = matches!(*element, Type::JSON | Type::JSONB);
    let is_bytes = *element == Type::BYTEA;
    // What may be an array itself is none of the dimensions.
    let is_nested = |json: &str| json.starts_with('[') && !is_json && !is_bytes;
    let mut made = String::from("{");
    for (index, value) in all.iter().enumerate() {
        if index > 0 {
            made.push(if *element == Type::BOX { ';' } else { ',' });
        }
        let json = value.get().trim();
        if is_nested(json) {
            made.push_str(&array(json, element, dimensions + 1, depth)?);
            continue;
        }
        let Some(text) = to_text(json, element, depth)? else {
            made.push_str("NULL");
            continue;
        };
        made.push('"');
        for character in text.chars() {
            if matches!(character, '"' | '\\') {
                made.push('\\');
            }
            made.push(character);
        }
        made.push('"');
    }
    made.push('}');
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, kind: &Type) -> Result<Option<String>, Rule> {
        let value: &RawValue = serde_json::from_str(json).expect("JSON");
        to_text(value.get(), kind, 0)
    }

    #[test]
    fn each_type_takes_what_stands_for_it() {
        for (json, kind, text) in [
            ("null", Type::INT4, None),
            ("null", Type::JSONB, None),
            ("-7", Type::INT2, Some("-7")),
            ("\"7\"", Type::INT8, Some("7")),
            ("0.1", Type::FLOAT8, Some("0.1")),
            ("\"NaN\"", Type::FLOAT4, Some("NaN")),
            (
                "123456789012345678901234567890.5",
                Type::NUMERIC,
                Some("123456789012345678901234567890.5"),
            ),
            ("true", Type::BOOL, Some("true")),
            (r#""a\n\"ä""#, Type::TEXT, Some("a\n\"ä")),
            (r#""x""#, Type::UUID, Some("x")),
            (r#"{"a": 1.50}"#, Type::JSONB, Some(r#"{"a": 1.50}"#)),
            (r#""a""#, Type::JSON, Some(r#""a""#)),
            ("[0, 255]", Type::BYTEA, Some("\\x00ff")),
            (r#""\\x00FF""#, Type::BYTEA, Some("\\x00FF")),
            ("[]", Type::INT4_ARRAY, Some("{}")),
            ("[1, null, 3]", Type::INT4_ARRAY, Some(r#"{"1",NULL,"3"}"#)),
            (
                r#"[["a\"\\", "NULL"], ["", "ä,}"]]"#,
                Type::TEXT_ARRAY,
                Some(r#"{{"a\"\\","NULL"},{"","ä,}"}}"#),
            ),
            (
                r#"[[1], {"a": "b"}]"#,
                Type::JSONB_ARRAY,
                Some(r#"{"[1]","{\"a\": \"b\"}"}"#),
            ),
            ("[[1, 2]]", Type::BYTEA_ARRAY, Some(r#"{"\\x0102"}"#)),
        ] {
            let expected = Ok(text.map(str::to_owned));
            assert_eq!(check(json, &kind), expected, "{json} as {kind}");
        }
    }

    #[test]
    fn what_stands_for_something_else_is_refused() {
        for (json, kind) in [
            ("true", Type::INT4),
            ("[1]", Type::INT4),
            ("{}", Type::NUMERIC),
            ("1", Type::BOOL),
            ("\"true\"", Type::BOOL),
            ("7", Type::TEXT),
            ("7", Type::UUID),
            ("[1]", Type::TIMESTAMPTZ),
            (r#""a\u0000""#, Type::TEXT),
            ("\"abc\"", Type::BYTEA),
            (r#""\\x0""#, Type::BYTEA),
            (r#""\\x0g""#, Type::BYTEA),
            ("[256]", Type::BYTEA),
            ("\"{1}\"", Type::INT4_ARRAY),
            ("[\"a\", true]", Type::TEXT_ARRAY),
            ("[[[[[[[1]]]]]]]", Type::INT4_ARRAY),
        ] {
            assert!(check(json, &kind).is_err(), "{json} as {kind}");
        }
    }

    #[test]
    fn a_type_of_too_many_others_is_refused() {
        let domain = |kind| Type::new("deep".into(), 1, Kind::Domain(kind), "s".into());
        let array = |kind| Type::new("deep[]".into(), 1, Kind::Array(kind), "s".into());
        let mut kind = Type::TEXT;
        for depth in 1..=DEPTH_MAX + 1 {
            kind = domain(kind);
            let is_fine = depth <= DEPTH_MAX;
            assert_eq!(check("\"a\"", &kind).is_ok(), is_fine, "{depth}");
            let is_fine = depth < DEPTH_MAX;
            let in_array = check("[\"a\"]", &array(kind.clone()));
            assert_eq!(in_array.is_ok(), is_fine, "{depth}");
        }
    }

    #[test]
    fn an_error_names_the_parameter_and_not_its_value() {
        let values = parse(br#"["fine", "canary"]"#).expect("an array");
        let failure = convert(&values, &[Type::TEXT, Type::BYTEA]).expect_err("no bytes");
        assert_eq!(
            failure.message,
            "invalid parameter $2 of type bytea: must be an array of bytes, or text such as \\x00ff"
        );
        let few = convert(&values, &[Type::TEXT]).expect_err("one too many");
        assert_eq!(
            few.message,
            "the statement has 1 parameters, and 2 are given"
        );
        for body in ["{}", "[", "1", "\"a\""] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(parse(b"").expect("none").is_empty());
        let many = format!("[{}1]", "1,".repeat(PARAMETERS_MAX));
        assert!(parse(many.as_bytes()).is_err());
        let sent = Parameter(Some("canary".into()));
        assert_eq!(format!("{sent:?}"), "(value)");
    }
}
