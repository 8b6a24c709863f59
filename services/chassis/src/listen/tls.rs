//! TLS on a port: its settings, its certificates as they change, and the
//! handshake of a connection.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::CertificateDer,
    server::{Acceptor, WebPkiClientVerifier},
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

use super::{Port, Protocol};
use crate::{
    settings::SettingsError,
    tls::{ALPN_HTTP1, ALPN_HTTP2, Files, Fingerprint, Material, Stream, provider},
};

/// The table of these settings.
const TABLE: &str = "connections.tls";

/// TLS on a port: with it, nothing but TLS is spoken there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the certificate, followed by those that lead to its authority.
    pub certificate_file: PathBuf,
    /// PEM file of the certificate's key, without a passphrase.
    pub key_file: PathBuf,
    /// PEM file of the authorities whose certificates clients may prove
    /// themselves by. None: clients are not asked for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca_file: Option<PathBuf>,
    /// What is asked of clients when there is a `client_ca_file`.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
    /// The oldest version that is spoken.
    #[serde(default)]
    pub min_version: Version,
    /// How long a handshake may take after the client's first message, its wait
    /// for a turn included. The first message has `first_byte_timeout`.
    #[serde(default = "handshake_timeout", with = "crate::duration")]
    pub handshake_timeout: Duration,
    /// Handshakes under way at once; further ones wait for their turn. A
    /// connection that has said nothing yet takes none.
    #[serde(default = "max_handshakes")]
    pub max_handshakes: usize,
    /// How often the files are looked at. New ones count for the connections that
    /// come after; those that cannot be used are logged, and the old ones stay.
    #[serde(default = "reload_interval", with = "crate::duration")]
    pub reload_interval: Duration,
}

/// Whether clients must prove themselves by a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificate {
    /// No certificate, no connection.
    #[default]
    Required,
    /// They may; a certificate that is not of the authorities is refused all the
    /// same.
    Optional,
}

/// A version of TLS, as OpenSSL and nginx spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum Version {
    /// RFC 5246, with forward secrecy and authenticated encryption alone.
    #[default]
    #[serde(rename = "TLSv1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "TLSv1.3")]
    V1_3,
}

/// The certificates by which a client proved itself: in the extensions of every
/// request of a port with a `client_ca_file`, if the client has any.
#[derive(Debug, Clone)]
pub struct PeerCertificates(Arc<[CertificateDer<'static>]>);

/// What a port shows to those that connect, kept up to date.
pub(super) struct Certificates {
    tls: Tls,
    files: Files,
    protocol: Protocol,
    /// Sessions and tickets are of the certificates they were made with: a client
    /// that resumes after a change proves itself anew.
    current: ArcSwap<ServerConfig>,
    first: Fingerprint,
    turns: Semaphore,
}

/// A connection after its handshake.
pub(super) struct Secured {
    pub(super) stream: Stream,
    /// Whether the handshake settled on HTTP/2, if it settled on anything.
    pub(super) is_http2: Option<bool>,
    pub(super) peer: Option<PeerCertificates>,
}

// === impl Tls ===

impl Tls {
    /// TLS with this certificate and key, no certificates of clients, and the
    /// usual bounds.
    pub fn new(certificate_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        Self {
            certificate_file: certificate_file.into(),
            key_file: key_file.into(),
            client_ca_file: None,
            client_certificate: ClientCertificate::default(),
            min_version: Version::default(),
            handshake_timeout: handshake_timeout(),
            max_handshakes: max_handshakes(),
            reload_interval: reload_interval(),
        }
    }
}

fn handshake_timeout() -> Duration {
    Duration::from_secs(5)
}

fn max_handshakes() -> usize {
    256
}

fn reload_interval() -> Duration {
    Duration::from_secs(10)
}

// === impl PeerCertificates ===

impl PeerCertificates {
    /// The certificates as DER, the client's own first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(AsRef::as_ref)
    }
}

// === impl Certificates ===

impl Certificates {
    /// Reads the files, and fails with every problem they have.
    pub(super) fn read(tls: Tls, protocol: Protocol) -> Result<Self, SettingsError> {
        let identity = (tls.certificate_file.clone(), tls.key_file.clone());
        let authorities = tls.client_ca_file.clone().map(|file| ("client_ca_file", file));
        let files = Files::new(TABLE, Some(identity), authorities);
        let material =
            files.read(None).map_err(|wrong| SettingsError { problems: wrong.problems })?;
        let failed = |problem| SettingsError { problems: vec![problem] };
        // Files that were never read do not count as unchanged.
        let material = material.ok_or_else(|| failed(format!("`{TABLE}`: it names no files")))?;
        let first = material.fingerprint;
        let config = config(&tls, protocol, material).map_err(failed)?;
        let turns = Semaphore::new(tls.max_handshakes.clamp(1, Semaphore::MAX_PERMITS));
        Ok(Self { files, protocol, current: ArcSwap::from_pointee(config), first, turns, tls })
    }

    /// Looks at the files again and again. Never returns.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut seen = self.first;
        loop {
            tokio::time::sleep(self.tls.reload_interval.max(Duration::from_millis(1))).await;
            let this = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || this.look(seen)).await {
                Ok(now) => seen = now,
                Err(error) => tracing::error!(%error, "the certificates could not be looked at"),
            }
        }
    }

    /// Takes up files that are others than those last seen; says which were seen
    /// now.
    fn look(&self, seen: Fingerprint) -> Fingerprint {
        let (problems, now) = match self.files.read(Some(seen)) {
            Ok(None) => return seen,
            Ok(Some(material)) => {
                let now = material.fingerprint;
                match config(&self.tls, self.protocol, material) {
                    Ok(config) => {
                        self.current.store(Arc::new(config));
                        tracing::info!(
                            certificate_file = %self.tls.certificate_file.display(),
                            "new certificates are shown from now on"
                        );
                        return now;
                    }
                    Err(problem) => (vec![problem], Some(now)),
                }
            }
            Err(wrong) => (wrong.problems, wrong.fingerprint),
        };
        tracing::error!(
            problems = problems.join("; "),
            "new certificates cannot be used; the old ones stay"
        );
        // The same files are not complained of twice; files that could not be read
        // are, until they can.
        now.unwrap_or(seen)
    }

    /// The handshake of one connection; `None` if it came to nothing, which is
    /// counted.
    pub(super) async fn shake_hands(&self, stream: TcpStream, port: &Port) -> Option<Secured> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let hello = match timeout(port.config.first_byte_timeout, hello).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) => return refuse(port, &error),
            Err(_elapsed) => {
                port.refused("first_byte").inc();
                return None;
            }
        };
        // What costs comes after the first message, so only those that sent it
        // stand in line.
        let finish = async {
            let _turn = self.turns.acquire().await;
            hello.into_stream(self.current.load_full()).await
        };
        let stream = match timeout(self.tls.handshake_timeout, finish).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return refuse(port, &error),
            Err(_elapsed) => {
                port.refused("handshake").inc();
                return None;
            }
        };
        let (_, session) = stream.get_ref();
        let is_http2 = session.alpn_protocol().map(|protocol| protocol == ALPN_HTTP2);
        let peer = session.peer_certificates().map(|chain| PeerCertificates(Arc::from(chain)));
        Some(Secured { stream: TlsStream::Server(stream).into(), is_http2, peer })
    }
}

/// A peer that does not speak TLS, or none that is spoken here.
fn refuse<T>(port: &Port, error: &io::Error) -> Option<T> {
    // One that only looked whether the port is open did nothing wrong.
    if error.kind() != io::ErrorKind::UnexpectedEof {
        port.refused("tls").inc();
    }
    tracing::debug!(%error, listener = port.name, "a handshake failed");
    None
}

fn config(tls: &Tls, protocol: Protocol, material: Material) -> Result<ServerConfig, String> {
    let failed = |error: &dyn std::fmt::Display| format!("`{TABLE}`: {error}");
    let identity = material.identity.ok_or_else(|| failed(&"there is no certificate"))?;
    let versions: &[_] = match tls.min_version {
        Version::V1_2 => &[&TLS13, &TLS12],
        Version::V1_3 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|error| failed(&error))?;
    let builder = match material.authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider());
            let verifier = match tls.client_certificate {
                ClientCertificate::Required => verifier,
                ClientCertificate::Optional => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| failed(&error))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = match protocol {
        Protocol::Http2 => vec![ALPN_HTTP2.to_vec()],
        Protocol::Both => vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()],
    };
    // Clients that come back are known by a ticket: no memory here, and none of
    // the cost of a full handshake.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| failed(&error))?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        fn taken(&self) -> String {
            let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
            String::from_utf8(bytes).unwrap()
        }
    }

    #[test]
    fn bad_certificates_are_logged_once_by_name_and_the_old_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let write = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
            std::fs::write(&certificate, made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        };
        let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        write(&made());
        let certificates =
            Certificates::read(Tls::new(&certificate, &key), Protocol::Both).unwrap();
        let (log, shown) = (Log::default(), certificates.current.load_full());
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut seen = certificates.look(certificates.first);
            assert_eq!(log.taken(), "");

            std::fs::write(&key, "no key").unwrap();
            seen = certificates.look(seen);
            let said = log.taken();
            assert!(
                said.contains("`connections.tls.key_file`") && said.contains("ERROR"),
                "{said}"
            );
            seen = certificates.look(seen);
            assert_eq!(log.taken(), "");
            assert!(Arc::ptr_eq(&shown, &certificates.current.load_full()));

            // A file that is away for a moment is no change either.
            std::fs::remove_file(&key).unwrap();
            seen = certificates.look(seen);
            assert!(log.taken().contains("tls.key: it cannot be read"));

            write(&made());
            certificates.look(seen);
            assert!(log.taken().contains("new certificates are shown"));
            assert!(!Arc::ptr_eq(&shown, &certificates.current.load_full()));
        });
    }
}
