//! What a failure leads to.

use std::time::Duration;

use crate::config::reader::Section;

/// What a failure leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Remedy {
    /// `"retry"`: another attempt, after the delay of `[reconnect]`.
    #[default]
    Retry,
    /// `"after"`: as [`Remedy::Retry`], but no sooner than after this `delay`; 0 s to 24 h.
    After(Duration),
    /// `"refresh"`: another attempt at once, with secrets that are read afresh, and commands with `keep` run afresh.
    /// The second time in a row, or within `initial_delay` of the last, it is `retry`.
    Refresh,
    /// `"forget"`: captures, and what commands with `keep` printed, are forgotten, then as `retry`.
    Forget,
    /// `"stop"`: the link is given up, as when `reconnect.max_attempts` are used up.
    Stop,
}

/// The words of `on_fail`.
pub(in crate::config) const ON_FAIL: [(&str, Remedy); 4] = [
    ("retry", Remedy::Retry),
    ("stop", Remedy::Stop),
    ("refresh", Remedy::Refresh),
    ("forget", Remedy::Forget),
];

/// The word for a step that is said anew on the same connection.
pub(in crate::config) const AGAIN: &str = "again";

/// What is rejected: only a step can be said anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum RejectOf {
    Step,
    Program,
    /// A whole connection: `[[reconnect.rule]]`.
    Connection,
}

/// Reads `then` and its `delay`, unless that is `known`.
pub(in crate::config) fn read_remedy(
    section: &Section<'_>,
    known: Option<Duration>,
    of: RejectOf,
) -> Option<Remedy> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let delay = known.or_else(|| section.duration("delay", Duration::ZERO..=DAY));
    let after = Remedy::After(delay.unwrap_or_default());
    let remedies = [
        (AGAIN, after),
        ("retry", Remedy::Retry),
        ("after", after),
        ("refresh", Remedy::Refresh),
        ("forget", Remedy::Forget),
        ("stop", Remedy::Stop),
    ];
    let remedies = if of == RejectOf::Step { &remedies[..] } else { &remedies[1..] };
    let then = section.one_of("then", remedies);
    match (then, section.item("delay")) {
        (None, _) if section.item("then").is_none() && !section.is_refused() => {
            let again = if of == RejectOf::Step { "\"again\", " } else { "" };
            section.problem(
                "then",
                format_args!(
                    "is missing: write {again}\"retry\", \"after\", \"refresh\", \"forget\" or \"stop\""
                ),
            );
        }
        (Some(Remedy::After(_)), None) => {
            section.problem("delay", "is missing: write after how long, such as delay = \"5s\"");
        }
        (Some(then), Some(_)) if !matches!(then, Remedy::After(_)) => {
            let words = if of == RejectOf::Step { "\"after\" or \"again\"" } else { "\"after\"" };
            section.problem(
                "delay",
                format_args!("only goes with then = {words}: change that, or leave it out"),
            );
        }
        _ => {}
    }
    then
}
