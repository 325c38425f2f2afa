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
    /// Whether the next connect fails, for tests of an unreachable venue.
    #[cfg(test)]
    next_fails: Arc<std::sync::atomic::AtomicBool>,
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
            #[cfg(test)]
            next_fails: Arc::default(),
        }
    }

    /// Lets the next connect fail, of this connector and its clones.
    #[cfg(test)]
    pub fn fail_next_connect(&self) {
        self.next_fails.store(true, std::sync::atomic::Ordering::SeqCst);
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
        #[cfg(test)]
        if self.next_fails.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
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

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::brokers::binance::transport::address::ServiceKind;

    /// Starts a TLS server that echoes four bytes for each connection. Returns its port and its certificate as a root.
    async fn start_echo(host: &str) -> (u16, RootCertStore) {
        let certified = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certified.cert.der().clone()).unwrap();
        let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut bytes = [0; 4];
                if stream.read_exact(&mut bytes).await.is_ok() {
                    stream.write_all(&bytes).await.unwrap();
                    stream.flush().await.unwrap();
                }
            }
        });
        (port, roots)
    }

    async fn connect(port: u16, roots: RootCertStore) -> io::Result<VenueStream> {
        let address = VenueAddress::parse(&format!("https://localhost:{port}"), ServiceKind::Http).unwrap();
        let tls = tls_with_roots(roots).unwrap();
        VenueConnector::new(address, &tls, Duration::from_secs(10))
            .connect()
            .await
    }

    #[tokio::test]
    async fn a_trusted_venue_is_encrypted_and_others_are_refused() {
        let (port, roots) = start_echo("localhost").await;
        let mut stream = connect(port, roots).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        stream.flush().await.unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"ping");
        assert!(
            connect(port, RootCertStore::empty()).await.is_err(),
            "an unknown certificate"
        );
        let (port, roots) = start_echo("example.com").await;
        assert!(connect(port, roots).await.is_err(), "a certificate of another host");
    }
}
