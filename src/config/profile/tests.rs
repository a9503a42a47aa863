use super::*;
use crate::config::{
    Config,
    language::{environment::Environment, pointer::Pointer, template::Template},
    sections::{heartbeat::HeartbeatKind, script::Say, sequence::Span, vars::Var},
};

const CHAT: Profile = (
    "chat",
    r#"# A server of our own.
[upstream]
url = "wss://chat.example/"
headers = { A = "1", B = "2" }

[vars]
token = "${credential:token}"

[heartbeat]
kind = "message"
message = "beat"
expect = { "/op" = 11, "/a" = 1 }
interval = "45s"

[[script.step]]
send = '{"token":"${var:token}"}'

[[script.step]]
expect = "welcome"
"#,
);

fn parse(text: &str, profiles: &[Profile]) -> Result<Config, String> {
    Config::parse_with(text, &Environment::fixed([]), profiles).map_err(|invalid| invalid.to_string())
}

#[test]
fn a_profile_alone_is_a_configuration() {
    let config = parse("profile = \"chat\"", &[CHAT]).unwrap();
    assert_eq!(config.profile.as_deref(), Some("chat"));
    assert_eq!(config.upstream.urls[0].to_string(), "wss://chat.example/");
    assert_eq!(config.terms.script.steps.len(), 2);
    assert!(matches!(config.heartbeat.kind, HeartbeatKind::Message { .. }));
}

#[test]
fn the_files_own_keys_come_first() {
    let config = parse(
        "profile = \"chat\"\nvars.token = \"${env:T}\"\nscript.step = []\n\
         [upstream.headers]\nB = \"3\"\nC = \"${var:token}\"\n[heartbeat]\nexpect = { \"/op\" = 12 }\n",
        &[CHAT],
    )
    .unwrap();
    assert_eq!(config.terms.vars["token"], Var::Text(super::super::Template::parse("${env:T}").unwrap()));
    assert!(config.terms.script.steps.is_empty());
    let mut headers: Vec<_> =
        config.upstream.headers.iter().map(|(name, value)| format!("{name}{value}")).collect();
    headers.sort();
    assert_eq!(headers, ["A1", "B3", "C${var:token}"]);
    let HeartbeatKind::Message { expect: Some(expect), .. } = config.heartbeat.kind else { panic!() };
    assert_eq!(expect.to_string(), "/op = 12");
    let config = parse("profile = \"chat\"\nheartbeat.kind = \"ping\"", &[CHAT]).unwrap();
    assert_eq!(config.heartbeat.kind, HeartbeatKind::Ping);
    let config = parse("profile = \"chat\"\nheartbeat.kind = \"message\"", &[CHAT]).unwrap();
    let HeartbeatKind::Message { message, expect: Some(_) } = config.heartbeat.kind else { panic!() };
    assert_eq!(message, Say::Text(Template::literal("beat")), "the same choice is no other one");
    let program = "profile = \"chat\"\nheartbeat.send_command = { run = [\"/bin/beat\"] }";
    let HeartbeatKind::Message { message, .. } = parse(program, &[CHAT]).unwrap().heartbeat.kind else {
        panic!()
    };
    assert!(matches!(message, Say::Command(_)), "it stands in the place of the profile's text");
    let command = "profile = \"chat\"\nupstream.url_command.run = [\"/bin/url\"]";
    assert!(parse(command, &[CHAT]).unwrap().upstream.urls.is_empty());
}

#[test]
fn a_variable_of_the_file_replaces_the_profiles_whole() {
    let server: Profile = (
        "server",
        "[upstream]\nurl = \"ws://a\"\n[vars]\nkept = 1\n\
         ask = { channel = \"ticker\", symbol = [\"A\"], deep = { a = 1 } }\n\
         [[script.step]]\nsend = '[${var:ask},${var:kept}]'\n",
    );
    let written = |vars: &str| parse(vars, &[]).unwrap().terms.vars;
    let asked = |vars: &str| parse(&format!("profile = \"server\"\n{vars}"), &[server]).unwrap().terms.vars;
    for ask in [
        "vars.ask = { channel = \"book\" }",
        "vars.ask = { deep = { b = 2 } }",
        "[vars.ask]\nchannel = \"book\"",
        "vars.ask = [1]",
    ] {
        let used = "[upstream]\nurl = \"ws://a\"\n[[script.step]]\nsend = '${var:ask}'\n";
        let alone = match ask.starts_with('[') {
            true => format!("{used}{ask}"),
            false => format!("{ask}\n{used}"),
        };
        assert_eq!(asked(ask)["ask"], written(&alone)["ask"], "{ask}");
        assert!(asked(ask).contains_key("kept"), "{ask}");
    }
}

#[test]
fn an_error_says_where_it_is() {
    let broken: Profile = ("broken", "[upstream]\nurl = \"http://x\"\n\n[reconnect]\njitter = 2\n");
    assert_eq!(
        parse("profile = \"broken\"\n[log]\nlevel = 1", &[broken]).unwrap_err(),
        "line 3: log.level is an integer: write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"\n\
         profile broken, line 2: upstream.url begins with http://, but wsfan speaks WebSocket: write ws://\n\
         profile broken, line 5: reconnect.jitter is 2: write a number from 0 to 1"
    );
    assert_eq!(
        parse("upstream.url = \"ws://a\"\nprofile = \"chatt\"", &[CHAT, broken]).unwrap_err(),
        "line 2: profile is \"chatt\": write \"chat\" or \"broken\""
    );
    assert_eq!(
        parse("upstream.url = \"ws://a\"\nprofile = 1", &[]).unwrap_err(),
        "line 1: profile is an integer: leave it out: there are none".replace("line 1", "line 2")
    );
}

/// What a user must write beside a profile: its lines that begin with `#: `.
fn with_what_is_needed((name, text): &Profile) -> String {
    let needed: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#: ")).collect();
    format!("profile = \"{name}\"\n{}", needed.join("\n"))
}

#[test]
fn each_profile_is_right_with_what_it_needs() {
    assert!(PROFILES.is_sorted_by_key(|(name, _)| *name), "they are listed in the order of their names");
    for profile in PROFILES.iter().chain(&[CHAT]) {
        let config = parse(
            &with_what_is_needed(profile),
            PROFILES.iter().chain(&[CHAT]).copied().collect::<Vec<_>>().as_slice(),
        );
        assert_eq!(config.as_ref().err(), None, "{}", profile.0);
        assert!(DeTable::parse(profile.1).unwrap().get_ref().get("profile").is_none(), "{}", profile.0);
        assert!(config.unwrap().listeners.len() == 1, "{} has a listener", profile.0);
    }
}

/// The examples in a profile's comments: runs of lines that are set off, without those that are required; and
/// these.
fn examples(fragment: &str) -> (Vec<String>, String) {
    let (mut examples, mut required, mut inside) = (Vec::new(), String::new(), false);
    for line in fragment.lines() {
        let Some(example) = line.strip_prefix("#   ").or_else(|| line.strip_prefix("#: ")) else {
            inside = false;
            continue;
        };
        if line.starts_with("#: ") {
            required += &format!("{example}\n");
        } else if example.starts_with([' ', '<']) || !example.contains(['=', '[']) {
            inside = false; // the rest of a list of documents
        } else {
            if !std::mem::replace(&mut inside, true) {
                examples.push(String::new());
            }
            let last = examples.last_mut().expect("one was begun");
            *last += &format!("{example}\n");
        }
    }
    (examples, required)
}

#[test]
fn each_example_in_a_profiles_comments_says_what_it_says() {
    let mut variables = 0;
    for (name, fragment) in PROFILES {
        let (examples, required) = examples(fragment);
        for example in examples {
            let example = example.replace(&format!("profile = \"{name}\"\n"), "");
            let table: toml::Table =
                example.parse().unwrap_or_else(|error| panic!("{name}: {example}: {error}"));
            let is_there = |line: &&str| {
                let (section, key) = line.split_once(" =").unwrap().0.split_once('.').unwrap();
                table.get(section).is_some_and(|section| section.get(key).is_some())
            };
            let required: String =
                required.lines().filter(|line| !is_there(line)).map(|line| format!("{line}\n")).collect();
            // a table that is opened further down can't be begun by a dotted key before it
            let (dotted, tables) = example.split_at(
                example
                    .find('[')
                    .filter(|at| *at == 0 || example[..*at].ends_with('\n'))
                    .unwrap_or(example.len()),
            );
            let opened = |line: &&str| tables.contains(&format!("[{}]\n", line.split('.').next().unwrap()));
            let (own, above): (Vec<_>, Vec<_>) = required.lines().partition(|line| opened(line));
            let mut text = format!("profile = \"{name}\"\n{}\n{dotted}{tables}", above.join("\n"));
            for line in own {
                let (section, rest) = line.split_once('.').unwrap();
                text = text.replace(&format!("[{section}]\n"), &format!("[{section}]\n{rest}\n"));
            }
            let config = Config::parse(&text, &Environment::fixed([]));
            let config = config.unwrap_or_else(|problem| panic!("{name}: {text}: {problem}"));
            for (variable, value) in table.get("vars").and_then(toml::Value::as_table).into_iter().flatten() {
                variables += 1;
                let said = serde_json::to_value(value).unwrap();
                let is = match &config.terms.vars[variable] {
                    Var::Text(template) => serde_json::Value::from(template.to_string()),
                    Var::Json(template) => serde_json::from_str(&template.to_string()).unwrap(),
                };
                assert_eq!(is, said, "{name}: vars.{variable}");
            }
        }
    }
    assert!(variables >= 10, "{variables} variables");
}

#[test]
fn a_count_of_the_files_own_takes_nothing_of_the_profiles() {
    const COUNTS: Profile = (
        "counts",
        "upstream.url = \"wss://counts.example/\"\n[heartbeat]\nkind = \"message\"\nmessage = \"beat\"\ntimeout = \"off\"\n\
         idle_timeout = \"1m\"\n[sequence]\npointer = \"/n\"\nprevious = \"/before\"\n\
         first = { match = { \"/t\" = \"snapshot\" }, pointer = \"/s\" }\n",
    );
    let own = "[sequence]\nfrom = \"/first\"\nfirst = { match = { \"/kind\" = \"book\" } }\n";
    let config = parse(&format!("profile = \"counts\"\n{own}"), &[COUNTS]).unwrap();
    let sequence = config.terms.sequence.unwrap();
    assert_eq!(sequence.span, Some(Span::From(Pointer::parse("/first").unwrap())));
    let first = sequence.first.unwrap();
    assert_eq!(
        (first.pattern.to_string(), first.pointer.to_string()),
        ("/kind = \"book\"".into(), "/n".into())
    );
    assert_eq!(config.heartbeat.timeout, None);
    // another heartbeat is awaited, though the profile's isn't
    let config = parse("profile = \"counts\"\nheartbeat.kind = \"ping\"", &[COUNTS]).unwrap();
    assert!(config.heartbeat.has_default_timeout() && config.heartbeat.idle_timeout.is_some());
}
