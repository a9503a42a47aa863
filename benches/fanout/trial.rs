//! One trial: a server, a bridge and its clients, each a process, and what the bridge cost.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::Deserialize;

use crate::{bridges::Bridge, clients::Wish, measure};

/// How long any step may take before a trial is given up.
const DEADLINE: Duration = Duration::from_secs(60);

/// What is sent, and to how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    /// Of a message in bytes.
    pub(crate) size: usize,
    pub(crate) messages: u64,
    /// A second; 0 is as fast as it goes.
    pub(crate) rate: u64,
    /// The first client stops reading before it begins.
    pub(crate) stopped: bool,
    /// Messages have topics.
    pub(crate) topics: bool,
    /// What each client wants.
    pub(crate) wish: Wish,
    /// Each client has a thread of its own.
    pub(crate) threads: bool,
    /// The clients aren't woken: they look of themselves, every 5 ms.
    pub(crate) ticks: bool,
}

impl Load {
    /// Nothing at all, for all in one thread.
    pub(crate) const NONE: Load = Load {
        clients: 0,
        size: 64,
        messages: 0,
        rate: 0,
        stopped: false,
        topics: false,
        wish: Wish::All,
        threads: false,
        ticks: false,
    };
}

/// What a trial showed.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) seen: Seen,
    /// Of the bridge, from the first message to the last.
    pub(crate) cpu_us: f64,
    pub(crate) peak_kb: u64,
}

/// What the clients saw, all together.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Seen {
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    pub(crate) seconds: f64,
    /// CPU time of the clients' process from when all were warm on.
    pub(crate) cpu_us: f64,
    pub(crate) longest_pause_ms: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

impl Outcome {
    /// CPU time of the bridge for each line that a client got, in µs.
    pub(crate) fn cpu_per_delivery(&self) -> f64 {
        self.cpu_us / self.seen.received.max(1) as f64
    }

    pub(crate) fn rate(&self) -> f64 {
        self.seen.received as f64 / self.seen.seconds.max(1e-9)
    }
}

/// What idle clients cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    pub(crate) resident_kb: u64,
    pub(crate) own_kb: u64,
    /// From the first connect to the last.
    pub(crate) connected_ms: f64,
    /// From the first connect until each had got a message.
    pub(crate) served_ms: f64,
    /// Of the bridge, while nothing happened for a second.
    pub(crate) cpu_us: f64,
}

/// Runs `load` through `bridge`.
pub(crate) fn run(bridge: Bridge, load: Load) -> Result<Outcome, String> {
    let block = load.rate == 0 && !load.stopped;
    let mut stage = Stage::set(bridge, load, block)?;
    let before = measure::cpu_ns(stage.bridge.pid());
    stage.server.say(&format!("go {} {} {}", load.messages, load.size, load.rate))?;
    let report = stage.clients.hear("{")?;
    let cpu_us = (measure::cpu_ns(stage.bridge.pid()) - before) as f64 / 1e3;
    let seen = serde_json::from_str(&report).map_err(|error| format!("{report}: {error}"))?;
    Ok(Outcome { seen, cpu_us, peak_kb: measure::memory_kb(stage.bridge.pid(), "VmHWM") })
}

/// What `load` costs the bridge, in µs, where nobody is there to get it: it must answer pings.
pub(crate) fn intake(bridge: Bridge, load: Load) -> Result<f64, String> {
    let mut stage = Stage::set(bridge, Load { clients: 0, ..load }, load.rate == 0)?;
    let before = measure::cpu_ns(stage.bridge.pid());
    stage.server.say(&format!("go {} {} {}", load.messages, load.size, load.rate))?;
    stage.server.hear("sent")?;
    stage.server.say("ping")?;
    stage.server.hear("pong")?;
    Ok((measure::cpu_ns(stage.bridge.pid()) - before) as f64 / 1e3)
}

/// Lets `clients` connect to `bridge`, and nothing more.
pub(crate) fn idle(bridge: Bridge, clients: usize) -> Result<Idle, String> {
    let load = Load { clients, ..Load::NONE };
    let mut stage = Stage::set(bridge, load, false)?;
    stage.server.say("quiet")?;
    let before = measure::cpu_ns(stage.bridge.pid());
    thread::sleep(Duration::from_secs(1)); // the second that is measured
    let pid = stage.bridge.pid();
    Ok(Idle {
        resident_kb: measure::memory_kb(pid, "VmRSS"),
        own_kb: measure::memory_kb(pid, "RssAnon"),
        connected_ms: stage.connected_us / 1e3,
        served_ms: stage.warm_us / 1e3,
        cpu_us: (measure::cpu_ns(pid) - before) as f64 / 1e3,
    })
}

/// Everyone is there, and connected.
struct Stage {
    clients: Actor,
    bridge: Actor,
    server: Actor,
    connected_us: f64,
    warm_us: f64,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn set(bridge: Bridge, load: Load, block: bool) -> Result<Stage, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let socket = directory.path().join("socket");
        let mut server = Actor::role("upstream", &[u8::from(load.topics).to_string()])?;
        let port = server.hear("port ")?.parse().map_err(|error| format!("the server's port: {error}"))?;
        let bridge = Actor::new(bridge.start(port, directory.path(), load.clients.max(1), block));
        if load.clients == 0 {
            server.hear("connected")?;
            let clients = Actor::role("none", &[])?;
            return Ok(Stage {
                clients,
                bridge,
                server,
                connected_us: 0.0,
                warm_us: 0.0,
                _directory: directory,
            });
        }
        let arguments = [
            socket.display().to_string(),
            load.clients.to_string(),
            load.messages.to_string(),
            u8::from(load.rate > 0).to_string(),
            u8::from(load.stopped).to_string(),
            load.wish.name().to_owned(),
            u8::from(load.threads).to_string(),
            u8::from(load.ticks).to_string(),
        ];
        let mut clients = Actor::role("clients", &arguments)?;
        clients.hear("first")?;
        server.hear("connected")?;
        server.say("warm")?;
        clients.say("more")?;
        let connected_us = number(&clients.hear("connected ")?)?;
        let warm_us = number(&clients.hear("warm ")?)?;
        Ok(Stage { clients, bridge, server, connected_us, warm_us, _directory: directory })
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

/// A process of the trial. It ends with this value.
struct Actor {
    child: Child,
    input: Option<ChildStdin>,
    output: mpsc::Receiver<String>,
}

impl Actor {
    fn new(mut child: Child) -> Actor {
        let (lines, output) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
            });
        }
        let input = child.stdin.take();
        Actor { child, input, output }
    }

    /// This program in another role.
    fn role(role: &str, arguments: &[String]) -> Result<Actor, String> {
        let program: PathBuf = std::env::current_exe().map_err(|error| error.to_string())?;
        let child = Command::new(program)
            .arg(format!("--role={role}"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        Ok(Actor::new(child))
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn say(&mut self, line: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("nobody listens")?;
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(|error| error.to_string())
    }

    /// Waits for the line that begins with `start`, and returns the rest of it; of JSON, all.
    fn hear(&mut self, start: &str) -> Result<String, String> {
        loop {
            let line = self.output.recv_timeout(DEADLINE).map_err(|_| format!("no {start:?} in time"))?;
            if let Some(rest) = line.strip_prefix(start) {
                return Ok(if start == "{" { line } else { rest.to_owned() });
            }
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
