//! What programs have printed on one connection, so that it isn't shown where the server repeats it. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::upstream::secrets::{
    each_text,
    redactor::{MIN_LIKELY, Redactor},
};

/// So many replies are remembered, the newest: as many as there may be programs at work.
const MAX_REPLIES: usize = super::runs::MAX_RUNNING;
/// So many texts and words of what one program printed are hidden beside the whole, the first ones,
const MAX_TEXTS: usize = 256;
/// with so many bytes together.
const MAX_BYTES: usize = 8 << 10;

/// For what a program has printed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// The step of this number.
    Step(usize),
    Reply,
    Heartbeat,
}

/// What is hidden: of each step and of the heartbeat what was printed last, and of the last replies.
#[derive(Debug, Default)]
pub(super) struct Printed {
    steps: BTreeMap<usize, Redactor>,
    replies: VecDeque<Redactor>,
    beat: Redactor,
}

impl Printed {
    /// Hides from now on what a program has printed.
    pub(super) fn hide(&mut self, what: For, printed: &[u8]) {
        let redactor = redactor_of(printed);
        match what {
            For::Step(at) => {
                self.steps.insert(at, redactor);
            }
            For::Heartbeat => self.beat = redactor,
            For::Reply => {
                if self.replies.len() == MAX_REPLIES {
                    self.replies.pop_front();
                }
                self.replies.push_back(redactor);
            }
        }
    }

    /// A text of the server's without it.
    pub(super) fn without(&self, text: &str) -> String {
        let all = self.steps.values().chain(&self.replies);
        all.fold(self.beat.redact(text), |text, redactor| redactor.redact(&text))
    }
}

/// The whole, and of the text in it each text of JSON and each word.
fn redactor_of(printed: &[u8]) -> Redactor {
    let mut parts = Parts { redactor: Redactor::default(), texts: MAX_TEXTS, bytes: MAX_BYTES };
    // what is binary may have text in it
    for chunk in printed.utf8_chunks() {
        let text = chunk.valid().trim();
        if text.len() < MIN_LIKELY {
            continue;
        }
        match serde_json::from_str(text) {
            Ok(json) => each_text(&json, &mut |text| {
                parts.hide(text);
                parts.hide_words(text);
            }),
            Err(_) => parts.hide_words(text),
        }
        parts.hide(text);
    }
    let mut redactor = parts.redactor;
    if let Ok(text) = str::from_utf8(printed) {
        redactor.hide(text.trim(), MIN_LIKELY);
    }
    redactor
}

/// What is hidden of one output, and how much more may be.
struct Parts {
    redactor: Redactor,
    texts: usize,
    bytes: usize,
}

impl Parts {
    fn hide(&mut self, text: &str) {
        if text.chars().count() < MIN_LIKELY || self.texts == 0 || text.len() > self.bytes {
            return;
        }
        self.texts -= 1;
        self.bytes -= text.len();
        self.redactor.hide(text, MIN_LIKELY);
    }

    /// Hides what stands between blanks, and between marks in that: `PASS oauth:SECRET` has the secret alone as well.
    fn hide_words(&mut self, text: &str) {
        for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| *word != text) {
            self.hide(word);
        }
        for part in text.split(is_break).filter(|part| *part != text) {
            self.hide(part);
        }
    }
}

fn is_break(c: char) -> bool {
    c.is_whitespace() || c.is_control() || r#":,;=&?!"'`<>()[]{}|"#.contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(outputs: &[(For, &[u8])], text: &str) -> String {
        let mut printed = Printed::default();
        outputs.iter().for_each(|(what, output)| printed.hide(*what, output));
        printed.without(text)
    }

    #[test]
    fn the_whole_its_texts_and_its_words_are_hidden() {
        for (output, text, expected) in [
            (&b"PASS oauth:S3CRET-99\n"[..], "bad password oauth:S3CRET-99", "bad password …"),
            (b"PASS oauth:S3CRET-99", "bad S3CRET-99!", "bad …!"),
            (b"PASS oauth:S3CRET-99", "PASS what?", "PASS what?"),
            (b"<auth m='PLAIN'>AG1lAHMzY3JldA==</auth>", "no AG1lAHMzY3JldA==", "no …=="),
            (br#"{"a":["0123456789"],"b":"key 9876543210"}"#, "0123456789 9876543210", "… …"),
            (br#""0123456789""#, "0123456789", "…"),
            (b"\0\xff\x10user\0s3cret-word\xfe", "user s3cret-word", "user …"),
            (b"\0user\0s3cret-word", "s3cret-word", "…"),
            (b"a b c d e f", "you said a b c d e f", "you said …"),
            (b"short", "short", "short"),
            (b"", "nothing", "nothing"),
            (b"\xff\xfe", "nothing", "nothing"),
        ] {
            let printed = String::from_utf8_lossy(output).into_owned();
            assert_eq!(shown(&[(For::Step(0), output)], text), expected, "{printed:?}");
        }
    }

    #[test]
    fn nothing_of_one_is_forgotten_over_another() {
        let all = [
            (For::Step(0), &b"first-secret"[..]),
            (For::Step(1), b"second-secret"),
            (For::Reply, b"reply-secret"),
            (For::Heartbeat, b"beat-secret"),
        ];
        assert_eq!(shown(&all, "first-secret second-secret reply-secret beat-secret"), "… … … …");
        let mut printed = Printed::default();
        for n in 0..=MAX_REPLIES {
            printed.hide(For::Reply, format!("reply-{n:06}").as_bytes());
        }
        assert_eq!(printed.without("reply-000000 reply-000001 reply-000016"), "reply-000000 … …");
        assert_eq!(printed.replies.len(), MAX_REPLIES);
    }

    #[test]
    fn what_is_hidden_of_one_output_is_bounded() {
        let many: String = (0..2 * MAX_TEXTS).map(|n| format!("word-{n:06} ")).collect();
        let last = MAX_TEXTS - 1;
        let text = format!("word-{last:06}. word-{:06}.", last + 1);
        assert_eq!(shown(&[(For::Step(0), many.as_bytes())], &text), format!("…. word-{:06}.", last + 1));
        let long = format!("{} s3cret-word", "x".repeat(2 * MAX_BYTES));
        assert_eq!(
            shown(&[(For::Step(0), long.as_bytes())], "s3cret-word"),
            "…",
            "what is too long takes no room"
        );
    }
}
