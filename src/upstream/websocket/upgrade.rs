//! The opening handshake (RFC 6455, section 4.1).

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use super::{
    codec::deflate::{self, Agreed},
    *,
};
use crate::{
    config::{Compression, Secret},
    upstream::{
        failure::HttpAnswer,
        secrets::redactor::Redactor,
        wire::{found::Found, target::Target, track::Track},
    },
};

/// The head of the answer, at most, with those of interim answers before it.
const MAX_HEAD: usize = 64 << 10;
/// Its headers, at most.
const MAX_HEADERS: usize = 128;

/// What the request says beside what every upgrade says.
pub(in crate::upstream) struct Offer<'a> {
    pub(in crate::upstream) target: &'a Target,
    pub(in crate::upstream) headers: Vec<(&'a str, Secret)>,
    pub(in crate::upstream) subprotocols: &'a [String],
    pub(in crate::upstream) compression: Option<Compression>,
    pub(in crate::upstream) max_message: usize,
    /// What the server may repeat of it is hidden by this.
    pub(in crate::upstream) redactor: &'a Redactor,
}

/// Turns a stream into a WebSocket connection. The subprotocol that the server chose comes with it.
pub(in crate::upstream) async fn upgrade(
    mut wire: Wire,
    offer: Offer<'_>,
    track: &Track,
) -> Result<(Box<Connection>, Option<String>), Failure> {
    let key = generate_key();
    let request = request(&offer, &key).map_err(Failure::attempt)?;
    let broke = |error: io::Error| {
        let why = tls::explain(&error);
        Failure::attempt(format!("the connection broke during the upgrade: {why}"))
    };
    wire.stream.write_all(&request).await.map_err(broke)?;
    wire.stream.flush().await.map_err(broke)?;
    let (mut received, mut start) = (Vec::new(), 0);
    let head = loop {
        match Head::parse(&received[start..]).map_err(Failure::attempt)? {
            Some((head, length)) => {
                start += length;
                if head.is_final() {
                    break head;
                }
                continue;
            }
            None if received.len() > MAX_HEAD => {
                return Err(Failure::attempt("the server's answer to the upgrade request is too long"));
            }
            None => {}
        }
        if wire.stream.read_buf(&mut received).await.map_err(broke)? == 0 {
            return Err(Failure::attempt(
                "the server ended the connection instead of answering the upgrade request",
            ));
        }
    };
    if head.status != 101 {
        // before it is cut to fit a sentence, which may leave half of a secret
        let location = text(&head.headers, header::LOCATION).map(|text| offer.redactor.redact(text));
        let answer = HttpAnswer {
            status: head.status,
            location: location.as_deref(),
            retry_after: text(&head.headers, header::RETRY_AFTER),
        };
        return Err(Failure::http(answer, SystemTime::now()));
    }
    let (subprotocol, agreed) = head.check(&offer, &key).map_err(Failure::attempt)?;
    track.found(|| Found::Upgraded {
        status: head.status,
        subprotocol: subprotocol.clone(),
        extensions: text(&head.headers, header::SEC_WEBSOCKET_EXTENSIONS).map(str::to_owned),
    });
    let inflater = agreed.map(|agreed| agreed.inflater());
    let deflater = agreed.and_then(|agreed| agreed.deflater());
    let inbound = Inbound::new(&received[start..], offer.max_message, inflater);
    Ok((Box::new(Connection::new(wire, inbound, deflater, offer.max_message)), subprotocol))
}

/// The request's bytes.
fn request(offer: &Offer<'_>, key: &str) -> Result<Vec<u8>, String> {
    let bad_url = "upstream.url has a character in it that must be percent-encoded";
    let path: http::uri::PathAndQuery = offer.target.path.parse().map_err(|_| bad_url.to_owned())?;
    let mut headers = HeaderMap::new();
    for (name, secret) in &offer.headers {
        let (name, value) = configured_header(name, secret)?;
        headers.append(name, value);
    }
    if let (Some(userinfo), false) = (&offer.target.userinfo, headers.contains_key(header::AUTHORIZATION)) {
        headers.insert(header::AUTHORIZATION, secret_value(&format!("Basic {}", BASE64.encode(userinfo)))?);
    }
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, plain_value(&offer.target.host_header())?);
    }
    let mut offered: Vec<&str> = Vec::new();
    for subprotocol in offer.subprotocols {
        if !offered.contains(&subprotocol.as_str()) {
            offered.push(subprotocol);
        }
    }
    if !offered.is_empty() {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, plain_value(&offered.join(", "))?);
    }
    if let Some(wanted) = &offer.compression {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, plain_value(&deflate::offer(wanted))?);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, plain_value(key)?);
    let mut request = format!("GET {path} HTTP/1.1\r\n").into_bytes();
    // Host first (RFC 9110, 7.2)
    let host = headers.remove(header::HOST).map(|value| (header::HOST, value));
    let rest = headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    for (name, value) in host.into_iter().chain(rest) {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    Ok(request)
}

fn configured_header(name: &str, secret: &Secret) -> Result<(HeaderName, HeaderValue), String> {
    let bad = |what| format!("upstream.headers: {what} of {name:?} is not valid in HTTP");
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("the name"))?;
    Ok((header, secret_value(secret.expose()).map_err(|_| bad("the value"))?))
}

fn secret_value(text: &str) -> Result<HeaderValue, String> {
    let mut value = plain_value(text)?;
    value.set_sensitive(true);
    Ok(value)
}

fn plain_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| "a header's value is not valid in HTTP".to_owned())
}

/// The head of the server's answer.
pub(super) struct Head {
    status: u16,
    headers: HeaderMap,
}

impl Head {
    /// Reads the head and how long it is, if it is there whole.
    pub(super) fn parse(received: &[u8]) -> Result<Option<(Head, usize)>, String> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(received) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => {
                return Err("the server's answer to the upgrade request is too long".to_owned());
            }
            Err(_) => {
                return Err(
                    "the server's answer isn't HTTP; check upstream.url, its port and ws:// against wss://"
                        .to_owned(),
                );
            }
        };
        let mut headers = HeaderMap::new();
        for field in response.headers {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
                headers.append(name, value);
            }
        }
        Ok(Some((Head { status: response.code.unwrap_or_default(), headers }, length)))
    }

    /// Whether this is the answer, and not one that others may come before (RFC 9110, 15.2).
    fn is_final(&self) -> bool {
        self.status == 101 || !(100..200).contains(&self.status)
    }

    /// Checks that a WebSocket begins here (RFC 6455, 4.1), and what was chosen of the offer.
    pub(super) fn check(
        &self,
        offer: &Offer<'_>,
        key: &str,
    ) -> Result<(Option<String>, Option<Agreed>), String> {
        let wrong = |what| Err(format!("the server's answer to the upgrade request is wrong: {what}"));
        if !lists(&self.headers, header::UPGRADE, "websocket") {
            return wrong("it has no \"Upgrade: websocket\"");
        }
        if !lists(&self.headers, header::CONNECTION, "upgrade") {
            return wrong("it has no \"Connection: Upgrade\"");
        }
        if text(&self.headers, header::SEC_WEBSOCKET_ACCEPT) != Some(&derive_accept_key(key.as_bytes())) {
            return wrong("its Sec-WebSocket-Accept doesn't answer our key");
        }
        let chosen =
            self.only(header::SEC_WEBSOCKET_PROTOCOL, "the server chose more than one subprotocol")?;
        let offered = offer.subprotocols;
        let subprotocol = match chosen {
            None if offered.is_empty() => None,
            None => {
                return Err("the server chose none of upstream.subprotocols; check them, or leave them out"
                    .to_owned());
            }
            Some(_) if offered.is_empty() => {
                return Err(
                    "the server chose a subprotocol, but none was offered; set upstream.subprotocols"
                        .to_owned(),
                );
            }
            Some(chosen) if !offered.iter().any(|offered| offered == chosen) => {
                return Err(
                    "the server chose a subprotocol that isn't one of upstream.subprotocols".to_owned()
                );
            }
            Some(chosen) => Some(chosen.to_owned()),
        };
        let extensions = "the server chose a WebSocket extension that wasn't offered";
        let agreed = match (self.only(header::SEC_WEBSOCKET_EXTENSIONS, extensions)?, &offer.compression) {
            (None | Some(""), _) => None,
            (Some(answer), Some(wanted)) => Some(deflate::agree(wanted, answer)?),
            (Some(_), None) => return Err(extensions.to_owned()),
        };
        Ok((subprotocol, agreed))
    }

    /// The value of a header that may come once.
    fn only(&self, name: HeaderName, twice: &str) -> Result<Option<&str>, String> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next();
        if values.next().is_some() {
            return Err(twice.to_owned());
        }
        first.map(|value| value.to_str().map_err(|_| twice.to_owned())).transpose()
    }
}

/// Whether a header, a list in one or several lines, has this word in it (RFC 9110, 5.6.1).
fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    /// The answer to [`KEY`] (RFC 6455, 1.3).
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    fn check(head: &str, subprotocols: &[&str], compression: bool) -> Result<Option<String>, String> {
        let target = Target::parse("ws://h/").unwrap();
        let subprotocols: Vec<String> = subprotocols.iter().map(|&name| name.to_owned()).collect();
        let offer = Offer {
            target: &target,
            headers: Vec::new(),
            subprotocols: &subprotocols,
            compression: compression.then(Compression::default),
            max_message: 1 << 20,
            redactor: &Redactor::default(),
        };
        let head = format!("HTTP/1.1 101 Switching Protocols\r\n{head}\r\n");
        let (head, length) = Head::parse(head.as_bytes())?.expect("a whole head");
        assert!(length > 0 && head.status == 101);
        head.check(&offer, KEY).map(|(subprotocol, _)| subprotocol)
    }

    #[test]
    fn proper_answers_are_taken() {
        let plain = format!("Upgrade: websocket\r\nConnection: Upgrade\r\n{ACCEPT}");
        assert_eq!(check(&plain, &[], false), Ok(None));
        let listed = format!("upgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n{ACCEPT}");
        assert_eq!(check(&listed, &[], false), Ok(None));
        let chosen = format!("{plain}Sec-WebSocket-Protocol: b\r\n");
        assert_eq!(check(&chosen, &["a", "b"], false), Ok(Some("b".to_owned())));
        let deflate = format!("{plain}Sec-WebSocket-Extensions: permessage-deflate\r\n");
        assert_eq!(check(&deflate, &[], true), Ok(None));
    }

    #[test]
    fn what_is_wrong_with_an_answer_is_said() {
        let plain = format!("Upgrade: websocket\r\nConnection: Upgrade\r\n{ACCEPT}");
        let protocol = |name: &str| format!("{plain}Sec-WebSocket-Protocol: {name}\r\n");
        let deflate = format!("{plain}Sec-WebSocket-Extensions: permessage-deflate\r\n");
        for (head, subprotocols, words) in [
            (format!("Connection: Upgrade\r\n{ACCEPT}"), &[][..], "no \"Upgrade: websocket\""),
            (format!("Upgrade: websocket\r\n{ACCEPT}"), &[], "no \"Connection: Upgrade\""),
            (format!("Upgrade: h2c\r\nConnection: Upgrade\r\n{ACCEPT}"), &[], "no \"Upgrade: websocket\""),
            ("Upgrade: websocket\r\nConnection: Upgrade\r\n".to_owned(), &[], "Sec-WebSocket-Accept"),
            (plain.replace("s3pP", "S3pP"), &[], "Sec-WebSocket-Accept"),
            (plain.clone(), &["a"], "chose none of"),
            (protocol("a"), &[], "none was offered"),
            (protocol("A"), &["a"], "isn't one of"),
            (protocol("a\r\nSec-WebSocket-Protocol: b"), &["a", "b"], "more than one"),
            (deflate, &[], "an extension that wasn't offered"),
        ] {
            let error = check(&head, subprotocols, false).unwrap_err();
            assert!(error.contains(&words.replace("an extension", "a WebSocket extension")), "{error}");
        }
    }

    /// Upgrades with a server that says `before`, and then that it agrees and a first message.
    async fn upgraded(before: String) -> Result<Box<Connection>, Failure> {
        let (near, mut far) = tokio::io::duplex(4096);
        let target = Target::parse("ws://h/").unwrap();
        let offer = Offer {
            target: &target,
            headers: vec![],
            subprotocols: &[],
            compression: None,
            max_message: 100,
            redactor: &Redactor::default(),
        };
        let wire = Wire { stream: Box::new(near), meter: Rc::default() };
        let server = async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(far.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            let key = request.split_once("sec-websocket-key: ").unwrap().1.split_once("\r\n").unwrap().0;
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "{before}HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n\u{1}\u{0}"
            );
            let _ = far.write_all(answer.as_bytes()).await;
        };
        let track = Track::default();
        let (outcome, ()) = tokio::join!(upgrade(wire, offer, &track), server);
        outcome.map(|(connection, _)| connection)
    }

    #[tokio::test(flavor = "local")]
    async fn interim_answers_are_passed_over_but_not_for_ever() {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
        for count in [0, 1, 3, 500] {
            assert!(upgraded(early.repeat(count)).await.is_ok(), "{count} interim answers");
        }
        let error = upgraded(early.repeat(2_000)).await.err().expect("that is too long");
        assert!(format!("{error:?}").contains("too long"), "{error:?}");
    }

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        assert!(Head::parse(b"HTTP/1.1 101 x\r\nA: b\r\n").unwrap().is_none());
        let (head, length) =
            Head::parse(b"HTTP/1.0 503 busy\r\nRetry-After: 5\r\n\r\nbody").unwrap().unwrap();
        assert_eq!((head.status, length), (503, 37));
        assert_eq!(text(&head.headers, header::RETRY_AFTER), Some("5"));
        assert!(Head::parse(b"\x15\x03\x01\x00\x02").is_err());
    }
}
