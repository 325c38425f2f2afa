//! The address of a sidecar, as `--url` takes it.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

use crate::config::listen_address::ListenAddress;

/// The URL that all paths of a sidecar begin with.
///
/// A path in it is kept and put before each request's path, so that a reverse proxy may serve the sidecar below a
/// prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SidecarUrl {
    /// Scheme, host, port and prefix, without a slash at the end.
    base: String,
    is_https: bool,
}

impl SidecarUrl {
    /// Returns the URL of a request: `path_and_query` begins with `/`.
    ///
    /// # Errors
    /// When the result is not a URL.
    pub(crate) fn request_url(&self, path_and_query: &str) -> anyhow::Result<Url> {
        Ok(Url::parse(&format!("{self}{path_and_query}"))?)
    }

    /// Reports whether the connection is encrypted.
    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }
}

impl From<&ListenAddress> for SidecarUrl {
    /// Returns the unencrypted URL of an address.
    fn from(address: &ListenAddress) -> Self {
        Self {
            base: format!("http://{address}"),
            is_https: false,
        }
    }
}

impl FromStr for SidecarUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| "must be a URL such as https://router.example.com:8443")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a user or a password: the sidecar takes a key, see --api-key");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must not contain a query or a fragment");
        }
        Ok(Self {
            base: url.as_str().trim_end_matches('/').to_owned(),
            is_https: url.scheme() == "https",
        })
    }
}

impl fmt::Display for SidecarUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_host_port_and_prefix() {
        for (base, expected) in [
            ("http://127.0.0.1:8100", "http://127.0.0.1:8100/orders/log?limit=1"),
            ("http://[::1]:8100/", "http://[::1]:8100/orders/log?limit=1"),
            (
                "https://router.example.com",
                "https://router.example.com/orders/log?limit=1",
            ),
            (
                "https://desk.example.com/router/",
                "https://desk.example.com/router/orders/log?limit=1",
            ),
        ] {
            let url: SidecarUrl = base.parse().unwrap();
            assert_eq!(url.request_url("/orders/log?limit=1").unwrap().as_str(), expected);
            assert_eq!(url.is_https(), base.starts_with("https"));
        }
    }

    #[test]
    fn other_urls_are_refused_with_the_reason() {
        for (text, reason) in [
            ("127.0.0.1:8100", "must be a URL"),
            ("localhost:8100", "http:// or https://"),
            ("router.example.com", "must be a URL"),
            ("http://", "must be a URL"),
            ("ftp://router.example.com", "http:// or https://"),
            ("nats://127.0.0.1:4222", "http:// or https://"),
            ("https://mira:secret@router.example.com", "--api-key"),
            ("https://router.example.com?a=b", "query"),
            ("https://router.example.com#top", "fragment"),
        ] {
            let error = text.parse::<SidecarUrl>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
