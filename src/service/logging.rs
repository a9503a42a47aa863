//! The daemon's own words, on stderr.

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Registry,
    filter::Targets,
    fmt,
    layer::{Layer, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// So many lines may wait to be written; what comes while they do is dropped.
const WAITING_LINES: usize = 1024;

/// Writes out what waits when it is dropped, for a second at most.
#[must_use = "what waits is lost without it"]
pub struct Flush {
    _guard: WorkerGuard,
}

/// Starts logging, once for the process. A thread of its own does the writing: a standard error
/// that nobody reads holds up nobody.
pub fn init(log: &Log) -> Flush {
    let (stderr, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES).finish(io::stderr());
    let (filter, handle) = reload::Layer::new(targets(log.level));
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = fmt::layer().with_writer(stderr.clone()).with_ansi(colours).with_target(false);
    // the journal puts its own time on each line (systemd.exec(5), $JOURNAL_STREAM)
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_writer(stderr).with_target(false).boxed()
        }
        LogFormat::Auto if journal => text.without_time().boxed(),
        LogFormat::Auto | LogFormat::Text => text.boxed(),
    };
    if tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
    Flush { _guard: guard }
}

/// Changes the level of a logging that has been started.
pub(super) fn set_level(level: Level) {
    if let Some(filter) = FILTER.get() {
        let _ = filter.reload(targets(level)); // fails only when the subscriber is gone
    }
}

/// wsfan's own events at `level`, others' from warnings on: libraries' traces may show headers.
fn targets(level: Level) -> Targets {
    Targets::new().with_default(level.min(Level::WARN)).with_target("wsfan", level)
}
