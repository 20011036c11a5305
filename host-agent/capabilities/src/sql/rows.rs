//! Rows of an answer: from what Postgres sends to JSON, an array of objects. What a database sends is not trusted.

use std::{collections::BTreeSet, io, io::Write as _};

use jiffy_abi::call::{CallErrorKind, Sent};
use serde_json::value::RawValue;
use tokio_postgres::{
    Column, Row,
    types::{FromSql, Kind, Type},
};

use super::{
    room::{Held, Room},
    times,
};
use crate::Failure;

/// Rows of an answer at most.
pub(super) const ROWS_MAX: usize = 10_000;
/// Bytes of an answer at most, as JSON.
pub(super) const ROWS_BYTES_MAX: usize = 4 << 20;
/// Bytes of it that are taken of the room at once.
const STEP_BYTES: usize = 64 << 10;
/// Domains of domains and arrays of these that are looked into.
pub(super) const DEPTH_MAX: u32 = 8;
const DIMENSIONS_MAX: usize = 6;

/// Rows that were made into JSON so far.
pub(super) struct Rows {
    /// What stands before each value: its column's name.
    names: Vec<Vec<u8>>,
    count: usize,
    json: Json,
}

/// JSON within limits.
struct Json {
    bytes: Vec<u8>,
    /// How many it may have without more of the room.
    taken: usize,
    room: Room,
    held: Held,
    /// Why it may have no more.
    full: Option<&'static str>,
}

impl io::Write for Json {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wanted = self.bytes.len() + bytes.len();
        if wanted > ROWS_BYTES_MAX {
            self.full = Some(TOO_LARGE);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if wanted > self.taken {
            let more = (wanted - self.taken).next_multiple_of(STEP_BYTES);
            if self.held.take(&self.room, more).is_err() {
                self.full = Some(NO_ROOM);
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            self.taken += more;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const TOO_LARGE: &str = "the rows have more than 4 MiB: ask for fewer of them, with LIMIT";
const NO_ROOM: &str = "the answers of databases have all the memory there is for them: ask for fewer rows, with LIMIT, or try it again later";
const _: () = assert!(ROWS_BYTES_MAX == 4 << 20);

/// A value as it comes.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn refused(message: String) -> Failure {
    Failure::new(CallErrorKind::Invalid, Sent::No, message)
}

fn malformed() -> Failure {
    let message = "the database sends a value that is not of its type".into();
    Failure::new(CallErrorKind::Failed, Sent::Yes, message)
}

impl Rows {
    /// None yet, of these columns.
    pub(super) fn new(columns: &[Column], room: &Room) -> Result<Self, Failure> {
        let mut seen = BTreeSet::new();
        let mut names = vec![];
        for column in columns {
            let name = column.name();
            if !seen.insert(name) {
                let message =
                    format!("two columns are called {name:?}: give one another name, with AS");
                return Err(refused(message));
            }
            if !is_known(column.type_(), 0) {
                let message = format!(
                    "the column {name:?} is of type {}, which is not known here: cast it to text, as {name}::text",
                    column.type_().name()
                );
                return Err(refused(message));
            }
            let mut before = serde_json::to_vec(name).map_err(|_| malformed())?;
            before.push(b':');
            names.push(before);
        }
        let mut json = Json {
            bytes: vec![],
            taken: 0,
            room: room.clone(),
            held: Held::default(),
            full: None,
        };
        json.bytes.push(b'[');
        Ok(Self {
            names,
            count: 0,
            json,
        })
    }

    /// Adds one.
    pub(super) fn add(&mut self, row: &Row) -> Result<(), Failure> {
        if self.count == ROWS_MAX {
            let message =
                format!("there are more than {ROWS_MAX} rows: ask for fewer of them, with LIMIT");
            return Err(Failure::new(CallErrorKind::Limit, Sent::Yes, message));
        }
        self.count += 1;
        let added = self.write(row);
        added.map_err(|_| match self.json.full {
            Some(why) => Failure::new(CallErrorKind::Limit, Sent::Yes, why.into()),
            None => malformed(),
        })
    }

    fn write(&mut self, row: &Row) -> Result<(), Unwritten> {
        let json = &mut self.json;
        json.write_all(if self.count > 1 { b",{" } else { b"{" })?;
        for (index, (column, name)) in row.columns().iter().zip(&self.names).enumerate() {
            if index > 0 {
                json.write_all(b",")?;
            }
            json.write_all(name)?;
            let Raw(value) = row.try_get(index).map_err(|_| Unwritten)?;
            write(json, column.type_(), value)?;
        }
        json.write_all(b"}")?;
        Ok(())
    }

    /// All of them.
    pub(super) fn into_json(self) -> Vec<u8> {
        let mut bytes = self.json.bytes;
        bytes.push(b']');
        bytes
    }
}

/// Something does not fit, or is not what it should be.
#[derive(Debug)]
struct Unwritten;

impl From<io::Error> for Unwritten {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<serde_json::Error> for Unwritten {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

impl From<std::str::Utf8Error> for Unwritten {
    fn from(_: std::str::Utf8Error) -> Self {
        Self
    }
}

/// Whether values of a type can be written.
fn is_known(kind: &Type, depth: u32) -> bool {
    match kind.kind() {
        _ if depth > DEPTH_MAX => false,
        _ if matches!(*kind, Type::INT2_VECTOR | Type::OID_VECTOR) => false,
        Kind::Enum(_) => true,
        Kind::Domain(inner) | Kind::Array(inner) => is_known(inner, depth + 1),
        Kind::Simple | Kind::Pseudo => matches!(
            *kind,
            Type::BOOL
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::OID
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::NUMERIC
                | Type::TEXT
                | Type::VARCHAR
                | Type::BPCHAR
                | Type::NAME
                | Type::CHAR
                | Type::UNKNOWN
                | Type::JSON
                | Type::JSONB
                | Type::UUID
                | Type::BYTEA
                | Type::DATE
                | Type::TIME
                | Type::TIMESTAMP
                | Type::TIMESTAMPTZ
                | Type::VOID
        ),
        _ => false,
    }
}

/// Takes a number of so many bytes off the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Unwritten> {
    let (first, rest) = bytes.split_first_chunk().ok_or(Unwritten)?;
    *bytes = rest;
    Ok(*first)
}

/// A number of so many bytes, and nothing else.
fn whole<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Unwritten> {
    bytes.try_into().map_err(|_| Unwritten)
}

fn write(json: &mut Json, kind: &Type, value: Option<&[u8]>) -> Result<(), Unwritten> {
    let Some(value) = value else {
        return Ok(json.write_all(b"null")?);
    };
    match kind.kind() {
        Kind::Domain(base) => return write(json, base, Some(value)),
        Kind::Array(element) => return array(json, element, value),
        _ => {}
    }
    match *kind {
        Type::BOOL => json.write_all(match value {
            [0] => b"false",
            [1] => b"true",
            _ => return Err(Unwritten),
        })?,
        Type::INT2 => write!(json, "{}", i16::from_be_bytes(whole(value)?))?,
        Type::INT4 => write!(json, "{}", i32::from_be_bytes(whole(value)?))?,
        Type::INT8 => write!(json, "{}", i64::from_be_bytes(whole(value)?))?,
        Type::OID => write!(json, "{}", u32::from_be_bytes(whole(value)?))?,
        Type::FLOAT4 => match f32::from_be_bytes(whole(value)?) {
            number if number.is_finite() => serde_json::to_writer(json, &number)?,
            number => not_finite(json, number.into())?,
        },
        Type::FLOAT8 => match f64::from_be_bytes(whole(value)?) {
            number if number.is_finite() => serde_json::to_writer(json, &number)?,
            number => not_finite(json, number)?,
        },
        Type::NUMERIC => numeric(json, value)?,
        Type::JSON => embed(json, value)?,
        Type::JSONB => match value {
            [1, value @ ..] => embed(json, value)?,
            _ => return Err(Unwritten),
        },
        Type::BYTEA => {
            json.write_all(b"\"\\\\x")?;
            for byte in value {
                write!(json, "{byte:02x}")?;
            }
            json.write_all(b"\"")?;
        }
        Type::UUID => {
            let uuid = u128::from_be_bytes(whole(value)?);
            let (a, b, c, d, e) = (
                uuid >> 96,
                uuid >> 80 & 0xffff,
                uuid >> 64 & 0xffff,
                uuid >> 48 & 0xffff,
                uuid & 0xffff_ffff_ffff,
            );
            write!(json, "\"{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}\"")?;
        }
        Type::DATE => write!(
            json,
            "\"{}\"",
            times::Date(i32::from_be_bytes(whole(value)?))
        )?,
        Type::TIME => {
            let time = times::Time(i64::from_be_bytes(whole(value)?));
            write!(json, "\"{time}\"")?;
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let time = times::Timestamp {
                since_2000_us: i64::from_be_bytes(whole(value)?),
                is_utc: *kind == Type::TIMESTAMPTZ,
            };
            write!(json, "\"{time}\"")?;
        }
        Type::VOID => json.write_all(b"null")?,
        // Of a single byte, which need not be a character.
        Type::CHAR => serde_json::to_writer(json, &String::from_utf8_lossy(value))?,
        _ => serde_json::to_writer(json, str::from_utf8(value)?)?,
    }
    Ok(())
}

fn not_finite(json: &mut Json, number: f64) -> io::Result<()> {
    json.write_all(match number {
        f64::INFINITY => b"\"Infinity\"",
        f64::NEG_INFINITY => b"\"-Infinity\"",
        _ => b"\"NaN\"",
    })
}

/// JSON as it is, once it is known to be JSON: what encloses it depends on that.
fn embed(json: &mut Json, value: &[u8]) -> Result<(), Unwritten> {
    let value: &RawValue = serde_json::from_slice(value)?;
    Ok(json.write_all(value.get().as_bytes())?)
}

/// As text: digits of 10,000, of which `weight + 1` stand before the point; `scale` decimal digits behind it are shown.
fn numeric(json: &mut Json, mut value: &[u8]) -> Result<(), Unwritten> {
    const POSITIVE: u16 = 0;
    const NEGATIVE: u16 = 0x4000;
    let count = u16::from_be_bytes(take(&mut value)?);
    let weight = i16::from_be_bytes(take(&mut value)?);
    let sign = u16::from_be_bytes(take(&mut value)?);
    let scale = u16::from_be_bytes(take(&mut value)?);
    let (digits, rest) = value.as_chunks();
    if digits.len() != usize::from(count) || !rest.is_empty() {
        return Err(Unwritten);
    }
    json.write_all(match sign {
        POSITIVE => b"\"",
        NEGATIVE => b"\"-",
        0xc000 => return Ok(json.write_all(b"\"NaN\"")?),
        0xd000 => return Ok(json.write_all(b"\"Infinity\"")?),
        0xf000 => return Ok(json.write_all(b"\"-Infinity\"")?),
        _ => return Err(Unwritten),
    })?;
    let digit = |place: i32| {
        let index = usize::try_from(i32::from(weight) - place).ok();
        let digit = index.and_then(|index| digits.get(index));
        digit.map_or(0, |digit| u16::from_be_bytes(*digit))
    };
    match weight {
        0.. => {
            write!(json, "{}", digit(weight.into()))?;
            for place in (0..i32::from(weight)).rev() {
                write!(json, "{:04}", digit(place))?;
            }
        }
        _ => json.write_all(b"0")?,
    }
    if scale > 0 {
        json.write_all(b".")?;
    }
    let mut left = usize::from(scale);
    let mut place = -1;
    while left > 0 {
        let four = format!("{:04}", digit(place));
        let shown = left.min(4);
        json.write_all(&four.as_bytes()[..shown])?;
        left -= shown;
        place -= 1;
    }
    Ok(json.write_all(b"\"")?)
}

/// Arrays of arrays: dimensions: i32, has nulls: i32, type: u32, (size: i32, first index: i32)*, (bytes: i32, value)*.
fn array(json: &mut Json, element: &Type, mut value: &[u8]) -> Result<(), Unwritten> {
    let count = u32::from_be_bytes(take(&mut value)?) as usize;
    let (_, _) = (take::<4>(&mut value)?, take::<4>(&mut value)?);
    if count > DIMENSIONS_MAX {
        return Err(Unwritten);
    }
    let mut sizes = vec![];
    for _ in 0..count {
        let size = u32::from_be_bytes(take(&mut value)?);
        let _ = take::<4>(&mut value)?;
        sizes.push(size);
    }
    // One without anything has no dimensions; another would be written without end.
    if sizes.contains(&0) {
        return Err(Unwritten);
    }
    match sizes.is_empty() {
        true => json.write_all(b"[]")?,
        false => dimension(json, element, &sizes, &mut value)?,
    }
    value.is_empty().then_some(()).ok_or(Unwritten)
}

fn dimension(
    json: &mut Json,
    element: &Type,
    sizes: &[u32],
    values: &mut &[u8],
) -> Result<(), Unwritten> {
    let Some((size, inner)) = sizes.split_first() else {
        let bytes = i32::from_be_bytes(take(values)?);
        // Null has less than none.
        let Ok(bytes) = usize::try_from(bytes) else {
            return write(json, element, None);
        };
        let (value, rest) = values.split_at_checked(bytes).ok_or(Unwritten)?;
        *values = rest;
        return write(json, element, Some(value));
    };
    json.write_all(b"[")?;
    for index in 0..*size {
        if index > 0 {
            json.write_all(b",")?;
        }
        dimension(json, element, inner, values)?;
    }
    Ok(json.write_all(b"]")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json() -> Json {
        Json {
            bytes: vec![],
            taken: 0,
            room: Room::default(),
            held: Held::default(),
            full: None,
        }
    }

    fn check(kind: &Type, value: &[u8]) -> Result<String, Unwritten> {
        let mut json = json();
        write(&mut json, kind, Some(value))?;
        Ok(String::from_utf8(json.bytes).expect("text"))
    }

    fn numeric_of(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let count = u16::try_from(digits.len()).expect("few");
        let mut bytes = count.to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        bytes
    }

    #[test]
    fn values_are_written_as_json() {
        for (kind, value, expected) in [
            (Type::BOOL, &[1][..], "true"),
            (Type::INT2, &[0xff, 0xfe], "-2"),
            (
                Type::INT8,
                &[0x7f, 255, 255, 255, 255, 255, 255, 255],
                "9223372036854775807",
            ),
            (Type::OID, &[255, 255, 255, 255], "4294967295"),
            (Type::FLOAT8, &0.1f64.to_be_bytes(), "0.1"),
            (Type::FLOAT4, &0.1f32.to_be_bytes(), "0.1"),
            (Type::FLOAT8, &f64::NAN.to_be_bytes(), "\"NaN\""),
            (
                Type::FLOAT4,
                &f32::NEG_INFINITY.to_be_bytes(),
                "\"-Infinity\"",
            ),
            (Type::TEXT, "a\"ä\n".as_bytes(), r#""a\"ä\n""#),
            (Type::CHAR, &[255], "\"\u{fffd}\""),
            (Type::BYTEA, &[0, 255], r#""\\x00ff""#),
            (Type::JSON, br#"{"a": [1.50]}"#, r#"{"a": [1.50]}"#),
            (Type::JSONB, b"\x01null", "null"),
            (
                Type::UUID,
                &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255],
                "\"00010203-0405-0607-0809-0a0b0c0d0eff\"",
            ),
            (Type::DATE, &[0, 0, 0, 0], "\"2000-01-01\""),
            (Type::TIME, &[0; 8], "\"00:00:00\""),
            (Type::TIMESTAMPTZ, &[0; 8], "\"2000-01-01T00:00:00Z\""),
            (Type::TIMESTAMP, &[0; 8], "\"2000-01-01T00:00:00\""),
            (Type::VOID, b"", "null"),
        ] {
            assert_eq!(check(&kind, value).expect("written"), expected, "{kind}");
        }
    }

    #[test]
    fn decimal_numbers_keep_their_digits() {
        for (value, expected) in [
            (numeric_of(0, 0, 0, &[]), "0"),
            (numeric_of(0, 0, 2, &[]), "0.00"),
            (numeric_of(1, 0, 2, &[1, 2345, 6700]), "12345.67"),
            (numeric_of(2, 0x4000, 0, &[12]), "-1200000000"),
            (numeric_of(-1, 0, 4, &[5]), "0.0005"),
            (numeric_of(-2, 0, 9, &[12, 3000]), "0.000000123"),
            (numeric_of(0, 0xc000, 0, &[]), "NaN"),
            (numeric_of(0, 0xf000, 0, &[]), "-Infinity"),
        ] {
            let written = check(&Type::NUMERIC, &value).expect("written");
            assert_eq!(written, format!("\"{expected}\""));
        }
    }

    fn array_of(sizes: &[u32], values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = u32::try_from(sizes.len())
            .expect("few")
            .to_be_bytes()
            .to_vec();
        bytes.extend([0; 8]);
        for size in sizes {
            bytes.extend(size.to_be_bytes());
            bytes.extend([0, 0, 0, 1]);
        }
        for value in values {
            let size = value.map_or(-1, |value| i32::try_from(value.len()).expect("short"));
            bytes.extend(size.to_be_bytes());
            bytes.extend(value.unwrap_or_default());
        }
        bytes
    }

    #[test]
    fn arrays_have_their_dimensions() {
        let values = [Some(&b"a"[..]), None, Some(b""), Some(b"d")];
        let written = |sizes: &[u32]| check(&Type::TEXT_ARRAY, &array_of(sizes, &values));
        assert_eq!(written(&[4]).expect("written"), r#"["a",null,"","d"]"#);
        assert_eq!(
            written(&[2, 2]).expect("written"),
            r#"[["a",null],["","d"]]"#
        );
        assert_eq!(
            check(&Type::TEXT_ARRAY, &array_of(&[], &[])).expect("empty"),
            "[]"
        );
        for sizes in [&[3][..], &[5], &[0], &[u32::MAX, 0], &[u32::MAX], &[1; 7]] {
            assert!(written(sizes).is_err(), "{sizes:?}");
        }
    }

    #[test]
    fn what_is_not_of_its_type_is_an_error() {
        for (kind, value) in [
            (Type::BOOL, &[2][..]),
            (Type::INT4, &[1, 2, 3]),
            (Type::FLOAT8, b""),
            (Type::TEXT, b"\xff"),
            (Type::JSON, b"1, \"b\": 2"),
            (Type::JSONB, b"2{}"),
            (Type::JSON, b"{} {}"),
            (Type::UUID, &[0; 15]),
            (Type::NUMERIC, &[0, 1, 0, 0, 0, 0, 0, 0]),
            (Type::NUMERIC, &[0, 0, 0, 0, 0, 1, 0, 0]),
            (Type::NUMERIC, b""),
            (Type::TEXT_ARRAY, &[255; 12]),
            (Type::TEXT_ARRAY, b""),
            (Type::DATE, b""),
        ] {
            assert!(check(&kind, value).is_err(), "{kind} {value:?}");
        }
        // Every number that can be said is one of finite size.
        for weight in [i16::MIN, i16::MAX] {
            let long = numeric_of(weight, 0, u16::MAX, &[1]);
            assert!(check(&Type::NUMERIC, &long).expect("written").len() < 200_000);
        }
    }

    #[test]
    fn answers_end_at_their_limit() {
        let mut json = json();
        let piece = [b'x'; 1 << 16];
        for _ in 0..ROWS_BYTES_MAX >> 16 {
            json.write_all(&piece).expect("there is room");
        }
        assert!(json.write_all(b"x").is_err());
        assert_eq!(json.full, Some(TOO_LARGE));
        let room = Room::default();
        let mut held = Held::default();
        held.take(&room, super::super::room::ROOM_PER_VERSION_BYTES_MAX - 1)
            .expect("all but one");
        let mut json = Json {
            room,
            ..self::json()
        };
        assert!(json.write_all(b"x").is_err());
        assert_eq!(json.full, Some(NO_ROOM));
    }

    #[test]
    fn types_that_are_not_known_are_told() {
        for kind in [
            Type::INET,
            Type::INTERVAL,
            Type::TIMETZ,
            Type::RECORD,
            Type::INT4_RANGE,
            Type::INET_ARRAY,
            Type::INT2_VECTOR,
        ] {
            assert!(!is_known(&kind, 0), "{kind}");
        }
        let mut deep = Type::TEXT;
        for _ in 0..100 {
            deep = Type::new("deep".into(), 1, Kind::Domain(deep), "s".into());
        }
        assert!(!is_known(&deep, 0));
        let colour = Type::new("colour".into(), 1, Kind::Enum(vec![]), "s".into());
        assert!(is_known(&colour, 0));
        assert_eq!(check(&colour, b"red").expect("written"), "\"red\"");
    }
}
