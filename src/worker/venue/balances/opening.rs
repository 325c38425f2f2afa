//! The start of a key's ledger: the venue's balances at a moment at which nothing moves, and the positions that they are.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use crate::brokers::binance::asset_roles::AssetRole;
use crate::domain::adjustment::{Adjustment, AdjustmentEffect};
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, AdjustmentId};
use crate::domain::order_terms::Mode;
use crate::domain::quantity::from_quantity_units;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::store::sums::ledgers::LedgerOwner;
use crate::wire::balance::AssetBalance;
use crate::worker::adjustments::book_venue_adjustment;
use crate::worker::control::locks::ROUTER_ACTOR;
use crate::worker::faults::{bus_unavailable, store_unavailable};
use crate::worker::venue::balances::{BalanceError, BalanceLedger, CONFIRM_DELAY, RunEnd, StoredLedger, new_event};

/// The longest that one booking may take.
const BOOKING_TIMEOUT: Duration = Duration::from_secs(3);

/// What becomes of a balance at the first use.
enum Opening {
    /// It becomes a position of the account.
    Position(AccountId, Symbol),
    /// It is listed; the text says why.
    Listed(String),
}

/// Begins the ledger of a key, or begins it again behind the event `earlier`, where nothing moves at the moment.
pub(super) async fn open(ledger: &mut BalanceLedger, earlier: Option<StoredLedger>) -> Result<RunEnd, BalanceError> {
    let extent = ledger.router.journal_reader.read_extent().await;
    let base = extent.map_err(|error| bus_unavailable(&error))?.last_sequence;
    // Before the balances: a fill in between shows in the journal after `base`.
    let positions = read_positions(ledger).await?;
    let read_at = ledger.venue_time()?;
    let first = ledger.venue_balances().await?;
    sleep(CONFIRM_DELAY).await;
    let second = ledger.venue_balances().await?;
    let (_, moves) = ledger.moves_after(base).await?;
    if first != second || !moves.is_empty() || ledger.has_unknown_orders().await? {
        log_at_intervals!(
            info,
            key = ledger.key_number,
            "the ledger of a key begins once its balances rest and no outcome is unknown"
        );
        return Ok(RunEnd::Again);
    }
    let reason = match &earlier {
        None => "the key is used for the first time",
        Some(stored) if stored.event.accounts != ledger.account_names() => "other accounts trade with the key",
        Some(_) => "an entry of the journal does not say exactly what it moved",
    };
    if earlier.is_none() && !book_positions(ledger, &first, &positions).await? {
        return Ok(RunEnd::Again);
    }
    let assets = first.into_iter().map(|(asset, amount)| {
        let balance = AssetBalance {
            amount,
            read_at,
            difference: None,
        };
        (asset, balance)
    });
    let event = new_event(ledger, base, assets.collect(), reason.to_owned());
    let last_sequence = earlier.map_or(0, |stored| stored.sequence);
    if ledger.append(event, last_sequence).await?.is_some() {
        tracing::info!(
            key = ledger.key_number,
            reason,
            "the ledger of a key begins with the venue's balances"
        );
    }
    Ok(RunEnd::Again)
}

/// Books what the account holds as its positions, where a balance is one. Reports whether that is done: a price may be
/// missing. Repeated, or by another worker, nothing is booked twice.
async fn book_positions(
    ledger: &BalanceLedger,
    balances: &BTreeMap<String, Decimal>,
    positions: &BTreeMap<Symbol, Decimal>,
) -> Result<bool, BalanceError> {
    for (asset, balance) in balances {
        match opening_of(ledger, asset) {
            Opening::Position(account_id, symbol) => {
                let held = positions.get(&symbol).copied().unwrap_or_default();
                if !book_position(ledger, &account_id, &symbol, (*balance, held)).await? {
                    return Ok(false);
                }
            }
            Opening::Listed(why) => tracing::warn!(
                key = ledger.key_number,
                asset,
                %balance,
                why,
                "the account holds an asset that becomes no position"
            ),
        }
    }
    Ok(true)
}

fn opening_of(ledger: &BalanceLedger, asset: &str) -> Opening {
    let assets = ledger.session.rules.assets().unwrap_or_default();
    let listed = |why: &str| Opening::Listed(why.to_owned());
    match (AssetRole::of(asset, &assets), &ledger.accounts.accounts[..]) {
        (AssetRole::Unused, _) => listed("no instrument has it"),
        (AssetRole::Pays(_), _) => listed("it pays for instruments"),
        (AssetRole::Shared(symbols), _) => Opening::Listed(format!(
            "{} instruments move it: enter what each position is with order-router adjust",
            symbols.len()
        )),
        (AssetRole::TradedBy(_), _) if !ledger.timing.books_openings => {
            listed("brokers.binance_live.book_opening_positions is false")
        }
        (AssetRole::TradedBy(symbol), [account_id]) => Opening::Position(account_id.clone(), symbol),
        (AssetRole::TradedBy(_), accounts) => Opening::Listed(format!(
            "{} accounts trade with the key: enter what each of them holds with order-router adjust",
            accounts.len()
        )),
    }
}

/// Returns the positions of the account, where the key has one account.
async fn read_positions(ledger: &BalanceLedger) -> Result<BTreeMap<Symbol, Decimal>, BalanceError> {
    let [account_id] = &ledger.accounts.accounts[..] else {
        return Ok(BTreeMap::new());
    };
    let owner = LedgerOwner::Account(Mode::Live, account_id.clone());
    let sums = ledger
        .router
        .store
        .read_ledger(owner)
        .await
        .map_err(store_unavailable)?;
    let of_venue = sums
        .holdings
        .into_iter()
        .filter(|one| one.venue == ledger.accounts.venue);
    Ok(of_venue
        .map(|one| (one.symbol, from_quantity_units(one.position)))
        .collect())
}

/// Books what a balance is more or less than the position. Reports whether it is booked.
async fn book_position(
    ledger: &BalanceLedger,
    account_id: &AccountId,
    symbol: &Symbol,
    (balance, held): (Decimal, Decimal),
) -> Result<bool, BalanceError> {
    let router = &ledger.router;
    let venue = &ledger.accounts.venue;
    let limits = router.limits();
    let (Some(quantity), Some(instrument)) = (balance.checked_sub(held), limits.instruments.get(venue, symbol)) else {
        return Ok(true);
    };
    if quantity.is_zero() {
        return Ok(true);
    }
    let Some(price) = router.prices.mark_price(instrument, Mode::Live) else {
        log_at_intervals!(warn, %symbol, "an opening position waits for a price of the venue");
        return Ok(false);
    };
    let text = format!("opening:{}:{symbol}", ledger.key);
    let adjustment_id = AdjustmentId::new(&text).map_err(|rule| {
        let detail = format!("the opening position {text} has an id that cannot be recorded: {rule}");
        Fault::new(FaultCode::StoreUnavailable, detail)
    })?;
    let adjustment = Adjustment {
        adjustment_id,
        account_id: account_id.clone(),
        effect: AdjustmentEffect::Position {
            venue: venue.clone(),
            symbol: symbol.clone(),
            quantity,
            price,
        },
        actor: ROUTER_ACTOR.to_owned(),
        reason: format!("the account held {balance} when the router first used its key"),
    };
    let deadline = Timestamp::now().saturating_add(BOOKING_TIMEOUT);
    book_venue_adjustment(router, &adjustment, Mode::Live, deadline).await?;
    tracing::warn!(%account_id, %symbol, %quantity, "booked an opening position");
    Ok(true)
}
