//! *Pure.* Topics that clients share: what they are called, and what the server says of them.

use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

/// `topics.linger`.
pub(crate) const LINGER: Duration = Duration::from_millis(120);

/// Those that clients subscribe to. The server refuses the bad ones, and the moody one on every second connection.
const TOPICS: [&str; 12] =
    ["s.1", "s.2", "s.3", "s.4.x", "s.5", "s.6", "s.7", "s.8", "s.9", "s.é/10", "bad.1", "moody"];

/// The keys of `[topics]` for it.
pub(crate) fn config(before_up: bool, batch: u64) -> String {
    let resubscribe = if before_up { "before_up" } else { "after_up" };
    format!(
        "subscribe = '{{\"id\":${{next_id}},\"sub\":[${{topics}}]}}'\nunsubscribe = \
         '{{\"id\":${{next_id}},\"unsub\":[${{topics}}]}}'\nbatch = {batch}\nlinger = \"{}ms\"\nresubscribe = \
         \"{resubscribe}\"\n[topics.answer]\naccept = {{ \"/done\" = true }}\nreject = {{ \"/done\" = false }}\nid = \
         \"/id\"\ntimeout = \"2s\"\n",
        LINGER.as_millis()
    )
}

/// Some of them.
pub(crate) fn draw(rng: &mut Rng) -> Vec<String> {
    let mut topics: Vec<_> = TOPICS.map(str::to_owned).to_vec();
    rng.shuffle(&mut topics);
    topics.truncate(*[1, 1, 2, 3, 6].get(rng.usize(0..5)).unwrap_or(&1));
    topics
}

/// Whether the server won't have it on its connection of this number.
pub(crate) fn is_refused(topic: &str, connection: usize) -> bool {
    topic.starts_with("bad") || (topic == "moody" && connection % 2 == 1)
}

/// Whether it may be refused at all.
pub(crate) fn may_be_refused(topic: &str) -> bool {
    is_refused(topic, 1)
}

/// What is said of topics: those, and whether they are subscribed to or not any more.
pub(crate) fn said(text: &str) -> Option<(u64, bool, Vec<String>)> {
    if !text.contains("sub\":[") {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let (more, topics) =
        value.get("sub").map(|sub| (true, sub)).or(value.get("unsub").map(|sub| (false, sub)))?;
    let topics = topics.as_array()?.iter().map(|topic| topic.as_str().map(str::to_owned));
    Some((value["id"].as_u64()?, more, topics.collect::<Option<_>>()?))
}

/// What the server answers, after so long.
pub(crate) fn answer(id: u64, connection: usize, topics: &[String]) -> (Duration, String) {
    let done = !topics.iter().any(|topic| is_refused(topic, connection));
    let after = Duration::from_millis([0, 0, 3, 15][(id % 4) as usize]);
    (after, format!("{{\"done\":{done},\"id\":{id},\"words\":\"as you wish\"}}"))
}

/// Whether a message is such an answer: one that nobody waited for any more is published as any other.
pub(crate) fn is_answer(json: &[u8]) -> bool {
    json.starts_with(b"{\"done\":") && json.ends_with(b"\"words\":\"as you wish\"}")
}
