//! A tunnel through an HTTP proxy: CONNECT (RFC 9110, 9.3.6).

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Login, broke};
use crate::upstream::{
    failure::{clean, http_name},
    wire::target::Target,
};

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// The most header lines of an answer.
const MAX_HEADERS: usize = 100;

/// Asks for a tunnel to `target`. What follows the answer's head in the same read came from there, and is
/// returned: at most 1 KiB.
///
/// # Errors
/// The end of a sentence that begins with the proxy; `place` is where its URL is set.
pub(super) async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    target: &Target,
    login: Option<&Login>,
    place: &str,
) -> Result<Vec<u8>, String> {
    stream.write_all(request(target, login).as_bytes()).await.map_err(|error| broke(&error))?;
    let mut head = Vec::new();
    loop {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await.map_err(|error| broke(&error))?;
        if read == 0 {
            return Err("ended the connection instead of answering".to_owned());
        }
        head.extend_from_slice(&chunk[..read]);
        while let Some((length, answer)) = parse(&head, place)? {
            head.drain(..length);
            match answer.status {
                100..=199 => {} // not yet the answer
                200..=299 => return Ok(head),
                _ => return Err(refusal(&answer, target, login.is_some(), place)),
            }
        }
        if head.len() > MAX_HEAD {
            return Err(too_long());
        }
    }
}

fn request(target: &Target, login: Option<&Login>) -> String {
    let address = target.address();
    let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n");
    if let Some((user, password)) = login {
        // RFC 7617
        let both = [&user[..], b":", &password[..]].concat();
        request += &format!("Proxy-Authorization: Basic {}\r\n", BASE64.encode(both));
    }
    request + "\r\n"
}

/// What counts in an answer.
struct ConnectAnswer {
    status: u16,
    /// The ways to log in that it names, as it writes them.
    schemes: Vec<String>,
}

/// The first answer and the length of its head; none while it isn't whole.
fn parse(head: &[u8], place: &str) -> Result<Option<(usize, ConnectAnswer)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head) {
        Ok(httparse::Status::Complete(length)) => {
            let asks = |header: &&httparse::Header<'_>| {
                let name = header.name.to_ascii_lowercase();
                name == "proxy-authenticate" || name == "www-authenticate"
            };
            let schemes = response.headers.iter().filter(asks).flat_map(|header| schemes(header.value));
            Ok(Some((
                length,
                ConnectAnswer { status: response.code.unwrap_or(0), schemes: schemes.collect() },
            )))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(too_long()),
        Err(_) => Err(format!("doesn't answer in HTTP; check the scheme and the port in {place}")),
    }
}

/// The schemes of a header that asks for a login (RFC 9110, 11.6.1 and 11.7.1): each begins a challenge; what
/// has a `=` in it is a parameter of the one before.
fn schemes(value: &[u8]) -> Vec<String> {
    let value = String::from_utf8_lossy(value);
    let is_scheme = |word: &&str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let words = value.split(',').filter_map(|challenge| challenge.split_whitespace().next());
    words.filter(is_scheme).take(5).map(clean).collect()
}

fn too_long() -> String {
    format!("answers with more than {} KiB of headers", MAX_HEAD >> 10)
}

/// Why there is no tunnel, and what to do.
fn refusal(answer: &ConnectAnswer, target: &Target, logged_in: bool, place: &str) -> String {
    let status = answer.status;
    let (to, name) = (target.address(), http_name(status));
    let basic = answer.schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
    let why = match status {
        300..=399 => "points elsewhere, which isn't followed".to_owned(),
        400 | 404 | 405 | 501 => {
            return format!(
                "doesn't open a tunnel to {to} ({status}{name}): check that {place} is an HTTP proxy that \
                 takes CONNECT"
            );
        }
        403 => {
            return format!(
                "refuses a tunnel to {to} ({status}{name}): have the server and its port allowed there; \
                 many proxies allow port 443 alone, which is wss://"
            );
        }
        // some answer a wrong password with 401
        401 | 407 if !basic && !answer.schemes.is_empty() => {
            return format!(
                "wants a login by {} ({status}{name}), but wsfan can log in to a proxy by Basic alone",
                answer.schemes.join(" or ")
            );
        }
        401 | 407 if logged_in => {
            return format!(
                "refuses the user name or the password ({status}{name}): correct them in {place}"
            );
        }
        401 | 407 => {
            return format!(
                "wants a user name and a password ({status}{name}): write them into {place}, as \
                 http://USER:PASSWORD@HOST:PORT"
            );
        }
        500 | 502..=504 => format!("could not reach {to}"),
        _ => format!("refuses a tunnel to {to}"),
    };
    format!("{why} ({status}{name})")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    fn login() -> Login {
        ("me@home".into(), "p:w".into())
    }

    /// Asks for a tunnel to `h:443`, with a proxy that does `server`. Returns all that comes through the
    /// tunnel, and the request.
    async fn ask(
        login: Option<Login>,
        server: impl AsyncFnOnce(DuplexStream) -> Option<DuplexStream>,
    ) -> (Result<Vec<u8>, String>, String) {
        let (mut near, mut far) = duplex(64 << 10);
        let target = Target::parse("wss://u:SECRET@h/path?q").unwrap();
        let proxy = async {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(far.read_u8().await.unwrap());
            }
            let held = server(far).await;
            (held, String::from_utf8(request).unwrap())
        };
        let (outcome, (held, request)) =
            tokio::join!(tunnel(&mut near, &target, login.as_ref(), "upstream.proxy"), proxy);
        drop(held);
        let Ok(mut came) = outcome else { return (outcome, request) };
        near.read_to_end(&mut came).await.unwrap();
        (Ok(came), request)
    }

    /// The outcome for an answer, whole or byte by byte. The proxy ends the connection after it.
    async fn answered(login: Option<Login>, answer: &[u8], slowly: bool) -> Result<Vec<u8>, String> {
        let server = async |mut far: DuplexStream| {
            let size = if slowly { 1 } else { answer.len().max(1) };
            for piece in answer.chunks(size) {
                if far.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            None
        };
        ask(login, server).await.0
    }

    #[tokio::test(flavor = "local")]
    async fn the_request_names_the_server_and_logs_in() {
        let answer = async |mut far: DuplexStream| {
            far.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            Some(far)
        };
        let (outcome, request) = ask(None, answer).await;
        assert_eq!(outcome, Ok(vec![]));
        assert_eq!(request, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n");
        let (outcome, request) = ask(Some(login()), answer).await;
        assert_eq!(outcome, Ok(vec![]));
        assert_eq!(
            request,
            "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nProxy-Authorization: Basic bWVAaG9tZTpwOnc=\r\n\r\n"
        );
    }

    #[tokio::test(flavor = "local")]
    async fn what_follows_the_head_is_kept() {
        for (answer, kept) in [
            ("HTTP/1.1 200 OK\r\n\r\nhello", "hello"),
            ("HTTP/1.0 200\r\nContent-Length: 3\r\n\r\nhello", "hello"),
            ("HTTP/1.1 204 No Content\nA: b\n\nx", "x"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nVia: x\r\n\r\nhello", "hello"),
        ] {
            for slowly in [false, true] {
                assert_eq!(answered(None, answer.as_bytes(), slowly).await, Ok(kept.into()), "{answer:?}");
            }
        }
    }

    #[tokio::test(flavor = "local")]
    async fn each_refusal_says_what_to_do() {
        let table = [
            ("302 Found\r\nLocation: http://login/", false, "points elsewhere"),
            ("400 Bad Request", false, "takes CONNECT"),
            ("403 Forbidden", false, "refuses a tunnel to h:443 (403 Forbidden): have the server"),
            ("405 Method Not Allowed", false, "takes CONNECT"),
            ("407 x\r\nProxy-Authenticate: Basic realm=\"a, b\"", false, "http://USER:PASSWORD@HOST:PORT"),
            ("407 x", false, "write them into upstream.proxy"),
            (
                "407 x\r\nproxy-authenticate: basic realm=x",
                true,
                "refuses the user name or the password (407",
            ),
            ("407 x\r\nProxy-Authenticate: NTLM, Negotiate", true, "by NTLM or Negotiate (407"),
            (
                "407 x\r\nProxy-Authenticate: Digest realm=\"x, \\\"y\", qop=\"auth\"",
                false,
                "by Digest (407 Proxy Authentication Required), but",
            ),
            (
                "407 x\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Basic realm=x",
                true,
                "refuses the user",
            ),
            ("401 Unauthorized", true, "refuses the user name or the password (401 Unauthorized)"),
            ("401 x\r\nWWW-Authenticate: Negotiate", false, "wants a login by Negotiate (401"),
            ("429 Slow", false, "refuses a tunnel to h:443 (429 Too Many Requests)"),
            ("500 Unable to connect", false, "could not reach h:443 (500 Internal Server Error)"),
            ("503 Service Unavailable", false, "could not reach h:443 (503"),
        ];
        for (answer, logged_in, words) in table {
            let answer = format!("HTTP/1.1 {answer}\r\n\r\n<html>");
            for slowly in [false, true] {
                let login = logged_in.then(login);
                let error = answered(login, answer.as_bytes(), slowly).await.unwrap_err();
                assert!(error.contains(words) && !error.contains("p:w"), "{answer:?}: {error}");
            }
        }
    }

    #[tokio::test(flavor = "local")]
    async fn what_is_no_answer_is_told() {
        let lines = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(MAX_HEADERS + 1));
        let line = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(MAX_HEAD));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
        for (answer, words) in [
            ("", "ended the connection instead of answering"),
            ("HTTP/1.1 200 OK\r\n", "ended the connection instead of answering"),
            ("SSH-2.0-x\r\n", "doesn't answer in HTTP; check the scheme and the port in upstream.proxy"),
            ("\x05\x00", "doesn't answer in HTTP"),
            ("HTTP/2 200\r\n\r\n", "doesn't answer in HTTP"),
            (&lines, "more than 16 KiB of headers"),
            (&line, "more than 16 KiB of headers"),
            (&interim, "ended the connection"),
        ] {
            for slowly in [false, true] {
                let error = answered(None, answer.as_bytes(), slowly).await.unwrap_err();
                assert!(error.contains(words), "{answer:?}: {error}");
            }
        }
    }

    #[tokio::test(flavor = "local")]
    async fn an_endless_answer_is_cut_off() {
        let server = async |mut far: DuplexStream| {
            let mut written = 0;
            far.write_all(b"HTTP/1.1 200 OK\r\nA: ").await.unwrap();
            while far.write_all(&[b'b'; 1024]).await.is_ok() {
                written += 1024;
                // more fits into the pipe than may be read
                if written > MAX_HEAD + 2048 {
                    return Some(far);
                }
            }
            None
        };
        let (outcome, _) = ask(None, server).await;
        assert_eq!(outcome, Err(too_long()));
    }

    proptest! {
        #[test]
        fn no_answer_panics_or_passes_for_another(status in 0_u16..=999, rest in prop::collection::vec(any::<u8>(), 0..60)) {
            let answer = [format!("HTTP/1.1 {status:03} x\r\n").as_bytes(), &rest[..], b"\r\n\r\n"].concat();
            if let Ok(Some((length, answer_read))) = parse(&answer, "upstream.proxy") {
                prop_assert_eq!(answer_read.status, status);
                prop_assert!(length <= answer.len());
            }
            let _ = parse(&rest, "upstream.proxy");
            let _ = schemes(&rest);
        }
    }
}
