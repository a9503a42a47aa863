//! The server's own terms: how it wants to be spoken to, by configuration alone.

use std::collections::BTreeSet;

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
use crate::config::{
    language::{expression::Expression, names::Names},
    reader::Section,
};

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
    pub fn has_topics(&self) -> bool {
        let by_id = self.subscriptions.as_ref().is_some_and(|subscriptions| subscriptions.id_topic.is_some());
        by_id || !self.topics.is_empty()
    }

    pub(in crate::config) fn read(root: &Section<'_>, names: &Names) -> Self {
        let section = root.section("topics");
        let topics = Topics::read(&section, names);
        let subscriptions = Subscriptions::read(&section, names);
        section.finish();
        let terms = Self {
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
        };
        terms.refuse_half_public(root);
        terms
    }

    /// The names of all that is captured and public.
    pub fn public_captures(&self) -> BTreeSet<String> {
        self.captured().filter(|(_, public)| *public).map(|(name, _)| name.to_owned()).collect()
    }

    /// The names of all that is captured, each as often as it is, and whether it is public there.
    fn captured(&self) -> impl Iterator<Item = (&str, bool)> {
        let captures = self.captures.iter().map(|capture| (&capture.values, &capture.regex, capture.public));
        let steps = self.script.steps.iter().map(|step| (&step.capture, &step.capture_regex, step.public));
        captures.chain(steps).flat_map(|(values, regex, public)| {
            let names = values.iter().map(|(name, _)| name.as_str());
            names.chain(regex.iter().flat_map(Expression::names)).map(move |name| (name, public))
        })
    }

    /// What is secret in one place isn't told from another.
    fn refuse_half_public(&self, root: &Section<'_>) {
        let (public, secret): (BTreeSet<_>, BTreeSet<_>) = (
            self.captured().filter(|(_, public)| *public).map(|(name, _)| name).collect(),
            self.captured().filter(|(_, public)| !public).map(|(name, _)| name).collect(),
        );
        for name in public.intersection(&secret) {
            root.problem(
                "capture",
                format_args!("keeps `{name}` as public in one place and not in another: write `public = true` in all of them, or in none"),
            );
        }
    }
}
