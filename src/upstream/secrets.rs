//! What the placeholders stand for that are resolved once for each attempt.

use std::{collections::BTreeMap, fmt, rc::Rc};

use crate::config::{Placeholder, Value, sounds_secret};

pub(super) mod redactor;

use redactor::{MIN, MIN_LIKELY, Redactor};

/// A value for each placeholder of an attempt, or why it has none: that matters only where it is used. And
/// what of this, and of the attempt's URL, headers and proxy, nobody may be shown. A copy costs nothing.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Secrets {
    values: Rc<BTreeMap<Placeholder, Result<Value, String>>>,
    moment: Moment,
    redactor: Rc<Redactor>,
}

/// What is one and the same for all that an attempt says: what is signed must be what is sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Moment {
    /// Milliseconds since the Unix epoch.
    pub(super) now_ms: u64,
    /// A UUID that nobody can guess.
    pub(super) uuid: Rc<str>,
}

impl Moment {
    /// What a placeholder stands for that is of it.
    pub(super) fn value(&self, placeholder: &Placeholder) -> Option<Value> {
        let now = |base: u64, offset: i64| Value::Json(base.saturating_add_signed(offset).to_string());
        match placeholder {
            Placeholder::NowMs(offset) => Some(now(self.now_ms, *offset)),
            Placeholder::NowS(offset) => Some(now(self.now_ms / 1000, *offset)),
            Placeholder::Uuid => Some(Value::Text(self.uuid.to_string())),
            _ => None,
        }
    }
}

impl Secrets {
    /// What a placeholder stands for.
    ///
    /// # Errors
    /// Why it has no value: the end of a sentence that never holds a value.
    pub(super) fn value(&self, placeholder: &Placeholder) -> Result<Value, String> {
        if let Some(value) = self.moment.value(placeholder) {
            return Ok(value);
        }
        self.values.get(placeholder).cloned().unwrap_or_else(|| Err("has no value yet".to_owned()))
    }

    /// The same values, at this moment.
    pub(super) fn at(self, moment: Moment) -> Secrets {
        Secrets { moment, ..self }
    }

    /// What takes them out of texts.
    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The same values, with another opinion of what is to be hidden.
    pub(super) fn with_redactor(self, redactor: Redactor) -> Secrets {
        Secrets { redactor: Rc::new(redactor), ..self }
    }

    /// A text of the server's without the secrets that it may repeat, its first 4 KiB at most.
    pub(super) fn without(&self, text: &str) -> String {
        self.redactor.redact(text)
    }
}

/// Hides what a placeholder stands for. What a variable is made of is hidden by itself; what it has in the
/// configuration is a secret only where its name says so, since most are no more than a topic.
fn hide_value(redactor: &mut Redactor, placeholder: &Placeholder, value: &Value) {
    let Placeholder::Var(name) = placeholder else { return hide(redactor, value) };
    if sounds_secret(name) {
        return hide(redactor, value);
    }
    let (Value::Text(text) | Value::Json(text)) = value;
    if let Ok(json) = serde_json::from_str(text) {
        hide_members(redactor, &json);
    }
}

/// Hides the members whose names say that they are secrets.
fn hide_members(redactor: &mut Redactor, json: &serde_json::Value) {
    match json {
        serde_json::Value::Array(items) => items.iter().for_each(|item| hide_members(redactor, item)),
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                match (member, sounds_secret(name)) {
                    (serde_json::Value::String(text), true) => redactor.hide(text, MIN),
                    (_, true) => each_text(member, &mut |text| redactor.hide(text, MIN_LIKELY)),
                    (_, false) => hide_members(redactor, member),
                }
            }
        }
        _ => {}
    }
}

/// Hides a value, and the texts in one of JSON.
fn hide(redactor: &mut Redactor, value: &Value) {
    let json = match value {
        Value::Text(text) => {
            redactor.hide(text, MIN);
            serde_json::from_str(text).unwrap_or_default()
        }
        Value::Json(json) => match serde_json::from_str(json) {
            Ok(serde_json::Value::String(text)) => return hide(redactor, &Value::Text(text)),
            Ok(parsed) => {
                redactor.hide(json, MIN);
                parsed
            }
            Err(_) => return redactor.hide(json, MIN),
        },
    };
    each_text(&json, &mut |text| redactor.hide(text, MIN_LIKELY));
}

/// The texts in a value of JSON, however deep.
pub(super) fn each_text(json: &serde_json::Value, take: &mut impl FnMut(&str)) {
    match json {
        serde_json::Value::String(text) => take(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| each_text(item, take)),
        serde_json::Value::Object(members) => members.values().for_each(|item| each_text(item, take)),
        _ => {}
    }
}

impl FromIterator<(Placeholder, Result<Value, String>)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (Placeholder, Result<Value, String>)>>(values: I) -> Secrets {
        let values: BTreeMap<_, _> = values.into_iter().collect();
        let mut redactor = Redactor::default();
        for (placeholder, value) in &values {
            if let Ok(value) = value {
                hide_value(&mut redactor, placeholder, value);
            }
        }
        Secrets { values: Rc::new(values), moment: Moment::default(), redactor: Rc::new(redactor) }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_value_is_shown() {
        let token = Placeholder::Env("T".into());
        let secrets: Secrets = [
            (token.clone(), Ok(Value::Text("hunter2".into()))),
            (Placeholder::Topics, Ok(Value::Text("a".into()))),
            (Placeholder::Env("U".into()), Err("is not set in the environment".into())),
        ]
        .into_iter()
        .collect();
        assert!(!format!("{secrets:?}").contains("hunter2"));
        assert_eq!(secrets.value(&token), Ok(Value::Text("hunter2".into())));
        assert_eq!(secrets.value(&Placeholder::Env("U".into())), Err("is not set in the environment".into()));
        assert!(secrets.value(&Placeholder::Env("V".into())).is_err());
        assert_eq!(secrets.without("a bad token: hunter2"), "a bad token: …");
    }

    #[test]
    fn a_variable_is_a_secret_where_its_name_says_so() {
        let var = |name: &str, value: &str| (Placeholder::Var(name.into()), Ok(Value::Json(value.into())));
        let secrets: Secrets = [
            var("token", r#""hunter2hunter2""#),
            var("streams", r#"["btcusdt@trade","ethusdt@trade"]"#),
            var("login", r#"[{"user":"somebody","auth_token":"swordfish"}]"#),
        ]
        .into_iter()
        .collect();
        let text = "hunter2hunter2 btcusdt@trade somebody swordfish";
        assert_eq!(secrets.without(text), "… btcusdt@trade somebody …");
    }

    #[test]
    fn the_texts_in_a_value_are_hidden_one_by_one() {
        let printed = r#"{"token":"hunter2hunter2","list":["swordfish"],"at":12345678,"kind":"short"}"#;
        let values = [Value::Text(printed.into()), Value::Json(r#""a \"quoted\" text""#.into())];
        let value = |(n, value): (usize, Value)| (Placeholder::Env(n.to_string()), Ok(value));
        let secrets: Secrets = values.into_iter().enumerate().map(value).collect();
        let text = r#"hunter2hunter2 swordfish short 12345678 a "quoted" text"#;
        assert_eq!(secrets.without(text), "… … short 12345678 …");
        assert_eq!(secrets.without(printed), "…");
    }
}
