//! Where the server is, and how it is reached: its URLs, headers, proxies and certificates.

use super::*;

#[test]
fn upstream_urls() {
    for (url, sentence) in [
        ("\"\"", "upstream.url is not a WebSocket URL: write ws://host/ or wss://host/"),
        (
            "\"me:pw@example.com\"",
            "upstream.url is \"example.com\", which is not a WebSocket URL: write ws://host/ or wss://host/",
        ),
        ("\"$WS_URL\"", "upstream.url begins with `$`, which isn't a shell's here: write \"${env:WS_URL}\""),
        (
            "\"a/${env:X}\"",
            "upstream.url is \"a/${env:X}\", which is not a WebSocket URL: write ws://host/ or wss://host/",
        ),
        ("\"http://a\"", "upstream.url begins with http://, but wsfan speaks WebSocket: write ws://"),
        (
            "\"https://a/${env:X}\"",
            "upstream.url begins with https://, but wsfan speaks WebSocket: write wss://",
        ),
        ("\"ftp://a\"", "upstream.url has an unknown scheme: write ws:// or wss://"),
        ("\"ws://\"", "upstream.url has no host: write ws://host/ or wss://host/"),
        ("\"wss:///${env:X}\"", "upstream.url has no host: write ws://host/ or wss://host/"),
        ("\"ws://a:99999\"", "upstream.url has a bad port: write a number from 1 to 65535"),
        (
            "\"ws://bücher.example\"",
            "upstream.url has a host name that is not ASCII: write it in punycode (xn--…)",
        ),
        ("\"ws://a/ü\"", "upstream.url has characters that are not ASCII: percent-encode them"),
        (
            "\"ws://a/#b\"",
            "upstream.url has a fragment, which a WebSocket URL can't have: take out the `#` and what follows, or write %23",
        ),
        (
            "\"ws://a/b c\"",
            "upstream.url is not a valid URL: look for spaces and other characters that must be percent-encoded",
        ),
        (
            "\"ws://${env:X\"",
            "upstream.url can't be read: a `${` is not closed: add the `}`, or write `$${` for the text `${`",
        ),
        (
            "\"ws://${foo:X}\"",
            "upstream.url can't be read: `${foo:X}` is of an unknown kind: the kinds are credential, env, file, command, var, derived, capture, last, field, topic and hole, and without a name now_ms, now_s, uuid, connection_id, next_id, topic, topics, payload, key and subscribed_id",
        ),
        ("7", "upstream.url is an integer: write text in quotes, or a list of texts"),
        ("[\"ws://a\", 7]", "upstream.url[1] is an integer: write text in quotes"),
        ("[]", "upstream.url is an empty list: write at least one URL"),
        ("[7]", "upstream.url[0] is an integer: write text in quotes"),
        (
            "[\"ws://a\", \"http://b\"]",
            "upstream.url[1] begins with http://, but wsfan speaks WebSocket: write ws://",
        ),
    ] {
        let found = parse(&format!("[upstream]\nurl = {url}")).unwrap_err();
        assert_eq!(found, format!("line 2: {sentence}"), "{url}");
    }
    for url in [
        "\"ws://a\"",
        "[\"ws://a\", \"wss://b:1/c?d=${credential:e}\"]",
        "\"${env:URL}\"",
        "\"w${env:S}://a\"",
        "\"wss://${env:HOST}:${env:PORT}/\"",
        "\"WSS://[::1]/\"",
    ] {
        parse(&format!("upstream.url = {url}")).unwrap();
    }
}

#[test]
fn upstream() {
    let leave = |name: &str| {
        let sentence =
            format!("line 2: upstream.headers.{name} is a header that wsfan sends itself: leave it out");
        (format!("upstream.headers.{name} = \"x\""), sentence)
    };
    for name in [
        "Connection",
        "upgrade",
        "Content-Length",
        "Transfer-Encoding",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "sec-websocket-accept",
        "Sec-WebSocket-Extensions",
    ] {
        let (line, sentence) = leave(name);
        refused(&[(&line, &sentence)]);
    }
    refused(&[
        (
            "upstream.headers.Sec-WebSocket-Protocol = \"x\"",
            "line 2: upstream.headers.Sec-WebSocket-Protocol is a header that wsfan sends itself: write upstream.subprotocols",
        ),
        (
            "upstream.headers.\"a b\" = \"x\"",
            "line 2: upstream.headers.\"a b\" is no header name: write letters, digits and `-`",
        ),
        (
            "upstream.headers.\"\" = \"x\"",
            "line 2: upstream.headers.\"\" is no header name: write letters, digits and `-`",
        ),
        (
            "[upstream.headers]\nX-A = \"x\"\nx-a = \"y\"",
            "line 4: upstream.headers.x-a is the same header as one above: keep one of them",
        ),
        (
            "upstream.headers.A = \"x\\ny${env:Y}\"",
            "line 2: upstream.headers.A has a value that no header can carry: use ASCII on one line",
        ),
        (
            "upstream.headers.A = \"ü\"",
            "line 2: upstream.headers.A has a value that no header can carry: use ASCII on one line",
        ),
        ("upstream.headers.A = 1", "line 2: upstream.headers.A is an integer: write text in quotes"),
        (
            "upstream.headers.A = \"${env:}\"",
            "line 2: upstream.headers.A can't be read: `${env:}` has no name after the colon",
        ),
        ("upstream.headers = \"A: b\"", "line 2: upstream.headers is text: write { A = \"…\" }"),
        (
            "upstream.subprotocols = [\"a\",\n\"b c\"]",
            "line 3: upstream.subprotocols[1] is \"b c\", which no HTTP header can list: write letters, digits, `.`, `-` or `_`",
        ),
        (
            "upstream.subprotocols = [\"a\", \"a\"]",
            "line 2: upstream.subprotocols[1] is \"a\" again: list each one once",
        ),
        (
            "upstream.subprotocols = \"a\"",
            "line 2: upstream.subprotocols is text: write a list of texts in square brackets",
        ),
        ("upstream.connect_timeout = \"0s\"", "line 2: upstream.connect_timeout is 0s: write 100ms to 10m"),
        ("upstream.connect_timeout = \"11m\"", "line 2: upstream.connect_timeout is 11m: write 100ms to 10m"),
        (
            "upstream.connect_timeout = \"soon\"",
            "line 2: upstream.connect_timeout is \"soon\", not a duration: write a number and a unit, such as \"30s\" or \"1m30s\"",
        ),
        ("upstream.max_message = 1023", "line 2: upstream.max_message is 1023: write 1KiB to 512MiB"),
        ("upstream.max_message = -1", "line 2: upstream.max_message is -1: write 1KiB to 512MiB"),
        ("upstream.max_message = \"2GiB\"", "line 2: upstream.max_message is 2GiB: write 1KiB to 512MiB"),
        (
            "upstream.max_message = \"16\"",
            "line 2: upstream.max_message is \"16\", a number without a unit: write \"16MiB\", or the bytes without quotes",
        ),
        (
            "upstream.max_message = \"16M\"",
            "line 2: upstream.max_message is \"16M\", in the unknown unit \"M\": write B, KiB, MiB, GiB or TiB",
        ),
    ]);
    let config = with(
        "upstream.subprotocols = [\"b\", \"a\"]\nupstream.max_message = 2048\n\
         upstream.headers = { Host = \"h\", Authorization = \"Bearer ${env:T}\", A = \"\" }",
    );
    let upstream = config.unwrap().upstream;
    let subprotocols: Vec<_> = upstream.subprotocols.iter().map(ToString::to_string).collect();
    assert_eq!(subprotocols, ["b", "a"]);
    assert_eq!(upstream.max_message, 2048);
    let names: Vec<_> = upstream.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "Authorization", "A"]);
    assert!(!upstream.headers[1].1.is_literal());
}

#[test]
fn proxies() {
    refused(&[
        (
            "upstream.proxy = true",
            "line 2: upstream.proxy is true: write its URL, or leave it out to go by the environment",
        ),
        (
            "upstream.proxy = \"none\"",
            "line 2: upstream.proxy has no scheme: write http://HOST:PORT or socks5://HOST:PORT, or \"off\"",
        ),
        (
            "upstream.proxy = \"me:secret@proxy:3128\"",
            "line 2: upstream.proxy has no scheme: write http://HOST:PORT or socks5://HOST:PORT, or \"off\"",
        ),
        (
            "upstream.proxy = \"https://me:secret@proxy\"",
            "line 2: upstream.proxy begins with https://, but wsfan doesn't speak TLS with a proxy: write http:// (what goes to a wss:// server is encrypted all the same)",
        ),
        (
            "upstream.proxy = \"http://me:${env:P}@\"",
            "line 2: upstream.proxy has no valid host: write http://HOST:PORT or socks5://HOST:PORT; in the user name and the password, percent-encode `/`, `?`, `#`, `:` and `@`",
        ),
        (
            "upstream.proxy = \"${env:}\"",
            "line 2: upstream.proxy can't be read: `${env:}` has no name after the colon",
        ),
    ]);
    let proxy = |value: &str| with(&format!("upstream.proxy = \"{value}\"")).unwrap().upstream.proxy;
    assert_eq!(with("").unwrap().upstream.proxy, Proxy::Environment);
    assert_eq!(proxy(""), Proxy::Environment);
    assert_eq!(proxy("off"), Proxy::Off);
    for url in [
        "http://proxy:3128",
        "http://me:${credential:p}@[::1]:3128/",
        "socks5://${env:LOGIN}@proxy",
        "socks5h://proxy:${env:PORT}",
        "${file:/etc/proxy}",
        "${env:SCHEME}://proxy",
    ] {
        assert_eq!(proxy(url), Proxy::Url(Template::parse_url(url).unwrap()), "{url}");
    }
}

#[test]
fn tls_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.pem");
    let (folder, file) = (directory.path().to_str().unwrap(), file.to_str().unwrap());
    let missing = format!("upstream.tls.ca_file = \"{file}\"");
    refused(&[
        (
            &missing,
            &format!(
                "line 2: upstream.tls.ca_file is {file:?}, which can't be read (No such file or directory): check the path and who may read it"
            ),
        ),
        (
            &format!("upstream.tls.ca_file = \"{folder}\""),
            &format!(
                "line 2: upstream.tls.ca_file is {folder:?}, which is no regular file: check the path and who may read it"
            ),
        ),
        (
            "upstream.tls.ca_file = \"x.pem\"",
            "line 2: upstream.tls.ca_file is the relative path \"x.pem\": write one that starts with `/`",
        ),
        ("upstream.tls = true", "line 2: upstream.tls is true or false: write a table"),
    ]);
    fs::write(file, "").unwrap();
    assert_eq!(with(&missing).unwrap().upstream.tls.ca_file.as_deref(), Some(Path::new(file)));
    refused(&[
        (
            &format!("upstream.tls.cert_file = \"{file}\""),
            "line 2: upstream.tls.cert_file is set without key_file: write the file of its private key too",
        ),
        (
            &format!("upstream.tls = {{ key_file = \"{file}\", cert_file = \"\" }}"),
            "line 2: upstream.tls.key_file is set without cert_file: write the file of its certificate too",
        ),
    ]);
    let both = format!("upstream.tls = {{ key_file = \"{file}\", cert_file = \"{file}\" }}");
    assert!(with(&both).unwrap().upstream.tls.cert_file.is_some());
}

#[test]
fn what_is_taken_apart_is_one_list() {
    for (split, sentence) in [
        (
            "1",
            "upstream.split is an integer: write true where messages are lists, or a pointer to the list in them, such as \
             \"/data\"",
        ),
        ("\"data\"", "upstream.split is no JSON pointer: write one such as \"/type\", or \"\" for the whole"),
        (
            "\"/\"",
            "upstream.split is the member with an empty name (RFC 6901): write true where the message itself is the list",
        ),
        (
            "\"/d/*/e\"",
            "upstream.split has a `*` in it, but it is one list that is taken apart: write where that is",
        ),
    ] {
        refused(&[(&format!("upstream.split = {split}"), &format!("line 2: {sentence}"))]);
    }
    let split = |text: &str| with(text).unwrap().upstream.split.map(|pointer| pointer.as_str().to_owned());
    for (text, pointer) in
        [("true", Some("")), ("\"\"", Some("")), ("false", None), ("\"/d/0\"", Some("/d/0"))]
    {
        assert_eq!(split(&format!("upstream.split = {text}")).as_deref(), pointer, "{text}");
    }
}
