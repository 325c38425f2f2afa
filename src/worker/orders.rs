//! Requests about orders that exist: get, cancel, cancel all.

pub mod notes;
use futures_util::StreamExt;
use futures_util::stream;

use crate::brokers::adapter::{CancelOutcome, NotSentReason};
use crate::bus::request::{BusReply, BusRequest};
use crate::domain::id::{AccountId, BrokerId, ClientOrderId};
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::order_terms::Mode;
use crate::domain::reason::ReasonCode;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::VenueReport;
use crate::fault::{Fault, FaultCode};
use crate::store::keys::OrderKey;
use crate::store::orders::read::StoredOrder;
use crate::store::orders::record::RecordStage;
use crate::store::sums::cancel_rate::ExceededRate;
use crate::wire::order_reference::{CancelAllReply, OrderSelector, decode_cancel_all, decode_order_selector};
use crate::wire::submission::decode_submission;
use crate::worker::journaling::append;
use crate::worker::journaling::append::SubmissionOutcome;
use crate::worker::journaling::current_report;
use crate::worker::router::Router;
use crate::worker::submission::claim::store_unavailable;
use crate::worker::submission::idempotent_replay::{IN_FLIGHT_POLL_INTERVAL, MAX_IN_FLIGHT_WAIT};

/// How many orders one cancel-all works on: their reports fit into one message. Whoever is told of remaining orders
/// asks again.
pub const MAX_CANCELS_PER_REQUEST: usize = 500;
/// How many orders of one cancel-all are worked on at a time.
const CANCEL_CONCURRENCY: usize = 32;

/// Whom a call speaks for: the broker and the account of its subject.
pub(super) struct AccountCaller {
    pub(super) broker: BrokerId,
    pub(super) account_id: AccountId,
    pub(super) deadline: Timestamp,
}

impl AccountCaller {
    pub(super) fn from_call(router: &Router, call: &BusRequest) -> Result<Self, Fault> {
        let broker = BrokerId::new(call.broker.as_deref().unwrap_or_default());
        let broker = broker.map_err(|rule| Fault::for_field(FaultCode::InvalidField, "broker", rule))?;
        if !router.brokers.contains_key(&broker) {
            return Err(Fault::for_field(
                FaultCode::UnknownBroker,
                "broker",
                format!("is {broker}, which is not known"),
            ));
        }
        let account_id = AccountId::new(call.account.as_deref().unwrap_or_default());
        let account_id = account_id.map_err(|rule| Fault::for_field(FaultCode::InvalidField, "account_id", rule))?;
        let deadline = call
            .deadline
            .unwrap_or_else(|| call.received_at.saturating_add(router.default_deadlines.request));
        if deadline <= Timestamp::now() {
            return Err(crate::worker::submission::admission::expired_fault(deadline));
        }
        Ok(Self {
            broker,
            account_id,
            deadline,
        })
    }

    /// Returns the key of the order a caller names, if it is one of its own.
    async fn find_order_key(&self, router: &Router, name: &OrderSelector) -> Result<OrderKey, Fault> {
        let key = match name {
            OrderSelector::ClientOrderId(id) => Some(self.key_for_client_order_id(router, id).await?),
            OrderSelector::OrderId(id) => router
                .store
                .find_order_key(id)
                .await
                .map_err(|error| store_unavailable(&error))?,
        };
        // Another account's order is not known to this caller.
        key.filter(|key| *key.account_id() == self.account_id)
            .ok_or_else(|| unknown_order_fault(name))
    }

    /// Returns the key of an id: in the space of the mode in force or, while that is a dry run and knows no such id, in that
    /// of the orders that were routed before; they stand, and can be cancelled.
    async fn key_for_client_order_id(&self, router: &Router, id: &ClientOrderId) -> Result<OrderKey, Fault> {
        let mode = router.control.mode();
        let key = OrderKey::new(mode, &self.account_id, id);
        if mode != Mode::DryRun {
            return Ok(key);
        }
        let known = router
            .store
            .read_order(&key)
            .await
            .map_err(|error| store_unavailable(&error))?;
        Ok(known.map_or_else(|| OrderKey::new(Mode::Paper, &self.account_id, id), |record| record.key))
    }

    async fn load_record(&self, router: &Router, key: &OrderKey, name: &OrderSelector) -> Result<StoredOrder, Fault> {
        let record = router
            .store
            .read_order(key)
            .await
            .map_err(|error| store_unavailable(&error))?;
        record.ok_or_else(|| unknown_order_fault(name))
    }
}

/// Counts a cancel against the cancels' own rates; orders have theirs, and no other rule stops a cancel.
async fn check_cancel_rate(router: &Router, caller: &AccountCaller) -> Result<(), Fault> {
    let limits = router.limits.cancel_rates;
    let counted = router
        .store
        .count_cancel(&caller.broker, &caller.account_id, limits)
        .await;
    let (whose, limit) = match counted.map_err(|error| store_unavailable(&error))? {
        None => return Ok(()),
        Some(ExceededRate::Account(limit)) => ("the account", limit),
        Some(ExceededRate::Broker(limit)) => ("the broker", limit),
    };
    let detail = format!("{whose} has had {limit} cancels within this second, which is the limit; cancel again");
    Err(Fault::new(FaultCode::RateLimited, detail))
}

fn unknown_order_fault(name: &OrderSelector) -> Fault {
    Fault::new(
        FaultCode::UnknownOrder,
        format!("no order with the {name} is known in this account"),
    )
}

/// Answers with an order's current report.
///
/// # Errors
/// `unknown_order`, or what keeps it from being read.
pub async fn get_order(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let caller = AccountCaller::from_call(router, call)?;
    let name = decode_order_selector(&call.body)?;
    let key = caller.find_order_key(router, &name).await?;
    if let Some(told) = current_report::current_report(router, &key).await? {
        return if told.report.broker == caller.broker.as_str() {
            Ok(told.to_reply())
        } else {
            Err(unknown_order_fault(&name))
        };
    }
    let record = caller.load_record(router, &key, &name).await?;
    let order = read_in_flight_order(&record, &name)?;
    Ok(
        SubmissionOutcome::receipt_for_order(&order, ReasonCode::InFlight, "the order is under way; ask for it again")
            .to_reply(),
    )
}

/// Returns an order of which nothing has been told yet, as far as it is known.
fn read_in_flight_order(record: &StoredOrder, name: &OrderSelector) -> Result<Order, Fault> {
    match record.known.stage {
        RecordStage::Released => Err(unknown_order_fault(name)),
        RecordStage::Releasing => decode_submission(&record.document)
            .map(|submission| submission.order)
            .map_err(|error| Fault::new(FaultCode::StoreUnavailable, error.to_string())),
        _ => current_report::order_from_document(&record.document),
    }
}

/// Cancels one order and answers with its report.
///
/// # Errors
/// `unknown_order`; `order_closed` for an order that has ended, however it did.
pub async fn cancel_order(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let caller = AccountCaller::from_call(router, call)?;
    let name = decode_order_selector(&call.body)?;
    check_cancel_rate(router, &caller).await?;
    let key = caller.find_order_key(router, &name).await?;
    cancel_named_order(router, &caller, &key, &name)
        .await
        .map(|told| told.to_reply())
}

/// Cancels every open order of an account at a broker, and says what remains.
///
/// # Errors
/// When the open orders cannot be read before anything was sent.
pub async fn cancel_all_orders(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let caller = AccountCaller::from_call(router, call)?;
    let symbol = decode_cancel_all(&call.body)?;
    check_cancel_rate(router, &caller).await?;
    let concerns = |order: &Order| symbol.as_ref().is_none_or(|symbol| order.symbol == *symbol);
    let mut keys = list_open_orders(router, &caller).await?;
    keys.retain(|(_, order)| concerns(order));
    keys.truncate(MAX_CANCELS_PER_REQUEST);
    let asked = keys.clone();
    let cancels = stream::iter(keys).map(|(key, order)| {
        let caller = &caller;
        async move {
            let name = OrderSelector::OrderId(order.order_id.clone());
            cancel_named_order(router, caller, &key, &name).await.ok()
        }
    });
    let told: Vec<Option<SubmissionOutcome>> = cancels.buffer_unordered(CANCEL_CONCURRENCY).collect().await;
    let cancelled: Vec<_> = told
        .into_iter()
        .flatten()
        .filter(|told| !told.is_receipt())
        .map(|told| told.report)
        .collect();
    let left = match list_open_orders(router, &caller).await {
        Ok(mut left) => {
            left.retain(|(_, order)| concerns(order));
            left
        }
        Err(fault) if asked.is_empty() => return Err(fault),
        // A fault of the store would say that nothing was sent.
        Err(fault) => {
            tracing::warn!(%fault, "after a cancel of all orders it is not known which remain");
            let is_told = |order: &Order| {
                cancelled
                    .iter()
                    .any(|report| report.order_id == order.order_id.as_str())
            };
            asked.into_iter().filter(|(_, order)| !is_told(order)).collect()
        }
    };
    let mut remaining = Vec::new();
    for (key, order) in left.into_iter().take(MAX_CANCELS_PER_REQUEST) {
        match current_report::current_report(router, &key).await {
            Ok(Some(told)) if told.report.status.is_terminal() => {}
            Ok(Some(told)) => remaining.push(told.report),
            _ => remaining.push(
                SubmissionOutcome::receipt_for_order(&order, ReasonCode::InFlight, "the order is under way").report,
            ),
        }
    }
    let body = serde_json::to_vec(&CancelAllReply { cancelled, remaining });
    let body = body.map_err(|error| Fault::new(FaultCode::PersistenceFailed, error.to_string()))?;
    Ok(BusReply {
        body,
        journal_sequence: None,
        is_replay: false,
    })
}

/// Whether a venue has the order, or may come to have it.
fn may_be_open(stage: RecordStage) -> bool {
    matches!(stage, RecordStage::Claimed | RecordStage::Sending | RecordStage::Open)
}

/// Returns the caller's orders that have not ended, with what is known of each.
async fn list_open_orders(router: &Router, caller: &AccountCaller) -> Result<Vec<(OrderKey, Order)>, Fault> {
    let names = router.store.list_open_orders(&caller.broker, &caller.account_id).await;
    let mut orders = Vec::new();
    for key in names.map_err(|error| store_unavailable(&error))? {
        let record = router
            .store
            .read_order(&key)
            .await
            .map_err(|error| store_unavailable(&error))?;
        if let Some(record) = record.filter(|record| may_be_open(record.known.stage)) {
            match current_report::order_from_document(&record.document) {
                Ok(order) => orders.push((key, order)),
                // One that cannot be read must not keep the others from being cancelled.
                Err(fault) => tracing::error!(order = key.name(), %fault, "an open order cannot be read"),
            }
        }
    }
    Ok(orders)
}

/// Cancels an order whose key is known.
///
/// # Errors
/// As [`cancel`].
pub(super) async fn cancel_by_key(
    router: &Router,
    caller: &AccountCaller,
    key: &OrderKey,
) -> Result<SubmissionOutcome, Fault> {
    let name = OrderSelector::ClientOrderId(key.client_order_id().clone());
    cancel_named_order(router, caller, key, &name).await
}

async fn cancel_named_order(
    router: &Router,
    caller: &AccountCaller,
    key: &OrderKey,
    name: &OrderSelector,
) -> Result<SubmissionOutcome, Fault> {
    let record = wait_until_sent(router, caller, key, name).await?;
    let order = match record.known.stage {
        RecordStage::Ended | RecordStage::Denied => return Err(order_closed_fault(name)),
        RecordStage::Claimed
        | RecordStage::Sending
        | RecordStage::Open
        | RecordStage::Releasing
        | RecordStage::Released => read_in_flight_order(&record, name)?,
    };
    if order.broker != caller.broker {
        return Err(unknown_order_fault(name));
    }
    if record.known.stage.is_in_flight() {
        return Ok(SubmissionOutcome::receipt_for_order(
            &order,
            ReasonCode::InFlight,
            "the order is still being sent; cancel it again",
        ));
    }
    let broker = router
        .brokers
        .get(&order.broker)
        .ok_or_else(|| unknown_order_fault(name))?;
    match broker.cancel(order.clone()).await {
        CancelOutcome::Booked(booked) => append::journal_and_build_outcome(router, &booked).await,
        CancelOutcome::Reported(report) => settle_cancel_report(router, &order, report).await,
        CancelOutcome::AlreadyEnded(_) => Err(order_closed_fault(name)),
        CancelOutcome::NotSent(NotSentReason::QueueFull) => Err(Fault::new(
            FaultCode::QueueFull,
            "too many cancels are waiting; this one was not sent",
        )),
        CancelOutcome::NotSent(why) => Err(Fault::new(
            FaultCode::BrokerUnavailable,
            format!("the cancel was not sent: {why:?}"),
        )),
        CancelOutcome::OutcomeUnknown(why) => {
            let message = format!("the venue has not said whether the order is cancelled: {why}");
            Ok(SubmissionOutcome::receipt_for_order(
                &order,
                ReasonCode::OutcomeUnknown,
                &message,
            ))
        }
    }
}

/// Settles what a venue says of an order that it was asked to cancel.
async fn settle_cancel_report(router: &Router, order: &Order, report: VenueReport) -> Result<SubmissionOutcome, Fault> {
    match crate::worker::journaling::settlement::settle_venue_report(
        &router.store,
        &router.rates,
        order,
        report,
        Metadata::new(),
    )
    .await
    {
        Ok(booked) => append::journal_and_build_outcome(router, &booked).await,
        Err(error) => {
            let message = format!("the venue has answered, and its answer could not be settled: {error}");
            Ok(SubmissionOutcome::receipt_for_order(
                order,
                ReasonCode::OutcomeUnknown,
                &message,
            ))
        }
    }
}

/// Waits until an order that is still being sent has been, or has been given up.
async fn wait_until_sent(
    router: &Router,
    caller: &AccountCaller,
    key: &OrderKey,
    name: &OrderSelector,
) -> Result<StoredOrder, Fault> {
    let end = caller.deadline.min(Timestamp::now().saturating_add(MAX_IN_FLIGHT_WAIT));
    loop {
        let record = caller.load_record(router, key, name).await?;
        if !record.known.stage.is_in_flight() || Timestamp::now() >= end {
            return Ok(record);
        }
        tokio::time::sleep(IN_FLIGHT_POLL_INTERVAL).await;
    }
}

fn order_closed_fault(name: &OrderSelector) -> Fault {
    Fault::new(
        FaultCode::OrderClosed,
        format!("the order with the {name} has ended; there is nothing left to cancel"),
    )
}
