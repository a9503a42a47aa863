//! The opening handshake (RFC 6455, section 4.1).

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        error::SubProtocolError,
        handshake::client::{Request, Response, generate_key},
        http::{HeaderMap, HeaderName, HeaderValue, header},
    },
};

use super::{
    super::{failure::Answer, target::Target},
    *,
};
use crate::config::Secret;

/// What the request says beside what every upgrade says.
pub(in crate::upstream) struct Offer<'a> {
    pub(in crate::upstream) target: &'a Target,
    pub(in crate::upstream) headers: Vec<(&'a str, Secret)>,
    pub(in crate::upstream) subprotocols: &'a [String],
    pub(in crate::upstream) max_message: usize,
}

/// Turns a stream into a WebSocket connection. The subprotocol that the server chose comes with it.
pub(in crate::upstream) async fn upgrade(
    wire: Wire,
    offer: Offer<'_>,
) -> Result<(Box<Connection>, Option<String>), Failure> {
    let request = request(&offer).map_err(Failure::attempt)?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(offer.max_message))
        .max_frame_size(Some(offer.max_message))
        .max_write_buffer_size(WRITE_BUFFER_BYTES);
    let upgraded = client_async_with_config(request, wire.stream, Some(config)).await;
    let (ws, response) = upgraded.map_err(upgrade_failure)?;
    let subprotocol = check(&response).map_err(Failure::attempt)?;
    let connection = Connection::new(ws, wire.meter, offer.max_message);
    Ok((Box::new(connection), subprotocol))
}

fn request(offer: &Offer<'_>) -> Result<Request, String> {
    let bad_url = "upstream.url has a character in it that must be percent-encoded";
    let mut request = Request::new(());
    *request.uri_mut() = offer.target.uri().parse().map_err(|_| bad_url.to_owned())?;
    let headers = request.headers_mut();
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
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, plain_value(&generate_key())?);
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

/// What tungstenite leaves unchecked in the answer. Returns the subprotocol.
fn check(response: &Response) -> Result<Option<String>, String> {
    let headers = response.headers();
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err("the server chose a WebSocket extension that wasn't offered".to_owned());
    }
    if headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().count() > 1 {
        return Err("the server chose more than one subprotocol".to_owned());
    }
    Ok(text(headers, header::SEC_WEBSOCKET_PROTOCOL).map(str::to_owned))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn upgrade_failure(error: Error) -> Failure {
    let sentence = match error {
        Error::Http(response) => {
            let answer = Answer {
                status: response.status().as_u16(),
                location: text(response.headers(), header::LOCATION),
                retry_after: text(response.headers(), header::RETRY_AFTER),
            };
            return Failure::http(answer, SystemTime::now());
        }
        Error::Io(error) => format!("the connection broke during the upgrade: {}", tls::explain(&error)),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            "the server ended the connection instead of answering the upgrade request".to_owned()
        }
        Error::Protocol(ProtocolError::HttparseError(_)) => {
            "the server's answer isn't HTTP; check upstream.url, its port and ws:// against wss://".to_owned()
        }
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(error)) => match error {
            SubProtocolError::NoSubProtocol => {
                "the server chose none of upstream.subprotocols; check them, or leave them out".to_owned()
            }
            SubProtocolError::InvalidSubProtocol => {
                "the server chose a subprotocol that isn't one of upstream.subprotocols".to_owned()
            }
            SubProtocolError::ServerSentSubProtocolNoneRequested => {
                "the server chose a subprotocol, but none was offered; set upstream.subprotocols".to_owned()
            }
        },
        Error::AttackAttempt | Error::Capacity(_) => {
            "the server's answer to the upgrade request is too long".to_owned()
        }
        error => format!("the server's answer to the upgrade request is wrong: {error}"),
    };
    Failure::attempt(sentence)
}
