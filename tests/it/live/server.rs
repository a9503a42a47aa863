//! A server for one connection, in a thread of its own.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{self, WebSocket};

use super::DEADLINE;

/// A server, and what its one connection came to.
pub(crate) struct Server<T> {
    pub(crate) port: u16,
    outcome: mpsc::Receiver<T>,
}

impl<T> Server<T> {
    /// Waits for the end of the connection.
    pub(crate) fn ended(&self) -> T {
        self.outcome.recv_timeout(DEADLINE).expect("the server's connection ends")
    }
}

/// How long a certificate is still good for.
#[derive(Clone, Copy)]
pub(crate) struct Days(pub(crate) i64);

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Plays a WebSocket server for one connection.
pub(crate) fn serve<T: Send + 'static>(
    play: impl FnOnce(&mut WebSocket<TcpStream>) -> T + Send + 'static,
) -> Server<T> {
    listen(|stream| play(&mut tungstenite::accept(stream).unwrap()))
}

/// The same behind TLS. A handshake that fails is for the client to tell.
pub(crate) fn serve_tls<T: Send + 'static>(
    config: Arc<ServerConfig>,
    play: impl FnOnce(&mut WebSocket<Tls>) -> T + Send + 'static,
) -> Server<T> {
    listen(move |stream| {
        let stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        match tungstenite::accept(stream) {
            Ok(mut socket) => play(&mut socket),
            Err(_) => panic!("the client ended the handshake"),
        }
    })
}

/// Opens a tunnel as a proxy does, and plays a WebSocket server at its other end.
pub(crate) fn tunnel<T: Send + 'static>(
    play: impl FnOnce(&mut WebSocket<TcpStream>) -> T + Send + 'static,
) -> Server<T> {
    listen(|mut stream| {
        respond(&mut stream, "HTTP/1.1 200 Established\r\n\r\n");
        play(&mut tungstenite::accept(stream).unwrap())
    })
}

/// Answers a request with these bytes, and ends the connection.
pub(crate) fn answer(response: &str) -> Server<()> {
    let response = response.to_owned();
    listen(move |mut stream| respond(&mut stream, &response))
}

/// Takes a connection, and returns how many bytes came over it.
pub(crate) fn listening() -> Server<usize> {
    listen(|mut stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map_or(0, |_| bytes.len())
    })
}

fn respond(stream: &mut TcpStream, response: &str) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the request was cut short");
        request.extend(&buffer[..length]);
    }
    stream.write_all(response.as_bytes()).unwrap();
}

fn listen<T: Send + 'static>(play: impl FnOnce(TcpStream) -> T + Send + 'static) -> Server<T> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, outcome) = mpsc::channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let _ = sender.send(play(stream));
    });
    Server { port, outcome }
}

/// An authority and a place for its file.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    files: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "wsfan's tests");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("ca.pem"), certificate.pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), files }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.files.path().join("ca.pem")
    }

    /// A server's side for names with commas between, whose certificate ends in so many days.
    pub(crate) fn acceptor(&self, names: &str, days: Days) -> Arc<ServerConfig> {
        const DAY: u64 = 86_400;
        let now = SystemTime::now();
        let at = |days: i64| match u64::try_from(days) {
            Ok(days) => now + Duration::from_secs(days * DAY),
            Err(_) => now - Duration::from_secs(days.unsigned_abs() * DAY),
        };
        let mut params =
            CertificateParams::new(names.split(',').map(str::to_owned).collect::<Vec<_>>()).unwrap();
        params.not_before = at(-100).into();
        params.not_after = at(days.0).into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }
}
