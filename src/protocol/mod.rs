//! The local protocol, version 1: what stands on the lines between the daemon and its clients. Pure.
//!
//! Each line is one type, written and read by it: a [`Line`] from the daemon, a [`Request`] from a client. The daemon
//! reads requests strictly, so that a misspelt field is not passed over. What the daemon says is read leniently: a
//! newer one may have more fields, types and names, and an older one fewer fields, which are then empty.
//!
//! `docs/protocol.md` is the description. `docs/protocol.schema.json` is made of these types, by their tests.

mod answer;
pub mod cluster;
mod gap;
mod hello;
mod json;
mod line;
mod link;
mod message;
mod name;
mod public;
mod reply;
mod request;
#[cfg(test)]
mod schema;
mod snapshot;
pub mod status;
mod topic;
mod twice;

pub use answer::{Answer, answer_line};
pub use cluster::{Cluster, ClusterState, ClusterWhy};
pub use gap::{FailoverGap, Gap, UpstreamGap, Why};
pub use hello::{Hello, SERVER, VERSION};
#[cfg(feature = "fuzzing")]
pub(crate) use json::{Json, json};
pub use line::Line;
pub use link::{Ended, Link, LinkFields, LinkState};
pub use message::{Data, Encoder, Message, Room, SNAPSHOT_MARK, Sink, longest, mark_snapshot};
pub use name::{Name, Named};
pub use public::{Public, PublicValues};
pub use reply::{Bye, Code, Done, Farewell, Refusal, Success};
pub use request::{
    Attach, Bad, Content, MAX_ID, MAX_NAME, MAX_TIMEOUT_MS, MAX_UNIT, Op, Request, Since, parse,
};
pub use snapshot::SnapshotEnd;
pub use status::{Ledger, ReloadResult, Status};
pub use topic::{MAX_TOPIC, MessageTopic};
pub(crate) use twice::says_twice;
