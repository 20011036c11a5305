//! What a value of each type is, both ways.

use super::*;

const TYPES: &str = "create type colour as enum ('red', 'green'); create domain price as numeric(8, 2); \
     create table t (a int2, b int4, c int8, d float4, e float8, f bool, g text, h varchar(9), i char(3), j name, k numeric, \
     l json, m jsonb, n uuid, o date, p time, q timestamp, r timestamptz, s bytea, t int4[], u text[], v colour, w price, x oid, y jsonb[])";

#[tokio::test]
async fn values_of_all_types_go_both_ways() {
    let Some(postgres) = start() else { return };
    postgres.sql(TYPES);
    let function = Function::local(&postgres.url("sslmode=disable"));
    let asking = Asking::new(&function);
    let values = json!([
        -32768, 2_147_483_647, i64::MIN, 0.1, 1e-300, true, "a\"ä\\\n", "b", "c", "d",
        "12345678901234567890.1200", {"a": [1.5, null]}, {"b": "ü"}, "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "2024-02-29", "23:59:59.5", "2024-02-29T12:00:00.25", "2024-02-29T12:00:00+02:00", [0, 255], [1, null, 3],
        [["a\"", "NULL"], ["", "{}"]], "green", 1.5, 4_294_967_295u32, [{"x": 1}, [2], null],
    ]);
    let places: Vec<_> = (1..=25).map(|place| format!("${place}")).collect();
    let sql = format!("insert into t values ({}) returning *", places.join(", "));
    let rows = asking.query(&sql, values).await.rows();
    let expected = json!([{
        "a": -32768, "b": 2_147_483_647, "c": i64::MIN, "d": 0.1, "e": 1e-300, "f": true, "g": "a\"ä\\\n", "h": "b", "i": "c  ",
        "j": "d", "k": "12345678901234567890.1200", "l": {"a": [1.5, null]}, "m": {"b": "ü"},
        "n": "00010203-0405-0607-0809-0a0b0c0d0e0f", "o": "2024-02-29", "p": "23:59:59.500", "q": "2024-02-29T12:00:00.250",
        "r": "2024-02-29T10:00:00Z", "s": "\\x00ff", "t": [1, null, 3], "u": [["a\"", "NULL"], ["", "{}"]], "v": "green",
        "w": "1.50", "x": 4_294_967_295u32, "y": [{"x": 1}, [2], null],
    }]);
    assert_eq!(rows, expected);
    // What comes goes back as it is.
    let back: Vec<_> = "abcdefghijklmnopqrstuvwxy"
        .chars()
        .map(|name| rows[0][name.to_string()].clone())
        .collect();
    assert_eq!(asking.query(&sql, json!(back)).await.rows(), expected);
    let nulls = asking
        .query(&sql, json!(vec![Value::Null; 25]))
        .await
        .rows();
    let all_null = nulls[0]
        .as_object()
        .expect("a row")
        .values()
        .all(Value::is_null);
    assert!(all_null, "{nulls}");
    let counted = asking
        .query("select count(*) from t", json!([]))
        .await
        .rows();
    assert_eq!(counted, json!([{ "count": 3 }]));
    let floats = "select 'NaN'::float8 n, '-Infinity'::float4 i, 'infinity'::timestamptz t, '0044-03-15 BC'::date d, null::text x";
    let floats = asking.query(floats, json!([])).await.rows();
    assert_eq!(
        floats,
        json!([{ "n": "NaN", "i": "-Infinity", "t": "infinity", "d": "0044-03-15 BC", "x": null }])
    );
    // Text is read by Postgres for what is not known here, both ways.
    let inet = asking
        .query("select $1::inet::text as a", json!(["10.0.0.1/8"]))
        .await;
    assert_eq!(inet.rows(), json!([{ "a": "10.0.0.1/8" }]));
    let changed = asking
        .execute("delete from t where a = $1", json!([-32768]))
        .await;
    assert_eq!(changed.field(Tag::Changed), 2);
}
