//! The checks of live trading: each key, the venue's clock, and the instruments. Nothing is traded.

use std::sync::Arc;

use crate::brokers::binance::asset_roles::{AssetRole, AssetsBySymbol};
use crate::brokers::binance::credentials::ApiCredentials;
use crate::brokers::binance::instrument_rules::InstrumentTable;
use crate::brokers::binance::maintenance::{KeyVerdict, judge_key};
use crate::brokers::binance::memory_ledger::MemoryLedger;
use crate::brokers::binance::messages::account::Account;
use crate::brokers::binance::settings::{BinanceSettings, VenueUrls};
use crate::brokers::binance::venue_client::VenueClient;
use crate::brokers::paper::binance::{BROKER, VENUE};
use crate::bus::connection::{ConnectPolicy, connect};
use crate::bus::journal::JournalReader;
use crate::bus::subjects;
use crate::cli::commands::check::{CheckReport, Verdict};
use crate::config::Settings;
use crate::domain::id::AccountId;
use crate::domain::symbol::Symbol;
use crate::wire::environment::{ENVIRONMENT_EVENT_KIND, EnvironmentEvent};

/// The name of these checks.
const CHECK: &str = "live";
/// The most assets that a line names of each kind: with an instrument, and without.
const MAX_LISTED_ASSETS: usize = 20;

/// Checks every key of the settings, if live trading is allowed.
pub(super) async fn check_live(settings: &Settings, report: &mut CheckReport) -> anyhow::Result<()> {
    if !settings.brokers.allow_live {
        return report.add(CHECK, Verdict::Ok, "not allowed (brokers.allow_live is false)");
    }
    let live = &settings.brokers.binance_live;
    let of_venue = settings.instruments.0.iter().filter(|one| one.venue == VENUE);
    let symbols: Vec<Symbol> = of_venue.filter_map(|one| Symbol::parse(&one.symbol).ok()).collect();
    check_environment(settings, report).await?;
    for (source, accounts) in live.accounts_by_key() {
        let accounts: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
        let accounts = accounts.join(", ");
        let venue_settings = BinanceSettings::of_live(live, source.into(), &symbols);
        match check_key(&venue_settings).await {
            Ok(found) => report.add(
                CHECK,
                Verdict::Ok,
                format!("{} accepts the key of {accounts}: {found}", venue_settings.urls.rest),
            )?,
            Err(error) => report.add(
                CHECK,
                Verdict::Failed,
                format!("the key of {accounts} at {}: {error}", venue_settings.urls.rest),
            )?,
        }
    }
    Ok(())
}

/// Compares the environment of the settings with that of the journal's live orders.
async fn check_environment(settings: &Settings, report: &mut CheckReport) -> anyhow::Result<()> {
    let environment = VenueUrls::of_live(&settings.brokers.binance_live).environment();
    // A bus that does not reply is a finding of its own.
    let Ok(bus) = connect(&settings.nats, "order-router check", ConnectPolicy::Once).await else {
        return Ok(());
    };
    let subject = subjects::named_event(ENVIRONMENT_EVENT_KIND, BROKER);
    let entry = match JournalReader::new(bus).read_last_for_subject(&subject).await {
        Ok(entry) => entry,
        Err(error) => return report.add(CHECK, Verdict::Failed, format!("the journal's environment: {error}")),
    };
    let recorded = entry.map(|entry| serde_json::from_slice::<EnvironmentEvent>(&entry.body));
    let recorded = recorded.transpose()?.map(|event| event.environment);
    let (verdict, detail) = match recorded {
        Some(recorded) if recorded != environment => (
            Verdict::Warning,
            format!(
                "the settings name the environment {environment}, and the journal's live orders belong to {recorded}: a worker \
                 starts only while none of them is open and no live position is held"
            ),
        ),
        _ => (Verdict::Ok, format!("live orders go to the environment {environment}")),
    };
    report.add(CHECK, verdict, detail)
}

/// Returns what the account holds, with the instruments that move each asset.
fn describe_assets(account: &Account, assets: &AssetsBySymbol) -> String {
    let held = account
        .balances
        .iter()
        .filter(|balance| !balance.free.is_zero() || !balance.locked.is_zero());
    let (mut used, mut unused) = (Vec::new(), Vec::new());
    for balance in held {
        let total = balance.free.checked_add(balance.locked);
        let total = total.map_or_else(|| "?".to_owned(), |total| total.to_string());
        let role = AssetRole::of(&balance.asset, assets);
        let list = if role == AssetRole::Unused {
            &mut unused
        } else {
            &mut used
        };
        list.push(format!("{} {total} ({role})", balance.asset));
    }
    let shown = |list: Vec<String>| {
        let more = match list.len().saturating_sub(MAX_LISTED_ASSETS) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let named: Vec<String> = list.into_iter().take(MAX_LISTED_ASSETS).collect();
        format!("{}{more}", named.join(", "))
    };
    match (used.is_empty(), unused.is_empty()) {
        (true, true) => "it holds nothing".to_owned(),
        (false, true) => format!("it holds {}", shown(used)),
        (true, false) => format!("it holds {}", shown(unused)),
        (false, false) => format!("it holds {}, and {}", shown(used), shown(unused)),
    }
}

/// Reads what the venue says of a key, its clock and the symbols.
///
/// # Errors
/// Why no order could be sent with it.
async fn check_key(settings: &BinanceSettings) -> Result<String, String> {
    let credentials = ApiCredentials::load(&settings.credentials, |name| std::env::var(name).ok());
    let credentials = credentials.map_err(|error| error.to_string())?;
    let tls = VenueUrls::tls(&settings.urls).map_err(|error| error.to_string())?;
    let client = VenueClient::new(settings, credentials, Arc::new(MemoryLedger::default()), &tls);
    let client = client.map_err(|error| error.to_string())?;
    client.synchronize_clock().await.map_err(|error| error.to_string())?;
    let permissions = match judge_key(&client).await.map_err(|error| error.to_string())? {
        KeyVerdict::TradesOnly => "it may trade and not withdraw",
        KeyVerdict::WithdrawalsUntold => "the venue does not say whether it may withdraw",
    };
    let info = client.exchange_info(&settings.symbols).await;
    let info = info.map_err(|error| format!("the instruments: {error}"))?;
    let listed = info.symbols.len();
    if listed < settings.symbols.len() {
        return Err(format!(
            "the venue lists {listed} of the {} instruments of {VENUE}",
            settings.symbols.len()
        ));
    }
    let table = InstrumentTable::default();
    table.replace(info.symbols);
    let account = client
        .account()
        .await
        .map_err(|error| format!("the balances: {error}"))?;
    let assets = describe_assets(&account, &table.assets().unwrap_or_default());
    Ok(format!("{permissions}; {listed} instruments; {assets}"))
}
