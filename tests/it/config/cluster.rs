//! `[cluster]`.

use super::*;

const LEAST: &str = "cluster = { name = \"prices\", node = \"a\", urls = \"nats://127.0.0.1\" }";

#[test]
#[cfg(not(feature = "cluster"))]
fn without_the_feature_it_is_refused_by_name() {
    refused(&[(
        LEAST,
        "line 2: cluster is there, but this wsfan is built without the feature `cluster`: build it with that feature, \
         which is on by default, or take [cluster] out",
    )]);
    assert!(with("").unwrap().cluster.is_none());
}

#[cfg(feature = "cluster")]
mod read {
    use wsfan::config::{Cluster, NatsLogin, NatsUrl, Storage};

    use super::*;

    /// The table's first lines, up to line 5, and these.
    fn lines(more: &str) -> String {
        format!("[cluster]\nname = \"prices\"\nnode = \"a\"\nurls = \"nats://127.0.0.1\"\n{more}")
    }

    fn cluster(more: &str) -> Cluster {
        with(&lines(more)).unwrap_or_else(|why| panic!("{more}: {why}")).cluster.unwrap()
    }

    fn warnings(lines: &str) -> Vec<String> {
        let warnings = with(lines).unwrap_or_else(|why| panic!("{lines}: {why}")).warnings;
        warnings
            .into_iter()
            .map(|warning| format!("line {}: {}", warning.line.unwrap(), warning.sentence))
            .collect()
    }

    #[test]
    fn a_name_and_a_server_are_enough() {
        assert_eq!(with("").unwrap().cluster, None);
        let url = NatsUrl { is_tls: false, host: "127.0.0.1".to_owned(), port: 4222 };
        let least = Cluster::new("prices", "a", url);
        assert_eq!(with(LEAST).unwrap().cluster, Some(least.clone()));
        assert_eq!((least.lease, least.replicas, least.candidate), (Duration::from_secs(2), 1, true));
        assert_eq!((least.storage, least.step_down_after), (Storage::File, Some(Duration::from_secs(30))));
        assert_eq!((least.login, least.max_unacked), (NatsLogin::None, 8 << 20));
        assert_eq!(warnings(LEAST), [] as [String; 0]);
        let other = cluster(
            "lease = \"15s\"\nreplicas = 5\nstorage = \"memory\"\ncandidate = false\nstep_down_after = \"off\"\n\
             max_unacked = \"1MiB\"",
        );
        assert_eq!((other.lease, other.replicas, other.candidate), (Duration::from_secs(15), 5, false));
        assert_eq!(
            (other.storage, other.step_down_after, other.max_unacked),
            (Storage::Memory, None, 1 << 20)
        );
    }

    #[test]
    fn the_node_is_the_host_where_it_is_left_out() {
        let text = "upstream.url = \"ws://a\"\ncluster = { name = \"c\", urls = \"nats://127.0.0.1\" }";
        let on = |host: &str| Config::parse(text, &Environment::fixed([("HOSTNAME", host)]));
        for (host, node) in [("host-a", "host-a"), ("host_b.example.com", "host_b")] {
            let config = on(host).unwrap();
            assert_eq!((config.cluster.unwrap().node, config.warnings.len()), (node.to_owned(), 0));
        }
        for host in ["localhost", "localhost.localdomain"] {
            let config = on(host).unwrap();
            let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
            assert_eq!(
                warning.sentence,
                "cluster.node is left out, and this host's name is \"localhost\", as another machine's may be: write \
                 node = \"…\", which no other has"
            );
        }
        assert_eq!(
            on("hôte").unwrap_err().to_string(),
            "line 2: cluster.node is left out, and this host's name, \"hôte\", can't be one: write node = \"…\", with \
             letters, digits, `_` and `-`"
        );
        assert_eq!(
            on("").unwrap_err().to_string(),
            "line 2: cluster.node is left out, and this host has no name: write node = \"…\", which no other machine has"
        );
        let here = Config::parse(text, &Environment::process());
        assert!(here.is_ok_and(|config| !config.cluster.unwrap().node.is_empty()), "the kernel says it");
    }

    #[test]
    fn what_is_refused() {
        let name = |name: &str| {
            format!("cluster = {{ name = {name:?}, node = \"a\", urls = \"nats://127.0.0.1\" }}")
        };
        let bad_name = |bad: &str| {
            let why = "can't be a part of NATS's subjects: write letters, digits, `_` and `-`";
            (name(bad), format!("line 2: cluster.name is {bad:?}, which {why}"))
        };
        let long = "x".repeat(201);
        for (text, sentence) in [
            bad_name("a.b"),
            bad_name("a*"),
            bad_name(">"),
            bad_name("a b"),
            bad_name("a/b"),
            bad_name("préis"),
            (
                name(""),
                "line 2: cluster.name is \"\", which is no name: write letters, digits, `_` and `-`"
                    .to_owned(),
            ),
        ] {
            assert_eq!(with(&text).unwrap_err(), sentence, "{text}");
        }
        let too_long = with(&name(&long)).unwrap_err();
        assert!(too_long.ends_with(", which has 201 bytes, and 200 are the most"), "{too_long}");
        assert!(with(&name(&long[..200])).is_ok());
        refused(&[
            (
                "[cluster]\nname = \"c\"\nnode = \"a.b\"\nurls = \"nats://h\"",
                "line 4: cluster.node is \"a.b\", which can't be a part of NATS's subjects: write letters, digits, `_` \
                 and `-`",
            ),
            (
                "[cluster]\nnode = \"a\"",
                "line 2: cluster.name is missing: write name = \"…\", the same on all machines that share the link\n\
                 line 2: cluster.urls is missing: write urls = [\"nats://127.0.0.1:4222\"], or where NATS is, under [cluster]",
            ),
            ("cluster = \"c\"", "line 2: cluster is text: write a table"),
            (
                "cluster = { name = \"c\", node = \"a\", urls = [] }",
                "line 2: cluster.urls is an empty list: write at least one URL",
            ),
            (
                "cluster = { name = \"c\", node = \"a\", urls = [\"n1\", \"nats://n1:0\", \"nats://n2\", \"nats://n2:4222\"] }",
                "line 2: cluster.urls[0] has no scheme: write nats://HOST:PORT, or tls:// where the server has a certificate\n\
                 line 2: cluster.urls[1] has a bad port: write a number from 1 to 65535\n\
                 line 2: cluster.urls[3] is the same server again: list each one once",
            ),
            (
                "cluster = { name = \"c\", node = \"a\", urls = \"nats://joe:hunter2@n1\" }",
                "line 2: cluster.urls has a login in it: write cluster.user and cluster.password, or cluster.token",
            ),
            (
                "cluster = { name = \"c\", node = \"a\", urls = \"nats://${env:N}\" }",
                "line 2: cluster.urls has a placeholder, but NATS's URLs hold no secrets: write it out, and the login as \
                 cluster.credentials, user and password, or token",
            ),
            (
                "cluster = { name = \"c\", node = \"a\", url = \"nats://h\", urls = \"nats://h\" }",
                "line 2: unknown key `cluster.url`: did you mean `urls`?",
            ),
        ]);
        let slow = "is \"block\", but with [cluster] a client of one machine can't hold up the link of another: write \
                    \"gap\", \"disconnect\" or \"latest\"";
        refused(&[(
            &format!("history.slow_client = \"block\"\n{LEAST}"),
            &format!("line 2: history.slow_client {slow}"),
        )]);
        for (more, sentence) in [
            ("lease = \"500ms\"", "cluster.lease is 500ms: write 1s to 1m"),
            ("lease = \"2m\"", "cluster.lease is 2m: write 1s to 1m"),
            ("lease = 2", "cluster.lease is 2 without a unit: write \"2s\" if it is seconds"),
            (
                "replicas = 2",
                "cluster.replicas is 2, of which a majority is no smaller than of one more: write 1, 3 or 5",
            ),
            ("replicas = 7", "cluster.replicas is 7: write 1, 3 or 5"),
            ("storage = \"disk\"", "cluster.storage is \"disk\": write \"file\" or \"memory\""),
            ("candidate = \"no\"", "cluster.candidate is text: write true or false"),
            ("step_down_after = \"0s\"", "cluster.step_down_after is 0s: write 1s to 1d, or \"off\""),
            ("max_unacked = \"64KiB\"", "cluster.max_unacked is 64KiB: write 512KiB to 1GiB"),
            (
                "tls = { cert_file = \"x\" }",
                "cluster.tls.cert_file is the relative path \"x\": write one that starts with `/`",
            ),
        ] {
            assert_eq!(with(&lines(more)).unwrap_err(), format!("line 6: {sentence}"), "{more}");
        }
        let with_files =
            format!("tls = {{ ca_file = {:?} }}", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        assert_eq!(
            with(&lines(&with_files)).unwrap_err(),
            "line 6: cluster.tls is there, but no URL of cluster.urls has TLS: write tls:// instead of nats://"
        );
    }

    #[test]
    fn a_login_is_one_of_three_and_goes_nowhere_in_plain() {
        let text = |template: &Template| template.to_string();
        let NatsLogin::User { user, password } =
            cluster("user = \"u\"\npassword = \"${credential:p}\"").login
        else {
            panic!("no user")
        };
        assert_eq!((text(&user), text(&password)), ("u".to_owned(), "${credential:p}".to_owned()));
        let NatsLogin::Token(token) = cluster("token = \"${env:T}\"").login else { panic!("no token") };
        assert_eq!(text(&token), "${env:T}");
        assert_eq!(cluster("credentials = \"\"").login, NatsLogin::None);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node}.creds");
        fs::write(&file, "a seed\n").unwrap();
        let NatsLogin::Credentials(read) = cluster(&format!("credentials = {file:?}")).login else {
            panic!("no credentials")
        };
        assert_eq!(read.resolve().unwrap().expose(), "a seed", "what is in the file, not its path");
        let NatsLogin::Credentials(named) = cluster("credentials = \"${credential:nats}\"").login else {
            panic!("no credentials")
        };
        assert_eq!(text(&named), "${credential:nats}");

        for (more, sentence) in [
            ("user = \"u\"", "cluster.user is set without password: write that too"),
            ("password = \"hunter2\"", "cluster.password is set without user: write that too"),
            (
                "token = \"hunter2\"\nuser = \"u\"\npassword = \"hunter2\"",
                "cluster.token is one of several ways to log in: write credentials, or user and password, or token, and \
                 no other",
            ),
            (
                "credentials = \"hunter2\"",
                "cluster.credentials is no absolute path: write that of a .creds file, from `/` on, or \
                 `${credential:NAME}` for what is in it",
            ),
            (
                "credentials = \"/nowhere/x.creds\"",
                "cluster.credentials is \"/nowhere/x.creds\", which can't be read (No such file or directory): check the \
                 path and who may read it",
            ),
            (
                "credentials = \"hunter2${env:A}\"",
                "cluster.credentials has something beside the placeholder: write the placeholder alone, or the path of a \
                 .creds file",
            ),
            (
                "token = \"${capture:a}\"",
                "cluster.token has `${capture:a}`, which is of the upstream's: write `${credential:NAME}`, `${env:NAME}` \
                 or `${file:PATH}`",
            ),
            (
                "token = \"${command:a}\"",
                "cluster.token has `${command:a}`, which is of the upstream's: write `${credential:NAME}`, `${env:NAME}` \
                 or `${file:PATH}`",
            ),
        ] {
            let found = with(&lines(more)).unwrap_err();
            assert_eq!(found, format!("line 6: {sentence}"), "{more}");
        }
        let login = "user = \"u\"\npassword = \"p\"";
        let at = |url: &str| with(&lines(login).replace("nats://127.0.0.1", url));
        for url in ["nats://127.0.0.1:4333", "nats://localhost", "nats://[::1]", "tls://n1.example.com"] {
            assert!(at(url).is_ok(), "{url}");
        }
        for (url, host) in [("nats://n1.example.com", "n1.example.com"), ("nats://10.0.0.7:4222", "10.0.0.7")]
        {
            assert_eq!(
                at(url).unwrap_err(),
                format!(
                    "line 5: cluster.urls has nats:// to \"{host}\", where credentials would go unencrypted: write tls://"
                )
            );
        }
        assert!(with(&lines("").replace("127.0.0.1", "10.0.0.7")).is_ok(), "without a login it is as it is");
    }

    #[test]
    fn what_is_most_likely_not_meant_is_warned_of() {
        let replicas = "line 6: cluster.replicas is 3, with which NATS takes 4s to 9s to replace a server that was \
                        killed, and cluster.lease, which is 2s, doesn't outlast that: the link may be opened anew; write \
                        cluster.lease = \"15s\" to wait instead, or \"2s\" if that is meant";
        assert_eq!(warnings(&lines("replicas = 3")), [replicas]);
        for meant in [
            "replicas = 3\nlease = \"2s\"",
            "replicas = 3\nlease = \"15s\"",
            "lease = \"1s\"",
            "replicas = 1",
        ] {
            assert_eq!(warnings(&lines(meant)), [] as [String; 0], "{meant}");
        }
        let two = |more: &str| lines(more).replace("\"nats://127.0.0.1\"", "[\"nats://h1\", \"nats://h2\"]");
        assert_eq!(
            warnings(&two("")),
            [
                "line 5: cluster.urls names several NATS servers, but the stream is on one of them alone: write \
              cluster.replicas = 3, or 1 if that is meant"
            ]
        );
        assert_eq!(warnings(&two("replicas = 1")), [] as [String; 0]);
    }

    #[test]
    fn what_is_shown_of_it_holds_no_secret() {
        let text =
            format!("upstream.url = \"ws://a\"\n{}", lines("user = \"wsfan\"\npassword = \"hunter2\""));
        let shown = Config::merged(&text, &Environment::fixed([])).unwrap();
        assert!(shown.is_masked && !shown.text.contains("hunter2"), "{}", shown.text);
        assert!(
            shown.text.contains("password = \"***\"") && shown.text.contains("user = \"wsfan\""),
            "{}",
            shown.text
        );
        let token = format!("upstream.url = \"ws://a\"\n{}", lines("token = \"x${env:T}\""));
        let shown = Config::merged(&token, &Environment::fixed([])).unwrap();
        assert!(shown.text.contains("token = \"***${env:T}\""), "{}", shown.text);
    }
}
