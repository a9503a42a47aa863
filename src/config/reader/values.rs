//! Turns one TOML value into a typed one. An error is the rest of a sentence that begins with the key.

use std::{ops::RangeInclusive, time::Duration};

use toml::de::DeValue;

use super::{
    cut::Cut,
    duration::{format_duration, parse_duration},
    size::{format_size, parse_size},
};

/// What a value is, in words.
pub(in crate::config) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A duration within bounds. `reason` says why it can't be zero, if that isn't plain.
pub(in crate::config) fn duration(
    value: &DeValue<'_>,
    bounds: &RangeInclusive<Duration>,
    reason: &str,
) -> Result<Duration, String> {
    duration_or(value, bounds, reason, "")
}

/// A duration within bounds, or none for `"off"`.
pub(in crate::config) fn duration_or_off(
    value: &DeValue<'_>,
    bounds: &RangeInclusive<Duration>,
) -> Result<Option<Duration>, String> {
    match value {
        DeValue::String(text) if text == "off" => Ok(None),
        value => duration_or(value, bounds, "", ", or \"off\"").map(Some),
    }
}

fn duration_or(
    value: &DeValue<'_>,
    bounds: &RangeInclusive<Duration>,
    reason: &str,
    or: &str,
) -> Result<Duration, String> {
    let (min, max) = (format_duration(*bounds.start()), format_duration(*bounds.end()));
    match value {
        DeValue::String(text) => match parse_duration(text) {
            Ok(duration) if bounds.contains(&duration) => Ok(duration),
            Ok(duration) => {
                let reason = if duration.is_zero() { reason } else { "" };
                Err(format!("is {}{reason}: write {min} to {max}{or}", text.trim()))
            }
            Err(why) => Err(format!("is {}, {why}{or}", quoted(text))),
        },
        DeValue::Integer(_) | DeValue::Float(_) => {
            let number = shown(value);
            Err(format!("is {number} without a unit: write \"{number}s\" if it is seconds{or}"))
        }
        other => Err(format!("is {}: write a duration such as \"30s\"{or}", kind(other))),
    }
}

/// A size within bounds: text with a unit, or an integer for bytes.
pub(in crate::config) fn size(value: &DeValue<'_>, bounds: &RangeInclusive<u64>) -> Result<usize, String> {
    let (min, max) = (format_size(*bounds.start()), format_size(*bounds.end()));
    let size = match value {
        DeValue::String(text) => parse_size(text).map_err(|why| format!("is {}, {why}", quoted(text)))?,
        // What doesn't fit is out of bounds too.
        DeValue::Integer(_) => as_i64(value).and_then(|size| u64::try_from(size).ok()).unwrap_or(u64::MAX),
        other => {
            return Err(format!("is {}: write a size such as \"16MiB\"", kind(other)));
        }
    };
    match usize::try_from(size) {
        Ok(size) if bounds.contains(&(size as u64)) => Ok(size),
        _ => Err(format!("is {}: write {min} to {max}", shown(value))),
    }
}

pub(in crate::config) fn integer<T: TryFrom<i64>>(
    value: &DeValue<'_>,
    bounds: &RangeInclusive<i64>,
) -> Result<T, String> {
    let (min, max) = bounds.clone().into_inner();
    if !value.is_integer() {
        return Err(format!("is {}: write a whole number from {min} to {max}", kind(value)));
    }
    let number = as_i64(value).filter(|number| bounds.contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("is {}: write a whole number from {min} to {max}", shown(value)))
}

pub(in crate::config) fn number(value: &DeValue<'_>, bounds: &RangeInclusive<f64>) -> Result<f64, String> {
    let (min, max) = bounds.clone().into_inner();
    let number = match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(_) => as_i64(value).map(|number| number as f64),
        other => {
            return Err(format!("is {}: write a number from {min} to {max}", kind(other)));
        }
    };
    number
        .filter(|number| bounds.contains(number))
        .ok_or_else(|| format!("is {}: write a number from {min} to {max}", shown(value)))
}

pub(in crate::config) fn one_of<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
    let DeValue::String(text) = value else {
        return Err(format!("is {}: write {}", kind(value), either(&names)));
    };
    match words.iter().find(|(name, _)| name == text) {
        Some((_, word)) => Ok(*word),
        None => Err(format!("is {}: write {}", quoted(text), either(&names))),
    }
}

pub(in crate::config) fn truth(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("is {}: write true or false", kind(value)))
}

/// A value as JSON; none for what JSON has no value for, such as a date.
pub(in crate::config) fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    match value {
        DeValue::Array(list) => list.iter().map(|value| json(value.get_ref())).collect(),
        DeValue::Table(table) => {
            let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<_>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                Some((key.to_string(), json(value.get_ref())?))
            };
            table.iter().map(entry).collect::<Option<serde_json::Map<_, _>>>().map(Into::into)
        }
        scalar => json_scalar(scalar),
    }
}

/// A scalar as JSON; none for what JSON has no scalar for.
pub(in crate::config) fn json_scalar(value: &DeValue<'_>) -> Option<serde_json::Value> {
    match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Integer(_) => as_i64(value).map(Into::into),
        DeValue::Float(float) => {
            let float = float.as_str().parse().ok()?;
            serde_json::Number::from_f64(float).map(Into::into)
        }
        DeValue::Boolean(truth) => Some((*truth).into()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// `"a", "b" or "c"`.
pub(in crate::config) fn either(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => String::new(),
    }
}

/// Text in quotes and on one line, cut where it is long.
pub(in crate::config) fn quoted(text: &str) -> String {
    const MAX: usize = 60;
    let cut = Cut::of(text, text.char_indices().nth(MAX).map_or(text.len(), |(end, _)| end));
    format!("{:?}{}", cut.text, cut.mark())
}

fn as_i64(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A number or a text as the file has it.
pub(in crate::config) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.as_str().to_owned(),
        DeValue::String(text) => text.trim().to_owned(),
        other => kind(other).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_listed() {
        assert_eq!(either(&["a"]), "\"a\"");
        assert_eq!(either(&["a", "b"]), "\"a\" or \"b\"");
        assert_eq!(either(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"é".repeat(61)), format!("\"{}\"… (+2 bytes)", "é".repeat(60)));
    }
}
