//! The address of a service of the venue, from its base URL.

use hyper::Uri;

/// Why a base URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text is no URL with a scheme that is known, and a host.
    #[error("{0:?} is not a base URL such as {1}")]
    NotAUrl(String, &'static str),
    /// The URL has no TLS, and its host is another machine.
    #[error("{0:?} has no TLS: without it only a venue on this machine (localhost) may be used")]
    PlainText(String),
}

/// The kind of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKind {
    /// HTTP: `https`, or `http` on this machine.
    Http,
    /// WebSocket: `wss`, or `ws` on this machine.
    WebSocket,
}

/// The address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueAddress {
    /// Whether the connection is encrypted.
    pub has_tls: bool,
    /// The host, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path before each endpoint's own, without a slash at its end.
    pub base_path: String,
    /// The value of the header `Host`.
    pub authority: String,
}

impl VenueAddress {
    /// Reports whether the venue is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host)
    }

    /// Returns the address of a base URL.
    ///
    /// # Errors
    /// When the text is no such URL, or has no TLS and names another machine: an order and the API key must not cross a
    /// network in plain text.
    pub fn parse(url: &str, kind: ServiceKind) -> Result<Self, AddressError> {
        let (secure, plain, example) = match kind {
            ServiceKind::Http => ("https", "http", "https://api.binance.com"),
            ServiceKind::WebSocket => ("wss", "ws", "wss://ws-api.binance.com:443/ws-api/v3"),
        };
        let invalid = || AddressError::NotAUrl(url.to_owned(), example);
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let (scheme, authority) = (uri.scheme_str(), uri.authority().ok_or_else(invalid)?);
        let has_tls = match scheme {
            Some(scheme) if scheme == secure => true,
            Some(scheme) if scheme == plain => false,
            _ => return Err(invalid()),
        };
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(invalid());
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err(invalid());
        }
        if !has_tls && !is_loopback_host(&host) {
            return Err(AddressError::PlainText(url.to_owned()));
        }
        Ok(Self {
            has_tls,
            host,
            port: authority.port_u16().unwrap_or(if has_tls { 443 } else { 80 }),
            base_path: uri.path().trim_end_matches('/').to_owned(),
            authority: authority.as_str().to_owned(),
        })
    }
}

fn is_loopback_host(host: &str) -> bool {
    let is_loopback = |address: std::net::IpAddr| address.is_loopback();
    host == "localhost" || host.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_read() {
        for (url, kind, has_tls, host, port, path) in [
            (
                "https://api.binance.com",
                ServiceKind::Http,
                true,
                "api.binance.com",
                443,
                "",
            ),
            (
                "https://testnet.binance.vision/",
                ServiceKind::Http,
                true,
                "testnet.binance.vision",
                443,
                "",
            ),
            ("http://127.0.0.1:8101", ServiceKind::Http, false, "127.0.0.1", 8101, ""),
            ("http://[::1]:8101/x/", ServiceKind::Http, false, "::1", 8101, "/x"),
            (
                "wss://ws-api.binance.com:443/ws-api/v3",
                ServiceKind::WebSocket,
                true,
                "ws-api.binance.com",
                443,
                "/ws-api/v3",
            ),
            (
                "ws://localhost/ws",
                ServiceKind::WebSocket,
                false,
                "localhost",
                80,
                "/ws",
            ),
        ] {
            let address = VenueAddress::parse(url, kind).unwrap();
            assert_eq!(
                (
                    address.has_tls,
                    address.host.as_str(),
                    address.port,
                    address.base_path.as_str()
                ),
                (has_tls, host, port, path),
                "{url}"
            );
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for (url, kind) in [
            ("", ServiceKind::Http),
            ("api.binance.com", ServiceKind::Http),
            ("/api", ServiceKind::Http),
            ("ftp://api.binance.com", ServiceKind::Http),
            ("wss://api.binance.com", ServiceKind::Http),
            ("https://api.binance.com", ServiceKind::WebSocket),
            ("https://user:secret@api.binance.com", ServiceKind::Http),
            ("https://api.binance.com/?a=b", ServiceKind::Http),
        ] {
            let refused = VenueAddress::parse(url, kind);
            assert!(matches!(refused, Err(AddressError::NotAUrl(..))), "{url}: {refused:?}");
        }
        for url in [
            "http://api.binance.com",
            "http://10.0.0.1:80",
            "http://localhost.example.com",
        ] {
            let refused = VenueAddress::parse(url, ServiceKind::Http);
            assert_eq!(refused, Err(AddressError::PlainText(url.into())));
        }
    }
}
