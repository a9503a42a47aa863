//! A link with its hub, and servers that behave as told. Each wait is for an event, with a deadline.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    rc::Rc,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wsfan::{
    config::{self, Format, Template},
    hub::{Ahead, Command, Cursor, Fate, Hub, Payload, Permit, Reader, Send, Ticket},
    upstream::{self, Exit, Legacy, Settings},
};

use crate::common::schema;

/// No wait is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `event`, but not for ever.
pub(crate) async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Settings for fast tests: short delays, no heartbeat.
pub(crate) fn settings(urls: &[&str]) -> Settings {
    let upstream = config::Upstream {
        // whatever the environment of the tests says
        proxy: config::Proxy::Off,
        ..config::Upstream::new(urls.iter().map(|url| Template::literal(url)).collect())
    };
    Settings {
        heartbeat: config::Heartbeat { kind: config::HeartbeatKind::Off, ..config::Heartbeat::default() },
        reconnect: config::Reconnect {
            initial_delay: Duration::from_millis(20),
            max_delay: Duration::from_millis(100),
            ..config::Reconnect::default()
        },
        close_timeout: Duration::from_secs(2),
        ..Settings::of(upstream)
    }
}

/// A running link, and a reader of everything it puts into the log.
pub(crate) struct Rig {
    pub(crate) hub: Hub,
    pub(crate) settings: watch::Sender<Settings>,
    link: JoinHandle<Exit>,
    reader: Reader,
    cursor: Cursor,
    lines: VecDeque<Value>,
}

impl Rig {
    pub(crate) fn start(settings: Settings) -> Rig {
        let history = config::History { max_bytes: 256 << 20, ..config::History::default() };
        let hub = Hub::new("test".into(), &history, false);
        let (publisher, commands) = hub.publisher().expect("there is no other link");
        let reader = hub.reader();
        reader.offered(u64::MAX, u64::MAX); // no link waits for it
        let (sender, receiver) = watch::channel(settings);
        let link = upstream::run(publisher, commands, receiver, Legacy::default());
        Rig {
            link: tokio::task::spawn_local(link),
            hub,
            reader,
            settings: sender,
            cursor: Cursor::new(Format::Envelope, 0),
            lines: VecDeque::new(),
        }
    }

    /// The next line of the log.
    pub(crate) async fn line(&mut self) -> Value {
        within("a line", async {
            loop {
                if let Some(line) = self.lines.pop_front() {
                    return line;
                }
                if !self.read() {
                    self.reader.published().await;
                }
            }
        })
        .await
    }

    /// The next line of the link with this state.
    pub(crate) async fn state(&mut self, state: &str) -> Value {
        loop {
            let line = self.line().await;
            if line["type"] == "link" && line["state"] == state {
                return line;
            }
        }
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            let line = self.line().await;
            if line["type"] == "message" {
                return line;
            }
        }
    }

    pub(crate) async fn command(&self, command: Command) {
        assert!(self.hub.command(command).await, "the link is gone");
    }

    /// Sends a text, and returns where its fates are told.
    pub(crate) async fn send(&self, text: impl Into<String>) -> Fates {
        let fates = Fates::default();
        let told = fates.clone();
        let ticket = Ticket::new(Permit::free(), move |fate| told.push(fate));
        self.command(Command::Send(Send::new(Payload::Text(text.into()), ticket, 0))).await;
        fates
    }

    /// Stops the link and returns how it ended.
    pub(crate) async fn stop(self) -> Exit {
        self.hub.command(Command::Stop).await;
        self.ended().await
    }

    /// Waits for the link to end by itself.
    pub(crate) async fn ended(self) -> Exit {
        within("the link's end", self.link).await.expect("the link doesn't panic")
    }

    fn read(&mut self) -> bool {
        let mut bytes = Vec::new();
        self.reader.with_log(|log| {
            loop {
                let written = match self.cursor.ahead(log) {
                    Ahead::Bytes(ahead) => {
                        bytes.extend_from_slice(&ahead);
                        ahead.len()
                    }
                    Ahead::Nothing => return,
                    Ahead::Lost => panic!("the log is too small for this test"),
                    Ahead::ToPick { .. } => panic!("it gets everything"),
                };
                self.cursor.wrote(log, written);
            }
        });
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        self.lines.extend(lines.map(|line| {
            let line = serde_json::from_slice::<Value>(line).expect("a line is JSON");
            schema::assert_line(&line);
            line
        }));
        !bytes.is_empty()
    }
}

/// What was told of a send.
#[derive(Clone, Default)]
pub(crate) struct Fates {
    told: Rc<RefCell<VecDeque<Fate>>>,
    news: Rc<Notify>,
}

impl Fates {
    fn push(&self, fate: Fate) {
        self.told.borrow_mut().push_back(fate);
        self.news.notify_one();
    }

    /// The next fate.
    pub(crate) async fn next(&self) -> Fate {
        within("a fate", async {
            loop {
                let fate = self.told.borrow_mut().pop_front();
                match fate {
                    Some(fate) => return fate,
                    None => self.news.notified().await,
                }
            }
        })
        .await
    }
}

/// A listener on loopback that counts its connections.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) accepted: Cell<usize>,
}

impl Server {
    pub(crate) async fn bind() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
        Server { listener, accepted: Cell::new(0) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("a bound socket has an address").port()
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/", self.port())
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        let (stream, _) = within("a connection", self.listener.accept()).await.expect("accept works");
        self.accepted.set(self.accepted.get() + 1);
        stream
    }

    /// Accepts a connection, reads the upgrade request and answers it with `answer`.
    pub(crate) async fn http(&self, answer: &str) -> TcpStream {
        let mut stream = self.tcp().await;
        read_request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.expect("the answer can be written");
        stream
    }

    /// Accepts a connection and upgrades it; frames are the test's own business.
    pub(crate) async fn raw(&self) -> TcpStream {
        upgrade(self.tcp().await, "").await.0
    }
}

/// Answers an upgrade request, with `extra` header lines. Returns the request too.
pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, extra: &str) -> (S, String) {
    let request = read_request(&mut stream).await;
    let key = header(&request, "sec-websocket-key").expect("the request has a key");
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extra}\r\n"
    );
    stream.write_all(answer.as_bytes()).await.expect("the answer can be written");
    (stream, request)
}

pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(within("the request", stream.read_u8()).await.expect("a whole request comes"));
    }
    String::from_utf8(request).expect("the request is text")
}

/// The value of a header in a request.
pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A frame from a server: unmasked, final unless `first` says otherwise.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(length as u8),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// Reads one masked frame from the client: its first byte and its payload. `None` at the end.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    within("a frame", async {
        let first = stream.read_u8().await.ok()?;
        let second = stream.read_u8().await.ok()?;
        assert!(second & 0x80 != 0, "a client masks its frames (RFC 6455, 5.1)");
        let length = match second & 0x7f {
            126 => u64::from(stream.read_u16().await.ok()?),
            127 => stream.read_u64().await.ok()?,
            short => u64::from(short),
        };
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await.ok()?;
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.ok()?;
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
        Some((first, payload))
    })
    .await
}

/// The code in a close frame's payload.
pub(crate) fn close_code(payload: &[u8]) -> u16 {
    u16::from_be_bytes([payload[0], payload[1]])
}
