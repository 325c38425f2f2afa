//! The environment of the venue that the journal's live orders and positions belong to: those of a testnet and those of
//! production never mix.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::brokers::paper::binance::{BROKER, VENUE};
use crate::bus::subjects;
use crate::domain::content_hash::ContentHash;
use crate::domain::day_profit::PositionSums;
use crate::domain::order_terms::Mode;
use crate::domain::quantity::from_quantity_units;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::repeated_log::log_at_intervals;
use crate::store::Store;
use crate::store::sums::ledgers::LedgerOwner;
use crate::wire::environment::{ENVIRONMENT_EVENT_KIND, EnvironmentEvent};
use crate::worker::control::event_sequence::append_event;
use crate::worker::control::locks::ROUTER_ACTOR;
use crate::worker::faults::{bus_unavailable, store_unavailable};
use crate::worker::lifecycle::error::WorkerError;
use crate::worker::periodic::repeat_every;
use crate::worker::reply::encode_json;
use crate::worker::router::Router;
use crate::worker::venue::session::BinanceSession;

/// How often a worker reads whether another one has recorded another environment.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// How often the record is tried because another worker's came first.
const MAX_ATTEMPTS: usize = 8;
/// The most instruments that an error names.
const MAX_NAMED: usize = 8;

/// Returns the live positions and open orders at the venue, over all accounts.
///
/// # Errors
/// If the store does not reply.
pub async fn read_live_holdings(store: &Store) -> Result<Vec<PositionSums>, Fault> {
    let ledger = store.read_ledger(LedgerOwner::Total(Mode::Live)).await;
    let mut holdings = ledger.map_err(store_unavailable)?.holdings;
    holdings.retain(|one| one.venue.as_str() == VENUE && (one.position != 0 || one.open_orders != 0));
    Ok(holdings)
}

/// Returns a text that names positions and open orders.
pub fn describe_holdings(holdings: &[PositionSums]) -> String {
    let describe = |one: &PositionSums| {
        let position = from_quantity_units(one.position);
        format!("{} (position {position}, {} open orders)", one.symbol, one.open_orders)
    };
    let named: Vec<String> = holdings.iter().take(MAX_NAMED).map(describe).collect();
    match holdings.len().saturating_sub(MAX_NAMED) {
        0 => named.join(", "),
        more => format!("{}, and {more} more", named.join(", ")),
    }
}

/// Records the environment of the settings before any order is sent there.
///
/// # Errors
/// When the journal has live orders or positions of another environment, or journal or store do not reply.
pub(super) async fn record(router: &Router, environment: &str) -> Result<(), WorkerError> {
    let subject = subjects::named_event(ENVIRONMENT_EVENT_KIND, BROKER);
    for _ in 0..MAX_ATTEMPTS {
        let (recorded, last_sequence) = match read_recorded(router).await? {
            Some((recorded, _)) if recorded == environment => return Ok(()),
            Some((recorded, sequence)) => (Some(recorded), sequence),
            None => (None, 0),
        };
        if let Some(recorded) = recorded {
            let holdings = read_live_holdings(&router.store).await?;
            if !holdings.is_empty() {
                return Err(WorkerError::Settings(format!(
                    "brokers.binance_live names the environment {environment}, and the journal has live orders or positions of \
                     {recorded}: {}. Close them there, or begin {environment} with an empty journal and an empty Redis",
                    describe_holdings(&holdings)
                )));
            }
            tracing::warn!(
                recorded,
                environment,
                "live orders go to another environment from here on"
            );
        }
        let event = EnvironmentEvent {
            broker: BROKER.to_owned(),
            environment: environment.to_owned(),
            actor: ROUTER_ACTOR.to_owned(),
            timestamp: Timestamp::now(),
        };
        let document = encode_json(&event)?;
        let message_id = format!("environment:{last_sequence}:{}", ContentHash::of(&document).0);
        let appended = append_event(router, &subject, message_id, document.into(), last_sequence).await?;
        if appended.is_some() {
            return Ok(());
        }
    }
    let detail = "other workers keep recording other environments of brokers.binance_live: stop them first";
    Err(WorkerError::Settings(detail.to_owned()))
}

/// Returns the recorded environment, and the sequence of its event.
///
/// # Errors
/// If the journal does not reply.
async fn read_recorded(router: &Router) -> Result<Option<(String, u64)>, Fault> {
    let subject = subjects::named_event(ENVIRONMENT_EVENT_KIND, BROKER);
    let last = router.journal_reader.read_last_for_subject(&subject).await;
    let Some(entry) = last.map_err(|error| bus_unavailable(&error))? else {
        return Ok(None);
    };
    let event: EnvironmentEvent = serde_json::from_slice(&entry.body).map_err(|error| bus_unavailable(&error))?;
    Ok(Some((event.environment, entry.sequence)))
}

/// Stops the orders of a session while another worker's settings have recorded another environment, until the worker stops.
pub(super) async fn watch(router: Router, session: Arc<BinanceSession>, environment: String, stop: CancellationToken) {
    let mut runs = repeat_every(WATCH_INTERVAL, &stop);
    while runs.next().await {
        let read = tokio::select! {
            () = stop.cancelled() => return,
            read = read_recorded(&router) => read,
        };
        match read {
            Ok(recorded) => {
                let other = recorded
                    .map(|(recorded, _)| recorded)
                    .filter(|recorded| *recorded != environment);
                session.client.set_environment_refused(other.is_some());
                if let Some(recorded) = other {
                    log_at_intervals!(
                        error,
                        recorded,
                        environment,
                        "another worker sends live orders to another environment; this one sends none"
                    );
                }
            }
            Err(fault) => log_at_intervals!(warn, %fault, "the environment of live orders was not read"),
        }
    }
}
