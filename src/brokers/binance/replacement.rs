//! Replacing an order at the venue: one request a step, sent once. What it does not say is unknown, and the venue is asked.
//!
//! - A smaller quantity at the same price is amended and keeps its place.
//! - A leg without a fill is cancelled and replaced in one request, which the venue carries out only while the leg has none
//!   (`ONLY_NEW`): the new leg is never placed for what the earlier one fills.
//! - A leg with fills is cancelled first. What is left then is placed by a request of its own, which is announced before.
//!
//! Each request is signed with the moment at which its intention was made, before it was journaled: one that is late is too
//! old for the venue.

use hyper::Method;

use crate::brokers::adapter::{CancelOutcome, NotSentReason, ReplaceCallOutcome};
use crate::brokers::binance::cancellation::cancel_leg;
use crate::brokers::binance::instrument_rules::{RuleViolation, order_type_word};
use crate::brokers::binance::messages::replacement::{Amendment, HalfResult, ReplaceHalves};
use crate::brokers::binance::parameters::Parameters;
use crate::brokers::binance::reports::{placement_report, queried_report, side_word};
use crate::brokers::binance::request_budget::{RequestPurpose, weight};
use crate::brokers::binance::session::VenueSession;
use crate::brokers::binance::settings::MAX_RECV_WINDOW_MS;
use crate::brokers::binance::transport::http_connection::HttpReply;
use crate::brokers::binance::transport::order_sender::{OrderConnection, OrderReply, SignedOrder};
use crate::brokers::binance::venue_client::endpoint;
use crate::brokers::binance::verdicts::{PlaceVerdict, verdicts_of};
use crate::brokers::port::{LimitLedger, VenueInbox};
use crate::domain::order::Order;
use crate::domain::quantity::Quantity;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::{LegWord, OrderReplace, ReplaceMethod, ReplaceOutcome};
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{VenueOrderState, VenueReport};

/// The message about a leg that this process has sent already.
const SENT_BEFORE: &str = "this process has sent the leg before";

/// Carries out the next step of an order's open replace.
pub(super) async fn replace_order<L, I>(session: &VenueSession<L, I>, order: &Order) -> ReplaceCallOutcome
where
    L: LimitLedger,
    I: VenueInbox,
{
    let Some(replace) = order.open_replace() else {
        return not_sent("the order has no open replace".to_owned());
    };
    let Some(quantity) = replace.leg_quantity() else {
        return refused(order, "nothing is left of the new quantity".to_owned());
    };
    // Before the cancel of `CancelFirst`, too: an order must not be cancelled for terms that the venue would refuse.
    if let Some(refusal) = check_before_sending(session, order, replace, quantity) {
        return refusal;
    }
    if replace.method == ReplaceMethod::CancelFirst && !replace.is_placing {
        if age_ms(replace).unsigned_abs() > MAX_RECV_WINDOW_MS {
            // As old as a request that the venue would refuse; an inquiry concludes later than that.
            return not_sent("the replace was asked for too long ago, and others may have decided about it".to_owned());
        }
        return match cancel_leg(session, order.clone(), order.working_leg()).await {
            CancelOutcome::Reported(report) => ReplaceCallOutcome::Reported(vec![report]),
            CancelOutcome::NotSent(reason) => ReplaceCallOutcome::NotSent(reason),
            CancelOutcome::OutcomeUnknown(reason) => ReplaceCallOutcome::OutcomeUnknown(reason),
            CancelOutcome::Booked(_) | CancelOutcome::AlreadyEnded(_) => {
                refused(order, "the order had ended before its cancel".to_owned())
            }
        };
    }
    match send(session, order, replace, quantity).await {
        Ok(OrderReply::Replied(reply)) => judge_reply(session, order, replace, &reply).await,
        Ok(OrderReply::NotSent(reason)) => {
            session.sent_orders.remove(&replace.leg.venue_id(&order.order_id));
            not_sent(reason)
        }
        Ok(OrderReply::Lost(reason)) => ReplaceCallOutcome::OutcomeUnknown(reason),
        Err(refusal) => refusal,
    }
}

/// Returns how long ago the intention was journaled, in milliseconds.
fn age_ms(replace: &OrderReplace) -> i64 {
    let age = Timestamp::now().as_milliseconds() - replace.requested_at.as_milliseconds();
    age.max(0)
}

/// Returns why a leg cannot be sent at all.
fn check_before_sending<L, I>(
    session: &VenueSession<L, I>,
    order: &Order,
    replace: &OrderReplace,
    quantity: Quantity,
) -> Option<ReplaceCallOutcome>
where
    L: LimitLedger,
    I: VenueInbox,
{
    if session.sent_orders.contains(&replace.leg.venue_id(&order.order_id)) {
        return Some(ReplaceCallOutcome::OutcomeUnknown(SENT_BEFORE.to_owned()));
    }
    if replace.method == ReplaceMethod::Amend {
        return None;
    }
    if !session.client.is_key_accepted() {
        let reason = "the venue has not accepted the API key for trading: the log says why";
        return Some(not_sent(reason.to_owned()));
    }
    if !order.reduce_only && !session.reports.is_complete() {
        return Some(not_sent("the venue's reports are not all read yet".to_owned()));
    }
    let leg = Order {
        price: Some(replace.price),
        quantity,
        ..order.clone()
    };
    match session.rules.check(&leg) {
        Ok(()) => None,
        Err(RuleViolation::Terms(violation)) => Some(refused(order, violation)),
        Err(passing) => Some(not_sent(passing.to_string())),
    }
}

async fn send<L, I>(
    session: &VenueSession<L, I>,
    order: &Order,
    replace: &OrderReplace,
    quantity: Quantity,
) -> Result<OrderReply, ReplaceCallOutcome>
where
    L: LimitLedger,
    I: VenueInbox,
{
    let client = &session.client;
    let now = client.clock.now();
    let now = now.ok_or_else(|| not_sent("the offset of the venue's clock is not known".to_owned()))?;
    let acquired = client.budget.acquire(RequestPurpose::Order, weight::REPLACE, now).await;
    acquired.map_err(not_sent)?;
    let connection = OrderConnection::reserve(&client.trading).await;
    let connection = connection.map_err(|reason| not_sent(format!("no connection: {reason}")))?;
    // The moment of the journaled intention, by the venue's clock.
    let requested_at = now.as_milliseconds().saturating_sub(age_ms(replace));
    let requested_at = Timestamp::from_milliseconds(requested_at);
    let (method, path, parameters) = request_of(session, order, replace, quantity);
    let request = client.signed_request(method, path, parameters, requested_at, MAX_RECV_WINDOW_MS);
    let request = request.map_err(|error| not_sent(error.to_string()))?;
    if !session.sent_orders.insert(&replace.leg.venue_id(&order.order_id)) {
        return Err(ReplaceCallOutcome::OutcomeUnknown(SENT_BEFORE.to_owned()));
    }
    Ok(connection
        .send_once(SignedOrder::new(request), client.time_limits.order)
        .await)
}

fn request_of<L, I>(
    session: &VenueSession<L, I>,
    order: &Order,
    replace: &OrderReplace,
    quantity: Quantity,
) -> (Method, &'static str, Parameters)
where
    L: LimitLedger,
    I: VenueInbox,
{
    let leg_id = replace.leg.venue_id(&order.order_id);
    if replace.method == ReplaceMethod::Amend {
        let parameters = Parameters::new()
            .with("symbol", &order.symbol)
            .with("origClientOrderId", order.venue_id())
            .with("newClientOrderId", leg_id)
            .with("newQty", quantity);
        return (Method::PUT, endpoint::AMEND, parameters);
    }
    let parameters = Parameters::new()
        .with("symbol", &order.symbol)
        .with("side", side_word(order.side))
        .with("type", order_type_word(order.order_type))
        .with("timeInForce", order.time_in_force)
        .with("quantity", quantity)
        .with("price", replace.price)
        .with("newClientOrderId", leg_id)
        .with("newOrderRespType", "FULL")
        .with("selfTradePreventionMode", &session.self_trade_prevention);
    if replace.method == ReplaceMethod::CancelFirst {
        return (Method::POST, endpoint::ORDER, parameters);
    }
    let parameters = parameters
        .with("cancelReplaceMode", "STOP_ON_FAILURE")
        .with("cancelOrigClientOrderId", order.venue_id())
        .with("cancelRestrictions", "ONLY_NEW");
    (Method::POST, endpoint::CANCEL_REPLACE, parameters)
}

async fn judge_reply<L, I>(
    session: &VenueSession<L, I>,
    order: &Order,
    replace: &OrderReplace,
    reply: &HttpReply,
) -> ReplaceCallOutcome
where
    L: LimitLedger,
    I: VenueInbox,
{
    let (verdicts, described) = session.client.read_described_verdicts(reply).await;
    if replace.method == ReplaceMethod::CancelReplace
        && let Some(halves) = ReplaceHalves::read(reply.status, &reply.body)
    {
        // What became of the earlier leg is read, whatever ended it.
        session.reconciliation_due.notify_one();
        return judge_halves(order, replace, &halves);
    }
    match (verdicts.place, replace.method) {
        (PlaceVerdict::Acknowledged, ReplaceMethod::Amend) => amended(order, replace, &reply.body),
        (PlaceVerdict::Acknowledged, ReplaceMethod::CancelFirst) => {
            match serde_json::from_slice(&reply.body).map(|placed| placement_report(order, replace.leg, &placed)) {
                Ok(Ok(report)) => ReplaceCallOutcome::Reported(vec![report]),
                _ => unreadable(),
            }
        }
        (PlaceVerdict::Acknowledged, ReplaceMethod::CancelReplace) => unreadable(),
        (PlaceVerdict::Rejected | PlaceVerdict::NotPlaced, _) => refused(order, described),
        (PlaceVerdict::OutcomeUnknown, _) => ReplaceCallOutcome::OutcomeUnknown(described),
    }
}

fn amended(order: &Order, replace: &OrderReplace, body: &[u8]) -> ReplaceCallOutcome {
    let Ok(Amendment { amended_order }) = serde_json::from_slice(body) else {
        return unreadable();
    };
    if amended_order.client_order_id != replace.leg.venue_id(&order.order_id).as_str() {
        return unreadable();
    }
    ReplaceCallOutcome::Reported(vec![VenueReport {
        broker_order_id: Some(amended_order.order_id.to_string()),
        fills: Vec::new(),
        state: VenueOrderState::Working,
        cumulative_quantity: None,
        legs: LegWord::about(replace.leg),
        due: None,
    }])
}

/// Judges both halves of a cancel-and-replace, each by its own result.
fn judge_halves(order: &Order, replace: &OrderReplace, halves: &ReplaceHalves) -> ReplaceCallOutcome {
    let error = halves.error();
    let described = error.as_ref().map_or_else(String::new, |error| error.shown());
    match (halves.cancel_result, halves.new_order_result) {
        (HalfResult::Success, HalfResult::Success) => {
            let cancelled = halves.cancelled().and_then(|state| queried_report(&state, &[]).ok());
            let placed = halves.placed();
            let placed = placed.and_then(|placed| placement_report(order, replace.leg, &placed).ok());
            match (cancelled, placed) {
                (Some(cancelled), Some(placed)) => ReplaceCallOutcome::Reported(vec![cancelled, placed]),
                _ => unreadable(),
            }
        }
        (HalfResult::Success, _) => {
            // The refusal of the new order counts only where its code proves it.
            let verdict = error.as_ref().map(|error| verdicts_of(400, Some(error)).place);
            let cancelled = halves.cancelled().and_then(|state| queried_report(&state, &[]).ok());
            match (verdict, cancelled) {
                (Some(PlaceVerdict::Rejected | PlaceVerdict::NotPlaced), Some(cancelled)) => {
                    let reason = Reason::new(
                        ReasonCode::CancelledNotPlaced,
                        format!("the venue cancelled the order and refused its new terms: {described}"),
                    );
                    ReplaceCallOutcome::Reported(vec![
                        cancelled,
                        order.report_of_replace(ReplaceOutcome::CancelledNotPlaced(reason)),
                    ])
                }
                _ => ReplaceCallOutcome::OutcomeUnknown(format!("the new order: {described}")),
            }
        }
        (HalfResult::Failure, HalfResult::NotAttempted) => {
            let text = format!("the venue did not cancel the order, which has filled or ended: {described}");
            refused(order, text)
        }
        _ => ReplaceCallOutcome::OutcomeUnknown(format!("the venue replied with contrary results: {described}")),
    }
}

/// Returns the outcome of terms that the venue refused, or would refuse: the order keeps its earlier ones, where it is open.
fn refused(order: &Order, text: String) -> ReplaceCallOutcome {
    let ended = order.open_replace().is_some_and(|replace| replace.ended_leg.is_some());
    let outcome = if ended {
        ReplaceOutcome::CancelledNotPlaced(Reason::new(ReasonCode::CancelledNotPlaced, text))
    } else {
        ReplaceOutcome::NotReplaced(Reason::new(ReasonCode::NotReplaced, text))
    };
    ReplaceCallOutcome::Reported(vec![order.report_of_replace(outcome)])
}

fn unreadable() -> ReplaceCallOutcome {
    ReplaceCallOutcome::OutcomeUnknown("the venue's reply to the replace cannot be read".to_owned())
}

fn not_sent(reason: String) -> ReplaceCallOutcome {
    ReplaceCallOutcome::NotSent(NotSentReason::Unavailable(reason))
}

#[cfg(test)]
#[path = "replacement_tests.rs"]
mod tests;
