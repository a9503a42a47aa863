//! One attempt: everything from the configured URL to an open connection, in bounded time.

use std::{cell::Cell, rc::Rc};

use tokio::time;

use super::{
    dial::{Stage, Way},
    failure::Failure,
    proxy::Proxy,
    target::Target,
    websocket::{Connection, Offer, upgrade},
    wire::Wire,
};
use crate::config::{self, Surroundings, Template};

/// What an attempt comes to: a connection and the subprotocol that the server chose.
pub(super) type Outcome = Result<(Box<Connection>, Option<String>), Failure>;

/// How to get a byte stream to a server.
pub(super) trait Dial: AsyncFn(Target, Way, Rc<Cell<Stage>>) -> Result<Wire, String> + Clone {}

impl<D: AsyncFn(Target, Way, Rc<Cell<Stage>>) -> Result<Wire, String> + Clone> Dial for D {}

/// Attempts a connection to the URL at `index`, within `connect_timeout` for all of it.
pub(super) async fn attempt(upstream: config::Upstream, index: usize, dial: impl Dial) -> Outcome {
    let (shown, limit) = (upstream.display_url(index), upstream.connect_timeout);
    let stage = Rc::new(Cell::new(Stage::default()));
    match time::timeout(limit, connect(&upstream, index, dial, stage.clone())).await {
        // where there are several servers, the sentence says which one it was
        Ok(Err(failure)) if upstream.urls.len() > 1 => {
            let error = failure.error.map(|error| format!("{shown}: {error}"));
            Err(Failure { error, ..failure })
        }
        Ok(outcome) => outcome,
        Err(_) => {
            let what = stage.take().sentence();
            Err(Failure::attempt(format!("no connection to {shown} within {limit:?}: {what}")))
        }
    }
}

async fn connect(
    upstream: &config::Upstream,
    index: usize,
    dial: impl Dial,
    stage: Rc<Cell<Stage>>,
) -> Outcome {
    // read afresh each time: a token that was renewed is used by the next attempt
    let url = resolve(&upstream.urls[index], || "upstream.url".to_owned())?;
    let target = Target::parse(url.expose()).map_err(Failure::attempt)?;
    let mut headers = Vec::new();
    for (name, value) in &upstream.headers {
        headers.push((name.as_str(), resolve(value, || format!("upstream.headers.{name}"))?));
    }
    let proxy =
        Proxy::choose(&upstream.proxy, &target, &Surroundings::process()).map_err(Failure::attempt)?;
    let way = Way { proxy, tls: upstream.tls.clone() };
    let wire = dial(target.clone(), way, stage.clone()).await.map_err(Failure::attempt)?;
    stage.set(Stage::Upgrading);
    let (subprotocols, max_message) = (&upstream.subprotocols[..], upstream.max_message);
    let compression = upstream.compression;
    upgrade(wire, Offer { target: &target, headers, subprotocols, compression, max_message }).await
}

fn resolve(template: &Template, key: impl Fn() -> String) -> Result<config::Secret, Failure> {
    template.resolve().map_err(|error| Failure::attempt(format!("{}: {error}", key())))
}
