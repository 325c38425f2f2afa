//! `unpriced_fee`: a fee in a currency without a rate. From the step that books such a fill until an adjustment prices its
//! fee, the account opens nothing; a lock stands for it, for operators to see.

use crate::domain::control::{ControlState, Lock, LockScope};
use crate::domain::id::{AccountId, OrderId, VenueId};
use crate::domain::metadata::Metadata;
use crate::domain::order::{Order, UnpricedFee};
use crate::domain::order_terms::Mode;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::risk::cap::CapReadings;
use crate::risk::evaluation::DecisionLimits;

/// The rule's id.
pub const ID: &str = "unpriced_fee";

/// Returns a lock while a fill of the account has a fee without a price. A reduction passes.
pub(super) fn check(_limits: &DecisionLimits, readings: &CapReadings) -> Option<RuleSignal> {
    let count = readings.unpriced_fees;
    (count > 0 && !readings.is_reduction).then(|| {
        let message = format!(
            "the fees of {count} of the account's fills have no price; only reductions pass until adjustments price them"
        );
        let metadata = Metadata::new().with("value", count);
        RuleSignal::lock(ID, ReasonCode::RiskLocked, message, metadata)
    })
}

/// Returns the sentence and the measurements of a fee without a price, for its alert and for the lock.
pub fn describe(order: &Order, unpriced: &UnpricedFee) -> (String, Metadata) {
    describe_fill((&order.venue, &order.symbol), &order.order_id, unpriced)
}

/// Returns what [`describe`] does of a fill in an instrument, of an order that need not be known here.
pub fn describe_fill(
    (venue, symbol): (&VenueId, &Symbol),
    order_id: &OrderId,
    unpriced: &UnpricedFee,
) -> (String, Metadata) {
    let UnpricedFee { exec_id, fee, currency } = unpriced;
    let message = format!(
        "the fee of {fee} {currency} of the fill {exec_id} has no price: {currency} has no rate in risk.rates; book it with \
         adjust --fee {fee} --fee-currency {currency} --venue {venue} --symbol {symbol}"
    );
    let metadata = Metadata::new()
        .with("order_id", order_id.as_str())
        .with("exec_id", exec_id.as_str())
        .with("fee", *fee)
        .with("fee_currency", currency.as_str());
    (message, metadata)
}

/// Returns the lock of an account, in a mode, with fees without a price, or `None` while it is in force. `cause` is the fee that is
/// known to have no price, with its order.
pub fn account_lock(
    mode: Mode,
    account_id: &AccountId,
    cause: Option<(String, Metadata)>,
    control: &ControlState,
    now: Timestamp,
) -> Option<Lock> {
    let scope = LockScope::Account(account_id.clone());
    let lock_id = Lock::compose_id(mode, &scope, ID);
    if control.locks.iter().any(|known| known.lock_id == lock_id) {
        return None;
    }
    let (message, metadata) = cause.unwrap_or_else(|| {
        let message = "fees of the account's fills have no price: the alerts of the rule unpriced_fee name them";
        (message.to_owned(), Metadata::new())
    });
    Some(Lock {
        lock_id,
        scope,
        mode,
        rule_id: ID.into(),
        message,
        metadata,
        locked_at: now,
        trading_date: control.trading_date,
    })
}
