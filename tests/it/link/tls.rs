//! `wss://` with throw-away certificates.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use wsfan::{hub::Fate, upstream::Settings};

use super::support::*;

/// An authority and a place for its files.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    files: TempDir,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("ca.pem"), certificate.pem()).unwrap();
        let certificate = certificate.der().clone();
        Authority { issuer: Issuer::new(params, key), certificate, files }
    }

    fn issue(&self, name: &str, expired: bool) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    pub(crate) fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.files.path().join(name))
    }

    /// A server for `name`; with `clients` it wants certificates from this authority too.
    pub(crate) fn acceptor(&self, name: &str, expired: bool, clients: bool) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = self.issue(name, expired);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn tls_settings(server: &Server, authority: &Authority) -> Settings {
    let mut settings = settings(&[&format!("wss://localhost:{}/", server.port())]);
    settings.upstream.tls.ca_file = authority.file("ca.pem");
    settings
}

async fn accept(server: &Server, acceptor: &TlsAcceptor) -> std::io::Result<TlsStream<TcpStream>> {
    within("the TLS handshake", acceptor.accept(server.tcp().await)).await
}

#[tokio::test(flavor = "local")]
async fn messages_go_both_ways_over_tls() {
    let (server, authority) = (Server::bind().await, Authority::new("ours"));
    let acceptor = authority.acceptor("localhost", false, false);
    let mut rig = Rig::start(tls_settings(&server, &authority));
    let (mut stream, request) = upgrade(accept(&server, &acceptor).await.unwrap(), "").await;
    assert_eq!(header(&request, "host"), Some(&*format!("localhost:{}", server.port())));
    let text = "x".repeat(1 << 20);
    stream.write_all(&frame(0x81, text.as_bytes())).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(rig.message().await["text"], text);
    // more than a socket holds: the read side must go on while this side writes
    let fates = rig.send("y".repeat(9 << 20)).await;
    let mut got = 0;
    loop {
        let (first, payload) = read_frame(&mut stream).await.unwrap();
        got += payload.len();
        if first & 0x80 != 0 {
            break;
        }
    }
    assert_eq!(got, 9 << 20);
    assert_eq!(fates.next().await, Fate::Written);
}

#[tokio::test(flavor = "local")]
async fn certificates_that_are_not_trusted_say_why() {
    let (server, authority) = (Server::bind().await, Authority::new("ours"));
    let (other, renewed) = (Authority::new("another"), Authority::new("ours"));
    let mut rig = Rig::start(tls_settings(&server, &authority));
    for (acceptor, words) in [
        (other.acceptor("localhost", false, false), "isn't trusted here"),
        (renewed.acceptor("localhost", false, false), "another key"),
        (authority.acceptor("localhost", true, false), "has expired"),
        (authority.acceptor("elsewhere.example", false, false), "not for localhost but for"),
    ] {
        assert!(accept(&server, &acceptor).await.is_err());
        let line = rig.state("waiting").await;
        assert!(line["error"].as_str().unwrap().contains(words), "{line}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_client_certificate_is_shown_where_it_is_wanted() {
    let (server, authority) = (Server::bind().await, Authority::new("ours"));
    let acceptor = authority.acceptor("localhost", false, true);
    let mut settings = tls_settings(&server, &authority);
    let mut rig = Rig::start(settings.clone());
    assert!(accept(&server, &acceptor).await.is_err());
    let line = rig.state("waiting").await;
    assert!(line["error"].as_str().unwrap().contains("set upstream.tls.cert_file and key_file"), "{line}");

    let (certificate, key) = authority.issue("client", false);
    let (cert_file, key_file) = (authority.file("client.pem"), authority.file("client.key"));
    std::fs::write(cert_file.as_ref().unwrap(), certificate.pem()).unwrap();
    std::fs::write(key_file.as_ref().unwrap(), key.serialize_pem()).unwrap();
    (settings.upstream.tls.cert_file, settings.upstream.tls.key_file) = (cert_file, key_file);
    rig.settings.send_replace(settings);
    // an attempt from before the change may still come by
    let stream = loop {
        if let Ok(stream) = accept(&server, &acceptor).await {
            break stream;
        }
    };
    let _stream = upgrade(stream, "").await;
    rig.state("up").await;
}

#[tokio::test(flavor = "local")]
async fn files_that_can_not_be_used_are_named() {
    let (server, authority) = (Server::bind().await, Authority::new("ours"));
    std::fs::write(authority.file("junk.pem").unwrap(), "SECRET").unwrap();
    let mut settings = tls_settings(&server, &authority);
    let mut rig = Rig::start(settings.clone());
    for (file, words) in
        [("missing.pem", "missing.pem can't be read"), ("junk.pem", "junk.pem has no certificate")]
    {
        settings.upstream.tls.ca_file = authority.file(file);
        rig.settings.send_replace(settings.clone());
        let error = loop {
            let line = rig.state("waiting").await;
            match line["error"].as_str() {
                Some(error) if error.contains(file) => break error.to_owned(),
                _ => {}
            }
        };
        assert!(error.contains(words) && !error.contains("SECRET"), "{error}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_server_without_tls_and_one_that_says_nothing() {
    let (server, authority) = (Server::bind().await, Authority::new("ours"));
    let mut settings = tls_settings(&server, &authority);
    settings.upstream.connect_timeout = Duration::from_secs(3);
    let mut rig = Rig::start(settings);
    let mut plain = server.tcp().await;
    plain.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let line = rig.state("waiting").await;
    assert!(line["error"].as_str().unwrap().contains("doesn't speak TLS on this port"), "{line}");
    let _mute = server.tcp().await;
    let line = rig.state("waiting").await;
    assert!(line["error"].as_str().unwrap().contains("the TLS handshake wasn't finished"), "{line}");
}
