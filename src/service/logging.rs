//! The daemon's own words, on stderr.

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

use tracing::Level;
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

/// Starts logging. Later calls change the level only.
pub fn init(log: &Log) {
    if FILTER.get().is_some() {
        return set_level(log.level);
    }
    let (filter, handle) = reload::Layer::new(targets(log.level));
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = fmt::layer().with_writer(io::stderr).with_ansi(colours).with_target(false);
    // the journal puts its own time on each line (systemd.exec(5), $JOURNAL_STREAM)
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_writer(io::stderr).with_target(false).boxed()
        }
        LogFormat::Auto if journal => text.without_time().boxed(),
        LogFormat::Auto | LogFormat::Text => text.boxed(),
    };
    if tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_ok() {
        let _ = FILTER.set(handle);
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
    Targets::new().with_default(level.min(Level::WARN)).with_target("wsfan", level)
}
