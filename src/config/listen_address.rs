//! An address to listen on: a host name or an IP address, and a port.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The maximum length of a host name, in characters (RFC 1035).
pub(in crate::config) const MAX_HOST_CHARACTERS: usize = 253;

/// A host and a port, such as `127.0.0.1:8100`, `[::1]:8100` or `localhost:8100`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddress {
    /// A name, or an IP address without brackets.
    host: String,
    port: u16,
}

impl ListenAddress {
    /// Returns the host name or the IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets the port.
    pub fn set_port(&mut self, port: u16) {
        self.port = port;
    }
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be a host and a port, such as 127.0.0.1:8100, [::1]:8100 or localhost:8100";
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
        // What looks like an IP address and is none would be looked up as a name.
        let is_number = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if !is_host_name(host) || is_number {
            return Err(FORM);
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| FORM)?,
        })
    }
}

/// Reports whether a text has the form of a host name or an IPv4 address.
pub(in crate::config) fn is_host_name(text: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=MAX_HOST_CHARACTERS).contains(&text.len()) && text.bytes().all(is_name)
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for ListenAddress {
    fn from((ip, port): (I, u16)) -> Self {
        SocketAddr::from((ip.into(), port)).into()
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(ip) => write!(formatter, "[{ip}]:{}", self.port),
            Err(_) => write!(formatter, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ip_addresses_are_read_and_written() {
        for text in [
            "127.0.0.1:8100",
            "[::1]:8100",
            "localhost:0",
            "desk-1.example.com:65535",
            "0.0.0.0:1",
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "",
            "localhost",
            ":8100",
            "::1:8100",
            "127.0.0.1",
            "127.0.0:8100",
            "256.0.0.1:8100",
            "localhost:65536",
            "localhost:http",
            "http://localhost:8100",
            "local host:1",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
        let mut address = ListenAddress::from(([127, 0, 0, 1], 1));
        address.set_port(2);
        assert_eq!((address.host(), address.port()), ("127.0.0.1", 2));
    }
}
