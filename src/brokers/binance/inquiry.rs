//! Asking the venue about an order: the query says its state, the list of its trades has the fills.
//!
//! Only the venue's own "no such order" (-2013) is reported as not found; an error, a lost reply or a limit never is. The
//! worker adds these replies up, and takes the order as not placed only after several, the last one after the time in which
//! the request could still take effect ([`crate::brokers::binance::placement::LATEST_EFFECT`]) and a margin.

use crate::brokers::adapter::InquiryOutcome;
use crate::brokers::binance::messages::order_state::OrderState;
use crate::brokers::binance::messages::trade::Trade;
use crate::brokers::binance::reports::{archived_report, check_terms, queried_report};
use crate::brokers::binance::request_budget::RequestPurpose;
use crate::brokers::binance::rest_reader::ReadError;
use crate::brokers::binance::session::VenueSession;
use crate::brokers::binance::venue_client::VenueClient;
use crate::brokers::port::{LimitLedger, VenueInbox};
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::decimal::Decimal;
use crate::domain::leg::LegNumber;
use crate::domain::order::Order;
use crate::domain::replace::ReplaceMethod;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::VenueReport;

/// Asks the venue about an order. Changes nothing there.
pub(super) async fn inquire_order<L, I>(
    session: &VenueSession<L, I>,
    order: &Order,
    purpose: RequestPurpose,
) -> InquiryOutcome
where
    L: LimitLedger,
    I: VenueInbox,
{
    let Some(replace) = order.open_replace() else {
        return inquire_leg(session, order, order.working_leg(), purpose).await;
    };
    // Only a leg that was sent can be there; the one that is not yet announced was not.
    let is_sent = replace.method != ReplaceMethod::CancelFirst || replace.is_placing;
    if is_sent {
        match inquire_leg(session, order, replace.leg, purpose).await {
            InquiryOutcome::NotFound => {}
            answered => return answered,
        }
    }
    match inquire_leg(session, order, order.working_leg(), purpose).await {
        InquiryOutcome::Reported(report) if changes(order, &report) => InquiryOutcome::Reported(report),
        // The earlier leg is as it is known: what remains open is whether the new one can still appear.
        InquiryOutcome::Reported(_) => InquiryOutcome::NotFound,
        InquiryOutcome::NotFound if replace.ended_leg.is_some() => InquiryOutcome::NotFound,
        InquiryOutcome::NotFound => InquiryOutcome::Unanswered("the venue finds neither leg of the order".to_owned()),
        unanswered => unanswered,
    }
}

/// Reports whether a report says anything new of an order.
fn changes(order: &Order, report: &VenueReport) -> bool {
    let applied = order.apply_report(report, &CurrencyRates::default(), Timestamp::now());
    applied.is_ok()
}

async fn inquire_leg<L, I>(
    session: &VenueSession<L, I>,
    order: &Order,
    leg: LegNumber,
    purpose: RequestPurpose,
) -> InquiryOutcome
where
    L: LimitLedger,
    I: VenueInbox,
{
    let client = &session.client;
    let leg_id = leg.venue_id(&order.order_id);
    let state = match client.query_order(&order.symbol, leg_id.as_str(), purpose).await {
        Ok(state) => state,
        Err(ReadError::NotFound) => return InquiryOutcome::NotFound,
        Err(ReadError::Archived) => return InquiryOutcome::Reported(archived_report()),
        Err(error @ (ReadError::NotOffered | ReadError::Unanswered(_))) => {
            return InquiryOutcome::Unanswered(error.to_string());
        }
    };
    if let Err(error) = check_terms(order, &state) {
        return InquiryOutcome::Unanswered(error.to_string());
    }
    let report = match read_fills(client, &order.symbol, &state).await {
        Ok(trades) => queried_report(&state, &trades),
        Err(error) => return InquiryOutcome::Unanswered(error.to_string()),
    };
    match report {
        Ok(report) => InquiryOutcome::Reported(report),
        Err(error) => InquiryOutcome::Unanswered(error.to_string()),
    }
}

/// Reads the trades of an order until they account for its filled quantity. The query and the list of trades may have
/// different sources: where the list is behind, it is asked again later.
///
/// # Errors
/// When the venue does not list them all yet.
pub(super) async fn read_fills<L: LimitLedger>(
    client: &VenueClient<L>,
    symbol: &Symbol,
    state: &OrderState,
) -> Result<Vec<Trade>, ReadError> {
    if !state.executed_qty.is_positive() {
        return Ok(Vec::new());
    }
    let trades = client.order_trades(symbol, state.order_id).await?;
    let listed = trades
        .iter()
        .try_fold(Decimal::ZERO, |sum, trade| sum.checked_add(trade.qty));
    match listed {
        Some(listed) if listed >= state.executed_qty => Ok(trades),
        _ => Err(ReadError::Unanswered(format!(
            "the venue counts {} as filled and does not list all of its trades yet",
            state.executed_qty
        ))),
    }
}
