//! Where a key belongs that stands in another table.

/// What to do about a key that isn't known in the table at `path`, where its place is plain.
pub(super) fn of(path: &str, key: &str) -> Option<&'static str> {
    Some(match (path, key) {
        ("", "headers") => "it belongs to the upstream: write [upstream.headers]",
        (
            "",
            "allowed_hosts" | "compression" | "connect_timeout" | "max_message" | "proxy" | "resume_url"
            | "subprotocols" | "url" | "url_command",
        ) => "put it under [upstream]",
        ("", "tls") => "it belongs to the upstream: write [upstream.tls]",
        ("", "path" | "mode" | "owner" | "group" | "rights") => "put it under [[listener]]",
        ("" | "upstream", "interval" | "idle_timeout" | "ping_interval" | "heartbeat_interval") => {
            "it is the heartbeat's: write `interval`, or `idle_timeout`, under [heartbeat]"
        }
        ("upstream", "ca_file" | "cert_file" | "key_file" | "ca" | "cert" | "key") => {
            "write ca_file, or cert_file and key_file, under [upstream.tls]"
        }
        (
            "upstream" | "upstream.tls",
            "insecure" | "insecure_skip_verify" | "skip_verify" | "verify" | "verify_ssl" | "tls_verify",
        ) => {
            "a server's certificate is always checked: name the roots to trust by ca_file under [upstream.tls]"
        }
        ("" | "upstream", "subscribe" | "send" | "login" | "auth" | "on_connect" | "on_open") => {
            "what is said on a new connection is a step: write [[script.step]], and `send` below it"
        }
        (
            "script",
            "send" | "send_binary" | "send_command" | "expect" | "reject" | "capture" | "name" | "on_fail"
            | "publish",
        ) => "it belongs to a step: write [[script.step]], and the key below it",
        ("", _) => return None,
        (_, "profile") => "it stands above all tables: write it as the first line",
        _ => return None,
    })
}
