//! The local exchange of `dev --with-venue`: its command, and the settings that point the live adapter of Binance at it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;

use crate::cli::arguments::global::{SettingFlag, setting_flag};
use crate::cli::commands::dev::addresses::choose_free_address;
use crate::cli::commands::dev::data_directory::DevDataDirectory;
use crate::config::Settings;
use crate::config::instruments::InstrumentSettings;
use crate::config::private_files;

/// The venue whose instruments the exchange trades.
const VENUE: &str = "binance.spot";
/// The key that the exchange accepts by default; it protects nothing outside of this machine.
const KEY_FILE: &str = "api_key = \"venue-key\"\nsecret = \"venue-secret\"\n";
/// What the account begins with: each base asset, and each quote currency.
const BASE_BALANCE: &str = "100";
const QUOTE_BALANCE: &str = "1000000";
/// The largest notional of one live order where the settings name none.
const LIVE_ORDER_NOTIONAL: &str = "10000";

/// The local exchange, not started yet.
#[derive(Debug)]
pub(crate) struct DevVenue {
    /// Where it serves.
    pub(crate) address: SocketAddr,
    arguments: Vec<String>,
    key_file: PathBuf,
    has_order_limit: bool,
}

impl DevVenue {
    /// Returns an exchange that trades the instruments of the settings and keeps its state in the data directory.
    ///
    /// # Errors
    /// When no port is free, or the key file cannot be written.
    pub(crate) fn prepare(settings: &Settings, directory: &DevDataDirectory) -> anyhow::Result<Self> {
        let address = choose_free_address().context("choosing the venue's port")?;
        let key_file = directory.path("venue-key.toml");
        private_files::open_private_file(&key_file)
            .and_then(|_| std::fs::write(&key_file, KEY_FILE))
            .with_context(|| format!("writing {}", key_file.display()))?;
        let data = directory.path("venue");
        let mut arguments = ["venue", "--market-maker", "--addr"].map(str::to_owned).to_vec();
        arguments.extend([address.to_string(), "--data-dir".to_owned(), data.display().to_string()]);
        let mut assets = BTreeSet::new();
        for one in settings.instruments.0.iter().filter(|one| one.venue == VENUE) {
            let base = base_asset(one);
            assets.extend([(base, BASE_BALANCE), (one.quote.as_str(), QUOTE_BALANCE)]);
            arguments.push("--symbol".to_owned());
            arguments.push(format!(
                "{base}/{}={},{},{}",
                one.quote, one.reference_price, one.tick_size, one.lot_size
            ));
        }
        for (asset, balance) in assets {
            arguments.push("--balance".to_owned());
            arguments.push(format!("{asset}={balance}"));
        }
        Ok(Self {
            address,
            arguments,
            key_file,
            has_order_limit: !settings.risk.max_live_order_notional.is_empty(),
        })
    }

    /// Returns the arguments of this program that start the exchange.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// Returns the settings that point the live adapter at the exchange, for the account `default`.
    pub(crate) fn setting_flags(&self) -> Vec<SettingFlag> {
        let Self { address, key_file, .. } = self;
        let mut flags = vec![
            setting_flag("brokers.allow_live", true),
            setting_flag("brokers.binance_live.rest_url", format!("http://{address}")),
            setting_flag(
                "brokers.binance_live.websocket_api_url",
                format!("ws://{address}/ws-api/v3"),
            ),
            setting_flag("brokers.binance_live.market_streams_url", format!("ws://{address}")),
            // What the account begins with is to trade with; as positions it would exceed their limits.
            setting_flag("brokers.binance_live.book_opening_positions", false),
            setting_flag("brokers.binance_live.keys", format!("default={}", key_file.display())),
        ];
        if !self.has_order_limit {
            flags.push(setting_flag("risk.max_live_order_notional", LIVE_ORDER_NOTIONAL));
        }
        flags
    }
}

/// Returns the base asset of an instrument: its own, or what its symbol has before the quote currency.
fn base_asset(instrument: &InstrumentSettings) -> &str {
    let of_symbol = instrument.symbol.strip_suffix(&instrument.quote);
    let base = instrument.base.as_deref().or(of_symbol);
    base.unwrap_or(&instrument.symbol)
}
