//! Orphans: fills of a venue's account that belong to no order here. Each is booked once, as an adjustment of the account's
//! position and fees, and raises an alert (law 5 in docs/architecture.md).

use std::time::Duration;

use crate::brokers::port::{InboxError, VenueNotice};
use crate::bus::subjects;
use crate::domain::adjustment::{Adjustment, AdjustmentEffect};
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, AdjustmentId};
use crate::domain::instrument::Instrument;
use crate::domain::metadata::Metadata;
use crate::domain::order::UnpricedFee;
use crate::domain::order_terms::{Mode, Side};
use crate::domain::quantity::Price;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::time::Timestamp;
use crate::domain::venue_report::Fill;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::risk::rules::unpriced_fee;
use crate::wire::risk_signal::{RiskSignal, SignalSubject};
use crate::wire::state::StateEvent;
use crate::worker::adjustments::book_venue_adjustment;
use crate::worker::control::fee_locks;
use crate::worker::faults::{bus_unavailable, store_unavailable};
use crate::worker::router::Router;
use crate::worker::venue::accounts::VenueAccounts;

/// What the ids of the adjustments begin with, and what those of fees end with.
pub(super) const ID_PREFIX: &str = "orphan:";
pub(super) const FEE_SUFFIX: &str = ":fee";
/// Who makes the adjustments.
pub(super) const ACTOR: &str = "order-router worker";
/// The longest that one fill may take.
const BOOKING_TIMEOUT: Duration = Duration::from_secs(3);
/// How much earlier than an adjustment's id is forgotten a fill counts as old.
const RETENTION_MARGIN: Duration = Duration::from_secs(3_600);
/// The most changes of the state that are read at a time.
const STATE_EVENTS_PAGE: usize = 64;

/// Books fills that belong to no order here to an account: `account_id` where it is known, else the first of the key. Fills
/// from before the router's first live mode are not its own; of those older than ids are remembered it is not known whether
/// they are booked, and they are logged only.
///
/// # Errors
/// When a fill is not journaled: it can be delivered again.
pub(super) async fn book_orphans(
    router: &Router,
    accounts: &VenueAccounts,
    account_id: Option<&AccountId>,
    notice: &VenueNotice,
    fills: &[Fill],
) -> Result<(), InboxError> {
    let account_id = account_id.or(accounts.accounts.first());
    let Some(account_id) = account_id.filter(|_| !fills.is_empty()) else {
        return Ok(());
    };
    let Some(live_since) = first_live_moment(router, accounts).await.map_err(unavailable)? else {
        return Ok(());
    };
    let limits = router.limits();
    let Some(instrument) = limits.instruments.get(&accounts.venue, &notice.symbol) else {
        log_at_intervals!(
            error,
            symbol = %notice.symbol, order_id = %notice.order_id,
            "the venue has filled an order of an instrument that this router does not know; it is not booked yet"
        );
        // The reading that has it stays incomplete: it is read again once the instrument is known.
        let text = format!("{} is no instrument of this router", notice.symbol);
        return Err(InboxError::Unavailable(text));
    };
    let remembered = router.snapshots.retention.saturating_sub(RETENTION_MARGIN);
    let now = Timestamp::now();
    for fill in fills {
        let age = now.saturating_duration_since(fill.timestamp);
        if fill.timestamp < live_since {
            tracing::debug!(exec_id = fill.exec_id, order_id = %notice.order_id, "a fill from before live trading is not booked");
            continue;
        }
        if age > remembered {
            log_at_intervals!(
                warn,
                exec_id = fill.exec_id, order_id = %notice.order_id, at = %fill.timestamp,
                "a fill of an order that is not known any more is too old to book: compare the account with the venue"
            );
            continue;
        }
        book_orphan(router, account_id, instrument, notice, fill)
            .await
            .map_err(unavailable)?;
    }
    Ok(())
}

/// Returns when the router's mode first became live; `None` where it never was. It is read from the journal until it is
/// found.
pub(super) async fn first_live_moment(router: &Router, accounts: &VenueAccounts) -> Result<Option<Timestamp>, Fault> {
    if let Some(known) = accounts.first_live.get() {
        return Ok(Some(*known));
    }
    let subject = subjects::event(subjects::STATE_EVENT_KIND, None);
    let mut from = 1;
    loop {
        let page = router
            .journal_reader
            .read_next_for_subject(&subject, from, STATE_EVENTS_PAGE);
        let page = page.await.map_err(|error| bus_unavailable(&error))?;
        let Some(last) = page.last() else { return Ok(None) };
        from = last.sequence + 1;
        for entry in &page {
            let event = serde_json::from_slice::<StateEvent>(&entry.body).map_err(|error| bus_unavailable(&error))?;
            if event.mode == Some(Mode::Live) {
                return Ok(Some(*accounts.first_live.get_or_init(|| event.timestamp)));
            }
        }
    }
}

/// Books one fill: what the account holds more or less, at its price, and its fee.
async fn book_orphan(
    router: &Router,
    account_id: &AccountId,
    instrument: &Instrument,
    notice: &VenueNotice,
    fill: &Fill,
) -> Result<(), Fault> {
    let id = |part: &str| {
        format!(
            "{ID_PREFIX}{}:{}:{}{part}",
            instrument.venue, instrument.symbol, fill.exec_id
        )
    };
    let position_id = orphan_id(&id(""))?;
    let known = router
        .store
        .read_adjustment(&position_id)
        .await
        .map_err(store_unavailable)?;
    if known.is_none() {
        publish_alert(router, account_id, notice, fill, &id(""));
    }
    let adjustment = |adjustment_id: AdjustmentId, effect: AdjustmentEffect| Adjustment {
        adjustment_id,
        account_id: account_id.clone(),
        effect,
        actor: ACTOR.to_owned(),
        reason: format!(
            "the venue has filled the order {}, which is not known here",
            notice.order_id
        ),
    };
    let quantity = moved_quantity(instrument, notice.side, fill);
    let position = AdjustmentEffect::Position {
        venue: instrument.venue.clone(),
        symbol: instrument.symbol.clone(),
        quantity,
        price: fill.price,
    };
    let deadline = || Timestamp::now().saturating_add(BOOKING_TIMEOUT);
    book_venue_adjustment(router, &adjustment(position_id, position), Mode::Live, deadline()).await?;
    if fill.fee.is_zero() {
        return Ok(());
    }
    let fee = AdjustmentEffect::Fee {
        venue: instrument.venue.clone(),
        symbol: instrument.symbol.clone(),
        amount: fill.fee,
        currency: fill.fee_currency.clone(),
        price: fee_price(instrument, fill),
        fills: 0,
    };
    let fee_id = orphan_id(&id(FEE_SUFFIX))?;
    let fee = adjustment(fee_id.clone(), fee);
    match book_venue_adjustment(router, &fee, Mode::Live, deadline()).await {
        Err(fault) if fault.field.as_deref() == Some("price") => {
            let unpriced = AdjustmentEffect::UnpricedFee {
                venue: instrument.venue.clone(),
                symbol: instrument.symbol.clone(),
                amount: fill.fee,
                currency: fill.fee_currency.clone(),
            };
            let known = router.store.read_adjustment(&fee_id).await.map_err(store_unavailable)?;
            let unpriced = adjustment(fee_id, unpriced);
            book_venue_adjustment(router, &unpriced, Mode::Live, deadline()).await?;
            match known {
                // The account is closed since it was booked, and may be priced and lifted meanwhile.
                Some(_) => Ok(()),
                None => close_account(router, account_id, instrument, notice, fill).await,
            }
        }
        booked => booked.map(drop),
    }
}

/// Closes an account to openings whose fee has no price: the store refuses them since the fee was booked, and alert and lock
/// name the fee to operators.
async fn close_account(
    router: &Router,
    account_id: &AccountId,
    instrument: &Instrument,
    notice: &VenueNotice,
    fill: &Fill,
) -> Result<(), Fault> {
    let unpriced = UnpricedFee {
        exec_id: fill.exec_id.clone(),
        fee: fill.fee,
        currency: fill.fee_currency.clone(),
    };
    let of = (&instrument.venue, &instrument.symbol);
    let (message, metadata) = unpriced_fee::describe_fill(of, &notice.order_id, &unpriced);
    let signal = RuleSignal {
        rule_id: unpriced_fee::ID,
        level: SignalLevel::Alert,
        code: ReasonCode::RiskLocked,
        message: message.clone(),
        metadata: metadata.clone(),
    };
    let name = format!("{ID_PREFIX}{}:{}:{}{FEE_SUFFIX}", of.0, of.1, fill.exec_id);
    let document = RiskSignal::of(&signal, orphan_subject(account_id, notice)).named(&name);
    router.signals.publish_document(signal.rule_id, document);
    fee_locks::lock_for(router, (Mode::Live, account_id), (message, metadata)).await
}

fn orphan_subject<'a>(account_id: &'a AccountId, notice: &'a VenueNotice) -> SignalSubject<'a> {
    SignalSubject {
        account_id: Some(account_id),
        symbol: Some(&notice.symbol),
        client_order_id: None,
        order_id: Some(&notice.order_id),
    }
}

fn orphan_id(text: &str) -> Result<AdjustmentId, Fault> {
    AdjustmentId::new(text).map_err(|rule| {
        let detail = format!("the fill {text} has an id that cannot be recorded: {rule}");
        Fault::new(FaultCode::StoreUnavailable, detail)
    })
}

/// Returns what a fill adds to the position: a fee in the traded asset is part of what was bought.
fn moved_quantity(instrument: &Instrument, side: Side, fill: &Fill) -> Decimal {
    let traded = match side {
        Side::Buy => fill.quantity.decimal(),
        Side::Sell => fill.quantity.decimal().negated(),
    };
    if !is_in_base_asset(instrument, fill) {
        return traded;
    }
    // Both have at most 8 decimals and are far from the largest decimal.
    traded.checked_sub(fill.fee).unwrap_or(traded)
}

fn is_in_base_asset(instrument: &Instrument, fill: &Fill) -> bool {
    is_base_asset(instrument, &fill.fee_currency)
}

/// Reports whether a fee in this currency is part of what an orphan adds to the position.
pub(super) fn is_base_asset(instrument: &Instrument, currency: &str) -> bool {
    instrument.base_asset.as_deref() == Some(currency)
}

/// Returns what a unit of the fee's currency is worth in the base currency, where the fill itself has its price; else its rate counts.
fn fee_price(instrument: &Instrument, fill: &Fill) -> Option<Price> {
    if !is_in_base_asset(instrument, fill) {
        return None;
    }
    let price = fill.price.decimal().checked_mul(instrument.base_rate)?;
    Price::new(price).ok()
}

fn publish_alert(router: &Router, account_id: &AccountId, notice: &VenueNotice, fill: &Fill, name: &str) {
    let signal = RuleSignal {
        rule_id: "orphan_fill",
        level: SignalLevel::Alert,
        code: ReasonCode::RiskLocked,
        message: format!(
            "the venue has filled the order {}, which is not known here; the fill is booked to the account",
            notice.order_id
        ),
        metadata: Metadata::new()
            .with("exec_id", fill.exec_id.as_str())
            .with("quantity", fill.quantity.decimal())
            .with("price", fill.price.decimal()),
    };
    let document = RiskSignal::of(&signal, orphan_subject(account_id, notice)).named(name);
    router.signals.publish_document(signal.rule_id, document);
}

fn unavailable(fault: Fault) -> InboxError {
    InboxError::Unavailable(fault.detail)
}
