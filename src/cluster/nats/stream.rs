//! What the stream must be, what it ought to be, and how one that is there differs.

use std::time::Duration;

use super::{
    api::{StreamConfig, nanos},
    settings::{Names, StreamSettings},
};
use crate::cluster::machine::MAX_BATCH;

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
        format!("its max_msg_size is {} instead of at least {needed}", there.max_msg_size),
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
        there.storage == wanted.storage,
        format!("storage is {} instead of {}", there.storage, wanted.storage),
    );
    ought(
        there.max_bytes == wanted.max_bytes,
        format!("max_bytes is {} instead of {}", there.max_bytes, wanted.max_bytes),
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
    found
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn age(nanos: i64) -> String {
    match u64::try_from(nanos) {
        Ok(0) | Err(_) => "unlimited".to_owned(),
        Ok(nanos) => format!("{:?}", Duration::from_nanos(nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(fatal(|it| it.max_msg_size = 1000), "its max_msg_size is 1000 instead of at least 270336");

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
                "storage is memory instead of file",
                "max_bytes is -1 instead of 1073741824",
                "max_age is 3600s instead of unlimited",
                "max_msgs is 5 instead of -1",
                "max_msgs_per_subject is 1 instead of -1",
                "allow_rollup_hdrs is true instead of false",
            ]
        );
    }
}
