use proptest::prelude::*;

use super::*;

fn config(text: &str) -> Config {
    Config::parse(text, &Environment::fixed([])).unwrap_or_else(|why| panic!("{text}\n{why}"))
}

fn shown(text: &str) -> Merged {
    Config::merged(text, &Environment::fixed([])).unwrap_or_else(|why| panic!("{text}\n{why}"))
}

#[test]
fn literals_are_masked_and_placeholders_are_not() {
    for (text, kind, expected) in [
        ("hunter2", Kind::Plain, "hunter2"),
        ("hunter2", Kind::Secret, "***"),
        ("", Kind::Secret, ""),
        ("${env:TOKEN}", Kind::Secret, "${env:TOKEN}"),
        ("${file:/a b/c}", Kind::Secret, "${file:/a b/c}"),
        ("Bearer ${env:TOKEN}", Kind::Secret, "Bearer ${env:TOKEN}"),
        ("Bearer hunter2", Kind::Secret, "Bearer ***"),
        ("correct horse", Kind::Secret, "***"),
        ("${env:A}:${env:B}", Kind::Secret, "${env:A}:${env:B}"),
        ("user:${env:B}x", Kind::Secret, "***${env:B}***"),
        ("$${env:A}", Kind::Secret, "***"),
        ("$${env:A}${env:B}", Kind::Secret, "***${env:B}"),
        ("hunter${2", Kind::Secret, "***"),
        ("wss://h/a?v=10&encoding=json", Kind::Url, "wss://h/a?v=10&encoding=json"),
        ("wss://h?token=hunter2&v=1", Kind::Url, "wss://h?token=***&v=1"),
        ("wss://h?key=${env:K}", Kind::Url, "wss://h?key=${env:K}"),
        ("wss://h?q=0123456789abcdef0123", Kind::Url, "wss://h?q=***"),
        ("wss://h?0123456789abcdef0123", Kind::Url, "wss://h?***"),
        ("wss://h?q=${file:/a&token=b}&sig=x", Kind::Url, "wss://h?q=${file:/a&token=b}&sig=***"),
        ("wss://u:p@h:1/x@y?", Kind::Url, "wss://***:***@h:1/x@y?"),
        ("wss://u:a@b@h/", Kind::Url, "wss://***:***@h/"),
        ("socks5://${env:U}:hunter2@h:1080", Kind::Url, "socks5://${env:U}:***@h:1080"),
        ("wss://hunter2@h", Kind::Url, "wss://***@h"),
        ("${capture:url}/?v=1&token=t", Kind::Url, "${capture:url}/?v=1&token=***"),
        ("${env:URL}", Kind::Url, "${env:URL}"),
        ("off", Kind::Url, "off"),
        (
            r#"{"op":"a","Api_Key" : "h\"2","b":"c"}"#,
            Kind::Message,
            r#"{"op":"a","Api_Key" : "***","b":"c"}"#,
        ),
        (r#"{"token":"${var:token}"}"#, Kind::Message, r#"{"token":"${var:token}"}"#),
        (r#"{"token":${var:t},"x":"token"}"#, Kind::Message, r#"{"token":${var:t},"x":"token"}"#),
        (r#"["token","token":"#, Kind::Message, r#"["token","token":"#),
        (r#"{"token":"cut"#, Kind::Message, r#"{"token":"cut"#),
        (r#"{"password":"a"}{"password":"b"}"#, Kind::Message, r#"{"password":"***"}{"password":"***"}"#),
        ("https://h/?token=x", Kind::Message, "https://h/?token=***"),
        ("what? token=x", Kind::Message, "what? token=x"),
    ] {
        assert_eq!(masked(text, &kind), expected, "{text}");
    }
}

#[test]
fn a_key_says_what_is_secret() {
    for (path, expected) in [
        ("upstream url", Kind::Url),
        ("upstream proxy", Kind::Url),
        ("upstream headers Authorization", Kind::Secret),
        ("upstream headers X-API-Key", Kind::Secret),
        ("upstream headers Set-Cookie", Kind::Secret),
        ("upstream headers X-Key", Kind::Secret),
        ("vars key", Kind::Message),
        ("upstream headers Origin", Kind::Message),
        ("vars api_key", Kind::Secret),
        ("vars login password", Kind::Secret),
        ("vars topic", Kind::Message),
        ("command token stdin", Kind::Secret),
        ("command sign stdin", Kind::Message),
        ("command token run", Kind::Plain),
        ("script step send", Kind::Message),
        ("script step send d token", Kind::Secret),
        ("script step capture token", Kind::Plain),
        ("script step if_captured", Kind::Plain),
        ("capture values token", Kind::Plain),
        ("heartbeat message", Kind::Message),
    ] {
        assert_eq!(kind(&path.split(' ').collect::<Vec<_>>()), expected, "{path}");
    }
}

const SECRETS: &str = r#"
[upstream]
url = ["wss://joe:hunter2@a.example/x?token=hunter2&v=1", "wss://b.example/"]
proxy = "http://joe:hunter2@proxy:3128"
[upstream.headers]
Authorization = "Bearer hunter2"
Cookie = "${file:/run/cookie}"
X-Api-Key = "hunter2"
X-Plain = "seen"
[vars]
token = "hunter2"
secret = { a = ["hunter2", 4711], b = true }
topic = "news"
[command.token]
run = ["/bin/sign", "--password", "hunter2", "--token=hunter2", "-v", "https://u:hunter2@h/"]
stdin = "hunter2"
[[script.step]]
send = '{"password":"hunter2","x":"${var:token}${var:topic}","y":${var:secret}}'
[[script.step]]
send = '{"token":"hunter2","sig":"${command:token}"}'
expect = { "/token" = "hunter2" }
capture = { token = "/token" }
"#;

#[test]
fn what_is_secret_is_masked_and_the_rest_stays_and_is_right() {
    let merged = shown(SECRETS);
    assert!(merged.is_masked);
    assert!(!merged.text.contains("hunter2") && !merged.text.contains("4711"), "{}", merged.text);
    for part in ["${file:/run/cookie}", "seen", "news", "/bin/sign", "Bearer ***", "${command:token}"] {
        assert!(merged.text.contains(part), "{part}: {}", merged.text);
    }
    let (whole, masked) = (config(SECRETS), config(&merged.text));
    assert_eq!(whole.terms.commands.len(), masked.terms.commands.len());
    assert_eq!(whole.terms.script.steps[1].capture, masked.terms.script.steps[1].capture);
    assert_eq!(shown(&merged.text).text, merged.text, "what is masked stays so");
}

/// What a user must write beside a profile: its lines that begin with `#: `.
fn needed(name: &str, text: &str) -> String {
    let needed: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#: ")).collect();
    format!("profile = \"{name}\"\n{}\n", needed.join("\n"))
}

#[test]
fn each_profile_is_the_same_once_it_is_printed() {
    for (name, fragment) in PROFILES {
        for more in ["", "[history]\nmax_bytes = \"4MiB\"\n[[listener]]\npath = \"/tmp/x.sock\"\n"] {
            let text = needed(name, fragment) + more;
            let merged = shown(&text);
            assert_eq!(merged.profile.as_deref(), Some(*name));
            assert!(!merged.is_masked, "{name}: {}", merged.text);
            let same = Config { profile: None, ..config(&text) };
            assert_eq!(config(&merged.text), same, "{name}: {}", merged.text);
        }
    }
}

#[test]
fn the_sample_is_the_same_once_it_is_printed() {
    let text = include_str!("../../../config/wsfan.toml");
    let merged = shown(text);
    assert_eq!(config(&merged.text), config(text), "{}", merged.text);
}

#[test]
fn the_files_own_key_is_printed_and_not_the_profiles() {
    let (mask, text) = (MASK, "profile = \"discord\"\nvars.intents = 1\nvars.token = \"hunter2\"\n");
    let printed: Table = shown(text).text.parse().unwrap();
    assert_eq!(printed["vars"]["intents"].as_integer(), Some(1));
    assert_eq!(printed["vars"]["token"].as_str(), Some(mask));
    assert!(printed["upstream"]["url"].as_str().unwrap().starts_with("wss://gateway.discord.gg/?v="));
    assert!(!printed.contains_key("profile"));
}

#[test]
fn what_is_not_right_is_told_as_ever() {
    let text = "profile = \"discord\"\n[upstream]\nurll = 1\n";
    let why = Config::merged(text, &Environment::fixed([])).unwrap_err();
    assert_eq!(why, Config::parse(text, &Environment::fixed([])).unwrap_err());
}

proptest! {
    #[test]
    fn nothing_literal_stays_of_a_secret(
        parts in proptest::collection::vec(prop_oneof!["\\$\\{env:[A-Z]{1,4}\\}", "[a-z:@&?= ]{1,6}|\\$\\$\\{[a-z]{1,3}"], 0..6),
    ) {
        let text = parts.concat();
        let shown = literals(&text);
        let scheme = shown.split_once(' ').map_or("", |(word, _)| word);
        let rest = match SCHEMES.contains(&&*scheme.to_ascii_lowercase()) {
            true => &shown[scheme.len()..],
            false => &shown,
        };
        prop_assert!(!rest.contains(|c: char| c.is_ascii_lowercase() && !"env".contains(c)), "{} of {}", shown, text);
        if parts.iter().all(|part| part.starts_with("${")) {
            prop_assert_eq!(shown, text);
        }
    }

    #[test]
    fn no_text_panics(text in "[a\"\\\\:@?&=/{}$é ]{0,40}|.*") {
        for kind in [Kind::Secret, Kind::Url, Kind::Message] {
            masked(&text, &kind);
        }
    }
}

#[test]
fn what_a_program_is_run_with_is_shown_in_full_without_what_looks_secret() {
    let shown = |run: &[&str]| Program::new(run.iter().map(|word| (*word).to_owned()).collect()).shown();
    assert_eq!(
        shown(&[
            "/usr/bin/curl",
            "--silent",
            "-H",
            "Authorization: Bearer hunter2",
            "-H",
            "Accept: text/plain",
            "--token=hunter2",
            "--password",
            "hunter2",
            "API_KEY=hunter2",
            "LANG=C",
            "https://me:hunter2@h/a?key=hunter2",
            "a:b",
        ]),
        [
            "/usr/bin/curl",
            "--silent",
            "-H",
            "Authorization: Bearer ***",
            "-H",
            "Accept: text/plain",
            "--token=***",
            "--password",
            "***",
            "API_KEY=***",
            "LANG=C",
            "https://***:***@h/a?key=***",
            "a:b",
        ]
    );
    let long = "x".repeat(5_000);
    assert_eq!(shown(&["/a", &long]), ["/a", &long]);
}
