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
        let mut forms: Vec<String> = self.0.values().flatten().flat_map(forms).collect();
        // of a secret that has another in it nothing may stay
        forms.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        forms.iter().filter(|form| form.len() >= MIN).fold(text.to_owned(), |text, form| {
            if text.contains(form) { text.replace(form, "…") } else { text }
        })
    }
}

/// How a value may stand in a text: as it is, and as the ways to write JSON have it.
fn forms(value: &Value) -> [String; 4] {
    let plain = match value {
        Value::Text(text) => text.clone(),
        Value::Json(json) => serde_json::from_str(json).unwrap_or_else(|_| json.clone()),
    };
    let quoted = serde_json::Value::from(plain.as_str()).to_string();
    let escaped = quoted[1..quoted.len() - 1].to_owned();
    let ascii = escaped.chars().flat_map(|c| match c.is_ascii() {
        true => vec![c.to_string()],
        false => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    });
    [ascii.collect(), escaped.replace('/', "\\/"), escaped, plain]
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
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_written() {
        let texts = ["admin", "admin123", r#"quo"te"#, "sla/sh", "schlüssel", "abc"];
        let value = |(n, text): (usize, &&str)| {
            (Placeholder::Env(n.to_string()), Ok(Value::Text((*text).to_owned())))
        };
        let secrets: Secrets = texts.iter().enumerate().map(value).collect();
        for (text, shown) in [
            ("admin admin123", "… …"),
            (r#"{"a":"quo\"te","b":"sla\/sh"}"#, r#"{"a":"…","b":"…"}"#),
            (r#"sla/sh quo"te"#, "… …"),
            (r#"{"a":"schl\u00fcssel","b":"schlüssel"}"#, r#"{"a":"…","b":"…"}"#),
            ("abc is short", "abc is short"),
        ] {
            assert_eq!(secrets.without(text), shown);
        }
    }
}
