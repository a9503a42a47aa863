//! What can be tried without running a command, and what can't. Pure.

use super::Part;
use crate::{
    config::{HeartbeatKind, Placeholder, Proxy, Say, Template, Terms, Var},
    upstream::settings::Settings,
};

/// How far a walk goes without commands, and what it leaves out.
#[derive(Debug, PartialEq)]
pub(super) struct Dry {
    /// The same, without anything that needs a command.
    pub(super) settings: Settings,
    pub(super) reach: Reach,
    pub(super) untried: Vec<Untried>,
}

/// How far it can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nobody knows where to.
    Nowhere,
    /// To the server, but not into a conversation.
    Server,
    /// As far as the script that is left.
    Script,
}

/// A part that isn't tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Untried {
    pub(super) part: Part,
    pub(super) name: Option<String>,
    pub(super) why: String,
}

/// What follows something that isn't tried.
const BEHIND: &str = "comes after what isn't tried";

impl Dry {
    /// Of a walk to the first URL of these.
    pub(super) fn of(settings: Settings) -> Dry {
        let mut dry = Dry { settings, reach: Reach::Script, untried: Vec::new() };
        let terms = dry.settings.terms.clone();
        dry.look_at_way(&terms);
        dry.look_at_script(&terms);
        dry.look_at_others(&terms);
        dry.settings.upstream.url_command = None;
        dry.settings.upstream.resume_url = None;
        dry.settings.terms.commands.clear();
        dry
    }

    /// URL, proxy and headers.
    fn look_at_way(&mut self, terms: &Terms) {
        let upstream = &mut self.settings.upstream;
        let url = upstream.urls.first().and_then(|url| needs(url, terms)).map(|why| format!("the URL {why}"));
        let proxy = match &upstream.proxy {
            Proxy::Url(url) => needs(url, terms).map(|why| format!("upstream.proxy {why}")),
            Proxy::Environment | Proxy::Off => None,
        };
        let command = upstream.url_command.as_ref();
        let command = command.map(|_| "upstream.url_command says where to, and isn't run".to_owned());
        if let Some(why) = command.or(url).or(proxy) {
            self.reach = Reach::Nowhere;
            return self.untried.push(Untried { part: Part::Prepare, name: None, why });
        }
        let mut why = None;
        upstream.headers.retain(|(name, value)| {
            let needed = needs(value, terms).map(|why| format!("upstream.headers.{name} {why}"));
            let stays = needed.is_none();
            why = why.take().or(needed);
            stays
        });
        upstream.subprotocols.retain(|template| {
            let needed = needs(template, terms).map(|why| format!("upstream.subprotocols {why}"));
            let stays = needed.is_none();
            why = why.take().or(needed);
            stays
        });
        if let Some(why) = why {
            self.reach = Reach::Server;
            self.untried.push(Untried { part: Part::Upgrade, name: None, why });
        }
    }

    /// The script up to the first step that can't be said, and the heartbeat behind it.
    fn look_at_script(&mut self, terms: &Terms) {
        let mut is_behind = self.reach != Reach::Script;
        let mut said = 0;
        for step in &terms.script.steps {
            let send = step.send.as_ref().filter(|_| step.is_wanted(&terms.vars));
            let needed = send.and_then(|send| unsaid(send, "`send`", terms));
            let why = match (is_behind, needed) {
                (true, _) => BEHIND.to_owned(),
                (false, Some(why)) => why,
                (false, None) => {
                    said += 1;
                    continue;
                }
            };
            is_behind = true;
            self.untried.push(Untried { part: Part::Step, name: Some(step.name.clone()), why });
        }
        self.settings.terms.script.steps.truncate(said);
        let why = match &self.settings.heartbeat.kind {
            HeartbeatKind::Off => None,
            _ if is_behind => Some(BEHIND.to_owned()),
            HeartbeatKind::Message { message, .. } => unsaid(message, "heartbeat.message", terms),
            HeartbeatKind::Ping => None,
        };
        if let Some(why) = why {
            self.settings.heartbeat.kind = HeartbeatKind::Off;
            self.untried.push(Untried { part: Part::Heartbeat, name: None, why });
        }
    }

    /// What may be said at any time.
    fn look_at_others(&mut self, terms: &Terms) {
        let of_replies = terms.replies.iter().filter_map(|reply| {
            Some(format!("to {}: {}", reply.pattern, unsaid(&reply.send, "`send`", terms)?))
        });
        let hole = terms.sequence.iter().filter_map(|sequence| sequence.send.as_ref());
        let of_holes = hole.filter_map(|send| Some(format!("sequence.send {}", needs(send, terms)?)));
        let untried = of_replies.chain(of_holes).map(|why| Untried { part: Part::Reply, name: None, why });
        if self.reach == Reach::Script {
            self.untried.extend(untried);
        }
        self.settings.terms.replies.retain(|reply| unsaid(&reply.send, "", terms).is_none());
        if let Some(sequence) = &mut self.settings.terms.sequence {
            sequence.send = sequence.send.take().filter(|send| needs(send, terms).is_none());
        }
    }
}

/// Why something can't be said, that stands at this key.
fn unsaid(say: &Say, key: &str, terms: &Terms) -> Option<String> {
    match say {
        Say::Text(template) => needs(template, terms).map(|why| format!("{key} {why}")),
        Say::Binary(_) => None,
        Say::Command(_) => Some("what `send_command` prints isn't there, since it isn't run".to_owned()),
    }
}

/// Which command's output is needed, by way of variables too: the end of a sentence.
fn needs(template: &Template, terms: &Terms) -> Option<String> {
    let command = |placeholder: &Placeholder| match placeholder {
        Placeholder::Command(name, _) => Some(name.clone()),
        _ => None,
    };
    let name = template.placeholders().find_map(|(placeholder, _)| match placeholder {
        Placeholder::Var(name) => {
            let (Var::Text(inner) | Var::Json(inner)) = terms.vars.get(name)?;
            inner.placeholders().find_map(|(placeholder, _)| command(placeholder))
        }
        other => command(other),
    })?;
    Some(format!("needs what [command.{name}] prints, which isn't run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dry(text: &str) -> Dry {
        let vars = [("v", "${command:a}", "${var:v}"), ("w", "w", "${var:w}"), ("none", "", "\"none\"")];
        // what nothing names is refused
        let used = vars.into_iter().filter(|(.., used)| text.contains(used));
        let vars: String = used.map(|(name, value, _)| format!("vars.{name} = \"{value}\"\n")).collect();
        let command = if text.contains("${command:a") || vars.contains("command") {
            "[command.a]\nrun = [\"/a\"]\n"
        } else {
            ""
        };
        Dry::of(Settings::parse(&format!("{vars}{text}\n{command}")))
    }

    fn parts(dry: &Dry) -> Vec<(Part, Option<&str>, &str)> {
        let why = |text: &'static str, why: &str| if why.contains(text) { text } else { "" };
        let untried = dry.untried.iter().map(|untried| {
            let words = ["comes after", "[command.a]", "url_command says"];
            let words = words.into_iter().map(|word| why(word, &untried.why)).find(|word| !word.is_empty());
            (untried.part, untried.name.as_deref(), words.unwrap_or_default())
        });
        untried.collect()
    }

    const SCRIPT: &str = "[[script.step]]\nname = \"one\"\nsend = \"${var:w}\"\n\
                          [[script.step]]\nname = \"left out\"\nif_var = \"none\"\nsend = \"${command:a}\"\n\
                          [[script.step]]\nname = \"two\"\nsend = \"NEEDS\"\n\
                          [[script.step]]\nname = \"three\"\nsend = \"x\"\n";

    #[test]
    fn it_goes_as_far_as_no_command_is_needed() {
        use Part::{Heartbeat, Prepare, Reply, Step, Upgrade};
        let command = "[command.a]";
        let (behind, two, three) = ("comes after", Some("two"), Some("three"));
        let url = "upstream.url = \"ws://h/\"\n";
        let all = |needs: &str| format!("{url}{}", SCRIPT.replace("NEEDS", needs));
        let steps = [
            (Step, Some("one"), behind),
            (Step, Some("left out"), behind),
            (Step, two, behind),
            (Step, three, behind),
        ];
        for (text, reach, said, untried) in [
            (all("x"), Reach::Script, 4, vec![]),
            (
                all("${command:a}"),
                Reach::Script,
                2,
                vec![(Step, two, command), (Step, three, behind), (Heartbeat, None, behind)],
            ),
            (
                all("${var:v}"),
                Reach::Script,
                2,
                vec![(Step, two, command), (Step, three, behind), (Heartbeat, None, behind)],
            ),
            (
                all("${derived:d}") + "[derived.d]\nof = \"${command:a/t}\"\n",
                Reach::Script,
                2,
                vec![(Step, two, command), (Step, three, behind), (Heartbeat, None, behind)],
            ),
            (
                all("x") + "[upstream.headers]\nX-A = \"${var:w}\"\nX-B = \"${command:a}\"\n",
                Reach::Server,
                0,
                [&[(Upgrade, None, command)][..], &steps, &[(Heartbeat, None, behind)]].concat(),
            ),
            (
                format!("upstream.subprotocols = [\"${{command:a}}\"]\n{url}"),
                Reach::Server,
                0,
                vec![(Upgrade, None, command), (Heartbeat, None, behind)],
            ),
            (
                "upstream.url = \"ws://h/${command:a}\"\nheartbeat.kind = \"off\"".into(),
                Reach::Nowhere,
                0,
                vec![(Prepare, None, command)],
            ),
            (
                "upstream.url_command = { run = [\"/b\"] }\nheartbeat.kind = \"off\"".into(),
                Reach::Nowhere,
                0,
                vec![(Prepare, None, "url_command says")],
            ),
            (
                format!("upstream.proxy = \"http://${{command:a}}@p:1\"\n{url}heartbeat.kind = \"off\""),
                Reach::Nowhere,
                0,
                vec![(Prepare, None, command)],
            ),
            (
                format!(
                    "{url}heartbeat = {{ kind = \"message\", message = \"${{command:a}}\" }}\n[[reply]]\nmatch = \"p\"\nsend = \"${{var:v}}\"\n[[reply]]\nmatch = \"q\"\nsend = \"q\"\n"
                ),
                Reach::Script,
                0,
                vec![(Heartbeat, None, command), (Reply, None, command)],
            ),
        ] {
            let dry = dry(&text);
            assert_eq!((dry.reach, parts(&dry)), (reach, untried), "{text}");
            assert_eq!(dry.settings.terms.script.steps.len(), said, "{text}");
            assert!(dry.settings.terms.commands.is_empty() && dry.settings.upstream.url_command.is_none());
            let needs_it = |template| needs(template, &dry.settings.terms).is_some();
            assert!(
                !dry.settings.terms.replies.iter().any(|reply| reply.send.template().is_some_and(needs_it)),
                "{text}"
            );
            assert!(!dry.settings.upstream.headers.iter().any(|(_, value)| needs_it(value)), "{text}");
        }
    }
}
