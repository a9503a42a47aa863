//! `wsfan tail`: follow the messages.

use std::io::{self, BufWriter, IsTerminal as _};

use super::{
    daemon::{DaemonArgs, Need},
    failure::{Failure, Outcome, note},
    format::clean,
    reach::{Pause, Way},
};
use crate::{client::Client, config::TopicPattern};

mod fields;
mod follow;
mod form;
mod recall;
mod start;
mod subscription;

use follow::{End, Tail};
pub(super) use form::FormArgs;
use start::Start;
pub(super) use subscription::Subscription;

const EXAMPLES: &str = "\
Examples:
  wsfan tail                          all that comes from now on
  wsfan tail -n 10                    the last 10 messages that are held, and no more
  wsfan tail -n 10 --follow           the same, and all that comes from now on
  wsfan tail --since 5m               what came in the last 5 minutes, and all that comes
  wsfan tail --since oldest --messages 100
  wsfan tail --raw | jq .price        only the payloads
  wsfan tail --topic 'btc.*'          only messages of these topics
  wsfan tail --topic 'btc.*' --fields topic,/price,/size
  wsfan tail --snapshot               the last value of each topic, then all that comes
  wsfan tail --snapshot --raw -m 1 --topic btc.price     the last value of one, or else its next
  wsfan tail --since 9f2c51d0:41823   go on after that entry
  wsfan tail --retry >> all.jsonl     over restarts of the daemon

In a pipe, each line is one of the local protocol. A gap (entries lost to this reader) is always told: \
as a line of its own, and with --raw or --fields on stderr.

With --retry, what ends the connection, or keeps it from the daemon, is told on stderr, and the daemon is \
dialled again until it answers; then it goes on after the last entry shown. Each connection begins with a hello line, and what \
can't be had any more is told as a gap.

Exit codes: 0 the daemon stopped, the messages asked for are there, or nobody reads any more; 1 the \
connection broke, or the daemon cut it.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
    #[command(flatten)]
    form: FormArgs,
    /// The last so many messages that are held; then end, unless --follow
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "since", value_parser = number)]
    last: Option<u64>,
    /// With --last, go on with what comes from now on
    #[arg(short, long, requires = "last")]
    follow: bool,
    /// Only messages of these topics: names, or patterns in which `*` is any run of characters but `.`, and `**` any.
    /// May be given more than once
    #[arg(long, value_name = "PATTERN", value_parser = topic)]
    topic: Vec<TopicPattern>,
    /// Begin with the last values that the daemon retains ([topics] retain): of each topic, or of those that are asked
    /// for
    #[arg(long, conflicts_with_all = ["last", "since"])]
    snapshot: bool,
    /// Stop after so many messages
    #[arg(short, long, value_name = "N")]
    messages: Option<u64>,
    /// Begin after this entry (EPOCH:SEQ), so long ago (5m), or with the `oldest` that is held
    #[arg(long, value_name = "PLACE")]
    since: Option<Start>,
    /// When the daemon isn't there, ends or cuts the connection, dial again and go on after the last entry
    #[arg(long)]
    retry: bool,
}

/// Which topics.
pub(super) fn topic(text: &str) -> Result<TopicPattern, String> {
    TopicPattern::parse(text).map_err(|why| format!("it {why}"))
}

/// How many.
fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "write how many messages, such as 10".to_owned())
}

pub(super) fn tail(args: &Args) -> Outcome {
    let following = Following {
        messages: args.messages,
        start: args.since.clone(),
        last: args.last,
        ends: args.last.is_some() && !args.follow,
        topics: args.topic.clone(),
        snapshot: args.snapshot,
        subscription: None,
        retry: args.retry,
    };
    following.run(&args.daemon.way(Need::Receive)?, &args.form)
}

/// What is to be followed.
#[derive(Default)]
pub(super) struct Following {
    /// So many messages at most.
    messages: Option<u64>,
    /// Where to begin.
    start: Option<Start>,
    /// So many of the last messages to begin with.
    last: Option<u64>,
    /// It ends with these.
    ends: bool,
    /// The topics that are wanted; none for all.
    topics: Vec<TopicPattern>,
    /// Whether the last values come first.
    snapshot: bool,
    /// Topics that the server is to send.
    subscription: Option<Subscription>,
    /// Over ends of the connection.
    retry: bool,
}

impl Following {
    /// What comes from now on of a subscription.
    pub(super) fn of(
        subscription: Subscription,
        topics: Vec<TopicPattern>,
        snapshot: bool,
        messages: Option<u64>,
        retry: bool,
    ) -> Following {
        let subscription = Some(subscription);
        Following { messages, topics, snapshot, subscription, retry, ..Following::default() }
    }

    /// Shows what comes, to the end.
    pub(super) fn run(self, way: &Way, form: &FormArgs) -> Outcome {
        let (form, retry) = (form.form(), self.retry);
        let mut pause = Pause::default();
        let mut client = match way.connect() {
            Err(failure) if retry => {
                note(format!("{failure}; dialling until it answers"));
                dial_again(way, &mut pause, failure.to_string())
            }
            client => client?,
        };
        let mut tail = Tail {
            left: self.messages,
            start: self.start,
            is_terminal: io::stdout().is_terminal(),
            last: self.last,
            follow: !self.ends,
            skip: None,
            topics: self.topics,
            subscription: self.subscription,
            snapshot: self.snapshot,
            has_snapshot: false,
            out: BufWriter::with_capacity(64 << 10, form.stdout()),
            form,
        };
        loop {
            let before = tail.start.clone();
            let why = match tail.follow(&mut client)? {
                End::Enough => return Ok(()),
                End::Found => {
                    client = dial_again(way, &mut pause, String::new());
                    continue;
                }
                End::Bye(why) if is_the_end(&why, retry) => return bye(&why),
                End::Lost(failure) if !retry => return Err(failure),
                End::Bye(why) => farewell(&why),
                End::Lost(failure) => failure.to_string(),
            };
            note(format!("{why}; dialling again until it answers"));
            // a daemon that takes us only to drop us isn't dialled ever faster
            if tail.start != before {
                pause = Pause::default();
            }
            client = dial_again(way, &mut pause, String::new());
        }
    }
}

/// Dials until somebody greets. What keeps it from that is told once it lasts, unless it is `told` already.
fn dial_again(way: &Way, pause: &mut Pause, mut told: String) -> Client {
    loop {
        let lasts = pause.lasts();
        pause.take();
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

/// Whether a `bye` is the end for one who goes on over ends of the connection, or doesn't.
fn is_the_end(why: &str, retry: bool) -> bool {
    match why {
        "epoch" => false,     // the daemon is there, and has another log
        "bad_client" => true, // the same again would end the same
        _ => !retry,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stop_is_a_good_end() {
        assert_eq!(bye("shutdown"), Ok(()));
        assert!(bye("slow_client").is_err());
    }

    #[test]
    fn where_the_log_is_another_one_it_goes_on_and_where_it_would_end_the_same_it_does_not() {
        for (why, alone, over_ends) in [
            ("shutdown", true, false),
            ("slow_client", true, false),
            ("bad_client", true, true),
            ("epoch", false, false),
        ] {
            assert_eq!((is_the_end(why, false), is_the_end(why, true)), (alone, over_ends), "{why}");
        }
    }
}
