//! JSON pointers (RFC 6901), checked once.

use std::fmt;

/// Where in a JSON value to look: `/d/session_id`, or the empty text for the whole.
///
/// A token leads into an object by its key and into an array by its index, which is written without
/// leading zeros (RFC 6901, section 4). The token `-`, the place after an array's last element, leads
/// nowhere.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pointer {
    text: String,
    tokens: Vec<String>,
}

/// More steps than any message needs; it bounds what looks them up.
const MAX_TOKENS: usize = 64;

/// The token that leads to any element of a list, where patterns, captures and topics have it; into an object it
/// leads by this key.
pub const ANY: &str = "*";

impl Pointer {
    /// Reads a pointer's text.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write: the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self { text: String::new(), tokens: Vec::new() });
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err("is no JSON pointer: write one such as \"/type\", or \"\" for the whole".to_owned());
        };
        let escapes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        if !escapes {
            return Err("is no JSON pointer: write ~0 for `~`, and ~1 for a `/` in a key".to_owned());
        }
        let tokens: Vec<_> =
            rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
        match tokens.len() > MAX_TOKENS {
            true => Err(format!("leads deeper than {MAX_TOKENS} steps: write a shorter one")),
            false => Ok(Self { text: text.to_owned(), tokens }),
        }
    }

    /// The keys and indices on the way, without their escapes.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Where a token is [`ANY`]: the pointer to the first list, and the one that goes on from its elements. None
    /// where it leads to one place.
    pub fn at_any(&self) -> Option<(Pointer, Pointer)> {
        let at = self.tokens.iter().position(|token| token == ANY)?;
        let part = |tokens: &[String], texts: Vec<&str>| Pointer {
            text: texts.into_iter().flat_map(|text| ["/", text]).collect(),
            tokens: tokens.to_vec(),
        };
        let texts = || self.text.split('/').skip(1);
        let list = part(&self.tokens[..at], texts().take(at).collect());
        Some((list, part(&self.tokens[at + 1..], texts().skip(at + 1).collect())))
    }

    /// The pointer as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The index that a token is for an array; none if it is just a key.
pub fn array_index(token: &str) -> Option<usize> {
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (token.len() == 1 || !token.starts_with('0'))).then(|| token.parse().ok())?
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pointer({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_taken_apart() {
        for (text, tokens) in [
            ("", &[][..]),
            ("/", &[""]),
            ("/a", &["a"]),
            ("/a~0b/~1", &["a~b", "/"]),
            ("/~01", &["~1"]),
            ("/d/0//x y", &["d", "0", "", "x y"]),
        ] {
            let pointer = Pointer::parse(text).unwrap();
            assert_eq!(pointer.tokens(), tokens, "{text}");
            assert_eq!(pointer.to_string(), text);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["a", "#/a", "/~", "/~2", "/a/~", &"/x".repeat(65)] {
            assert!(Pointer::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_star_is_a_whole_token() {
        for (text, parts) in [
            ("/*", Some(("", ""))),
            ("/*/a~1b", Some(("", "/a~1b"))),
            ("/d~0/0/*/x/*", Some(("/d~0/0", "/x/*"))),
            ("//*//", Some(("/", "//"))),
            ("", None),
            ("/a*/**/~0*", None),
        ] {
            let parse = |text| Pointer::parse(text).unwrap();
            let parts = parts.map(|(list, rest)| (parse(list), parse(rest)));
            assert_eq!(parse(text).at_any(), parts, "{text}");
        }
    }

    #[test]
    fn an_index_has_no_leading_zero() {
        assert_eq!(["0", "10", "007", "-", "", "+1", "1e3"].map(array_index), {
            [Some(0), Some(10), None, None, None, None, None]
        });
        assert_eq!(array_index("99999999999999999999999"), None);
    }
}
