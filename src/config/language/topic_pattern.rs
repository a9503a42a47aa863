//! Patterns of topics, such as `btc.*`: which topics a client wants.
//!
//! A pattern is gone through once, with all places of the topic that it may have come to at the same time: there is
//! nothing to go back to, so that no pattern takes long.

/// The longest pattern, and the longest topic that any is held against, in bytes.
pub const MAX_TOPIC_PATTERN: usize = 256;
/// So many wildcards may be in one.
const MAX_WILDCARDS: usize = 16;
/// So many patterns has a client, or a listener, at most.
pub const MAX_TOPIC_PATTERNS: usize = 1000;

/// Enough bits for every place in a topic, the one behind it included.
const WORDS: usize = MAX_TOPIC_PATTERN / 64 + 1;
type Places = [u64; WORDS];

/// Which topics are meant: `*` is any run of characters but `.`, `**` any run, all else is itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPattern(Box<str>);

/// A topic, looked at once for many patterns.
#[derive(Debug)]
pub struct TopicView<'t> {
    topic: &'t str,
    /// So many words of the places matter.
    words: usize,
    /// Where each byte stands, by its number.
    of_byte: Box<[Places; 256]>,
    no_dot: Places,
}

impl TopicPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write: the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty: write a topic, or a pattern such as \"btc.*\" or \"**\"".to_owned());
        }
        if text.len() > MAX_TOPIC_PATTERN {
            return Err(format!("has {} bytes, and {MAX_TOPIC_PATTERN} are the most", text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err("has control characters in it, which no topic has".to_owned());
        }
        if text.contains("***") {
            return Err("has three `*` in a row: `*` is within a part, and `**` goes over dots".to_owned());
        }
        let wildcards = pieces(text).filter(|piece| piece.starts_with('*')).count();
        match wildcards > MAX_WILDCARDS {
            true => Err(format!("has {wildcards} wildcards, and {MAX_WILDCARDS} are the most")),
            false => Ok(Self(text.into())),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it means one topic alone.
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    /// How much it takes to look whether a topic is meant: the longest pattern takes as long as 17 short ones.
    pub fn cost(&self) -> usize {
        1 + self.0.len() / 16
    }

    /// Whether the topic is meant.
    pub fn matches(&self, view: &TopicView<'_>) -> bool {
        let topic = view.topic.as_bytes();
        if topic.len() > MAX_TOPIC_PATTERN {
            return false;
        }
        let (first, last) = (self.0.find('*'), self.0.rfind('*'));
        let (Some(first), Some(last)) = (first, last) else { return self.0.as_bytes() == topic };
        // most are told by how they begin or end
        let (head, tail) = (&self.0.as_bytes()[..first], &self.0.as_bytes()[last + 1..]);
        if !topic.starts_with(head) || !topic.ends_with(tail) || topic.len() < head.len() + tail.len() {
            return false;
        }
        let mut places = [0; WORDS];
        places[head.len() / 64] |= 1 << (head.len() % 64);
        for piece in pieces(&self.0[first..]) {
            match piece {
                "*" => view.run(&mut places, &view.no_dot),
                "**" => view.run_to_end(&mut places),
                text => text.bytes().for_each(|byte| view.step(&mut places, byte)),
            }
            if places == [0; WORDS] {
                return false;
            }
        }
        places[topic.len() / 64] >> (topic.len() % 64) & 1 == 1
    }
}

/// Runs of `*`, and what stands between.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_wild = rest.starts_with('*');
        let end = rest.find(|c| (c == '*') != is_wild).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

impl<'t> TopicView<'t> {
    /// Looks at a topic. One that is longer than [`MAX_TOPIC_PATTERN`] is meant by no pattern.
    pub fn new(topic: &'t str) -> Self {
        let mut of_byte = Box::new([[0; WORDS]; 256]);
        let mut no_dot = [0; WORDS];
        for (at, byte) in topic.bytes().enumerate().take(MAX_TOPIC_PATTERN) {
            of_byte[usize::from(byte)][at / 64] |= 1 << (at % 64);
            if byte != b'.' {
                no_dot[at / 64] |= 1 << (at % 64);
            }
        }
        Self { topic, words: topic.len().min(MAX_TOPIC_PATTERN) / 64 + 1, of_byte, no_dot }
    }

    /// The topic.
    pub fn topic(&self) -> &'t str {
        self.topic
    }

    /// Past one byte, from the places at which it stands.
    fn step(&self, places: &mut Places, byte: u8) {
        let of_byte = &self.of_byte[usize::from(byte)];
        let mut carry = 0;
        for (place, there) in places.iter_mut().zip(of_byte).take(self.words) {
            let at = *place & there;
            *place = at << 1 | carry;
            carry = at >> 63;
        }
    }

    /// Past any number of bytes of a class, none included: an addition carries each place to the end of its run.
    fn run(&self, places: &mut Places, class: &Places) {
        let mut carry = false;
        for (place, class) in places.iter_mut().zip(class).take(self.words) {
            let (sum, first) = (*place & class).overflowing_add(*class);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            carry = first || second;
            *place |= sum ^ class;
        }
    }

    /// Past any number of bytes.
    fn run_to_end(&self, places: &mut Places) {
        let mut before = false;
        for place in places.iter_mut().take(self.words) {
            *place = match (before, *place) {
                (true, _) => u64::MAX,
                (false, 0) => 0,
                (false, some) => !0 << some.trailing_zeros(),
            };
            before |= *place != 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        TopicPattern::parse(pattern).unwrap().matches(&TopicView::new(topic))
    }

    /// What the words say, and nothing more.
    fn plainly(pattern: &[u8], topic: &[u8]) -> bool {
        match (pattern, topic) {
            ([b'*', b'*', rest @ ..], _) => {
                plainly(rest, topic) || matches!(topic, [_, after @ ..] if plainly(pattern, after))
            }
            ([b'*', rest @ ..], _) => {
                plainly(rest, topic)
                    || matches!(topic, [byte, after @ ..] if *byte != b'.' && plainly(pattern, after))
            }
            ([byte, rest @ ..], [there, after @ ..]) => byte == there && plainly(rest, after),
            ([], []) => true,
            _ => false,
        }
    }

    #[test]
    fn wildcards_are_within_a_part_or_go_over_dots() {
        for (pattern, topic, is_meant) in [
            ("btc", "btc", true),
            ("btc", "btc.x", false),
            ("btc.*", "btc.trades", true),
            ("btc.*", "btc.", true),
            ("btc.*", "btc.trades.raw", false),
            ("btc.**", "btc.trades.raw", true),
            ("*.trades", "btc.trades", true),
            ("*.trades", "a.btc.trades", false),
            ("**.trades", "a.btc.trades", true),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "axb.c", false),
            ("**", "", true),
            ("*", "ü😀", true),
            ("é*", "éa", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, topic), is_meant, "{pattern} {topic}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        let long = "x".repeat(257);
        let wild = "*.".repeat(17);
        for (text, why) in [
            ("", "is empty"),
            (&*long, "has 257 bytes, and 256 are the most"),
            (&*wild, "has 17 wildcards, and 16 are the most"),
            ("a***", "has three `*` in a row"),
            ("a\n", "has control characters"),
        ] {
            let said = TopicPattern::parse(text).unwrap_err();
            assert!(said.starts_with(why), "{said}");
        }
        assert!(TopicPattern::parse(&"x".repeat(256)).is_ok());
    }

    #[test]
    fn the_worst_takes_no_longer_than_any() {
        // for one that tries and goes back, more steps than there are atoms
        let (pattern, topic) = (format!("{}b", "**a*a".repeat(8)), "a".repeat(256));
        assert!(!matches(&pattern, &topic));
        assert!(matches(&"**a*a".repeat(8), &topic));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_pattern_means_what_its_words_say(pattern in "(a|b|\\.|\\*|\\*\\*a|é){1,8}", topic in "(a|b|\\.|é){0,10}") {
            if let Ok(parsed) = TopicPattern::parse(&pattern) {
                prop_assert_eq!(parsed.matches(&TopicView::new(&topic)), plainly(pattern.as_bytes(), topic.as_bytes()));
            }
        }

        #[test]
        fn the_length_of_a_topic_makes_no_difference(before in 0usize..250, pattern in "(a|\\.|\\*){1,5}", topic in "(a|\\.){0,5}") {
            let (front, pattern) = ("x".repeat(before), format!("x**{pattern}"));
            let topic = format!("x{front}{topic}");
            if let Ok(parsed) = TopicPattern::parse(&pattern) {
                prop_assert_eq!(parsed.matches(&TopicView::new(&topic)), plainly(pattern.as_bytes(), topic.as_bytes()));
            }
        }
    }
}
