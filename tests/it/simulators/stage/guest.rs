//! A request to a simulated server.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::{Entry, PATIENCE, Peer, Shelf};

/// The longest request that is read, head and body together.
const MAX_REQUEST: usize = 64 << 10;

/// One HTTP request, which may ask for an upgrade.
pub struct Guest {
    pub method: String,
    /// The path, without the query.
    pub path: String,
    query: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    stream: TcpStream,
    shelf: Arc<Shelf>,
}

impl Guest {
    /// Reads a request; `None` where it makes no sense or ends too early.
    pub(super) async fn read(mut stream: TcpStream, shelf: Arc<Shelf>) -> Option<Guest> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
            if head.len() > MAX_REQUEST {
                return None;
            }
        }
        let head = String::from_utf8(head).ok()?;
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or("0", |(_, value)| value.as_str());
        let mut body = vec![0; length.parse::<usize>().ok().filter(|length| *length <= MAX_REQUEST)?];
        stream.read_exact(&mut body).await.ok()?;
        let (path, query) = (path.to_owned(), query.to_owned());
        Some(Guest { method, path, query, headers, body, stream, shelf })
    }

    /// A header's value; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A value of the URL's query, with its percent-escapes decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| unescape(value))
        })
    }

    /// The user and password of HTTP basic authentication (RFC 7617).
    pub fn basic(&self) -> Option<(String, String)> {
        let text = self.header("authorization")?.strip_prefix("Basic ")?;
        let text = String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()?;
        text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    pub fn subprotocols(&self) -> Vec<&str> {
        self.header("sec-websocket-protocol").unwrap_or("").split(',').map(str::trim).collect()
    }

    pub fn wants_upgrade(&self) -> bool {
        self.header("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
            && self.header("sec-websocket-key").is_some()
    }

    /// Records that this request broke a rule.
    pub fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        self.shelf.write(|book| book.violations.push(what));
    }

    /// Notes something about this request, under connection 0.
    pub fn event(&self, what: impl Into<String>) {
        let text = what.into();
        self.shelf.write(|book| book.events.push(Entry { connection: 0, text }));
    }

    /// Answers with plain HTTP and closes. `headers` are whole lines, each with `\r\n`.
    pub async fn answer(mut self, status: u16, headers: &str, body: &str) {
        let text = format!(
            "HTTP/1.1 {status} Answer\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        // a guest that has gone needs no answer
        let _ = self.stream.write_all(text.as_bytes()).await;
        let _ = self.stream.shutdown().await;
        let _ = timeout(PATIENCE, self.stream.read(&mut [0; 64])).await;
    }

    /// Upgrades to WebSocket, with the subprotocol if one is chosen.
    pub async fn upgrade(mut self, subprotocol: Option<&str>) -> Peer {
        let accept = derive_accept_key(self.header("sec-websocket-key").unwrap_or("").as_bytes());
        let chosen = subprotocol.map_or(String::new(), |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        let text = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{chosen}\r\n"
        );
        let _ = self.stream.write_all(text.as_bytes()).await;
        let (sender, orders) = mpsc::channel(64);
        let mut number = 0;
        self.shelf.write(|book| {
            book.connections += 1;
            number = book.connections;
            book.open.insert(number, sender);
        });
        let socket = WebSocketStream::from_raw_socket(self.stream, Role::Server, None).await;
        Peer::new(number, socket, orders, self.shelf)
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: String = rest.by_ref().take(2).map(char::from).collect();
            bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
        } else {
            bytes.push(if byte == b'+' { b' ' } else { byte });
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
