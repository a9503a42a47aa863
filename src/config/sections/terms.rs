//! The server's own terms: how it wants to be spoken to, by configuration alone.

use super::{
    capture::Capture,
    command::{self, Programs},
    limits::Limits,
    reply::Reply,
    requests::Requests,
    rotate::Rotate,
    script::Script,
    sequence::Sequence,
    subscriptions::Subscriptions,
    topics::Topics,
    vars::{self, Vars},
};
use crate::config::{language::names::Names, reader::Section};

/// All that is particular to one server, but for its address, its heartbeat and its close codes.
/// Empty by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Terms {
    /// `[vars]`.
    pub vars: Vars,
    /// `[command.NAME]`.
    pub commands: Programs,
    /// `[[script.step]]`.
    pub script: Script,
    /// `[[capture]]`.
    pub captures: Vec<Capture>,
    /// `[[reply]]`.
    pub replies: Vec<Reply>,
    /// `[sequence]`.
    pub sequence: Option<Sequence>,
    /// `[requests]`.
    pub requests: Option<Requests>,
    /// `[topics]`: which topic each message is of.
    pub topics: Topics,
    /// `[topics]`: subscriptions that clients share.
    pub subscriptions: Option<Subscriptions>,
    /// `[rotate]`.
    pub rotate: Rotate,
    /// `[limits]`.
    pub limits: Limits,
}

impl Terms {
    /// Whether messages may have topics.
    pub(in crate::config) fn has_topics(&self) -> bool {
        let by_id = self.subscriptions.as_ref().is_some_and(|subscriptions| subscriptions.id_topic.is_some());
        by_id || !self.topics.is_empty()
    }

    pub(in crate::config) fn read(root: &Section<'_>, names: &Names) -> Self {
        let section = root.section("topics");
        let topics = Topics::read(&section, names);
        let subscriptions = Subscriptions::read(&section, names);
        section.finish();
        Self {
            topics,
            subscriptions,
            vars: vars::read(root.section("vars"), names),
            commands: command::read_all(root.section("command"), names),
            script: Script::read(root.section("script"), names),
            captures: Capture::read_all(root),
            replies: Reply::read_all(root, names),
            sequence: Sequence::read(root, names),
            requests: Requests::read(root, names),
            rotate: Rotate::read(root.section("rotate")),
            limits: Limits::read(root.section("limits")),
        }
    }
}
