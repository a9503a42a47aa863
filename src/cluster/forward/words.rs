//! What nodes say to one another of their clients' sends: each word is a line of JSON, with bytes behind it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::channel::Frame;
use crate::hub::{Fate, LinkState, MayAnswer, NoAnswer, Payload, SubscriptionError, Unexpanded, Unfit};

/// The way of speaking. Who speaks another isn't understood.
const VERSION: u32 = 1;

/// The longest name of a node or a session that is read, in bytes: those that have ended are remembered.
const MAX_NAME: usize = 256;

/// What stands before a frame's bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head<'a> {
    version: u32,
    /// Who says it.
    #[serde(borrow)]
    pub(super) node: Cow<'a, str>,
    /// Within which session.
    #[serde(borrow)]
    pub(super) session: Cow<'a, str>,
    pub(super) offset: u64,
    pub(super) ack: u64,
    /// The session isn't known here, or isn't any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_over: bool,
}

impl<'a> Head<'a> {
    /// A frame as it goes out.
    pub(super) fn write(node: &str, session: &str, frame: &Frame) -> Vec<u8> {
        let head = Head {
            version: VERSION,
            node: node.into(),
            session: session.into(),
            offset: frame.offset,
            ack: frame.ack,
            is_over: false,
        };
        written(&head, &[&frame.body])
    }

    /// Says that a session isn't known.
    pub(super) fn over(node: &str, session: &str) -> Vec<u8> {
        let (version, node, session) = (VERSION, node.into(), session.into());
        written(&Head { version, node, session, offset: 0, ack: 0, is_over: true }, &[])
    }

    /// Takes a frame apart. None where it is none.
    pub(super) fn read(frame: &'a [u8]) -> Option<(Head<'a>, &'a [u8])> {
        let (line, body) = divide(frame)?;
        let head: Head<'a> = serde_json::from_slice(line).ok()?;
        let is_short = head.session.len() <= MAX_NAME && head.node.len() <= MAX_NAME;
        (head.version == VERSION && is_short).then_some((head, body))
    }
}

/// What a node says to the leader.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Ask {
    /// A client's send. Its messages are behind it.
    Send(Box<Sent>),
    /// A client wants no more answers.
    Cancel { n: u64, client: u64, request: String },
    /// An order to the link.
    Control { order: Order },
    /// A client has gone.
    Left { client: u64 },
    /// Nobody hears the answers to this send any more.
    Quit { n: u64 },
    /// The node's clients want these topics; one with JSON is asked for by itself.
    Want {
        n: u64,
        topics: Vec<String>,
        payload: Option<String>,
        /// They have had them before, and keep them where the server doesn't answer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// They don't want these any more.
    Unwant { topics: Vec<String> },
}

/// A client's send.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    /// The number by which the leader tells what becomes of it.
    pub(super) n: u64,
    /// How often the leader has given sends back before.
    pub(super) round: u64,
    pub(super) client: u64,
    pub(super) uid: u32,
    /// Its messages: whether each is binary, and how long.
    pub(super) messages: Vec<(bool, usize)>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) expand: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) may_not_answer: Option<MayNotAnswer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asks: Option<Asked>,
}

/// What goes with a send that may be a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    /// What the client names it by, as JSON.
    pub(super) id: Option<String>,
    pub(super) is_request: bool,
    pub(super) timeout_us: Option<u64>,
}

/// An order to the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    Open,
    Close,
    Reconnect,
}

/// What the leader says to a node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub(super) enum Word {
    /// What became of a send, for good.
    Fate { n: u64, fate: ToldFate },
    /// The link isn't up, and the send wasn't begun: it is the node's again. This many times sends were given back.
    Back { n: u64, round: u64, state: ToldState },
    /// The link is up, after sends were given back.
    Up,
    /// An answer, which is behind it.
    Answer { n: u64, more: bool, failed: bool },
    /// There won't be one, or no other.
    Nothing { n: u64, why: ToldNothing },
    /// Nothing more is told of it.
    Over { n: u64 },
    /// Whether there was a request to cancel.
    Cancelled { n: u64, is_there: bool },
    /// What came of a wish for topics: these can't be had, and the others are.
    Wanted { n: u64, denied: Vec<String>, trouble: Option<Trouble> },
    /// Topics are lost that the node's clients had, or may be without messages.
    Lost { topics: Vec<String>, trouble: Trouble, is_kept: bool },
}

/// What is wrong with topics.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Trouble {
    pub(super) kind: TroubleKind,
    pub(super) why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TroubleKind {
    Unsupported,
    BadRequest,
    TooMany,
    Refused,
    Ended,
    Timeout,
    Cancelled,
    Forbidden,
}

/// [`LinkState`], as it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToldState {
    Connecting,
    Up,
    Waiting,
    Failed,
    Closed,
}

/// Why a client may not answer the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MayNotAnswer {
    OfOthers,
    Claimed(u64),
}

/// [`Fate`], as it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToldFate {
    Written,
    LinkDown(ToldState),
    Expired,
    OutboxFull,
    TooLarge(usize),
    TooMany(usize),
    RateLimited,
    Answered,
    NotAnswerer(Option<MayNotAnswer>),
    IdTaken,
    TooManyWait,
    TooManyRequests(usize),
    UnfitDoubled,
    UnfitLongId,
    UnfitList,
    UnfitAnswers,
    NoValue,
    ValueUnfit,
    Unknown,
}

/// [`NoAnswer`], as it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToldNothing {
    Fate(ToldFate),
    Timeout { written: bool },
    Cancelled,
    Ended,
    Overrun,
    Unsupported,
    NoPlace,
    Twice,
    TooMany,
}

/// A word with the bytes behind it, in the pieces of a parcel.
pub(super) fn line(word: &impl Serialize) -> Vec<u8> {
    written(word, &[])
}

/// Takes a parcel apart. None where it isn't understood.
pub(super) fn read<W: DeserializeOwned>(parcel: &[u8]) -> Option<(W, &[u8])> {
    let (line, body) = divide(parcel)?;
    Some((serde_json::from_slice(line).ok()?, body))
}

fn written(word: &impl Serialize, bodies: &[&[u8]]) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(word).unwrap_or_default(); // names and numbers: there is nothing to fail
    bytes.push(b'\n');
    bodies.iter().for_each(|body| bytes.extend_from_slice(body));
    bytes
}

fn divide(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// The messages behind a send; none where they aren't what it says.
pub(super) fn messages(lengths: &[(bool, usize)], body: &[u8]) -> Option<Vec<Payload>> {
    let mut rest = body;
    let mut messages = Vec::with_capacity(lengths.len());
    for (is_binary, length) in lengths {
        let (message, behind) = rest.split_at_checked(*length)?;
        rest = behind;
        messages.push(match is_binary {
            true => Payload::Binary(message.to_vec()),
            false => Payload::Text(String::from_utf8(message.to_vec()).ok()?),
        });
    }
    (rest.is_empty() && !messages.is_empty()).then_some(messages)
}

impl From<SubscriptionError> for TroubleKind {
    fn from(trouble: SubscriptionError) -> TroubleKind {
        match trouble {
            SubscriptionError::Unsupported => TroubleKind::Unsupported,
            SubscriptionError::BadRequest => TroubleKind::BadRequest,
            SubscriptionError::TooMany => TroubleKind::TooMany,
            SubscriptionError::Refused => TroubleKind::Refused,
            SubscriptionError::Ended => TroubleKind::Ended,
            SubscriptionError::Timeout => TroubleKind::Timeout,
            SubscriptionError::Cancelled => TroubleKind::Cancelled,
            SubscriptionError::Forbidden => TroubleKind::Forbidden,
        }
    }
}

impl From<TroubleKind> for SubscriptionError {
    fn from(trouble: TroubleKind) -> SubscriptionError {
        match trouble {
            TroubleKind::Unsupported => SubscriptionError::Unsupported,
            TroubleKind::BadRequest => SubscriptionError::BadRequest,
            TroubleKind::TooMany => SubscriptionError::TooMany,
            TroubleKind::Refused => SubscriptionError::Refused,
            TroubleKind::Ended => SubscriptionError::Ended,
            TroubleKind::Timeout => SubscriptionError::Timeout,
            TroubleKind::Cancelled => SubscriptionError::Cancelled,
            TroubleKind::Forbidden => SubscriptionError::Forbidden,
        }
    }
}

impl From<LinkState> for ToldState {
    fn from(state: LinkState) -> ToldState {
        match state {
            LinkState::Connecting => ToldState::Connecting,
            LinkState::Up => ToldState::Up,
            LinkState::Waiting => ToldState::Waiting,
            LinkState::Failed => ToldState::Failed,
            LinkState::Closed => ToldState::Closed,
        }
    }
}

impl From<ToldState> for LinkState {
    fn from(state: ToldState) -> LinkState {
        match state {
            ToldState::Connecting => LinkState::Connecting,
            ToldState::Up => LinkState::Up,
            ToldState::Waiting => LinkState::Waiting,
            ToldState::Failed => LinkState::Failed,
            ToldState::Closed => LinkState::Closed,
        }
    }
}

impl MayNotAnswer {
    /// None where a client may.
    pub(super) fn of(may: MayAnswer) -> Option<MayNotAnswer> {
        match may {
            MayAnswer::Yes => None,
            MayAnswer::OfOthers => Some(MayNotAnswer::OfOthers),
            MayAnswer::Claimed(client) => Some(MayNotAnswer::Claimed(client)),
        }
    }

    pub(super) fn may(told: Option<MayNotAnswer>) -> MayAnswer {
        match told {
            None => MayAnswer::Yes,
            Some(MayNotAnswer::OfOthers) => MayAnswer::OfOthers,
            Some(MayNotAnswer::Claimed(client)) => MayAnswer::Claimed(client),
        }
    }
}

impl From<Fate> for ToldFate {
    fn from(fate: Fate) -> ToldFate {
        match fate {
            Fate::Written => ToldFate::Written,
            Fate::LinkDown(state) => ToldFate::LinkDown(state.into()),
            Fate::Expired => ToldFate::Expired,
            Fate::OutboxFull => ToldFate::OutboxFull,
            Fate::TooLarge(max) => ToldFate::TooLarge(max),
            Fate::TooMany(most) => ToldFate::TooMany(most),
            Fate::RateLimited => ToldFate::RateLimited,
            Fate::Answered => ToldFate::Answered,
            Fate::NotAnswerer(may) => ToldFate::NotAnswerer(MayNotAnswer::of(may)),
            Fate::IdTaken => ToldFate::IdTaken,
            Fate::TooManyWait => ToldFate::TooManyWait,
            Fate::TooManyRequests(most) => ToldFate::TooManyRequests(most),
            Fate::Unfit(Unfit::Doubled) => ToldFate::UnfitDoubled,
            Fate::Unfit(Unfit::LongId) => ToldFate::UnfitLongId,
            Fate::Unfit(Unfit::List) => ToldFate::UnfitList,
            Fate::Unfit(Unfit::Answers) => ToldFate::UnfitAnswers,
            Fate::Unexpanded(Unexpanded::NoValue) => ToldFate::NoValue,
            Fate::Unexpanded(Unexpanded::Unfit) => ToldFate::ValueUnfit,
            // `queued` is told where the outbox is, and nowhere else
            Fate::Unknown | Fate::Queued => ToldFate::Unknown,
        }
    }
}

impl From<ToldFate> for Fate {
    fn from(fate: ToldFate) -> Fate {
        match fate {
            ToldFate::Written => Fate::Written,
            ToldFate::LinkDown(state) => Fate::LinkDown(state.into()),
            ToldFate::Expired => Fate::Expired,
            ToldFate::OutboxFull => Fate::OutboxFull,
            ToldFate::TooLarge(max) => Fate::TooLarge(max),
            ToldFate::TooMany(most) => Fate::TooMany(most),
            ToldFate::RateLimited => Fate::RateLimited,
            ToldFate::Answered => Fate::Answered,
            ToldFate::NotAnswerer(may) => Fate::NotAnswerer(MayNotAnswer::may(may)),
            ToldFate::IdTaken => Fate::IdTaken,
            ToldFate::TooManyWait => Fate::TooManyWait,
            ToldFate::TooManyRequests(most) => Fate::TooManyRequests(most),
            ToldFate::UnfitDoubled => Fate::Unfit(Unfit::Doubled),
            ToldFate::UnfitLongId => Fate::Unfit(Unfit::LongId),
            ToldFate::UnfitList => Fate::Unfit(Unfit::List),
            ToldFate::UnfitAnswers => Fate::Unfit(Unfit::Answers),
            ToldFate::NoValue => Fate::Unexpanded(Unexpanded::NoValue),
            ToldFate::ValueUnfit => Fate::Unexpanded(Unexpanded::Unfit),
            ToldFate::Unknown => Fate::Unknown,
        }
    }
}

impl From<NoAnswer> for ToldNothing {
    fn from(why: NoAnswer) -> ToldNothing {
        match why {
            NoAnswer::Fate(fate) => ToldNothing::Fate(fate.into()),
            NoAnswer::Timeout { written } => ToldNothing::Timeout { written },
            NoAnswer::Cancelled => ToldNothing::Cancelled,
            NoAnswer::Ended => ToldNothing::Ended,
            NoAnswer::Overrun => ToldNothing::Overrun,
            NoAnswer::Unsupported => ToldNothing::Unsupported,
            NoAnswer::NoPlace => ToldNothing::NoPlace,
            NoAnswer::Twice => ToldNothing::Twice,
            NoAnswer::TooMany => ToldNothing::TooMany,
        }
    }
}

impl From<ToldNothing> for NoAnswer {
    fn from(why: ToldNothing) -> NoAnswer {
        match why {
            ToldNothing::Fate(fate) => NoAnswer::Fate(fate.into()),
            ToldNothing::Timeout { written } => NoAnswer::Timeout { written },
            ToldNothing::Cancelled => NoAnswer::Cancelled,
            ToldNothing::Ended => NoAnswer::Ended,
            ToldNothing::Overrun => NoAnswer::Overrun,
            ToldNothing::Unsupported => NoAnswer::Unsupported,
            ToldNothing::NoPlace => NoAnswer::NoPlace,
            ToldNothing::Twice => NoAnswer::Twice,
            ToldNothing::TooMany => NoAnswer::TooMany,
        }
    }
}
