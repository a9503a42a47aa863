//! What is right in a config, and yet unwise, or not so on this machine.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    config::{
        Config, Environment, Placeholder, Problem, Say, Template, Upstream, array_index, sounds_secret,
    },
    service,
};

/// What to warn of: a sentence each. `file` is what the config was read from.
pub(super) fn warnings(config: &Config, file: Option<&Path>, environment: &Environment) -> Vec<String> {
    let here = service::outlook(config).into_iter();
    let mut all: Vec<String> = config
        .warnings
        .iter()
        .map(|Problem { line, sentence }| match line {
            Some(line) => format!("line {line}: {sentence}"),
            None => sentence.clone(),
        })
        .collect();
    all.extend(
        here.map(|why| format!("on this machine, run by this user, the daemon would not start: {why}")),
    );
    all.extend(open_listeners(config));
    all.extend(topics_without_names(config));
    all.extend(answers_taken_apart(config));
    all.extend(missing_values(config, environment));
    all.extend(readable_files(config));
    all.extend(
        file.filter(|file| is_readable_by_others(file)).and_then(|file| literal_secrets(config, file)),
    );
    all
}

/// Sockets on which everybody on the machine may send.
fn open_listeners(config: &Config) -> impl Iterator<Item = String> {
    let open =
        config.listeners.iter().filter(|listener| listener.mode & 0o002 != 0 && listener.grant.rights.send);
    open.map(|listener| {
        format!(
            "anyone on this machine may send through listener {} (mode {:04o}): give it rights = [\"receive\"], or a \
             mode such as \"0660\" and a group",
            listener.path.display(),
            listener.mode
        )
    })
}

/// Answers that are lists, where lists are taken apart.
fn answers_taken_apart(config: &Config) -> Option<String> {
    let is_whole = config.upstream.split.as_ref().is_some_and(|split| split.tokens().is_empty());
    let id = &config.terms.requests.as_ref().filter(|_| is_whole)?.answer_id;
    array_index(id.tokens().first()?)?;
    Some(format!(
        "an answer is a list, with its id at {id}, and upstream.split takes lists apart before anything finds it there: \
         take upstream.split out, or write a pointer"
    ))
}

/// Listeners that let through some topics, where no message has one.
fn topics_without_names(config: &Config) -> Vec<String> {
    if config.terms.has_topics() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for listener in &config.listeners {
        let rule = listener.rules.iter().any(|rule| rule.grant.topics.is_some());
        let key = match listener.grant.topics {
            Some(_) => "listener.topics",
            None if rule => "[[listener.rule]] topics",
            None => continue,
        };
        all.push(format!(
            "no message gets through listener {} by its {key}, since none has a topic: say where it is, with \
             topics.pointer or a [[topics.rule]]",
            listener.path.display()
        ));
    }
    all
}

/// Each placeholder of this machine's that has no value here, once.
fn missing_values(config: &Config, environment: &Environment) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut missing = Vec::new();
    for (key, template) in config.templates() {
        for (placeholder, _) in template.placeholders() {
            let is_here = matches!(
                placeholder,
                Placeholder::File(_) | Placeholder::Env(_) | Placeholder::Credential(_)
            );
            if is_here
                && seen.insert(placeholder.clone())
                && let Err(why) = placeholder.read(environment)
            {
                let wanted = wanted(config, &key).unwrap_or_default();
                missing.push(format!(
                    "for this user, in this environment, {key}: `{placeholder}` {why}{wanted}"
                ));
            }
        }
    }
    missing
}

/// Which step can't be said without this variable, and where its value goes.
fn wanted(config: &Config, key: &str) -> Option<String> {
    let name = key.strip_prefix("vars.")?;
    let terms = &config.terms;
    let says = |say: &Say| {
        let mut named = say.template().into_iter().flat_map(Template::placeholders);
        named.any(|(placeholder, _)| matches!(placeholder, Placeholder::Var(var) if var == name))
    };
    let mut steps = terms.script.steps.iter().filter(|step| step.is_certain(&terms.vars));
    let step = steps.find(|step| step.send.as_ref().is_some_and(says))?;
    let of = config.profile.as_ref().map(|profile| format!(" of profile {profile}")).unwrap_or_default();
    Some(format!(
        "; step {:?}{of} can't be said without it: give vars.{name} a value in [vars], such as \"${{file:/PATH}}\"",
        step.name
    ))
}

/// Files with secrets that others may read.
fn readable_files(config: &Config) -> Vec<String> {
    let mut files = BTreeSet::new();
    for (_, template) in config.templates() {
        for (placeholder, _) in template.placeholders() {
            if let Placeholder::File(path) = placeholder {
                files.insert(path.clone());
            }
        }
    }
    let readable = files.into_iter().filter(|file| is_readable_by_others(Path::new(file)));
    readable
        .map(|file| {
            format!(
                "any user of this machine may read {file}, of which `${{file:{file}}}` has its value: \
                 chmod o-r it, if it is a secret"
            )
        })
        .collect()
}

/// Literal secrets in a file that others may read.
fn literal_secrets(config: &Config, file: &Path) -> Option<String> {
    let is_secret = |(key, template): &(String, &Template)| {
        let Some(text) = template.as_literal().filter(|text| !text.is_empty()) else { return false };
        let is_url = key.strip_prefix("upstream.").is_some_and(|key| Upstream::URL_KEYS.contains(&key));
        sounds_secret(key) || is_url && text.split_once("://").is_some_and(|(_, rest)| has_password(rest))
    };
    let keys: BTreeSet<String> =
        config.templates().into_iter().filter(is_secret).map(|(key, _)| key).collect();
    (!keys.is_empty()).then(|| {
        let keys = keys.into_iter().collect::<Vec<_>>().join(", ");
        format!(
            "any user of this machine may read {}, which has in it what looks like a secret ({keys}): write \
             `${{credential:NAME}}` or `${{file:PATH}}` instead, or chmod o-r it",
            file.display()
        )
    })
}

fn has_password(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(userinfo, _)| userinfo.contains(':'))
}

fn is_readable_by_others(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, &Environment::fixed([])).unwrap()
    }

    #[test]
    fn what_is_open_or_missing_is_told_all_at_once() {
        let config = config(
            r#"
[upstream]
url = "wss://h/${env:A}"
headers = { X-A = "${env:A}", X-B = "${env:B}", X-C = "${file:/nowhere/at/all}", X-D = "${credential:d}" }
[[listener]]
path = "/tmp/open.sock"
mode = "0666"
[[listener]]
path = "/tmp/closed.sock"
mode = "0666"
rights = ["receive"]
"#,
        );
        let none = Environment::fixed([]);
        let open: Vec<_> = open_listeners(&config).collect();
        assert!(open.len() == 1 && open[0].contains("/tmp/open.sock (mode 0666)"), "{open:?}");
        let missing = missing_values(&config, &none);
        assert_eq!(missing.len(), 4, "{missing:?}");
        for part in [
            "upstream.url: `${env:A}`",
            "X-B: `${env:B}`",
            "X-C: `${file:/nowhere/at/all}`",
            "X-D: `${credential:d}`",
        ] {
            assert!(missing.iter().any(|sentence| sentence.contains(part)), "{part}: {missing:?}");
        }
        let unit = Environment::fixed([("CREDENTIALS_DIRECTORY", "/nowhere"), ("A", "1"), ("B", "2")]);
        assert_eq!(missing_values(&config, &unit).len(), 2);
    }

    #[test]
    fn topics_that_no_message_has_are_told() {
        let listeners = "[[listener]]\npath = \"/a\"\ntopics = [\"x\"]\n[[listener]]\npath = \"/b\"\n\
                         [[listener.rule]]\nusers = [\"0\"]\ntopics = [\"x\"]\n[[listener]]\npath = \"/c\"\n";
        let config = |terms: &str| config(&format!("[upstream]\nurl = \"ws://h/\"\n{listeners}{terms}"));
        let told = |terms: &str| topics_without_names(&config(terms));
        let all = told("");
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[0].contains("listener /a by its listener.topics"), "{all:?}");
        assert!(all[1].contains("listener /b by its [[listener.rule]] topics"), "{all:?}");
        assert_eq!(told("[topics]\nsubscribe = '[${topic}]'").len(), 2, "that names no message");
        assert_eq!(told("[topics]\npointer = \"/s\""), [""; 0]);
        let by_id = "[topics]\nsubscribe = '[${topic},${next_id}]'\nid_topic = \"/1\"";
        assert_eq!(told(by_id), [""; 0]);
    }

    #[test]
    fn answers_that_are_taken_apart_are_told() {
        let told = |split: &str, id: &str| {
            let text = format!("upstream.url = \"ws://a\"\nupstream.split = {split}\nrequests.id = \"{id}\"");
            warnings(&config(&text), None, &Environment::fixed([]))
        };
        let [sentence] = &told("true", "/1")[..] else { panic!("{:?}", told("true", "/1")) };
        assert!(
            sentence.starts_with("an answer is a list, with its id at /1, and upstream.split"),
            "{sentence}"
        );
        for (split, id) in [("true", "/id"), ("\"/d\"", "/1"), ("false", "/1")] {
            assert_eq!(told(split, id), [] as [String; 0], "{split} {id}");
        }
    }

    #[test]
    fn what_a_profile_wants_is_named_with_the_step_that_says_it() {
        let text = "profile = \"home-assistant\"\nupstream.url = \"ws://h/api/websocket\"\n";
        let missing = missing_values(&config(text), &Environment::fixed([]));
        let [sentence] = &missing[..] else { panic!("{missing:?}") };
        for part in
            ["vars.token: `${credential:token}`", "step \"log in\" of profile home-assistant", "[vars]"]
        {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
        let given = config(&format!("{text}vars.token = \"${{env:TOKEN}}\"\n"));
        assert_eq!(missing_values(&given, &Environment::fixed([("TOKEN", "x")])), Vec::<String>::new());
    }

    #[test]
    fn a_secret_that_others_may_read_is_told_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let (file, token) = (directory.path().join("wsfan.toml"), directory.path().join("token"));
        fs::write(&token, "x").unwrap();
        let config = config(&format!(
            "[upstream]\nurl = \"wss://u:hunter2@h/\"\nheaders = {{ Authorization = \"Bearer hunter2\", X-A = \"a\" }}\n\
             [vars]\napi_key = \"hunter2\"\nother = \"${{file:{}}}\"\n[[script.step]]\n\
             send = '{{\"a\":\"${{var:api_key}}${{var:other}}\"}}'\n",
            token.display()
        ));
        fs::write(&file, "").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&file, 0o644);
        mode(&token, 0o644);
        let told = |config| warnings(config, Some(&file), &Environment::fixed([])).join("\n");
        let text = told(&config);
        assert!(text.contains("upstream.headers.Authorization, upstream.url, vars.api_key"), "{text}");
        assert!(text.contains("chmod o-r") && !text.contains("hunter2") && !text.contains("X-A"), "{text}");
        assert!(text.contains(&format!("may read {}", token.display())), "{text}");
        mode(&file, 0o640);
        mode(&token, 0o600);
        let text = told(&config);
        assert!(!text.contains("may read"), "{text}");
    }
}
