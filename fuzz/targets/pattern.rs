//! A compiled pattern, and the sieve before it, against the plain one.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wsfan::config::{Pattern, Pointer, Test};

#[derive(Debug, Arbitrary)]
enum Shape {
    Text(String),
    Json(Vec<(String, Wanted)>),
    Any(Vec<Shape>),
}

#[derive(Debug, Arbitrary)]
enum Wanted {
    Is(Scalar),
    OneOf(Vec<Scalar>),
    Exists(bool),
    Contains(String),
}

#[derive(Debug, Arbitrary)]
enum Scalar {
    Text(String),
    Whole(i64),
    Number(f64),
    Bool(bool),
    Null,
}

fuzz_target!(|input: (Shape, &str)| {
    let (shape, message) = input;
    if let Some(pattern) = pattern(shape, 3) {
        wsfan::fuzzing::pattern(&pattern, message);
    }
});

/// The pattern, if a configuration could have it.
fn pattern(shape: Shape, depth: usize) -> Option<Pattern> {
    match shape {
        Shape::Text(text) => (!text.is_empty()).then_some(Pattern::Text(text)),
        Shape::Json(tests) => {
            let mut json: Vec<(Pointer, Test)> = Vec::new();
            for (pointer, wanted) in tests {
                let pointer = Pointer::parse(&pointer).ok()?;
                if json.iter().any(|(there, _)| *there == pointer) {
                    return None;
                }
                json.push((pointer, test(wanted)?));
            }
            (!json.is_empty()).then_some(Pattern::Json(json))
        }
        Shape::Any(shapes) => {
            let depth = depth.checked_sub(1)?;
            let patterns: Option<Vec<_>> = shapes.into_iter().map(|shape| pattern(shape, depth)).collect();
            patterns.filter(|patterns| !patterns.is_empty()).map(Pattern::Any)
        }
    }
}

fn test(wanted: Wanted) -> Option<Test> {
    Some(match wanted {
        Wanted::Is(scalar) => Test::OneOf(vec![value(scalar)]),
        Wanted::OneOf(scalars) if scalars.is_empty() => return None,
        Wanted::OneOf(scalars) => Test::OneOf(scalars.into_iter().map(value).collect()),
        Wanted::Exists(there) => Test::Exists(there),
        Wanted::Contains(text) if text.is_empty() => return None,
        Wanted::Contains(text) => Test::Contains(text),
    })
}

fn value(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Text(text) => text.into(),
        Scalar::Whole(number) => number.into(),
        Scalar::Number(number) => number.into(),
        Scalar::Bool(yes) => yes.into(),
        Scalar::Null => Value::Null,
    }
}
