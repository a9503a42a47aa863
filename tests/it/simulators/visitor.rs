//! A raw client, to show that a simulator refuses what the real server refuses.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;
use tokio_tungstenite::tungstenite::{
    self, Error, HandshakeError, Message, WebSocket,
    client::IntoClientRequest,
    http::{HeaderName, HeaderValue},
    protocol::CloseFrame,
};

use super::stage::Stage;
use crate::common::DEADLINE;

/// A WebSocket client that does as it is told, right or wrong.
pub struct Visitor {
    socket: WebSocket<TcpStream>,
    /// The server's choice.
    pub subprotocol: Option<String>,
}

impl Visitor {
    /// Connects to a path of the simulator.
    pub fn enter(stage: &Stage, path: &str) -> Visitor {
        Visitor::try_enter(stage, path, &[])
            .unwrap_or_else(|status| panic!("{path} was refused with {status}"))
    }

    /// The same with headers. The error is the HTTP status that came instead of an upgrade.
    pub fn try_enter(stage: &Stage, path: &str, headers: &[(&str, &str)]) -> Result<Visitor, u16> {
        let mut request = stage.url(path).into_client_request().unwrap();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        match tungstenite::client(request, dial(stage)) {
            Ok((socket, response)) => {
                let chosen = response.headers().get("sec-websocket-protocol");
                let subprotocol = chosen.map(|name| name.to_str().unwrap().to_owned());
                Ok(Visitor { socket, subprotocol })
            }
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Sends text as it is.
    pub fn say(&mut self, text: impl ToString) {
        self.socket.send(Message::text(text.to_string())).unwrap();
    }

    /// Sends a ping frame.
    pub fn ping(&mut self) {
        self.socket.send(Message::Ping(b"?".to_vec().into())).unwrap();
    }

    /// Sends a pong frame, asked for or not.
    pub fn pong(&mut self, payload: &[u8]) {
        self.socket.send(Message::Pong(payload.to_vec().into())).unwrap();
    }

    /// The next text message.
    pub fn text(&mut self) -> String {
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Close(frame) => panic!("closed with {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next text message, as JSON.
    pub fn json(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Reads messages on until one for which `wanted` holds.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let value = self.json();
            if wanted(&value) {
                return value;
            }
        }
    }

    /// The next frame of any kind.
    pub fn frame(&mut self) -> Message {
        self.socket.read().unwrap()
    }

    /// Closes with this code, and reads on until the server has ended its side.
    pub fn leave(&mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.socket.close(Some(frame)).unwrap();
        while self.socket.read().is_ok() {}
    }

    /// Reads on until the server has ended the connection: its close code and reason, 1005 for a close
    /// frame without a code, 1006 for an end without a close frame.
    pub fn closed(&mut self) -> (u16, String) {
        let mut said = (1006, String::new());
        loop {
            match self.socket.read() {
                Ok(Message::Close(Some(frame))) => {
                    said = (frame.code.into(), frame.reason.as_str().to_owned())
                }
                Ok(Message::Close(None)) => said = (1005, String::new()),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the server didn't close in time")
                }
                Err(_) => return said,
            }
        }
    }
}

/// A plain HTTP request; returns the status and the body. `headers` are whole lines, each with `\r\n`.
pub fn http(stage: &Stage, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = dial(stage);
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        stage.port(),
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn dial(stage: &Stage) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", stage.port())).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}
