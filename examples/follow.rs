//! Follows a topic: goes on where it was, hears of what it missed, and asks anew then. Over wsfan's own client.
//!
//! ```sh
//! cargo run --example follow -- SOCKET TOPIC REQUEST FILE
//! cargo run --example follow -- /run/wsfan/wsfan.sock btc.trades '{"method":"price","of":"btc"}' ~/follow.place
//! ```
//!
//! FILE keeps the place in wsfan's log, also over a restart of the machine.

use std::{env, error::Error, fs, io, path::Path, thread, time::Duration, time::Instant};

use serde_json::value::RawValue;
use wsfan::client::{Client, Place};
use wsfan::protocol::{Attach, Line, LinkState, Op};

/// The place as it was saved; none the first time.
fn load(file: &Path) -> Option<Place> {
    let text = fs::read_to_string(file).ok()?;
    let (epoch, seq) = text.split_once(' ')?;
    Some(Place { epoch: epoch.to_owned(), seq: seq.parse().ok()? })
}

fn save(file: &Path, place: &Place) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, format!("{} {}", place.epoch, place.seq))?;
    fs::rename(new, file) // all of it or nothing
}

fn follow(socket: &Path, topic: &str, request: &RawValue, file: &Path) -> Result<(), Box<dyn Error>> {
    let soon = || Instant::now() + Duration::from_secs(10);
    let mut client = Client::connect(socket)?;
    let mut place = load(file).unwrap_or_else(|| Place::newest(&client.hello));
    let topics = vec![topic.into()];
    client.resume_as(&mut place, Attach { topics: Some(topics.clone()), ..Attach::default() }, soon())?;
    client.requests.send(Op::Subscribe { topics, json: None }, soon())?;
    client.requests.send(Op::Request { json: request, timeout_ms: None }, soon())?;
    let mut line = Vec::new();
    loop {
        client.lines.read(&mut line, None)?;
        let Some(read) = Line::parse(&line) else { continue };
        match &read {
            Line::Message(message) => println!("message {}", message.raw()),
            Line::Answer(answer) => println!("answer {}", answer.json.map_or("null", RawValue::get)),
            Line::Gap(gap) => {
                println!("gap {} {}", gap.count.map_or("null".into(), |n| n.to_string()), gap.why.name())
            }
            Line::FailoverGap(_) => println!("gap null failover"),
            Line::Error(refusal) => println!("error {}", refusal.code.name()),
            Line::Bye(bye) => println!("bye {}", bye.why.name()),
            _ => {}
        }
        // what the server said while the link was down is lost; topics come back by themselves
        let is_up = matches!(&read, Line::Link(link) if link.fields.state == LinkState::Up);
        if is_up || matches!(&read, Line::Gap(_) | Line::FailoverGap(_)) {
            client.requests.send(Op::Request { json: request, timeout_ms: None }, soon())?;
        }
        place.pass(&read);
        save(file, &place)?; // worked off
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [socket, topic, request, file] = &args[..] else {
        return Err("follow SOCKET TOPIC REQUEST FILE".into());
    };
    let request = RawValue::from_string(request.clone())?;
    loop {
        if let Err(error) = follow(Path::new(socket), topic, &request, Path::new(file)) {
            eprintln!("wsfan is away: {error}");
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "there is no runtime here, and a restart of wsfan is soon over"
        )]
        thread::sleep(Duration::from_secs(1));
    }
}
