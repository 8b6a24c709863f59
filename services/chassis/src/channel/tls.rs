//! TLS to peers: whom this side believes, and how it proves itself.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName, sign::SingleCertAndKey};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::{
    settings::SettingsError,
    tls::{ALPN_HTTP2, Files, Fingerprint, Material, Stream, provider},
};

/// The table of these settings.
const TABLE: &str = "channel.tls";

/// TLS to the peers whose address is `https://`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authorities whose certificates prove who a peer is. None:
    /// those that Mozilla trusts.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate by which this side proves itself to peers that
    /// ask for one. None: it does not.
    pub certificate_file: Option<PathBuf>,
    /// PEM file of that certificate's key, without a passphrase.
    pub key_file: Option<PathBuf>,
}

/// What connections to peers are secured with. The files are looked at for every
/// new connection, so that one which is replaced counts without a restart.
#[derive(Debug)]
pub(super) struct Trust {
    files: Result<Files, String>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The files as they were last seen, whether they could be used or not.
    seen: Option<Fingerprint>,
    /// The last that could be used.
    config: Option<Arc<ClientConfig>>,
}

// === impl Tls ===

impl Tls {
    fn files(&self) -> Result<Files, String> {
        let identity = match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => {
                return Err(format!("`{TABLE}.key_file` is missing: certificates need their key"));
            }
            (None, Some(_)) => {
                return Err(format!(
                    "`{TABLE}.certificate_file` is missing: a key needs its certificate"
                ));
            }
        };
        let authorities = self.ca_file.clone().map(|file| ("ca_file", file));
        Ok(Files::new(TABLE, identity, authorities))
    }

    /// Reads the files, and fails with every problem they have.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let trust = Trust::new(self);
        trust.current().map(drop).map_err(|problems| SettingsError { problems })
    }
}

// === impl Trust ===

impl Trust {
    pub(super) fn new(tls: &Tls) -> Self {
        Self { files: tls.files(), known: Mutex::default() }
    }

    /// The handshake with a peer that must be who its address says.
    pub(super) async fn connect(
        self: Arc<Self>,
        stream: TcpStream,
        name: ServerName<'static>,
    ) -> Result<Stream, String> {
        let read = tokio::task::spawn_blocking(move || self.current()).await;
        let config = match read {
            Ok(Ok(config)) => config,
            Ok(Err(problems)) => return Err(problems.join("; ")),
            Err(error) => return Err(error.to_string()),
        };
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| format!("its TLS handshake failed: {}", explained(&error)))?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err("it does not agree on HTTP/2 by ALPN, which gRPC needs".to_owned());
        }
        Ok(TlsStream::Client(stream).into())
    }

    /// What to connect with now.
    fn current(&self) -> Result<Arc<ClientConfig>, Vec<String>> {
        let files = self.files.as_ref().map_err(|problem| vec![problem.clone()])?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (problems, seen) = match files.read(known.seen) {
            Ok(None) => (Vec::new(), known.seen),
            Ok(Some(material)) => {
                let seen = Some(material.fingerprint);
                match config(material) {
                    Ok(config) => {
                        known.config = Some(Arc::new(config));
                        (Vec::new(), seen)
                    }
                    Err(problem) => (vec![problem], seen),
                }
            }
            Err(wrong) => (wrong.problems, wrong.fingerprint.or(known.seen)),
        };
        // The first files must be good; others than these are complained of once.
        known.seen = seen.filter(|_| known.config.is_some());
        match &known.config {
            Some(config) => {
                if !problems.is_empty() {
                    tracing::error!(
                        problems = problems.join("; "),
                        "new certificates cannot be used; the old ones stay"
                    );
                }
                Ok(Arc::clone(config))
            }
            None => Err(problems),
        }
    }
}

/// What went wrong, with the way out of what everybody meets who makes a
/// certificate with `openssl req -x509`.
fn explained(error: &io::Error) -> String {
    let mut text = error.to_string();
    // The verifier has no name of its own for it.
    if text.contains("CaUsedAsEndEntity") {
        text.push_str(
            ": the certificate is an authority's, which no server may use; make one with \
             basicConstraints=critical,CA:FALSE",
        );
    }
    text
}

fn config(material: Material) -> Result<ClientConfig, String> {
    let failed = |error| format!("`{TABLE}`: {error}");
    let roots = material.authorities.unwrap_or_else(|| {
        Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    });
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_root_certificates(roots);
    let mut config = match material.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
    };
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_identity_is_none() {
        let half = Tls { certificate_file: Some("tls.crt".into()), ..Tls::default() };
        let error = half.check().unwrap_err().to_string();
        assert!(error.contains("`channel.tls.key_file` is missing"), "{error}");
        assert!(Tls::default().check().is_ok());
    }

    #[test]
    fn a_bad_authority_does_not_replace_a_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let trust = Trust::new(&Tls { ca_file: Some(file.clone()), ..Tls::default() });
        std::fs::write(&file, "no certificate").unwrap();
        for _ in 0..2 {
            let problems = trust.current().unwrap_err();
            assert!(problems[0].contains("`channel.tls.ca_file`"), "{problems:?}");
        }
        std::fs::write(&file, made().cert.pem()).unwrap();
        let first = trust.current().unwrap();
        assert!(Arc::ptr_eq(&first, &trust.current().unwrap()));
        std::fs::write(&file, "no certificate").unwrap();
        assert!(Arc::ptr_eq(&first, &trust.current().unwrap()));
        std::fs::write(&file, made().cert.pem()).unwrap();
        assert!(!Arc::ptr_eq(&first, &trust.current().unwrap()));
    }
}
