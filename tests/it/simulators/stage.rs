//! The stage on which a simulated server plays: a loopback port, HTTP by hand so that a server can
//! refuse an upgrade as the real one does, and a book of what it heard and what broke its rules.
//!
//! A simulator is an async function of its world (settings, sessions) and a [`Guest`]: one request.
//! It runs in a thread of its own, while the test blocks on the book.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
    task::spawn_local,
    time::timeout,
};

mod guest;
mod peer;
mod window;

pub use guest::Guest;
pub use peer::{Heard, Peer};
pub use window::Window;

use crate::common::DEADLINE;

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
    /// Read on and answer ping frames, but never say another word.
    Mute,
    /// Neither read nor write any more, and keep TCP open.
    Freeze,
    /// Something of the simulator's own, by name.
    Do(&'static str),
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
        let all =
            format!("events {:?}, violations {:?}, heard {:?}", book.events, book.violations, book.heard);
        // a panic must not poison it for the simulator
        drop(book);
        assert!(!waited.timed_out(), "waited in vain for {what}; {all}");
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
        let all = format!("events {:?}, violations {:?}", book.events, book.violations);
        drop(book);
        assert!(waited.timed_out(), "{what}; {all}");
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
