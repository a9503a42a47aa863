//! Takes secrets out of texts that are shown: what a server, a proxy or a program says may repeat what it was
//! told. Pure.
//!
//! A secret is found as it is and as texts carry it: percent-encoded, escaped for JSON or HTML, any of these
//! several times over, in base64 (also in the middle of it) and in hex; and where the text's end cuts it off.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    ops::Bound,
};

use crate::config::Cut;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Secrets, as they may be written, and what stands in their place. However many there are, a text is looked
/// through once.
#[derive(Clone, Default, PartialEq)]
pub(in crate::upstream) struct Redactor(BTreeMap<Vec<char>, Spelling>);

/// What is known of one way to write a secret.
#[derive(Clone, PartialEq, Eq)]
struct Spelling {
    label: String,
    /// It is in base64 or hex: what it stands in goes with it.
    is_coded: bool,
}

/// What stands in the place of a secret without a name.
const HIDDEN: &str = "…";
/// What was certainly meant as a secret is hidden from so many characters on; what is shorter hides more of
/// the text than of itself.
pub(in crate::upstream) const MIN: usize = 4;
/// The same for what may be one, such as a value in a URL's query; and for what is left of a secret at the
/// end of a text.
pub(in crate::upstream) const MIN_LIKELY: usize = 8;
/// No more of a text is looked at, in bytes, and no more is shown; sentences are far shorter.
const MAX_TEXT: usize = 4096;
/// So many times something that is escaped may itself be escaped.
const MAX_DEPTH: usize = 6;
/// So many characters are compared at most, over and over; a text that wants more is hidden whole. A server
/// may have had a hand in the secrets as well.
const MAX_WORK: usize = 1 << 22;
/// An escape that the end of a text cuts is shorter.
const MAX_ESCAPE: usize = 12;

impl Redactor {
    /// Hides a text of at least `min` characters from now on.
    pub(in crate::upstream) fn hide(&mut self, text: &str, min: usize) {
        self.hide_as(text, min, HIDDEN);
    }

    /// The same, with something else in its place.
    pub(in crate::upstream) fn hide_as(&mut self, text: &str, min: usize, label: &str) {
        if text.chars().count() < min.max(MIN) {
            return;
        }
        // no more of it can be in what is looked at
        let text = &text[..text.floor_char_boundary(MAX_TEXT)];
        let source: Vec<char> = text.chars().collect();
        self.push(source.iter().copied().map(plain).collect(), label, false);
        // an escape that is part of it can't be told from one that was made of it
        self.push(levels(&source).pop().unwrap_or_default().chars, label, false);
        for offset in 0..3 {
            // what stands before it in the base64 changes all of it, but there are no more than three ways
            let bytes = [&[0; 2][..offset], text.as_bytes()].concat();
            let (first, cut) = ([0, 2, 3][offset], usize::from(!bytes.len().is_multiple_of(3)));
            for coded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
                self.push_coded(coded.get(first..coded.len() - cut).unwrap_or_default(), label);
            }
        }
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.push_coded(&hex, label);
        self.push_coded(&hex.to_ascii_uppercase(), label);
    }

    /// Hides nothing that is in `text`, which is shown anyway.
    pub(in crate::upstream) fn show(&mut self, text: &str) {
        self.0.retain(|chars, _| !text.contains(&chars.iter().collect::<String>()));
    }

    /// Hides what the other one does as well.
    pub(in crate::upstream) fn join(&mut self, other: &Redactor) {
        for (chars, spelling) in &other.0 {
            self.0.entry(chars.clone()).or_insert_with(|| spelling.clone());
        }
    }

    /// The text, its first 4 KiB at most, without the secrets; what isn't shown is marked as cut.
    pub(in crate::upstream) fn redact(&self, text: &str) -> String {
        let cut = Cut::of(text, MAX_TEXT);
        match self.redact_whole(cut.text) {
            Some(shown) => shown + &cut.mark(),
            None => HIDDEN.to_owned(),
        }
    }

    /// None where that would be too much work.
    fn redact_whole(&self, text: &str) -> Option<String> {
        if self.0.is_empty() {
            return Some(text.to_owned());
        }
        let source: Vec<char> = text.chars().collect();
        let mut found = Vec::new();
        let mut work = MAX_WORK;
        for level in levels(&source) {
            for at in 0..level.chars.len() {
                self.look(&level, at, &source, &mut work, &mut found)?;
            }
        }
        // of what overlaps nothing may stay
        found.sort_unstable_by_key(|&(start, end, _)| (start, usize::MAX - end));
        let (mut shown, mut done) = (String::new(), 0);
        for (start, end, label) in found {
            if start >= done {
                shown.extend(&source[done..start]);
                shown.push_str(label);
            }
            done = done.max(end);
        }
        shown.extend(&source[done..]);
        Some(shown)
    }

    /// Finds those that begin at `at`. None when that would be too much work.
    fn look<'r>(
        &'r self,
        level: &Level,
        at: usize,
        source: &[char],
        work: &mut usize,
        found: &mut Vec<(usize, usize, &'r str)>,
    ) -> Option<()> {
        let text = &level.chars[at..];
        for length in MIN..=text.len() {
            *work = work.checked_sub(length)?;
            let begun = &text[..length];
            let from = self.0.range::<[char], _>((Bound::Included(begun), Bound::Unbounded));
            let mut these = from.take_while(|(chars, _)| chars.starts_with(begun));
            let Some((chars, spelling)) = these.next() else { break };
            if chars.len() == length {
                let (start, end) = level.whole(at, length, spelling.is_coded);
                found.push((start, end, &spelling.label));
            }
            let goes_on = chars.len() > length || these.next().is_some();
            if goes_on && length >= MIN_LIKELY && level.is_cut_after(at + length - 1, source) {
                found.push((level.spans[at].0, source.len(), &spelling.label));
            }
        }
        Some(())
    }

    fn push(&mut self, chars: Vec<char>, label: &str, is_coded: bool) {
        if chars.len() >= MIN
            && let Entry::Vacant(place) = self.0.entry(chars)
        {
            place.insert(Spelling { label: label.to_owned(), is_coded });
        }
    }

    fn push_coded(&mut self, text: &str, label: &str) {
        if text.len() >= MIN_LIKELY {
            self.push(text.chars().map(plain).collect(), label, true);
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(..)")
    }
}

/// A text with some of its escapes undone, and where each character stands in the source.
#[derive(Clone, Default)]
struct Level {
    chars: Vec<char>,
    spans: Vec<(usize, usize)>,
}

impl Level {
    /// Whether the text is cut off after this character, in the middle of an escape perhaps.
    fn is_cut_after(&self, at: usize, source: &[char]) -> bool {
        match &source[self.spans[at].1..] {
            [] => true,
            ['\\' | '%' | '&', rest @ ..] => {
                let may_go_on = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '\\' | '#');
                rest.len() < MAX_ESCAPE && rest.iter().all(may_go_on)
            }
            _ => false,
        }
    }

    /// Where in the source so many characters from `at` on are, with what is coded with them.
    fn whole(&self, at: usize, length: usize, is_coded: bool) -> (usize, usize) {
        let (mut first, mut last) = (at, at + length - 1);
        if is_coded {
            while first > 0 && is_coding(self.chars[first - 1]) {
                first -= 1;
            }
            while self.chars.get(last + 1).is_some_and(|&c| is_coding(c)) {
                last += 1;
            }
        }
        (self.spans[first].0, self.spans[last].1)
    }

    fn push(&mut self, c: char, span: (usize, usize)) {
        self.chars.push(c);
        self.spans.push(span);
    }

    /// One layer of escapes undone.
    fn unescaped(&self) -> Level {
        let (mut level, mut at) = (Level::default(), 0);
        while at < self.chars.len() {
            let (c, length) = unescape(&self.chars[at..]).unwrap_or((self.chars[at], 1));
            level.push(c, (self.spans[at].0, self.spans[at + length - 1].1));
            at += length;
        }
        level
    }

    /// Made comparable: no more backslashes, and one kind of blank.
    fn plain(&self) -> Level {
        let mut level = Level::default();
        for (&c, &span) in self.chars.iter().zip(&self.spans).filter(|(c, _)| **c != '\\') {
            level.push(plain(c), span);
        }
        level
    }
}

/// The text with no, one… and all escapes undone.
fn levels(source: &[char]) -> Vec<Level> {
    let mut raw = Level { chars: source.to_vec(), spans: (0..source.len()).map(|at| (at, at + 1)).collect() };
    let as_it_is = Level { chars: source.iter().copied().map(plain).collect(), spans: raw.spans.clone() };
    let mut levels = vec![as_it_is, raw.plain()];
    for _ in 0..MAX_DEPTH {
        let next = raw.unescaped();
        if next.chars.len() == raw.chars.len() {
            break;
        }
        levels.push(next.plain());
        raw = next;
    }
    levels
}

/// Control characters are blanks where a text was made fit to be shown, and `+` is one in a query.
fn plain(c: char) -> char {
    if c.is_control() || c == '+' { ' ' } else { c }
}

/// The character that the escape stands for which the text begins with, and the escape's length.
fn unescape(text: &[char]) -> Option<(char, usize)> {
    match text {
        ['\\', 'u', ..] => {
            let unit = |at: usize| Some(u16::try_from(hex(text, at, 4)?).unwrap_or_default());
            let first = unit(2)?;
            if let (Some(['\\', 'u']), Some(second)) = (text.get(6..8), unit(8))
                && let Some(Ok(c)) = char::decode_utf16([first, second]).next()
                && !(0..=0xffff).contains(&u32::from(c))
            {
                return Some((c, 12));
            }
            Some((char::from_u32(first.into())?, 6))
        }
        ['\\', 'n' | 'r' | 't' | 'b' | 'f', ..] => Some((' ', 2)),
        ['\\', c @ ('\\' | '"' | '/' | '\''), ..] => Some((*c, 2)),
        ['%', ..] => {
            let mut bytes = [0; 4];
            for length in 1..=4 {
                let at = 3 * (length - 1);
                if text.get(at) != Some(&'%') {
                    return None;
                }
                bytes[length - 1] = hex(text, at + 1, 2)? as u8;
                if let Ok(text) = std::str::from_utf8(&bytes[..length]) {
                    return Some((text.chars().next()?, 3 * length));
                }
            }
            None
        }
        ['&', ..] => {
            let length = text.iter().take(MAX_ESCAPE).position(|&c| c == ';')? + 1;
            let name: String = text[1..length - 1].iter().collect();
            let c = match name.strip_prefix('#') {
                Some(number) => {
                    let code = match number.strip_prefix(['x', 'X']) {
                        Some(digits) => u32::from_str_radix(digits, 16),
                        None => number.parse(),
                    };
                    char::from_u32(code.ok()?)?
                }
                None => match &*name {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    _ => return None,
                },
            };
            Some((c, length))
        }
        _ => None,
    }
}

fn hex(text: &[char], at: usize, digits: usize) -> Option<u32> {
    let digits = text.get(at..at + digits)?;
    digits.iter().try_fold(0, |number, c| Some(number * 16 + c.to_digit(16)?))
}

/// Whether base64 or hex goes on with it.
fn is_coding(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=')
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn redactor(texts: &[&str]) -> Redactor {
        let mut redactor = Redactor::default();
        texts.iter().for_each(|text| redactor.hide(text, MIN));
        redactor
    }

    fn json(text: &str) -> String {
        let quoted = serde_json::Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    }

    fn percent_encoded(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_written() {
        let redactor =
            redactor(&["admin", "admin123", r#"quo"te"#, "sla/sh", "schlüssel", r"back\slash", "abc"]);
        for (text, shown) in [
            ("admin admin123", "… …"),
            (r#"{"a":"quo\"te","b":"sla\/sh"}"#, r#"{"a":"…","b":"…"}"#),
            (r#"sla/sh quo"te"#, "… …"),
            (r#"{"a":"schl\u00fcssel","b":"schlüssel"}"#, r#"{"a":"…","b":"…"}"#),
            (r#"{\"a\":\"schl\\u00FCssel\"}"#, r#"{\"a\":\"…\"}"#),
            (r"back\slash back\\slash back\\\\slash back%5Cslash back\u005cslash", "… … … … …"),
            ("/x/sla%2Fsh sla%252fsh schl%C3%BCssel", "/x/… … …"),
            ("quo&quot;te quo&#34;te quo&#x22;te quo&amp;quot;te", "… … … …"),
            ("%61dmin \\u0061dmin", "… …"),
            ("abc is short", "abc is short"),
            ("nothing % & \\ here &#; %zz \\u12", "nothing % & \\ here &#; %zz \\u12"),
            ("", ""),
        ] {
            assert_eq!(redactor.redact(text), shown, "{text}");
        }
        assert!(!format!("{redactor:?}").contains("admin"));
    }

    #[test]
    fn what_is_in_the_middle_of_base64_or_cut_off_is_hidden() {
        let redactor = redactor(&["correct horse battery"]);
        for before in ["", "u:", "me:", "you:"] {
            let basic = STANDARD.encode(format!("{before}correct horse battery!"));
            assert_eq!(redactor.redact(&format!("bad Basic {basic}.")), "bad Basic ….", "{before}");
        }
        assert_eq!(redactor.redact("no: correct hor"), "no: …");
        assert_eq!(redactor.redact(r"no: correct\u0020horse\u00"), "no: …");
        assert_eq!(redactor.redact("correct"), "correct", "that may be any word");
        assert_eq!(redactor.redact("correct horse, then"), "correct horse, then");
    }

    #[test]
    fn what_is_shown_anyway_stays_and_long_texts_are_cut() {
        let mut redactor = redactor(&["stream.example.com", "hunter2hunter2"]);
        redactor.show("stream.example.com:443");
        assert_eq!(redactor.redact("stream.example.com hunter2hunter2"), "stream.example.com …");
        let long = format!("{}hunter2hunter2", "é".repeat(2_043));
        assert_eq!(redactor.redact(&long), format!("{}…… (+4 bytes)", "é".repeat(2_043)));
        let much = redactor.redact(&"x".repeat(1 << 20));
        assert_eq!(much, format!("{}… (+1,044,480 bytes)", "x".repeat(MAX_TEXT)));
        assert_eq!(redactor.redact("hunter2hunt… (+9 bytes)"), "…… (+9 bytes)", "what was cut before");
    }

    #[test]
    fn a_name_may_stand_in_the_place() {
        let mut redactor = Redactor::default();
        redactor.hide_as("abcd-1234", MIN_LIKELY, "${capture:session}");
        redactor.hide_as("short", MIN_LIKELY, "${capture:short}");
        assert_eq!(redactor.redact("abcd-1234 short"), "${capture:session} short");
    }

    #[test]
    fn thousands_of_secrets_cost_little() {
        // by the square they would take minutes here
        let texts: Vec<String> = (0..20_000).map(|n| format!("stream-{n:06}@trade")).collect();
        let mut redactor = Redactor::default();
        texts.iter().for_each(|text| redactor.hide(text, MIN));
        let text = "stream-012345@trade and stream-x12345@trade ".repeat(50);
        assert_eq!(redactor.redact(&text), "… and stream-x12345@trade ".repeat(50));
    }

    #[test]
    fn a_text_that_would_take_too_long_is_hidden_whole() {
        let mut redactor = Redactor::default();
        redactor.hide(&"A".repeat(MAX_TEXT), MIN);
        (0..5_000).for_each(|n| redactor.hide(&format!("{}{n:04}", "A".repeat(n % 100)), MIN));
        assert_eq!(redactor.redact(&"A".repeat(MAX_TEXT - 1)), HIDDEN);
        assert_eq!(redactor.redact("nothing of it"), "nothing of it");
    }

    proptest! {
        #[test]
        fn nothing_of_it_stays(
            secret in r#"Q[A-Za-z0-9"/\\&<é \t😀]{12,20}Q"#,
            ways in proptest::collection::vec(0..3, 0..4),
            before in "[a-z]{0,3}[ =]",
        ) {
            let text = ways.iter().fold(secret.clone(), |text, way| match way {
                0 => json(&text),
                1 => percent_encoded(&text),
                _ => text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;"),
            });
            prop_assume!(text.len() < 2_000);
            let shown = redactor(&[&secret]).redact(&format!("{before}{text}."));
            prop_assert_eq!(shown, format!("{before}…."), "{}", text);
        }

        #[test]
        fn no_text_panics(text in r#"[a%\\&#;u0-9é]{0,60}"#, secret in r#"[a%\\&#;u0-9é]{4,12}"#) {
            redactor(&[&secret]).redact(&text);
        }
    }
}
