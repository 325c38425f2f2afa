//! The names under which a sidecar without API keys serves its clients.
//!
//! Any web page can reach the loopback address through its visitor's browser; with a DNS name that resolves to loopback,
//! even past the same-origin policy. So a request must name this sidecar by a loopback address, or by a name of the settings,
//! and a page must come from there.

use std::net::IpAddr;

use axum::http::header::{HOST, HeaderMap, ORIGIN};
use axum::http::uri::Authority;

use crate::fault::{Fault, FaultCode, quoted};

/// The names of this sidecar besides loopback addresses.
#[derive(Debug, Clone)]
pub(in crate::sidecar) struct HostPolicy(Vec<String>);

impl HostPolicy {
    /// Returns the names of the settings.
    pub(in crate::sidecar) fn new(names: &[String]) -> Self {
        Self(names.to_vec())
    }

    /// Checks that a request names this sidecar, and that a page which sends it is one of this sidecar's, or of another
    /// program on this machine.
    ///
    /// # Errors
    /// `not_entitled` with the header that names another host.
    pub(in crate::sidecar) fn check(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let host = headers.get(HOST).map(|value| value.to_str().unwrap_or_default());
        if let Some(host) = host.filter(|host| !self.is_own_name(host)) {
            let detail = format!(
                "the header Host is {:?}, which is neither a loopback address nor in http.allowed_hosts: without API keys, \
                 requests under another name are refused",
                quoted(host)
            );
            return Err(Fault::new(FaultCode::NotEntitled, detail));
        }
        let Some(origin) = headers.get(ORIGIN) else {
            return Ok(());
        };
        let authority = origin.to_str().ok().and_then(|text| text.split_once("://"));
        let is_own_page = |authority: &str| is_loopback(authority) || Some(authority) == host;
        if authority.is_some_and(|(_, authority)| is_own_page(authority)) {
            return Ok(());
        }
        let detail = "cross-origin requests are refused: without API keys, add the origin to http.cors_origins";
        Err(Fault::new(FaultCode::NotEntitled, detail))
    }

    /// Returns whether a host, with or without a port, is this sidecar.
    fn is_own_name(&self, authority: &str) -> bool {
        host_of(authority)
            .is_some_and(|host| is_loopback_host(&host) || self.0.iter().any(|name| name.eq_ignore_ascii_case(&host)))
    }
}

/// Returns whether a host, with or without a port, is a loopback address or `localhost`.
fn is_loopback(authority: &str) -> bool {
    host_of(authority).is_some_and(|host| is_loopback_host(&host))
}

fn is_loopback_host(host: &str) -> bool {
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
}

/// Returns the host of an authority without port and brackets.
fn host_of(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok()?;
    // A user name is not a part of a host: `Host` and `Origin` have none.
    let is_plain = !authority.as_str().contains('@');
    is_plain.then(|| authority.host().trim_matches(['[', ']']).to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(allowed: &[&str], host: Option<&'static str>, origin: Option<&'static str>) -> Result<(), Fault> {
        let names: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        HostPolicy::new(&names).check(&headers)
    }

    #[test]
    fn page_of_another_origin_is_refused() {
        for (origin, is_refused) in [
            ("http://localhost:3000", false),
            ("http://127.0.0.1:8100", false),
            ("http://[::1]:8100", false),
            ("https://example.com", true),
            ("http://localhost.example.com", true),
            ("http://localhost@example.com", true),
            ("http://example.com@localhost", true),
            ("null", true),
            ("", true),
        ] {
            let checked = check(&[], Some("localhost:8100"), Some(origin));
            assert_eq!(checked.is_err(), is_refused, "{origin}");
            if let Err(fault) = checked {
                assert!(fault.detail.contains("http.cors_origins"), "{}", fault.detail);
            }
        }
        assert_eq!(check(&[], None, None), Ok(()));
    }

    #[test]
    fn host_is_a_loopback_address_or_a_name_of_the_settings() {
        let allowed = ["desk.local", "10.0.0.7", "::2"];
        for (host, is_refused, is_refused_without_names) in [
            ("127.0.0.1:8100", false, false),
            ("localhost", false, false),
            ("[::1]:8100", false, false),
            ("desk.local", false, true),
            ("DESK.local:8100", false, true),
            ("10.0.0.7:80", false, true),
            ("[::2]:8100", false, true),
            ("evil.example:8100", true, true),
            ("x.desk.local", true, true),
            ("desk.local@evil.example", true, true),
            ("evil.example@desk.local", true, true),
            ("", true, true),
        ] {
            assert_eq!(check(&allowed, Some(host), None).is_err(), is_refused, "{host}");
            let without = check(&[], Some(host), None);
            assert_eq!(without.is_err(), is_refused_without_names, "{host}");
            if let Err(fault) = without {
                assert!(fault.detail.contains("the header Host is"), "{}", fault.detail);
                assert!(fault.detail.contains("http.allowed_hosts"), "{}", fault.detail);
            }
        }
    }

    #[test]
    fn page_of_an_allowed_host_is_its_own() {
        let page = |origin| check(&["desk.local"], Some("desk.local:8100"), Some(origin)).is_ok();
        assert!(page("http://desk.local:8100"));
        assert!(!page("http://desk.local:3000"));
        assert!(!page("http://evil.example"));
    }
}
