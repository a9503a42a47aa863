//! One connection to one server, or why there is none.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError};
use rustls::CertificateError;
use tokio::sync::mpsc;

use super::{settings::Settings, trouble::Trouble};
use crate::config::{NatsLogin, NatsUrl, Template};

/// So many messages of one subscription may wait to be drained, which comes to more than the client reads before that.
const WAITING_MESSAGES: usize = 64 << 10;

/// How much the client reads at once, if no larger message is being read.
const READ_SIZE: u16 = 8 << 10;

/// So many commands may be on their way to the connection's task; what they hold is bounded where they are given.
const WAITING_COMMANDS: usize = 64;

/// So much of a complaint is kept.
const MAX_COMPLAINT: usize = 4 << 10;

/// So many complaints of a server's may wait to be looked at.
const WAITING_SIGNS: usize = 32;

/// What happens to a connection.
#[derive(Debug)]
pub(super) enum Sign {
    /// It is lost.
    Lost,
    /// The server says so.
    Complaint(String),
}

/// A connection.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) signs: mpsc::Receiver<Sign>,
    /// Messages were dropped, since too many waited.
    pub(super) overrun: Arc<AtomicBool>,
    pub(super) url: String,
}

/// Connects to a server.
///
/// # Errors
/// A sentence.
pub(super) async fn connect(settings: Rc<Settings>, url: NatsUrl) -> Result<Connection, Trouble> {
    let url = url.to_string();
    let (signs, receiver) = mpsc::channel(WAITING_SIGNS);
    let overrun = Arc::new(AtomicBool::new(false));
    let is_overrun = Arc::clone(&overrun);
    let options = options(&settings).await?.event_callback(move |event| {
        let sign = match event {
            Event::SlowConsumer(_) => {
                is_overrun.store(true, Ordering::Relaxed);
                None
            }
            Event::Disconnected | Event::Closed => Some(Sign::Lost),
            Event::ServerError(ServerError::Other(text)) => Some(Sign::Complaint(short(text))),
            Event::ServerError(error) => Some(Sign::Complaint(short(error.to_string()))),
            Event::Connected | Event::LameDuckMode | Event::Draining | Event::ClientError(_) => None,
        };
        if let Some(sign) = sign {
            // one that finds no room is repeated, or seen by the connection's state
            let _ = signs.try_send(sign);
        }
        std::future::ready(())
    });
    // a name's look-up has no end of its own, and a name may have several addresses
    let within = settings.setup_within() * 2;
    let connected = tokio::time::timeout(within, options.connect(&url)).await;
    match connected.unwrap_or_else(|_| Err(ConnectErrorKind::TimedOut.into())) {
        Ok(client) => Ok(Connection { client, signs: receiver, overrun, url }),
        Err(error) => Err(explain(&settings, &url, &error)),
    }
}

fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_COMPLAINT));
    text
}

async fn options(settings: &Settings) -> Result<ConnectOptions, Trouble> {
    let cluster = &settings.cluster;
    let timeout = settings.setup_within();
    let mut options = ConnectOptions::new()
        .name(format!("wsfan {} {}", cluster.name, cluster.node))
        .custom_inbox_prefix(settings.inbox())
        .connection_timeout(timeout)
        .ping_interval(settings.pings_after())
        .subscription_capacity(WAITING_MESSAGES)
        .client_capacity(WAITING_COMMANDS)
        .read_buffer_capacity(READ_SIZE)
        .request_timeout(Some(timeout))
        // what is known of the servers is what the configuration says: their certificates and rights are known too
        .ignore_discovered_servers()
        .retain_servers_order()
        // a lost connection isn't taken up again, with what may still wait in it: there will be a new one
        .max_reconnects(1);
    options = match &cluster.login {
        NatsLogin::None => options,
        NatsLogin::User { user, password } => {
            let user = value("user", user).await?;
            options.user_and_password(user, value("password", password).await?)
        }
        NatsLogin::Token(token) => options.token(value("token", token).await?),
        NatsLogin::Credentials(file) => {
            // its last line needs an end, which the template's value lacks
            let creds = value("credentials", file).await? + "\n";
            options.credentials(&creds).map_err(|_| {
                Trouble::fatal(
                    "cluster.credentials holds no JWT and seed of a NATS user: it must be a .creds file, as nsc makes it",
                )
            })?
        }
    };
    if let Some(file) = &cluster.tls.ca_file {
        options = options.add_root_certificates(file.clone());
    }
    if let (Some(cert), Some(key)) = (&cluster.tls.cert_file, &cluster.tls.key_file) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(options)
}

/// What a template of the login stands for now: a file may have been renewed.
async fn value(key: &str, template: &Template) -> Result<String, Trouble> {
    let template = template.clone();
    let resolved = tokio::task::spawn_blocking(move || {
        template.resolve().map(|secret| secret.expose().to_owned()).map_err(|error| error.to_string())
    });
    let resolved = resolved.await.unwrap_or_else(|error| Err(error.to_string()));
    resolved.map_err(|why| Trouble::fatal(format!("cluster.{key}: {why}")))
}

fn explain(settings: &Settings, url: &str, error: &ConnectError) -> Trouble {
    let source = std::error::Error::source(error);
    if let Some(why) = source.and_then(<dyn std::error::Error>::downcast_ref).and_then(explain_tls) {
        return Trouble::fatal(format!("TLS with the NATS server {url} failed: {why}"));
    }
    let source = source.map(ToString::to_string).unwrap_or_default();
    Trouble::fatal(match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            match &settings.cluster.login {
                NatsLogin::None => format!(
                    "the NATS server {url} wants to know who this is: set cluster.credentials, or cluster.user and password"
                ),
                NatsLogin::Credentials(_) => format!(
                    "the NATS server {url} refuses the user of cluster.credentials: check which account that is for, and \
                     whether it has expired"
                ),
                NatsLogin::User { .. } => {
                    format!(
                        "the NATS server {url} refuses this login: check cluster.user and cluster.password"
                    )
                }
                NatsLogin::Token(_) => {
                    format!("the NATS server {url} refuses the token: check cluster.token")
                }
            }
        }
        ConnectErrorKind::TimedOut => {
            format!(
                "the NATS server {url} doesn't answer: check host and port, that nats-server is what listens there, and \
                 that no firewall is in between"
            )
        }
        ConnectErrorKind::Dns => {
            format!("the NATS server {url} has no address: {source}; check cluster.urls")
        }
        ConnectErrorKind::Tls => {
            format!("TLS with the NATS server {url} failed: {source}; check cluster.tls")
        }
        ConnectErrorKind::ServerParse => {
            format!("{url} is no NATS server's URL: {source}; check cluster.urls")
        }
        ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            // the words of async-nats, which has no kind of error for it
            if source.contains("got nothing") {
                return Trouble::fatal(format!(
                    "{url} ends the connection without a word: check that nats-server is what listens there"
                ));
            }
            let foreign = ["expected INFO", "invalid server operation", "unable to parse unknown input"];
            if foreign.iter().any(|words| source.contains(words)) {
                return Trouble::fatal(format!(
                    "what listens at {url} doesn't speak as a NATS server does: check host and port in cluster.urls"
                ));
            }
            let hint =
                if source.contains("onnection refused") { "; is nats-server running there?" } else { "" };
            format!("the NATS server {url} can't be reached: {source}{hint}")
        }
    })
}

/// What TLS makes of it, and what to do.
fn explain_tls(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let hint = match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "set cluster.tls.ca_file to the certificate of its issuer, or have the system trust that"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "write a name of the certificate in cluster.urls",
        rustls::Error::InvalidCertificate(_) => "the server needs another certificate",
        rustls::Error::AlertReceived(_) => {
            "it may want a certificate of this node: set cluster.tls.cert_file and key_file, and check whether it trusts \
             their issuer"
        }
        rustls::Error::InvalidMessage(_) => {
            "if it has no TLS, write nats:// in cluster.urls, with no login but on this machine"
        }
        _ => "check cluster.tls",
    };
    Some(format!("{error}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cluster, History};

    /// One of nobody's.
    const CREDS: &str = "-----BEGIN NATS USER JWT-----\neyJ0eXAiOiJKV1QifQ.e30.c2ln\n------END NATS USER JWT------\n\n\
        ************************* IMPORTANT *************************\nNKEY Seed printed below can be used to sign.\n\n\
        -----BEGIN USER NKEY SEED-----\nSUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n\
        ------END USER NKEY SEED------\n";

    async fn options_for(creds: &str) -> Result<ConnectOptions, Trouble> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), creds).unwrap();
        let mut cluster = Cluster::new("x", "a", NatsUrl::parse("nats://127.0.0.1").unwrap());
        let template = Template::parse(&format!("${{file:{}}}", file.path().display())).unwrap();
        cluster.login = NatsLogin::Credentials(template);
        options(&Settings::new(&cluster, &History::default())).await
    }

    #[test]
    fn what_tls_makes_of_it_is_told_with_what_to_do() {
        let why = |error: rustls::Error| {
            let error = ConnectError::from(io::Error::new(io::ErrorKind::InvalidData, error));
            let cluster = Cluster::new("x", "a", NatsUrl::parse("nats://127.0.0.1").unwrap());
            explain(&Settings::new(&cluster, &History::default()), "tls://n1:4222", &error).to_string()
        };
        assert_eq!(
            why(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)),
            "TLS with the NATS server tls://n1:4222 failed: invalid peer certificate: UnknownIssuer; set \
             cluster.tls.ca_file to the certificate of its issuer, or have the system trust that"
        );
        assert!(
            why(rustls::Error::InvalidCertificate(CertificateError::NotValidForName))
                .ends_with("in cluster.urls")
        );
        assert!(why(rustls::Error::HandshakeNotComplete).ends_with("; check cluster.tls"));
    }

    #[tokio::test]
    async fn credentials_are_what_the_file_has_in_it() {
        assert!(options_for(CREDS).await.is_ok());
        let why = options_for("hello\n").await.unwrap_err().to_string();
        assert!(why.starts_with("cluster.credentials holds no JWT and seed"), "{why}");
        let why = options_for("").await.unwrap_err().to_string();
        assert!(why.starts_with("cluster.credentials: "), "{why}");
    }
}
