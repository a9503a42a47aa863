//! What proxies may answer, for the fuzz targets: each function panics where something is wrong.

use futures_util::FutureExt;
use tokio::io::{join, sink};

use super::Login;
use crate::upstream::wire::target::Target;

const PLACE: &str = "upstream.proxy";

/// An HTTP proxy's answer to CONNECT; what follows it is the server's, byte for byte.
pub fn connect(bytes: &[u8]) {
    for login in logins() {
        let (target, mut stream) = (target(), join(bytes, sink()));
        let tunnel = super::connect::tunnel(&mut stream, &target, login.as_ref(), PLACE);
        let outcome = tunnel.now_or_never().expect("there is nothing to wait for");
        let read = bytes.len() - stream.reader().len();
        match outcome {
            Ok(rest) => assert!(bytes[..read].ends_with(&rest)),
            Err(sentence) => assert!(!sentence.is_empty() && !sentence.contains("hunter2")),
        }
    }
}

/// A SOCKS5 proxy's answers, one after another.
pub fn socks(bytes: &[u8]) {
    for login in logins() {
        let (target, mut stream) = (target(), join(bytes, sink()));
        let tunnel = super::socks::tunnel(&mut stream, &target, login.as_ref(), PLACE);
        let outcome = tunnel.now_or_never().expect("there is nothing to wait for");
        assert!(outcome.is_ok() || outcome.is_err_and(|sentence| !sentence.is_empty()));
    }
}

fn target() -> Target {
    Target::parse("wss://server/").expect("it is a URL")
}

fn logins() -> [Option<Login>; 2] {
    [None, Some((b"user".to_vec(), b"hunter2".to_vec()))]
}
