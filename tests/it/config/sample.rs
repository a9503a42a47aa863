//! The sample has every key, and the defaults.

use super::*;

#[test]
fn the_sample_is_the_default() {
    let least = parse("upstream.url = \"wss://stream.example.com/v1\"").unwrap();
    assert_eq!(parse(SAMPLE).unwrap(), least);
}

/// The key of a line of the sample that is commented out: `#key = …`, without a space.
fn commented_key(line: &str) -> Option<&str> {
    let (key, _) = line.strip_prefix('#')?.split_once(" = ")?;
    (!key.contains(' ')).then_some(key)
}

#[test]
fn the_samples_commented_keys_are_valid() {
    let commented: Vec<_> = SAMPLE.lines().filter_map(commented_key).collect();
    assert!(commented.contains(&"path") && commented.contains(&"expect"), "{commented:?}");
    for key in commented {
        let is_message = ["message_binary", "send_command"].contains(&key);
        let line = |line: &str| match commented_key(line) {
            Some(found) if found == key => line[1..].to_owned(),
            // the keys that need another one, or its absence, as their comments say
            _ if key == "expect" && line.starts_with("kind = ") => "kind = \"message\"".to_owned(),
            _ if is_message && line.starts_with("kind = ") => "kind = \"message\"".to_owned(),
            _ if is_message && line.starts_with("message = ") => String::new(),
            _ if key == "url_command" && line.starts_with("url = ") => String::new(),
            _ if key == "resume_url" && line == "[shutdown]" => {
                "[[capture]]\nmatch = \"x\"\nvalues = { resume_url = \"/x\" }\n[shutdown]".to_owned()
            }
            _ => line.to_owned(),
        };
        let text: Vec<_> = SAMPLE.lines().map(line).collect();
        assert_eq!(parse(&text.join("\n")).err(), None, "{key}");
    }
}

/// The sample with its examples taken in.
fn with_examples() -> String {
    let line = |line: &str| line.strip_prefix("#    ").unwrap_or(line).to_owned();
    let sample = match cfg!(feature = "cluster") {
        true => SAMPLE,
        false => SAMPLE.split("#    [cluster]\n").next().unwrap(), // the last of them
    };
    sample.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_samples_examples_are_valid() {
    let config = parse(&with_examples()).unwrap();
    assert_eq!((config.terms.script.steps.len(), config.reconnect.rules.len()), (3, 2));
    assert!(config.terms.sequence.is_some() && config.terms.replies.len() == 2);
    let requests = config.terms.requests.unwrap();
    assert!(requests.streams.len() == 1 && requests.server.is_some());
    assert!(config.terms.subscriptions.is_some_and(|topics| topics.answer.is_some()));
    assert_eq!(config.cluster.is_some(), cfg!(feature = "cluster"));
}

/// What the reader itself says about its keys is the measure of the sample.
#[test]
fn the_sample_has_every_key() {
    let known = |header: &str| -> Vec<String> {
        let error = with(&format!("{header}\nqqqqqqqq = 1")).unwrap_err();
        let (_, keys) = error.split_once("the keys here are ").unwrap();
        keys.split(", ").map(str::to_owned).collect()
    };
    let mut sections = known("");
    sections.sort_unstable();
    assert_eq!(sections.len(), 23, "{sections:?}");
    assert!(SAMPLE.contains("profile = \"NAME\""));
    let header = |section: &str| match section {
        "listener" | "capture" | "reply" | "script.step" | "reconnect.rule" | "requests.stream" => {
            format!("[[{section}]]")
        }
        section => format!("[{section}]"),
    };
    let sample = with_examples();
    // these hold the user's own names, or lists that have a section of their own here
    let sections = sections
        .iter()
        .filter(|section| !["profile", "vars", "command", "derived", "script"].contains(&&***section));
    let others = [
        "upstream.tls",
        "command.sign",
        "derived.signature",
        "script.step",
        "reconnect.rule",
        "requests.stream",
        "requests.server",
        "topics.answer",
        "cluster.tls",
    ];
    let is_built = |section: &&str| cfg!(feature = "cluster") || !section.starts_with("cluster");
    for section in sections.map(String::as_str).chain(others).filter(is_built) {
        let header = header(section);
        // of all the tables with this header
        let also = |line: &str| section == "script.step" && line == "[[script.then]]";
        let mut within = false;
        let own = sample.lines().filter(|line| {
            within = if line.starts_with('[') { *line == header || also(line) } else { within };
            within
        });
        let own: Vec<_> = own.collect();
        assert!(!own.is_empty(), "{header}");
        // The first line of a file with [upstream] in it can't say upstream.url.
        let keys = match section {
            "upstream" => {
                let error = parse("[upstream]\nurl = \"ws://a\"\nqqqqqqqq = 1").unwrap_err();
                let (_, keys) = error.split_once("the keys here are ").unwrap();
                keys.split(", ").map(str::to_owned).collect()
            }
            _ => known(&header),
        };
        for key in keys {
            let starts = [format!("{key} = "), format!("#{key} = ")];
            let there = own.iter().any(|line| starts.iter().any(|start| line.starts_with(start)))
                || sample.contains(&format!("\n[{section}.{key}]\n"))
                || sample.contains(&format!("\n[[{section}.{key}]]\n"));
            assert!(there, "{section}.{key} is not in the sample");
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(?s).*") {
        let _ = parse(&text);
    }

    #[test]
    fn no_value_panics(
        section in "upstream|heartbeat|reconnect|history|outbox|shutdown|log|upstream.tls|upstream.headers",
        key in "url|kind|interval|timeout|expect|max_bytes|max_delay|jitter|ca_file|subprotocols|level|[a-zé]{1,3}",
        value in "\"[^\"\n]{0,12}\"|-?[0-9]{1,25}|-?[0-9]{1,3}[.][0-9]|[{][}]|\\[\\]|true|nan|[{]a = \\[1\\][}]",
    ) {
        let _ = parse(&format!("[{section}]\n{key} = {value}\n[[listener]]\n{key} = {value}"));
    }

    #[test]
    fn a_damaged_sample_never_panics(at in 0..SAMPLE.len(), len in 0_usize..40, with in ".{0,3}") {
        let floor = |mut at: usize| {
            while !SAMPLE.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (floor(at), floor((at + len).min(SAMPLE.len())));
        let _ = parse(&format!("{}{with}{}", &SAMPLE[..start], &SAMPLE[end..]));
    }

    /// Changing one interval never needs a second key changed.
    #[test]
    fn one_interval_alone_is_always_valid(millis in 100_u64..3_600_000) {
        for key in ["heartbeat.interval", "reconnect.initial_delay", "reconnect.max_delay"] {
            let config = with(&format!("{key} = \"{millis}ms\"")).unwrap();
            prop_assert!(config.heartbeat.timeout <= Some(config.heartbeat.interval));
            prop_assert!(config.reconnect.initial_delay <= config.reconnect.max_delay);
        }
    }
}
