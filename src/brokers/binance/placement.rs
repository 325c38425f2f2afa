//! Placing an order: every check, then the connection, then the gate, then one request.

use std::time::Duration;

use hyper::Method;

use crate::brokers::adapter::{NotSentReason, PlaceOutcome, Placement, VenueAcknowledgement};
use crate::brokers::binance::instrument_rules::{RuleViolation, order_type_word};
use crate::brokers::binance::parameters::Parameters;
use crate::brokers::binance::reports::{placement_report, side_word};
use crate::brokers::binance::request_budget::{RequestPurpose, weight};
use crate::brokers::binance::session::VenueSession;
use crate::brokers::binance::settings::MAX_RECV_WINDOW_MS;
use crate::brokers::binance::transport::http_connection::HttpReply;
use crate::brokers::binance::transport::order_sender::{OrderConnection, OrderReply, SignedOrder};
use crate::brokers::binance::venue_client::endpoint;
use crate::brokers::binance::verdicts::PlaceVerdict;
use crate::brokers::port::{LimitLedger, SendGate, VenueInbox};
use crate::domain::leg::LegNumber;
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderType, TimeInForce};
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::time::Timestamp;
use crate::domain::venue_report::VenueOrderState;

/// The message about an order that this process has sent already.
const SENT_BEFORE: &str = "this process has sent the order before";

/// Places an order, once.
pub(super) async fn place_order<L, I, G>(session: &VenueSession<L, I>, gate: &G, placement: &Placement) -> PlaceOutcome
where
    L: LimitLedger,
    I: VenueInbox,
    G: SendGate,
{
    if let Some(refusal) = check_before_sending(session, placement) {
        return refusal;
    }
    let outcome = match announce_and_send(session, gate, placement).await {
        Ok(OrderReply::Replied(reply)) => judge_reply(session, &placement.order, &reply).await,
        Ok(OrderReply::NotSent(reason)) => not_sent(reason),
        Ok(OrderReply::Lost(reason)) => PlaceOutcome::OutcomeUnknown(reason),
        Err(refusal) => return PlaceOutcome::NotSent(refusal),
    };
    if matches!(outcome, PlaceOutcome::NotSent(_)) {
        session.sent_orders.remove(&placement.order.order_id);
    }
    outcome
}

/// Returns why an order cannot be sent at all, before anything is counted or announced.
fn check_before_sending<L, I>(session: &VenueSession<L, I>, placement: &Placement) -> Option<PlaceOutcome>
where
    L: LimitLedger,
    I: VenueInbox,
{
    let order = &placement.order;
    if session.sent_orders.contains(&order.order_id) {
        return Some(PlaceOutcome::OutcomeUnknown(SENT_BEFORE.to_owned()));
    }
    if order.time_in_force == TimeInForce::Day {
        return Some(PlaceOutcome::Rejected(refused_terms("the venue has no DAY orders")));
    }
    if Timestamp::now() > placement.deadline {
        return Some(PlaceOutcome::NotSent(NotSentReason::DeadlinePassed));
    }
    if !session.client.is_key_accepted() {
        return Some(not_accepted(
            "the venue has not accepted the API key for trading: the log says why".to_owned(),
        ));
    }
    if session.client.is_environment_refused() {
        return Some(not_accepted(
            "live orders go to another environment of the venue, which another worker's settings name".to_owned(),
        ));
    }
    if !order.reduce_only && !session.reports.is_complete() {
        return Some(not_accepted(
            "the venue's reports are not all read yet; until then only orders with reduce_only are sent".to_owned(),
        ));
    }
    if !session.symbols.contains(&order.symbol) {
        return Some(not_accepted(format!(
            "{} came into force after this worker's start, which has not read its rules; restart the worker",
            order.symbol
        )));
    }
    match session.rules.check(order) {
        Ok(()) => None,
        Err(RuleViolation::Terms(violation)) => Some(PlaceOutcome::Rejected(refused_terms(&violation))),
        Err(passing) => Some(not_accepted(passing.to_string())),
    }
}

/// Announces the order and sends it.
///
/// The request is signed between the gate's two steps, with the timestamp that the second one stores, and never again: a
/// worker that is delayed behind the gate sends a request that is too old for the venue.
///
/// # Errors
/// Why nothing was sent.
async fn announce_and_send<L, I, G>(
    session: &VenueSession<L, I>,
    gate: &G,
    placement: &Placement,
) -> Result<OrderReply, NotSentReason>
where
    L: LimitLedger,
    I: VenueInbox,
    G: SendGate,
{
    let client = &session.client;
    let now = venue_time(session).map_err(NotSentReason::NotAccepted)?;
    let acquired = client.budget.acquire(RequestPurpose::Order, weight::ORDER, now).await;
    acquired.map_err(NotSentReason::NotAccepted)?;
    // An open connection comes first: an order that cannot be sent is not announced.
    let connection = OrderConnection::reserve(&client.trading).await;
    let connection = connection.map_err(|reason| NotSentReason::NotAccepted(format!("no connection: {reason}")))?;
    let receipt = gate.journal_submission(placement).await?;
    let requested_at = venue_time(session).map_err(NotSentReason::Unavailable)?;
    let recv_window_ms = recv_window_ms(placement.deadline).ok_or(NotSentReason::DeadlinePassed)?;
    let request = client.signed_request(
        Method::POST,
        endpoint::ORDER,
        order_parameters(&placement.order, &session.self_trade_prevention),
        requested_at,
        recv_window_ms,
    );
    let request = request.map_err(|error| NotSentReason::Unavailable(error.to_string()))?;
    gate.start_sending(placement, receipt, requested_at).await?;
    if !session.sent_orders.insert(&placement.order.order_id) {
        return Ok(OrderReply::Lost(SENT_BEFORE.to_owned()));
    }
    Ok(connection
        .send_once(SignedOrder::new(request), client.time_limits.order)
        .await)
}

fn venue_time<L: LimitLedger, I: VenueInbox>(session: &VenueSession<L, I>) -> Result<Timestamp, String> {
    let unknown = || "the offset of the venue's clock is not known".to_owned();
    session.client.clock.now().ok_or_else(unknown)
}

/// Returns how long the venue may take the request, in milliseconds: not beyond the deadline. `None` if it has passed.
fn recv_window_ms(deadline: Timestamp) -> Option<u64> {
    let left = deadline.saturating_duration_since(Timestamp::now());
    let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    Some(left_ms.min(MAX_RECV_WINDOW_MS)).filter(|window| *window > 0)
}

/// Returns the parameters of an order (`rest-api.md`, "New order"). The reply has its fills (`FULL`).
fn order_parameters(order: &Order, self_trade_prevention: &str) -> Parameters {
    let time_in_force = (order.order_type == OrderType::Limit).then_some(order.time_in_force);
    Parameters::new()
        .with("symbol", &order.symbol)
        .with("side", side_word(order.side))
        .with("type", order_type_word(order.order_type))
        .with_optional("timeInForce", time_in_force)
        .with("quantity", order.quantity)
        .with_optional("price", order.price)
        .with("newClientOrderId", &order.order_id)
        .with("newOrderRespType", "FULL")
        .with("selfTradePreventionMode", self_trade_prevention)
}

async fn judge_reply<L, I>(session: &VenueSession<L, I>, order: &Order, reply: &HttpReply) -> PlaceOutcome
where
    L: LimitLedger,
    I: VenueInbox,
{
    let (verdicts, described) = session.client.read_described_verdicts(reply).await;
    match verdicts.place {
        PlaceVerdict::Acknowledged => acknowledge(order, &reply.body),
        PlaceVerdict::Rejected => PlaceOutcome::Rejected(Reason::new(ReasonCode::BrokerRejected, described)),
        PlaceVerdict::NotPlaced => not_sent(described),
        PlaceVerdict::OutcomeUnknown => PlaceOutcome::OutcomeUnknown(described),
    }
}

/// Returns the outcome in the body of a success. A body that cannot be read proves nothing.
fn acknowledge(order: &Order, body: &[u8]) -> PlaceOutcome {
    let Ok(placed) = serde_json::from_slice(body) else {
        return PlaceOutcome::OutcomeUnknown("the venue's acknowledgement cannot be read".to_owned());
    };
    match placement_report(order, LegNumber::FIRST, &placed) {
        Ok(report) => match report.state {
            VenueOrderState::Rejected(reason) if report.fills.is_empty() => PlaceOutcome::Rejected(reason),
            _ => PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report)),
        },
        Err(error) => PlaceOutcome::OutcomeUnknown(error.to_string()),
    }
}

fn refused_terms(violation: &str) -> Reason {
    Reason::new(
        ReasonCode::BrokerRejected,
        format!("{violation}; the order was not sent"),
    )
}

fn not_sent(reason: String) -> PlaceOutcome {
    PlaceOutcome::NotSent(NotSentReason::Unavailable(reason))
}

fn not_accepted(reason: String) -> PlaceOutcome {
    PlaceOutcome::NotSent(NotSentReason::NotAccepted(reason))
}

/// The longest time that a request can take effect after its timestamp: its window, and the ten seconds after which the
/// venue's engine gives up (-1007). Only "not found" replies after it count, which the worker's inquiries add up.
pub const LATEST_EFFECT: Duration = Duration::from_millis(MAX_RECV_WINDOW_MS + 10_000);

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
