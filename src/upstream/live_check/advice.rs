//! What to do about a walk that failed, where its sentence doesn't say so already.

use super::Part;
use crate::upstream::{failure::Failure, machine::How};

/// What to do: the end of a sentence. `error` is the failure's sentence without the name of the part.
pub(super) fn advice(part: Part, how: How, failure: &Failure, error: &str) -> Option<&'static str> {
    Some(match (part, how) {
        (Part::Prepare, How::Late) => "see what its commands wait for, or raise upstream.connect_timeout",
        (Part::Prepare, _) if error.contains("there is no such file") => return None,
        (Part::Prepare, _) => {
            "this check goes by this user's rights and environment, which may not be those of the service"
        }
        (Part::Dns, _) => "check the name, and that this machine's DNS answers",
        (Part::Tcp, _) => {
            "check host and port, that something listens there, and that no firewall is in between"
        }
        (Part::Proxy, _) => "check the proxy's address and login, and what it lets through",
        (Part::Tls, How::Late) => {
            "check that what listens on this port speaks TLS, or write ws:// if it doesn't"
        }
        (Part::Tls, _) => return None,
        (Part::Upgrade, How::Late) => "check port and path in the URL: what listens there may not speak HTTP",
        (Part::Upgrade, _) => match failure.http_status {
            Some(429) => "wait a while, or ask for a higher limit",
            Some(500..=599) => "it is the server's own trouble: try again later, or ask its operator",
            Some(_) => return None,
            None => "check port and path in the URL: what answers there may be no WebSocket server",
        },
        (Part::Step, How::Late) => "compare its `expect` with what was heard, or raise its timeout",
        (Part::Step | Part::Heartbeat, How::Program) => {
            "run it by hand, as the service's user: its exit status and what it writes on standard error say more"
        }
        (Part::Step, How::Unsaid) => "give it a value, or leave the step out with `if_captured` or `if_var`",
        (Part::Step, How::PutOff) => {
            "the daemon stays connected meanwhile, and this check doesn't wait for it"
        }
        (Part::Step, How::Plain) => "see what limits.messages holds back, or raise upstream.connect_timeout",
        (Part::Step, How::Refused) if error.starts_with(NOT_THERE) => {
            "compare the pointer with what was heard"
        }
        (Part::Step, How::Refused | How::Lost) => {
            // of a connection that ended the code and the server's own words tell
            let said = match (how, &failure.reason) {
                (How::Refused, _) => error.strip_prefix("the server refused: ").unwrap_or_default(),
                (_, reason) => reason.as_deref().unwrap_or_default(),
            };
            let is_login = matches!(failure.code, Some(3000 | 3003)) && !failure.is_ours;
            match Meaning::of(said) {
                Meaning::Later => "this is about the time, not about what the step sends: try again later",
                Meaning::Login => CREDENTIALS,
                Meaning::Other if is_login => CREDENTIALS,
                Meaning::Other if how == How::Lost => {
                    "see what this server wants to hear by then, and what it does with what the step sends"
                }
                Meaning::Other => "check what the step sends against what this server wants",
            }
        }
        (Part::Heartbeat, How::Late) => {
            "check heartbeat.kind, message and expect against what this server answers, or raise \
             heartbeat.timeout"
        }
        (Part::Heartbeat, How::Unsaid) => "give it a value",
        (Part::Heartbeat, _) => "check that this server takes the heartbeat that is configured",
        (Part::Reply | Part::Close, _) => return None,
    })
}

/// How the session begins to say that a capture leads nowhere.
const NOT_THERE: &str = "the expected message has no ";

const CREDENTIALS: &str = "check what the step sends, the credentials above all";

/// What a server's refusal is about, as far as its words tell.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Later,
    Login,
    Other,
}

impl Meaning {
    fn of(said: &str) -> Meaning {
        const LATER: &[&str] = &[
            "not yet",
            "not_yet",
            "notyet",
            "not ready",
            "not_ready",
            "notready",
            "pending",
            "later",
            "rate limit",
            "rate_limit",
            "ratelimit",
            "rate-limit",
            "too many",
            "too_many",
            "toomany",
            "too fast",
            "throttl",
            "busy",
            "unavailable",
            "maintenance",
            "overload",
        ];
        const LOGIN: &[&str] = &[
            "unauth",
            "authent",
            "authoriz",
            "authoris",
            "login",
            "log in",
            "logon",
            "credential",
            "password",
            "token",
            "signature",
            "permission",
            "forbidden",
            "apikey",
            "api key",
            "api_key",
            "api-key",
            "access denied",
            "access_denied",
        ];
        // a parser's word, which is about no login
        let said = said.to_lowercase().replace("unexpected token", "");
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let has_auth = || {
            let mut words = said.split(|c: char| !c.is_alphanumeric());
            words.any(|word| word.starts_with("auth") && !word.starts_with("author"))
        };
        match () {
            () if has(LATER) => Meaning::Later,
            () if has(LOGIN) || has_auth() => Meaning::Login,
            () => Meaning::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_says_what_to_do_gets_no_more_advice() {
        for (status, said) in
            [(None, true), (Some(401), false), (Some(200), false), (Some(429), true), (Some(503), true)]
        {
            let failure = Failure { http_status: status, ..Failure::default() };
            assert_eq!(advice(Part::Upgrade, How::Plain, &failure, "").is_some(), said, "{status:?}");
        }
    }

    #[test]
    fn only_a_refused_login_is_about_credentials() {
        for (said, means) in [
            (r#"{"type":"auth_invalid"}"#, Meaning::Login),
            (r#"{"code":401,"msg":"Unauthorized"}"#, Meaning::Login),
            (r#"{"error":"token expired"}"#, Meaning::Login),
            (r#"{"error":"Invalid API key"}"#, Meaning::Login),
            (r#"{"event":"AuthFailed"}"#, Meaning::Login),
            (r#"[3,"1",{"status":"Pending","interval":30}]"#, Meaning::Later),
            ("not yet", Meaning::Later),
            ("too many login attempts", Meaning::Later),
            ("authentication service unavailable, try again later", Meaning::Later),
            (r#"{"error":"unknown channel"}"#, Meaning::Other),
            ("Unexpected token } in JSON at position 7", Meaning::Other),
            ("no such author", Meaning::Other),
            ("the bytes [20 02 00 05]", Meaning::Other),
            ("", Meaning::Other),
        ] {
            assert_eq!(Meaning::of(said), means, "{said}");
        }
    }

    #[test]
    fn a_step_is_advised_by_what_ended_it() {
        let advice = |how, failure: &Failure| {
            advice(Part::Step, how, failure, failure.error.as_deref().unwrap()).unwrap()
        };
        let refused = |said| Failure::attempt(format!("the server refused: {said}"));
        assert_eq!(advice(How::Refused, &refused("bad login")), CREDENTIALS);
        assert!(advice(How::Refused, &refused("not yet")).contains("later"));
        assert!(advice(How::Refused, &refused("what?")).contains("what this server wants"));
        let not_there = Failure::attempt("the expected message has no /x to capture as `x`");
        assert!(advice(How::Refused, &not_there).contains("pointer"));
        // its own words aren't the server's
        let kept = "the server refused, in words that publish = false keeps back";
        assert!(advice(How::Refused, &Failure::attempt(kept)).contains("what this server wants"));
        for (code, reason, is_login) in [
            (3000, "", true),
            (3003, "", true),
            (4001, "bad token", true),
            (1013, "try again later", false),
            (1000, "", false),
        ] {
            let advice = advice(How::Lost, &Failure::closed_there(Some(code), reason));
            assert_eq!(advice == CREDENTIALS, is_login, "{code} {reason}: {advice}");
        }
    }

    #[test]
    fn advice_is_the_end_of_a_sentence() {
        use Part::*;
        for part in [Prepare, Dns, Tcp, Proxy, Tls, Upgrade, Step, Reply, Heartbeat, Close] {
            for how in
                [How::Plain, How::Late, How::Refused, How::PutOff, How::Unsaid, How::Program, How::Lost]
            {
                let Some(advice) = advice(part, how, &Failure::default(), "") else { continue };
                assert!(advice.starts_with(char::is_lowercase) && !advice.ends_with('.'), "{advice}");
            }
        }
    }
}
