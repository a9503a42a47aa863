//! `[cluster]`: several machines with one link and one log, which is a stream of NATS JetStream.

use std::{path::Path, time::Duration};

use super::{
    history::{History, SlowClient},
    nats_url::NatsUrl,
    tls::{Tls, probe},
};
use crate::config::{
    language::{
        environment::Environment,
        names::{Names, is_name},
        placeholder::Placeholder,
        template::Template,
        uses::Use,
    },
    reader::{
        Item, Section,
        duration::format_duration,
        values::{integer, kind, quoted, shown},
    },
};

/// The longest `name` and `node`, in bytes: NATS has room for 255 with what stands before them.
const MAX_NAME: usize = 200;
/// A killed NATS server is replaced within so long, mostly: its elections take 4 to 9 s.
const ELECTION: Duration = Duration::from_secs(4);

/// `[cluster]`: several machines with one link and one log. Absent by default.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// `name`: machines with one name share one link. Letters, digits, `_` and `-`, at most 200 bytes.
    pub name: String,
    /// `urls`: NATS servers, at least one.
    pub urls: Vec<NatsUrl>,
    /// `node`: this machine's name in the cluster, which no other has; written as `name` is. Default: the host's name,
    /// up to its first dot.
    pub node: String,
    /// `lease`: a leader that hasn't been heard for so long is replaced; 1 s to 60 s. Default 2 s.
    pub lease: Duration,
    /// `replicas`: so many NATS servers have the stream; 1, 3 or 5. Default 1.
    pub replicas: u8,
    /// `storage`: where they have it. Default [`Storage::File`].
    pub storage: Storage,
    /// `candidate`: whether this machine may hold the link. Default true.
    pub candidate: bool,
    /// `step_down_after`: a leader whose link hasn't been up for so long lets another machine try; 1 s to 1 d. Default
    /// 30 s.
    pub step_down_after: Option<Duration>,
    /// `credentials`, `user` and `password`, or `token`: who this node is to NATS.
    pub login: NatsLogin,
    /// `max_unacked`: the upstream isn't read while so many bytes wait for NATS; 512 KiB to 1 GiB. Default 8 MiB.
    pub max_unacked: usize,
    /// `tls`: trust and client certificate for `tls://`.
    pub tls: Tls,
}

/// `cluster.storage`: where NATS has the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// On disk: it outlives a restart of all NATS servers.
    File,
    /// In memory: it is gone with the last of them.
    Memory,
}

/// Who a node is to NATS: the templates have placeholders of credentials, environment variables and files alone, which
/// [`Template::resolve`] knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatsLogin {
    /// Nobody in particular.
    None,
    /// `credentials`: what is in a `.creds` file, a JWT and the seed of its key.
    Credentials(Template),
    /// `user` and `password`.
    User {
        /// The user's name.
        user: Template,
        /// The password.
        password: Template,
    },
    /// `token`.
    Token(Template),
}

impl Cluster {
    /// The keys whose values are secret.
    pub(in crate::config) const SECRET_KEYS: [&str; 2] = ["password", "token"];

    /// One with this name, node and server, and the default for everything else.
    pub fn new(name: &str, node: &str, url: NatsUrl) -> Self {
        Self {
            name: name.to_owned(),
            urls: vec![url],
            node: node.to_owned(),
            lease: Duration::from_secs(2),
            replicas: 1,
            storage: Storage::File,
            candidate: true,
            step_down_after: Some(Duration::from_secs(30)),
            login: NatsLogin::None,
            max_unacked: 8 << 20,
            tls: Tls::default(),
        }
    }

    /// All templates, each with its key.
    pub(in crate::config) fn templates(&self) -> Vec<(&'static str, &Template)> {
        match &self.login {
            NatsLogin::None => Vec::new(),
            NatsLogin::Credentials(file) => vec![("cluster.credentials", file)],
            NatsLogin::User { user, password } => {
                vec![("cluster.user", user), ("cluster.password", password)]
            }
            NatsLogin::Token(token) => vec![("cluster.token", token)],
        }
    }

    /// Reads the table, if it is there.
    pub(in crate::config) fn read(
        root: &Section<'_>,
        names: &Names,
        environment: &Environment,
        history: &History,
    ) -> Option<Self> {
        let item = root.item("cluster")?;
        if !cfg!(feature = "cluster") {
            item.problem(
                "is there, but this wsfan is built without the feature `cluster`: build it with that feature, which is \
                 on by default, or take [cluster] out",
            );
            return None;
        }
        let section = item.section();
        let cluster = Self::read_section(&section, names, environment);
        if history.slow_client == SlowClient::Block {
            root.section("history").problem(
                "slow_client",
                "is \"block\", but with [cluster] a client of one machine can't hold up the link of another: write \
                 \"gap\", \"disconnect\" or \"latest\"",
            );
        }
        section.finish();
        Some(cluster)
    }

    fn read_section(section: &Section<'_>, names: &Names, environment: &Environment) -> Self {
        let seconds = Duration::from_secs;
        let default = Self::new("", "", NatsUrl { is_tls: false, host: String::new(), port: 0 });
        let cluster = Self {
            name: read_name(section),
            urls: read_urls(section),
            node: read_node(section, environment),
            lease: section.duration("lease", seconds(1)..=seconds(60)).unwrap_or(default.lease),
            replicas: read_replicas(section).unwrap_or(default.replicas),
            storage: section
                .one_of("storage", &[("file", Storage::File), ("memory", Storage::Memory)])
                .unwrap_or(default.storage),
            candidate: section.truth("candidate").unwrap_or(default.candidate),
            step_down_after: section
                .duration_or_off("step_down_after", seconds(1)..=seconds(24 * 60 * 60))
                .unwrap_or(default.step_down_after),
            login: NatsLogin::read(section, names),
            max_unacked: section.size("max_unacked", 512 << 10..=1 << 30).unwrap_or(default.max_unacked),
            tls: Tls::read(section.section("tls")),
        };
        cluster.refuse_plain(section);
        cluster.warn_of_defaults(section);
        cluster
    }

    /// Refuses what would be said without TLS, and TLS that nothing would be said over.
    fn refuse_plain(&self, section: &Section<'_>) {
        let has_tls = self.urls.iter().any(|url| url.is_tls);
        if self.tls != Tls::default() && !has_tls && !self.urls.is_empty() {
            section.problem(
                "tls",
                "is there, but no URL of cluster.urls has TLS: write tls:// instead of nats://",
            );
        }
        let plain = self.urls.iter().find(|url| !url.is_tls && !url.is_loopback());
        if let Some(url) = plain.filter(|_| self.login != NatsLogin::None) {
            let host = quoted(&url.host);
            section.problem(
                "urls",
                format_args!("has nats:// to {host}, where credentials would go unencrypted: write tls://"),
            );
        }
    }

    /// Warns of defaults that are most likely not meant; who writes them out means them.
    fn warn_of_defaults(&self, section: &Section<'_>) {
        let is_there = |key| section.item(key).is_some();
        if let Some(urls) = section.item("urls").filter(|_| self.urls.len() > 1 && !is_there("replicas")) {
            urls.warning(
                "names several NATS servers, but the stream is on one of them alone: write cluster.replicas = 3, or 1 if \
                 that is meant",
            );
        }
        if let Some(replicas) = section
            .item("replicas")
            .filter(|_| self.replicas > 1 && self.lease < ELECTION && !is_there("lease"))
        {
            replicas.warning(format_args!(
                "is {}, with which NATS takes 4s to 9s to replace a server that was killed, and cluster.lease, which is \
                 {}, doesn't outlast that: the link may be opened anew; write cluster.lease = \"15s\" to wait instead, or \
                 \"{}\" if that is meant",
                self.replicas,
                format_duration(self.lease),
                format_duration(self.lease)
            ));
        }
    }
}

impl NatsLogin {
    fn read(section: &Section<'_>, names: &Names) -> Self {
        let template = |key| section.item(key).and_then(|item| names.header(&item, Use::Nats));
        let credentials = section.item("credentials").filter(|item| item.value.as_str() != Some(""));
        let (user, password) = (section.item("user").is_some(), section.item("password").is_some());
        let token = section.item("token").is_some();
        let ways = [credentials.is_some(), user || password, token];
        if ways.iter().filter(|is_there| **is_there).count() > 1 {
            let key = if credentials.is_some() { "credentials" } else { "token" };
            section.problem(
                key,
                "is one of several ways to log in: write credentials, or user and password, or token, and no other",
            );
            return Self::None;
        }
        match (user, password) {
            (true, false) => section.problem("user", "is set without password: write that too"),
            (false, true) => section.problem("password", "is set without user: write that too"),
            _ => {}
        }
        if let Some(item) = credentials {
            return read_credentials(&item, names).map_or(Self::None, Self::Credentials);
        }
        if let (Some(user), Some(password)) = (template("user"), template("password")) {
            return Self::User { user, password };
        }
        template("token").map_or(Self::None, Self::Token)
    }
}

/// The file by its path, or by a placeholder.
fn read_credentials(item: &Item<'_>, names: &Names) -> Option<Template> {
    let text = item.text()?;
    if text.contains("${") {
        let template = names.header(item, Use::Nats)?;
        if template.placeholders().count() > 1 || template.with_stand_ins() != "1" {
            item.problem("has something beside the placeholder: write the placeholder alone, or the path of a .creds file");
        }
        return Some(template);
    }
    if !text.starts_with('/') {
        // what is no path may be the secret itself
        item.problem(
            "is no absolute path: write that of a .creds file, from `/` on, or `${credential:NAME}` for what is in it",
        );
        return None;
    }
    if let Err(why) = probe(Path::new(text)) {
        item.problem(format_args!("is {}, which {why}: check the path and who may read it", quoted(text)));
        return None;
    }
    Some(Template::placeholder(Placeholder::File(text.to_owned())))
}

fn read_urls(section: &Section<'_>) -> Vec<NatsUrl> {
    let before = section.problems();
    let Some(items) = section.one_or_more("urls") else {
        if section.item("urls").is_none() && !section.is_refused() {
            section.problem(
                "urls",
                "is missing: write urls = [\"nats://127.0.0.1:4222\"], or where NATS is, under [cluster]",
            );
        }
        return Vec::new();
    };
    let mut urls: Vec<NatsUrl> = Vec::new();
    if items.is_empty() && section.problems() == before {
        section.problem("urls", "is an empty list: write at least one URL");
    }
    for item in items {
        let Some(text) = item.text() else { continue };
        if text.contains("${") {
            item.problem(
                "has a placeholder, but NATS's URLs hold no secrets: write it out, and the login as cluster.credentials, \
                 user and password, or token",
            );
            continue;
        }
        match NatsUrl::parse(text) {
            Ok(url) if urls.contains(&url) => item.problem("is the same server again: list each one once"),
            Ok(url) => urls.push(url),
            Err(why) => item.problem(why),
        }
    }
    urls
}

fn read_name(section: &Section<'_>) -> String {
    let Some(item) = section.item("name") else {
        if !section.is_refused() {
            section.problem(
                "name",
                "is missing: write name = \"…\", the same on all machines that share the link",
            );
        }
        return String::new();
    };
    let name = item.text().unwrap_or_default();
    if let Some(why) = item.text().and_then(bad_name) {
        item.problem(format_args!("is {}, which {why}", quoted(name)));
    }
    name.to_owned()
}

fn read_node(section: &Section<'_>, environment: &Environment) -> String {
    if let Some(item) = section.item("node") {
        let node = item.text().unwrap_or_default();
        if let Some(why) = item.text().and_then(bad_name) {
            item.problem(format_args!("is {}, which {why}", quoted(node)));
        }
        return node.to_owned();
    }
    if section.is_refused() {
        return String::new();
    }
    let host = environment.host_name().unwrap_or_default();
    let node = host.split('.').next().unwrap_or_default().to_owned();
    if node.is_empty() {
        section.problem(
            "node",
            "is left out, and this host has no name: write node = \"…\", which no other machine has",
        );
    } else if bad_name(&node).is_some() {
        section.problem(
            "node",
            format_args!(
                "is left out, and this host's name, {}, can't be one: write node = \"…\", with letters, digits, `_` \
                 and `-`",
                quoted(&node)
            ),
        );
    } else if node == "localhost" {
        section.warning(
            "node",
            "is left out, and this host's name is \"localhost\", as another machine's may be: write node = \"…\", which no \
             other has",
        );
    }
    node
}

/// Why a text can't be a part of NATS's subjects and of a stream's name, if it can't: the end of a sentence.
fn bad_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is no name: write letters, digits, `_` and `-`".to_owned());
    }
    if !is_name(name) {
        return Some("can't be a part of NATS's subjects: write letters, digits, `_` and `-`".to_owned());
    }
    (name.len() > MAX_NAME).then(|| format!("has {} bytes, and {MAX_NAME} are the most", name.len()))
}

fn read_replicas(section: &Section<'_>) -> Option<u8> {
    let item = section.item("replicas")?;
    let replicas = integer::<u8>(item.value, &(1..=5)).ok();
    let why = match replicas {
        Some(1 | 3 | 5) => return replicas,
        Some(_) => ", of which a majority is no smaller than of one more",
        None => "",
    };
    let what = if item.value.is_integer() { shown(item.value) } else { kind(item.value).to_owned() };
    item.problem(format_args!("is {what}{why}: write 1, 3 or 5"));
    None
}
