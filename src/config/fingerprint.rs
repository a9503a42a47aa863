//! What the nodes of a cluster should have alike, in a few letters.

use ring::digest;

use super::{
    Config,
    language::{
        pattern::{Pattern, Test},
        placeholder::Placeholder,
        pointer::Pointer,
        secret::sounds_secret,
        template::Template,
    },
    merged::{MASK, shown_at},
    sections::{
        capture::Capture,
        command::{NamedCommand, Program, UrlCommand},
        heartbeat::{Heartbeat, HeartbeatKind},
        limits::Limits,
        reject::Reject,
        reply::Reply,
        requests::{RequestStream, Requests, ServerRequests},
        rotate::Rotate,
        script::{Say, Step},
        sequence::{First, Sequence, Span},
        subscription_answer::SubscriptionAnswer,
        subscriptions::Subscriptions,
        terms::Terms,
        topics::{TopicName, TopicRule, Topics},
        upstream::Upstream,
        vars::Var,
    },
};

/// What stands for any secret, wherever it is kept.
const SECRET: &str = "${secret}";

impl Config {
    /// A hash of what the server is told and how what it says is understood: `[upstream]`, the terms and the
    /// heartbeat's message. Nodes of one cluster in which it differs do different things when they hold the link.
    ///
    /// It is made of what is configured alone, never of a secret: literal ones are left out as `check --print` masks
    /// them, and where a secret is kept makes no difference. Left out is, too, what may differ from one machine to
    /// another without harm: intervals and time-outs, proxies, certificates, compression, and how much is kept.
    /// Another version of wsfan may make another hash of the same.
    pub fn fingerprint(&self) -> String {
        let hash = digest::digest(&digest::SHA256, self.essence().as_bytes());
        hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the hash is made of: a line for each fact.
    fn essence(&self) -> String {
        let mut facts = Facts(String::new());
        facts.upstream(&self.upstream);
        facts.terms(&self.terms);
        facts.heartbeat(&self.heartbeat);
        facts.0
    }
}

/// Lines of facts. Each section is taken apart with all of its fields named, so that one that is added doesn't compile
/// until it is said whether it counts.
struct Facts(String);

impl Facts {
    fn fact(&mut self, key: &str, value: impl AsRef<str>) {
        self.0 += &format!("{key} = {:?}\n", value.as_ref());
    }

    fn template(&mut self, path: &[&str], template: &Template) {
        self.fact(&path.join("."), shown(path, template));
        for derived in template.derived() {
            let mut parts: Vec<String> = derived.placeholders().map(|(one, _)| placeholder(one)).collect();
            parts.insert(0, derived.method());
            self.fact(&format!("derived.{}", derived.name), parts.join(" "));
        }
    }

    fn pattern(&mut self, key: &str, pattern: Option<&Pattern>) {
        if let Some(pattern) = pattern {
            self.fact(key, canonical(pattern));
        }
    }

    fn pointer(&mut self, key: &str, pointer: Option<&Pointer>) {
        if let Some(pointer) = pointer {
            self.fact(key, pointer.as_str());
        }
    }

    fn say(&mut self, path: &[&str], say: &Say) {
        match say {
            Say::Text(template) => self.template(path, template),
            Say::Binary(_) => self.fact(&path.join("."), say.shown()),
            Say::Command(command) => {
                self.fact(&path.join("."), format!("binary {} silent {}", command.binary, command.silent));
                self.program(path, &command.program);
            }
        }
    }

    fn program(&mut self, path: &[&str], program: &Program) {
        let Program { run, env: _, timeout: _, stdin } = program;
        // by its name: it may lie elsewhere on another machine
        let shown = program.shown();
        let name = run.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        self.fact(&path.join("."), format!("{name} {:?}", shown.get(1..).unwrap_or_default()));
        if let Some(stdin) = stdin {
            self.template(&[path, &["stdin"]].concat(), stdin);
        }
    }

    fn rejects(&mut self, key: &str, rejects: &[Reject]) {
        for Reject { pattern, then, again, delay_from } in rejects {
            let delay = delay_from.as_ref().map(|from| from.pointer.as_str());
            self.fact(key, format!("{} {then:?} {again} {delay:?}", canonical(pattern)));
        }
    }

    fn captures(&mut self, key: &str, values: &[(String, Pointer)]) {
        let mut values: Vec<_> = values.iter().map(|(name, pointer)| (name, pointer.as_str())).collect();
        values.sort_unstable();
        for (name, pointer) in values {
            self.fact(&format!("{key}.{name}"), pointer);
        }
    }

    fn upstream(&mut self, upstream: &Upstream) {
        let Upstream {
            urls,
            url_command,
            resume_url,
            resume_url_failures: _,
            allowed_hosts,
            subprotocols,
            connect_timeout: _,
            max_message,
            split,
            hide,
            headers,
            proxy: _,
            tls: _,
            compression: _,
        } = upstream;
        for url in urls.iter().chain(resume_url) {
            self.template(&["upstream", "url"], url);
        }
        if let Some(UrlCommand { command, reject, on_fail }) = url_command {
            self.program(&["upstream", "url_command"], command);
            self.rejects("upstream.url_command.reject", reject);
            self.fact("upstream.url_command.on_fail", format!("{on_fail:?}"));
        }
        let mut hosts: Vec<_> = allowed_hosts.iter().map(|host| format!("{host:?}")).collect();
        hosts.sort_unstable();
        hosts.iter().for_each(|host| self.fact("upstream.allowed_hosts", host));
        subprotocols.iter().for_each(|one| self.template(&["upstream", "subprotocols"], one));
        self.fact("upstream.max_message", max_message.to_string());
        self.pointer("upstream.split", split.as_ref());
        self.pattern("upstream.hide", hide.as_ref());
        let mut headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, value) in headers {
            self.template(&["upstream", "headers", &name], value);
        }
    }

    fn terms(&mut self, terms: &Terms) {
        let Terms {
            vars,
            commands,
            script,
            captures,
            replies,
            sequence,
            requests,
            topics,
            subscriptions,
            rotate,
            limits,
        } = terms;
        for (name, var) in vars {
            let (Var::Text(template) | Var::Json(template)) = var;
            self.template(&["vars", name], template);
        }
        for (name, NamedCommand { command, keep, reject, on_fail }) in commands {
            self.program(&["command", name], command);
            self.fact(&format!("command.{name}"), format!("{keep} {on_fail:?}"));
            self.rejects(&format!("command.{name}.reject"), reject);
        }
        script.steps.iter().for_each(|step| self.step(step));
        for Capture { pattern, values, regex, public } in captures {
            self.pattern("capture.match", Some(pattern));
            self.captures("capture.values", values);
            self.fact("capture", format!("{:?} {public}", regex.as_ref().map(ToString::to_string)));
        }
        for Reply { pattern, send, publish } in replies {
            self.pattern("reply.match", Some(pattern));
            self.say(&["reply", "send"], send);
            self.fact("reply.publish", publish.to_string());
        }
        if let Some(sequence) = sequence {
            self.sequence(sequence);
        }
        if let Some(requests) = requests {
            self.requests(requests);
        }
        self.topics(topics);
        if let Some(subscriptions) = subscriptions {
            self.subscriptions(subscriptions);
        }
        let Rotate { after: _, when, overlap: _, dedupe } = rotate;
        self.pattern("rotate.when", when.as_ref());
        self.pointer("rotate.dedupe", dedupe.as_ref());
        let Limits { messages, reserve: _, connects, max_message, excess } = limits;
        self.fact("limits", format!("{messages:?} {connects:?} {max_message:?} {excess:?}"));
    }

    fn step(&mut self, step: &Step) {
        let Step {
            name,
            if_captured,
            unless_captured,
            if_var,
            unless_var,
            send,
            expect,
            reject,
            capture,
            capture_regex,
            public,
            publish,
            retain,
            timeout: _,
            on_fail,
        } = step;
        self.fact("script.step", name);
        self.fact(
            "script.step",
            format!("{if_captured:?} {unless_captured:?} {if_var:?} {unless_var:?} {public} {publish} {retain} {on_fail:?}"),
        );
        if let Some(send) = send {
            self.say(&["script", "step", "send"], send);
        }
        self.pattern("script.step.expect", expect.as_ref());
        self.rejects("script.step.reject", reject);
        self.captures("script.step.capture", capture);
        if let Some(regex) = capture_regex {
            self.fact("script.step.capture_regex", regex.to_string());
        }
    }

    fn sequence(&mut self, sequence: &Sequence) {
        let Sequence { pointer, span, per, on_hole, send, first } = sequence;
        self.pointer("sequence.pointer", Some(pointer));
        match span {
            Some(Span::From(from)) => self.pointer("sequence.from", Some(from)),
            Some(Span::Previous(previous)) => self.pointer("sequence.previous", Some(previous)),
            None => {}
        }
        self.pointer("sequence.per", per.as_ref());
        self.fact("sequence.on_hole", format!("{on_hole:?}"));
        if let Some(send) = send {
            self.template(&["sequence", "send"], send);
        }
        if let Some(First { pattern, pointer, per }) = first {
            self.pattern("sequence.first.match", Some(pattern));
            self.pointer("sequence.first.pointer", Some(pointer));
            self.pointer("sequence.first.per", per.as_ref());
        }
    }

    fn requests(&mut self, requests: &Requests) {
        let Requests {
            id,
            id_kind,
            answer_id,
            answer,
            error,
            timeout: _,
            max_in_flight: _,
            rewrite_sends,
            rewrite_when,
            publish,
            streams,
            server,
        } = requests;
        self.pointer("requests.id", Some(id));
        self.pointer("requests.answer_id", Some(answer_id));
        self.fact("requests", format!("{id_kind:?} {rewrite_sends} {publish}"));
        self.pattern("requests.answer", answer.as_ref());
        self.pattern("requests.error", error.as_ref());
        self.pattern("requests.rewrite_when", rewrite_when.as_ref());
        for RequestStream { when, key_from, key, end, cancel, stop, stop_id } in streams {
            self.pattern("requests.stream.when", Some(when));
            self.pointer("requests.stream.key_from", key_from.as_ref());
            self.pointer("requests.stream.key", Some(key));
            self.pattern("requests.stream.end", end.as_ref());
            if let Some(cancel) = cancel {
                self.template(&["requests", "stream", "cancel"], cancel);
            }
            self.pattern("requests.stream.stop", stop.as_ref());
            self.pointer("requests.stream.stop_id", stop_id.as_ref());
        }
        if let Some(ServerRequests { when, id, answer, answer_id, timeout: _ }) = server {
            self.pattern("requests.server.when", Some(when));
            self.pointer("requests.server.id", Some(id));
            self.pattern("requests.server.answer", Some(answer));
            self.pointer("requests.server.answer_id", Some(answer_id));
        }
    }

    fn topics(&mut self, topics: &Topics) {
        let Topics { rules, pointers, join, retain, retain_key, bounds: _ } = topics;
        for TopicRule { when, name } in rules {
            self.pattern("topics.rule.when", Some(when));
            match name {
                TopicName::Template(name) => self.template(&["topics", "rule", "name"], name),
                TopicName::Group(regex) => self.fact("topics.rule.regex", regex.to_string()),
            }
        }
        pointers.iter().for_each(|pointer| self.pointer("topics.pointer", Some(pointer)));
        self.fact("topics", format!("{join:?} {retain}"));
        self.pointer("topics.retain_key", retain_key.as_ref());
    }

    fn subscriptions(&mut self, subscriptions: &Subscriptions) {
        let Subscriptions {
            subscribe,
            unsubscribe,
            item,
            payload,
            batch: _,
            linger: _,
            resubscribe,
            max: _,
            answer,
            id_topic,
        } = subscriptions;
        self.template(&["topics", "subscribe"], subscribe);
        self.template(&["topics", "item"], item);
        if let Some(unsubscribe) = unsubscribe {
            self.template(&["topics", "unsubscribe"], unsubscribe);
        }
        if let Some(payload) = payload {
            self.template(&["topics", "payload"], payload);
        }
        self.fact("topics.resubscribe", format!("{resubscribe:?}"));
        self.pointer("topics.id_topic", id_topic.as_ref());
        let Some(answer) = answer else { return };
        let SubscriptionAnswer { accept, reject, end, id, answer_id, topic, key_from, timeout: _, publish } =
            answer;
        self.pattern("topics.answer.accept", accept.as_ref());
        self.pattern("topics.answer.reject", reject.as_ref());
        self.pattern("topics.answer.end", end.as_ref());
        self.pointer("topics.answer.id", id.as_ref());
        self.pointer("topics.answer.answer_id", answer_id.as_ref());
        topic.iter().for_each(|pointer| self.pointer("topics.answer.topic", Some(pointer)));
        self.pointer("topics.answer.key_from", key_from.as_ref());
        self.fact("topics.answer.publish", publish.to_string());
    }

    /// What is said, and what proves life; when is each node's own.
    fn heartbeat(&mut self, heartbeat: &Heartbeat) {
        self.fact("heartbeat.publish", heartbeat.publish.to_string());
        match &heartbeat.kind {
            HeartbeatKind::Off => self.fact("heartbeat", "off"),
            HeartbeatKind::Ping => self.fact("heartbeat", "ping"),
            HeartbeatKind::Message { message, expect } => {
                self.say(&["heartbeat", "message"], message);
                self.pattern("heartbeat.expect", expect.as_ref());
            }
        }
    }
}

/// A template's text, with one and the same for all that is secret.
fn shown(path: &[&str], template: &Template) -> String {
    let text = template.with_placeholders(placeholder);
    shown_at(path, &text).replace(MASK, SECRET)
}

/// A placeholder by what it is: where a value is kept is each machine's own.
fn placeholder(one: &Placeholder) -> String {
    match one {
        Placeholder::Credential(_) | Placeholder::Env(_) | Placeholder::File(_) => SECRET.to_owned(),
        other => other.to_string(),
    }
}

/// A pattern's text, whatever the order of its tests, and without values that are secret by the key that leads there.
fn canonical(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Json(tests) => {
            let mut tests: Vec<_> = tests.iter().map(|(pointer, test)| one(pointer, test)).collect();
            tests.sort_unstable();
            tests.join(" and ")
        }
        Pattern::Any(patterns) => {
            let mut patterns: Vec<_> = patterns.iter().map(|one| format!("({})", canonical(one))).collect();
            patterns.sort_unstable();
            patterns.join(" or ")
        }
        Pattern::Text(text) => shown_at(&["match"], text).replace(MASK, SECRET),
        Pattern::Empty | Pattern::Regex(_) => pattern.to_string(),
    }
}

fn one(pointer: &Pointer, test: &Test) -> String {
    let is_secret = pointer.tokens().iter().any(|token| sounds_secret(token));
    match test {
        Test::Exists(_) => format!("{pointer} {test:?}"),
        _ if is_secret => format!("{pointer} {SECRET}"),
        Test::OneOf(scalars) => {
            let mut scalars: Vec<_> = scalars.iter().map(ToString::to_string).collect();
            scalars.sort_unstable();
            format!("{pointer} {scalars:?}")
        }
        Test::Contains(_) | Test::Regex(_) => format!("{pointer} {test}"),
    }
}

#[cfg(test)]
mod tests;
