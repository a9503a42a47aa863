//! What the placeholders stand for that are resolved once for each attempt.

use std::{collections::BTreeMap, fmt, rc::Rc};

use crate::config::{Placeholder, Value};

/// A value for each placeholder of an attempt, or why it has none: that matters only where it is used.
/// A copy costs nothing.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Secrets(Rc<BTreeMap<Placeholder, Result<Value, String>>>);

impl Secrets {
    /// What a placeholder stands for.
    ///
    /// # Errors
    /// Why it has no value: the end of a sentence that never holds a value.
    pub(super) fn value(&self, placeholder: &Placeholder) -> Result<Value, String> {
        self.0.get(placeholder).cloned().unwrap_or_else(|| Err("has no value yet".to_owned()))
    }

    /// A text of the server's without the secrets that it may repeat.
    pub(super) fn without(&self, text: &str) -> String {
        // what is shorter hides more of the text than of itself
        const MIN: usize = 4;
        let mut secrets: Vec<String> = Vec::new();
        for value in self.0.values().flatten() {
            let secret = match value {
                Value::Text(secret) => secret,
                Value::Json(json) => json.trim_matches('"'),
            };
            if secret.len() >= MIN {
                // within JSON it may be escaped
                let escaped = serde_json::to_string(secret).unwrap_or_default();
                secrets.extend([escaped.trim_matches('"').to_owned(), secret.to_owned()]);
            }
        }
        // one may be a part of another
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut text = text.to_owned();
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            if text.contains(secret) {
                text = text.replace(secret, "…");
            }
        }
        text
    }
}

impl FromIterator<(Placeholder, Result<Value, String>)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (Placeholder, Result<Value, String>)>>(values: I) -> Secrets {
        Secrets(Rc::new(values.into_iter().collect()))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
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
            (Placeholder::NowS, Ok(Value::Text("a".into()))),
            (Placeholder::Env("U".into()), Err("is not set in the environment".into())),
        ]
        .into_iter()
        .collect();
        assert!(!format!("{secrets:?}").contains("hunter2"));
        assert_eq!(secrets.value(&token), Ok(Value::Text("hunter2".into())));
        assert_eq!(secrets.value(&Placeholder::Env("U".into())), Err("is not set in the environment".into()));
        assert!(secrets.value(&Placeholder::Env("V".into())).is_err());
        assert_eq!(secrets.without("a bad token: hunter2"), "a bad token: …");
        let secrets: Secrets = [
            (token, Ok(Value::Text("pass\"word".into()))),
            (Placeholder::Env("U".into()), Ok(Value::Text("pass".into()))),
        ]
        .into_iter()
        .collect();
        assert_eq!(secrets.without(r#"{"t":"pass\"word","u":"pass"}"#), r#"{"t":"…","u":"…"}"#);
    }
}
