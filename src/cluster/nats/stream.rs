//! What the stream must be, what it ought to be, and how one that is there differs.

use std::time::Duration;

use super::{
    api::{StreamConfig, nanos},
    settings::{Names, StreamSettings},
};
use crate::{
    cluster::machine::MAX_BATCH,
    config::{format_duration, format_size},
};

/// What a message's headers may take beside its lines.
pub(super) const HEADERS: usize = 8 << 10;

/// The least time within which JetStream looks for doubles, which nothing here has.
const DUPLICATES: Duration = Duration::from_millis(100);

/// How a stream differs from what is configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Difference {
    /// It can't be the log.
    pub(super) fatal: Vec<String>,
    /// It can, and isn't what the configuration says.
    pub(super) other: Vec<String>,
    /// The same of what can't be changed in place, with what to do.
    pub(super) fixed: Vec<String>,
}

impl Difference {
    /// Whether it is worth knowing, if it forbids nothing.
    pub(super) fn is_some(&self) -> bool {
        !self.other.is_empty() || !self.fixed.is_empty()
    }
}

/// The stream as it is made.
pub(super) fn wanted(names: &Names, settings: &StreamSettings) -> StreamConfig {
    let max_age = settings.max_age.map_or(0, nanos);
    StreamConfig {
        name: names.stream(),
        subjects: vec![names.log()],
        retention: "limits".to_owned(),
        discard: "old".to_owned(),
        storage: if settings.memory { "memory" } else { "file" }.to_owned(),
        num_replicas: settings.replicas,
        max_bytes: i64::try_from(settings.max_bytes).unwrap_or(i64::MAX),
        max_age,
        max_msgs: -1,
        max_msg_size: -1,
        max_msgs_per_subject: -1,
        max_consumers: -1,
        duplicate_window: nanos(DUPLICATES),
        no_ack: false,
        sealed: false,
        allow_rollup_hdrs: false,
        mirror: None,
        sources: None,
    }
}

/// How the stream that is there differs from it.
pub(super) fn compare(wanted: &StreamConfig, there: &StreamConfig) -> Difference {
    let mut found = Difference::default();
    let mut must = |holds: bool, what: String| {
        if !holds {
            found.fatal.push(what)
        }
    };
    must(
        there.subjects == wanted.subjects,
        format!("its subjects are {} instead of {}", list(&there.subjects), list(&wanted.subjects)),
    );
    must(
        there.retention == wanted.retention,
        format!("its retention is {} instead of limits", there.retention),
    );
    must(
        there.discard == wanted.discard,
        format!("it discards {} messages instead of old ones", there.discard),
    );
    must(!there.no_ack, "it acknowledges nothing (no_ack)".to_owned());
    must(!there.sealed, "it is sealed".to_owned());
    must(
        there.mirror.is_none() && there.sources.is_none(),
        "it takes messages from other streams".to_owned(),
    );
    let needed = i64::try_from(MAX_BATCH + HEADERS).unwrap_or(i64::MAX);
    must(
        there.max_msg_size <= 0 || there.max_msg_size >= needed,
        format!(
            "its max_msg_size is {} instead of at least {}",
            size(there.max_msg_size),
            format_size(needed.unsigned_abs())
        ),
    );

    let mut ought = |holds: bool, what: String| {
        if !holds {
            found.other.push(what)
        }
    };
    ought(
        there.num_replicas == wanted.num_replicas,
        format!("num_replicas is {} instead of {}", there.num_replicas, wanted.num_replicas),
    );
    ought(
        there.max_bytes == wanted.max_bytes,
        format!("max_bytes is {} instead of {}", size(there.max_bytes), size(wanted.max_bytes)),
    );
    ought(
        there.max_age == wanted.max_age,
        format!("max_age is {} instead of {}", age(there.max_age), age(wanted.max_age)),
    );
    ought(there.max_msgs <= 0, format!("max_msgs is {} instead of -1", there.max_msgs));
    ought(
        there.max_msgs_per_subject <= 0,
        format!("max_msgs_per_subject is {} instead of -1", there.max_msgs_per_subject),
    );
    ought(!there.allow_rollup_hdrs, "allow_rollup_hdrs is true instead of false".to_owned());
    if there.storage != wanted.storage {
        let (is, be) = (&there.storage, &wanted.storage);
        found.fixed.push(format!(
            "storage is {is} instead of {be}, and can't be changed in place: write cluster.storage = \"{is}\", or remove \
             the stream, with which the log ends"
        ));
    }
    found
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn age(nanos: i64) -> String {
    match u64::try_from(nanos) {
        Ok(0) | Err(_) => "unlimited".to_owned(),
        Ok(nanos) => format_duration(Duration::from_nanos(nanos)),
    }
}

fn size(bytes: i64) -> String {
    match u64::try_from(bytes) {
        Ok(0) | Err(_) => "unlimited".to_owned(),
        Ok(bytes) => format_size(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::nats::Trouble;

    fn there() -> StreamConfig {
        wanted(&Names::of("x"), &settings())
    }

    fn settings() -> StreamSettings {
        StreamSettings { replicas: 3, memory: false, max_bytes: 1 << 30, max_age: None }
    }

    #[test]
    fn a_stream_is_made_as_the_log_needs_it() {
        let made = serde_json::to_value(there()).unwrap();
        assert_eq!(
            made,
            serde_json::json!({
                "name": "WSFAN_x", "subjects": ["wsfan.x.log"], "retention": "limits", "discard": "old",
                "storage": "file", "num_replicas": 3, "max_bytes": 1 << 30, "max_age": 0, "max_msgs": -1,
                "max_msg_size": -1, "max_msgs_per_subject": -1, "max_consumers": -1, "duplicate_window": 100_000_000,
                "no_ack": false, "sealed": false, "allow_rollup_hdrs": false,
            })
        );
        assert_eq!(compare(&there(), &there()), Difference::default());
    }

    #[test]
    fn what_differs_is_named_and_some_of_it_forbids_the_stream() {
        let fatal = |change: fn(&mut StreamConfig)| {
            let mut other = there();
            change(&mut other);
            let found = compare(&there(), &other);
            assert!(found.other.is_empty(), "{found:?}");
            found.fatal.join("; ")
        };
        assert_eq!(
            fatal(|it| it.subjects.push("orders".into())),
            "its subjects are wsfan.x.log, orders instead of wsfan.x.log"
        );
        assert_eq!(fatal(|it| it.subjects.clear()), "its subjects are none instead of wsfan.x.log");
        assert_eq!(
            fatal(|it| it.retention = "workqueue".into()),
            "its retention is workqueue instead of limits"
        );
        assert_eq!(fatal(|it| it.discard = "new".into()), "it discards new messages instead of old ones");
        assert_eq!(fatal(|it| it.no_ack = true), "it acknowledges nothing (no_ack)");
        assert_eq!(fatal(|it| it.sealed = true), "it is sealed");
        assert_eq!(
            fatal(|it| it.mirror = Some(serde_json::json!({"name": "y"}))),
            "it takes messages from other streams"
        );
        assert_eq!(
            fatal(|it| it.max_msg_size = 1000),
            "its max_msg_size is 1000B instead of at least 264KiB"
        );

        let other = StreamConfig {
            num_replicas: 1,
            storage: "memory".into(),
            max_bytes: -1,
            max_age: 3_600_000_000_000,
            max_msgs: 5,
            max_msgs_per_subject: 1,
            allow_rollup_hdrs: true,
            ..there()
        };
        let found = compare(&there(), &other);
        assert!(found.fatal.is_empty(), "{found:?}");
        assert_eq!(
            found.other,
            [
                "num_replicas is 1 instead of 3",
                "max_bytes is unlimited instead of 1GiB",
                "max_age is 1h instead of unlimited",
                "max_msgs is 5 instead of -1",
                "max_msgs_per_subject is 1 instead of -1",
                "allow_rollup_hdrs is true instead of false",
            ]
        );
        assert_eq!(
            found.fixed,
            [
                "storage is memory instead of file, and can't be changed in place: write cluster.storage = \"memory\", or \
              remove the stream, with which the log ends"
            ]
        );
        let told = |other| Trouble::differs("WSFAN_x", &compare(&there(), &other)).to_string();
        assert!(!told(StreamConfig { storage: "memory".into(), ..there() }).contains("stream edit"));
        assert!(
            told(StreamConfig { max_bytes: 1, ..there() })
                .ends_with("; change either (nats stream edit WSFAN_x)")
        );
    }
}
