//! `docs/protocol.schema.json`, held against lines. It knows the words of JSON Schema that stand in there, and
//! no others: a small part of what a library has, for a small part of what building one takes.

use std::{collections::BTreeSet, fs, path::Path, sync::LazyLock};

use serde_json::{Map, Value};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
});

/// Fails unless the schema has this line from the daemon, with each of its fields and names: newer ones are allowed to
/// a reader, but not here.
pub fn assert_line(line: &Value) {
    if let Err(why) = check("Line", line) {
        panic!("docs/protocol.schema.json doesn't have this line: {why}\n{line}");
    }
}

/// Whether a line is what the schema calls so.
pub fn check(name: &str, line: &Value) -> Result<(), String> {
    whole(&SCHEMA["$defs"][name], line)
}

/// Holds a value against a schema, and knows of all its fields.
fn whole(schema: &Value, value: &Value) -> Result<(), String> {
    let known = fields(schema, value)?;
    let mut keys = value.as_object().into_iter().flat_map(Map::keys);
    match keys.find(|key| !known.contains(*key)) {
        Some(key) => Err(format!("`{key}` is unknown")),
        None => Ok(()),
    }
}

/// Holds a value against a schema, and tells which of its fields that is about.
fn fields(schema: &Value, value: &Value) -> Result<BTreeSet<String>, String> {
    let mut known = BTreeSet::new();
    let Value::Object(words) = schema else {
        assert_eq!(schema, true);
        return Ok(known);
    };
    for (word, of) in words {
        match &**word {
            // a table of names that are not the protocol's
            "additionalProperties" if *of == true => {
                known.extend(value.as_object().into_iter().flat_map(Map::keys).cloned());
            }
            "description" | "format" | "default" | "unevaluatedProperties" | "additionalProperties" => {}
            "type" => is_of_type(of, value)?,
            "const" if of == value => {}
            "const" => return Err(format!("{value} is not {of}")),
            "minimum" | "maximum" => {
                let (Some(bound), Some(number)) = (of.as_f64(), value.as_f64()) else { continue };
                if (word == "minimum" && number < bound) || (word == "maximum" && number > bound) {
                    return Err(format!("{number} is past the {word} {bound}"));
                }
            }
            "minLength" | "maxLength" => {
                let (Some(bound), Some(text)) = (of.as_u64(), value.as_str()) else { continue };
                let length = text.chars().count() as u64;
                if (word == "minLength" && length < bound) || (word == "maxLength" && length > bound) {
                    return Err(format!("{text:?} is past {word}, {bound}"));
                }
            }
            "minItems" | "maxItems" => {
                let (Some(bound), Some(items)) = (of.as_u64(), value.as_array()) else { continue };
                let count = items.len() as u64;
                if (word == "minItems" && count < bound) || (word == "maxItems" && count > bound) {
                    return Err(format!("{count} items are past {word}, {bound}"));
                }
            }
            "required" => {
                let missing =
                    of.as_array().unwrap().iter().find(|name| value.get(name.as_str().unwrap()).is_none());
                missing.map_or(Ok(()), |name| Err(format!("{name} is missing")))?;
            }
            "properties" => {
                for (name, of) in of.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        payload_or_whole(of, value).map_err(|why| format!("{name}: {why}"))?;
                        known.insert(name.clone());
                    }
                }
            }
            "items" => value.as_array().into_iter().flatten().try_for_each(|item| whole(of, item))?,
            "$ref" => {
                let name = of.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                known.extend(fields(&SCHEMA["$defs"][name], value)?);
            }
            "anyOf" | "oneOf" => {
                let branches = of.as_array().unwrap();
                // beside the names that are known, any newer one may stand
                let is_any_name =
                    |branch: &&Value| branches.len() > 1 && **branch == serde_json::json!({"type": "string"});
                let found: Vec<_> = branches
                    .iter()
                    .filter(|branch| !is_any_name(branch))
                    .map(|of| fits(of, value, word))
                    .collect();
                let right: Vec<_> = found.iter().filter_map(|found| found.as_ref().ok()).collect();
                match (&right[..], &**word) {
                    ([], _) => return Err(format!("{found:?}")),
                    ([_, _, ..], "oneOf") => {
                        return Err(format!("{value} is {} of what it may be", right.len()));
                    }
                    ([first, ..], _) => known.extend((*first).clone()),
                }
            }
            other => panic!("docs/protocol.schema.json has {other:?}, which isn't known here"),
        }
    }
    Ok(known)
}

/// A branch of several. Whole lines are told apart by all of their fields.
fn fits(branch: &Value, value: &Value, word: &str) -> Result<BTreeSet<String>, String> {
    let known = fields(branch, value)?;
    if word == "anyOf" && branch.get("$ref").is_some() {
        whole(branch, value)?;
    }
    Ok(known)
}

/// What a payload or an id holds is its own business.
fn payload_or_whole(schema: &Value, value: &Value) -> Result<(), String> {
    let says_something = ["type", "$ref", "anyOf", "oneOf"].iter().any(|word| schema.get(word).is_some());
    if says_something { whole(schema, value) } else { fields(schema, value).map(drop) }
}

fn is_of_type(types: &Value, value: &Value) -> Result<(), String> {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("docs/protocol.schema.json has the type {other:?}, which isn't known here"),
    };
    let right = match types {
        Value::Array(types) => types.iter().any(|name| is(name.as_str().unwrap())),
        name => is(name.as_str().unwrap()),
    };
    if right { Ok(()) } else { Err(format!("{value} is no {types}")) }
}
