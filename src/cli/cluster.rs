//! `wsfan cluster`: several machines with one link and one log, as NATS has them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use serde_json::json;

use super::{
    daemon::{CONFIG, Instance, file_of},
    failure::{Failure, Outcome, note, wrote},
    format::{bytes, clean, count, counted},
    pretty::{BAD, BUSY, DIM, GOOD, styled},
    run::{load_in, runtime},
};
use crate::{
    cluster::tool::{Found, Held, Names, Report, Tool, permissions},
    config::{Cluster, Config, Storage},
};

const INIT_NOTES: &str = "\
The permissions go to stdout, before anything is tried: they may be what the NATS server lacks. A stream that is there \
is never changed.

Examples:
  wsfan cluster init --config wsfan.toml > permissions.conf

Exit codes: 0 the stream is there, and can be the log; 1 it can't be made or used, and stderr says why and what to do; \
78 the config isn't right.";

const STATUS_NOTES: &str = "\
The nodes are asked through NATS, with the login of [cluster]; each that answers has a row. HEAD is the newest entry \
that its clients have, LAG how many messages of the stream it doesn't have yet.

Examples:
  wsfan cluster status
  wsfan cluster status --json | jq -r '.nodes[] | select(.state == \"leader\").node'

Exit codes: 0 a node answered; 1 none did, or NATS can't be used, and stderr says why; 78 the config isn't right.";

/// `wsfan cluster`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make the stream, or check the one that is there, and print the NATS permissions of each kind of node
    Init(InitArgs),
    /// Show all nodes: who leads, and how far each is
    Status(StatusArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = INIT_NOTES)]
struct InitArgs {
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = STATUS_NOTES)]
struct StatusArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Wait so long for the nodes' answers
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = crate::config::parse_duration)]
    wait: Duration,
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The config file
    #[arg(short, long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// The config file of the instance of this name, /etc/wsfan/NAME.toml
    #[arg(short, long, value_name = "NAME", conflicts_with = "config")]
    instance: Option<Instance>,
}

impl FileArgs {
    fn load(&self) -> Outcome<(Config, Cluster)> {
        let (file, environment) = file_of(&self.config, self.instance.as_ref());
        let config = load_in(&file, &environment)?;
        let Some(cluster) = config.cluster.clone() else {
            return Err(Failure::config(format!(
                "{}: there is no [cluster]: write one, with the cluster's name and the NATS servers (wsfan config \
                 shows all its keys)",
                file.display()
            )));
        };
        Ok((config, cluster))
    }
}

pub(super) fn cluster(args: &Args) -> Outcome {
    match &args.command {
        Command::Init(args) => init(args),
        Command::Status(args) => status(args),
    }
}

fn init(args: &InitArgs) -> Outcome {
    let (config, cluster) = args.file.load()?;
    let names = Names::of(&cluster.name);
    wrote(io::stdout().lock().write_all(permissions(&cluster).as_bytes()))?;
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let mut tool = Tool::connect_to_any(&cluster, &config.history).await?;
        match tool.look().await? {
            Found::Missing => tool.make().await.map(|()| None),
            found => Ok(Some(found)),
        }
    });
    // a DNS lookup that hangs must not hold the end
    runtime.shutdown_background();
    let (stream, wanted) = (names.stream(), kind(&cluster));
    match result {
        Ok(None) => note(format_args!("the stream {stream} is made, {wanted}")),
        Ok(Some(Found::Differs(_, sentence))) => note(format_args!("warning: {sentence}")),
        Ok(Some(Found::Another(sentence))) => return Err(Failure::failed(sentence)),
        Ok(Some(Found::AsWanted(held))) => {
            note(format_args!("the stream {stream} is there as it should be, {}", held_text(held)));
        }
        Ok(Some(Found::Missing)) => {}
        Err(trouble) => return Err(Failure::failed(trouble.for_init(cluster.candidate))),
    }
    Ok(())
}

fn kind(cluster: &Cluster) -> String {
    let place = if cluster.storage == Storage::Memory { "in memory" } else { "on disk" };
    format!("{place}, with {}", counted(u64::from(cluster.replicas), "replica", "replicas"))
}

/// What a stream holds.
pub(super) fn held_text(held: Held) -> String {
    format!(
        "with {}, {} and {}",
        counted(held.replicas as u64, "replica", "replicas"),
        counted(held.messages, "message", "messages"),
        bytes(held.bytes)
    )
}

fn status(args: &StatusArgs) -> Outcome {
    let (config, cluster) = args.file.load()?;
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let mut tool = Tool::connect_to_any(&cluster, &config.history).await?;
        let reports = tool.who(args.wait).await?;
        // the nodes' answers are worth more than the stream's, which may be what is wrong
        Ok::<_, crate::cluster::tool::Trouble>((reports, tool.look().await))
    });
    runtime.shutdown_background();
    let (mut reports, stream) = result.map_err(|trouble| Failure::failed(trouble.to_string()))?;
    reports.sort_by(|a, b| (&a.node, &a.run).cmp(&(&b.node, &b.run)));
    let stream = match stream {
        Ok(Found::AsWanted(held) | Found::Differs(held, _)) => Ok(held),
        Ok(Found::Another(sentence)) => Err(sentence),
        Ok(Found::Missing) => Err(format!("the stream {} isn't there", Names::of(&cluster.name).stream())),
        Err(trouble) => Err(trouble.to_string()),
    };
    let text = match args.json {
        true => format!("{}\n", object(&cluster.name, stream.as_ref(), &reports)),
        false => table(&cluster.name, stream.as_ref(), &reports),
    };
    wrote(anstream::stdout().lock().write_all(text.as_bytes()))?;
    if reports.is_empty() {
        let sentence = format!(
            "no node of the cluster {} has answered within {}: is wsfan running there, with this name and these servers?",
            cluster.name,
            crate::config::format_duration(args.wait)
        );
        return Err(Failure::failed(sentence));
    }
    Ok(())
}

fn object(name: &str, stream: Result<&Held, &String>, reports: &[Report]) -> serde_json::Value {
    let stream = match stream {
        Ok(held) => json!({ "messages": held.messages, "bytes": held.bytes, "replicas": held.replicas }),
        Err(error) => json!({ "error": error }),
    };
    json!({ "name": name, "stream": stream, "nodes": reports })
}

/// All nodes, for people.
fn table(name: &str, stream: Result<&Held, &String>, reports: &[Report]) -> String {
    let mut text = format!("cluster {}", clean(name));
    let leaders: Vec<&str> =
        reports.iter().filter(|report| report.state == "leader").map(|report| &*report.node).collect();
    let term = reports.iter().map(|report| report.term).max().unwrap_or_default();
    let _ = match leaders.as_slice() {
        [] => write!(text, ", {}", styled(BAD, "nobody leads")),
        all => write!(text, ", led by {}", styled(GOOD, clean(&all.join(" and ")))),
    };
    let _ = writeln!(text, ", term {}", count(term));
    let _ = match stream {
        Ok(held) => writeln!(text, "stream {}", held_text(*held)),
        Err(sentence) => writeln!(text, "{}", styled(BAD, clean(sentence))),
    };
    if reports.is_empty() {
        return text;
    }
    let mut rows = vec![["NODE", "STATE", "TERM", "HEAD", "LAG", "LINK"].map(str::to_owned)];
    rows.extend(reports.iter().map(|report| {
        [
            clean(&report.node).into_owned(),
            clean(&report.state).into_owned(),
            count(report.term),
            count(report.head),
            count(report.lag),
            clean(&report.link).into_owned(),
        ]
    }));
    let widths: Vec<usize> = (0..6)
        .map(|at| {
            rows.iter().map(|row| row.get(at).map_or(0, |cell| cell.chars().count())).max().unwrap_or(0)
        })
        .collect();
    let notes = notes(reports);
    let notes = std::iter::once(String::new()).chain(notes);
    for (index, (row, note)) in rows.iter().zip(notes).enumerate() {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let is_last = at == 5 && note.is_empty();
            let cell = match at {
                2..=4 => format!("{cell:>width$}  "),
                _ if is_last => cell.clone(),
                _ => format!("{cell:<width$}  "),
            };
            line += &match (index, at) {
                (0, _) => styled(DIM, cell),
                (_, 1) => styled(style(row.get(1).map_or("", String::as_str)), cell),
                _ => cell,
            };
        }
        let _ = writeln!(text, "{line}{note}");
    }
    text
}

fn style(state: &str) -> anstyle::Style {
    match state {
        "leader" | "follower" => GOOD,
        "candidate" => BUSY,
        _ => BAD,
    }
}

/// What else is to be known of each node.
fn notes(reports: &[Report]) -> impl Iterator<Item = String> {
    let mut names = BTreeMap::new();
    let mut epochs = BTreeMap::new();
    for report in reports {
        *names.entry(&*report.node).or_insert(0) += 1;
        *epochs.entry(&*report.epoch).or_insert(0) += 1;
    }
    epochs.remove("");
    reports.iter().map(move |report| {
        let mut notes = Vec::new();
        if names.get(&*report.node).is_some_and(|count| *count > 1) {
            notes.push(styled(BAD, "another node has this name: give each its own cluster.node"));
        }
        if let Some(left) = report.lease_left_ms {
            notes.push(format!("lease {}", super::format::duration(Duration::from_millis(left))));
        }
        if epochs.len() > 1 && !report.epoch.is_empty() {
            notes.push(styled(BUSY, format!("epoch {}", clean(&report.epoch))));
        }
        if !report.candidate {
            notes.push("no candidate".to_owned());
        }
        if let Some(error) = &report.error {
            notes.push(styled(BAD, clean(error)));
        } else if let Some(why) = &report.why {
            notes.push(styled(BUSY, clean(why)));
        }
        match (report.counters.elected, report.fenced()) {
            (0, 0) => {}
            (elected, 0) => notes.push(counted(elected, "term", "terms")),
            (elected, fenced) => {
                notes.push(format!("{}, {} fenced", counted(elected, "term", "terms"), count(fenced)))
            }
        }
        notes.join(", ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(node: &str, state: &str) -> Report {
        Report {
            node: node.into(),
            state: state.into(),
            candidate: true,
            term: 7,
            epoch: "9f".into(),
            head: 41_823,
            link: "up".into(),
            ..Report::default()
        }
    }

    fn plain(text: &str) -> Vec<String> {
        anstream::adapter::strip_str(text).to_string().lines().map(str::to_owned).collect()
    }

    const HELD: Held = Held { messages: 1_203, bytes: 12 << 20, replicas: 3 };

    #[test]
    fn each_node_has_a_row() {
        let mut leader = Report { lease_left_ms: Some(1_400), ..report("host-a", "leader") };
        leader.counters.elected = 2;
        leader.counters.fenced.lease = 1;
        let away =
            Report { error: Some("NATS is away\n".into()), candidate: false, ..report("b", "detached") };
        let text = table("binance", Ok(&HELD), &[leader, away]);
        assert_eq!(
            plain(&text),
            [
                "cluster binance, led by host-a, term 7",
                "stream with 3 replicas, 1,203 messages and 12.0 MiB",
                "NODE    STATE     TERM    HEAD  LAG  LINK",
                "host-a  leader       7  41,823    0  up    lease 1.4 s, 2 terms, 1 fenced",
                "b       detached     7  41,823    0  up    no candidate, NATS is away\\n",
            ]
        );
    }

    #[test]
    fn two_of_one_name_and_two_epochs_are_pointed_out() {
        let other = Report { epoch: "7a".into(), run: "2".into(), ..report("a", "follower") };
        let text =
            table("x", Err(&"the stream WSFAN_x isn't there".to_owned()), &[report("a", "follower"), other]);
        let lines = plain(&text);
        assert_eq!(lines[0], "cluster x, nobody leads, term 7");
        assert_eq!(lines[1], "the stream WSFAN_x isn't there");
        for (line, epoch) in [(&lines[3], "9f"), (&lines[4], "7a")] {
            assert!(
                line.ends_with(&format!(
                    "another node has this name: give each its own cluster.node, epoch {epoch}"
                )),
                "{line}"
            );
        }
        assert_eq!(plain(&table("x", Ok(&HELD), &[])).len(), 2);
    }

    #[test]
    fn a_program_is_told_all_of_it() {
        let all = object("x", Ok(&HELD), &[report("a", "leader")]);
        assert_eq!((&all["stream"]["messages"], &all["nodes"][0]["node"]), (&json!(1_203), &json!("a")));
        let none = object("x", Err(&"gone".to_owned()), &[]);
        assert_eq!((&none["stream"]["error"], &none["nodes"]), (&json!("gone"), &json!([])));
    }
}
