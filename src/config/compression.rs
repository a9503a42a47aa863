//! `upstream.compression`: permessage-deflate (RFC 7692).

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
