//! One storm, from the first start of the daemon to its last stop.

use std::{
    any::Any,
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use super::{
    clients::Crowd,
    memory, oracle,
    payload::{EACH, LARGEST},
    plan::{Act, Plan},
    record::{Life, Record},
    server::{CALM, Server, pause},
    topics::OF_LISTENER,
};
use crate::common::{DEADLINE, Daemon};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use serde_json::Value;

const MIB: usize = 1 << 20;

/// Lets it storm, and tells what was seen.
pub(crate) fn run(plan: &Plan) -> Record {
    let begun = Instant::now();
    let server = Server::start(plan.seed, begun, plan.scripts.clone());
    let (_held, dead) = dead_port();
    let alive = format!("\"ws://127.0.0.1:{}/storm\"", server.port);
    let urls = if plan.seed.is_multiple_of(4) { format!("[{alive}, \"ws://{dead}/\"]") } else { alive };
    let max_line =
        plan.unfinished.map_or(String::new(), |most| format!("max_line = {}\n", most - (64 << 10)));
    let complete = |config: &str| {
        config.replace("URLS", &urls)
            + &format!("[[listener]]\npath = \"SOCKET\"\n{max_line}")
            + &format!("[[listener]]\npath = \"SOCKET.raw\"\nformat = \"raw\"\n{max_line}")
            + &narrowed(plan, &max_line)
    };
    let config = complete(&plan.config);
    let mut stage = Stage { daemon: Daemon::start(&config), record: Record::default(), server, begun };
    stage.born();
    let crowd = Crowd::start(plan.seed, begun, &stage.daemon.socket(), &plan.clients);
    for (time, act) in &plan.acts {
        pause(*time);
        stage.weigh();
        let from = begun.elapsed();
        match act {
            Act::Reload(which) => stage.reload(&complete(&plan.reloads[*which])),
            Act::BadReload => stage.reload(&config.replace("[history]", "[histori]")),
            Act::Reconnect => stage.command("reconnect"),
            Act::CloseOpen(time) => {
                stage.command("close");
                pause(*time);
                stage.command("open");
            }
            Act::Restart => {
                stage.stop();
                stage = stage.again(&config);
            }
            Act::Kill => {
                stage.record.lives.last_mut().expect("it lives").killed = true;
                stage = stage.again(&config);
            }
        }
        stage.record.interventions.push((from, begun.elapsed()));
    }

    let from = begun.elapsed();
    let calm_from = stage.server.calm_down();
    // it may have been any of the plan's
    stage.reload(&config);
    let told = crowd.calm_down();
    stage.command("reconnect");
    stage.record.interventions.push((from, begun.elapsed()));
    let last = |number: u64| number / EACH >= calm_from && number % EACH == CALM - 1;
    let epoch = &stage.record.lives.last().expect("it lives").epoch;
    let all = format!("{{\"op\":\"attach\",\"since\":{{\"epoch\":\"{epoch}\",\"seq\":0}}}}\n");
    stage.until(&all, |line| oracle::number(plan.seed, line.trim_end().as_bytes()).is_some_and(last));
    if plan.shares {
        stage.shared(&crowd);
    }
    stage.weigh();
    crowd.last_words();
    stage.stop();
    told.unwrap_or_else(|fault| panic!("{fault}; the daemon's log:\n{}", stage.daemon.log()));

    let Stage { mut record, server, .. } = stage;
    record.seed = plan.seed;
    record.slow_client = plan.slow_client;
    record.topics = plan.topics;
    record.rotates = plan.rotates;
    record.unfinished = plan.unfinished;
    // with those who control the daemon
    record.clients = plan.clients.len() + 2;
    record.sessions = crowd.finish();
    record.attempts = server.finish().unwrap_or_else(|fault| panic!("{fault}"));
    record.lives.last_mut().expect("it lived").attempts.end = record.attempts.len();
    record.memory.1 = bound(plan);
    record
}

/// The listeners that let some topics through.
fn narrowed(plan: &Plan, max_line: &str) -> String {
    if !plan.topics {
        return String::new();
    }
    let topics = format!("topics = {OF_LISTENER:?}\n{max_line}");
    format!("[[listener]]\npath = \"SOCKET.some\"\n{topics}")
        + &format!("[[listener]]\npath = \"SOCKET.raw.some\"\nformat = \"raw\"\n{topics}")
}

/// What somebody panicked with.
pub(crate) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

/// The daemon, and what is written down of it.
struct Stage {
    daemon: Daemon,
    record: Record,
    server: Server,
    begun: Instant,
}

impl Stage {
    /// A life has begun.
    fn born(&mut self) {
        let epoch = self.daemon.client().hello["epoch"].as_str().expect("an epoch is text").to_owned();
        let first = self.record.lives.last().map_or(0, |life| life.attempts.end);
        let life = Life { epoch, from: self.begun.elapsed(), attempts: first..first, ..Life::default() };
        self.record.lives.push(life);
        self.weigh();
    }

    /// Ends it, if it hasn't ended, and begins a new life.
    fn again(self, config: &str) -> Stage {
        let Stage { daemon, mut record, server, begun } = self;
        let directory = daemon.kill();
        record.lives.last_mut().expect("it lived").attempts.end = server.mark();
        let mut daemon = Daemon::spawn_in(directory, config);
        daemon.notified("READY=1");
        let mut stage = Stage { daemon, record, server, begun };
        stage.born();
        stage
    }

    fn stop(&mut self) {
        let life = self.record.lives.last_mut().expect("it lives");
        life.until = self.begun.elapsed();
        self.daemon.signal("TERM");
        let status = self.daemon.wait();
        assert!(status.success(), "it ended with {status}; its log:\n{}", self.daemon.log());
        life.log = self.daemon.log();
    }

    fn reload(&mut self, config: &str) {
        self.daemon.rewrite(config);
        self.daemon.signal("HUP");
        self.daemon.notified("RELOADING=1");
        self.daemon.notified("READY=1");
    }

    fn command(&self, op: &str) {
        let answer = "{\"type\":\"ok\",\"id\":\"w\",\"result\":\"accepted\"";
        self.until(&format!("{{\"op\":\"{op}\",\"id\":\"w\"}}\n"), |line| line.starts_with(answer));
    }

    /// Says `request` and reads up to a line that is `wanted`. Where a flood has the daemon cut it off, as any
    /// other client, it comes again.
    fn until(&self, request: &str, wanted: impl Fn(&str) -> bool) {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let mut stream = UnixStream::connect(self.daemon.socket()).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let _ = stream.write_all(request.as_bytes());
            if BufReader::new(stream).lines().map_while(Result::ok).any(|line| wanted(&line)) {
                return;
            }
        }
        panic!("{request} was never answered; the daemon's log:\n{}", self.daemon.log());
    }

    /// Waits until the daemon has shared out topics as clients were told, and the server knows of these and no others.
    fn shared(&self, crowd: &Crowd) {
        let end = Instant::now() + DEADLINE;
        let mut client = self.daemon.client();
        loop {
            let status = client.status();
            let rows = status["subscriptions"]["rows"].as_array().into_iter().flatten();
            let live = |row: &&Value| row["state"] == "subscribed";
            let all = rows.clone().count();
            let row = |row: &Value| Some((row["topic"].as_str()?.to_owned(), row["clients"].as_u64()?));
            let rows: BTreeMap<String, u64> = rows.filter(live).filter_map(row).collect();
            let (holds, has) = (crowd.holds(), self.server.topics());
            if rows.len() == all && rows == holds && has.iter().eq(rows.keys()) {
                return;
            }
            assert!(
                Instant::now() < end,
                "topics: clients have {holds:?}, the server {has:?}, and the daemon says {}; its log:\n{}",
                status["subscriptions"],
                self.daemon.log()
            );
            pause(Duration::from_millis(5));
        }
    }

    fn weigh(&mut self) {
        self.record.memory.0 = self.record.memory.0.max(memory(self.daemon.pid()));
    }
}

/// The sum of docs/memory.md for a storm's configuration.
fn bound(plan: &Plan) -> usize {
    // a line is a third longer than a binary message
    let line = LARGEST / 3 * 4 + 200;
    let clients = plan.clients.len() + 2;
    let history = plan.history / 10 * 11 + 2 * (160 * 1024 + line);
    let stalled = if plan.tight { MIB + line } else { (clients * (line + MIB)).min(32 * MIB) };
    let sends = 4 * MIB + MIB / 4;
    let connection = MIB / 4 + 2 * MIB + MIB + 2 * MIB;
    let lines = plan.unfinished.unwrap_or(0);
    let names = if plan.rotates { 4 * MIB } else { 0 };
    let beside = 8 * MIB + clients * 70 * 1024;
    // what is laid end to end for those who narrow, of which there is one batch
    let narrowing = if plan.topics { MIB } else { 0 };
    narrowing + history + stalled + sends + 2 * connection + lines + names + beside
}

/// An address where nobody listens, and what keeps it so.
fn dead_port() -> (OwnedFd, SocketAddr) {
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&held, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = SocketAddr::try_from(getsockname(&held).unwrap()).unwrap();
    (held, address)
}
