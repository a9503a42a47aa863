//! From a URL to a byte stream: DNS, TCP and TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{net::TcpStream, time};

use super::{
    Metered, Wire, addresses,
    found::Found,
    proxy::Proxy,
    target::Target,
    tls,
    track::{ProxyStage, Stage, Track},
};
use crate::config;

/// After so long without an answer the next address is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// How to get to a server, beside its address.
#[derive(Clone)]
pub(in crate::upstream) struct Route {
    /// The proxy that it goes by; none: directly.
    pub(in crate::upstream) proxy: Option<Proxy>,
    /// Trust and client certificate, for a server with TLS.
    pub(in crate::upstream) tls: config::Tls,
}

/// Dials: names are resolved anew, and files read anew, each time.
pub(in crate::upstream) async fn dial(target: Target, route: Route, track: Track) -> Result<Wire, String> {
    // a file that can't be read is told without bothering the server
    let tls = if target.tls { Some(tls::client_config(route.tls).await?) } else { None };
    let (tcp, early) = match &route.proxy {
        Some(proxy) => through(proxy, &target, &track).await?,
        None => (directly(&target, &track).await?, Vec::new()),
    };
    let (metered, meter) = Metered::new(tcp, early);
    let Some(config) = tls else {
        return Ok(Wire { stream: Box::new(metered), meter });
    };
    track.begin(Stage::Tls);
    let stream = tls::handshake(config, &target.host, metered).await;
    let stream = stream.map_err(|error| match &route.proxy {
        // it may be its doing: some end TLS themselves, some end the connection
        Some(proxy) => format!("{error} (through {})", proxy.name()),
        None => error,
    })?;
    track.found(|| tls::found(stream.get_ref().1));
    Ok(Wire { stream: Box::new(stream), meter })
}

async fn directly(target: &Target, track: &Track) -> Result<TcpStream, String> {
    track.begin(Stage::Resolving);
    let addresses = resolve(&target.host, target.port).await;
    let addresses = addresses.map_err(|why| format!("can't resolve {}: {why}", target.host))?;
    track.found(|| resolved(&target.host, &addresses));
    track.begin(Stage::Connecting);
    race(addresses, track).await.map_err(|why| format!("can't connect to {}: {why}", target.address()))
}

/// A tunnel to the server, and what came through it already.
async fn through(proxy: &Proxy, target: &Target, track: &Track) -> Result<(TcpStream, Vec<u8>), String> {
    let name = proxy.name();
    track.begin(Stage::Proxy(name.clone(), ProxyStage::Resolving));
    let addresses = resolve(proxy.host(), proxy.port()).await;
    let addresses = addresses.map_err(|why| format!("{name} can't be resolved: {why}"))?;
    track.found(|| resolved(proxy.host(), &addresses));
    track.begin(Stage::Proxy(name.clone(), ProxyStage::Connecting));
    let tcp = race(addresses, track).await;
    let mut tcp = tcp.map_err(|why| format!("{name} can't be connected to: {why}"))?;
    track.begin(Stage::Proxy(name.clone(), ProxyStage::Tunnel));
    let early = proxy.tunnel(&mut tcp, target).await.map_err(|what| format!("{name} {what}"))?;
    track.found(|| Found::Tunnel { proxy: name });
    Ok((tcp, early))
}

/// The addresses of a host, in the order in which to try them. An error says why there is none.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses = addresses::interleave(found.map_err(|error| error.to_string())?);
    if addresses.is_empty() {
        return Err("it has no address".to_owned());
    }
    Ok(addresses)
}

/// Tries the addresses in order, the next one as soon as one has failed or 250 ms have passed. The
/// first connection wins; the other attempts are dropped. An error says why none was made.
async fn race(addresses: Vec<SocketAddr>, track: &Track) -> Result<TcpStream, String> {
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    let mut errors: Vec<(SocketAddr, io::Error)> = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            running.push(async move { (address, TcpStream::connect(address).await) });
        } else if running.is_empty() {
            return Err(summary(&errors));
        }
        // without another address to try there is nothing to do but wait
        let patience = if waiting.len() == 0 { Duration::MAX } else { STAGGER };
        match time::timeout(patience, running.next()).await {
            Ok(Some((address, Ok(stream)))) => {
                track.found(|| Found::Connected {
                    address,
                    failed: errors.iter().map(|(at, error)| (at.ip(), tls::explain(error))).collect(),
                });
                // a small message shouldn't wait for the answer to the one before (Nagle's
                // algorithm); where that can't be had, it is only slower
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Some((address, Err(error)))) => errors.push((address, error)),
            Ok(None) | Err(_) => {}
        }
    }
}

fn resolved(host: &str, addresses: &[SocketAddr]) -> Found {
    Found::Resolved { host: host.to_owned(), addresses: addresses.iter().map(SocketAddr::ip).collect() }
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
        let addresses = vec![mute_address, good.local_addr().unwrap()];
        let stream = time::timeout(PATIENCE, race(addresses, &Track::default()))
            .await
            .expect("nobody waits for the first");
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
