//! A tunnel through a SOCKS5 proxy (RFC 1928), with user name and password (RFC 1929).

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Login, broke};
use crate::upstream::wire::target::Target;

const VERSION: u8 = 5;
/// The methods of logging in (RFC 1928, section 3).
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;

/// Asks for a tunnel to `target`, whose name the proxy resolves. No byte is read beyond its answer.
///
/// # Errors
/// The end of a sentence that begins with the proxy; `place` is where its URL is set.
pub(super) async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    target: &Target,
    login: Option<&Login>,
    place: &str,
) -> Result<(), String> {
    // what can't be asked for is told without bothering the proxy
    let request = request(target)?;
    let password = login.map(|login| password(login, place)).transpose()?;
    let methods: &[u8] = if login.is_some() { &[NO_LOGIN, PASSWORD] } else { &[NO_LOGIN] };
    say(stream, &[&[VERSION, methods.len() as u8], methods].concat()).await?;
    match (hear(stream).await?, password) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, PASSWORD], Some(password)) => {
            say(stream, &password).await?;
            // the first byte is a version that servers don't agree on
            let [_, status] = hear(stream).await?;
            if status != 0 {
                return Err(format!("refuses the user name or the password: correct them in {place}"));
            }
        }
        ([VERSION, NO_METHOD | PASSWORD], None) => {
            return Err(format!(
                "wants a login: write a user name and a password into {place}, as \
                 socks5://USER:PASSWORD@HOST:PORT"
            ));
        }
        ([VERSION, _], _) => {
            return Err("wants a login of another kind than by user name and password, \
                        which wsfan doesn't know"
                .to_owned());
        }
        ([b'H', _], _) => return Err(format!("speaks HTTP, not SOCKS5: write http:// in {place}")),
        _ => return Err(no_socks(place)),
    }
    say(stream, &request).await?;
    let [version, reply, _, kind] = hear(stream).await?;
    match (version, reply, kind) {
        (VERSION, 0, 1) => hear::<6, _>(stream).await.map(drop),
        (VERSION, 0, 4) => hear::<18, _>(stream).await.map(drop),
        (VERSION, 0, 3) => {
            let [length] = hear(stream).await?;
            let mut name_and_port = vec![0; usize::from(length) + 2];
            stream.read_exact(&mut name_and_port).await.map_err(|error| broke(&error))?;
            Ok(())
        }
        (VERSION, 1.., _) => Err(refusal(reply, target)),
        _ => Err(no_socks(place)),
    }
}

/// CONNECT (section 4).
fn request(target: &Target) -> Result<Vec<u8>, String> {
    let mut request = vec![VERSION, 1, 0];
    match target.host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        Err(_) => {
            request.push(3);
            counted(&mut request, target.host.as_bytes())
                .ok_or("can't be asked: the host name in upstream.url is longer than 255 bytes")?;
        }
    }
    request.extend(target.port.to_be_bytes());
    Ok(request)
}

/// The request of RFC 1929.
fn password((user, password): &Login, place: &str) -> Result<Vec<u8>, String> {
    let mut request = vec![1];
    let fits = counted(&mut request, user).and_then(|()| counted(&mut request, password));
    fits.map(|()| request).ok_or_else(|| {
        format!("can't be logged in to: the user name or the password in {place} is longer than 255 bytes")
    })
}

/// Appends text after its length, which must fit into a byte.
fn counted(to: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    to.push(u8::try_from(text.len()).ok()?);
    to.extend(text);
    Some(())
}

/// What a reply means (section 6).
fn refusal(reply: u8, target: &Target) -> String {
    let to = target.address();
    match reply {
        1 => format!("could not open a tunnel to {to} (SOCKS reply 1, general failure)"),
        2 => format!("refuses a tunnel to {to} (SOCKS reply 2): have the server and its port allowed there"),
        3 => format!("has no network that leads to {to} (SOCKS reply 3)"),
        4 => format!("could not reach or resolve {to} (SOCKS reply 4)"),
        5 => format!("could not reach {to}: connection refused (SOCKS reply 5)"),
        6 => format!("could not reach {to} in time (SOCKS reply 6, TTL expired)"),
        7 => "doesn't open tunnels (SOCKS reply 7, command not supported)".to_owned(),
        8 => match target.host.parse::<IpAddr>() {
            Ok(_) => format!("doesn't take an address such as that of {to} (SOCKS reply 8)"),
            Err(_) => format!("doesn't resolve names such as that of {to} (SOCKS reply 8)"),
        },
        other => format!("refuses a tunnel to {to} with the unknown SOCKS reply {other}"),
    }
}

fn no_socks(place: &str) -> String {
    format!("doesn't speak SOCKS5; check the scheme and the port in {place}")
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).await.map_err(|error| broke(&error))
}

async fn hear<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(|error| broke(&error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;

    /// What the proxy says, and what it must have heard before. The connection ends after the last.
    type Conversation<'a> = &'a [(&'a [u8], &'a [u8])];

    /// Goes through the talk, answering whole or byte by byte. Returns the outcome, and what is left in
    /// the stream after it.
    async fn ask(
        url: &str,
        login: Option<Login>,
        talk: Conversation<'_>,
        slowly: bool,
    ) -> (Result<(), String>, Vec<u8>) {
        let (mut near, mut far) = duplex(4096);
        let target = Target::parse(url).unwrap();
        let proxy = async {
            for (heard, said) in talk {
                let mut bytes = vec![0; heard.len()];
                far.read_exact(&mut bytes).await.expect("as much is said");
                assert_eq!(bytes, *heard, "{url}");
                for piece in said.chunks(if slowly { 1 } else { 4096 }) {
                    far.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
            drop(far);
        };
        let (outcome, ()) = tokio::join!(tunnel(&mut near, &target, login.as_ref(), "upstream.proxy"), proxy);
        let mut left = Vec::new();
        near.read_to_end(&mut left).await.unwrap();
        (outcome, left)
    }

    const HELLO: (&[u8], &[u8]) = (&[5, 1, 0], &[5, 0]);
    const NAME: &[u8] = b"\x05\x01\x00\x03\x01h\x01\xbb";

    #[tokio::test(flavor = "local")]
    async fn names_and_addresses_are_asked_for_and_nothing_more_is_read() {
        let v4 = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50after";
        let v6 = [&b"\x05\x00\x00\x04"[..], &[0; 18], b"after"].concat();
        let named = b"\x05\x00\x00\x03\x05proxy\x00\x50after";
        let asked_v6 = [&b"\x05\x01\x00\x04"[..], &[0; 15], &[1, 0, 9]].concat();
        for (url, asked) in [
            ("wss://h/", NAME),
            ("ws://127.0.0.1:9/", b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x09"),
            ("ws://[::1]:9/", &asked_v6),
        ] {
            for said in [&v4[..], &v6, &named[..]] {
                for slowly in [false, true] {
                    let (outcome, left) = ask(url, None, &[HELLO, (asked, said)], slowly).await;
                    assert_eq!((outcome, &left[..]), (Ok(()), &b"after"[..]), "{url}");
                }
            }
        }
    }

    #[tokio::test(flavor = "local")]
    async fn a_login_is_offered_and_given_when_asked_for() {
        let login = || Some(("me".into(), "pw".into()));
        let good: (&[u8], &[u8]) = (NAME, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        let given: &[u8] = b"\x01\x02me\x02pw";
        for talk in [
            &[(&[5, 2, 0, 2][..], &[5, 0][..]), good][..],
            &[(&[5, 2, 0, 2], &[5, 2]), (given, &[1, 0]), good],
            &[(&[5, 2, 0, 2], &[5, 2]), (given, &[5, 0]), good],
        ] {
            assert_eq!(ask("wss://h/", login(), talk, false).await.0, Ok(()));
        }
        let refused: Conversation<'_> = &[(&[5, 2, 0, 2], &[5, 2]), (given, &[1, 1])];
        let error = ask("wss://h/", login(), refused, false).await.0.unwrap_err();
        assert_eq!(error, "refuses the user name or the password: correct them in upstream.proxy");
        let empty = Some((Vec::new(), Vec::new()));
        let talk: Conversation<'_> = &[(&[5, 2, 0, 2], &[5, 2]), (&[1, 0, 0], &[1, 0]), good];
        assert_eq!(ask("wss://h/", empty, talk, false).await.0, Ok(()));
    }

    #[tokio::test(flavor = "local")]
    async fn what_does_not_fit_is_told_before_a_word_is_said() {
        let long = || vec![b'x'; 256];
        for login in [(long(), Vec::new()), (Vec::new(), long())] {
            let error = ask("wss://h/", Some(login), &[], false).await.0.unwrap_err();
            assert!(error.contains("longer than 255 bytes"), "{error}");
        }
    }

    #[tokio::test(flavor = "local")]
    async fn each_reply_is_a_sentence() {
        for (reply, words) in [
            (1, "general failure"),
            (2, "have the server and its port allowed"),
            (3, "has no network that leads to h:443"),
            (4, "could not reach or resolve h:443"),
            (5, "connection refused"),
            (6, "in time"),
            (7, "doesn't open tunnels"),
            (8, "doesn't resolve names"),
            (9, "unknown SOCKS reply 9"),
            (255, "unknown SOCKS reply 255"),
        ] {
            // a proxy may end its answer there
            let (outcome, _) = ask("wss://h/", None, &[HELLO, (NAME, &[5, reply, 0, 1])], true).await;
            let error = outcome.unwrap_err();
            assert!(error.contains(words), "{reply}: {error}");
        }
    }

    #[tokio::test(flavor = "local")]
    async fn what_is_no_answer_is_told() {
        let ended = "ended the connection instead of answering";
        for (talk, words) in [
            (&[(&[5, 1, 0][..], &[][..])][..], ended),
            (&[(&[5, 1, 0], &[5])], ended),
            (&[HELLO, (NAME, &[5, 0, 0])], ended),
            (&[HELLO, (NAME, &[5, 0, 0, 1, 127, 0])], ended),
            (&[HELLO, (NAME, &[5, 0, 0, 3, 255, b'x'])], ended),
            (&[HELLO, (NAME, &[5, 0, 0, 2])], "doesn't speak SOCKS5"),
            (&[HELLO, (NAME, &[4, 0, 0, 1])], "doesn't speak SOCKS5"),
            (
                &[(&[5, 1, 0], &[4, 0])],
                "doesn't speak SOCKS5; check the scheme and the port in upstream.proxy",
            ),
            (&[(&[5, 1, 0], b"HTTP/1.1 400 Bad Request\r\n\r\n")], "write http:// in upstream.proxy"),
            (&[(&[5, 1, 0], &[5, 255])], "socks5://USER:PASSWORD@HOST:PORT"),
            (&[(&[5, 1, 0], &[5, 2])], "socks5://USER:PASSWORD@HOST:PORT"),
            (&[(&[5, 1, 0], &[5, 1])], "another kind"),
        ] {
            for slowly in [false, true] {
                let error = ask("wss://h/", None, talk, slowly).await.0.unwrap_err();
                assert!(error.contains(words), "{talk:?}: {error}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer in prop::collection::vec(prop::sample::select(vec![0, 1, 2, 3, 4, 5, 72, 255]), 0..40), logged_in: bool) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (mut near, mut far) = duplex(4096);
                far.write_all(&answer).await.unwrap();
                far.shutdown().await.unwrap();
                let login = logged_in.then(|| ("me".into(), "pw".into()));
                let target = Target::parse("wss://h/").unwrap();
                let _ = tunnel(&mut near, &target, login.as_ref(), "upstream.proxy").await;
            });
        }
    }
}
