//! Cancelling an order. A cancel is sent once; where it finds no open order, the venue is asked what became of it.

use hyper::{Method, Request};
use tokio::time::timeout;

use crate::brokers::adapter::{CancelOutcome, InquiryOutcome, NotSentReason};
use crate::brokers::binance::inquiry::{inquire_order, read_fills};
use crate::brokers::binance::messages::order_state::OrderState;
use crate::brokers::binance::parameters::Parameters;
use crate::brokers::binance::reports::{check_terms, queried_report};
use crate::brokers::binance::request_budget::{RequestPurpose, weight};
use crate::brokers::binance::session::VenueSession;
use crate::brokers::binance::settings::MAX_RECV_WINDOW_MS;
use crate::brokers::binance::transport::http_connection::{ExchangeError, HttpReply};
use crate::brokers::binance::venue_client::endpoint;
use crate::brokers::binance::verdicts::CancelVerdict;
use crate::brokers::port::{LimitLedger, VenueInbox, VenueNotice};
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::leg::LegNumber;
use crate::domain::order::Order;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::VenueReport;

/// The largest reply to a cancel: one order without its fills.
const MAX_REPLY_BYTES: usize = 64 * 1024;

/// Cancels the open quantity of an order. While the outcome of a replace is open either leg may be the one that works: the
/// new one is cancelled first, and where the venue does not have it open, the earlier one.
pub(super) async fn cancel_order<L, I>(session: &VenueSession<L, I>, order: Order) -> CancelOutcome
where
    L: LimitLedger,
    I: VenueInbox,
{
    if let Some(leg) = order.open_replace().map(|replace| replace.leg) {
        let outcome = cancel_leg(session, order.clone(), leg).await;
        if matches!(outcome, CancelOutcome::Reported(_)) {
            return outcome;
        }
    }
    let working = order.working_leg();
    cancel_leg(session, order, working).await
}

/// Cancels one leg of an order.
pub(super) async fn cancel_leg<L, I>(session: &VenueSession<L, I>, order: Order, leg: LegNumber) -> CancelOutcome
where
    L: LimitLedger,
    I: VenueInbox,
{
    // Without any report of it the order is not sent, or still being sent: the venue would have nothing to cancel.
    if order.status.is_none() {
        return not_sent("the order has not been sent".to_owned());
    }
    let client = &session.client;
    // A cancel reduces risk: it is sent even while the offset of the clock is not known.
    let now = client.clock.now_or_local();
    if let Err(reason) = client.budget.acquire(RequestPurpose::Cancel, weight::ORDER, now).await {
        return not_sent(reason);
    }
    let parameters = Parameters::new()
        .with("symbol", &order.symbol)
        // The venue's own id is that of the working leg.
        .with_optional(
            "orderId",
            order.broker_order_id.as_ref().filter(|_| leg == order.working_leg()),
        )
        .with("origClientOrderId", leg.venue_id(&order.order_id));
    let request = client.signed_request(Method::DELETE, endpoint::ORDER, parameters, now, MAX_RECV_WINDOW_MS);
    let reply = match request {
        Ok(request) => send_cancel(session, request).await,
        Err(error) => return not_sent(error.to_string()),
    };
    match reply {
        Ok(reply) => judge_reply(session, order, &reply).await,
        Err(outcome) => outcome,
    }
}

async fn send_cancel<L, I>(session: &VenueSession<L, I>, request: Request<String>) -> Result<HttpReply, CancelOutcome>
where
    L: LimitLedger,
    I: VenueInbox,
{
    let client = &session.client;
    let connection = client.trading.take().await;
    let connection = connection.map_err(|reason| not_sent(format!("no connection: {reason}")))?;
    let limit = client.time_limits.order;
    match timeout(limit, connection.exchange(request, MAX_REPLY_BYTES)).await {
        Ok(Ok((reply, connection))) => {
            client.trading.put_back(connection);
            Ok(reply)
        }
        Ok(Err(ExchangeError::NotSent(reason))) => Err(not_sent(reason)),
        Ok(Err(ExchangeError::Lost(reason))) => Err(CancelOutcome::OutcomeUnknown(reason)),
        Err(_) => Err(CancelOutcome::OutcomeUnknown(format!(
            "no reply within {} ms",
            limit.as_millis()
        ))),
    }
}

async fn judge_reply<L, I>(session: &VenueSession<L, I>, order: Order, reply: &HttpReply) -> CancelOutcome
where
    L: LimitLedger,
    I: VenueInbox,
{
    let (verdicts, described) = session.client.read_described_verdicts(reply).await;
    match verdicts.cancel {
        CancelVerdict::Cancelled => report_cancelled(session, &order, &reply.body).await,
        CancelVerdict::QueryOrder => report_not_open(session, order, &described).await,
        CancelVerdict::NotCancelled => not_sent(described),
        CancelVerdict::OutcomeUnknown => CancelOutcome::OutcomeUnknown(described),
    }
}

/// Returns the report of a cancelled order, with its fills: a cancel may meet fills that no report had yet.
async fn report_cancelled<L, I>(session: &VenueSession<L, I>, order: &Order, body: &[u8]) -> CancelOutcome
where
    L: LimitLedger,
    I: VenueInbox,
{
    let unreadable = "the venue's reply to the cancel cannot be read";
    let Ok(state) = serde_json::from_slice::<OrderState>(body) else {
        return CancelOutcome::OutcomeUnknown(unreadable.to_owned());
    };
    if let Err(error) = check_terms(order, &state) {
        return CancelOutcome::OutcomeUnknown(error.to_string());
    }
    // Without its trades the cumulative quantity keeps their part reserved; the reconciliation reads them again.
    let trades = match read_fills(&session.client, &order.symbol, &state).await {
        Ok(trades) => trades,
        Err(error) => {
            tracing::warn!(order_id = %order.order_id, %error, "the trades of a cancelled order are not read yet");
            session.reconciliation_due.notify_one();
            Vec::new()
        }
    };
    match queried_report(&state, &trades) {
        Ok(report) => CancelOutcome::Reported(report),
        Err(error) => CancelOutcome::OutcomeUnknown(error.to_string()),
    }
}

/// Returns the outcome of a cancel that found no open order: what the venue says became of the order.
async fn report_not_open<L, I>(session: &VenueSession<L, I>, order: Order, refusal: &str) -> CancelOutcome
where
    L: LimitLedger,
    I: VenueInbox,
{
    let report = match inquire_order(session, &order, RequestPurpose::Cancel).await {
        InquiryOutcome::Reported(report) => report,
        // Neither answer proves that the order cannot appear yet.
        InquiryOutcome::NotFound => {
            return CancelOutcome::OutcomeUnknown(format!("{refusal}; the venue does not find the order either"));
        }
        InquiryOutcome::Unanswered(reason) => {
            return CancelOutcome::OutcomeUnknown(format!("{refusal}; the venue does not say more: {reason}"));
        }
    };
    let ended = order_after(&order, &report);
    if !ended.is_terminal() {
        return CancelOutcome::OutcomeUnknown(format!("{refusal}; the order is open"));
    }
    if ended != order {
        deliver(session, &order, report).await;
    }
    CancelOutcome::AlreadyEnded(ended)
}

/// Returns the order as the venue has it. The settlement computes fees with the router's rates; this copy is for the
/// caller of the cancel.
fn order_after(order: &Order, report: &VenueReport) -> Order {
    let applied = order.apply_report(report, &CurrencyRates::default(), Timestamp::now());
    applied.map_or_else(|_| order.clone(), |update| update.order)
}

/// Hands over what the cancel has learned. If that fails the reconciliation finds it again.
async fn deliver<L, I>(session: &VenueSession<L, I>, order: &Order, report: VenueReport)
where
    L: LimitLedger,
    I: VenueInbox,
{
    let notice = VenueNotice {
        order_id: order.order_id.clone(),
        symbol: order.symbol.clone(),
        side: order.side,
        report,
    };
    if let Err(error) = session.inbox.deliver(notice).await {
        tracing::warn!(order_id = %order.order_id, %error, "what became of an order is not settled yet");
        session.reconciliation_due.notify_one();
    }
}

fn not_sent(reason: String) -> CancelOutcome {
    CancelOutcome::NotSent(NotSentReason::Unavailable(reason))
}

#[cfg(test)]
#[path = "cancellation_tests.rs"]
mod tests;
