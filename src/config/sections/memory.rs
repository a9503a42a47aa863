//! `[memory]`: what clients may make the daemon hold beside the log.

use super::listener::Listener;
use crate::config::reader::{Section, size::format_size};

/// `[memory]`: what clients may make the daemon hold beside the log, all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBounds {
    /// `stalled_lines`: of lines that have left the log while clients are in the middle of them, and of
    /// answers that clients leave unread, in bytes; 64 KiB to 1 TiB. Above it, who has taken nothing for the
    /// longest is disconnected. Default 32 MiB.
    pub stalled_lines: usize,
    /// `unfinished_lines`: of lines that clients have begun to write, in bytes; no less than any
    /// `listener.max_line` and 64 KiB, up to 1 TiB. Above it, the largest of the user with the most is refused. Default
    /// 16 MiB, or four times the largest `listener.max_line`, if that is more.
    pub unfinished_lines: usize,
}

/// The default of `unfinished_lines`, at least.
const UNFINISHED_LINES: usize = 16 << 20;

/// What may come with a line, at once.
const BESIDE_A_LINE: usize = 64 << 10;

impl Default for MemoryBounds {
    fn default() -> Self {
        Self { stalled_lines: 32 << 20, unfinished_lines: UNFINISHED_LINES }
    }
}

impl MemoryBounds {
    /// Whether `unfinished_lines` is what it is where the file leaves it out.
    pub(in crate::config) fn has_default_unfinished(&self, listeners: &[Listener]) -> bool {
        self.unfinished_lines == UNFINISHED_LINES.max(4 * longest(listeners))
    }

    pub(in crate::config) fn read(section: Section<'_>, listeners: &[Listener]) -> Self {
        let default = Self::default();
        let longest = longest(listeners);
        let unfinished = section.size("unfinished_lines", 64..=1 << 40);
        if unfinished.is_some_and(|bytes| bytes < longest + BESIDE_A_LINE) {
            let least = format_size((longest + BESIDE_A_LINE) as u64);
            section.problem(
                "unfinished_lines",
                format_args!("has no room for one line of listener.max_line: write {least} or more"),
            );
        }
        let memory = Self {
            stalled_lines: section.size("stalled_lines", 64 << 10..=1 << 40).unwrap_or(default.stalled_lines),
            unfinished_lines: unfinished.unwrap_or(UNFINISHED_LINES.max(4 * longest)),
        };
        section.finish();
        memory
    }
}

fn longest(listeners: &[Listener]) -> usize {
    listeners.iter().map(|listener| listener.max_line).max().unwrap_or_default()
}
