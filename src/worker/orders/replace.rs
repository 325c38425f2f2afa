//! Replaces: new terms for what is still open of an order.
//!
//! 1. **Read** the order. A known replace id is answered with what became of it, before any rule.
//! 2. **Check** the terms ([`replace_terms`](super::replace_terms)). Terms that only reduce what is open pass every rule, as a
//!    cancel does; any others are evaluated as an opening, by what they add ([`replace_claim`](super::replace_claim)).
//! 3. Where the venue is the store, one script puts the new terms in force, with the fills that they make. Anywhere else it
//!    records the replace as pending, that version is **journaled**, and only then the venue gets one request
//!    ([`replace_at_venue`](super::replace_at_venue)).
//! 4. **Journal** the outcome, and only then **reply**.

use crate::brokers::adapter::Effects;
use crate::bus::request::{BusReply, BusRequest};
use crate::domain::decimal::Decimal;
use crate::domain::order::{Order, OrderUpdate};
use crate::domain::order_key::OrderKey;
use crate::domain::reason::ReasonCode;
use crate::domain::replace::LegWord;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{VenueOrderState, VenueReport};
use crate::fault::{Fault, FaultCode};
use crate::store::orders::record::RecordStage;
use crate::wire::replace::{DecodedReplace, decode_replace};
use crate::worker::journaling::order_document::{load_stored_order, order_from_document};
use crate::worker::journaling::{current_report, journaled_outcome};
use crate::worker::orders::account_caller::{AccountCaller, unknown_order_fault};
use crate::worker::orders::cancel::{order_closed_fault, wait_until_sent};
use crate::worker::orders::replace_terms::{ReplaceAttempt, WantedTerms, booking_fault, settle_current};
use crate::worker::orders::{replace_at_venue, replace_claim};
use crate::worker::router::Router;
use crate::worker::submission::idempotent_replay::{IN_FLIGHT_POLL_INTERVAL, MAX_IN_FLIGHT_WAIT};
use crate::worker::submission::outcome::SubmissionOutcome;

/// How often one call reads an order again because other effects of it came first.
const MAX_ATTEMPTS: usize = 8;

/// Replaces the terms of one order and replies with its report.
///
/// # Errors
/// `unknown_order`, `order_closed`; `replace_id_conflict`, `replace_in_flight` or `not_replaced` for an order that keeps its
/// terms; what a rule denies the new terms with. Nothing was sent.
pub async fn replace_order(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let request = decode_replace(&call.body)?;
    let replaced = replace_selected_order(router, call, &request).await;
    // The caller needs an id that was assigned here for its next attempt.
    replaced.map(|outcome| outcome.to_reply()).map_err(|mut fault| {
        fault.metadata = fault.metadata.with("replace_id", request.replace_id.as_str());
        fault
    })
}

async fn replace_selected_order(
    router: &Router,
    call: &BusRequest,
    request: &DecodedReplace,
) -> Result<SubmissionOutcome, Fault> {
    let selector = &request.selector;
    let caller = AccountCaller::from_order_call(router, call, selector).await?;
    let key = caller.find_order_key(router, selector).await?;
    let mut replaces_before = None;
    for _ in 0..MAX_ATTEMPTS {
        let record = wait_until_sent(router, &caller, &key, selector).await?;
        let order = match record.known.stage {
            RecordStage::Denied => return Err(order_closed_fault(selector)),
            RecordStage::Released => return Err(unknown_order_fault(selector)),
            RecordStage::Claimed | RecordStage::Sending | RecordStage::Releasing => {
                return in_flight_receipt(&record.document, &caller, request);
            }
            RecordStage::Open | RecordStage::Ended => load_stored_order(&router.journal_reader, &record).await?,
        };
        if order.broker != caller.broker {
            return Err(unknown_order_fault(selector));
        }
        if order.find_replace(&request.replace_id).is_some() {
            return replay_outcome(router, &key, &caller, request).await;
        }
        if order.is_terminal() {
            return Err(order_closed_fault(selector));
        }
        let replaces = order.legs.as_ref().map_or(0, |legs| legs.replaces.len());
        if *replaces_before.get_or_insert(replaces) != replaces {
            let detail =
                "another replace of the order came first; nothing was sent. Read the order and replace it again";
            return Err(Fault::new(FaultCode::ReplaceInFlight, detail));
        }
        if let ReplaceAttempt::Completed(outcome) = attempt(router, &caller, call, &order, request).await? {
            return Ok(outcome);
        }
    }
    let detail = "the order changes faster than it can be replaced; nothing was sent. Send the replace again";
    Err(Fault::new(FaultCode::StoreUnavailable, detail))
}

/// Returns the receipt of an order that is still being sent.
fn in_flight_receipt(
    document: &[u8],
    caller: &AccountCaller,
    request: &DecodedReplace,
) -> Result<SubmissionOutcome, Fault> {
    let order = order_from_document(document)?;
    if order.broker != caller.broker {
        return Err(unknown_order_fault(&request.selector));
    }
    let message = "the order is still being sent; replace it again";
    Ok(SubmissionOutcome::receipt_for_order(
        &order,
        ReasonCode::InFlight,
        message,
    ))
}

async fn attempt(
    router: &Router,
    caller: &AccountCaller,
    call: &BusRequest,
    order: &Order,
    request: &DecodedReplace,
) -> Result<ReplaceAttempt, Fault> {
    let wanted = WantedTerms::new(order, request)?;
    if !wanted.only_reduce(order) {
        return replace_claim::replace_under_caps(router, caller, call, order, &wanted).await;
    }
    wanted.check_lots(order)?;
    let broker = router.brokers.of_order(order);
    if broker.is_some_and(|broker| broker.capabilities().effects == Effects::InStore) {
        let update = reduced_in_place(router, order, &wanted)?;
        return book_update(router, update).await;
    }
    replace_at_venue::reduce(router, order, &wanted).await
}

/// Returns the order with a smaller quantity, at a venue that is the store: it keeps its place, and what is due of it.
fn reduced_in_place(router: &Router, order: &Order, wanted: &WantedTerms) -> Result<OrderUpdate, Fault> {
    let report = VenueReport {
        broker_order_id: order.broker_order_id.clone(),
        fills: Vec::new(),
        state: VenueOrderState::Working,
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: order.due,
    };
    let update = router.settler.replace_at_once(order, &wanted.to_reduction(), &report);
    update.map_err(|error| booking_fault(&error))
}

/// Books an update of an order that is still at its version.
async fn book_update(router: &Router, update: OrderUpdate) -> Result<ReplaceAttempt, Fault> {
    match settle_current(router, update).await? {
        Some(booked) => journaled_outcome::journal_and_build_outcome(router, &booked)
            .await
            .map(ReplaceAttempt::Completed),
        None => Ok(ReplaceAttempt::Outdated),
    }
}

/// Returns what became of a replace with a known id: the order's current report, with that replace. Waits while the outcome is
/// open, at most until the caller's deadline.
///
/// # Errors
/// `replace_id_conflict` for other terms under the id; a store or journal that cannot be read.
async fn replay_outcome(
    router: &Router,
    key: &OrderKey,
    caller: &AccountCaller,
    request: &DecodedReplace,
) -> Result<SubmissionOutcome, Fault> {
    let end = caller.deadline.min(Timestamp::now().saturating_add(MAX_IN_FLIGHT_WAIT));
    loop {
        let current = current_report::current_settled_report(router, key).await?;
        let (mut report, sequence) = current.ok_or_else(|| unknown_order_fault(&request.selector))?;
        let legs = report.settlement.take().and_then(|settlement| settlement.legs);
        let legs = legs.as_deref();
        let known = legs.and_then(|legs| {
            let mut replaces = legs.replaces.iter();
            replaces.find(|replace| replace.replace_id == request.replace_id.as_str())
        });
        let known = known.ok_or_else(|| unknown_order_fault(&request.selector))?;
        let is_same = |asked: Option<Decimal>, given| asked.is_none_or(|asked| asked == given);
        if !is_same(request.price.map(|price| price.decimal()), known.price)
            || !is_same(request.quantity.map(|quantity| quantity.decimal()), known.quantity)
        {
            let detail = format!(
                "the replace id {} was used for the terms {} at {}; use a new id",
                request.replace_id, known.quantity, known.price
            );
            return Err(Fault::new(FaultCode::ReplaceIdConflict, detail));
        }
        if !known.state.is_open() || Timestamp::now() >= end {
            report.replace = Some(Box::new(known.to_reported()));
            let outcome = SubmissionOutcome::journaled(report, sequence);
            return Ok(SubmissionOutcome {
                is_replay: true,
                ..outcome
            });
        }
        tokio::time::sleep(IN_FLIGHT_POLL_INTERVAL).await;
    }
}
