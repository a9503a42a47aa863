//! One file for each section: its type, and how it is read.

pub(super) mod capture;
pub(super) mod command;
pub(super) mod compression;
pub(super) mod heartbeat;
pub(super) mod history;
pub(super) mod hosts;
pub(super) mod limits;
pub(super) mod listener;
pub(super) mod logging;
pub(super) mod memory;
pub(super) mod outbox;
pub(super) mod proxy;
pub(super) mod reconnect;
pub(super) mod reject;
pub(super) mod reply;
pub(super) mod rights;
pub(super) mod rotate;
pub(super) mod rule;
pub(super) mod script;
pub(super) mod sequence;
pub(super) mod shutdown;
pub(super) mod subscriptions;
pub(super) mod terms;
pub(super) mod tls;
pub(super) mod upstream;
pub(super) mod vars;
