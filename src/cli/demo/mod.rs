//! `wsfan demo`: the newcomer's first minute. A built-in server with prices, a login, a heartbeat,
//! faults and a burst; the real daemon in front of it; and three programs at the real socket.

use std::{io::Write, time::Duration};

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinHandle},
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    failure::{Failure, Outcome, Wrote, reason, wrote},
    run,
};
use crate::{
    config::Environment,
    service::{self, Exit, Source},
};

mod cast;
mod player;
mod scratch;
mod server;
mod story;
mod tally;

use cast::Actor;
use player::Player;
use scratch::Scratch;
use server::{Act, Server};
use story::{Do, Story};

const NOTES: &str = "\
It needs no network, no config and no rights, and leaves nothing behind. While it runs, join in from \
another terminal with the commands that it prints.

Exit codes: 0 shown; 1 something did not work.";

/// How long the daemon may take to come up, to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much longer than it was to run it goes on at most, if not all was seen by then.
const LONGER: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// How long to run, and longer until all was seen once; 0s is until Ctrl-C
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = crate::config::parse_duration)]
    duration: Duration,
}

pub(super) fn demo(args: &Args) -> Outcome {
    let scratch = Scratch::new()?;
    let runtime = run::runtime()?;
    let outcome = runtime.block_on(play(args, &scratch));
    runtime.shutdown_background();
    match outcome {
        Ok(()) | Err(Stopped::Enough) => Ok(()),
        Err(Stopped::Failed(failure)) => Err(failure),
    }
}

/// Why the play stopped before its end.
enum Stopped {
    /// Nobody reads the story any more, or it was interrupted twice.
    Enough,
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Stopped {
        Stopped::Failed(failure)
    }
}

/// What the story is made of.
enum Scene {
    /// A line of the daemon's to one of the programs.
    Line(Actor, Vec<u8>),
    /// Something that the server did.
    Act(Act),
    /// A program's connection ended.
    Ended(Actor),
}

/// What to do next about.
enum Cue {
    Scene(Scene),
    /// The deadline passed.
    Late,
    /// Ctrl-C.
    Interrupted,
}

type DaemonTask = JoinHandle<Result<Exit, service::Error>>;

async fn play(args: &Args, scratch: &Scratch) -> Result<(), Stopped> {
    // before anything is shown: who sees it may end it
    let signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::failed(format!("signals can't be received: {}", reason(&error))))?;
    let (scenes, heard) = mpsc::channel(64);
    let (keep_up, had) = watch::channel(None);
    let server = Server::bind(scratch.token_file(), calm(args.duration), scenes.clone(), had)
        .await
        .map_err(|error| Failure::failed(format!("the demo's server can't start: {}", reason(&error))))?;
    let config = scratch.write_config(server.port())?;
    let mut story = Story::new(anstream::stdout().lock());
    shown(story.opening(args.duration, &config, &scratch.socket()))?;

    let environment = Environment::process();
    let source =
        Source { config: run::load_in(&scratch.config_file(), &environment)?, path: None, environment };
    let (stop, stopped) = oneshot::channel::<()>();
    let daemon = tokio::task::spawn_local(service::run_until(source, async {
        let _ = stopped.await; // it stops as well when the other end is dropped
    }));
    let server = tokio::task::spawn_local(server.run());
    let mut theatre = Theatre { heard, daemon, signals, keep_up, stopping: false };
    let told = theatre.tell(args.duration, scratch, scenes, stop, &mut story).await;
    server.abort();
    told
}

/// Where it all comes together.
struct Theatre {
    heard: mpsc::Receiver<Scene>,
    daemon: DaemonTask,
    signals: Signals,
    /// For the server: how much of the burst has come through.
    keep_up: watch::Sender<Option<u64>>,
    /// The daemon may end now.
    stopping: bool,
}

impl Theatre {
    async fn tell<W: Write>(
        &mut self,
        duration: Duration,
        scratch: &Scratch,
        scenes: mpsc::Sender<Scene>,
        stop: oneshot::Sender<()>,
        story: &mut Story<W>,
    ) -> Result<(), Stopped> {
        // a first call at the server means that the daemon has its socket
        let end = (!duration.is_zero()).then(|| Instant::now() + duration);
        match self.next(Some(Instant::now() + PATIENCE)).await? {
            Cue::Scene(Scene::Act(act)) => shown(story.act(&act).map(drop))?,
            Cue::Interrupted => return Err(Stopped::Enough),
            _ => return Err(Failure::failed("the daemon doesn't call the demo's server").into()),
        }
        let mut players = Vec::new();
        for who in Actor::ALL {
            players.push(Player::connect(who, &scratch.socket(), scenes.clone()).await?);
        }
        drop(scenes);

        self.hear_all(end, &mut players, story).await?;

        players.iter().for_each(|player| player.set_awake(true));
        players[Actor::Trader as usize].ask(&story.ask_for_ledger()).await?;
        let deadline = Some(Instant::now() + PATIENCE);
        while !story.has_ledger() {
            match self.next(deadline).await? {
                Cue::Scene(scene) => self.hear(scene, &mut players, story).await?,
                Cue::Late => return Err(Failure::failed("the daemon doesn't tell its status").into()),
                Cue::Interrupted => return Err(Stopped::Enough),
            }
        }

        self.stopping = true;
        let _ = stop.send(()); // a daemon that is gone is found out below
        let deadline = Instant::now() + PATIENCE;
        let mut left = players.len();
        while left > 0 {
            match self.next(Some(deadline)).await? {
                Cue::Scene(Scene::Ended(_)) => left -= 1,
                Cue::Scene(scene) => self.hear(scene, &mut players, story).await?,
                Cue::Late => return Err(Failure::failed("the daemon doesn't stop").into()),
                Cue::Interrupted => return Err(Stopped::Enough),
            }
        }
        let ended = timeout_at(deadline, &mut self.daemon).await;
        failed(ended.map_err(|_| Failure::failed("the daemon doesn't stop"))?)?;
        shown(story.closing())?;
        Ok(story.verdict()?)
    }

    /// Hears it all until the end, and longer on a machine that is too slow for all to be seen by then.
    async fn hear_all<W: Write>(
        &mut self,
        mut end: Option<Instant>,
        players: &mut [Player],
        story: &mut Story<W>,
    ) -> Result<(), Stopped> {
        let mut goes_on = false;
        while !goes_on || !story.is_told() {
            match self.next(end).await? {
                Cue::Scene(scene) => self.hear(scene, players, story).await?,
                Cue::Late if !goes_on && !story.is_told() => {
                    shown(story.goes_on())?;
                    goes_on = true;
                    end = end.map(|end| end + LONGER);
                }
                Cue::Late | Cue::Interrupted => break,
            }
        }
        Ok(())
    }

    /// What comes next. A daemon that ends by itself is a failure.
    async fn next(&mut self, deadline: Option<Instant>) -> Result<Cue, Failure> {
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased; // a story that flows without a pause must end all the same
            () = late => Ok(Cue::Late),
            Some(_) = self.signals.next() => Ok(Cue::Interrupted),
            Some(scene) = self.heard.recv() => Ok(Cue::Scene(scene)),
            ended = &mut self.daemon, if !self.stopping => {
                failed(ended)?;
                Err(Failure::failed("the daemon ended before it was asked to"))
            }
        }
    }

    async fn hear<W: Write>(
        &mut self,
        scene: Scene,
        players: &mut [Player],
        story: &mut Story<W>,
    ) -> Result<(), Stopped> {
        let mut to_do = Vec::new();
        match scene {
            Scene::Act(act) => shown(story.act(&act).map(|wished| to_do = wished))?,
            Scene::Line(who, line) => shown(story.line(who, &line).map(|wished| to_do = wished))?,
            Scene::Ended(who) => {
                let why = format!("the daemon ended the connection of the demo's {}", who.name());
                return Err(Failure::failed(why).into());
            }
        }
        for wish in to_do {
            match wish {
                Do::Ask(who, request) => players[who as usize].ask(&request).await?,
                Do::Sleep(who) => players[who as usize].set_awake(false),
                Do::SendMore(had) => drop(self.keep_up.send_replace(Some(had))),
                Do::Wake(who) => players[who as usize].set_awake(true),
            }
        }
        Ok(())
    }
}

/// A failure, if the daemon ended with one.
fn failed(ended: Result<Result<Exit, service::Error>, JoinError>) -> Outcome {
    match ended {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Failure::failed(error.to_string())),
        Err(error) => Err(Failure::failed(format!("the daemon failed, which is a fault of wsfan: {error}"))),
    }
}

/// A story that nobody reads ends there.
fn shown(result: std::io::Result<()>) -> Result<(), Stopped> {
    match wrote(result)? {
        Wrote::More => Ok(()),
        Wrote::Enough => Err(Stopped::Enough),
    }
}

/// How long the server behaves before its next fault, so that each kind is seen once.
fn calm(duration: Duration) -> Duration {
    const LONGEST: Duration = Duration::from_secs(4);
    if duration.is_zero() { LONGEST } else { (duration / 6).clamp(Duration::from_millis(300), LONGEST) }
}
