//! Settings of traces (`[otlp]`).

use serde::{Deserialize, Serialize};

use crate::config::range::check_range;

/// Where traces go, and the bounds of their export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpSettings {
    /// The URL of an OpenTelemetry collector that takes traces by OTLP over HTTP, such as `http://127.0.0.1:4318`; without
    /// it nothing is traced. Default none.
    pub endpoint: Option<String>,
    /// The share of the calls without a `traceparent` that are traced, in percent, 1 to 100; a `traceparent` says itself
    /// whether its trace is recorded. Default 100.
    pub sample_percent: u8,
    /// Maximum number of spans that wait for their export, 1 to 1000000; further ones are dropped. Default 8192.
    pub queue_max: usize,
    /// Maximum number of spans in one export, 1 to 10000. Default 512.
    pub batch_max: usize,
    /// Time limit of one export, in milliseconds, 100 to 60000; after it the spans are dropped. Default 5000.
    pub timeout_ms: u64,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_percent: 100,
            queue_max: 8_192,
            batch_max: 512,
            timeout_ms: 5_000,
        }
    }
}

impl OtlpSettings {
    /// Returns the collector's URL, without a slash at its end.
    pub fn endpoint(&self) -> Option<&str> {
        let endpoint = self.endpoint.as_deref().map(|url| url.trim_end_matches('/'));
        endpoint.filter(|url| !url.is_empty())
    }

    /// Adds a sentence for each setting that cannot be used.
    pub fn validate(&self, errors: &mut Vec<String>) {
        if let Some(url) = self.endpoint() {
            let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            let is_plain = |host: &str| !host.is_empty() && !host.starts_with('/') && !host.contains(['?', '#', ' ']);
            if url.contains('@') {
                // The URL is logged.
                errors.push("otlp.endpoint must not contain a password".to_owned());
            } else if !host.is_some_and(is_plain) {
                errors.push(format!(
                    "otlp.endpoint {url:?} must be a URL such as http://127.0.0.1:4318"
                ));
            }
        }
        check_range(errors, "otlp.sample_percent", self.sample_percent, &(1..=100));
        check_range(errors, "otlp.queue_max", self.queue_max, &(1..=1_000_000));
        check_range(errors, "otlp.batch_max", self.batch_max, &(1..=10_000));
        check_range(errors, "otlp.timeout_ms", self.timeout_ms, &(100..=60_000));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_is_a_url_without_a_password() {
        for (endpoint, is_valid) in [
            (None, true),
            (Some(""), true),
            (Some("http://127.0.0.1:4318"), true),
            (Some("https://collector.example.com/otlp/"), true),
            (Some("127.0.0.1:4318"), false),
            (Some("grpc://127.0.0.1:4317"), false),
            (Some("http://"), false),
            (Some("http://a?b=c"), false),
            (Some("http://user:secret@a"), false),
        ] {
            let mut errors = Vec::new();
            let settings = OtlpSettings {
                endpoint: endpoint.map(str::to_owned),
                ..OtlpSettings::default()
            };
            settings.validate(&mut errors);
            assert_eq!(errors.is_empty(), is_valid, "{endpoint:?}: {errors:?}");
            assert!(!errors.concat().contains("secret"));
        }
    }
}
