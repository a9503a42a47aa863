//! The stage on which a simulated server plays: a loopback port, HTTP by hand so that a server can
//! refuse an upgrade as the real one does, and a book of what it heard and what broke its rules.
//!
//! A simulator is an async function of its world (settings, sessions) and a [`Guest`]: one request.
//! It runs in a thread of its own, while the test blocks on the book.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
    task::spawn_local,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role},
    },
};

use crate::common::DEADLINE;

/// The longest request that is read, head and body together.
const MAX_REQUEST: usize = 64 << 10;

/// How long a guest may take for its request, and for its part of the closing handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// A simulated server at work, until it is dropped.
pub struct Stage {
    port: u16,
    book: Arc<Shelf>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What happened, in order.
#[derive(Default)]
pub struct Book {
    /// Each text or binary message that came from a guest.
    pub heard: Vec<Entry>,
    /// What the simulator noted: logins, heartbeats, closes; in words of its own.
    pub events: Vec<Entry>,
    /// What a guest did against the server's rules.
    pub violations: Vec<String>,
    /// WebSocket connections so far.
    pub connections: usize,
    /// How to reach those that are open, by their number.
    open: BTreeMap<usize, mpsc::Sender<Order>>,
}

/// A line of the book.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The number of the WebSocket connection, from 1.
    pub connection: usize,
    pub text: String,
}

/// What a test asks of the connection that is newest.
#[derive(Clone, Debug)]
pub enum Order {
    /// Send this text; a simulator may wrap it as its server would.
    Say(String),
    /// Close with this code and reason.
    Close(u16, &'static str),
    /// End TCP without a close frame.
    Drop,
    /// Read on, but never say another word.
    Mute,
    /// Something of the simulator's own, by name.
    Do(&'static str),
}

/// What a connection brings next.
#[derive(Debug)]
pub enum Heard {
    Text(String),
    Binary(Vec<u8>),
    /// A ping frame; its pong is sent already.
    Ping,
    Pong,
    /// The guest's close frame, with its code. The connection has ended.
    Close(Option<u16>),
    /// The connection ended without one.
    Gone,
    /// The deadline has passed.
    Late,
    /// A test's wish.
    Order(Order),
}

#[derive(Default)]
struct Shelf {
    book: Mutex<Book>,
    more: Condvar,
}

impl Stage {
    /// Opens a port, and answers each request on it by `act`.
    pub fn open<W, A>(world: W, act: A) -> Stage
    where
        W: Send + 'static,
        A: AsyncFn(Rc<W>, Guest) + Send + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let book = Arc::new(Shelf::default());
        let (end, ended) = oneshot::channel();
        let shelf = Arc::clone(&book);
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            runtime.unwrap().block_on(async move {
                let (world, act) = (Rc::new(world), Rc::new(act));
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    _ = ended => {}
                    () = serve(listener, shelf, world, act) => {}
                }
            });
        });
        Stage { port, book, end: Some(end), thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The `ws://` URL of a path, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("ws://127.0.0.1:{}{path}", self.port)
    }

    /// Waits until `look` finds something in the book.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut(&Book) -> Option<T>) -> T {
        let mut found = None;
        let (book, waited) = self
            .book
            .more
            .wait_timeout_while(self.book.lock(), DEADLINE, |book| {
                found = look(book);
                found.is_none()
            })
            .unwrap();
        assert!(
            !waited.timed_out(),
            "waited in vain for {what}; events {:?}, violations {:?}, heard {:?}",
            book.events,
            book.violations,
            book.heard
        );
        drop(book);
        found.unwrap()
    }

    /// Waits until `event` was noted `times` times in all, and returns the connection of the last.
    pub fn event(&self, event: &str, times: usize) -> usize {
        self.until(&format!("{event:?} × {times}"), |book| {
            book.events
                .iter()
                .filter(|entry| entry.text == event)
                .nth(times - 1)
                .map(|entry| entry.connection)
        })
    }

    /// How often `event` was noted so far.
    pub fn count(&self, event: &str) -> usize {
        self.book.lock().events.iter().filter(|entry| entry.text == event).count()
    }

    /// Waits for a message from a guest for which `wanted` holds.
    pub fn heard(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until(what, |book| book.heard.iter().map(Entry::json).find(|value| wanted(value)))
    }

    /// All that guests said so far; what isn't JSON is a string.
    pub fn all_heard(&self) -> Vec<Value> {
        self.book.lock().heard.iter().map(Entry::json).collect()
    }

    /// Gives an order to the newest open connection; waits until there is one.
    pub fn order(&self, order: Order) {
        let guest = self.until("an open connection", |book| {
            book.open.values().next_back().filter(|guest| !guest.is_closed()).cloned()
        });
        guest.try_send(order).expect("orders are few, and carried out");
    }

    /// Shows that `look` finds nothing in the book for so long.
    pub fn never_within(&self, time: Duration, what: &str, look: impl Fn(&Book) -> bool) {
        let (book, waited) =
            self.book.more.wait_timeout_while(self.book.lock(), time, |book| !look(book)).unwrap();
        assert!(waited.timed_out(), "{what}; events {:?}, violations {:?}", book.events, book.violations);
    }

    /// Waits until no connection is open.
    pub fn empty(&self) {
        self.until("the end of all connections", |book| book.open.is_empty().then_some(()));
    }

    /// What broke the rules so far.
    pub fn violations(&self) -> Vec<String> {
        self.book.lock().violations.clone()
    }

    /// Fails where any rule was broken.
    pub fn assert_no_violations(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "the server's rules were broken: {violations:#?}");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.end.take());
        let joined = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            joined.unwrap().expect("the simulator's thread ends well");
        }
    }
}

impl Entry {
    /// The text as JSON; as a JSON string where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| Value::from(self.text.as_str()))
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    fn write(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.lock());
        self.more.notify_all();
    }
}

async fn serve<W: 'static, A>(listener: TcpListener, shelf: Arc<Shelf>, world: Rc<W>, act: Rc<A>)
where
    A: AsyncFn(Rc<W>, Guest) + 'static,
{
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (world, act, shelf) = (Rc::clone(&world), Rc::clone(&act), Arc::clone(&shelf));
        spawn_local(async move {
            let mine = Arc::clone(&shelf);
            let task = spawn_local(async move {
                if let Ok(Some(guest)) = timeout(PATIENCE, Guest::read(stream, mine)).await {
                    act(world, guest).await;
                }
            });
            if let Err(panic) = task.await {
                shelf.write(|book| book.violations.push(format!("the simulator failed: {panic}")));
            }
        });
    }
}

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
    async fn read(mut stream: TcpStream, shelf: Arc<Shelf>) -> Option<Guest> {
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
        use base64::Engine;
        let text = self.header("authorization")?.strip_prefix("Basic ")?;
        let text = String::from_utf8(base64::prelude::BASE64_STANDARD.decode(text).ok()?).ok()?;
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
        Peer { number, pong: Vec::new(), socket, orders, shelf: self.shelf, mute: false }
    }
}

/// One WebSocket connection, on the server's side.
pub struct Peer {
    /// Its number, from 1.
    pub number: usize,
    /// What the newest pong carried.
    pub pong: Vec<u8>,
    socket: WebSocketStream<TcpStream>,
    orders: mpsc::Receiver<Order>,
    shelf: Arc<Shelf>,
    mute: bool,
}

impl Peer {
    /// Sends a text message, unless the connection is mute.
    pub async fn say(&mut self, text: impl ToString) {
        self.send(Message::text(text.to_string())).await;
    }

    /// Sends a ping frame without payload, unless the connection is mute.
    pub async fn ping(&mut self) {
        self.ping_with(&[]).await;
    }

    /// Sends a ping frame, unless the connection is mute. The pong must carry the same (RFC 6455, 5.5.3).
    pub async fn ping_with(&mut self, payload: &[u8]) {
        self.send(Message::Ping(payload.to_vec().into())).await;
    }

    async fn send(&mut self, message: Message) {
        if !self.mute {
            // where it fails, the next `hear` tells of the end
            let _ = timeout(PATIENCE, self.socket.send(message)).await;
        }
    }

    /// Waits for what comes next, at most until `deadline`. Messages are written into the book.
    /// After `Close` or `Gone` the connection must not be used.
    pub async fn hear(&mut self, deadline: Option<Instant>) -> Heard {
        let far = Instant::now() + Duration::from_secs(86_400);
        loop {
            let next = async {
                tokio::select! {
                    Some(order) = self.orders.recv() => Ok(order),
                    message = self.socket.next() => Err(message),
                }
            };
            let message = match timeout_at(deadline.unwrap_or(far), next).await {
                Err(_) => return Heard::Late,
                Ok(Ok(order)) => return Heard::Order(order),
                Ok(Err(message)) => message,
            };
            return match message {
                Some(Ok(Message::Text(text))) => {
                    self.record(text.as_str());
                    Heard::Text(text.as_str().to_owned())
                }
                Some(Ok(Message::Binary(bytes))) => {
                    self.record(&String::from_utf8_lossy(&bytes));
                    Heard::Binary(bytes.to_vec())
                }
                Some(Ok(Message::Ping(_))) => Heard::Ping,
                Some(Ok(Message::Pong(payload))) => {
                    self.pong = payload.to_vec();
                    Heard::Pong
                }
                Some(Ok(Message::Close(frame))) => {
                    let _ = timeout(PATIENCE, self.socket.close(None)).await;
                    Heard::Close(frame.map(|frame| frame.code.into()))
                }
                Some(Ok(Message::Frame(_))) => continue,
                Some(Err(_)) | None => Heard::Gone,
            };
        }
    }

    fn record(&self, text: &str) {
        let entry = Entry { connection: self.number, text: text.to_owned() };
        self.shelf.write(|book| book.heard.push(entry));
    }

    /// Carries out a test's order in the plain way. `false` means that the connection has ended.
    pub async fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Say(text) => self.say(text).await,
            Order::Close(code, reason) => {
                self.close(code, reason).await;
                return false;
            }
            Order::Drop => return false,
            Order::Mute => self.mute = true,
            Order::Do(what) => panic!("this simulator doesn't know {what:?}"),
        }
        true
    }

    /// Notes something in the book.
    pub fn event(&self, what: impl Into<String>) {
        let entry = Entry { connection: self.number, text: what.into() };
        self.shelf.write(|book| book.events.push(entry));
    }

    /// Records that the guest broke a rule.
    pub fn violation(&self, what: impl Into<String>) {
        let what = format!("connection {}: {}", self.number, what.into());
        self.shelf.write(|book| book.violations.push(what));
    }

    /// Closes as the real server does, and reads on until the guest has ended its side.
    pub async fn close(&mut self, code: u16, reason: &str) {
        self.event(format!("closed {code}"));
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        let _ = timeout(PATIENCE, async {
            let _ = self.socket.close(Some(frame)).await;
            while let Some(Ok(_)) = self.socket.next().await {}
        })
        .await;
    }

    /// Closes since the guest broke a rule, which is recorded.
    pub async fn refuse(&mut self, code: u16, reason: &str) {
        self.violation(format!("{code} {reason}"));
        self.close(code, reason).await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let number = self.number;
        self.shelf.write(|book| {
            book.open.remove(&number);
        });
    }
}

/// A bound on how many in how long: over the last `length`, never more than `most`.
pub struct Window {
    most: usize,
    length: Duration,
    taken: VecDeque<Instant>,
}

impl Window {
    pub fn new(most: usize, length: Duration) -> Window {
        Window { most, length, taken: VecDeque::new() }
    }

    /// Counts one more; whether it is still within the bound.
    pub fn take(&mut self) -> bool {
        let now = Instant::now();
        while self.taken.front().is_some_and(|first| now - *first >= self.length) {
            self.taken.pop_front();
        }
        self.taken.push_back(now);
        self.taken.len() <= self.most
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
