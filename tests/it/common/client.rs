use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Instant,
};

use serde_json::{Value, json};

use super::{DEADLINE, schema};

/// A local program.
pub struct Client {
    reader: BufReader<UnixStream>,
    /// The `hello` line.
    pub hello: Value,
    next_id: u64,
}

impl Client {
    /// Connects and reads `hello`.
    pub fn attach(socket: &Path) -> Client {
        let mut client = Client::connect(socket);
        client.hello = client.line();
        assert_eq!(client.hello["type"], "hello", "{}", client.hello);
        client
    }

    /// Connects and reads nothing.
    pub fn connect(socket: &Path) -> Client {
        Client::on(UnixStream::connect(socket).unwrap())
    }

    /// Takes a connection, and reads nothing.
    pub fn on(stream: UnixStream) -> Client {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Client { reader: BufReader::new(stream), hello: Value::Null, next_id: 1 }
    }

    pub fn stream(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    /// The next line, as it came.
    pub fn text(&mut self) -> String {
        let mut line = String::new();
        let length = self.reader.read_line(&mut line).expect("a line in time");
        assert!(length > 0, "the daemon closed the connection");
        line
    }

    /// The next line.
    pub fn line(&mut self) -> Value {
        read(&self.text())
    }

    /// Reads until a line for which `wanted` holds.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.line();
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Reads until the link is in `state`.
    pub fn link(&mut self, state: &str) -> Value {
        self.until(|line| line["type"] == "link" && line["state"] == state)
    }

    /// Reads the next message, past other lines.
    pub fn message(&mut self) -> Value {
        self.until(|line| line["type"] == "message")
    }

    /// All lines up to the end of the connection.
    pub fn rest(mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match self.reader.read_line(&mut line) {
                Ok(0) => return lines,
                Ok(_) => lines.push(read(&line)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return lines,
                Err(error) => panic!("{error} after {lines:?}"),
            }
        }
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    /// Writes an op, with an id of its own, and returns the id.
    pub fn ask(&mut self, mut op: Value) -> Value {
        let id = json!(self.next_id);
        self.next_id += 1;
        op["id"] = id.clone();
        self.write(format!("{op}\n").as_bytes());
        id
    }

    /// Writes an op and returns the first line that answers it, past others.
    pub fn request(&mut self, op: Value) -> Value {
        let id = self.ask(op);
        self.until(|line| line["id"] == id)
    }

    /// The daemon's status.
    pub fn status(&mut self) -> Value {
        self.request(json!({"op": "status"}))
    }

    /// Waits until the link is up.
    pub fn until_up(&mut self) {
        if self.hello["link"] != "up" {
            self.link("up");
        }
    }

    /// Asks for the status until there are so many clients.
    pub fn until_clients(&mut self, count: usize) {
        let end = Instant::now() + DEADLINE;
        loop {
            let status = self.status();
            assert_balanced(&status);
            let clients = status["clients"].as_array().unwrap();
            if clients.len() == count {
                return;
            }
            assert!(Instant::now() < end, "not {count}, but {clients:?}");
        }
    }
}

/// Every client's ledger balances.
pub fn assert_balanced(status: &Value) {
    for client in status["clients"].as_array().unwrap() {
        let of = |name: &str| client["ledger"][name].as_u64().unwrap();
        assert_eq!(of("entries"), of("delivered") + of("lost") + of("passed") + of("ahead"), "{client}");
    }
}

/// A line of the daemon's; each is held against the schema.
fn read(line: &str) -> Value {
    let value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    schema::assert_line(&value);
    value
}
