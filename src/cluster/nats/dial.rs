//! One connection to one server, or why there is none.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError};
use tokio::sync::mpsc;

use super::{
    settings::{Login, Settings},
    trouble::Trouble,
};

/// So many messages of one subscription may wait here. (JetStream's flow control keeps a consumer's within 32 MiB.)
const WAITING_MESSAGES: usize = 64 << 10;

/// So many commands may be on their way to the connection's task.
const WAITING_COMMANDS: usize = 64;

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
pub(super) async fn connect(settings: Rc<Settings>, url: String) -> Result<Connection, Trouble> {
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
            Event::ServerError(ServerError::Other(text)) => Some(Sign::Complaint(text)),
            Event::ServerError(error) => Some(Sign::Complaint(error.to_string())),
            Event::Connected | Event::LameDuckMode | Event::Draining | Event::ClientError(_) => None,
        };
        if let Some(sign) = sign {
            // one that finds no room is repeated, or seen by the connection's state
            let _ = signs.try_send(sign);
        }
        std::future::ready(())
    });
    match options.connect(&url).await {
        Ok(client) => Ok(Connection { client, signs: receiver, overrun, url }),
        Err(error) => Err(explain(&settings, &url, &error)),
    }
}

async fn options(settings: &Settings) -> Result<ConnectOptions, Trouble> {
    let timeout = (settings.lease / 2).clamp(Duration::from_secs(1), Duration::from_secs(5));
    let mut options = ConnectOptions::new()
        .name(format!("wsfan {} {}", settings.name, settings.node))
        .custom_inbox_prefix(settings.inbox())
        .connection_timeout(timeout)
        .ping_interval(settings.pings_after())
        .subscription_capacity(WAITING_MESSAGES)
        .client_capacity(WAITING_COMMANDS)
        .request_timeout(Some(timeout))
        // what is known of the servers is what the configuration says: their certificates and rights are known too
        .ignore_discovered_servers()
        .retain_servers_order()
        // a lost connection isn't taken up again, with what may still wait in it: there will be a new one
        .max_reconnects(1);
    options = match &settings.login {
        Login::None => options,
        Login::User { user, password } => options.user_and_password(user.clone(), password.clone()),
        Login::Token(token) => options.token(token.clone()),
        Login::Credentials(file) => options.credentials_file(file).await.map_err(|error| {
            Trouble::fatal(format!(
                "cluster.credentials: {}: {error}; it must be a .creds file",
                file.display()
            ))
        })?,
    };
    if let Some(file) = &settings.tls.ca_file {
        options = options.add_root_certificates(file.clone());
    }
    if let Some((cert, key)) = &settings.tls.cert {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(options)
}

fn explain(settings: &Settings, url: &str, error: &ConnectError) -> Trouble {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    Trouble::fatal(match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            match &settings.login {
                Login::None => format!(
                    "the NATS server {url} wants to know who this is: set cluster.credentials, or cluster.user and password"
                ),
                Login::Credentials(file) => format!(
                    "the NATS server {url} refuses the credentials of {}: check the user and the account they are for",
                    file.display()
                ),
                Login::User { user, .. } => {
                    format!(
                        "the NATS server {url} refuses the user {user:?}: check cluster.user and cluster.password"
                    )
                }
                Login::Token(_) => format!("the NATS server {url} refuses the token: check cluster.token"),
            }
        }
        ConnectErrorKind::TimedOut => {
            format!(
                "the NATS server {url} doesn't answer: check the address, and whether a firewall is between"
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
            let hint =
                if source.contains("onnection refused") { "; is nats-server running there?" } else { "" };
            format!("the NATS server {url} can't be reached: {source}{hint}")
        }
    })
}
