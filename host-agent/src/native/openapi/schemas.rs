//! Schemas of documents, from their types: descriptions are the types' doc comments, limits their constants.

use jiffy_model::{
    AliasName, BindingName, Deploy,
    documents::{
        AliasDocument, AliasList, Concurrency, Deployed, Description, FunctionDocument,
        FunctionList, ImageDocument, KvList, KvStoreList, KvWritten, MessageList, MessageSent,
        QueueList, RollBack, SecretDocument, SecretList, VersionDocument, VersionList,
    },
};
use schemars::{
    JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, transform::transform_subschemas,
};
use serde_json::{Map, Value, json};

use crate::{
    http::problem,
    native::insight::{InstanceList, Line, UsageList},
    service::Health,
};

/// A new document has a line in one of the lists; what it refers to comes with it.
macro_rules! add {
    ($generator:ident: $($document:ty,)*) => {
        $(add::<$document>(&mut $generator);)*
    };
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

/// All of them by name.
pub(super) fn schemas() -> Map<String, Value> {
    let mut schemas = answered();
    // What goes both ways is described as the agent takes it: what may be left out there need not come back.
    schemas.extend(taken());
    schemas
}

fn taken() -> Map<String, Value> {
    let mut generator = settings().for_deserialize().into_generator();
    add!(generator: Deploy, AliasDocument, RollBack, Concurrency, AliasName, BindingName,);
    generator.take_definitions(true)
}

fn answered() -> Map<String, Value> {
    let settings = settings().for_serialize().with_transform(always_there);
    let mut generator = settings.into_generator();
    add!(generator:
        problem::Document<'_>, Health, ImageDocument,
        FunctionDocument, Description, FunctionList, Deployed, VersionDocument, VersionList, AliasList,
        Line<'_>, InstanceList, UsageList,
        KvList, KvStoreList, KvWritten, QueueList, MessageList, MessageSent, SecretDocument, SecretList,
    );
    generator.take_definitions(true)
}

fn settings() -> SchemaSettings {
    let mut settings = SchemaSettings::draft2020_12().with_transform(plain);
    settings.definitions_path = "/components/schemas".into();
    settings
}

/// Says the same in words that generators of clients know.
fn plain(schema: &mut Schema) {
    join_lines(schema);
    name_width(schema);
    list_words(schema);
    name_keys(schema);
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    transform_subschemas(&mut plain, schema);
}

/// Doc comments are broken at any word.
fn join_lines(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
}

/// As formats, generators of clients know signed integers, and take others for 32 bits. No figure comes to the last bit, unless its
/// limit says so.
fn name_width(schema: &mut Schema) {
    let format = match schema.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32") => "int32",
        Some("uint64" | "uint") => "int64",
        _ => return,
    };
    let max = schema.get("maximum").and_then(Value::as_u64);
    if max.is_none_or(|max| i64::try_from(max).is_ok()) {
        schema.insert("format".into(), format.into());
    }
}

/// One of several words, each with what it means, is an `enum` and one description.
fn list_words(schema: &mut Schema) {
    let Some(Value::Array(variants)) = schema.get("oneOf") else {
        return;
    };
    let words: Option<Vec<_>> = variants.iter().map(|it| it["const"].as_str()).collect();
    let Some(words) = words else {
        return;
    };
    let mut description = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    for (word, variant) in words.iter().zip(variants) {
        let means = variant["description"].as_str().unwrap_or_default();
        description.push_str(&format!(" `{word}`: {means}"));
    }
    let words = json!(words);
    schema.remove("oneOf");
    schema.insert("type".into(), "string".into());
    schema.insert("enum".into(), words);
    schema.insert("description".into(), description.trim().into());
}

/// A map whose keys all follow one pattern.
fn name_keys(schema: &mut Schema) {
    let Some(Value::Object(patterns)) = schema.get("patternProperties") else {
        return;
    };
    let patterns = patterns.clone();
    if let (1, Some((pattern, value))) = (patterns.len(), patterns.into_iter().next()) {
        schema.remove("patternProperties");
        schema.insert("propertyNames".into(), json!({ "pattern": pattern }));
        schema.insert("additionalProperties".into(), value);
    }
}

/// What an answer may leave out is never `null` in it, and what it always has needs no empty default.
fn always_there(schema: &mut Schema) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| {
        required
            .as_array()
            .is_some_and(|all| all.contains(&name.into()))
    };
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties {
            if !is_required(name) {
                not_null(property);
            }
            if let Some(fields) = property.as_object_mut() {
                let empty = [json!(""), json!([]), json!({})];
                fields.retain(|key, value| key != "default" || !empty.contains(value));
            }
        }
    }
    transform_subschemas(&mut always_there, schema);
}

fn not_null(property: &mut Value) {
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|it| it != "null");
        if let [one] = &types[..] {
            property["type"] = one.clone();
        }
    }
    if let Some(Value::Array(values)) = property.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let of_two = property.get("anyOf").and_then(Value::as_array);
    if let Some([Value::Object(one), null]) = of_two.map(Vec::as_slice)
        && null["type"] == "null"
    {
        let one = one.clone();
        let fields = property.as_object_mut().expect("it has a field");
        fields.remove("anyOf");
        fields.extend(one);
    }
}
