//! Around the rooms: the supervisor that starts them, hears signals, reloads, and stops.

use std::{
    fmt,
    future::{Future, pending},
    io,
    path::{self, Path, PathBuf},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::Instant,
};

use crate::{
    config::{Config, Environment, Format},
    hub::{Changes, Configured, Hub, LinkState, LinkStatus, Reload, ReloadResult, Supervisor, now_us},
    local::{self, BindError, Fanout},
    upstream::{self, live_check},
};

use self::{
    link_task::{LinkTask, News, Renewal},
    listeners::{Listeners, Owners},
    reading::{New, Reading},
    renewal::Former,
};

/// Two signals to stop within so short a time are one order.
const ONE_ORDER: Duration = Duration::from_millis(500);

mod link_task;
mod listeners;
pub(crate) mod logging;
#[cfg(feature = "cluster")]
mod node;
mod notify;
mod process;
mod reading;
mod reload;
mod renewal;
mod signals;

pub(crate) use crate::local::own_grant;
pub(crate) use signals::ask_by_signal;
pub use signals::keep_reloads;

/// A configuration, and where it can be read again.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// What to start with.
    pub config: Config,
    /// The file to read on SIGHUP; without one a reload is refused.
    pub path: Option<PathBuf>,
    /// What it is read in.
    pub environment: Environment,
}

/// How the daemon ended in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was asked to stop.
    Stopped,
    /// The upstream was given up, and `on_exhausted` is `exit`.
    GivenUp,
}

/// Why the daemon could not start, or go on.
#[derive(Debug)]
pub(crate) enum Error {
    /// A socket could not be bound.
    Bind(BindError),
    /// The operating system refused something else.
    System(&'static str, io::Error),
    /// A part of the daemon failed.
    Task(&'static str, JoinError),
}

impl Error {
    /// The exit code for it: 78 where another start would come to the same, as long as nobody changes the
    /// configuration or the machine; 1 else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Bind(error) if !error.may_pass() => 78,
            Error::Bind(_) | Error::System(..) | Error::Task(..) => 1,
        }
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
pub(crate) async fn run(source: Source) -> Result<Exit, Error> {
    process::keep_memory_private();
    let orders = signals::orders().map_err(|error| Error::System("signals can't be received", error))?;
    Daemon::start(source)?.supervise(orders).await
}

/// Runs the daemon until `stop` is over.
///
/// # Errors
/// It could not start, or a part of it failed.
pub(crate) async fn run_until(source: Source, stop: impl Future<Output = ()>) -> Result<Exit, Error> {
    let orders = stream::once(async {
        stop.await;
        Order::Stop
    });
    Daemon::start(source)?.supervise(orders).await
}

/// Walks to the configured URL of number `url`, counted from 0, as the daemon's link does, and tells how it
/// goes. A dry walk runs no program. Whether all went well.
pub(crate) async fn walk(
    config: &Config,
    url: usize,
    is_dry: bool,
    printed: &live_check::Printed,
    tell: impl FnMut(live_check::Event) + 'static,
) -> bool {
    live_check::walk(link_settings(config), url, is_dry, printed, tell).await
}

/// What would keep the daemon from starting on this machine, if this user ran it: a sentence each. Nothing is
/// changed, and nobody is called.
pub(crate) fn outlook(config: &Config) -> Vec<String> {
    config.listeners.iter().flat_map(local::outlook).collect()
}

/// What is asked of the daemon from outside.
enum Order {
    Reload,
    Stop,
}

/// The running daemon.
struct Daemon {
    config: Config,
    path: Option<PathBuf>,
    reading: Reading,
    hub: Hub,
    supervisor: Supervisor,
    fanout: Fanout,
    former: Former,
    link: LinkTask,
    link_settings: watch::Sender<upstream::Settings>,
    writer: JoinHandle<()>,
    listeners: Listeners,
}

impl Daemon {
    /// Binds the sockets, then starts everything.
    fn start(source: Source) -> Result<Daemon, Error> {
        let Source { config, path, environment } = source;
        process::raise_descriptor_limit();
        let started = std::time::Instant::now();
        let raw = config.listeners.iter().any(|listener| listener.format == Format::Raw);
        // a cluster's log has its epoch from the stream
        let epoch = if config.cluster.is_some() { String::new() } else { epoch()? };
        let hub = Hub::new(epoch, &config.history, raw);
        let supervisor = hub.supervisor();
        supervisor.configure(|configured| *configured = described(path.as_deref(), &config));
        supervisor.set_names(&config.names);
        supervisor.set_max_message(config.upstream.max_message);
        let fanout = Fanout::new(hub.clone(), &config.history, &config.memory);

        let listeners =
            Listeners::bind(&config.listeners, hub.clone(), fanout.clone(), started).map_err(Error::Bind)?;
        let (link_settings, settings) = watch::channel(link_settings(&config));
        let link = LinkTask::start(&config, &hub, settings);
        let writer = tokio::task::spawn_local(fanout.clone().run());
        let reading = Reading::of(path.clone(), environment);
        let former = Former::default();
        Ok(Daemon {
            config,
            path,
            reading,
            hub,
            supervisor,
            fanout,
            former,
            link,
            link_settings,
            writer,
            listeners,
        })
    }

    async fn supervise(mut self, orders: impl Stream<Item = Order>) -> Result<Exit, Error> {
        let mut orders = std::pin::pin!(orders.chain(stream::pending()));
        self.greet();
        let mut watchdog = notify::watchdog_interval().map(tokio::time::interval);
        // who waits for the reload that is under way; and whether another one was asked for meanwhile
        let (mut answers, mut again) = (Vec::new(), false);
        let exit = loop {
            tokio::select! {
                Some(order) = orders.next() => match order {
                    // the file may have changed since it was read
                    Order::Reload if self.reading.is_busy() => again = true,
                    Order::Reload => self.begin_reload(),
                    Order::Stop => break Exit::Stopped,
                },
                asked = self.supervisor.reload_asked(), if !self.reading.is_busy() => {
                    answers = asked;
                    self.begin_reload();
                }
                new = self.reading.done(), if self.reading.is_busy() => {
                    let reload = self.reload(new);
                    std::mem::take(&mut answers).into_iter().for_each(|answer| answer(&reload));
                    self.listeners.settle();
                    if std::mem::take(&mut again) {
                        self.begin_reload();
                    }
                }
                news = self.link.next() => match news {
                    News::Ended(Ok(upstream::Exit::GivenUp)) => break Exit::GivenUp,
                    News::Ended(Ok(upstream::Exit::Stopped)) => break Exit::Stopped,
                    News::Ended(Err(error)) => return Err(Error::Task("the link", error)),
                    News::Renewal(Renewal { epoch, first, done }) => {
                        let _ = done.send(self.renew(&epoch, first)); // who asked may have ended
                    }
                },
                ended = &mut self.writer => match ended {
                    Err(error) => return Err(Error::Task("the fan-out", error)),
                    Ok(()) => break Exit::Stopped,
                },
                Some(ended) = self.listeners.join_next() => if let Err(error) = ended {
                    return Err(Error::Task("a listener", error));
                },
                Some(ended) = self.former.join_next() => if let Err(error) = ended {
                    return Err(Error::Task("a former fan-out", error));
                },
                () = self.supervisor.link_changed() => notify::status(&sentence(&self.hub.link())),
                () = tick(&mut watchdog) => notify::alive(),
            }
        };
        let begun = Instant::now();
        let again = async {
            while let Some(order) = orders.next().await {
                // what signals a process and its group at once is not impatient
                if matches!(order, Order::Stop) && begun.elapsed() > ONE_ORDER {
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
        self.listeners.close();
        if let Err(error) = self.link.stop(&self.hub, deadline).await {
            return Err(Error::Task("the link", error));
        }
        self.fanout.finish(deadline).await;
        self.former.finish(deadline).await;
        let readers = async { while self.listeners.join_next().await.is_some() {} };
        let _ = tokio::time::timeout_at(deadline, readers).await; // what is left is dropped with the set
        self.writer.abort();
        Ok(())
    }

    /// Begins to read the configuration again.
    fn begin_reload(&mut self) {
        notify::reloading();
        self.reading.begin(self.config.listeners.clone());
    }

    /// Takes what was read. A bad configuration changes nothing. Says what came of it.
    fn reload(&mut self, new: Result<New, String>) -> Reload {
        let reload = match new {
            Ok(New { config, owners }) => self.apply(reload::plan(&self.config, config), owners),
            Err(error) => {
                for problem in error.lines() {
                    tracing::error!("{problem}");
                }
                tracing::error!("the configuration was not reloaded: the old one stays in force");
                let changes = Changes { restart: self.restart(), ..Changes::default() };
                Reload { time_us: now_us(), result: ReloadResult::Refused, error: Some(error), changes }
            }
        };
        self.supervisor.set_reload(reload.clone());
        notify::ready();
        reload
    }

    fn apply(&mut self, plan: reload::Plan, owners: Owners) -> Reload {
        let reload::Plan { config, listeners, mut live, reconnect, restart } = plan;
        self.config = config;
        if !listeners.is_empty() {
            self.former.hurry(); // its clients are none of theirs any more
        }
        let (names, problems) = self.listeners.apply(listeners, owners);
        live.extend(names);
        self.config.listeners = self.listeners.configs();
        let config = &self.config;
        let now = described(self.path.as_deref(), config);
        self.supervisor.configure(|configured| *configured = now);
        self.supervisor.set_retention(&config.history);
        self.supervisor.set_names(&config.names);
        self.supervisor.set_max_message(config.upstream.max_message);
        self.fanout.set_policy(&config.history, &config.memory);
        logging::set_level(config.log.level);
        self.link.reconfigure(config);
        let settings = link_settings(config);
        self.link_settings.send_if_modified(|present| {
            let changed = *present != settings;
            *present = settings;
            changed
        });
        for problem in &problems {
            tracing::error!("{problem}");
        }
        let changes = Changes { live, reconnect, restart };
        say(&changes);
        let (result, error) = match problems.is_empty() {
            true => (ReloadResult::Applied, None),
            false => (ReloadResult::Partly, Some(problems.join("\n"))),
        };
        Reload { time_us: now_us(), result, error, changes }
    }

    /// The keys that wait for a restart.
    fn restart(&self) -> Vec<String> {
        self.hub.last_reload().as_ref().map(|last| last.changes.restart.clone()).unwrap_or_default()
    }
}

/// A line of the log on what a reload changed.
fn say(changes: &Changes) {
    let Changes { live, reconnect, restart } = changes;
    let all = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    if live.is_empty() && reconnect.is_empty() && restart.is_empty() {
        tracing::info!("reloaded the configuration: nothing has changed");
    } else if restart.is_empty() {
        tracing::info!(live = all(live), reconnect = all(reconnect), "reloaded the configuration");
    } else {
        tracing::warn!(
            live = all(live),
            reconnect = all(reconnect),
            needs_restart = all(restart),
            "reloaded the configuration, but for what needs a restart"
        );
    }
}

/// What `status` says of a configuration and of the file that it came from.
fn described(file: Option<&Path>, config: &Config) -> Configured {
    // by its name, since a link may lead elsewhere at the next reload
    let file = file.map(|file| path::absolute(file).unwrap_or_else(|_| file.to_owned()));
    Configured {
        file: file.map(|file| file.to_string_lossy().into_owned()),
        upstream: config.upstream.display_url(0),
        topics: config.terms.has_topics(),
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
