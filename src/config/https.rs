//! TLS of an HTTP client.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// Returns the TLS settings of an HTTP client: ring's cryptography and the system's root certificates. The roots are read
/// only where they are used, since a system without any can use plain HTTP.
///
/// # Errors
/// When the system has no root certificates; the text says what to do.
pub fn system_client_config(is_https: bool) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if is_https {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let errors: String = found.errors.iter().map(|error| format!("; {error}")).collect();
            return Err(format!(
                "this system has no root certificates{errors}: install them (the package ca-certificates), or name a PEM \
                 file in SSL_CERT_FILE"
            ));
        }
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        .map_err(|error| format!("TLS cannot be configured: {error}"))
}
