//! Values that are made of others: encoded, hashed, signed.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{digest, hmac};

use super::{
    placeholder::Placeholder,
    template::{Position, Template, Value},
};

/// `[derived.NAME]`: what `${derived:NAME}` stands for. It is as secret as what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Derived {
    /// Its name.
    pub(in crate::config) name: String,
    /// `of`: the text that it is made of.
    pub(in crate::config) of: Template,
    /// `hash`: what becomes of the text. None by default: nothing.
    pub(in crate::config) hash: Option<Hash>,
    /// `as`: how the bytes are written. Default [`Encoding::Text`] without a hash, else [`Encoding::Hex`].
    pub(in crate::config) encoding: Encoding,
}

/// A hash (FIPS 180-4), or a keyed one (RFC 2104).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum Hash {
    /// Of the text alone.
    Plain(Function),
    /// Signed with a key, which is written in an encoding of its own.
    Hmac(Function, Template, Encoding),
}

/// Which hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Function {
    /// SHA-1, which is only there for old protocols.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Encoding {
    /// As they are: UTF-8.
    Text,
    /// In hexadecimal, small letters.
    Hex,
    /// Base64 with padding (RFC 4648, 4).
    Base64,
    /// Base64 for URLs and headers, without padding (RFC 4648, 5).
    Base64Url,
}

impl Derived {
    /// What it is, where `value` says what the placeholders stand for.
    ///
    /// # Errors
    ///
    /// What has no value, or a key that isn't what it is said to be: the end of a sentence, never a value.
    pub(in crate::config) fn value(
        &self,
        value: &mut dyn FnMut(&Placeholder) -> Result<Value, String>,
    ) -> Result<String, String> {
        let mut render =
            |template: &Template| template.render(&mut *value).map_err(|why| format!("can't be made: {why}"));
        let text = render(&self.of)?;
        let bytes = match &self.hash {
            None => text.expose().as_bytes().to_vec(),
            Some(Hash::Plain(function)) => {
                digest::digest(function.digest(), text.expose().as_bytes()).as_ref().to_vec()
            }
            Some(Hash::Hmac(function, key, encoding)) => {
                let key = encoding.read(render(key)?.expose())?;
                let key = hmac::Key::new(function.hmac(), &key);
                hmac::sign(&key, text.expose().as_bytes()).as_ref().to_vec()
            }
        };
        Ok(self.encoding.write(&bytes))
    }

    /// One that is wrong where it is made: nothing.
    pub(in crate::config) fn unknown(name: &str) -> Self {
        Self { name: name.to_owned(), of: Template::literal(""), hash: None, encoding: Encoding::Text }
    }

    /// What stands for it.
    pub(in crate::config) fn placeholder(&self) -> Placeholder {
        Placeholder::Derived(self.name.clone())
    }

    /// How many derived values are made for it, itself included.
    pub(in crate::config) fn weight(&self) -> usize {
        let key = match &self.hash {
            Some(Hash::Hmac(_, key, _)) => key.weight(),
            _ => 0,
        };
        1 + self.of.weight() + key
    }

    /// The texts that it is made of.
    pub(in crate::config) fn templates(&self) -> impl Iterator<Item = &Template> {
        let key = match &self.hash {
            Some(Hash::Hmac(_, key, _)) => Some(key),
            _ => None,
        };
        [Some(&self.of), key].into_iter().flatten()
    }

    /// How it is made, without what of.
    pub(in crate::config) fn method(&self) -> String {
        let hash = match &self.hash {
            None => "plain".to_owned(),
            Some(Hash::Plain(function)) => format!("{function:?}"),
            Some(Hash::Hmac(function, _, encoding)) => format!("HMAC-{function:?} of a key in {encoding}"),
        };
        format!("{hash} as {}", self.encoding)
    }

    /// The placeholders that it is made of.
    pub(in crate::config) fn placeholders(&self) -> impl Iterator<Item = (&Placeholder, Position)> {
        self.templates().flat_map(Template::placeholders)
    }
}

impl Function {
    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

impl Encoding {
    fn write(self, bytes: &[u8]) -> String {
        match self {
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
            Self::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
        }
    }

    fn read(self, text: &str) -> Result<Vec<u8>, String> {
        let bytes = match self {
            Self::Text => Some(text.as_bytes().to_vec()),
            Self::Hex => from_hex(text),
            Self::Base64 => STANDARD.decode(text).ok(),
            Self::Base64Url => URL_SAFE_NO_PAD.decode(text).ok(),
        };
        bytes.ok_or_else(|| format!("can't be made: its key is not in {self}, as key_as says"))
    }
}

/// As the configuration has it.
impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Hex => "hex",
            Self::Base64 => "base64",
            Self::Base64Url => "base64url",
        })
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(of: &str, hash: Option<Hash>, encoding: Encoding) -> Derived {
        Derived { name: "d".into(), of: Template::parse(of).unwrap(), hash, encoding }
    }

    fn made(derived: &Derived) -> Result<String, String> {
        derived.value(&mut |placeholder| match placeholder {
            Placeholder::Var(name) => Ok(Value::Text(name.clone())),
            Placeholder::Capture(_) => Ok(Value::Json("\"a\\u0062c\"".into())),
            _ => Err("has no value".into()),
        })
    }

    /// FIPS 180-4's example, and RFC 4231's test case 2.
    #[test]
    fn hashes_are_those_of_the_standards() {
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let plain = Some(Hash::Plain(Function::Sha256));
        assert_eq!(made(&derived("abc", plain.clone(), Encoding::Hex)), Ok(sha256.into()));
        assert_eq!(
            made(&derived("${capture:x}", plain, Encoding::Hex)),
            Ok(sha256.into()),
            "a string is its text"
        );
        let sha1 = Some(Hash::Plain(Function::Sha1));
        let hex = "a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(made(&derived("abc", sha1, Encoding::Hex)), Ok(hex.into()));
        let (text, mac) = (
            "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        for (key, encoding) in
            [("Jefe", Encoding::Text), ("4a656665", Encoding::Hex), ("SmVmZQ==", Encoding::Base64)]
        {
            let key = Template::parse(&format!("${{var:{key}}}")).unwrap();
            let hash = Some(Hash::Hmac(Function::Sha256, key, encoding));
            assert_eq!(made(&derived(text, hash, Encoding::Hex)), Ok(mac.into()), "{encoding}");
        }
    }

    #[test]
    fn without_a_hash_it_is_only_encoded() {
        for (encoding, expected) in [
            (Encoding::Text, "a?>b"),
            (Encoding::Hex, "613f3e62"),
            (Encoding::Base64, "YT8+Yg=="),
            (Encoding::Base64Url, "YT8-Yg"),
        ] {
            assert_eq!(made(&derived("${var:a?>b}", None, encoding)), Ok(expected.into()));
        }
    }

    #[test]
    fn what_cannot_be_made_says_why_and_shows_nothing() {
        let key = Template::parse("${var:hunter2}").unwrap();
        let hash = Some(Hash::Hmac(Function::Sha512, key, Encoding::Hex));
        let error = made(&derived("x", hash, Encoding::Hex)).unwrap_err();
        assert_eq!(error, "can't be made: its key is not in hex, as key_as says");
        let error = made(&derived("${env:N}", None, Encoding::Text)).unwrap_err();
        assert_eq!(error, "can't be made: `${env:N}` has no value");
    }
}
