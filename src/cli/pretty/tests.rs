use super::*;

const NOON: u64 = 1_795_435_200_000_000; // 2026-11-23

fn plain(line: &str) -> String {
    let text = Pretty::new(NOON).line(line.as_bytes());
    anstream::adapter::strip_str(&text).to_string()
}

#[test]
fn lines() {
    for (line, text) in [
        (
            r#"{"type":"hello","protocol":1,"server":"wsfan/0.1.0","epoch":"9f2c51d0","seq":41823,"oldest":40800,"link":"up","client":7,"max_line":1048576}"#,
            "wsfan/0.1.0, log 9f2c51d0, 1,024 entries held, client 7, link up\n",
        ),
        (
            r#"{"type":"hello","protocol":1,"server":"wsfan/0.1.0","epoch":"9f2c51d0","seq":41823,"oldest":40800,"link":"up","client":7,"max_line":1048576,"max_entry":64,"node":"host-b","cluster":{"name":"prices","state":"follower","leader":"host-a","term":8}}"#,
            "wsfan/0.1.0 on host-b (follower in prices), log 9f2c51d0, 1,024 entries held, client 7, link up\n",
        ),
        (
            r#"{"type":"hello","protocol":1,"server":"w","epoch":"","seq":0,"oldest":1,"link":"waiting","client":7,"max_line":64,"max_entry":64,"node":"host-b","cluster":{"name":"c","state":"detached","why":"nats"}}"#,
            "w on host-b (detached in c), no log yet, 0 entries held, client 7, link waiting\n",
        ),
        (
            r#"{"type":"gap","seq":10,"time_us":1795435201250000,"why":"failover","after_us":1795435199150000}"#,
            "12:00:01.250Z      10   GAP  another machine takes over the link: what the server said since the entry before (2.1 s), and says until the link is up, is lost\n",
        ),
        (
            r#"{"type":"message","seq":41824,"time_us":1795435201250000,"json":{ "a" : [1,  2.10], "b":"x : \"y\"" }}"#,
            "12:00:01.250Z   41824  {\"a\":[1, 2.10], \"b\":\"x : \\\"y\\\"\"}\n",
        ),
        (
            r#"{"type":"message","seq":1,"time_us":1795435201250000,"text":"\u001b[2Jnot JSON"}"#,
            "12:00:01.250Z       1  \\u{1b}[2Jnot JSON\n",
        ),
        (
            r#"{"type":"message","seq":2,"time_us":1795435201250000,"binary":"AAE="}"#,
            "12:00:01.250Z       2  binary, 2 B: AAE=\n",
        ),
        (
            r#"{"type":"message","seq":3,"time_us":1795435201250000,"json":null}"#,
            "12:00:01.250Z       3  null\n",
        ),
        (
            r#"{"type":"link","seq":4,"time_us":1795435201250000,"state":"up","conn":2,"url":"wss://h/p","attempt":0}"#,
            "12:00:01.250Z       4  link up, connection 2\n",
        ),
        (
            r#"{"type":"link","seq":4,"time_us":1795435201250000,"state":"connecting","conn":2,"url":"wss://h/p","code":1006,"attempt":1}"#,
            "12:00:01.250Z       4  link connecting to wss://h/p\n",
        ),
        (
            r#"{"type":"link","seq":4,"time_us":1795435201250000,"state":"connecting","conn":2,"node":"host-b","term":8}"#,
            "12:00:01.250Z       4  link connecting, on host-b, term 8\n",
        ),
        (
            r#"{"type":"link","time_us":1795435201250000,"state":"up","conn":3,"url":"wss://h/p","attempt":0,"node":"host-b","term":8}"#,
            "12:00:01.250Z       -  link is up, connection 3, on host-b, term 8\n",
        ),
        (
            r#"{"type":"link","time_us":1795435201250000,"state":"waiting","conn":3,"error":"NATS can't be reached","attempt":0}"#,
            "12:00:01.250Z       -  link is waiting: NATS can't be reached\n",
        ),
        (
            r#"{"type":"link","time_us":1795435201250000,"state":"closed","conn":2,"attempt":0}"#,
            "12:00:01.250Z       -  link is closed\n",
        ),
        (
            r#"{"type":"link","seq":4,"time_us":1795435201250000,"state":"closed","conn":2,"code":1001,"reason":"shutdown","attempt":0}"#,
            "12:00:01.250Z       4  link closed by wsfan (shutdown)\n",
        ),
        (
            r#"{"type":"link","seq":5,"time_us":1795435201250000,"state":"waiting","conn":12,"code":1006,"reason":"gone","attempt":3,"retry_in_ms":3200}"#,
            "12:00:01.250Z       5  link waiting: close code 1006, “gone”, 3 failures in a row, next attempt in 3.2 s\n",
        ),
        (
            r#"{"type":"gap","from":41828,"to":41990,"count":163,"why":"slow_client"}"#,
            " GAP  163 entries lost, as this reader was too slow (41828 to 41990)\n",
        ),
        (
            r#"{"type":"gap","seq":9,"time_us":1795435200000000,"why":"upstream","from":5,"to":7,"count":3,"per":"btc"}"#,
            "12:00:00.000Z       9   GAP  3 messages of \"btc\" never came from the server, by its own numbers (5 to 7)\n",
        ),
        (
            r#"{"type":"gap","count":null,"why":"epoch"}"#,
            " GAP  the daemon was restarted: what its earlier log had and you haven't seen is lost\n",
        ),
        (
            r#"{"type":"gap","from":1,"to":7,"count":null,"why":"epoch"}"#,
            " GAP  the daemon was restarted: what its earlier log had and you haven't seen is lost, and some of what it has now (1 to 7)\n",
        ),
        (r#"{"type":"bye","why":"shutdown"}"#, "the daemon says bye (shutdown)\n"),
        (
            r#"{"type":"error","id":null,"code":"bad_line","message":"not JSON"}"#,
            "error not JSON (bad_line)\n",
        ),
        (r#"{"type":"later","x":1}"#, "{\"type\":\"later\",\"x\":1}\n"),
        ("\u{1b}]0;x\u{7}", "\\u{1b}]0;x\\u{7}\n"),
    ] {
        assert_eq!(plain(line), text);
    }
}

#[test]
fn a_restart_says_from_where_on_something_is_lost() {
    let mut pretty = Pretty::new(NOON);
    let hello = r#"{"type":"hello","protocol":1,"server":"w","epoch":"b","seq":9,"oldest":1,"link":"up","client":1,"max_line":64,"max_entry":64}"#;
    for line in [r#"{"type":"message","seq":5,"time_us":1795435200000000,"json":1}"#, hello] {
        pretty.line(line.as_bytes());
    }
    let text = pretty.line(br#"{"type":"gap","from":1,"to":2,"count":null,"why":"epoch"}"#);
    assert_eq!(
        anstream::adapter::strip_str(&text).to_string(),
        " GAP  the daemon was restarted: what it had after entry 5 and you haven't seen is lost, and some of what it \
         has now (1 to 2)\n"
    );
}

#[test]
fn an_ending_is_told_once() {
    for (fields, text) in [
        (
            r#""error":"closed with 1012: restarting","code":1012,"reason":"restarting""#,
            "closed with 1012: restarting",
        ),
        (r#""error":"no answer","code":1006"#, "no answer"),
        (r#""error":"refused","http_status":503"#, "refused, HTTP 503"),
        (r#""code":1006,"reason":"""#, "close code 1006"),
        (r#""code":1001,"reason":"gone""#, "close code 1001, “gone”"),
        (r#""code":1000,"reason":"reconnect""#, "closed by wsfan (reconnect)"),
        (
            r#""error":"the server closed the connection with 1000: close","code":1000,"reason":"close""#,
            "the server closed the connection with 1000: close",
        ),
        (r#""attempt":1"#, ""),
    ] {
        let ended: Ended<'_> = serde_json::from_str(&format!("{{{fields}}}")).unwrap();
        assert_eq!(ending(&ended), text);
    }
}

#[test]
fn states_have_their_colours() {
    let coloured = |line: &str| Pretty::new(NOON).line(line.as_bytes());
    assert!(coloured(r#"{"type":"link","state":"up"}"#).contains(&format!("{GOOD}link is up{GOOD:#}")));
    assert!(coloured(r#"{"type":"link","state":"connecting"}"#).contains(&styled(DIM, "link is connecting")));
    assert!(coloured(r#"{"type":"link","state":"waiting"}"#).contains(&BUSY.to_string()));
    assert!(coloured(r#"{"type":"link","state":"failed"}"#).contains(&BAD.to_string()));
    assert!(coloured(r#"{"type":"message","json":{"k":1}}"#).contains(&styled(KEY, "\"k\"")));
}

#[test]
fn a_new_day_is_announced_once() {
    let mut pretty = Pretty::new(NOON);
    let mut line = |time_us: u64| {
        let line = format!(r#"{{"type":"message","seq":1,"time_us":{time_us},"json":1}}"#);
        pretty.line(line.as_bytes()).contains("──")
    };
    assert!(!line(NOON + 1));
    assert!(line(NOON + 86_400_000_000));
    assert!(!line(NOON + 86_400_000_001));
}

#[test]
fn no_json_is_too_odd() {
    for payload in ["\"", "\"\\", "{\"a", "", "\"é\\\"é\": 1", "[ ]"] {
        let mut text = String::new();
        json(payload, &mut text);
    }
}
