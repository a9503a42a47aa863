//! `[log]`: the daemon's own words.

use tracing::Level;

use crate::config::reader::Section;

/// `[log]`: the daemon's own words, on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// `level`: `error`, `warn`, `info`, `debug` or `trace`. Default `info`.
    pub level: Level,
    /// `format`. Default [`LogFormat::Auto`].
    pub format: LogFormat,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text; without timestamps where the journal adds its own. (There each line of any format has its
    /// priority.)
    Auto,
    /// Text with timestamps.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: Level::INFO, format: LogFormat::Auto }
    }
}

impl Logging {
    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let levels = [
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ];
        let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
        let log = Self {
            level: section.one_of("level", &levels).unwrap_or(default.level),
            format: section.one_of("format", &formats).unwrap_or(default.format),
        };
        section.finish();
        log
    }
}
