//! The API key and the signer, from the environment or from a file that only its owner may read.

use std::fmt;
use std::path::{Path, PathBuf};

use hyper::header::HeaderValue;
use serde::Deserialize;

use crate::brokers::binance::signing::{KeyError, RequestSigner};
use crate::config::binance_live::VenueKeySource;
use crate::config::private_files::{PrivateFileError, read_private_file};

/// The longest key file, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// Where an API key and its secret are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// In environment variables: one with the key, one with the secret or with a private key in PEM.
    Environment {
        /// The variable with the API key.
        key_variable: String,
        /// The variable with the secret, or with the PEM of an Ed25519 private key.
        secret_variable: String,
    },
    /// In a TOML file that only its owner may read: `api_key`, and `secret` or `private_key` (PEM).
    File(PathBuf),
}

impl From<VenueKeySource> for CredentialSource {
    fn from(source: VenueKeySource) -> Self {
        match source {
            VenueKeySource::File(path) => Self::File(path),
            VenueKeySource::Environment {
                key_variable,
                secret_variable,
            } => Self::Environment {
                key_variable,
                secret_variable,
            },
        }
    }
}

/// Why credentials could not be read. No variant holds any part of them.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// An environment variable is missing or empty.
    #[error("the environment variable {0} with the API key or its secret is not set")]
    VariableMissing(String),
    /// The file could not be read, or others may read it.
    #[error("the key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PrivateFileError,
    },
    /// The file does not have the fields of a key.
    #[error("the key file {0} must have api_key, and either secret or private_key, as TOML strings")]
    Fields(PathBuf),
    /// The API key has a character that an HTTP header cannot carry.
    #[error("the API key is empty or has a character that is not printable ASCII")]
    ApiKey,
    /// The secret or the private key cannot sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// An API key with its signer. Neither is ever shown.
pub struct ApiCredentials {
    api_key: HeaderValue,
    signer: RequestSigner,
}

/// The fields of a key file. It has no `Debug`, and its parse errors are not shown: both could show a secret.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    api_key: String,
    secret: Option<String>,
    private_key: Option<String>,
}

impl ApiCredentials {
    /// Reads the credentials of a source. `variable` returns the value of an environment variable.
    ///
    /// # Errors
    /// When they are missing, cannot sign, or are in a file that others may read.
    pub fn load(source: &CredentialSource, variable: impl Fn(&str) -> Option<String>) -> Result<Self, CredentialError> {
        match source {
            CredentialSource::Environment {
                key_variable,
                secret_variable,
            } => {
                let read = |name: &String| {
                    let value = variable(name).filter(|value| !value.is_empty());
                    value.ok_or_else(|| CredentialError::VariableMissing(name.clone()))
                };
                Self::new(&read(key_variable)?, &read(secret_variable)?)
            }
            CredentialSource::File(path) => Self::from_file(path),
        }
    }

    /// Returns the credentials of an API key and its secret, or of an API key and its Ed25519 private key in PEM.
    ///
    /// # Errors
    /// When a header cannot carry the key, or the secret cannot sign.
    pub fn new(api_key: &str, secret: &str) -> Result<Self, CredentialError> {
        let is_pem = secret.trim_start().starts_with("-----BEGIN");
        let signer = if is_pem {
            RequestSigner::from_ed25519_pem(secret)?
        } else {
            RequestSigner::from_secret(secret)?
        };
        Self::with_signer(api_key, signer)
    }

    /// Returns the value of the header `X-MBX-APIKEY`, marked as sensitive.
    pub fn api_key_header(&self) -> HeaderValue {
        self.api_key.clone()
    }

    /// Returns the API key, for a message of the WebSocket API.
    pub fn api_key(&self) -> &str {
        // The constructor accepts printable ASCII only.
        self.api_key.to_str().unwrap_or_default()
    }

    /// Returns the signer.
    pub fn signer(&self) -> &RequestSigner {
        &self.signer
    }

    fn from_file(path: &Path) -> Result<Self, CredentialError> {
        let text = read_private_file(path, MAX_KEY_FILE_BYTES).map_err(|source| CredentialError::File {
            path: path.to_owned(),
            source,
        })?;
        let fields = || CredentialError::Fields(path.to_owned());
        let file: KeyFile = toml::from_str(&text).map_err(|_| fields())?;
        let signer = match (file.secret, file.private_key) {
            (Some(secret), None) => RequestSigner::from_secret(&secret)?,
            (None, Some(pem)) => RequestSigner::from_ed25519_pem(&pem)?,
            _ => return Err(fields()),
        };
        Self::with_signer(&file.api_key, signer)
    }

    fn with_signer(api_key: &str, signer: RequestSigner) -> Result<Self, CredentialError> {
        if api_key.is_empty() || !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialError::ApiKey);
        }
        let mut api_key = HeaderValue::from_str(api_key).map_err(|_| CredentialError::ApiKey)?;
        api_key.set_sensitive(true);
        Ok(Self { api_key, signer })
    }
}

impl fmt::Debug for ApiCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiCredentials(key hidden, {:?})", self.signer)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEY: &str = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
    const SECRET: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";

    fn environment() -> CredentialSource {
        CredentialSource::Environment {
            key_variable: "KEY".to_owned(),
            secret_variable: "SECRET".to_owned(),
        }
    }

    #[test]
    fn credentials_are_read_from_the_environment_and_never_shown() {
        let variable = |name: &str| Some(if name == "KEY" { KEY } else { SECRET }.to_owned());
        let credentials = ApiCredentials::load(&environment(), variable).unwrap();
        assert_eq!(credentials.api_key(), KEY);
        let header = credentials.api_key_header();
        let shown = format!("{credentials:?} {header:?} {:?}", credentials.signer());
        assert!(!shown.contains(&KEY[..6]) && !shown.contains(&SECRET[..6]), "{shown}");

        let missing = ApiCredentials::load(&environment(), |name| (name == "KEY").then(|| KEY.to_owned()));
        assert!(matches!(missing, Err(CredentialError::VariableMissing(name)) if name == "SECRET"));
        let empty = ApiCredentials::load(&environment(), |_| Some(String::new()));
        assert!(matches!(empty, Err(CredentialError::VariableMissing(_))));
    }

    #[test]
    fn a_key_file_is_read_only_if_others_cannot_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.toml");
        write(&path, format!("api_key = \"{KEY}\"\nsecret = \"{SECRET}\"\n")).unwrap();
        let source = CredentialSource::File(path.clone());
        // Kubernetes mounts secrets as files of root that a group may read.
        let is_of_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).unwrap()) == 0;
        for (mode, is_accepted) in [
            (0o600, true),
            (0o400, true),
            (0o640, is_of_root),
            (0o604, false),
            (0o660, false),
        ] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let read = ApiCredentials::load(&source, |_| None);
            assert_eq!(read.is_ok(), is_accepted, "{mode:o}");
            if let Err(error) = read {
                assert!(error.to_string().contains("only its owner"), "{error}");
            }
        }
    }

    #[test]
    fn an_error_about_a_key_file_shows_no_part_of_the_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.toml");
        for text in [
            format!("api_key = \"{KEY}\""),
            format!("api_key = \"{KEY}\"\nsecret = {SECRET}"),
            format!("api_key = \"{KEY}\"\nsecret = \"{SECRET}\"\nprivate_key = \"{SECRET}\""),
            format!("api_key = \"{KEY}\"\nsecrets = \"{SECRET}\""),
            format!("api_key = \"{KEY} \"\nsecret = \"{SECRET}\""),
            format!("api_key = \"{KEY}\"\nprivate_key = \"{SECRET}\""),
        ] {
            write(&path, &text).unwrap();
            set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let error = ApiCredentials::load(&CredentialSource::File(path.clone()), |_| None).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(&SECRET[..6]) && !shown.contains(&KEY[..6]), "{shown}");
        }
    }
}
