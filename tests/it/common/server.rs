use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tokio_tungstenite::tungstenite::{self, Message, WebSocket, handshake::server::Request};

use super::DEADLINE;

/// A WebSocket server under the test's hand, on the loopback.
pub struct Server {
    port: u16,
    accepted: mpsc::Receiver<TcpStream>,
}

/// A connection to it.
pub struct Connection {
    pub socket: WebSocket<TcpStream>,
    /// The path that was asked for.
    pub path: String,
    /// The request's headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Server {
    pub fn bind() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, accepted) = mpsc::channel();
        // ends with the process; a test's server is small
        thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| sender.send(stream)));
        Server { port, accepted }
    }

    /// `[upstream]` with this server's URL, and short delays so that tests are quick.
    pub fn config(&self) -> String {
        format!(
            "[upstream]\nurl = \"ws://127.0.0.1:{}/stream\"\n[reconnect]\ninitial_delay = \"20ms\"\nmax_delay = \"50ms\"\n",
            self.port
        )
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next TCP connection.
    pub fn accept_tcp(&self) -> TcpStream {
        let stream = self.accepted.recv_timeout(DEADLINE).expect("a connection in time");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Whether anyone connects within `time`.
    pub fn is_called_within(&self, time: Duration) -> bool {
        self.accepted.recv_timeout(time).is_ok()
    }

    /// The next connection, through its handshake.
    #[allow(clippy::result_large_err, reason = "the callback's type is given")]
    pub fn accept(&self) -> Connection {
        let (mut path, mut headers) = (String::new(), Vec::new());
        let socket = tungstenite::accept_hdr(self.accept_tcp(), |request: &Request, response| {
            path = request.uri().to_string();
            headers.extend(request.headers().iter().map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            }));
            Ok(response)
        })
        .unwrap();
        Connection { socket, path, headers }
    }

    /// Answers the next request with `response`, byte for byte, and closes.
    pub fn answer(&self, response: &str) {
        let mut stream = self.accept_tcp();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the request was cut short");
            request.extend(&buffer[..length]);
        }
        stream.write_all(response.as_bytes()).unwrap();
    }
}

impl Connection {
    pub fn text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// The next text or binary message; pings are answered on the way.
    pub fn message(&mut self) -> Message {
        loop {
            match self.socket.read().unwrap() {
                message @ (Message::Text(_) | Message::Binary(_)) => return message,
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Reads on until the other side has closed, and returns its close code.
    pub fn closed(&mut self) -> Option<u16> {
        let end = Instant::now() + DEADLINE;
        let mut code = None;
        while Instant::now() < end {
            match self.socket.read() {
                Ok(Message::Close(frame)) => code = frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return code,
            }
        }
        panic!("not closed in time");
    }

    /// Ends the connection without a word of the WebSocket protocol.
    pub fn drop_tcp(self) {
        let _ = self.socket.get_ref().shutdown(std::net::Shutdown::Both);
    }
}
