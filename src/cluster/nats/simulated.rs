//! In tests: what stands in for a connection and the servers behind it, right below [`Nats`] and [`Arrivals`].

use std::task::{Context, Poll};

use super::{Arrival, Arrivals, Nats, State, connect as connect_really};
use crate::{
    cluster::machine::{AppendId, AskId, Message, ReadId},
    config::{Cluster, History},
};

/// The way to the servers. It is dropped when the node closes it, or dies.
pub(in crate::cluster) trait Way {
    fn append(&mut self, id: AppendId, expect: u64, message: &Message);
    fn ask(&mut self, id: AskId, from: u64);
    fn read(&mut self, id: ReadId, after: u64);
    fn stop_reading(&mut self);
    fn hear(&mut self, subject: &str);
    fn hear_no_more(&mut self, subject: &str);
    fn say(&mut self, subject: String, reply: Option<String>, payload: Vec<u8>);
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arrival>;
}

/// As [`connect`](super::connect), by the way that is made for who has this inbox.
pub(in crate::cluster) fn connect(
    cluster: &Cluster,
    make: impl FnOnce(&str) -> Box<dyn Way>,
) -> (Nats, Arrivals) {
    let (nats, arrivals) = connect_really(cluster, &History::default());
    let way = make(&nats.inbox());
    nats.0.borrow_mut().state = State::Simulated(way);
    (nats, arrivals)
}
