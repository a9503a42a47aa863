//! A WebSocket connection of a simulated server.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::CloseFrame},
};

use super::{Entry, Order, PATIENCE, Shelf};

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
    pub(super) fn new(
        number: usize,
        socket: WebSocketStream<TcpStream>,
        orders: mpsc::Receiver<Order>,
        shelf: Arc<Shelf>,
    ) -> Peer {
        Peer { number, pong: Vec::new(), socket, orders, shelf, mute: false }
    }

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
            // until the stage is taken down
            Order::Freeze => std::future::pending().await,
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
