//! From a URL to a byte stream: DNS, TCP and TLS.

use std::{
    cell::Cell,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{net::TcpStream, time};

use super::{
    addresses,
    target::Target,
    tls,
    wire::{Metered, Wire},
};
use crate::config;

/// After so long without an answer the next address is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// How far an attempt has come, for the sentence when its time runs out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Stage {
    #[default]
    Preparing,
    Resolving,
    Connecting,
    Tls,
    Upgrading,
}

impl Stage {
    /// What didn't happen in time.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Stage::Preparing => "its secrets and commands weren't there",
            Stage::Resolving => "its name was not resolved",
            Stage::Connecting => "it didn't accept a TCP connection",
            Stage::Tls => "the TLS handshake wasn't finished",
            Stage::Upgrading => "it didn't answer the upgrade request",
        }
    }
}

/// Dials: names are resolved anew, and files read anew, each time.
pub(super) async fn dial(target: Target, tls: config::Tls, stage: Rc<Cell<Stage>>) -> Result<Wire, String> {
    // a file that can't be read is told without bothering the server
    let tls = if target.tls { Some(tls::client_config(tls).await?) } else { None };
    stage.set(Stage::Resolving);
    let addresses = resolve(&target).await?;
    stage.set(Stage::Connecting);
    let tcp = race(&target, addresses).await?;
    // a small message shouldn't wait for the answer to the one before (Nagle's algorithm); where
    // that can't be had, it is only slower
    let _ = tcp.set_nodelay(true);
    let (metered, meter) = Metered::new(tcp);
    let Some(config) = tls else {
        return Ok(Wire { stream: Box::new(metered), meter });
    };
    stage.set(Stage::Tls);
    let stream = tls::handshake(config, &target.host, metered).await?;
    Ok(Wire { stream: Box::new(stream), meter })
}

async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = target.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, target.port)]);
    }
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let addresses =
        addresses::interleave(found.map_err(|error| format!("can't resolve {}: {error}", target.host))?);
    if addresses.is_empty() {
        return Err(format!("can't resolve {}: it has no address", target.host));
    }
    Ok(addresses)
}

/// Tries the addresses in order, the next one as soon as one has failed or 250 ms have passed. The
/// first connection wins; the other attempts are dropped.
async fn race(target: &Target, addresses: Vec<SocketAddr>) -> Result<TcpStream, String> {
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    let mut errors = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            running.push(async move { (address, TcpStream::connect(address).await) });
        } else if running.is_empty() {
            return Err(format!("can't connect to {}: {}", target.address(), summary(&errors)));
        }
        // without another address to try there is nothing to do but wait
        let patience = if waiting.len() == 0 { Duration::MAX } else { STAGGER };
        match time::timeout(patience, running.next()).await {
            Ok(Some((_, Ok(stream)))) => return Ok(stream),
            Ok(Some((address, Err(error)))) => errors.push((address, error)),
            Ok(None) | Err(_) => {}
        }
    }
}

/// All errors in one sentence, the same ones together.
fn summary(errors: &[(SocketAddr, io::Error)]) -> String {
    let mut grouped: Vec<(String, Vec<String>)> = Vec::new();
    for (address, error) in errors {
        let (ip, why) = (address.ip().to_string(), tls::explain(error));
        match grouped.iter_mut().find(|(known, _)| *known == why) {
            Some((_, ips)) => ips.push(ip),
            None => grouped.push((why, vec![ip])),
        }
    }
    let parts: Vec<_> = grouped.iter().map(|(why, ips)| format!("{why} ({})", ips.join(", "))).collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test(flavor = "local")]
    async fn an_address_that_says_nothing_gives_way_after_a_moment() {
        // a listener whose queue is full doesn't answer: it neither accepts nor refuses
        let mute = TcpSocket::new_v4().unwrap();
        mute.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mute = mute.listen(1).unwrap();
        let mute_address = mute.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) =
            time::timeout(Duration::from_millis(200), TcpStream::connect(mute_address)).await
        {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue never fills");
        }
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::parse("ws://test/").unwrap();
        let addresses = vec![mute_address, good.local_addr().unwrap()];
        let stream =
            time::timeout(PATIENCE, race(&target, addresses)).await.expect("nobody waits for the first");
        assert_eq!(stream.unwrap().peer_addr().unwrap(), good.local_addr().unwrap());
    }

    #[test]
    fn errors_are_summed_up_in_one_sentence() {
        let error = |kind| io::Error::from(kind);
        let address = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 80);
        let errors = [
            (address("::1"), error(io::ErrorKind::ConnectionRefused)),
            (address("10.0.0.1"), error(io::ErrorKind::HostUnreachable)),
            (address("127.0.0.1"), error(io::ErrorKind::ConnectionRefused)),
        ];
        assert_eq!(summary(&errors), "connection refused (::1, 127.0.0.1); no route to the host (10.0.0.1)");
    }
}
