//! *Pure.* Topics: which the server speaks of, which clients want, and whether a message is meant.

use std::collections::BTreeSet;

use fastrand::Rng;

/// What the server speaks of unasked.
const FREE: [&str; 9] =
    ["btc.trades", "btc.book", "btc.book.l2", "eth.trades", "eth.book", "eth", "news", "a.b.c.d", "*.odd"];

/// What clients may want of it, each with more or less.
const PATTERNS: [&str; 15] = [
    "btc.*",
    "btc.**",
    "*.trades",
    "**.book",
    "**",
    "*",
    "eth",
    "news",
    "a.**.d",
    "*.*.*",
    "n*s",
    "nobody",
    "*.odd",
    "btc.trades",
    "s.*",
];

/// So long a topic may be, in bytes.
const LONGEST: usize = 256;

/// Those of the narrowed listeners' clients.
pub(crate) const OF_LISTENER: [&str; 2] = ["btc.**", "*"];

/// What a message is of: the server says what it always says, and what it is asked for.
pub(crate) fn draw(seed: u64, n: u64, asked: &BTreeSet<String>) -> Option<String> {
    let mut rng = Rng::with_seed(seed.rotate_left(17) ^ n.wrapping_mul(0x2545_f491_4f6c_dd1d));
    match rng.u32(0..40) {
        0..=5 => None,
        6 => Some("un\u{1}fit".to_owned()),
        7 => Some("x".repeat(LONGEST + 1 - rng.usize(0..2))),
        8..=19 if !asked.is_empty() => asked.iter().nth(rng.usize(0..asked.len())).cloned(),
        _ => Some(FREE[rng.usize(0..FREE.len())].to_owned()),
    }
}

/// What a client wants; `None` is all.
pub(crate) fn draw_taste(rng: &mut Rng) -> Option<Vec<String>> {
    let count = *[0, 1, 1, 1, 2, 4, 99].get(rng.usize(0..7))?;
    if count == 99 {
        return None;
    }
    Some((0..count).map(|_| PATTERNS[rng.usize(0..PATTERNS.len())].to_owned()).collect())
}

/// The topic as a line has it: one that can't be kept is `""`.
pub(crate) fn kept(topic: &str) -> &str {
    if topic.len() > LONGEST || topic.contains(char::is_control) { "" } else { topic }
}

/// What narrows a client: nothing, its listener, itself, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Taste {
    pub(crate) of_listener: Option<Vec<String>>,
    pub(crate) own: Option<Vec<String>>,
}

impl Taste {
    /// Whether everything is wanted.
    pub(crate) fn is_all(&self) -> bool {
        self.of_listener.is_none() && self.own.is_none()
    }

    /// Whether a message is wanted whose line has this topic.
    pub(crate) fn wants(&self, topic: Option<&str>) -> bool {
        let mut narrowing = [&self.of_listener, &self.own].into_iter().flatten();
        match topic {
            Some("") => self.of_listener.is_none(),
            Some(topic) => narrowing.all(|patterns| patterns.iter().any(|pattern| matches(pattern, topic))),
            None => self.is_all(),
        }
    }
}

/// `*` is any run without dots, `**` any run.
fn matches(pattern: &str, topic: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix("**") {
        return ends(topic).any(|at| matches(rest, &topic[at..]));
    }
    if let Some(rest) = pattern.strip_prefix('*') {
        let run = topic.find('.').unwrap_or(topic.len());
        return ends(topic).take_while(|at| *at <= run).any(|at| matches(rest, &topic[at..]));
    }
    match pattern.chars().next() {
        None => topic.is_empty(),
        Some(first) => {
            let rest = topic.strip_prefix(first);
            rest.is_some_and(|rest| matches(&pattern[first.len_utf8()..], rest))
        }
    }
}

fn ends(text: &str) -> impl Iterator<Item = usize> {
    (0..=text.len()).filter(|at| text.is_char_boundary(*at))
}

#[test]
fn patterns_are_what_they_say() {
    for (pattern, topic, wanted) in [
        ("a.*", "a.b", true),
        ("a.*", "a.b.c", false),
        ("a.**", "a.b.c", true),
        ("a.**", "a", false),
        ("**", "", true),
        ("*", "a.b", false),
        ("*.b", "a.b", true),
        ("a*c", "abc", true),
        ("a.**.d", "a.b.c.d", true),
        ("a", "ab", false),
    ] {
        assert_eq!(matches(pattern, topic), wanted, "{pattern} {topic}");
    }
}
