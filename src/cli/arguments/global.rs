//! The options of every command, and the settings that they lead to.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::error::CommandError;
use crate::cli::process::logging;
use crate::config::Settings;
use crate::config::load::unknown_variable_warnings;

const HELP_HEADING: &str = "Global options";

/// Whether a command is short or runs until a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandKind {
    /// A short command: it logs warnings only, unless the user sets a filter.
    Client,
    /// A command that runs until a signal.
    Daemon,
}

/// The sources of the settings. Flags override environment variables, which override the file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct GlobalOptions {
    /// Read settings from this TOML file.
    #[arg(long, global = true, env = "ORDER_ROUTER_CONFIG", value_name = "FILE", help_heading = HELP_HEADING)]
    config: Option<PathBuf>,
    /// The URL of NATS [default: nats://127.0.0.1:4222, env: ORDER_ROUTER_NATS_URL].
    #[arg(long, global = true, value_name = "URL", help_heading = HELP_HEADING)]
    nats_url: Option<String>,
    /// The URL of Redis [default: redis://127.0.0.1:6379, env: ORDER_ROUTER_REDIS_URL].
    #[arg(long, global = true, value_name = "URL", help_heading = HELP_HEADING)]
    redis_url: Option<String>,
    /// The log filter, such as `info,order_router::worker=debug` [env: ORDER_ROUTER_LOG_FILTER].
    #[arg(long, global = true, value_name = "FILTER", help_heading = HELP_HEADING)]
    log: Option<String>,
    /// The format of log lines: `text` or `json` [default: text, env: ORDER_ROUTER_LOG_FORMAT].
    #[arg(long, global = true, value_name = "FORMAT", help_heading = HELP_HEADING)]
    log_format: Option<String>,
    /// Set any other setting, such as `--set risk.daily_notional_limit=5000000`; repeatable.
    #[arg(long = "set", global = true, value_name = "PATH=VALUE", value_parser = parse_assignment, help_heading = HELP_HEADING)]
    assignments: Vec<(String, String)>,
}

/// A setting's path and its value, as text.
pub(crate) type SettingFlag = (String, String);

/// Returns the flag that sets a setting.
pub(crate) fn setting_flag(path: &str, value: impl ToString) -> SettingFlag {
    (path.to_owned(), value.to_string())
}

/// Returns the flags of a Redis that no Sentinel names.
pub(crate) fn no_sentinels() -> [SettingFlag; 2] {
    ["redis.sentinels", "redis.sentinel_service"].map(|path| setting_flag(path, ""))
}

impl GlobalOptions {
    /// Returns the settings that the flags set; later ones override earlier ones.
    pub(crate) fn setting_flags(&self) -> Vec<SettingFlag> {
        let named = [
            ("nats.url", &self.nats_url),
            ("redis.url", &self.redis_url),
            ("log.filter", &self.log),
            ("log.format", &self.log_format),
        ];
        let named = named
            .into_iter()
            .filter_map(|(path, value)| Some(setting_flag(path, value.as_ref()?)));
        // A named Redis is the one that is meant, whatever the Sentinels of other sources name.
        let without_sentinels = self.redis_url.iter().flat_map(|_| no_sentinels());
        let named = named.chain(without_sentinels);
        named.chain(self.assignments.iter().cloned()).collect()
    }

    /// Returns the settings file.
    pub(crate) fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Returns the name of a given flag that sets a server's URL.
    pub(crate) fn server_flag(&self) -> Option<&'static str> {
        match (&self.nats_url, &self.redis_url) {
            (Some(_), _) => Some("--nats-url"),
            (_, Some(_)) => Some("--redis-url"),
            _ => None,
        }
    }

    /// Loads the settings. `flags` override every other source.
    ///
    /// # Errors
    /// All errors in the settings at once.
    pub(crate) fn load_settings(&self, flags: &[SettingFlag]) -> Result<Settings, CommandError> {
        let flags: Vec<(&str, String)> = flags
            .iter()
            .map(|(path, value)| (path.as_str(), value.clone()))
            .collect();
        Ok(Settings::load(self.config_file(), read_environment(), &flags)?)
    }

    /// Loads the settings and starts the log.
    ///
    /// # Errors
    /// All errors in the settings at once.
    pub(crate) fn load_settings_and_start_log(&self, kind: CommandKind) -> Result<Settings, CommandError> {
        let settings = self.load_settings(&self.setting_flags())?;
        self.start_log(&settings, kind);
        Ok(settings)
    }

    /// Starts the log.
    pub(crate) fn start_log(&self, settings: &Settings, kind: CommandKind) {
        let name = crate::config::load::environment_name("log.filter");
        let is_filter_set =
            std::env::var_os(name).is_some() || self.setting_flags().iter().any(|(path, _)| path == "log.filter");
        logging::start_log(&settings.log, kind == CommandKind::Client && !is_filter_set);
        let environment = read_environment();
        for warning in unknown_variable_warnings(environment.iter().map(|(name, _)| name.as_str())) {
            tracing::warn!("{warning}");
        }
    }
}

/// Returns the environment without the variables that are not UTF-8: none of them is a setting.
fn read_environment() -> Vec<(String, String)> {
    let texts =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.collect()
}

fn parse_assignment(text: &str) -> Result<SettingFlag, &'static str> {
    let (path, value) = text
        .split_once('=')
        .ok_or("must be PATH=VALUE, such as log.filter=debug")?;
    Ok(setting_flag(path.trim(), value))
}
