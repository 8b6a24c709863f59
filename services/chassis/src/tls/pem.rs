//! Certificates and keys in PEM files (RFC 7468). What is wrong with one is said
//! by the setting's name, the file's name and the reason.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest;
use rustls::{
    InconsistentKeys, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};

use super::provider;

/// The largest file that is read: a bundle of every public authority has a
/// quarter of that.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The files of one side of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// The table they are named in: `connections.tls`.
    table: &'static str,
    identity: Option<(PathBuf, PathBuf)>,
    /// The setting and the file of the authorities.
    authorities: Option<(&'static str, PathBuf)>,
}

/// What the files hold.
#[derive(Debug)]
pub(crate) struct Material {
    /// The certificate chain and its key, which match.
    pub(crate) identity: Option<CertifiedKey>,
    pub(crate) authorities: Option<Arc<RootCertStore>>,
    /// Other files than these have another.
    pub(crate) fingerprint: Fingerprint,
}

/// Why the files cannot be used.
#[derive(Debug)]
pub(crate) struct Unusable {
    /// A sentence each.
    pub(crate) problems: Vec<String>,
    /// Of the files that have them, if all could be read.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// SHA-256 over the files: the key itself is not kept to tell a new one by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

// === impl Files ===

impl Files {
    pub(crate) fn new(
        table: &'static str,
        identity: Option<(PathBuf, PathBuf)>,
        authorities: Option<(&'static str, PathBuf)>,
    ) -> Self {
        Self { table, identity, authorities }
    }

    /// Reads all files; `Ok(None)` if they are those with this fingerprint.
    pub(crate) fn read(&self, known: Option<Fingerprint>) -> Result<Option<Material>, Unusable> {
        let mut problems = Vec::new();
        let mut seen = digest::Context::new(&digest::SHA256);
        let mut content = |setting: &str, file: &Path| match read(file) {
            Ok(bytes) => {
                // With its length, so that no bytes wander from one file to the next.
                seen.update(&bytes.len().to_be_bytes());
                seen.update(&bytes);
                Some(bytes)
            }
            Err(why) => {
                problems.push(self.problem(setting, file, &why));
                None
            }
        };
        let identity = self.identity.as_ref().map(|(certificate, key)| {
            (content("certificate_file", certificate), content("key_file", key))
        });
        let authorities = self.authorities.as_ref().map(|(setting, file)| content(setting, file));
        if !problems.is_empty() {
            return Err(Unusable { problems, fingerprint: None });
        }
        let fingerprint = Fingerprint::of(seen.finish());
        if known == Some(fingerprint) {
            return Ok(None);
        }
        let identity = identity.and_then(|(chain, key)| chain.zip(key));
        let identity = match identity {
            Some((chain, key)) => self.certified(&chain, &key, &mut problems),
            None => None,
        };
        let authorities = authorities.flatten().and_then(|bytes| self.roots(&bytes, &mut problems));
        if problems.is_empty() {
            Ok(Some(Material { identity, authorities, fingerprint }))
        } else {
            Err(Unusable { problems, fingerprint: Some(fingerprint) })
        }
    }

    fn certified(
        &self,
        chain: &[u8],
        key: &[u8],
        problems: &mut Vec<String>,
    ) -> Option<CertifiedKey> {
        let (certificate_file, key_file) = self.identity.as_ref()?;
        let chain = certificates(chain)
            .map_err(|why| problems.push(self.problem("certificate_file", certificate_file, &why)));
        let key =
            private_key(key).map_err(|why| problems.push(self.problem("key_file", key_file, &why)));
        let (Ok(chain), Ok(key)) = (chain, key) else { return None };
        let (file, setting) = (key_file, "key_file");
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| {
                problems.push(self.problem(
                    setting,
                    file,
                    &format!("its key cannot be used: {error}"),
                ))
            })
            .ok()?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Some(certified)
            }
            Err(rustls::Error::InconsistentKeys(_)) => {
                let why = format!(
                    "its key is not the one of the certificate in {}",
                    certificate_file.display()
                );
                problems.push(self.problem(setting, file, &why));
                None
            }
            Err(error) => {
                let why = format!("its first certificate cannot be used: {error}");
                problems.push(self.problem("certificate_file", certificate_file, &why));
                None
            }
        }
    }

    fn roots(&self, bytes: &[u8], problems: &mut Vec<String>) -> Option<Arc<RootCertStore>> {
        let (setting, file) = self.authorities.as_ref()?;
        let mut wrong = |why: String| problems.push(self.problem(setting, file, &why));
        let mut roots = RootCertStore::empty();
        for certificate in certificates(bytes).map_err(&mut wrong).ok()? {
            if let Err(error) = roots.add(certificate) {
                wrong(format!("a certificate in it cannot be an authority: {error}"));
                return None;
            }
        }
        Some(Arc::new(roots))
    }

    fn problem(&self, setting: &str, file: &Path, why: &str) -> String {
        format!("`{}.{setting}`: {}: {why}", self.table, file.display())
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    fn of(digest: digest::Digest) -> Self {
        let mut bytes = [0; 32];
        for (byte, of_digest) in bytes.iter_mut().zip(digest.as_ref()) {
            *byte = *of_digest;
        }
        Self(bytes)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    if file.as_os_str().is_empty() {
        return Err("no file is named".to_owned());
    }
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    // What is no file may never end, or never begin.
    if !fs::metadata(file).map_err(cannot)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    let opened = fs::File::open(file).map_err(cannot)?;
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= FILE_BYTES_MAX => Ok(bytes),
        _ => Err(format!("it is larger than {FILE_BYTES_MAX} bytes")),
    }
}

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(&error))?;
    if found.is_empty() {
        return Err(
            "it holds no certificate, which begins with `-----BEGIN CERTIFICATE-----`".to_owned()
        );
    }
    Ok(found)
}

fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(bytes) => {
            "its key is encrypted; give one without a passphrase".to_owned()
        }
        pem::Error::NoItemsFound => {
            "it holds no private key, which begins with `-----BEGIN PRIVATE KEY-----`".to_owned()
        }
        error => broken(&error),
    })
}

fn is_encrypted(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

/// The library says lines as lists of numbers, and lines may be of a key.
fn broken(error: &pem::Error) -> String {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no `-----END` line",
        pem::Error::IllegalSectionStart { .. } => "a `-----BEGIN` line is malformed",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be read as such",
    };
    format!("it is not PEM: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn file(&self, name: &str, content: &str) -> PathBuf {
            let file = self.0.path().join(name);
            fs::write(&file, content).unwrap();
            file
        }

        fn read(&self, certificate: &str, key: &str) -> Result<Option<Material>, String> {
            let identity = (self.file("tls.crt", certificate), self.file("tls.key", key));
            Files::new("connections.tls", Some(identity), None)
                .read(None)
                .map_err(|wrong| wrong.problems.join("\n"))
        }
    }

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let ((certificate, key), (_, other)) = (made(), made());
        let cut = certificate.trim_end().trim_end_matches('-').to_owned();
        let scrambled = key.replace('M', "!");
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let no_certificate =
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
        for (certificate, key, wrong) in [
            (
                &key,
                &key,
                "`connections.tls.certificate_file`: /file/tls.crt: it holds no certificate",
            ),
            (
                &certificate,
                &certificate,
                "`connections.tls.key_file`: /file/tls.key: it holds no private key",
            ),
            (
                &certificate,
                &other,
                "tls.key: its key is not the one of the certificate in /file/tls.crt",
            ),
            (
                &certificate,
                &encrypted,
                "tls.key: its key is encrypted; give one without a passphrase",
            ),
            (&certificate, &scrambled, "tls.key: it is not PEM: a section is not base64"),
            (&cut, &key, "tls.crt: it is not PEM: a section has no `-----END` line"),
            (&no_certificate, &key, "tls.crt: its first certificate cannot be used"),
        ] {
            let said = folder.read(certificate, key).unwrap_err();
            let said = said.replace(&folder.0.path().display().to_string(), "/file");
            assert!(said.contains(wrong), "{said}");
            assert!(!said.contains("tls.key") || !said.contains(&key[40..60]), "{said}");
        }
        assert!(folder.read(&certificate, &key).unwrap().is_some());
    }

    #[test]
    fn files_that_cannot_be_read_are_all_named() {
        let folder = tempfile::tempdir().unwrap();
        let huge = folder.path().join("huge.crt");
        fs::write(&huge, vec![b'-'; (1 << 20) + 1]).unwrap();
        let files = Files::new(
            "channel.tls",
            Some((huge, folder.path().to_path_buf())),
            Some(("ca_file", folder.path().join("none.pem"))),
        );
        let wrong = files.read(None).unwrap_err();
        assert_eq!(wrong.fingerprint, None);
        for (said, wrong) in wrong.problems.iter().zip([
            "huge.crt: it is larger than 1048576 bytes",
            "`channel.tls.key_file`",
            "`channel.tls.ca_file`",
        ]) {
            assert!(said.contains(wrong), "{said}");
        }
        assert_eq!(wrong.problems.len(), 3);
    }

    #[test]
    fn files_that_did_not_change_are_not_read_anew() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let (certificate, key) = made();
        let first = folder.read(&certificate, &key).unwrap().unwrap();
        let identity = (folder.0.path().join("tls.crt"), folder.0.path().join("tls.key"));
        let files = Files::new("connections.tls", Some(identity), None);
        assert!(files.read(Some(first.fingerprint)).unwrap().is_none());
        let (certificate, key) = made();
        folder.file("tls.crt", &certificate);
        folder.file("tls.key", &key);
        let second = files.read(Some(first.fingerprint)).unwrap().unwrap();
        assert_ne!(first.fingerprint, second.fingerprint);
    }
}
