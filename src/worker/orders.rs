//! Requests about existing orders: get, [`cancel`], [`replace`], [`cancel_all`], [`notes`].

pub(in crate::worker) mod account_caller;
pub mod cancel;
pub mod cancel_all;
pub(in crate::worker) mod cancel_sweep;
pub mod notes;
pub(in crate::worker) mod open_orders;
pub mod replace;
pub(in crate::worker) mod replace_at_venue;
mod replace_claim;
mod replace_terms;

use crate::bus::request::{BusReply, BusRequest};
use crate::domain::reason::ReasonCode;
use crate::fault::Fault;
use crate::wire::order_reference::decode_order_selector;
use crate::worker::journaling::current_report;
use crate::worker::orders::account_caller::{AccountCaller, read_unreported_order, unknown_order_fault};
use crate::worker::router::Router;
use crate::worker::submission::outcome::SubmissionOutcome;

/// Replies with an order's current report; a receipt for an order in flight.
///
/// # Errors
/// `unknown_order`, or a store or journal that cannot be read.
pub async fn get_order(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let selector = decode_order_selector(&call.body)?;
    let caller = AccountCaller::from_order_call(router, call, &selector).await?;
    let key = caller.find_order_key(router, &selector).await?;
    if let Some(outcome) = current_report::current_report(router, &key).await? {
        return if outcome.report.broker == caller.broker.as_str() {
            Ok(outcome.to_reply())
        } else {
            Err(unknown_order_fault(&selector))
        };
    }
    let record = caller.load_record(router, &key, &selector).await?;
    let order = read_unreported_order(&record, &selector)?;
    let message = "the order is in flight; read it again";
    Ok(SubmissionOutcome::receipt_for_order(&order, ReasonCode::InFlight, message).to_reply())
}
