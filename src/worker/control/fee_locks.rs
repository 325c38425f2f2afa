//! Locks for fees without a price. The store refuses openings from the step that books such a fill, whatever becomes of its
//! lock; the lock names the fee to operators, and remains until they lift it. While a fee of the account has no price, a
//! lock that was lifted is set again.

use crate::domain::control::ControlState;
use crate::domain::id::AccountId;
use crate::domain::metadata::Metadata;
use crate::domain::order::{BookingAnomaly, Order};
use crate::domain::order_terms::Mode;
use crate::domain::reason::ReasonCode;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::risk::rules::unpriced_fee;
use crate::worker::control::loss_locks::{LockRule, set_and_publish};
use crate::worker::router::Router;

const LOCK_RULE: LockRule = LockRule {
    id: unpriced_fee::ID,
    code: ReasonCode::RiskLocked,
};

/// Sets the lock of an order's account if its booked effect has a fee without a price.
///
/// # Errors
/// If the shared state does not confirm the lock. It is then set when the account is read next.
pub async fn lock_booked_fees(router: &Router, order: &Order, anomalies: &[BookingAnomaly]) -> Result<(), Fault> {
    let fee = anomalies.iter().find_map(|anomaly| match anomaly {
        BookingAnomaly::UnpricedFee(fee) => Some(fee),
        _ => None,
    });
    let Some(fee) = fee else { return Ok(()) };
    lock_for(
        router,
        (order.mode, &order.account_id),
        unpriced_fee::describe(order, fee),
    )
    .await
}

/// Sets the lock of an account, in a mode, for a fee without a price; `cause` describes the fee.
///
/// # Errors
/// If the shared state does not confirm the lock. It is then set when the account is read next.
pub async fn lock_for(
    router: &Router,
    (mode, account_id): (Mode, &AccountId),
    cause: (String, Metadata),
) -> Result<(), Fault> {
    let control = router.control.current();
    match unpriced_fee::account_lock(mode, account_id, Some(cause), &control, Timestamp::now()) {
        Some(lock) => set_and_publish(router, lock, LOCK_RULE, None).await,
        None => Ok(()),
    }
}

/// Sets the lock of an account that was read with fees without a price under this control state.
///
/// # Errors
/// If the shared state does not confirm the lock.
pub async fn lock_account(router: &Router, control: &ControlState, account_id: &AccountId) -> Result<(), Fault> {
    match unpriced_fee::account_lock(control.mode, account_id, None, control, Timestamp::now()) {
        Some(lock) => set_and_publish(router, lock, LOCK_RULE, Some(control.generation)).await,
        None => Ok(()),
    }
}
