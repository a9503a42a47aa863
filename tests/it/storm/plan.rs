//! *Pure.* What happens in a storm: all of it follows from the seed.

use std::time::Duration;

use fastrand::Rng;

use super::{calls, shared, topics};

/// `names.keep`.
pub(crate) const KEEP: Duration = Duration::from_millis(250);

/// A whole storm.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// `[history]` to `[limits]`, as the daemon starts with it; `URLS` stands for the server's.
    pub(crate) config: String,
    /// What the configuration is replaced with by [`Act::Reload`].
    pub(crate) reloads: Vec<String>,
    pub(crate) slow_client: &'static str,
    /// `memory.stalled_lines` is so small that clients are cut off for it.
    pub(crate) tight: bool,
    /// New connections take over from those that still work, when a message says so or when these are old.
    pub(crate) rotates: bool,
    /// `[topics]` names the topics of messages, and some clients and listeners narrow.
    pub(crate) topics: bool,
    /// Clients share subscriptions.
    pub(crate) shares: bool,
    /// `requests.rewrite_sends`, where there are `[requests]` at all.
    pub(crate) rewrites: Option<bool>,
    /// `memory.unfinished_lines`, if it is so small that clients are refused for it; `listener.max_line` is the
    /// largest that goes with it.
    pub(crate) unfinished: Option<usize>,
    pub(crate) history: usize,
    pub(crate) scripts: Vec<Script>,
    pub(crate) clients: Vec<Program>,
    /// What is done to the daemon, each after a time.
    pub(crate) acts: Vec<(Duration, Act)>,
}

/// How the server treats a TCP connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Script {
    /// It ends at once, by a reset.
    Reset,
    /// The request is never answered.
    Mute,
    /// An HTTP answer that is no upgrade, with a Retry-After in seconds.
    Http(u16, Option<u64>),
    /// It is upgraded, and then:
    Talk(Vec<Deed>),
}

/// A deed of the server on a connection that is up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    /// So many messages, as fast as they go, each in so many frames.
    Say {
        count: u64,
        frames: usize,
    },
    /// One message in small writes with a pause between them.
    Drip {
        pieces: usize,
        pause: Duration,
    },
    Ping,
    Pause(Duration),
    /// Answers nothing but a close until the daemon gives up.
    Silence,
    /// Half a message, and a reset.
    Half,
    /// A close frame. 0: one without a code.
    Close(u16),
    /// The end without a close frame.
    Drop,
    /// A frame that no server may send.
    Garbage,
}

/// What a client does, over and over until the storm ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Program {
    /// Reads.
    Reader,
    /// Reads a little, and pauses.
    Slow(Duration),
    /// Reads nothing for so long at first.
    Stalled(Duration),
    /// Reads on a raw listener, one that narrows or one that doesn't.
    Raw { narrowed: bool },
    /// Reads on a listener, wants some topics, and after each pause others; and asks for its ledger.
    Narrows { narrowed: bool, wants: Vec<Want>, pause: Duration },
    /// Sends, each after a pause, and reads.
    Sender { sends: u64, pause: Duration },
    /// Leaves after so many lines, comes back and goes on where it was.
    Reattacher { lines: usize },
    /// Begins a line, and leaves in the middle after so long.
    HangsUp(Duration),
    /// Begins a line of so many bytes, and leaves in the middle after so long.
    Hoards { bytes: usize, time: Duration },
    /// Writes so many sends and closes at once, without reading; comes back after a pause. A deaf one can be
    /// told nothing once it has written.
    Drops { sends: u64, pause: Duration, deaf: bool },
    /// Asks many things at once, again and again.
    Pipeliner { asks: usize },
    /// Asks for the status.
    Asker { pause: Duration },
    /// Asks the server, each after a pause, by requests and by sends; cancels some, and leaves after so long, if ever.
    Calls { calls: u64, by_send: bool, pause: Duration, leaves: Option<Duration> },
    /// Has a name, which another may have as well; leaves after so many lines, and comes back by it after a pause.
    Named { name: u32, lines: usize, pause: Duration, acks: bool, takeover: bool },
    /// Sends units, each after a pause.
    Units { units: u64, pause: Duration },
    /// Subscribes to these, one after the other, and gives some up; leaves after so long, if ever.
    Subscribes { asks: Vec<Vec<String>>, pause: Duration, leaves: Option<Duration> },
    /// Asks the server by lines on a raw listener.
    RawCalls { calls: u64, pause: Duration },
}

/// What a client wants for a while.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Want {
    /// `None`: all topics.
    pub(crate) topics: Option<Vec<String>>,
    /// From where it is, or else from the newest entry on.
    pub(crate) on: bool,
}

/// What is done to the daemon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    Reload(usize),
    /// A reload with a file that is wrong.
    BadReload,
    Reconnect,
    /// The link is closed, and opened after so long.
    CloseOpen(Duration),
    /// SIGTERM, and a new life.
    Restart,
    /// SIGKILL, and a new life.
    Kill,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Plan {
        let mut rng = Rng::with_seed(seed);
        let slow_client = *choose(&mut rng, &["gap", "gap", "gap", "disconnect", "block"]);
        let tight = rng.u32(0..6) == 0;
        let history = *choose(&mut rng, &[256 << 10, 1 << 20, 4 << 20]);
        let compression = rng.u32(0..3) == 0;
        let outbox = *choose(&mut rng, &[0, 0, 5, 1000]);
        let limits = *choose(&mut rng, &["[]", "[]", "[\"200/1s\"]"]);
        let excess = *choose(&mut rng, &["wait", "refuse"]);
        // drawn apart: what was drawn from a seed before stays
        let mut more = Rng::with_seed(!seed);
        let rotates = more.bool();
        let rotate = if rotates { rotation(&mut more) } else { String::new() };
        let unfinished = (more.u32(0..4) == 0).then_some(576 << 10);
        let memory = unfinished.map_or(String::new(), |most| format!("unfinished_lines = {most}\n"));
        // and so was this
        let mut third = Rng::with_seed(seed.rotate_left(23) ^ 0x70_71c5);
        let has_topics = third.u32(0..4) > 0;
        let shares = has_topics && third.u32(0..3) > 0;
        let shared = if shares { shared::config(third.bool(), third.u64(1..5)) } else { String::new() };
        let topics =
            if has_topics { format!("[topics]\npointer = \"/topic\"\n{shared}") } else { String::new() };
        let rewrites = (third.u32(0..4) > 0).then(|| third.bool());
        let max_in_flight = *choose(&mut third, &[0, 0, 3]);
        let requests = rewrites.map_or(String::new(), |rewrites| calls::config(max_in_flight, rewrites));
        let section = |beat: u64, initial: u64, outbox: u64, header: &str| {
            format!(
                "[upstream]\nurl = URLS\ncompression = {compression}\nconnect_timeout = \"500ms\"\nproxy = \"off\"\n\
                 max_message = \"2MiB\"\n{header}\
                 [heartbeat]\ninterval = \"{beat}ms\"\n\
                 [reconnect]\ninitial_delay = \"{initial}ms\"\nmax_delay = \"60ms\"\nstable_after = \"1s\"\n\
                 [history]\nmax_bytes = {history}\nslow_client = \"{slow_client}\"\nstall_timeout = \"300ms\"\n\
                 {rotate}[memory]\n{memory}stalled_lines = \"{}\"\n\
                 [outbox]\nmax_messages = {outbox}\nmax_bytes = \"256KiB\"\nttl = \"400ms\"\n\
                 [limits]\nmessages = {limits}\nexcess = \"{excess}\"\n\
                 [names]\nkeep = \"{}ms\"\n{topics}{requests}[shutdown]\ntimeout = \"10s\"\n[log]\nlevel = \"debug\"\n",
                if tight { "1MiB" } else { "32MiB" },
                KEEP.as_millis(),
            )
        };
        let config = section(300, 10, outbox, "");
        let reloads = vec![
            section(150, 20, outbox, ""),
            section(300, 10, outbox + 3, ""),
            section(300, 10, outbox, "headers = { X-Storm = \"2\" }\n"),
        ];
        let scripts = (0..60).map(|_| Script::draw(&mut rng)).collect();
        let mut clients =
            vec![Program::Reader, Program::Raw { narrowed: false }, Program::draw_sender(&mut rng)];
        clients.extend((0..rng.usize(3..8)).map(|_| Program::draw(&mut rng)));
        clients.extend((0..more.usize(1..3)).map(|_| Program::draw_dropper(&mut more)));
        if unfinished.is_some() {
            clients.extend((0..more.usize(2..4)).map(|_| Program::draw_hoarder(&mut more)));
        }
        clients.extend((0..third.usize(0..3)).map(|_| {
            let (units, pause) = (third.u64(5..60), ms(&mut third, 0..25));
            Program::Units { units, pause }
        }));
        clients.extend((0..third.usize(0..4)).map(|_| Program::Named {
            name: third.u32(0..2),
            lines: third.usize(2..60),
            pause: ms(&mut third, 5..600),
            acks: third.bool(),
            takeover: third.u32(0..3) == 0,
        }));
        if shares {
            clients.extend((0..third.usize(2..6)).map(|_| Program::draw_subscriber(&mut third)));
        }
        if let Some(rewrites) = rewrites {
            let callers = third.usize(2..5);
            clients.extend((0..callers).map(|_| Program::draw_caller(&mut third, rewrites)));
        }
        if has_topics {
            clients.extend((0..third.usize(2..6)).map(|_| Program::draw_narrowed(&mut third)));
        }
        let acts = (0..rng.usize(2..6)).map(|_| (ms(&mut rng, 20..400), Act::draw(&mut rng))).collect();
        Plan {
            seed,
            config,
            reloads,
            slow_client,
            tight,
            rotates,
            topics: has_topics,
            shares,
            rewrites,
            unfinished,
            history,
            scripts,
            clients,
            acts,
        }
    }
}

impl Script {
    fn draw(rng: &mut Rng) -> Script {
        match rng.u32(0..20) {
            0 => Script::Reset,
            1 => Script::Mute,
            2 => Script::Http(*choose(rng, &[400, 401, 404, 500, 503]), None),
            3 => Script::Http(*choose(rng, &[429, 503]), Some(1)),
            4 => Script::Talk(vec![Deed::Close(*choose(rng, &[1000, 1001, 1011, 1013, 4000]))]),
            5 => Script::Talk(vec![Deed::Drop]),
            _ => {
                let mut deeds: Vec<Deed> = (0..rng.usize(1..9)).map(|_| Deed::draw(rng)).collect();
                deeds.push(match rng.u32(0..8) {
                    0 => Deed::Silence,
                    1 => Deed::Half,
                    2 => Deed::Drop,
                    3 => Deed::Garbage,
                    4 => Deed::Close(0),
                    _ => Deed::Close(*choose(rng, &[1000, 1001, 1002, 1008, 1011, 1012, 3000, 4999])),
                });
                Script::Talk(deeds)
            }
        }
    }
}

impl Deed {
    fn draw(rng: &mut Rng) -> Deed {
        match rng.u32(0..10) {
            0..=3 => Deed::Say { count: rng.u64(1..20), frames: 1 },
            4 => Deed::Say { count: rng.u64(50..400), frames: 1 },
            5 => Deed::Say { count: rng.u64(1..10), frames: rng.usize(2..6) },
            6 => Deed::Drip { pieces: rng.usize(2..8), pause: ms(rng, 1..15) },
            7 => Deed::Ping,
            _ => Deed::Pause(ms(rng, 1..120)),
        }
    }
}

impl Program {
    fn draw(rng: &mut Rng) -> Program {
        match rng.u32(0..10) {
            0 => Program::Reader,
            1 => Program::Slow(ms(rng, 1..20)),
            2 => Program::Stalled(ms(rng, 100..900)),
            3 => Program::Raw { narrowed: false },
            4 | 5 => Program::draw_sender(rng),
            6 => Program::Reattacher { lines: rng.usize(5..80) },
            7 => Program::HangsUp(ms(rng, 1..100)),
            8 => Program::Pipeliner { asks: rng.usize(10..2000) },
            _ => Program::Asker { pause: ms(rng, 5..50) },
        }
    }

    fn draw_sender(rng: &mut Rng) -> Program {
        Program::Sender { sends: rng.u64(5..80), pause: ms(rng, 0..15) }
    }

    fn draw_dropper(rng: &mut Rng) -> Program {
        Program::Drops { sends: rng.u64(1..12), pause: ms(rng, 20..150), deaf: rng.u32(0..3) > 0 }
    }

    fn draw_narrowed(rng: &mut Rng) -> Program {
        let narrowed = rng.u32(0..3) == 0;
        if rng.u32(0..6) == 0 {
            return Program::Raw { narrowed };
        }
        let wants = (0..rng.usize(1..12)).map(|_| Want { topics: topics::draw_taste(rng), on: rng.bool() });
        Program::Narrows { narrowed, wants: wants.collect(), pause: ms(rng, 5..150) }
    }

    fn draw_subscriber(rng: &mut Rng) -> Program {
        let asks = (0..rng.usize(1..25)).map(|_| shared::draw(rng)).collect();
        let leaves = (rng.u32(0..3) == 0).then(|| ms(rng, 30..500));
        Program::Subscribes { asks, pause: ms(rng, 0..60), leaves }
    }

    fn draw_caller(rng: &mut Rng, rewrites: bool) -> Program {
        let (calls, pause) = (rng.u64(5..60), ms(rng, 0..20));
        if rewrites && rng.u32(0..3) == 0 {
            return Program::RawCalls { calls, pause };
        }
        let leaves = (rng.u32(0..3) == 0).then(|| ms(rng, 30..400));
        Program::Calls { calls, by_send: rewrites && rng.bool(), pause, leaves }
    }

    fn draw_hoarder(rng: &mut Rng) -> Program {
        Program::Hoards { bytes: rng.usize(100_000..450_000), time: ms(rng, 50..400) }
    }
}

impl Act {
    fn draw(rng: &mut Rng) -> Act {
        match rng.u32(0..10) {
            0..=2 => Act::Reload(rng.usize(0..3)),
            3 => Act::BadReload,
            4 | 5 => Act::Reconnect,
            6 => Act::CloseOpen(ms(rng, 0..100)),
            7 => Act::Restart,
            _ => Act::Kill,
        }
    }
}

/// `[rotate]`. No message has what names it, so that with `dedupe` nothing ends an overlap early.
fn rotation(rng: &mut Rng) -> String {
    let overlap = rng.u32(0..300);
    let age = *choose(rng, &["off", "off", "1s"]);
    let dedupe = *choose(rng, &["", "dedupe = \"/nowhere\"\n"]);
    format!("[rotate]\nafter = \"{age}\"\nwhen = {{ \"/turn\" = true }}\noverlap = \"{overlap}ms\"\n{dedupe}")
}

fn choose<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(0..of.len())]
}

fn ms(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}
