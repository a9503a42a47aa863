//! `wsfan tail`: follow the messages.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write},
    str::FromStr,
    time::{Duration, Instant},
};

use super::{
    client::{self, Client, Request, Since},
    failure::{Failure, Outcome, Wrote, note, wrote},
    format::{clean, now_us},
    line::Line,
    pretty::{self, Pretty},
    reach::Way,
    target::{Need, Target},
};

const EXAMPLES: &str = "\
Examples:
  wsfan tail                          all that comes from now on
  wsfan tail --since oldest -n 100    the oldest 100 messages that are held
  wsfan tail --raw | jq .price        only the payloads
  wsfan tail --since 9f2c51d0:41823   go on after that entry
  wsfan tail --retry >> all.jsonl     over restarts of the daemon

In a pipe, each line is one of the local protocol. A gap (entries lost to this reader) is always told: \
as a line of its own, and with --raw on stderr.

With --retry, what ends the connection is told on stderr, and the daemon is dialled again until it \
answers; then it goes on after the last entry shown. Each connection begins with a hello line, and what \
can't be had any more is told as a gap.

Exit codes: 0 the daemon stopped, the messages asked for are there, or nobody reads any more; 1 the \
connection broke, or the daemon cut it.";

/// How long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// The pause before the first dial after an end; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Plain protocol lines, also on a terminal
    #[arg(long, group = "form")]
    json: bool,
    /// Text for people, also in a pipe
    #[arg(long, group = "form")]
    pretty: bool,
    /// Only the messages' payloads, a line each (binary in base64)
    #[arg(long, group = "form")]
    raw: bool,
    /// Stop after so many messages
    #[arg(short = 'n', long, value_name = "N")]
    messages: Option<u64>,
    /// Begin after this entry (EPOCH:SEQ), or with the `oldest` that is held
    #[arg(long, value_name = "PLACE")]
    since: Option<Place>,
    /// When the daemon ends or cuts the connection, dial again and go on after the last entry
    #[arg(long)]
    retry: bool,
}

/// Where in the log to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Oldest,
    After { epoch: String, seq: u64 },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        if text == "oldest" {
            return Ok(Place::Oldest);
        }
        let place = text.split_once(':').and_then(|(epoch, seq)| {
            let seq = seq.parse().ok()?;
            (!epoch.is_empty()).then(|| Place::After { epoch: epoch.to_owned(), seq })
        });
        place.ok_or_else(|| {
            "write `oldest`, or EPOCH:SEQ with the epoch of a hello line and the seq of the last entry seen, \
             such as 9f2c51d0:41823"
                .to_owned()
        })
    }
}

/// How lines are shown.
enum Form {
    Plain,
    Pretty(Pretty),
    Raw,
}

pub(super) fn tail(args: &Args) -> Outcome {
    let form = match args {
        Args { raw: true, .. } => Form::Raw,
        Args { json: true, .. } => Form::Plain,
        Args { pretty: true, .. } => Form::Pretty(Pretty::new(now_us())),
        _ if io::stdout().is_terminal() => Form::Pretty(Pretty::new(now_us())),
        _ => Form::Plain,
    };
    let stdout: Box<dyn Write> = match form {
        Form::Pretty(_) => Box::new(anstream::stdout().lock()),
        // every byte is the daemon's, and stays
        Form::Plain | Form::Raw => Box::new(io::stdout().lock()),
    };
    let way = args.target.way(Need::Receive)?;
    let mut client = way.connect()?;
    let mut tail = Tail {
        form,
        left: args.messages,
        place: args.since.clone(),
        out: BufWriter::with_capacity(64 << 10, stdout),
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let before = tail.place.clone();
        let why = match tail.follow(&mut client)? {
            End::Enough => return Ok(()),
            // the same again would end the same
            End::Bye(why) if !args.retry || why == "bad_client" => return bye(&why),
            End::Lost(failure) if !args.retry => return Err(failure),
            End::Bye(why) => farewell(&why),
            End::Lost(failure) => failure.to_string(),
        };
        note(format!("{why}; dialling again until it answers"));
        // a daemon that takes us only to drop us isn't dialled ever faster
        if tail.place != before {
            pause = FIRST_PAUSE;
        }
        client = dial_again(&way, &mut pause);
    }
}

/// Dials until somebody greets. What keeps it from that is told once it lasts: a restart is soon over.
fn dial_again(way: &Way, pause: &mut Duration) -> Client {
    let mut told = String::new();
    loop {
        #[expect(clippy::disallowed_methods, reason = "there is no runtime here, and nothing else to do")]
        std::thread::sleep(*pause);
        let lasts = *pause == LONGEST_PAUSE;
        *pause = LONGEST_PAUSE.min(*pause * 2);
        match way.connect() {
            Ok(client) => return client,
            Err(failure) => {
                let why = failure.to_string();
                if lasts && why != told {
                    note(&why);
                    told = why;
                }
            }
        }
    }
}

/// A stop is a good end; being cut off is not.
fn bye(why: &str) -> Outcome {
    let sentence = farewell(why);
    match why {
        "shutdown" => {
            note(sentence);
            Ok(())
        }
        _ => Err(Failure::failed(sentence)),
    }
}

fn farewell(why: &str) -> String {
    format!("the daemon said bye ({})", clean(why))
}

/// Why the following ended.
#[derive(Debug)]
enum End {
    Bye(String),
    /// Without a word.
    Lost(Failure),
    Enough,
}

struct Tail<W> {
    form: Form,
    /// Messages still wanted; none for all.
    left: Option<u64>,
    /// After which entry to go on; none for what comes from now on.
    place: Option<Place>,
    out: W,
}

impl<W: Write> Tail<W> {
    fn follow(&mut self, client: &mut Client) -> Outcome<End> {
        if self.left == Some(0) || self.show(&client.hello.line)? == Wrote::Enough {
            return Ok(End::Enough);
        }
        match self.place.clone() {
            Some(place) => {
                if let Some(end) = self.attach(client, &place)? {
                    return self.end(end);
                }
            }
            None => self.moved(&client.hello.epoch, client.hello.seq),
        }
        let mut line = Vec::new();
        loop {
            // what is here already goes out in one piece, and nothing waits in a buffer while we do
            if !client.lines.has_line() && wrote(self.out.flush())? == Wrote::Enough {
                return Ok(End::Enough);
            }
            if let Err(no_line) = client.lines.read(&mut line, None) {
                return self.end(End::Lost(client::lost(client.lines.path(), &no_line)));
            }
            if let Some(end) = self.take(&line)? {
                return self.end(end);
            }
        }
    }

    /// Ends with what is still in the buffer written, or known not to be.
    fn end(&mut self, end: End) -> Outcome<End> {
        match wrote(self.out.flush())? {
            Wrote::More => Ok(end),
            Wrote::Enough => Ok(End::Enough),
        }
    }

    /// Moves to `place`. Entries that come before the answer belong to the old place.
    fn attach(&mut self, client: &mut Client, place: &Place) -> Outcome<Option<End>> {
        let hello = client.hello.clone();
        let since = match place {
            Place::Oldest => Since { epoch: &hello.epoch, seq: hello.oldest.saturating_sub(1) },
            Place::After { epoch, seq } => Since { epoch, seq: *seq },
        };
        let deadline = Instant::now() + ANSWER;
        let request = Request { op: "attach", since: Some(since), ..Request::default() };
        let mut line = Vec::new();
        if let Err(failure) = client.ask(request, &mut line, deadline) {
            return Ok(Some(End::Lost(failure)));
        }
        match Line::parse(&line) {
            Some(error) if error.kind == "error" => Err(Failure::failed(client::refusal(&error))),
            reply => {
                let seq = reply.and_then(|reply| reply.seq);
                self.moved(&hello.epoch, seq.unwrap_or(since.seq));
                Ok(None)
            }
        }
    }

    /// Remembers where to go on.
    fn moved(&mut self, epoch: &str, seq: u64) {
        self.place = Some(Place::After { epoch: epoch.to_owned(), seq });
    }

    fn passed(&mut self, entry: u64) {
        if let Some(Place::After { seq, .. }) = &mut self.place {
            *seq = entry;
        }
    }

    /// Shows a line, and says whether it was the last.
    fn take(&mut self, line: &[u8]) -> Outcome<Option<End>> {
        if let Some(seq) = Line::message_seq(line) {
            return self.message(line, Some(seq));
        }
        let Some(parsed) = Line::parse(line) else { return self.shown(line) };
        match &*parsed.kind {
            "message" => self.message(line, parsed.seq),
            "bye" => {
                // a person hears of it on stderr
                if !matches!(self.form, Form::Pretty(_)) && self.show(line)? == Wrote::Enough {
                    return Ok(Some(End::Enough));
                }
                Ok(Some(End::Bye(parsed.why.into_owned())))
            }
            "gap" => {
                // one of the server's own is an entry of the log
                if let Some(seq) = parsed.seq {
                    self.passed(seq);
                } else if parsed.why != "epoch" || parsed.to > 0 {
                    self.passed(parsed.to);
                }
                if matches!(self.form, Form::Raw) {
                    let _ = self.out.flush();
                    note(pretty::lost(&parsed));
                }
                self.shown(line)
            }
            _ => {
                if let Some(seq) = parsed.seq {
                    self.passed(seq);
                }
                self.shown(line)
            }
        }
    }

    fn message(&mut self, line: &[u8], seq: Option<u64>) -> Outcome<Option<End>> {
        if let Some(seq) = seq {
            self.passed(seq);
        }
        Ok(self.shown(line)?.or_else(|| self.count()))
    }

    fn shown(&mut self, line: &[u8]) -> Outcome<Option<End>> {
        Ok((self.show(line)? == Wrote::Enough).then_some(End::Enough))
    }

    fn count(&mut self) -> Option<End> {
        let left = self.left.as_mut()?;
        *left -= 1;
        (*left == 0).then_some(End::Enough)
    }

    fn show(&mut self, line: &[u8]) -> Outcome<Wrote> {
        wrote(match &mut self.form {
            Form::Plain => self.out.write_all(line).and_then(|()| self.out.write_all(b"\n")),
            Form::Pretty(pretty) => self.out.write_all(pretty.line(line).as_bytes()),
            Form::Raw => match Line::parse(line).filter(|line| line.kind == "message") {
                Some(message) => writeln!(self.out, "{}", message.raw()),
                None => Ok(()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(form: Form, left: Option<u64>, lines: &[&str]) -> (String, bool) {
        let mut tail = Tail { form, left, place: None, out: Vec::new() };
        let mut ended = false;
        for line in lines {
            assert!(!ended, "a line after the end");
            ended = tail.take(line.as_bytes()).unwrap().is_some();
        }
        (String::from_utf8(tail.out).unwrap(), ended)
    }

    #[test]
    fn places() {
        let after = |epoch: &str, seq| Ok(Place::After { epoch: epoch.to_owned(), seq });
        assert_eq!("oldest".parse(), Ok(Place::Oldest));
        assert_eq!("9f2c51d0:41823".parse(), after("9f2c51d0", 41823));
        for bad in ["", "newest", ":1", "9f:", "9f:x", "9f:-1"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_lines_pass_as_they_come() {
        let lines = [r#"{"type":"link","seq":1,"state":"up"}"#, r#"{"type":"message","seq":2,"json": 1}"#];
        assert_eq!(taken(Form::Plain, None, &lines), (lines.join("\n") + "\n", false));
    }

    #[test]
    fn raw_is_the_payload_alone() {
        let lines = [
            r#"{"type":"link","seq":1,"state":"up"}"#,
            r#"{"type":"message","seq":2,"json":{"a": 1}}"#,
            r#"{"type":"message","seq":3,"text":"two\nlines"}"#,
        ];
        assert_eq!(taken(Form::Raw, None, &lines), ("{\"a\": 1}\ntwo lines\n".to_owned(), false));
    }

    #[test]
    fn only_messages_are_counted() {
        let message = r#"{"type":"message","seq":2,"json":1}"#;
        let blank = r#"{ "type": "message","seq":3,"json":1}"#;
        let link = r#"{"type":"link","seq":1,"state":"up"}"#;
        assert!(!taken(Form::Plain, Some(2), &[link, message, link]).1);
        assert!(taken(Form::Plain, Some(2), &[link, message, blank]).1);
    }

    #[test]
    fn bye_is_the_end() {
        assert!(taken(Form::Plain, None, &[r#"{"type":"bye","why":"shutdown"}"#]).1);
        assert_eq!(bye("shutdown"), Ok(()));
        assert!(bye("slow_client").is_err());
    }
}
