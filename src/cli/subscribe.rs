//! `wsfan subscribe`: have the server send topics, and follow their messages.

use super::{
    daemon::{DaemonArgs, Need},
    failure::{Failure, Outcome},
    payload,
    tail::{Following, FormArgs, Subscription, topic},
};
use crate::config::TopicPattern;

const EXAMPLES: &str = "\
Examples:
  wsfan subscribe btc.trades eth.trades
  wsfan subscribe --raw btc.trades | jq .price
  wsfan subscribe --fields topic,/price btc.trades eth.trades
  wsfan subscribe -m 1 --payload '{\"query\":\"subscription { news { title } }\"}' news
  wsfan subscribe --retry btc.trades >> btc.jsonl

The daemon's [topics] say how the server is told, and which topic a message is of. It is told of the first program \
that wants a topic, and of the last that has gone; Ctrl-C is a good way to go. After a break the daemon says them again \
by itself. Nothing of other topics is shown, unless --all; of a name \
with a `*` in it, what it would mean as a pattern is shown as well.

Exit codes: 0 the daemon stopped, the messages asked for are there, or nobody reads any more; 1 a topic was refused, \
or the last has ended; or the connection broke, or the daemon cut it; 124 the server didn't answer in time.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// The topics, by their names as the server knows them
    #[arg(required = true, value_name = "TOPIC", value_parser = topic)]
    topics: Vec<TopicPattern>,
    /// JSON that goes with them, where the daemon's topics.subscribe has a ${payload}
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    #[command(flatten)]
    form: FormArgs,
    /// Begin with the last values of these topics, where the daemon retains them
    #[arg(long)]
    snapshot: bool,
    /// Stop after so many messages
    #[arg(short, long, value_name = "N")]
    messages: Option<u64>,
    /// Show all messages, also those of other topics and of none
    #[arg(long)]
    all: bool,
    /// When the daemon isn't there, ends or cuts the connection, dial again, subscribe again and go on after the last
    /// entry
    #[arg(long)]
    retry: bool,
}

pub(super) fn subscribe(args: &Args) -> Outcome {
    let payload = match args.payload.as_deref().map(payload::json).transpose() {
        Ok(payload) => payload,
        Err(error) => return Err(Failure::usage(format!("--payload isn't JSON ({error})"))),
    };
    let names = args.topics.iter().map(|topic| topic.as_str().to_owned()).collect();
    let topics = if args.all { Vec::new() } else { args.topics.clone() };
    let subscription = Subscription::new(names, payload);
    let following = Following::of(subscription, topics, args.snapshot, args.messages, args.retry);
    following.run(&args.daemon.way(Need::Receive)?, &args.form)
}
