//! All templates of a configuration, by the key that each is of.

use super::{
    Config,
    language::template::Template,
    sections::{heartbeat::HeartbeatKind, proxy::Proxy, script::Say, topics::TopicName, vars::Var},
};

impl Config {
    /// All templates, each with its key.
    pub fn templates(&self) -> Vec<(String, &Template)> {
        let (upstream, terms) = (&self.upstream, &self.terms);
        let mut all: Vec<(String, &Template)> = Vec::new();
        let mut add = |key: &str, template| all.push((key.to_owned(), template));
        upstream.urls.iter().for_each(|url| add("upstream.url", url));
        upstream.resume_url.iter().for_each(|url| add("upstream.resume_url", url));
        upstream.subprotocols.iter().for_each(|name| add("upstream.subprotocols", name));
        for (name, value) in &upstream.headers {
            add(&format!("upstream.headers.{name}"), value);
        }
        if let Proxy::Url(url) = &upstream.proxy {
            add("upstream.proxy", url);
        }
        let url_command = upstream.url_command.iter().filter_map(|command| command.command.stdin.as_ref());
        url_command.for_each(|stdin| add("upstream.url_command.stdin", stdin));
        for (name, var) in &terms.vars {
            let (Var::Text(template) | Var::Json(template)) = var;
            add(&format!("vars.{name}"), template);
        }
        for (name, command) in &terms.commands {
            let stdin = command.command.stdin.iter();
            stdin.for_each(|stdin| add(&format!("command.{name}.stdin"), stdin));
        }
        for step in &terms.script.steps {
            let send = step.send.as_ref();
            if let Some(template) = send.and_then(Say::template) {
                let key = send.and_then(Say::command).map_or("send", |_| "send_command.stdin");
                add(&format!("`{key}` of step {:?}", step.name), template);
            }
        }
        for reply in &terms.replies {
            let key = reply.send.command().map_or("send", |_| "send_command.stdin");
            reply
                .send
                .template()
                .iter()
                .for_each(|template| add(&format!("`{key}` of a [[reply]]"), template));
        }
        let sequence = terms.sequence.iter().filter_map(|sequence| sequence.send.as_ref());
        sequence.for_each(|send| add("sequence.send", send));
        let streams = terms.requests.iter().flat_map(|requests| &requests.streams);
        let cancels = streams.filter_map(|stream| stream.cancel.as_ref());
        cancels.for_each(|cancel| add("requests.stream.cancel", cancel));
        for rule in &terms.topics.rules {
            if let TopicName::Template(name) = &rule.name {
                add("`name` of a [[topics.rule]]", name);
            }
        }
        if let Some(topics) = &terms.subscriptions {
            add("topics.subscribe", &topics.subscribe);
            topics.unsubscribe.iter().for_each(|unsubscribe| add("topics.unsubscribe", unsubscribe));
            add("topics.item", &topics.item);
        }
        for (key, template) in self.cluster.iter().flat_map(super::Cluster::templates) {
            add(key, template);
        }
        if let HeartbeatKind::Message { message, .. } = &self.heartbeat.kind {
            let key = message.command().map_or("heartbeat.message", |_| "heartbeat.send_command.stdin");
            message.template().iter().for_each(|template| add(key, template));
        }
        all
    }
}
