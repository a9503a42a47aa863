//! `upstream.compression`: permessage-deflate (RFC 7692).

use toml::de::DeValue;

use crate::config::reader::Section;

/// `upstream.compression`: what is offered to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// `server_context_takeover`: the server may use what it sent before. Default true.
    pub server_context_takeover: bool,
    /// `client_context_takeover`: wsfan may use what it sent before. Default true.
    pub client_context_takeover: bool,
    /// `server_max_window_bits`: the server's window is at most 2 to the power of this; 9 to 15. Default 15.
    pub server_max_window_bits: u8,
    /// `client_max_window_bits`: wsfan's window; 9 to 15. Default 15.
    pub client_max_window_bits: u8,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            server_context_takeover: true,
            client_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        }
    }
}

impl Compression {
    /// Reads `compression`: true, false, or a table. None for false.
    pub(in crate::config) fn read(upstream: &Section<'_>) -> Option<Self> {
        let item = upstream.item("compression")?;
        if !matches!(item.value, DeValue::Table(_)) {
            return upstream.truth("compression").filter(|on| *on).map(|_| Self::default());
        }
        let (section, default) = (item.section(), Self::default());
        let truth = |key, default| section.truth(key).unwrap_or(default);
        // RFC 7692 has 8 too, which zlib can't write
        let bits = |key| section.integer(key, 9..=15).unwrap_or(15);
        let compression = Self {
            server_context_takeover: truth("server_context_takeover", default.server_context_takeover),
            client_context_takeover: truth("client_context_takeover", default.client_context_takeover),
            server_max_window_bits: bits("server_max_window_bits"),
            client_max_window_bits: bits("client_max_window_bits"),
        };
        section.finish();
        Some(compression)
    }
}
