//! Listeners: what they may say, and where their sockets may be.

use super::*;

#[test]
fn listeners() {
    let long = format!("/{}", "x".repeat(107));
    let default = "/run/wsfan/wsfan.sock";
    refused(&[
        (
            "[listener]\npath = \"/a\"",
            "line 2: listener is a table: write [[listener]], with two brackets each",
        ),
        ("listener = []", "line 2: listener is an empty list: leave it out for the default socket"),
        ("listener = [1]", "line 2: listener[0] is an integer: write a table"),
        (
            "[[listener]]\npath = \"a.sock\"",
            "line 3: listener[0].path is the relative path \"a.sock\": write one that starts with `/`",
        ),
        (
            "[[listener]]\npath = \"\"",
            "line 3: listener[0].path is empty: write an absolute path, or leave it out",
        ),
        (
            "[[listener]]\npath = \"/run/\"",
            "line 3: listener[0].path is /run/, a directory: add the socket's name",
        ),
        ("[[listener]]\npath = \"/a\\u0000\"", "line 3: listener[0].path has a NUL character: take it out"),
        (
            &format!("[[listener]]\npath = \"{long}\""),
            "line 3: listener[0].path is 108 bytes long, but a socket's path has at most 107: write a shorter one",
        ),
        (
            "[[listener]]\npath = \"/a\"\n\n[[listener]]\npath = \"//a\"",
            "line 6: listener[1].path is //a, the same as listener[0].path on line 3: give each listener its own path",
        ),
        (
            "[[listener]]\n[[listener]]",
            &format!(
                "line 3: listener[1].path is {default}, the same as listener[0].path on line 2: give each listener its own path"
            ),
        ),
        (
            "[[listener]]\nmode = 660",
            "line 3: listener[0].mode is an integer: write octal digits in quotes, such as \"0660\"",
        ),
        (
            "[[listener]]\nmode = 0o660",
            "line 3: listener[0].mode is an integer: write octal digits in quotes, such as \"0660\"",
        ),
        (
            "[[listener]]\nmode = \"0680\"",
            "line 3: listener[0].mode is \"0680\": write the permission bits as octal digits, \"0000\" to \"0777\"",
        ),
        (
            "[[listener]]\nmode = \"4755\"",
            "line 3: listener[0].mode is \"4755\": write the permission bits as octal digits, \"0000\" to \"0777\"",
        ),
        (
            "[[listener]]\nmode = \"+660\"",
            "line 3: listener[0].mode is \"+660\": write the permission bits as octal digits, \"0000\" to \"0777\"",
        ),
        (
            "[[listener]]\nowner = \"\"",
            "line 3: listener[0].owner is \"\": write a user's name or number, or leave it out",
        ),
        (
            "[[listener]]\ngroup = \"a:b\"",
            "line 3: listener[0].group is \"a:b\": write a group's name or number, or leave it out",
        ),
        (
            "[[listener]]\ngroup = \"4294967295\"",
            "line 3: listener[0].group is \"4294967295\": write a group's name or number, or leave it out",
        ),
        (
            "[[listener]]\ngroup = \"4294967295\"",
            "line 3: listener[0].group is \"4294967295\": write a group's name or number, or leave it out",
        ),
        ("[[listener]]\ngroup = 7", "line 3: listener[0].group is an integer: write text in quotes"),
        (
            "[[listener]]\nformat = \"json\"",
            "line 3: listener[0].format is \"json\": write \"envelope\" or \"raw\"",
        ),
        (
            "[[listener]]\nrights = []",
            "line 3: listener[0].rights is an empty list: write \"receive\", \"send\" or \"control\"",
        ),
        (
            "[[listener]]\nrights = [\"read\"]",
            "line 3: listener[0].rights[0] is \"read\": write \"receive\", \"send\" or \"control\"",
        ),
        (
            "[[listener]]\nrights = [\"send\", \"send\"]",
            "line 3: listener[0].rights[1] is \"send\" again: list each one once",
        ),
        ("[[listener]]\nrights = [1]", "line 3: listener[0].rights[0] is an integer: write text in quotes"),
        (
            "[[listener]]\nrights = \"send\"",
            "line 3: listener[0].rights is text: write a list of texts in square brackets",
        ),
        (
            "[[listener]]\nops = [\"fly\"]",
            "line 3: listener[0].ops[0] is \"fly\": there are send, request, cancel, attach, ack, subscribe, unsubscribe, status, reconnect, close, open, reload, ping",
        ),
        (
            "[[listener]]\nops = [\"ping\", \"ping\"]",
            "line 3: listener[0].ops[1] is \"ping\" again: list each one once",
        ),
        (
            "[[listener]]\nsend_when = { regex = \"a(b\" }",
            "line 3: listener[0].send_when.regex is no regular expression: unclosed group, at its character 2",
        ),
        (
            "[[listener]]\nsend_when = { regex = 'a', \"/a\" = 1 }",
            "line 3: unknown key `listener[0].send_when.\"/a\"`: the keys here are regex",
        ),
        ("[[listener]]\nmax_message = 0", "line 3: listener[0].max_message is 0: write 1B to 512MiB"),
        (
            "[[listener]]\nrate = \"0/1s\"",
            "line 3: listener[0].rate is \"0/1s\": write a number from 1 to 10000, a slash and a time of 1ms to 1d, such as \"120/60s\"",
        ),
        (
            "[[listener]]\nrate = [\"5/1s\", \"10001/1m\"]",
            "line 3: listener[0].rate[1] is \"10001/1m\": write a number from 1 to 10000, a slash and a time of 1ms to 1d, such as \"120/60s\"",
        ),
        (
            "[[listener]]\n[listener.rule]",
            "line 3: listener[0].rule is a table: write [[listener[0].rule]], with two brackets each",
        ),
        (
            "[[listener]]\n[[listener.rule]]\nrights = [\"send\"]",
            "line 3: listener[0].rule[0].users is missing, and groups too: write whom the rule is for, such as [\"alice\"]",
        ),
        (
            "[[listener]]\n[[listener.rule]]\nusers = []",
            "line 4: listener[0].rule[0].users is a list of 0: write 1 to 256 users, or leave it out",
        ),
        (
            "[[listener]]\n[[listener.rule]]\ngroups = [\"a b\"]",
            "line 4: listener[0].rule[0].groups[0] is \"a b\": write a group's name or number",
        ),
        (
            "[[listener]]\n[[listener.rule]]\nusers = [\"4294967295\"]\nright = [\"send\"]",
            "line 4: listener[0].rule[0].users[0] is \"4294967295\": write a user's name or number\n\
             line 5: unknown key `listener[0].rule[0].right`: did you mean `rights`?",
        ),
        (
            "[[listener]]\nmax_clients = 0",
            "line 3: listener[0].max_clients is 0: write a whole number from 1 to 1000000",
        ),
        (
            "[[listener]]\nmax_clients = 1000001",
            "line 3: listener[0].max_clients is 1000001: write a whole number from 1 to 1000000",
        ),
        ("[[listener]]\nmax_line = 63", "line 3: listener[0].max_line is 63: write 64B to 64MiB"),
        ("[[listener]]\nmax_line = \"65MiB\"", "line 3: listener[0].max_line is 65MiB: write 64B to 64MiB"),
    ]);
    let text = "[[listener]]\n[[listener]]\npath = \"/run/b\"\nmode = \"600\"\nowner = \"0\"\n\
                group = \"wsfan\"\nformat = \"raw\"\nrights = [\"control\"]\nmax_clients = 1\nmax_line = 64";
    let config = with(text).unwrap();
    let [first, second] = &config.listeners[..] else { panic!("not two listeners") };
    assert_eq!((first.path.to_str(), first.format), (Some(default), Format::Envelope));
    assert_eq!((second.mode, second.format), (0o600, Format::Raw));
    assert_eq!(second.owner.as_deref(), Some("0"));
    assert!(second.grant.rights.control && !second.grant.rights.send && !second.grant.rights.receive);
}

#[test]
fn the_default_socket_is_checked_too() {
    let long = format!("/{}", "x".repeat(100));
    let environment = Environment::fixed([("XDG_RUNTIME_DIR", long.as_str())]);
    let error = Config::parse("upstream.url = \"ws://a\"", &environment).unwrap_err();
    assert_eq!(
        error.to_string(),
        "listener[0].path, left out, is 112 bytes long, but a socket's path has at most 107: write a shorter one"
    );
    let environment = Environment::fixed([("XDG_RUNTIME_DIR", "/run/user/7")]);
    let config = Config::parse("upstream.url = \"ws://a\"", &environment).unwrap();
    assert_eq!(config.listeners[0].path, Config::default_socket(&environment));
}
