//! The demo's upstream: prices over a WebSocket, with a login, a heartbeat, and a fault now and then.

use std::{fs, io, path::PathBuf, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::{Instant, interval, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        self, Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::{StatusCode, header::AUTHORIZATION},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{PATIENCE, Scene};

/// Between two prices, on average.
const TICK: Duration = Duration::from_millis(250);
/// So many prices come at once, once: more than the kernel and a small log hold for who doesn't read.
pub(super) const BURST: u64 = 20_000;
/// Of these, so many without a pause.
pub(super) const SLICE: u64 = 250;
/// The server is no further ahead of the programs that keep up than this: a slow machine must not make
/// sleepers of them.
const AHEAD: u64 = 4 * SLICE;
/// How long the server behaves once each fault was seen.
const LONG_CALM: Duration = Duration::from_secs(20);

/// What the server did, for the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// It let a client in.
    Login,
    /// It answered 401: the token was wrong.
    Unauthorized,
    /// It answered 503.
    Refused,
    /// It cut the connection, without a close frame.
    Dropped,
    /// It closed with 1012, and has a new token.
    Restarted,
    /// It says nothing any more, and keeps the connection.
    Silent,
    /// It is about to send [`BURST`] prices at once.
    Burst,
}

/// The faults in their order, one for each attempt of the client.
pub(super) const FAULTS: [Act; 4] = [Act::Dropped, Act::Refused, Act::Restarted, Act::Silent];

type WebSocket = WebSocketStream<TcpStream>;

pub(super) struct Server {
    listener: TcpListener,
    port: u16,
    token_file: PathBuf,
    token: String,
    calm: Duration,
    /// How many faults there were.
    faults: usize,
    /// The burst has begun.
    burst: bool,
    prices: Prices,
    scenes: mpsc::Sender<Scene>,
    /// How many prices of the burst the programs have had that keep up, once they expect it.
    had: watch::Receiver<Option<u64>>,
}

impl Server {
    /// A server on a free port of the loopback interface, with its token in `token_file`.
    pub(super) async fn bind(
        token_file: PathBuf,
        calm: Duration,
        scenes: mpsc::Sender<Scene>,
        had: watch::Receiver<Option<u64>>,
    ) -> io::Result<Server> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (token, prices) = (String::new(), Prices::new());
        let mut server =
            Server { listener, port, token_file, token, calm, faults: 0, burst: false, prices, scenes, had };
        server.renew_token()?;
        Ok(server)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Serves one connection after the other, until it is dropped.
    pub(super) async fn run(mut self) {
        let mut waiting = None;
        loop {
            let stream = match waiting.take() {
                Some(stream) => stream,
                None => match self.listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(_) => {
                        sleep(TICK).await; // it may fail at once, again and again
                        continue;
                    }
                },
            };
            if let Some(socket) = self.upgrade(stream).await {
                waiting = self.serve(socket).await;
            }
        }
    }

    /// Lets the client in, or answers 401 or 503.
    #[expect(clippy::result_large_err, reason = "the type of the handshake's refusal is tungstenite's")]
    async fn upgrade(&mut self, stream: TcpStream) -> Option<WebSocket> {
        let (token, busy) = (format!("Bearer {}", self.token), self.fault() == Act::Refused);
        let mut act = Act::Login;
        let check = |request: &Request, response: Response| {
            let right = request
                .headers()
                .get(AUTHORIZATION)
                .is_some_and(|value| value.as_bytes() == token.as_bytes());
            let status = match (right, busy) {
                (false, _) => StatusCode::UNAUTHORIZED,
                (true, true) => StatusCode::SERVICE_UNAVAILABLE,
                (true, false) => return Ok(response),
            };
            act = if right { Act::Refused } else { Act::Unauthorized };
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = status;
            Err(refusal)
        };
        let upgraded = timeout(PATIENCE, accept_hdr_async(stream, check)).await;
        match (upgraded, act) {
            (Ok(Ok(socket)), _) => {
                self.tell(Act::Login).await;
                Some(socket)
            }
            (_, Act::Login) => None, // it went away, or isn't a WebSocket client
            (_, refused) => {
                if refused == Act::Refused {
                    self.faults += 1;
                }
                self.tell(refused).await;
                None
            }
        }
    }

    /// Sends prices until it is time for a fault. Gives the next connection, if that is what ended it.
    async fn serve(&mut self, mut socket: WebSocket) -> Option<TcpStream> {
        let calm = if self.faults < FAULTS.len() { self.calm } else { LONG_CALM };
        let mut fault_at = Instant::now() + calm;
        // between the first fault and the next, when there is something to be missed
        let is_over = self.had.borrow().is_some_and(|had| had >= BURST);
        let ahead = if self.burst { Duration::ZERO } else { calm / 2 };
        let mut burst_at = (self.faults > 0 && !is_over).then(|| Instant::now() + ahead);
        let mut tick = interval(TICK);
        loop {
            let message = tokio::select! {
                () = sleep_until(burst_at.unwrap_or(fault_at)), if burst_at.is_some() => {
                    burst_at = None;
                    if !self.burst(&mut socket).await {
                        return None;
                    }
                    fault_at = Instant::now() + calm;
                    continue;
                }
                () = sleep_until(fault_at) => break,
                _ = tick.tick() => self.prices.next(),
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => answer(&text),
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => return None,
                },
            };
            if !sent(socket.send(Message::text(message))).await {
                return None;
            }
        }
        let fault = self.fault();
        self.faults += 1;
        self.commit(fault, socket).await
    }

    /// Sends as many prices as it can, as fast as it can, or what is left of them if the connection broke
    /// in their midst. False when the connection is gone.
    async fn burst(&mut self, socket: &mut WebSocket) -> bool {
        if !std::mem::replace(&mut self.burst, true) {
            self.tell(Act::Burst).await;
        }
        let mut begun = self.had.borrow().unwrap_or_default();
        let mut given_up = Instant::now() + PATIENCE;
        loop {
            let needed = if begun < BURST { begun.saturating_sub(AHEAD) } else { BURST };
            tokio::select! {
                biased; // a heartbeat is answered at once: the burst may take longer than the daemon waits
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => {
                        if !sent(socket.send(Message::text(answer(&text)))).await {
                            return false;
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return false,
                },
                () = sleep_until(given_up) => return true,
                had = has_had(&mut self.had, needed) => {
                    if !had || begun >= BURST {
                        return true;
                    }
                    for _ in 0..SLICE {
                        if !sent(socket.feed(Message::text(self.prices.next()))).await {
                            return false;
                        }
                    }
                    if !sent(socket.flush()).await {
                        return false;
                    }
                    begun += SLICE;
                    given_up = Instant::now() + PATIENCE;
                }
            }
        }
    }

    async fn commit(&mut self, fault: Act, mut socket: WebSocket) -> Option<TcpStream> {
        match fault {
            Act::Restarted => {
                let _ = self.renew_token(); // with the old one in force the story goes on as well
                self.tell(fault).await;
                let frame = CloseFrame { code: CloseCode::Restart, reason: "restarting".into() };
                let farewell = async {
                    let _ = socket.close(Some(frame)).await;
                    while let Some(Ok(_)) = socket.next().await {}
                };
                let _ = timeout(PATIENCE, farewell).await;
                None
            }
            Act::Silent => {
                self.tell(fault).await;
                tokio::select! {
                    next = self.listener.accept() => next.ok().map(|(stream, _)| stream),
                    () = async { while let Some(Ok(_)) = socket.next().await {} } => None,
                }
            }
            _ => {
                self.tell(fault).await;
                None
            }
        }
    }

    /// The fault that comes next.
    fn fault(&self) -> Act {
        FAULTS[self.faults % FAULTS.len()]
    }

    /// A new token, in its file first, as a keeper of secrets would do it.
    fn renew_token(&mut self) -> io::Result<()> {
        let token = format!("{:032x}", fastrand::u128(..));
        let new = self.token_file.with_extension("new");
        fs::write(&new, format!("{token}\n"))?;
        fs::rename(&new, &self.token_file)?;
        self.token = token;
        Ok(())
    }

    async fn tell(&self, act: Act) {
        let _ = self.scenes.send(Scene::Act(act)).await; // nobody listens any more: the end is near
    }
}

/// Whether it could be sent in time.
async fn sent(sending: impl Future<Output = Result<(), tungstenite::Error>>) -> bool {
    matches!(timeout(PATIENCE, sending).await, Ok(Ok(())))
}

/// Waits until so many prices of the burst have come through. False when nobody counts them any more.
async fn has_had(had: &mut watch::Receiver<Option<u64>>, needed: u64) -> bool {
    had.wait_for(|had| had.is_some_and(|had| had >= needed)).await.is_ok()
}

/// The answer to a heartbeat, an order, or anything else.
fn answer(text: &str) -> String {
    let request: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let (id, size, all) = (&request["id"], &request["size"], serde_json::Value::from(text));
    match request["op"].as_str() {
        Some("ping") => r#"{"op":"pong"}"#.to_owned(),
        Some("order") => format!(r#"{{"type":"filled","order":{id},"size":{size}}}"#),
        _ => format!(r#"{{"type":"echo","of":{all}}}"#),
    }
}

/// Prices that wander.
struct Prices([(&'static str, u64); 3]);

impl Prices {
    fn new() -> Prices {
        Prices([("BTC-USD", 9_721_450), ("ETH-USD", 341_225), ("SOL-USD", 18_940)])
    }

    fn next(&mut self) -> String {
        let (symbol, cents) = &mut self.0[fastrand::usize(..3)];
        let step = *cents / 2000 + 1;
        *cents = (*cents + fastrand::u64(..=2 * step)).saturating_sub(step).clamp(100, 9_999_999);
        let (whole, part, size) = (*cents / 100, *cents % 100, fastrand::u32(1..2_000));
        format!(
            r#"{{"symbol":"{symbol}","price":"{whole}.{part:02}","size":"{}.{:03}"}}"#,
            size / 1_000,
            size % 1_000,
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::{
        client_async,
        tungstenite::{Error, client::IntoClientRequest as _, http::HeaderValue},
    };

    use super::*;

    #[test]
    fn every_price_is_json() {
        let mut prices = Prices::new();
        for _ in 0..1000 {
            let trade: serde_json::Value = serde_json::from_str(&prices.next()).unwrap();
            assert!(trade["price"].as_str().unwrap().parse::<f64>().unwrap() >= 1.0);
        }
    }

    #[test]
    fn answers() {
        assert_eq!(answer(r#"{"op":"ping"}"#), r#"{"op":"pong"}"#);
        assert!(answer(r#"{"op":"order","id":"a","size":2}"#).contains(r#""order":"a""#));
        assert!(answer("hello").contains("hello"));
    }

    async fn client(port: u16, token: &str) -> Result<WebSocket, Error> {
        let mut request = format!("ws://127.0.0.1:{port}/").into_client_request().unwrap();
        request
            .headers_mut()
            .insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap());
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        client_async(request, stream).await.map(|(socket, _)| socket)
    }

    fn status(result: Result<WebSocket, Error>) -> u16 {
        match result {
            Err(Error::Http(response)) => response.status().as_u16(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_login_and_each_fault() {
        let dir = tempfile::tempdir().unwrap();
        let token_file = dir.path().join("token");
        let token = || fs::read_to_string(&token_file).unwrap().trim().to_owned();
        let (scenes, mut heard) = mpsc::channel(64);
        let (keep_up, had) = watch::channel(Some(0));
        let server = Server::bind(token_file.clone(), Duration::from_millis(50), scenes, had).await.unwrap();
        let port = server.port();
        let server = tokio::spawn(server.run());
        let play = async {
            assert_eq!(status(client(port, "wrong").await), 401);
            let first = token();

            let mut socket = client(port, &first).await.unwrap();
            socket.send(Message::text(r#"{"op":"ping"}"#)).await.unwrap();
            let mut texts = Vec::new();
            while let Some(Ok(Message::Text(text))) = socket.next().await {
                texts.push(text.to_string());
            }
            assert!(texts.iter().any(|text| text == r#"{"op":"pong"}"#), "{texts:?}");
            assert!(texts.iter().any(|text| text.contains("price")), "{texts:?}");

            assert_eq!(status(client(port, &first).await), 503);

            let mut socket = client(port, &first).await.unwrap();
            let prices = |text: &str| u64::from(text.contains("price"));
            let mut had = 0;
            while had < BURST / 2 {
                had += prices(socket.next().await.unwrap().unwrap().to_text().unwrap());
                keep_up.send_replace(Some(had));
            }
            // a heartbeat is answered in the midst of the burst, and what is left of it comes afterwards
            socket.send(Message::text(r#"{"op":"ping"}"#)).await.unwrap();
            loop {
                let message = socket.next().await.unwrap().unwrap();
                had += prices(message.to_text().unwrap());
                if message == Message::text(r#"{"op":"pong"}"#) {
                    break;
                }
            }
            assert!(had < BURST, "{had} prices before the answer");
            drop(socket);

            let mut socket = client(port, &first).await.unwrap();
            let close = loop {
                match socket.next().await.unwrap().unwrap() {
                    Message::Close(frame) => break frame.unwrap(),
                    message => had += prices(message.to_text().unwrap()),
                }
                keep_up.send_replace(Some(had));
            };
            assert_eq!(u16::from(close.code), 1012);
            assert!(had >= BURST, "{had} prices");
            while let Some(Ok(_)) = socket.next().await {}
            assert_eq!(status(client(port, &first).await), 401);
            assert_ne!(token(), first);

            let mut silent = client(port, &token()).await.unwrap();
            while !matches!(heard.recv().await, Some(Scene::Act(Act::Silent))) {}
            silent.send(Message::text(r#"{"op":"ping"}"#)).await.unwrap();
            // a new connection is served although the silent one is still there
            client(port, &token()).await.unwrap();
        };
        timeout(PATIENCE, play).await.unwrap();
        server.abort();
    }
}
