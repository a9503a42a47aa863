//! *Pure.* What clients ask the server, each counting its ids from 1, and what it answers: all of it can be made
//! again from a seed.

use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

use super::shared;

/// `requests.timeout`.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(400);

/// The configuration.
pub(crate) fn config(max_in_flight: u64, rewrites: bool) -> String {
    format!(
        "[requests]\nid = \"/id\"\nerror = {{ \"/ok\" = false }}\ntimeout = \"400ms\"\nmax_in_flight = \
         {max_in_flight}\nrewrite_sends = {rewrites}\n[[requests.stream]]\nwhen = {{ \"/how\" = [\"stream\", \
         \"endless\"] }}\nend = {{ \"/last\" = true }}\ncancel = '{{\"id\":${{next_id}},\"cancel\":${{key}}}}'\n"
    )
}

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Soon.
    Once,
    /// With a refusal.
    Failed,
    /// By several messages.
    Stream,
    /// By several messages, of which none says that it is the last.
    Endless,
    /// Never.
    Never,
    /// When its client surely has given up.
    Late,
}

/// A request: number `k` of a client's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Call {
    pub(crate) session: u64,
    pub(crate) k: u64,
}

impl Call {
    fn rng(self, seed: u64, what: u64) -> Rng {
        Rng::with_seed(seed.rotate_left(9) ^ (self.session << 24) ^ (self.k << 4) ^ what)
    }

    pub(crate) fn how(self, seed: u64) -> How {
        match self.rng(seed, 1).u32(0..12) {
            0 => How::Never,
            1 => How::Late,
            2 => How::Failed,
            3 | 4 => How::Stream,
            5 => How::Endless,
            _ => How::Once,
        }
    }

    /// The id that its client gives it, as JSON. `None`: it has none.
    pub(crate) fn own_id(self, seed: u64) -> Option<String> {
        match self.rng(seed, 2).u32(0..8) {
            0 => None,
            1 => Some(format!("\"id {}\"", self.k + 1)),
            _ => Some((self.k + 1).to_string()),
        }
    }

    /// What is asked, with this id in it.
    pub(crate) fn text(self, seed: u64, id: Option<&str>) -> String {
        let mut rng = self.rng(seed, 3);
        let how = format!("{:?}", self.how(seed)).to_lowercase();
        let Call { session, k } = self;
        let rest = format!("\"call\": [{session},{k}], \"how\":\"{how}\"");
        let pad = "é\\\"😀/".repeat(rng.usize(0..40));
        let after = rng.bool();
        match id {
            Some(id) if after => format!("{{{rest} ,\"id\" : {id},\"pad\":\"{pad}\",\"x\":{{\"id\":7}}}}"),
            Some(id) => format!("{{\"id\":{id},{rest},\"pad\":\"{pad}\",\"x\":[1e400]}}"),
            None => format!("{{{rest},\"pad\":\"{pad}\"}}"),
        }
    }

    /// What is answered, each after so long, with this id in it.
    pub(crate) fn answers(self, seed: u64, id: &str) -> Vec<(Duration, String)> {
        let mut rng = self.rng(seed, 4);
        let (how, Call { session, k }) = (self.how(seed), self);
        let parts = match how {
            How::Never => 0,
            How::Once | How::Failed | How::Late => 1,
            How::Stream => rng.u64(1..7),
            How::Endless => rng.u64(1..12),
        };
        let mut at = match (how, rng.u32(0..4)) {
            (How::Late, _) => TIMEOUT + Duration::from_millis(rng.u64(200..500)),
            (_, 0 | 1) => Duration::ZERO,
            (_, 2) => Duration::from_millis(rng.u64(1..40)),
            _ => Duration::from_millis(rng.u64(80..250)),
        };
        let part = |part: u64| {
            let last = how != How::Endless && part + 1 == parts;
            let pad = "\\ud83d\\ude00 ä".repeat(rng.usize(0..60));
            let text = format!(
                "{{\"answer\":[{session},{k},{part}], \"id\":{id},\"ok\":{},\"last\":{last},\"pad\":\"{pad}\"}}",
                how != How::Failed
            );
            let this = at;
            at += Duration::from_millis(rng.u64(0..60));
            (this, text)
        };
        (0..parts).map(part).collect()
    }

    /// Out of what the server got, with the id there.
    pub(crate) fn of(text: &str) -> Option<(Call, u64)> {
        let value: Value = serde_json::from_str(&text.replace("[1e400]", "0")).ok()?;
        let call = Call { session: value["call"][0].as_u64()?, k: value["call"][1].as_u64()? };
        Some((call, value["id"].as_u64()?))
    }

    /// Out of an answer, with its part.
    pub(crate) fn of_answer(text: &str) -> Option<(Call, u64)> {
        let value: Value = serde_json::from_str(text).ok()?;
        let number = |at: usize| value["answer"][at].as_u64();
        Some((Call { session: number(0)?, k: number(1)? }, number(2)?))
    }
}

/// What the server is asked, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// When, since the storm's begin.
    pub(crate) at: Duration,
    /// The id that came.
    pub(crate) id: u64,
    pub(crate) text: String,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Call(Call),
    /// A stream is cancelled, by the id that it had.
    Cancel(u64),
    /// Topics are to be sent, or not any more.
    Topics {
        more: bool,
        topics: Vec<String>,
    },
}

impl Asked {
    /// `None`: it is something else.
    pub(crate) fn of(at: Duration, text: &str) -> Option<Asked> {
        let (id, what) = What::of(text)?;
        Some(Asked { at, id, text: text.to_owned(), what })
    }
}

impl What {
    fn of(text: &str) -> Option<(u64, What)> {
        if let Some((call, id)) = text.contains("\"call\": [").then(|| Call::of(text)).flatten() {
            return Some((id, What::Call(call)));
        }
        if let Some((id, more, topics)) = shared::said(text) {
            return Some((id, What::Topics { more, topics }));
        }
        let value: Value = text.contains("\"cancel\":").then(|| serde_json::from_str(text).ok()).flatten()?;
        Some((value["id"].as_u64()?, What::Cancel(value["cancel"].as_u64()?)))
    }
}

#[test]
fn requests_and_answers_are_known_again() {
    let mut hows = std::collections::BTreeMap::<String, usize>::new();
    for k in 0..200 {
        let call = Call { session: 7, k };
        *hows.entry(format!("{:?}", call.how(5))).or_default() += 1;
        let text = call.text(5, Some("12"));
        assert_eq!(What::of(&text), Some((12, What::Call(call))));
        for (part, (_, answer)) in call.answers(5, "12").into_iter().enumerate() {
            assert_eq!(Call::of_answer(&answer), Some((call, part as u64)));
        }
    }
    assert!(hows.len() == 6 && hows["Once"] > 60, "{hows:?}");
}
