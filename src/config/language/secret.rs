//! Text that must not be shown.

use std::fmt;

/// What a secret is mostly called.
const SECRET_WORDS: [&str; 8] =
    ["authorization", "cookie", "token", "secret", "password", "passwd", "api-key", "apikey"];

/// Whether what has this name, a key or a header's, is mostly a secret.
pub fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// A resolved value that may be secret: there is no way to print it but [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the wire only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_secret() {
        for (name, is_secret) in [
            ("Authorization", true),
            ("upstream.headers.Set-Cookie", true),
            ("vars.API_KEY", true),
            ("my-apikey", true),
            ("topic", false),
            ("key", false),
            ("", false),
        ] {
            assert_eq!(sounds_secret(name), is_secret, "{name}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(..)");
        assert_eq!(Secret::new("hunter2").expose(), "hunter2");
    }
}
