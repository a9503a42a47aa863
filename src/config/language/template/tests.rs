use std::fs;

use proptest::prelude::*;

use super::*;

fn resolved(text: &str, variables: &[(&str, &str)]) -> Result<String, String> {
    let environment = Environment::fixed(variables.iter().copied());
    let secret = Template::parse(text).unwrap().resolve_in(&environment);
    secret.map(|secret| secret.expose().to_owned()).map_err(|error| error.to_string())
}

#[test]
fn environment_variables_and_escapes() {
    let variables = [("A", "1"), ("B", "two\n"), ("C", "three\r\n"), ("E", ""), ("N", "\n")];
    for (text, expected) in [
        ("", Ok("")),
        ("plain", Ok("plain")),
        ("$ { } $x $$ {}", Ok("$ { } $x $$ {}")),
        ("${env:A}", Ok("1")),
        ("a ${env:A}${env:B} b", Ok("a 1two b")),
        ("${env:C}!", Ok("three!")),
        ("$${env:A}", Ok("${env:A}")),
        ("$$${env:A}", Ok("$${env:A}")),
        ("$${${env:A}}", Ok("${1}")),
        (
            "${env:D}",
            Err(
                "`${env:D}` is not set in the environment: set it where wsfan runs, in a unit by `Environment=`",
            ),
        ),
        ("${env:E}", Err("`${env:E}` is empty")),
        ("${env:N}", Err("`${env:N}` is empty")),
    ] {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(resolved(text, &variables), expected, "{text}");
    }
}

#[test]
fn bad_placeholders() {
    for (text, sentence) in [
        ("${", "a `${` is not closed: add the `}`, or write `$${` for the text `${`"),
        ("x${env:A", "a `${` is not closed: add the `}`, or write `$${` for the text `${`"),
        ("${A}", "`${A}` has no kind: write such as `${env:NAME}`, `${credential:NAME}` or `${file:PATH}`"),
        ("${env:}", "`${env:}` has no name after the colon"),
        ("${file:}", "`${file:}` has no name after the colon"),
        ("${credential:}", "`${credential:}` has no name after the colon"),
        (
            "${enw:A}",
            "`${enw:A}` is of an unknown kind: the kinds are credential, env, file, command, var, derived, \
             capture, last, field, topic and hole, and without a name now_ms, now_s, uuid, connection_id, next_id, \
             topic, topics, payload, key and subscribed_id",
        ),
        ("${uuid:A}", "`${uuid:A}` has a name, but needs none: take out the colon"),
        ("${var:}", "`${var:}` has no name after the colon"),
        ("${last:s}", "`${last:s}` is no JSON pointer: write one such as \"/type\", or \"\" for the whole"),
        (
            "${command:a/~}",
            "`${command:a/~}` is no JSON pointer: write ~0 for `~`, and ~1 for a `/` in a key",
        ),
        ("${env:A=B}", "`${env:A=B}` names no environment variable: take out the `=`"),
        (
            "${credential:../x}",
            "`${credential:../x}` names no credential: write a plain file name, without `/`",
        ),
        ("${credential:..}", "`${credential:..}` names no credential: write a plain file name, without `/`"),
        ("${credential:a/}", "`${credential:a/}` names no credential: write a plain file name, without `/`"),
        ("${file:a/b}", "`${file:a/b}` is a relative path: write one that starts with `/`"),
    ] {
        assert_eq!(Template::parse(text).unwrap_err().to_string(), sentence, "{text}");
    }
}

#[test]
fn files_are_read_afresh_and_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let name = path.to_str().unwrap();
    let text = format!("Bearer ${{file:{name}}}");
    let error = |why: &str| Err(format!("`${{file:{name}}}` {why}"));

    let missing = error("can't be read: there is no such file: write it there, or correct the path");
    assert_eq!(resolved(&text, &[]), missing);
    fs::write(&path, "one\n").unwrap();
    assert_eq!(resolved(&text, &[]), Ok("Bearer one".to_owned()));
    fs::write(&path, "two").unwrap();
    assert_eq!(resolved(&text, &[]), Ok("Bearer two".to_owned()));
    fs::write(&path, b"\xff").unwrap();
    assert_eq!(resolved(&text, &[]), error("is not UTF-8 text"));
    fs::write(&path, "x".repeat(64 * 1024)).unwrap();
    assert!(resolved(&text, &[]).is_ok());
    fs::write(&path, "x".repeat(64 * 1024 + 1)).unwrap();
    assert_eq!(resolved(&text, &[]), error("is larger than 64KiB"));
    assert_eq!(resolved("${file:/}", &[]), Err("`${file:/}` is not a regular file".to_owned()));
}

#[test]
fn credentials_come_from_their_directory() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("token"), "hunter2\n").unwrap();
    let variable = ("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap());
    assert_eq!(resolved("${credential:token}", &[variable]), Ok("hunter2".to_owned()));
    assert_eq!(
        resolved("${credential:other}", &[variable]),
        Err("`${credential:other}` can't be read: there is no such file: add LoadCredential=other:/path/to/file to the \
             systemd unit".to_owned())
    );
    let unset = resolved("${credential:token}", &[]).unwrap_err();
    assert_eq!(
        unset,
        "`${credential:token}` can't be read, since $CREDENTIALS_DIRECTORY is not set: \
         add LoadCredential=token:/path/to/file to the systemd unit"
    );
}

#[test]
fn a_literal_is_taken_as_it_is() {
    let literal = Template::literal("a ${env:HOME}");
    assert!(literal.is_literal());
    assert_eq!(literal.resolve().unwrap().expose(), "a ${env:HOME}");
    assert_eq!(literal.to_string(), "a $${env:HOME}");
    assert!(!Template::parse("${env:HOME}").unwrap().is_literal());
    assert_eq!(Template::parse("abc").unwrap(), Template::literal("abc"));
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in ".*") {
        let _ = Template::parse(&text);
    }

    #[test]
    fn what_is_shown_parses_to_the_same(text in r"([$]|[{]|[}]|a|[$][{]env:X[}]){0,12}") {
        if let Ok(template) = Template::parse(&text) {
            prop_assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
        }
    }

    #[test]
    fn a_literal_resolves_to_itself(text in "[${}a:nev]{0,12}") {
        let literal = Template::literal(&text);
        let secret = literal.resolve().unwrap();
        prop_assert_eq!(secret.expose(), &text);
        prop_assert_eq!(Template::parse(&literal.to_string()).unwrap(), literal);
    }
}
