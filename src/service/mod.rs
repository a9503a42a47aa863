//! Around the rooms: the supervisor that starts them, hears signals, reloads, and stops.

use std::{
    cell::RefCell,
    fmt,
    future::{Future, pending},
    io,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle, JoinSet},
    time::Instant,
};

use crate::{
    config::{self, Config, Format},
    hub::{Command, Hub, LinkState, LinkStatus},
    local::{BindError, Fanout, Listener, raise_descriptor_limit},
    upstream,
};

/// Two signals to stop within so short a time are one request.
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// A walk to the server, for those who want to see how it goes: see [`walk`].
pub use crate::upstream::walk as way;

pub mod logging;
mod notify;
mod reload;

/// A configuration, and where it can be read again.
#[derive(Debug, Clone)]
pub struct Source {
    /// What to start with.
    pub config: Config,
    /// The file to read on SIGHUP; without one a reload is refused.
    pub path: Option<PathBuf>,
}

/// How the daemon ended in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to stop.
    Stopped,
    /// The upstream was given up, and `on_exhausted` is `exit`.
    GivenUp,
}

/// Why the daemon could not start, or go on.
#[derive(Debug)]
pub enum Error {
    /// A socket could not be bound.
    Bind(BindError),
    /// The operating system refused something else.
    System(&'static str, io::Error),
    /// A part of the daemon failed.
    Task(&'static str, JoinError),
}

impl Error {
    /// The exit code for it.
    pub fn exit_code(&self) -> u8 {
        1
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bind(error) => error.fmt(f),
            Error::System(what, error) => write!(f, "{what}: {error}"),
            Error::Task(part, error) => write!(f, "{part} failed, which is a fault of wsfan: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// Runs the daemon until SIGTERM or SIGINT; SIGHUP reloads. A second signal to stop ends it at once.
///
/// # Errors
/// It could not start, or a part of it failed.
pub async fn run(source: Source) -> Result<Exit, Error> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| Error::System("signals can't be received", error))?;
    let requests = signals.map(|signal| if signal == SIGHUP { Request::Reload } else { Request::Stop });
    Daemon::start(source)?.supervise(requests).await
}

/// Runs the daemon until `stop` is over.
///
/// # Errors
/// It could not start, or a part of it failed.
pub async fn run_until(source: Source, stop: impl Future<Output = ()>) -> Result<Exit, Error> {
    let requests = stream::once(async {
        stop.await;
        Request::Stop
    });
    Daemon::start(source)?.supervise(requests).await
}

/// Walks to the configured URL of number `url`, counted from 0, as the daemon's link does, and tells how it
/// goes. Whether all went well.
pub async fn walk(config: &Config, url: usize, tell: impl FnMut(way::Row) + 'static) -> bool {
    way::walk(link_settings(config), url, tell).await
}

/// What is asked of the daemon from outside.
enum Request {
    Reload,
    Stop,
}

/// The running daemon.
struct Daemon {
    config: Config,
    path: Option<PathBuf>,
    hub: Hub,
    fanout: Fanout,
    link: JoinHandle<upstream::Ended>,
    link_settings: watch::Sender<upstream::Settings>,
    writer: JoinHandle<()>,
    listeners: JoinSet<()>,
    listener_configs: Vec<Rc<RefCell<config::Listener>>>,
    /// Dropped to stop accepting.
    accepting: watch::Sender<()>,
}

impl Daemon {
    /// Binds the sockets, then starts everything.
    fn start(source: Source) -> Result<Daemon, Error> {
        let Source { config, path } = source;
        raise_descriptor_limit();
        let started = std::time::Instant::now();
        let raw = config.listeners.iter().any(|listener| listener.format == Format::Raw);
        let (hub, commands) = Hub::new(epoch()?, &config.history, raw);
        let fanout = Fanout::new(hub.clone(), &config.history, &config.memory);

        let listener_configs: Vec<_> =
            config.listeners.iter().map(|listener| Rc::new(RefCell::new(listener.clone()))).collect();
        let bound = listener_configs
            .iter()
            .map(|listener| Listener::bind(listener.clone(), hub.clone(), fanout.clone(), started))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Bind)?;

        let (accepting, accepting_ends) = watch::channel(());
        let mut listeners = JoinSet::new();
        for listener in bound {
            let mut accepting = accepting_ends.clone();
            listeners.spawn_local(listener.run(async move { while accepting.changed().await.is_ok() {} }));
        }
        let (link_settings, settings) = watch::channel(link_settings(&config));
        let link = tokio::task::spawn_local(upstream::run(hub.clone(), commands, settings));
        let writer = tokio::task::spawn_local(fanout.clone().run());
        Ok(Daemon {
            config,
            path,
            hub,
            fanout,
            link,
            link_settings,
            writer,
            listeners,
            listener_configs,
            accepting,
        })
    }

    async fn supervise(mut self, requests: impl Stream<Item = Request>) -> Result<Exit, Error> {
        let mut requests = std::pin::pin!(requests.chain(stream::pending()));
        self.greet();
        let mut watchdog = notify::watchdog_interval().map(tokio::time::interval);
        let exit = loop {
            tokio::select! {
                Some(request) = requests.next() => match request {
                    Request::Reload => self.reload(),
                    Request::Stop => break Exit::Stopped,
                },
                ended = &mut self.link => match ended {
                    Ok(upstream::Ended::GivenUp) => break Exit::GivenUp,
                    Ok(upstream::Ended::Stopped) => break Exit::Stopped,
                    Err(error) => return Err(Error::Task("the link", error)),
                },
                ended = &mut self.writer => match ended {
                    Err(error) => return Err(Error::Task("the fan-out", error)),
                    Ok(()) => break Exit::Stopped,
                },
                Some(ended) = self.listeners.join_next() => if let Err(error) = ended {
                    return Err(Error::Task("a listener", error));
                },
                () = self.hub.link_changed() => notify::status(&sentence(&self.hub.link())),
                () = tick(&mut watchdog) => notify::alive(),
            }
        };
        let begun = Instant::now();
        let again = async {
            while let Some(request) = requests.next().await {
                // what signals a process and its group at once is not impatient
                if matches!(request, Request::Stop) && begun.elapsed() > ONE_REQUEST {
                    break;
                }
            }
        };
        tokio::select! {
            stopped = self.stop() => stopped?,
            () = again => tracing::warn!("asked to stop a second time: ending at once"),
        }
        Ok(exit)
    }

    fn greet(&self) {
        for listener in &self.config.listeners {
            tracing::info!(path = %listener.path.display(), "listening");
        }
        notify::status(&sentence(&self.hub.link()));
        notify::ready();
    }

    /// Stops accepting, closes the upstream, lets the clients have the rest, all in
    /// `shutdown.timeout`.
    async fn stop(mut self) -> Result<(), Error> {
        let deadline = Instant::now() + self.config.shutdown.timeout;
        notify::stopping();
        tracing::info!(clients = self.fanout.count(), "stopping");
        drop(self.accepting);
        if !self.link.is_finished() {
            let closed = async {
                self.hub.command(Command::Stop).await;
                (&mut self.link).await
            };
            match tokio::time::timeout_at(deadline, closed).await {
                Ok(Err(error)) => return Err(Error::Task("the link", error)),
                Ok(Ok(_)) => {}
                Err(_) => {
                    tracing::warn!("the upstream did not close in time");
                    self.link.abort();
                }
            }
        }
        self.fanout.finish(deadline).await;
        let readers = async { while self.listeners.join_next().await.is_some() {} };
        let _ = tokio::time::timeout_at(deadline, readers).await; // what is left is dropped with the set
        self.writer.abort();
        Ok(())
    }

    /// Reads the configuration again. A bad one changes nothing.
    fn reload(&mut self) {
        let Some(path) = &self.path else {
            return tracing::warn!("there is no configuration file to reload");
        };
        notify::reloading();
        match Config::load(path) {
            Ok(config) => self.apply(reload::plan(&self.config, config)),
            Err(error) => {
                for problem in error.to_string().lines() {
                    tracing::error!("{problem}");
                }
                tracing::error!("the configuration was not reloaded: the old one stays in force");
            }
        }
        notify::ready();
    }

    fn apply(&mut self, plan: reload::Plan) {
        let none_if_empty =
            |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        if plan.live.is_empty() && plan.reconnect.is_empty() && plan.refused.is_empty() {
            tracing::info!("reloaded the configuration: nothing has changed");
        } else if plan.refused.is_empty() {
            tracing::info!(
                live = none_if_empty(&plan.live),
                reconnect = none_if_empty(&plan.reconnect),
                "reloaded the configuration"
            );
        } else {
            tracing::warn!(
                live = none_if_empty(&plan.live),
                reconnect = none_if_empty(&plan.reconnect),
                needs_restart = none_if_empty(&plan.refused),
                "reloaded the configuration, but for what needs a restart"
            );
        }
        self.config = plan.config;
        let config = &self.config;
        self.hub.set_limits(&config.history);
        self.fanout.set_rules(&config.history, &config.memory);
        for (shared, listener) in self.listener_configs.iter().zip(&config.listeners) {
            *shared.borrow_mut() = listener.clone();
        }
        logging::set_level(config.log.level);
        let settings = link_settings(config);
        self.link_settings.send_if_modified(|present| {
            let changed = *present != settings;
            *present = settings;
            changed
        });
    }
}

/// The link's part of the configuration.
fn link_settings(config: &Config) -> upstream::Settings {
    upstream::Settings {
        upstream: config.upstream.clone(),
        terms: config.terms.clone(),
        heartbeat: config.heartbeat.clone(),
        reconnect: config.reconnect.clone(),
        outbox: config.outbox,
        // the other half is for the clients
        close_timeout: config.shutdown.timeout / 2,
    }
}

/// A random name for this life of the log.
fn epoch() -> Result<String, Error> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::System("no random numbers can be had", io::Error::other(error.to_string()))
    })?;
    Ok(format!("{:08x}", u32::from_be_bytes(bytes)))
}

/// The link's state for `systemctl status`.
fn sentence(link: &LinkStatus) -> String {
    match (link.state, link.retry_in, &link.error) {
        (LinkState::Up, ..) => format!("link up, connection {}", link.conn),
        (LinkState::Waiting, Some(delay), error) => format!(
            "link waiting, attempt {} in {:.1} s{}",
            link.attempt + 1,
            delay.as_secs_f64(),
            error.as_ref().map(|error| format!(": {error}")).unwrap_or_default(),
        ),
        (state, _, Some(error)) => format!("link {}: {error}", state.name()),
        (state, ..) => format!("link {}", state.name()),
    }
}

/// Ticks as often as systemd's watchdog wants to hear; never without one.
async fn tick(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(interval) => {
            interval.tick().await;
        }
        None => pending().await,
    }
}
