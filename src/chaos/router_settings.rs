//! The settings of the router under test: limits low enough that orders meet them, and times short enough that leases,
//! redeliveries and snapshots happen within a run.

use std::path::Path;

use crate::chaos::servers::SENTINEL_SERVICE;
use crate::config::Settings;
use crate::config::accounts::AccountSettings;
use crate::config::journal::AppendMode;

/// The accounts that the intents name.
pub(in crate::chaos) const ACCOUNTS: &[&str] = &[
    "chaos-0", "chaos-1", "chaos-2", "chaos-3", "chaos-4", "chaos-5", "tight-0", "tight-1",
];
/// The account whose notional of the day has a low limit, which each change of the settings moves.
const NOTIONAL_ACCOUNT: &str = "tight-0";
/// The account whose positions have low limits.
const POSITION_ACCOUNT: &str = "tight-1";

/// A lease shorter than most pauses of a worker, in milliseconds.
const LEASE_MS: u64 = 1_000;
/// The time after which NATS redelivers an intent, in milliseconds.
const ACK_WAIT_MS: u64 = 1_500;
/// The interval of progress messages, in milliseconds.
const PROGRESS_MS: u64 = 400;
/// The delay of the first redelivery, in milliseconds.
const NAK_DELAY_MS: u64 = 100;
/// So many journal entries apart, workers make snapshots.
const SNAPSHOT_ENTRIES: u64 = 5_000;
/// The first and the longest pause between two questions about an order whose outcome is unknown, in milliseconds.
const INQUIRY_PAUSES_MS: (u64, u64) = (100, 1_000);
/// How long after its submission an order may still appear at the venue, in milliseconds: longer than any deadline of a
/// call and any fault of the venue.
const NOT_FOUND_WINDOW_MS: u64 = 8_000;
/// A limit that no run reaches, in the base currency.
const UNREACHED: &str = "9000000000";
/// The fee of a fill, paid in the received asset.
const FEE_RATE: &str = "0.001";
/// The limit of the notional account before the first change, and how far each change moves it, in the base currency.
const FIRST_NOTIONAL_LIMIT: u64 = 20_000;
const NOTIONAL_STEP: u64 = 15_000;
/// Every third change lowers that limit by this much against the change before.
const NOTIONAL_REDUCTION: u64 = 25_000;

/// The lots of BTCUSDT and AAPL that changes of the settings go through. Every quantity of an intent is a multiple of each.
const LOTS: &[(&str, &str)] = &[("0.00001", "0.01"), ("0.0001", "1"), ("0.00002", "0.1")];
/// The maximum positions of the position account in BTCUSDT and AAPL that changes go through.
const POSITIONS: &[(&str, &str)] = &[("0.02", "40"), ("0.05", "90"), ("0.01", "25")];

/// The addresses and the directory of one process.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct ProcessPlace<'a> {
    /// The addresses of NATS, as the process sees them: one for each node.
    pub(in crate::chaos) nats: Vec<std::net::SocketAddr>,
    /// The address of Redis, as the process sees it; `None` where the Sentinels name it.
    pub(in crate::chaos) redis: Option<std::net::SocketAddr>,
    /// The addresses of the Sentinels.
    pub(in crate::chaos) sentinels: Vec<std::net::SocketAddr>,
    /// The address that the sidecar listens on.
    pub(in crate::chaos) http: std::net::SocketAddr,
    /// The local exchange, as the process sees it, and the file with its API key.
    pub(in crate::chaos) venue: Option<(std::net::SocketAddr, &'a Path)>,
    /// The directory of the process's own files.
    pub(in crate::chaos) data_directory: &'a Path,
}

/// Returns the settings after so many changes of them.
pub(in crate::chaos) fn router_settings(change: u64, place: &ProcessPlace<'_>) -> Settings {
    let mut settings = Settings::default();
    name_servers(&mut settings, place);
    settings.http.addr = place.http.into();
    settings.data_dir.0 = place.data_directory.to_owned();
    settings.redis.lease_ms = LEASE_MS;
    settings.doors.durable_ack_wait_ms = ACK_WAIT_MS;
    settings.doors.durable_progress_ms = PROGRESS_MS;
    settings.doors.nak_delay_ms = NAK_DELAY_MS;
    settings.journal.snapshot_entries = SNAPSHOT_ENTRIES;
    if change % 2 == 1 {
        settings.journal.append = AppendMode::Atomic;
    }
    settings.brokers.paper_fees.rate = FEE_RATE.to_owned();
    settings.brokers.paper_fees.paid_in = "received".to_owned();
    if let Some((address, key_file)) = place.venue {
        let brokers = &mut settings.brokers;
        brokers.allow_live = true;
        brokers.inquiry.first_pause_ms = INQUIRY_PAUSES_MS.0;
        brokers.inquiry.longest_pause_ms = INQUIRY_PAUSES_MS.1;
        brokers.inquiry.not_found_window_ms = NOT_FOUND_WINDOW_MS;
        brokers.binance_live.rest_url = format!("http://{address}");
        brokers.binance_live.websocket_api_url = format!("ws://{address}/ws-api/v3");
        brokers.binance_live.market_streams_url = format!("ws://{address}");
        brokers.binance_live.book_opening_positions = false;
        let keys = ACCOUNTS
            .iter()
            .map(|account| ((*account).to_owned(), key_file.display().to_string()));
        brokers.binance_live.keys = keys.collect();
        UNREACHED.clone_into(&mut settings.risk.max_live_order_notional);
    }
    let risk = &mut settings.risk;
    risk.max_denials_per_hour = 1_000_000_000;
    for limit in [
        &mut risk.daily_notional_limit,
        &mut risk.daily_loss_limit,
        &mut risk.account_stop_loss,
    ] {
        UNREACHED.clone_into(limit);
    }
    let turn = |count: usize| usize::try_from(change).unwrap_or(0) % count.max(1);
    let (bitcoin_lot, apple_lot) = LOTS[turn(LOTS.len())];
    for instrument in &mut settings.instruments.0 {
        match instrument.symbol.as_str() {
            "BTCUSDT" => bitcoin_lot.clone_into(&mut instrument.lot_size),
            "AAPL" => apple_lot.clone_into(&mut instrument.lot_size),
            _ => {}
        }
    }
    let (bitcoin, apple) = POSITIONS[turn(POSITIONS.len())];
    let account = |name: &str| AccountSettings {
        account_id: name.to_owned(),
        daily_notional_limit: None,
        daily_loss_limit: None,
        stop_loss: None,
        max_open_orders: None,
        max_positions: std::collections::BTreeMap::new(),
        heartbeat_timeout_ms: None,
    };
    let positions = [("binance.spot:BTCUSDT", bitcoin), ("ibkr.paper:AAPL", apple)];
    settings.accounts.0 = vec![
        AccountSettings {
            daily_notional_limit: Some(notional_limit(change).to_string()),
            ..account(NOTIONAL_ACCOUNT)
        },
        AccountSettings {
            max_positions: positions
                .map(|(name, limit)| (name.to_owned(), limit.to_owned()))
                .into(),
            ..account(POSITION_ACCOUNT)
        },
    ];
    settings
}

/// Sets the addresses of NATS and Redis, or of its Sentinels.
fn name_servers(settings: &mut Settings, place: &ProcessPlace<'_>) {
    settings.nats.url = nats_url(&place.nats);
    settings.nats.replicas = place.nats.len();
    match place.redis {
        Some(address) => settings.redis.url = format!("redis://{address}"),
        None => {
            let sentinels = place.sentinels.iter().map(|address| format!("redis://{address}"));
            settings.redis.sentinels = sentinels.collect();
            SENTINEL_SERVICE.clone_into(&mut settings.redis.sentinel_service);
        }
    }
}

/// Returns the setting `nats.url` of these servers.
pub(in crate::chaos) fn nats_url(addresses: &[std::net::SocketAddr]) -> String {
    let urls: Vec<String> = addresses.iter().map(|address| format!("nats://{address}")).collect();
    urls.join(",")
}

/// Returns the notional account's limit after so many changes: it grows, and every third change lowers it, often below
/// what is routed already.
fn notional_limit(change: u64) -> u64 {
    let grown = FIRST_NOTIONAL_LIMIT + change * NOTIONAL_STEP;
    if change % 3 == 2 {
        grown - NOTIONAL_REDUCTION
    } else {
        grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::LimitSettings;

    #[test]
    fn every_change_of_the_settings_is_valid_and_changes_limits() {
        let place = ProcessPlace {
            nats: vec![([127, 0, 0, 1], 1).into()],
            redis: None,
            sentinels: vec![([127, 0, 0, 1], 2).into()],
            http: ([127, 0, 0, 1], 3).into(),
            venue: Some((([127, 0, 0, 1], 4).into(), Path::new("key"))),
            data_directory: Path::new("data"),
        };
        for change in 0..20 {
            let settings = router_settings(change, &place);
            assert_eq!(settings.validation_errors(), Vec::<String>::new());
            let next = LimitSettings::of(&router_settings(change + 1, &place));
            assert!(!LimitSettings::of(&settings).differences(&next).is_empty());
        }
    }
}
