//! What simulated servers check a signed login by.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    digest::{SHA256, digest},
    hmac::{HMAC_SHA256, Key, sign},
};

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    time.as_millis().try_into().unwrap()
}

/// The HMAC-SHA256 of a text, in hexadecimal.
pub fn hmac_sha256(key: &str, text: &str) -> String {
    let tag = sign(&Key::new(HMAC_SHA256, key.as_bytes()), text.as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of a text, in base64.
pub fn sha256(text: &str) -> String {
    BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes()))
}
