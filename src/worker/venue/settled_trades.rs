//! Up to when the trades of an API key are settled, in Redis: a worker that starts reads only what came later.
//!
//! A trade that is settled is on the journal, so the moment holds whatever Redis has lost. It does not hold for another
//! journal, nor behind a loss of entries that was accepted: it is kept under the journal's name. A journal that was put back
//! to an earlier state has its old name. Redis is emptied then, and only a worker that has read a whole day since its start
//! records the first moment: never one that remembers what it settled on the entries that are lost.

use std::time::Duration;

use tokio::time::timeout;

use crate::brokers::port::{InboxError, TradeReading};
use crate::bus::connection::BusError;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::raised_numbers::RaiseFrom;
use crate::store::settled_trades::SettledTradesOf;
use crate::worker::router::Router;
use crate::worker::venue::accounts::VenueAccounts;

/// The time limit of a call to Redis.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns up to when the trades of a symbol are settled.
///
/// # Errors
/// When the journal or Redis do not reply.
pub(super) async fn read(
    router: &Router,
    accounts: &VenueAccounts,
    symbol: &Symbol,
) -> Result<Option<Timestamp>, InboxError> {
    let journal = journal_name(router, accounts).await?;
    let of = SettledTradesOf {
        key: &accounts.key,
        symbol,
        journal,
    };
    within_time(router.store.read_settled_trades(&of)).await
}

/// Records up to when the trades of a symbol are settled.
///
/// # Errors
/// When the journal or Redis do not reply.
pub(super) async fn record(
    router: &Router,
    accounts: &VenueAccounts,
    symbol: &Symbol,
    (until, reading): (Timestamp, TradeReading),
) -> Result<(), InboxError> {
    let from = match reading {
        TradeReading::Whole => RaiseFrom::Nothing,
        TradeReading::Continued => RaiseFrom::Known,
    };
    let journal = journal_name(router, accounts).await?;
    let of = SettledTradesOf {
        key: &accounts.key,
        symbol,
        journal,
    };
    within_time(router.store.record_settled_trades(&of, until, from)).await
}

/// Returns the name of the journal as this process met it first. What it settled before a loss of entries, which an operator
/// accepts later, is never recorded for the journal behind that loss.
async fn journal_name<'a>(router: &Router, accounts: &'a VenueAccounts) -> Result<&'a str, InboxError> {
    let name = accounts.journal.get_or_try_init(async || {
        let extent = router.journal_reader.read_extent().await?;
        let loss = router.journal_reader.read_accepted_loss().await?;
        let loss = loss.map_or(0, |(_, sequence)| sequence);
        Ok(format!("{}.{loss}", extent.created_at.as_microseconds()))
    });
    let name = name
        .await
        .map_err(|error: BusError| InboxError::Unavailable(error.to_string()))?;
    Ok(name)
}

async fn within_time<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, InboxError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(reply) => reply.map_err(|error| InboxError::Unavailable(error.to_string())),
        Err(_) => Err(InboxError::Unavailable("Redis did not reply in time".to_owned())),
    }
}
