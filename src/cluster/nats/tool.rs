//! NATS for one command: questions, one after the other, with an answer or a sentence each.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use async_nats::{RequestErrorKind, Subscriber};
use futures_util::StreamExt as _;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    api::{self, ApiError, StreamInfo},
    dial::{self, Connection, Sign},
    permissions::{Kind, Permissions, Rights},
    session::is_new_enough,
    settings::{Names, Settings},
    stream,
    trouble::{Denied, Trouble},
};
use crate::{
    cluster::{machine::MAX_BATCH, report::Report},
    config::{Cluster, History},
};

/// What all nodes say of themselves is no longer than this.
const MAX_REPORTS: usize = 4 << 20;

/// A connection for one command.
pub(crate) struct Tool {
    settings: Rc<Settings>,
    names: Names,
    connection: Connection,
}

/// How the stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// As it should be.
    AsWanted(Held),
    /// It can be the log, and isn't what the configuration says.
    Differs(Held, String),
    /// It can't be the log.
    Another(String),
    /// It isn't there.
    Missing,
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) replicas: usize,
}

/// What an account may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes that are left to it, if they are limited.
    pub(crate) bytes: Option<u64>,
    /// Streams that are left to it, if they are limited.
    pub(crate) streams: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Account {
    memory: i64,
    storage: i64,
    streams: i64,
    limits: AccountLimits,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AccountLimits {
    max_memory: i64,
    max_storage: i64,
    max_streams: i64,
}

#[derive(Deserialize)]
struct User {
    data: Option<UserData>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct UserData {
    permissions: Option<Permissions>,
}

impl Tool {
    /// Connects to the server of this number in `cluster.urls`.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn connect(
        cluster: &Cluster,
        history: &History,
        server: usize,
    ) -> Result<Tool, Trouble> {
        let settings = Rc::new(Settings::new(cluster, history));
        let Some(url) = cluster.urls.get(server) else {
            return Err(Trouble::fatal("cluster.urls names no server"));
        };
        let connection = dial::connect(Rc::clone(&settings), url.clone()).await?;
        let tool = Tool { names: settings.names(), settings, connection };
        let (version, max_payload) = (tool.version(), tool.connection.client.max_payload());
        let needed = MAX_BATCH + stream::HEADERS;
        if !is_new_enough(&version) {
            return Err(Trouble::too_old(&tool.connection.url, &version));
        }
        if max_payload < needed {
            return Err(Trouble::max_payload(&tool.connection.url, max_payload, needed));
        }
        Ok(tool)
    }

    /// Connects to the first server that can be reached.
    ///
    /// # Errors
    /// Why the last one can't.
    pub(crate) async fn connect_to_any(cluster: &Cluster, history: &History) -> Result<Tool, Trouble> {
        let mut last = Err(Trouble::fatal("cluster.urls names no server"));
        for server in 0..cluster.urls.len() {
            last = Tool::connect(cluster, history, server).await;
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// The server's version.
    pub(crate) fn version(&self) -> String {
        self.connection.client.server_info().version
    }

    /// How the stream is.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn look(&mut self) -> Result<Found, Trouble> {
        let stream = self.names.stream();
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        let info = match self.call::<StreamInfo>(subject, Vec::new()).await? {
            Ok(info) => info,
            Err(error) if error.err_code == api::STREAM_NOT_FOUND => return Ok(Found::Missing),
            Err(error) => return Err(Trouble::refused(&stream, &error)),
        };
        let state = info.state;
        let held = Held { messages: state.messages, bytes: state.bytes, replicas: info.config.num_replicas };
        let difference = stream::compare(&stream::wanted(&self.names, &self.settings.stream), &info.config);
        Ok(match difference {
            it if !it.fatal.is_empty() => Found::Another(Trouble::is_another(&stream, &it.fatal).to_string()),
            it if it.is_some() => Found::Differs(held, Trouble::differs(&stream, &it).to_string()),
            _ => Found::AsWanted(held),
        })
    }

    /// Makes the stream.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn make(&mut self) -> Result<(), Trouble> {
        let config = stream::wanted(&self.names, &self.settings.stream);
        let subject = format!("$JS.API.STREAM.CREATE.{}", self.names.stream());
        let request = serde_json::to_vec(&config).unwrap_or_default();
        match self.call::<serde_json::Value>(subject, request).await? {
            Ok(_) => Ok(()),
            Err(error) if error.err_code == api::STREAM_NAME_IN_USE => Ok(()),
            Err(error) => Err(Trouble::not_made(&self.names.stream(), &error)),
        }
    }

    /// What is left to the account; none where this user may not ask.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn room(&mut self) -> Result<Option<Room>, Trouble> {
        let account = match self.ask("$JS.API.INFO".to_owned(), Vec::new()).await {
            Ok(payload) => match api::answer::<Account>(&payload) {
                Ok(account) => account,
                Err(error) => return Err(Trouble::refused(&self.names.stream(), &error)),
            },
            Err(NoAnswer::Denied(_) | NoAnswer::TimedOut) => return Ok(None),
            Err(no) => return Err(self.explain(no)),
        };
        let left = |limit: i64, used: i64| (limit > 0).then(|| u64::try_from(limit - used).unwrap_or(0));
        let (limit, used) = if self.settings.stream.memory {
            (account.limits.max_memory, account.memory)
        } else {
            (account.limits.max_storage, account.storage)
        };
        Ok(Some(Room {
            bytes: left(limit, used),
            streams: left(account.limits.max_streams, account.streams),
        }))
    }

    /// Whether the server belongs to no cluster of servers: a stream has one replica there.
    pub(crate) fn is_alone(&self) -> bool {
        let info = self.connection.client.server_info();
        info.jetstream && info.cluster.is_none_or(|name| name.is_empty())
    }

    /// The most bytes that the stream will hold.
    pub(crate) fn wanted_bytes(&self) -> u64 {
        self.settings.stream.max_bytes
    }

    /// The rights that a node of this configuration needs and this user lacks; none where the server doesn't tell.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn missing_rights(&mut self) -> Result<Option<Vec<String>>, Trouble> {
        let payload = match self.ask("$SYS.REQ.USER.INFO".to_owned(), Vec::new()).await {
            Ok(payload) => payload,
            Err(NoAnswer::Denied(_) | NoAnswer::TimedOut | NoAnswer::Nobody) => return Ok(None),
            Err(no @ NoAnswer::Lost) => return Err(self.explain(no)),
        };
        let Ok(User { data: Some(data) }) = serde_json::from_slice(&payload) else { return Ok(None) };
        let cluster = &self.settings.cluster;
        let kind = if cluster.candidate { Kind::Candidate } else { Kind::Follower };
        let rights = Rights::of(kind, &self.names, &cluster.node);
        Ok(Some(rights.missing(&data.permissions.unwrap_or_default())))
    }

    /// Asks all nodes how they are, and waits so long for their answers.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn who(&mut self, within: Duration) -> Result<Vec<Report>, Trouble> {
        let client = &self.connection.client;
        let inbox = client.new_inbox();
        let lost = |_| Trouble::fatal("the connection to the NATS server is lost");
        let mut answers: Subscriber = client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| Trouble::fatal(format!("the answers of the nodes can't be heard: {error}")))?;
        client.publish_with_reply(self.names.who(), inbox, "".into()).await.map_err(lost)?;
        let until = tokio::time::Instant::from_std(Instant::now() + within);
        let (mut reports, mut bytes) = (Vec::new(), 0);
        loop {
            tokio::select! {
                answer = answers.next() => match answer {
                    // 503: there is none
                    Some(answer) if answer.status.is_some() => break,
                    Some(answer) => {
                        bytes += answer.payload.len();
                        if bytes > MAX_REPORTS {
                            return Err(Trouble::fatal("who asks how the nodes are is answered with more than all nodes have to say: look who else hears that question in NATS"));
                        }
                        reports.extend(Report::read(&answer.payload));
                    }
                    None => return Err(lost(async_nats::PublishErrorKind::Send.into())),
                },
                sign = self.connection.signs.recv() => match sign {
                    Some(Sign::Complaint(text)) => {
                        if let Some(denied) = Denied::read(&text) {
                            return Err(Trouble::denied(&denied, &self.names, &self.settings.cluster.node));
                        }
                    }
                    Some(Sign::Lost) | None => return Err(lost(async_nats::PublishErrorKind::Send.into())),
                },
                () = tokio::time::sleep_until(until) => break,
            }
        }
        Ok(reports)
    }

    async fn call<T: DeserializeOwned>(
        &mut self,
        subject: String,
        payload: Vec<u8>,
    ) -> Result<Result<T, ApiError>, Trouble> {
        match self.ask(subject, payload).await {
            Ok(payload) => Ok(api::answer(&payload)),
            Err(no) => Err(self.explain(no)),
        }
    }

    async fn ask(&mut self, subject: String, payload: Vec<u8>) -> Result<Vec<u8>, NoAnswer> {
        let client = self.connection.client.clone();
        let mut asking = Box::pin(client.request(subject.clone(), payload.into()));
        loop {
            tokio::select! {
                answer = &mut asking => return match answer {
                    Ok(answer) => Ok(answer.payload.into()),
                    Err(error) => Err(match error.kind() {
                        RequestErrorKind::NoResponders => NoAnswer::Nobody,
                        RequestErrorKind::TimedOut => NoAnswer::TimedOut,
                        _ => NoAnswer::Lost,
                    }),
                },
                sign = self.connection.signs.recv() => match sign {
                    Some(Sign::Complaint(text)) => match Denied::read(&text) {
                        Some(denied) if denied.subject == subject || !denied.publish => {
                            return Err(NoAnswer::Denied(denied));
                        }
                        _ => {}
                    },
                    Some(Sign::Lost) | None => return Err(NoAnswer::Lost),
                },
            }
        }
    }

    fn explain(&self, no: NoAnswer) -> Trouble {
        match no {
            NoAnswer::Nobody => Trouble::no_jetstream(),
            NoAnswer::TimedOut => Trouble::unanswered(&self.names.stream()),
            NoAnswer::Denied(denied) => Trouble::denied(&denied, &self.names, &self.settings.cluster.node),
            NoAnswer::Lost => Trouble::fatal("the connection to the NATS server is lost"),
        }
    }
}

/// Why there is no answer.
enum NoAnswer {
    /// Nobody hears the question.
    Nobody,
    TimedOut,
    Denied(Denied),
    Lost,
}
