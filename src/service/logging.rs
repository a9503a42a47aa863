//! The daemon's own words, on stderr.

use std::{
    fmt,
    fs::File,
    io::{self, IsTerminal},
    os::{fd::AsFd, linux::fs::MetadataExt},
    sync::OnceLock,
};

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Registry,
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::{Layer, SubscriberExt},
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

use crate::config::{LogFormat, Logging};

static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// So many lines may wait to be written; what comes while they do is dropped.
const WAITING_LINES: usize = 1024;

/// Writes out what waits when it is dropped, for a second at most.
#[must_use = "what waits is lost without it"]
pub(crate) struct Flush {
    _guard: WorkerGuard,
}

/// Starts logging, once for the process. A thread of its own does the writing: a standard error
/// that nobody reads holds up nobody.
pub(crate) fn init(log: &Logging) -> Flush {
    let (stderr, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES).finish(io::stderr());
    let (filter, handle) = reload::Layer::new(targets(log.level));
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let layer = tracing_subscriber::fmt::layer;
    let text = layer().with_writer(stderr.clone()).with_ansi(colours).with_target(false);
    let journal = is_journal();
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Json => layer()
            .json()
            .flatten_event(true)
            .with_writer(stderr)
            .with_target(false)
            .map_event_format(|format| Prioritized { format, journal })
            .boxed(),
        // the journal puts its own time on each line
        LogFormat::Auto if journal => {
            text.without_time().map_event_format(|format| Prioritized { format, journal }).boxed()
        }
        LogFormat::Auto | LogFormat::Text => {
            text.map_event_format(|format| Prioritized { format, journal }).boxed()
        }
    };
    if tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
    Flush { _guard: guard }
}

/// Whether standard error is the journal (systemd.exec(5), `$JOURNAL_STREAM`). The variable alone doesn't say
/// so: it is inherited by programs whose output goes elsewhere.
pub(crate) fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let own =
        stderr.and_then(|file| file.metadata()).map(|file| format!("{}:{}", file.st_dev(), file.st_ino()));
    own.is_ok_and(|own| own == stream)
}

/// What a line for the journal begins with, so that it has its priority (sd-daemon(3)).
pub(crate) fn prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

/// Changes the level of a logging that has been started.
pub(super) fn set_level(level: Level) {
    if let Some(filter) = FILTER.get() {
        let _ = filter.reload(targets(level)); // fails only when the subscriber is gone
    }
}

/// wsfan's own events at `level`, others' from warnings on: libraries' traces may show headers.
fn targets(level: Level) -> Targets {
    // what NATS's client would say is said in sentences
    Targets::new()
        .with_default(level.min(Level::WARN))
        .with_target("wsfan", level)
        .with_target("async_nats", LevelFilter::OFF)
}

/// A format that says each event's priority, where that goes to the journal.
struct Prioritized<F> {
    format: F,
    journal: bool,
}

impl<S, N, F> FormatEvent<S, N> for Prioritized<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.journal {
            writer.write_str(prefix(*event.metadata().level()))?;
        }
        self.format.format_event(context, writer, event)
    }
}
