//! What to do about a walk that failed, where its sentence doesn't say so already. Pure.

use super::Part;

/// How a part of the way failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// As its sentence says.
    Plain,
    /// Nothing came in time.
    Late,
    /// What came is a refusal.
    Refused,
    /// The server isn't ready for it yet.
    PutOff,
    /// Something that was to be sent has no value.
    Unsaid,
    /// The connection ended.
    Lost,
}

/// What to do: the end of a sentence.
pub(super) fn advice(part: Part, how: How, http_status: Option<u16>) -> Option<&'static str> {
    Some(match (part, how) {
        (Part::Prepare, How::Late) => "see what its commands wait for, or raise upstream.connect_timeout",
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
        (Part::Upgrade, _) => match http_status {
            Some(429) => "wait a while, or ask for a higher limit",
            Some(500..=599) => "it is the server's own trouble: try again later, or ask its operator",
            Some(_) => return None,
            None => "check port and path in the URL: what answers there may be no WebSocket server",
        },
        (Part::Step, How::Late) => "compare its `expect` with what was heard, or raise its timeout",
        (Part::Step, How::Unsaid) => "give it a value, or leave the step out with `if_captured` or `if_var`",
        (Part::Step, How::PutOff) => {
            "the daemon stays connected meanwhile, and this check doesn't wait for it"
        }
        (Part::Step, _) => "check what the step sends, the credentials above all",
        (Part::Heartbeat, How::Late) => {
            "check heartbeat.kind, message and expect against what this server answers, or raise \
             heartbeat.timeout"
        }
        (Part::Heartbeat, How::Unsaid) => "give it a value",
        (Part::Heartbeat, _) => "check that this server takes the heartbeat that is configured",
        (Part::Close, _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_says_what_to_do_gets_no_more_advice() {
        for (status, said) in
            [(None, true), (Some(401), false), (Some(200), false), (Some(429), true), (Some(503), true)]
        {
            assert_eq!(advice(Part::Upgrade, How::Plain, status).is_some(), said, "{status:?}");
        }
    }

    #[test]
    fn advice_is_the_end_of_a_sentence() {
        use Part::*;
        for part in [Prepare, Dns, Tcp, Proxy, Tls, Upgrade, Step, Heartbeat, Close] {
            for how in [How::Plain, How::Late, How::Refused, How::PutOff, How::Unsaid, How::Lost] {
                let Some(advice) = advice(part, how, None) else { continue };
                assert!(advice.starts_with(char::is_lowercase) && !advice.ends_with('.'), "{advice}");
            }
        }
    }
}
