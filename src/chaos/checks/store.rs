//! Redis against the journal: positions, exposures, open orders, and the notional of the day.

use std::collections::BTreeMap;

use anyhow::Context;

use crate::chaos::model_sums::{HoldingKey, ModelHolding, ModelSums};
use crate::chaos::store_reader::{StoreReader, StoredHolding, StoredLedger};
use crate::chaos::violation::FoundViolations;
use crate::domain::decimal::Decimal;

/// Checks every ledger of Redis.
///
/// # Errors
/// When Redis cannot be read.
pub(in crate::chaos) async fn check_store(
    store: &mut StoreReader,
    sums: &ModelSums,
    found: &mut FoundViolations,
) -> anyhow::Result<()> {
    let ledgers = store.read_ledgers().await?;
    let stored = ledgers.iter().flat_map(|(account, ledger)| {
        let holdings = ledger.holdings.iter();
        holdings.map(|((venue, symbol), holding)| ((account.clone(), venue.clone(), symbol.clone()), holding.clone()))
    });
    let stored: BTreeMap<HoldingKey, StoredHolding> = stored.collect();
    let keys = stored.keys().chain(sums.holdings.keys());
    let keys: std::collections::BTreeSet<&HoldingKey> = keys.collect();
    for key in keys {
        let expected = expected_holding(sums.holdings.get(key)).context("a sum of the journal is out of range")?;
        let actual = stored.get(key).cloned().unwrap_or_else(flat);
        if actual != expected {
            found.add(
                "positions_differ",
                format!("{key:?}: Redis has {actual:?}, the journal {expected:?}"),
            );
        }
    }
    let total = store.read_total().await?;
    check_notional(&ledgers, &total, sums, found);
    Ok(())
}

fn check_notional(
    ledgers: &BTreeMap<String, StoredLedger>,
    total: &StoredLedger,
    sums: &ModelSums,
    found: &mut FoundViolations,
) {
    for (account, ledger) in ledgers {
        let mut days = sums.notional.iter();
        let routed = days.find(|((date, of), _)| of == account && date.days_since_1970() == ledger.day);
        let routed = routed.map_or(Decimal::ZERO, |(_, routed)| *routed);
        if routed != ledger.notional {
            let text = format!(
                "{account}: Redis counts {} of the day, the journal {routed}",
                ledger.notional
            );
            found.add("notional_differs", text);
        }
    }
    let of_day = sums.notional.keys().map(|(date, _)| *date);
    let date = of_day.into_iter().find(|date| date.days_since_1970() == total.day);
    let routed = date.and_then(|date| sums.total_notional(date)).unwrap_or(Decimal::ZERO);
    if routed != total.notional {
        let text = format!(
            "all accounts: Redis counts {} of the day, the journal {routed}",
            total.notional
        );
        found.add("notional_differs", text);
    }
}

fn expected_holding(holding: Option<&ModelHolding>) -> Option<StoredHolding> {
    let Some(holding) = holding else { return Some(flat()) };
    Some(StoredHolding {
        long: holding.long()?,
        short: holding.short()?,
        position: holding.position,
        open_orders: holding.open_orders,
    })
}

fn flat() -> StoredHolding {
    StoredHolding {
        long: Decimal::ZERO,
        short: Decimal::ZERO,
        position: Decimal::ZERO,
        open_orders: 0,
    }
}
