//! Whether a text is JSON. Pure.
//!
//! serde_json decides. But most of what servers send is plain: no escapes, no line breaks, no great
//! depth. Such a text is known to be JSON in half the time, and to stay on one line.

use serde_json::value::RawValue;

/// How a text stands in a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Json<'a> {
    /// It is JSON, and has no line break in it.
    Plain(&'a str),
    /// It is JSON, which may have line breaks between its tokens.
    Any(&'a str),
    /// It is no JSON.
    Not,
}

/// Says what `text` is. The JSON comes without the blanks around it.
pub(crate) fn json(text: &str) -> Json<'_> {
    if is_plain(text) {
        return Json::Plain(text);
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) => Json::Any(value.get()),
        Err(_) => Json::Not,
    }
}

/// Whether a text is certainly JSON (RFC 8259), without escapes, control characters and blanks at
/// its ends, and no deeper than 64. `false` says nothing.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    // without a branch, so that it is done on many bytes at once
    let odd = bytes.iter().fold(false, |odd, &byte| odd | (byte < b' ') | (byte == b'\\'));
    !odd && Scan { bytes, at: 0 }.document().is_some()
}

/// Eight bytes of one.
const ONES: u64 = 0x0101_0101_0101_0101;

/// A place in a text without control characters and backslashes. `None` gives up.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn document(&mut self) -> Option<()> {
        // what is open: a bit each, set for an object
        let (mut objects, mut depth) = (0_u64, 0_u32);
        loop {
            let byte = self.peek()?;
            match byte {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    if depth == u64::BITS {
                        return None;
                    }
                    (objects, depth) = (objects << 1 | u64::from(byte == b'{'), depth + 1);
                    self.skip();
                    // both closing brackets stand two after their opening ones
                    if self.peek()? != byte + 2 {
                        if byte == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => self.number()?,
            }
            // after a value, or at the end of an empty object or array
            loop {
                if depth == 0 {
                    return (self.at == self.bytes.len()).then_some(());
                }
                self.blanks();
                let in_object = objects & 1 == 1;
                match self.peek()? {
                    b',' => {
                        self.skip();
                        if in_object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if in_object => {}
                    b']' if !in_object => {}
                    _ => return None,
                }
                self.at += 1;
                (objects, depth) = (objects >> 1, depth - 1);
            }
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn word_at(&self, at: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Goes over a byte and the blanks after it.
    #[inline]
    fn skip(&mut self) {
        self.at += 1;
        self.blanks();
    }

    #[inline]
    fn blanks(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// A key, its colon, and the blanks around that.
    #[inline]
    fn key(&mut self) -> Option<()> {
        if self.peek()? != b'"' {
            return None;
        }
        self.string()?;
        self.blanks();
        if self.peek()? != b':' {
            return None;
        }
        self.skip();
        Some(())
    }

    /// Up to the next quote, since nothing is escaped.
    #[inline]
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        // most strings are short
        for _ in 0..3 {
            let Some(word) = self.word_at(self.at) else { break };
            let other = word ^ (ONES * u64::from(b'"'));
            // the high bit of the first byte that is zero is the lowest one set
            let zeros = other.wrapping_sub(ONES) & !other & (ONES << 7);
            if zeros != 0 {
                self.at += zeros.trailing_zeros() as usize / 8 + 1;
                return Some(());
            }
            self.at += 8;
        }
        self.at += memchr::memchr(b'"', &self.bytes[self.at..])? + 1;
        Some(())
    }

    #[inline]
    fn word(&mut self, word: &[u8]) -> Option<()> {
        if !self.bytes[self.at..].starts_with(word) {
            return None;
        }
        self.at += word.len();
        Some(())
    }

    #[inline]
    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    #[inline]
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(word) = self.word_at(self.at) {
            // `0` to `9` have a 3 in their upper half, also with 6 added
            let upper = |word: u64| (word & (ONES * 0xf0)) ^ (ONES * 0x30);
            let others = upper(word) | upper(word.wrapping_add(ONES * 6));
            if others != 0 {
                self.at += others.trailing_zeros() as usize / 8;
                return (self.at > start).then_some(());
            }
            self.at += 8;
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_json_is_known() {
        for text in [
            "{}",
            "[]",
            "0",
            "-1",
            "1.5",
            "1e9",
            "1E+9",
            "2.50e-10",
            "true",
            "false",
            "null",
            "\"\"",
            "\"é\"",
            r#"{"a":1}"#,
            r#"{"a" : [ 1 , 2 , {} , [] ] }"#,
            "[[[]]]",
            r#"[{"a":{"b":[{}]}},"c",null]"#,
            r#"{"a":"0123456789012345678901234567890123456789","b":12345678901234567890}"#,
            "123456789",
            "1234567",
            "12345678.87654321",
        ] {
            assert_eq!(json(text), Json::Plain(text));
        }
    }

    #[test]
    fn other_json_is_left_to_the_library() {
        let deep = "[".repeat(65) + &"]".repeat(65);
        for (text, inner) in
            [(" 1", "1"), ("1 ", "1"), ("[1,\n2]", "[1,\n2]"), (r#""\n""#, r#""\n""#), (&deep, &deep)]
        {
            assert_eq!(json(text), Json::Any(inner), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_none() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[",
            "]",
            "[}",
            "{]",
            "{1}",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{\"a\":}",
            "[,1]",
            "1 2",
            "01",
            "-",
            "+1",
            ".5",
            "1.",
            "1e",
            "1e+",
            "0x1",
            "1:",
            "tru",
            "nul",
            "truefalse",
            "True",
            "\"",
            "\"a",
            "[1 2]",
            "{\"a\" 1}",
            "{,}",
            "[\"a\":1]",
            "NaN",
            "{\"a\":1}}",
            "[1]]",
            "1,",
            "/1",
            "1/",
            "1234567:",
            "12345678:",
            "é",
            "{\"a\":é}",
            "\u{1}",
            "\"\u{1}\"",
        ] {
            assert_eq!(json(text), Json::Not, "{text:?}");
        }
    }

    /// JSON of some shape, with blanks.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("true".to_owned()),
            Just("null".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<f64>()
                .prop_filter("finite", |number| number.is_finite())
                .prop_map(|number| format!("{number:e}")),
            "[ -!#-\\[\\]-~é€]{0,40}".prop_map(|text| format!("\"{text}\"")),
        ];
        leaf.prop_recursive(6, 60, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6)
                    .prop_map(|items| format!("[{}]", items.join(" , "))),
                proptest::collection::vec(("[a-z ]{0,12}", inner), 0..6).prop_map(|items| {
                    let items: Vec<_> =
                        items.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                    format!("{{ {} }}", items.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn plain_values_take_the_short_way(text in value()) {
            prop_assert_eq!(json(&text), Json::Plain(&text));
        }

        #[test]
        fn a_changed_value_is_judged_as_the_library_does(
            text in value(),
            at in any::<prop::sample::Index>(),
            with in "[\\[\\]{},:\"0-9eE+. tn\\-é\\\\\n]{0,2}",
            length in 0_usize..3,
        ) {
            let mut letters: Vec<char> = text.chars().collect();
            let start = at.index(letters.len() + 1);
            let end = (start + length).min(letters.len());
            letters.splice(start..end, with.chars());
            let text: String = letters.into_iter().collect();
            let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
            prop_assert_eq!(json(&text) != Json::Not, is_json, "{}", text);
        }

        #[test]
        fn any_text_is_judged_as_the_library_does(text in "[\\[\\]{},:\"0-9eE+. tn\\-é\\\\]{0,30}") {
            let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
            prop_assert_eq!(json(&text) != Json::Not, is_json);
        }
    }
}
