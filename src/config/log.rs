//! Settings of the log (`[log]`), which is written to the standard error stream.

use serde::{Deserialize, Serialize};

/// What is logged, and in which format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The filter of log lines: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module such as
    /// `info,order_router::worker=debug`. Default `info,async_nats=warn`.
    pub filter: String,
    /// `text` for people, `json` for machines. Default `text`.
    pub format: LogFormat,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            filter: "info,async_nats=warn".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl LogSettings {
    /// Adds a sentence for each setting that is out of its range.
    pub fn validate(&self, errors: &mut Vec<String>) {
        if let Err(error) = self.filter.parse::<tracing_subscriber::filter::EnvFilter>() {
            errors.push(format!("log.filter is invalid: {error}"));
        }
    }
}
