//! `docs/protocol.schema.json` is made of this room's types, and says what they say.

use std::{env, fs, path::Path};

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Line, Request};

/// The schema of a line, from either side.
fn schema() -> Value {
    let mut daemon = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut client = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    daemon.subschema_for::<Line<'_>>();
    client.subschema_for::<Request<'_>>();
    let mut definitions = daemon.take_definitions(true);
    // both kinds of `gap` may match, as more fields may come
    let line = &mut definitions["Line"];
    line["anyOf"] = line.as_object_mut().and_then(|line| line.remove("oneOf")).expect("it is one of several");
    definitions.values_mut().for_each(without_null);
    for (name, definition) in client.take_definitions(true) {
        let before = definitions.insert(name.clone(), definition);
        assert!(before.is_none(), "{name} is of both sides");
    }
    definitions.values_mut().for_each(on_one_line);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The local protocol of wsfan, version 1",
        "description": "A line on a listener with format = \"envelope\": `#/$defs/Line` from the daemon, \
                        `#/$defs/Request` from a client. protocol.md explains it.",
        "anyOf": [{ "$ref": "#/$defs/Line" }, { "$ref": "#/$defs/Request" }],
        "$defs": definitions,
    })
}

/// What the daemon may leave out is never `null` instead; what stands for what is missing is the reader's business.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("default");
            let required = object.get("required").cloned().unwrap_or_default();
            let is_required =
                |name: &str| required.as_array().is_some_and(|all| all.iter().any(|one| one == name));
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                properties.iter_mut().filter(|(name, _)| !is_required(name)).for_each(|(_, of)| not_null(of));
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

fn not_null(property: &mut Value) {
    let Value::Object(property) = property else { return };
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = &types[..] {
            property["type"] = one.clone();
        }
    }
    if let Some(Value::Array(branches)) = property.get_mut("anyOf") {
        branches.retain(|branch| branch["type"] != "null");
        if let [Value::Object(one)] = &branches[..] {
            let one: Map<String, Value> = one.clone();
            property.remove("anyOf");
            property.extend(one);
        }
    }
}

fn on_one_line(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            object.values_mut().for_each(on_one_line);
        }
        Value::Array(items) => items.iter_mut().for_each(on_one_line),
        _ => {}
    }
}

#[test]
fn the_file_says_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.schema.json");
    let schema = schema();
    if env::var_os("WRITE_SCHEMA").is_some() {
        fs::write(&path, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
    }
    let file: Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap_or_default()).unwrap_or_default();
    assert!(
        file == schema,
        "docs/protocol.schema.json is of other types: `WRITE_SCHEMA=1 cargo test --lib protocol::schema` writes it anew"
    );
}
