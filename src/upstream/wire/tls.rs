//! TLS for `wss://`: rustls with ring, the system's roots or `tls.ca_file`.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Io, certificate, found::Found};
use crate::{config, upstream::failure::clean};

/// So many of the names that a wrong certificate is for are told.
const NAMES: usize = 5;

/// Reads the configured files, and the system's roots where no `ca_file` is set. They are read for
/// each attempt: a renewed certificate needs no restart.
pub(in crate::upstream) async fn client_config(tls: config::Tls) -> Result<Arc<ClientConfig>, String> {
    // reading and parsing hundreds of roots takes too long for the one thread that serves everybody
    match tokio::task::spawn_blocking(move || read_config(&tls)).await {
        Ok(config) => config,
        Err(error) => Err(format!("reading the certificates failed: {error}")),
    }
}

/// The TLS handshake with `host`, a name or an address.
pub(in crate::upstream) async fn handshake<S: Io>(
    config: Arc<ClientConfig>,
    host: &str,
    stream: S,
) -> Result<TlsStream<S>, String> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("upstream.url: {host:?} is no name that a certificate could be for"))?;
    let connector = TlsConnector::from(config);
    connector.connect(name, stream).await.map_err(|error| format!("TLS: {}", explain_handshake(&error)))
}

/// What was agreed on.
pub(in crate::upstream) fn found(connection: &ClientConnection) -> Found {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let chain = connection.peer_certificates().unwrap_or_default();
    Found::Tls {
        version: version.to_owned(),
        cipher: suite.unwrap_or("an unnamed cipher").to_owned(),
        alpn: connection.alpn_protocol().map(|name| clean(&String::from_utf8_lossy(name))),
        certificate: chain.first().and_then(|certificate| certificate::read(certificate)),
    }
}

/// An I/O error in a sentence; TLS errors say what to do.
pub(in crate::upstream) fn explain(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(error) => explain_tls(error),
        None => match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            io::ErrorKind::ConnectionReset => "connection reset by the server".to_owned(),
            io::ErrorKind::BrokenPipe => "the server has closed the connection".to_owned(),
            io::ErrorKind::UnexpectedEof => "the server ended the connection".to_owned(),
            io::ErrorKind::HostUnreachable => "no route to the host".to_owned(),
            io::ErrorKind::NetworkUnreachable => "the network is unreachable".to_owned(),
            _ => error.to_string(),
        },
    }
}

/// [`explain`], of a handshake: what ends it without a word may not speak TLS at all.
fn explain_handshake(error: &io::Error) -> String {
    let why = explain(error);
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            format!("{why}; if it doesn't speak TLS on this port, write ws:// in upstream.url")
        }
        _ => why,
    }
}

fn explain_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => explain_certificate(error),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a client certificate; set upstream.tls.cert_file and key_file".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied),
        ) => format!("the server refuses the client certificate of upstream.tls.cert_file ({alert:?})"),
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            "the server refuses the handshake: no common TLS version or cipher, or it wants a client certificate"
                .to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("the server refuses the handshake ({alert:?})"),
        rustls::Error::InvalidMessage(_) => {
            "the server doesn't speak TLS on this port; check upstream.url, its port and ws:// against wss://"
                .to_owned()
        }
        error => error.to_string(),
    }
}

fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "the server's certificate is signed by an authority that isn't trusted here; \
             set upstream.tls.ca_file if it is your own"
                .to_owned()
        }
        CertificateError::Expired => {
            "the server's certificate has expired, or this machine's clock is wrong; \
             to renew it is for the server's operator"
                .to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            let end = SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs());
            format!(
                "the server's certificate has expired on {}, or this machine's clock is wrong; to renew it is \
                 for the server's operator",
                &httpdate::fmt_http_date(end)["Mon, ".len().."Mon, 23 Nov 2026".len()]
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet, or this machine's clock is wrong".to_owned()
        }
        CertificateError::NotValidForName => "the server's certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let more = match presented.len().saturating_sub(NAMES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let presented = presented.iter().take(NAMES).map(|name| clean(plain_name(name)));
            let presented = presented.collect::<Vec<_>>().join(", ") + &more;
            let expected = expected.to_str();
            match presented.as_str() {
                "" => format!("the server's certificate is not for {expected}, nor for any other name"),
                names => format!(
                    "the server's certificate is not for {expected} but for {names}; connect to a name that it \
                     is for"
                ),
            }
        }
        CertificateError::BadSignature => {
            "the server's certificate is signed with another key than its trusted authority has; \
             is upstream.tls.ca_file of another time?"
                .to_owned()
        }
        CertificateError::Revoked => "the server's certificate is revoked".to_owned(),
        error => format!("the server's certificate is not valid: {error}"),
    }
}

/// The name itself: rustls gives it as its type and the value, `DnsName("example.com")`.
fn plain_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn read_config(tls: &config::Tls) -> Result<Arc<ClientConfig>, String> {
    let roots = match &tls.ca_file {
        Some(path) => configured_roots(path)?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots);
    let config = match (&tls.cert_file, &tls.key_file) {
        (Some(cert_file), Some(key_file)) => {
            let chain = certificates("cert_file", cert_file)?;
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| unreadable("key_file", key_file, "private key", &error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                format!("upstream.tls: {} and {} don't fit: {error}", cert_file.display(), key_file.display())
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn configured_roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca_file", path)? {
        roots.add(certificate).map_err(|error| {
            format!("upstream.tls.ca_file {}: a bad certificate: {error}", path.display())
        })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // some certificates of a system's store are odd; the others still count
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        let advice = "install ca-certificates or set upstream.tls.ca_file";
        return Err(format!("the system has no certificate authorities{why}; {advice}"));
    }
    Ok(roots)
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: pem::Error| unreadable(key, path, "certificate", &error);
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(unreadable(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn unreadable(key: &str, path: &Path, what: &str, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::Io(error) => format!("upstream.tls.{key} {path} can't be read: {error}"),
        pem::Error::NoItemsFound => format!("upstream.tls.{key} {path} has no {what} in PEM form"),
        // never the error's own words: they may quote the file
        _ => format!("upstream.tls.{key} {path} is not a {what} in PEM form"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn a_certificate_for_other_names_is_told_with_the_names_alone() {
        let expected = ServerName::try_from("127.0.0.1").unwrap();
        for (presented, sentence) in [
            (vec![], "the server's certificate is not for 127.0.0.1, nor for any other name"),
            (
                vec![r#"DnsName("localhost")"#],
                "the server's certificate is not for 127.0.0.1 but for localhost",
            ),
            (
                vec![r#"DnsName("*.a.example")"#, "IpAddress(::1)", "odd"],
                "the server's certificate is not for 127.0.0.1 but for *.a.example, ::1, odd",
            ),
        ] {
            let presented = presented.into_iter().map(str::to_owned).collect();
            let error = CertificateError::NotValidForNameContext { expected: expected.clone(), presented };
            let told = explain_certificate(&error);
            assert!(told.starts_with(sentence), "{told}");
        }
    }
}
