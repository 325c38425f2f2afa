//! One connection to the venue, with TLS or, on this machine, without.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::brokers::binance::transport::address::VenueAddress;

/// Why TLS cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsSetupError {
    /// The system has no root certificates.
    #[error("this system has no root certificates: install them (the package ca-certificates), or set SSL_CERT_FILE")]
    NoRootCertificates,
    /// The library refuses.
    #[error("TLS cannot be configured: {0}")]
    Library(String),
}

/// Returns the TLS settings: ring's cryptography, and the system's root certificates.
///
/// # Errors
/// When the system has no root certificates.
pub fn system_tls() -> Result<Arc<ClientConfig>, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsSetupError::NoRootCertificates);
    }
    tls_with_roots(roots)
}

/// Returns the TLS settings with these root certificates.
///
/// # Errors
/// When the library refuses.
pub fn tls_with_roots(roots: RootCertStore) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| TlsSetupError::Library(error.to_string()))?;
    // Data before the handshake's end ("0-RTT") may be replayed by anyone on the path: it stays off, as by default.
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Opens connections to one address.
#[derive(Clone)]
pub struct VenueConnector {
    address: Arc<VenueAddress>,
    tls: Option<TlsConnector>,
    time_limit: Duration,
}

/// A connection.
pub enum VenueStream {
    /// Without TLS, to this machine.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl VenueConnector {
    /// Returns the connector of an address. `tls` is used where the address has TLS; `time_limit` bounds each connect.
    pub fn new(address: VenueAddress, tls: &Arc<ClientConfig>, time_limit: Duration) -> Self {
        Self {
            tls: address.has_tls.then(|| TlsConnector::from(Arc::clone(tls))),
            address: Arc::new(address),
            time_limit,
        }
    }

    /// Returns the address.
    pub fn address(&self) -> &VenueAddress {
        &self.address
    }

    /// Opens a connection, handshake included.
    ///
    /// # Errors
    /// When the venue is unreachable, its certificate is not trusted, or the time is up.
    pub async fn connect(&self) -> io::Result<VenueStream> {
        let connected = timeout(self.time_limit, self.open()).await;
        connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
    }

    async fn open(&self) -> io::Result<VenueStream> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(VenueStream::Plain(stream));
        };
        let name = ServerName::try_from(self.address.host.clone()).map_err(io::Error::other)?;
        Ok(VenueStream::Tls(Box::new(tls.connect(name, stream).await?)))
    }
}

impl AsyncRead for VenueStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for VenueStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
