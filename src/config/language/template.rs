//! Text with placeholders such as `${env:NAME}` in it.

use std::{error, fmt, sync::Arc};

use super::{
    derived::Derived, environment::Environment, placeholder::Placeholder, positions, secret::Secret,
};

/// Text with placeholders, parsed once, and escaped for where they stand when it is rendered.
///
/// `$${` is a literal `${`. `Display` and `Debug` show the text as configured, with its placeholders.
/// What they stand for is read afresh for each attempt or at each use: see [`Placeholder`].
#[derive(Clone, PartialEq, Eq)]
pub struct Template(Vec<Segment>);

#[derive(Clone, PartialEq, Eq)]
pub(in crate::config) enum Segment {
    Text(String),
    Placeholder(Placeholder, Position),
    /// A placeholder of a derived value, once it is known what that is made of.
    Derived(Arc<Derived>, Position),
}

/// Where a placeholder stands, which says how its value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// In a header, in text, or at the beginning of a URL: as it is.
    Verbatim,
    /// In a URL: percent-encoded (RFC 3986, 2.1), but for unreserved characters.
    Url,
    /// Within a string of JSON: escaped (RFC 8259, 7).
    JsonText,
    /// In the place of a value of JSON: the value itself; a text becomes a string.
    JsonValue,
}

/// What a placeholder stands for. It may be secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A value of JSON, as it was written. Where text is wanted, a string of it is its text.
    Json(String),
}

impl Template {
    /// Reads a template for a header or another text, where values stand as they are.
    ///
    /// # Errors
    ///
    /// A placeholder that is not closed, has an unknown kind, or has a name that can't be one.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut template = Self(Vec::new());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                template.push_text(before);
                template.push_text("${");
                rest = &from[2..];
                continue;
            }
            template.push_text(before);
            let Some(end) = from.find('}') else {
                let sentence = "a `${` is not closed: add the `}`, or write `$${` for the text `${`";
                return Err(TemplateError(sentence.to_owned()));
            };
            let placeholder = Placeholder::parse(&from[2..end]).map_err(TemplateError)?;
            template.0.push(Segment::Placeholder(placeholder, Position::Verbatim));
            rest = &from[end + 1..];
        }
        template.push_text(rest);
        Ok(template)
    }

    /// Reads a template for a URL: values are percent-encoded, but for one that the URL begins with,
    /// and those of the scheme, host and port.
    ///
    /// # Errors
    ///
    /// As [`Template::parse`].
    pub fn parse_url(text: &str) -> Result<Self, TemplateError> {
        let mut template = Self::parse(text)?;
        positions::of_url(&mut template.0);
        Ok(template)
    }

    /// Reads a template for a message. Where it is JSON, values are written as JSON: within a string
    /// they are escaped, elsewhere they are the values themselves. There may be text before, between
    /// and behind.
    ///
    /// # Errors
    ///
    /// As [`Template::parse`]; and a text that begins as JSON, has placeholders, and isn't JSON.
    pub fn parse_message(text: &str) -> Result<Self, TemplateError> {
        let mut template = Self::parse(text)?;
        positions::of_message(&mut template.0).map_err(TemplateError)?;
        Ok(template)
    }

    /// A template that is just this text, whatever it holds.
    pub fn literal(text: &str) -> Self {
        let mut template = Self(Vec::new());
        template.push_text(text);
        template
    }

    /// A template that is just this placeholder.
    pub(in crate::config) fn placeholder(placeholder: Placeholder) -> Self {
        Self(vec![Segment::Placeholder(placeholder, Position::Verbatim)])
    }

    /// Whether there is no placeholder.
    pub fn is_literal(&self) -> bool {
        self.as_literal().is_some()
    }

    /// The whole text, if there is no placeholder.
    pub fn as_literal(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Segment::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The placeholders, and where they stand; of a derived value, those that it is made of.
    pub fn placeholders(&self) -> impl Iterator<Item = (&Placeholder, Position)> {
        let mut all = Vec::new();
        for segment in &self.0 {
            match segment {
                Segment::Text(_) => {}
                Segment::Placeholder(placeholder, position) => all.push((placeholder, *position)),
                Segment::Derived(derived, _) => all.extend(derived.placeholders()),
            }
        }
        all.into_iter()
    }

    /// The derived values in it, those that others are made of included.
    pub(in crate::config) fn derived(&self) -> Vec<&Derived> {
        let mut all = Vec::new();
        for segment in &self.0 {
            if let Segment::Derived(derived, _) = segment {
                all.push(&**derived);
                all.extend(derived.templates().flat_map(Template::derived));
            }
        }
        all
    }

    /// As configured, with other words for the placeholders; a derived value stays by its name.
    pub(in crate::config) fn with_placeholders(
        &self,
        mut word: impl FnMut(&Placeholder) -> String,
    ) -> String {
        let texts = self.0.iter().map(|segment| match segment {
            Segment::Placeholder(placeholder, _) => word(placeholder),
            segment => segment.to_string(),
        });
        texts.collect()
    }

    /// How many derived values are made for it, those that others are made of included.
    pub(in crate::config) fn weight(&self) -> usize {
        let weights = self.0.iter().map(|segment| match segment {
            Segment::Derived(derived, _) => derived.weight(),
            Segment::Text(_) | Segment::Placeholder(..) => 0,
        });
        weights.sum()
    }

    /// Puts what derived values are made of in the place of their names, as `find` knows it.
    ///
    /// # Errors
    ///
    /// What is wrong with one: a sentence's end, after the placeholder.
    pub(in crate::config) fn derive(
        &mut self,
        find: impl Fn(&str) -> Result<Arc<Derived>, String>,
    ) -> Result<(), (Placeholder, String)> {
        for segment in &mut self.0 {
            let Segment::Placeholder(placeholder, position) = segment else { continue };
            let Placeholder::Derived(name) = &*placeholder else { continue };
            let refuse = |why| (placeholder.clone(), why);
            if *position == Position::JsonValue {
                let why = "is text that stands bare in JSON: put quotes around it";
                return Err(refuse(why.to_owned()));
            }
            *segment = Segment::Derived(find(name).map_err(refuse)?, *position);
        }
        Ok(())
    }

    /// The text with each placeholder's value, which `value` gives, escaped for where it stands.
    ///
    /// # Errors
    ///
    /// What `value` says is wrong, the end of a sentence, after the placeholder.
    pub fn render(
        &self,
        mut value: impl FnMut(&Placeholder) -> Result<Value, String>,
    ) -> Result<Secret, TemplateError> {
        self.render_at(|placeholder, _| value(placeholder))
    }

    /// As [`Template::render`]; `value` also gets how many bytes of text stand before the value.
    ///
    /// # Errors
    ///
    /// As [`Template::render`].
    pub fn render_at(
        &self,
        mut value: impl FnMut(&Placeholder, usize) -> Result<Value, String>,
    ) -> Result<Secret, TemplateError> {
        let mut whole = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Text(text) => whole.push_str(text),
                Segment::Placeholder(placeholder, position) => {
                    let refuse = |why| TemplateError(format!("`{placeholder}` {why}"));
                    let value = value(placeholder, whole.len()).map_err(refuse)?;
                    positions::write(&mut whole, &value, *position);
                }
                Segment::Derived(derived, position) => {
                    let refuse = |why| TemplateError(format!("`{}` {why}", derived.placeholder()));
                    let at = whole.len();
                    let text = derived.value(&mut |placeholder| value(placeholder, at)).map_err(refuse)?;
                    positions::write(&mut whole, &Value::Text(text), *position);
                }
            }
        }
        Ok(Secret::new(whole))
    }

    /// The text with the present values of credentials, environment variables and files, from this
    /// process's environment.
    ///
    /// # Errors
    ///
    /// Names the placeholder that has no value, or whose value is empty, not UTF-8 or over 64 KiB; and
    /// any of another kind.
    pub fn resolve(&self) -> Result<Secret, TemplateError> {
        self.resolve_in(&Environment::process())
    }

    /// As [`Template::resolve`], with environment variables from `environment`.
    ///
    /// # Errors
    ///
    /// As [`Template::resolve`].
    pub fn resolve_in(&self, environment: &Environment) -> Result<Secret, TemplateError> {
        self.render(|placeholder| placeholder.read(environment).map(Value::Text))
    }

    /// The text with `1` in place of each placeholder, for checks of the text around them.
    pub(in crate::config) fn with_stand_ins(&self) -> String {
        self.0.iter().map(Segment::stand_in).collect()
    }

    /// The same, with another text in place of each placeholder that is `other`.
    pub(in crate::config) fn with_stand_ins_but(&self, other: &Placeholder, text: &str) -> String {
        let texts = self.0.iter().map(|segment| match segment {
            Segment::Placeholder(placeholder, _) if placeholder == other => text,
            segment => segment.stand_in(),
        });
        texts.collect()
    }

    /// The literal text before the first placeholder.
    pub(in crate::config) fn literal_start(&self) -> &str {
        match self.0.first() {
            Some(Segment::Text(text)) => text,
            _ => "",
        }
    }

    // Neighbouring texts are joined, so that equal templates have equal segments.
    fn push_text(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Segment::Text(last)) => last.push_str(text),
            _ => self.0.push(Segment::Text(text.to_owned())),
        }
    }
}

impl Segment {
    /// Its text, or `1` for a placeholder.
    pub(in crate::config) fn stand_in(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Placeholder(..) | Self::Derived(..) => "1",
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| segment.fmt(f))
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.to_string())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(..)")
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&text.replace("${", "$${")),
            Self::Placeholder(placeholder, _) => placeholder.fmt(f),
            Self::Derived(derived, _) => derived.placeholder().fmt(f),
        }
    }
}

/// Why a template can't be read or resolved: a sentence that names the placeholder, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError(String);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for TemplateError {}

#[cfg(test)]
mod tests;
