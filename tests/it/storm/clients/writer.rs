//! What a client writes.

use std::{
    io::{self, Write},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{
    super::{
        calls::{Call, How},
        payload::{send, send_line},
        plan::{Program, Want},
        record::{Attach, Sub},
        server::pause,
        units::Unit,
    },
    Asked, CALM_ANSWERS, DEADLINE, Shared,
};

pub(super) struct Writer {
    pub(super) number: u64,
    pub(super) stream: UnixStream,
    pub(super) asked: Arc<Mutex<Asked>>,
    pub(super) shared: Arc<Shared>,
}

impl Writer {
    /// Ends early when the connection does, or the storm.
    pub(super) fn write(mut self, program: &Program, place: Option<(String, u64)>) {
        let _ = self.requests(program, place);
        self.shared.closed(1);
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.asked.lock().unwrap().written += bytes.len();
        self.stream.write_all(bytes)
    }

    /// Asks the server, by a request or by a send.
    fn call(&mut self, call: Call, by_send: bool) -> io::Result<()> {
        let seed = self.shared.seed;
        let (id, op) = match by_send {
            true => (format!("c{}", call.k), "send"),
            false => (format!("r{}", call.k), "request"),
        };
        // a send without an id is no request
        let own = call.own_id(seed).or(by_send.then(|| (call.k + 1).to_string()));
        let timeout = if call.k % 7 == 3 && !by_send { ",\"timeout_ms\":90" } else { "" };
        let text = call.text(seed, own.as_deref());
        let mut asked = self.asked.lock().unwrap();
        asked.calls.insert(id.clone(), call.k);
        asked.open.insert(id.clone());
        drop(asked);
        self.shared.opened(1);
        self.say(format!("{{\"op\":\"{op}\",\"id\":\"{id}\",\"json\":{text}{timeout}}}\n").as_bytes())
    }

    /// Waits for what comes of a request. False when the connection is over.
    fn hears_of(&self, id: &str) -> bool {
        let waits = |_: &mut usize| {
            let asked = self.asked.lock().unwrap();
            asked.open.contains(id) && !asked.is_over
        };
        let open = self.shared.open.lock().unwrap();
        let (open, wait) = self.shared.settled.wait_timeout_while(open, DEADLINE, waits).unwrap();
        drop(open);
        assert!(!wait.timed_out(), "{id} is never answered");
        !self.asked.lock().unwrap().is_over
    }

    /// Subscribes, or gives up, and waits for what comes of it. False when the connection is over.
    fn subscribe(&mut self, id: &str, more: bool, topics: Vec<String>) -> io::Result<bool> {
        let op = if more { "subscribe" } else { "unsubscribe" };
        let line = format!("{{\"op\":\"{op}\",\"id\":\"{id}\",\"topics\":{topics:?}}}\n");
        let mut asked = self.asked.lock().unwrap();
        asked.subs.insert(id.into(), Sub { topics, more, at: self.shared.begun.elapsed(), told: None });
        asked.open.insert(id.into());
        drop(asked);
        self.shared.opened(1);
        self.say(line.as_bytes())?;
        Ok(self.hears_of(id))
    }

    fn cancel(&mut self, k: u64) -> io::Result<()> {
        let mut asked = self.asked.lock().unwrap();
        let id = format!("x{}", asked.cancels.len());
        asked.cancels.insert(id.clone(), format!("r{k}"));
        asked.open.insert(id.clone());
        drop(asked);
        self.shared.opened(1);
        self.say(format!("{{\"op\":\"cancel\",\"id\":\"{id}\",\"request\":\"r{k}\"}}\n").as_bytes())
    }

    fn attach(&mut self, id: &str, attach: Attach) -> io::Result<()> {
        let line = attach.line(id);
        self.asked.lock().unwrap().attaches.insert(id.into(), attach);
        self.say(line.as_bytes())
    }

    fn requests(&mut self, program: &Program, place: Option<(String, u64)>) -> io::Result<()> {
        match program {
            Program::Reader | Program::Slow(_) | Program::Stalled(_) | Program::Raw { .. } => {}
            Program::Narrows { wants, pause: time, .. } => {
                for (k, Want { topics, on }) in wants.iter().enumerate() {
                    if self.shared.calm() {
                        break;
                    }
                    let since = if *on { self.asked.lock().unwrap().place.clone() } else { None };
                    self.attach(
                        &format!("t{k}"),
                        Attach { since, topics: topics.clone(), ..Attach::default() },
                    )?;
                    pause(*time);
                    self.say(format!("{{\"op\":\"status\",\"id\":\"q{k}\"}}\n").as_bytes())?;
                }
            }
            Program::Drops { .. } => unreachable!("it has no reader, and no writer beside one"),
            Program::Sender { sends, pause: time } => {
                for k in (0..*sends).take_while(|_| !self.shared.calm()).collect::<Vec<_>>() {
                    let id = format!("s{k}");
                    let line = send_line(&id, &send(self.shared.seed, self.number, k));
                    let mut asked = self.asked.lock().unwrap();
                    asked.sends.insert(id.clone(), k);
                    asked.open.insert(id.clone());
                    drop(asked);
                    self.shared.opened(1);
                    self.say(&line)?;
                    if !time.is_zero() {
                        pause(*time);
                    }
                    if self.shared.calm() {
                        break;
                    }
                }
            }
            Program::Reattacher { .. } => {
                if place.is_some() {
                    self.attach("t", Attach { since: place, ..Attach::default() })?;
                }
            }
            Program::HangsUp(_) => {
                self.say(b"{\"op\":\"send\",\"id\":\"never\",\"text\":\"half a li")?;
            }
            Program::Hoards { bytes, .. } => {
                let begin = b"{\"op\":\"send\",\"id\":\"never\",\"text\":\"";
                self.say(begin)?;
                self.say(&vec![b'x'; bytes - begin.len()])?;
            }
            Program::Calls { calls, by_send, pause: time, .. } => {
                for k in 0..*calls {
                    if self.shared.calm() {
                        break;
                    }
                    self.call(Call { session: self.number, k }, *by_send && k % 2 == 0)?;
                    pause(*time);
                    if k % 5 == 4 {
                        self.cancel(k - k % 3)?;
                    }
                }
                // it has passed: now answers come
                for k in (*calls..).take_while(|_| !*by_send) {
                    let asked = self.asked.lock().unwrap();
                    if asked.answers >= CALM_ANSWERS || asked.is_over {
                        break;
                    }
                    drop(asked);
                    let call = Call { session: self.number, k };
                    self.call(call, false)?;
                    if call.how(self.shared.seed) == How::Endless {
                        self.cancel(k)?;
                    }
                    self.hears_of(&format!("r{k}"));
                    pause(Duration::from_millis(2));
                }
                // what has no end of its own
                let open: Vec<String> = self.asked.lock().unwrap().open.iter().cloned().collect();
                for id in open.iter().filter_map(|id| id.strip_prefix('r')) {
                    let k = id.parse().expect("it is a number");
                    if (Call { session: self.number, k }).how(self.shared.seed) == How::Endless {
                        self.cancel(k)?;
                    }
                }
            }
            Program::Named { name, acks, takeover, .. } => {
                let name = Some(format!("bot {name}"));
                self.attach("t", Attach { name, takeover: *takeover, ..Attach::default() })?;
                while *acks && !self.shared.calm() {
                    let asked = self.asked.lock().unwrap();
                    let (seq, is_over) = (asked.acks.then(|| asked.place.clone()).flatten(), asked.is_over);
                    drop(asked);
                    if is_over {
                        break;
                    }
                    if let Some((_, seq)) = seq {
                        self.say(format!("{{\"op\":\"ack\",\"seq\":{seq}}}\n").as_bytes())?;
                    }
                    pause(Duration::from_millis(7));
                }
            }
            Program::Units { units, pause: time } => {
                for k in 0..*units {
                    if self.shared.calm() {
                        break;
                    }
                    let messages = Unit { session: self.number, k }.messages(self.shared.seed);
                    let messages: Vec<_> =
                        messages.iter().map(|message| format!("{{\"json\":{message}}}")).collect();
                    let id = format!("n{k}");
                    let mut asked = self.asked.lock().unwrap();
                    asked.units.insert(id.clone(), k);
                    asked.open.insert(id.clone());
                    drop(asked);
                    self.shared.opened(1);
                    let messages = messages.join(",");
                    self.say(
                        format!("{{\"op\":\"send\",\"id\":\"{id}\",\"messages\":[{messages}]}}\n").as_bytes(),
                    )?;
                    pause(*time);
                }
            }
            Program::Subscribes { asks, pause: time, .. } => {
                let mut rng = Rng::with_seed(self.shared.seed ^ self.number);
                for (k, topics) in asks.iter().enumerate() {
                    let held: Vec<String> = self.asked.lock().unwrap().holds.iter().cloned().collect();
                    let gives_up = held.is_empty() || rng.u32(0..5) > 1;
                    let some = held.into_iter().filter(|_| rng.bool()).collect::<Vec<_>>();
                    let (more, topics) = match gives_up || some.is_empty() {
                        true => (true, topics.clone()),
                        false => (false, some),
                    };
                    if self.shared.calm() || !self.subscribe(&format!("u{k}"), more, topics)? {
                        break;
                    }
                    pause(*time);
                }
            }
            Program::RawCalls { calls, pause: time } => {
                let end = Instant::now() + DEADLINE;
                for k in 0.. {
                    let asked = self.asked.lock().unwrap();
                    let (is_over, answers) = (asked.is_over, asked.answers);
                    drop(asked);
                    // once it has passed, answers come
                    let calm = self.shared.calm();
                    if is_over || (calm && answers >= CALM_ANSWERS) || (!calm && k >= *calls) {
                        break;
                    }
                    assert!(!calm || Instant::now() < end, "only {answers} answers came on a raw listener");
                    let call = Call { session: self.number, k };
                    let own = call.own_id(self.shared.seed).unwrap_or_else(|| (k + 1).to_string());
                    self.asked.lock().unwrap().calls.insert(k.to_string(), k);
                    let line = call.text(self.shared.seed, Some(&own));
                    self.say(format!("{line}\n").as_bytes())?;
                    pause((*time).max(Duration::from_millis(u64::from(calm) * 5)));
                }
            }
            Program::Pipeliner { asks } => {
                let all: String =
                    (0..*asks).map(|k| format!("{{\"op\":\"ping\",\"id\":\"p{k}\"}}\n")).collect();
                self.say(all.as_bytes())?;
            }
            Program::Asker { pause: time } => {
                for k in 0..200 {
                    if self.shared.calm() {
                        break;
                    }
                    self.say(format!("{{\"op\":\"status\",\"id\":\"q{k}\"}}\n").as_bytes())?;
                    pause(*time);
                }
            }
        }
        Ok(())
    }
}
