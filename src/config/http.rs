//! Settings of the sidecar (`[http]`).

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::listen_address::{ListenAddress, is_host_name};
use crate::config::range::check_range;

/// The maximum number of names in `allowed_hosts`.
const MAX_ALLOWED_HOSTS: usize = 64;
/// The maximum number of origins in `cors_origins`.
const MAX_CORS_ORIGINS: usize = 64;

/// The sidecar's address, bounds and time limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// The address that the sidecar listens on: an IP address or a host name, and a port; port 0 takes a free port. Of
    /// several addresses of a name, the first is taken, IPv4 before IPv6. Default `127.0.0.1:8100`.
    pub addr: ListenAddress,
    /// Time limit of a request, in milliseconds, 100 to 60000. Default 4500: many clients give up after 5 s, and the response
    /// must arrive before.
    pub request_timeout_ms: u64,
    /// Maximum number of requests in flight, 1 to 65536; further requests get 503. Default 1024.
    pub max_in_flight: usize,
    /// Origins whose pages may use the sidecar from a browser, such as `https://desk.example.com`; at most 64. Default
    /// none: CORS is off.
    pub cors_origins: Vec<String>,
    /// Host names or addresses, without a port, under which the sidecar serves clients without API keys, besides loopback
    /// addresses; at most 64. Default none.
    pub allowed_hosts: Vec<String>,
    /// How long a client may read nothing before its connection is closed, in milliseconds, 100 to 600000. Default 20000.
    pub write_timeout_ms: u64,
    /// Maximum number of open event streams (`GET /events`), 0 to 65536; further requests get 503. Default 256.
    pub max_event_streams: usize,
    /// How long an event stream is silent before it sends a heartbeat comment, in milliseconds, 100 to 300000. Default
    /// 15000.
    pub events_heartbeat_ms: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            addr: ListenAddress::from((Ipv4Addr::LOCALHOST, 8100)),
            request_timeout_ms: 4_500,
            max_in_flight: 1_024,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            write_timeout_ms: 20_000,
            max_event_streams: 256,
            events_heartbeat_ms: 15_000,
        }
    }
}

impl HttpSettings {
    /// Returns the time limit of a request.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// Returns how long a client may read nothing before its connection is closed.
    pub fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    /// Returns the heartbeat interval of an event stream.
    pub fn events_heartbeat_interval(&self) -> Duration {
        Duration::from_millis(self.events_heartbeat_ms)
    }

    /// Adds a sentence for each setting that is out of its range.
    pub fn validate(&self, errors: &mut Vec<String>) {
        for (name, value, bounds) in [
            ("http.request_timeout_ms", self.request_timeout_ms, 100..=60_000),
            ("http.write_timeout_ms", self.write_timeout_ms, 100..=600_000),
            ("http.events_heartbeat_ms", self.events_heartbeat_ms, 100..=300_000),
        ] {
            check_range(errors, name, value, &bounds);
        }
        check_range(errors, "http.max_in_flight", self.max_in_flight, &(1..=65_536));
        check_range(errors, "http.max_event_streams", self.max_event_streams, &(0..=65_536));
        if self.cors_origins.len() > MAX_CORS_ORIGINS {
            errors.push(format!(
                "http.cors_origins must name at most {MAX_CORS_ORIGINS} origins"
            ));
        }
        if self.allowed_hosts.len() > MAX_ALLOWED_HOSTS {
            errors.push(format!(
                "http.allowed_hosts must name at most {MAX_ALLOWED_HOSTS} hosts"
            ));
        }
        for host in self.allowed_hosts.iter().filter(|host| !is_host(host)) {
            errors.push(format!(
                "http.allowed_hosts names {host:?}; use a host name or an address, without scheme, port, brackets, path and *"
            ));
        }
        for origin in self.cors_origins.iter().filter(|origin| !is_origin(origin)) {
            errors.push(format!(
                "http.cors_origins names {origin:?}; use the form that browsers send: http:// or https://, the host in \
                 lower case, the port unless it is the default, no path and no *"
            ));
        }
    }
}

/// Reports whether a text is a host name or an address without brackets, as the header `Host` names it before the port.
fn is_host(text: &str) -> bool {
    is_host_name(text) || text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Reports whether a text is an origin in the form that browsers send: any other spelling would never match.
fn is_origin(text: &str) -> bool {
    let (host, usual_port) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(host), _) => (host, ":443"),
        (_, Some(host)) => (host, ":80"),
        _ => return false,
    };
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(is_plain) && !host.ends_with(usual_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::listen_address::MAX_HOST_CHARACTERS;

    #[test]
    fn allowed_hosts_are_names_without_a_port() {
        for (text, expected) in [
            ("desk.local", true),
            ("Desk-7.example.com", true),
            ("10.0.0.7", true),
            ("::2", true),
            ("desk.local:8100", false),
            ("[::2]", false),
            ("http://desk.local", false),
            ("desk.local/x", false),
            ("*", false),
            ("*.local", false),
            ("", false),
            (&"x".repeat(MAX_HOST_CHARACTERS + 1), false),
        ] {
            assert_eq!(is_host(text), expected, "{text}");
        }
        let settings = HttpSettings {
            allowed_hosts: vec!["*".to_owned(); MAX_ALLOWED_HOSTS + 1],
            ..HttpSettings::default()
        };
        let mut errors = Vec::new();
        settings.validate(&mut errors);
        assert_eq!(errors.len(), MAX_ALLOWED_HOSTS + 2);
    }

    #[test]
    fn origins_have_the_form_that_browsers_send() {
        for (text, expected) in [
            ("https://desk.example.com", true),
            ("http://localhost:3000", true),
            ("http://[::1]:3000", true),
            ("https://desk.example.com/", false),
            ("https://desk.example.com:443", false),
            ("https://Desk.example.com", false),
            ("https://*.example.com", false),
            ("https://a@example.com", false),
            ("desk.example.com", false),
            ("https://", false),
            ("null", false),
            ("*", false),
        ] {
            assert_eq!(is_origin(text), expected, "{text}");
        }
        let settings = HttpSettings {
            cors_origins: vec!["*".to_owned(); MAX_CORS_ORIGINS + 1],
            ..HttpSettings::default()
        };
        let mut errors = Vec::new();
        settings.validate(&mut errors);
        assert_eq!(errors.len(), MAX_CORS_ORIGINS + 2);
    }
}
