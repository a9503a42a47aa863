//! Regular expressions: what a search by texts alone can't say.

use std::fmt;

use regex::bytes::{Captures, Regex, RegexBuilder};

use crate::config::reader::{Item, values::quoted};

/// So many bytes of a message, or of a value, are searched.
pub const MAX_SEARCHED: usize = 64 * 1024;
/// The longest expression, in bytes.
const MAX_EXPRESSION: usize = 4 * 1024;
/// What one may take compiled, in bytes.
const MAX_COMPILED: usize = 1024 * 1024;

/// A regular expression, in the syntax of the `regex` crate. It is searched for in the first [`MAX_SEARCHED`] bytes, and
/// takes a time that only grows with these and with its own length, whatever it is.
#[derive(Clone)]
pub struct Expression(Regex);

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write: the end of a sentence.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty, which every message would match: write an expression".to_owned());
        }
        if text.len() > MAX_EXPRESSION {
            return Err(format!("has {} bytes, and {MAX_EXPRESSION} are the most", text.len()));
        }
        let regex = RegexBuilder::new(text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
        regex.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                format!("takes more than {limit} bytes compiled: count less in it")
            }
            regex::Error::Syntax(words) => format!("is no regular expression: {}", last_words(&words)),
            other => format!("is no regular expression: {other}"),
        })
    }

    /// The expression that a value of the file is.
    pub(in crate::config) fn read(item: &Item<'_>) -> Option<Self> {
        Self::new(item.text()?).map_err(|why| item.problem(why)).ok()
    }

    /// Whether it matches anything in these bytes.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(searched(bytes))
    }

    /// The values of its named groups, where it matches first: those that took part, and are UTF-8.
    pub fn named<'m>(&self, bytes: &'m [u8]) -> Option<Vec<(&str, &'m str)>> {
        let found: Captures<'m> = self.0.captures(searched(bytes))?;
        let values = self.names().filter_map(|name| {
            let value = found.name(name)?;
            Some((name, str::from_utf8(value.as_bytes()).ok()?))
        });
        Some(values.collect())
    }

    /// The names of its groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.capture_names().flatten()
    }
}

fn searched(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(MAX_SEARCHED)]
}

/// The crate draws a picture of several lines, of which the last says what is wrong, and the second shows the expression.
fn last_words(words: &str) -> String {
    let last = words.lines().last().unwrap_or_default();
    let why = last.strip_prefix("error: ").unwrap_or(last);
    let marked = words.lines().nth(2).filter(|line| line.trim_start().starts_with('^'));
    match marked.map(|line| line.find('^').unwrap_or_default().saturating_sub(4) + 1) {
        Some(place) => format!("{why}, at its character {place}"),
        None => why.to_owned(),
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// As it was written.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", quoted(self.0.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_groups_have_values() {
        let nchan = Expression::new(r"^id: (?<id>[^\n]+)\n(?:\n|x(?<other>.*))").unwrap();
        assert_eq!(nchan.named(b"id: 1795476208:0\n\n{\"a\":1}"), Some(vec![("id", "1795476208:0")]));
        assert_eq!(nchan.named(b"id: 1\nxy"), Some(vec![("id", "1"), ("other", "y")]));
        assert_eq!(nchan.named(b"id: "), None);
        assert_eq!(nchan.names().collect::<Vec<_>>(), ["id", "other"]);
        let bytes = Expression::new(r"(?s-u)^\x00(?<all>.+)$").unwrap();
        assert_eq!(bytes.named(b"\0a\xff"), Some(vec![]), "what isn't UTF-8 is no value");
    }

    #[test]
    fn only_the_beginning_is_searched() {
        let mut long = vec![b' '; MAX_SEARCHED];
        long.push(b'x');
        let x = Expression::new("x").unwrap();
        assert!(!x.is_match(&long) && x.is_match(&long[1..]));
    }

    #[test]
    fn a_bad_one_is_refused_with_its_place() {
        for (text, why) in [
            ("", "is empty"),
            ("a(b", "is no regular expression: unclosed group, at its character 2"),
            ("a{9999999}", "bytes compiled: count less in it"),
            ("*a", "at its character 1"),
            (r"(\w{1000}){1000}", "bytes compiled: count less in it"),
            ("(?<a>x)(?<a>y)", "duplicate capture group name"),
            ("x(?=y)", "look-around"),
        ] {
            let error = Expression::new(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Expression::new(&"x".repeat(MAX_EXPRESSION + 1)).is_err());
    }
}
