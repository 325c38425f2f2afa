//! TLS to a server (`[nats.tls]`, `[redis.tls]`): files, what is wrong with them, and why a handshake failed.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};

use crate::config::private_file::read_private_file;

/// The longest file of certificates or a key, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Files for TLS to a server, in PEM. An empty name is the same as none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// A file with the certificates of the authorities that may sign the server's certificate (PEM); without it, those of
    /// the system count. Needs a URL with TLS. Default none.
    pub ca_file: Option<String>,
    /// A file with the certificate that this process shows to the server (PEM), its chain included. Default none.
    pub cert_file: Option<String>,
    /// A file with the private key of that certificate (PEM), closed to other users. Default none.
    pub key_file: Option<String>,
}

/// The content of the files of [`TlsSettings`], each checked.
#[derive(Clone)]
pub struct TlsFiles {
    /// Certificates of authorities in PEM; `None` for those of the system.
    pub authorities: Option<Vec<u8>>,
    /// The certificate of this process and its private key, both in PEM.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsSettings {
    /// Returns the name of the file with the authorities' certificates.
    pub fn ca_file(&self) -> Option<&str> {
        named(&self.ca_file)
    }

    /// Returns the names of the files with this process's certificate and its key.
    pub fn client_files(&self) -> Option<(&str, &str)> {
        named(&self.cert_file).zip(named(&self.key_file))
    }

    /// Adds a sentence for each setting that is incomplete or has no effect. `section` is `nats` or `redis`; `is_tls` says
    /// whether every address of the section uses TLS, and `scheme` which one does.
    pub fn validate(&self, section: &str, scheme: &str, is_tls: bool, errors: &mut Vec<String>) {
        if named(&self.cert_file).is_some() != named(&self.key_file).is_some() {
            errors.push(format!(
                "{section}.tls.cert_file and {section}.tls.key_file must be set together"
            ));
        }
        let files = [
            ("ca_file", &self.ca_file),
            ("cert_file", &self.cert_file),
            ("key_file", &self.key_file),
        ];
        let set = files.iter().find(|(_, file)| named(file).is_some());
        if let (Some((name, _)), false) = (set, is_tls) {
            errors.push(format!(
                "{section}.tls.{name} is set, but {section}.url does not use TLS: write {scheme}://HOST:PORT"
            ));
        }
    }

    /// Reads and checks the files.
    ///
    /// # Errors
    /// A sentence that names the setting and the file, and says what is wrong with it.
    pub fn read(&self, section: &str) -> Result<TlsFiles, String> {
        let mut roots = RootCertStore::empty();
        let authorities = match self.ca_file() {
            None => None,
            Some(file) => {
                let pem = read_bounded(file).map_err(|error| unusable(section, "ca_file", file, &error))?;
                let certificates =
                    parse_certificates(&pem).map_err(|error| unusable(section, "ca_file", file, &error))?;
                for certificate in certificates {
                    roots
                        .add(certificate)
                        .map_err(|error| unusable(section, "ca_file", file, &error.to_string()))?;
                }
                Some(pem)
            }
        };
        let client = match self.client_files() {
            None => None,
            Some((cert_file, key_file)) => {
                let pem = read_bounded(cert_file).map_err(|error| unusable(section, "cert_file", cert_file, &error))?;
                let chain =
                    parse_certificates(&pem).map_err(|error| unusable(section, "cert_file", cert_file, &error))?;
                let key_pem = read_private_file(Path::new(key_file), MAX_FILE_BYTES)
                    .map_err(|error| unusable(section, "key_file", key_file, &error.to_string()))?;
                let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
                    .map_err(|_| unusable(section, "key_file", key_file, "it holds no private key in PEM"))?;
                check_key(roots, chain, key).map_err(|error| unusable(section, "key_file", key_file, &error))?;
                Some((pem, key_pem.into_bytes()))
            }
        };
        Ok(TlsFiles { authorities, client })
    }
}

fn named(file: &Option<String>) -> Option<&str> {
    file.as_deref().filter(|name| !name.is_empty())
}

fn unusable(section: &str, name: &str, file: &str, error: &str) -> String {
    format!("{section}.tls.{name} {file}: {error}")
}

fn read_bounded(file: &str) -> Result<Vec<u8>, String> {
    let length = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if length > MAX_FILE_BYTES {
        return Err(format!("it is longer than {MAX_FILE_BYTES} bytes"));
    }
    std::fs::read(file).map_err(|error| error.to_string())
}

fn parse_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err("it holds no certificate in PEM".to_owned()),
        Err(error) => Err(format!("it is no PEM file: {error}")),
    }
}

/// Checks that a key can be used and belongs to its certificate.
fn check_key(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(), String> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
        .map(drop)
        .map_err(|error| format!("it is not the key of the certificate in cert_file ({error})"))
}

/// Returns the TLS error in the chain of an error. The error inside an [`std::io::Error`] or a shared error is part of it.
pub fn find_tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let shared: Option<&Arc<dyn Error + Send + Sync>> = error.downcast_ref();
        next = match (error.downcast_ref::<std::io::Error>(), shared) {
            (Some(io_error), _) => io_error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            (None, Some(shared)) => Some(shared.as_ref()),
            (None, None) => error.source(),
        };
    }
    None
}

/// Returns why no TLS connection to a server was made and what to do, or `None` if the cause is another. `section` is
/// `nats` or `redis`.
pub fn describe_tls_failure(section: &str, error: &(dyn Error + 'static)) -> Option<String> {
    let error = find_tls_error(error)?;
    let remedy = match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
                "use a host name in {section}.url that the server's certificate names, or give the server a certificate \
                 for this name"
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "renew the server's certificate, or set this machine's clock".to_owned()
            }
            _ => format!(
                "name the file with the certificate of the authority that signed the server's in {section}.tls.ca_file"
            ),
        },
        rustls::Error::AlertReceived(_) => format!(
            "the server refuses this process: if it asks for client certificates, set {section}.tls.cert_file and \
             {section}.tls.key_file to one that its authority signed"
        ),
        rustls::Error::InvalidMessage(_) => format!("the server does not serve TLS at the address in {section}.url"),
        _ => format!("check the TLS settings of the server and {section}.tls"),
    };
    Some(format!("TLS to the server in {section}.url failed ({error}): {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_error_is_found_however_it_is_wrapped() {
        let tls = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let io_error = std::io::Error::other(tls());
        let shared: Arc<dyn Error + Send + Sync> = Arc::new(std::io::Error::other(tls()));
        for error in [&tls() as &(dyn Error + 'static), &io_error, &shared] {
            let failure = describe_tls_failure("redis", error).unwrap();
            assert!(failure.contains("redis.tls.ca_file"), "{failure}");
        }
        let other = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(describe_tls_failure("redis", &other), None);
    }
}
