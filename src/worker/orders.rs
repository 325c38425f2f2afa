//! Requests about orders that exist: get, cancel, cancel all.

use futures_util::StreamExt;
use futures_util::stream;

use super::claim::unavailable;
use super::known::{LOOK_AGAIN, MAX_WAIT};
use super::lookup;
use super::recording::{self, Told};
use super::router::Router;
use crate::brokers::adapter::{CancelOutcome, NotSent};
use crate::bus::call::{Answer, Call};
use crate::domain::execution::VenueReport;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId};
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::reason::ReasonCode;
use crate::domain::terms::Mode;
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};
use crate::store::keys::OrderKey;
use crate::store::rate::Exceeded;
use crate::store::read::Record;
use crate::store::reserve::Stage;
use crate::wire::order_reference::{CancelAllAnswer, OrderName, decode_cancel_all, decode_order};
use crate::wire::submission::read_submission;

/// How many orders one cancel-all works on: their reports fit into one message. Whoever is told of remaining orders
/// asks again.
pub const MAX_CANCELS: usize = 500;
/// How many orders of one cancel-all are worked on at a time.
const CANCELS_AT_A_TIME: usize = 32;

/// Whom a call speaks for: the broker and the account of its subject.
pub(super) struct Caller {
    pub(super) broker: BrokerId,
    pub(super) account_id: AccountId,
    pub(super) deadline: Timestamp,
}

impl Caller {
    pub(super) fn of(router: &Router, call: &Call) -> Result<Self, Fault> {
        let broker = BrokerId::new(call.broker.as_deref().unwrap_or_default());
        let broker = broker.map_err(|rule| Fault::field(Code::InvalidField, "broker", rule))?;
        if !router.brokers.contains_key(&broker) {
            return Err(Fault::field(
                Code::UnknownBroker,
                "broker",
                format!("is {broker}, which is not known"),
            ));
        }
        let account_id = AccountId::new(call.account.as_deref().unwrap_or_default());
        let account_id = account_id.map_err(|rule| Fault::field(Code::InvalidField, "account_id", rule))?;
        let deadline = call
            .deadline
            .unwrap_or_else(|| call.arrived_at.after(router.patience.request));
        if deadline <= Timestamp::now() {
            return Err(super::admission::expired(deadline));
        }
        Ok(Self {
            broker,
            account_id,
            deadline,
        })
    }

    /// Returns the key of the order a caller names, if it is one of its own.
    async fn key(&self, router: &Router, name: &OrderName) -> Result<OrderKey, Fault> {
        let key = match name {
            OrderName::ClientOrderId(id) => Some(self.of_client_order_id(router, id).await?),
            OrderName::OrderId(id) => router.store.find(id).await.map_err(|error| unavailable(&error))?,
        };
        // Another account's order is not known to this caller.
        key.filter(|key| *key.account_id() == self.account_id)
            .ok_or_else(|| unknown(name))
    }

    /// Returns the key of an id: in the space of the mode in force or, while that is a dry run and knows no such id, in that
    /// of the orders that were routed before; they stand, and can be cancelled.
    async fn of_client_order_id(&self, router: &Router, id: &ClientOrderId) -> Result<OrderKey, Fault> {
        let mode = router.control.mode();
        let key = OrderKey::new(mode, &self.account_id, id);
        if mode != Mode::DryRun {
            return Ok(key);
        }
        let known = router.store.read(&key).await.map_err(|error| unavailable(&error))?;
        Ok(known.map_or_else(|| OrderKey::new(Mode::Paper, &self.account_id, id), |record| record.key))
    }

    async fn record(&self, router: &Router, key: &OrderKey, name: &OrderName) -> Result<Record, Fault> {
        let record = router.store.read(key).await.map_err(|error| unavailable(&error))?;
        record.ok_or_else(|| unknown(name))
    }
}

/// Counts a cancel against the cancels' own rates; orders have theirs, and no other rule stops a cancel.
async fn counted(router: &Router, caller: &Caller) -> Result<(), Fault> {
    let limits = router.limits.cancel_rates;
    let counted = router
        .store
        .count_cancel(&caller.broker, &caller.account_id, limits)
        .await;
    let (whose, limit) = match counted.map_err(|error| unavailable(&error))? {
        None => return Ok(()),
        Some(Exceeded::Account(limit)) => ("the account", limit),
        Some(Exceeded::Broker(limit)) => ("the broker", limit),
    };
    let detail = format!("{whose} has had {limit} cancels within this second, which is the limit; cancel again");
    Err(Fault::new(Code::RateLimited, detail))
}

fn unknown(name: &OrderName) -> Fault {
    Fault::new(
        Code::UnknownOrder,
        format!("no order with the {name} is known in this account"),
    )
}

/// Answers with an order's current report.
///
/// # Errors
/// `unknown_order`, or what keeps it from being read.
pub async fn get(router: &Router, call: &Call) -> Result<Answer, Fault> {
    let caller = Caller::of(router, call)?;
    let name = decode_order(&call.body)?;
    let key = caller.key(router, &name).await?;
    if let Some(told) = lookup::report(router, &key).await? {
        return if told.report.broker == caller.broker.as_str() {
            Ok(told.answer())
        } else {
            Err(unknown(&name))
        };
    }
    let record = caller.record(router, &key, &name).await?;
    let order = under_way(&record, &name)?;
    Ok(Told::receipt_of(&order, ReasonCode::InFlight, "the order is under way; ask for it again").answer())
}

/// Returns an order of which nothing has been told yet, as far as it is known.
fn under_way(record: &Record, name: &OrderName) -> Result<Order, Fault> {
    match record.known.stage {
        Stage::Released => Err(unknown(name)),
        Stage::Releasing => read_submission(&record.document)
            .map(|submission| submission.order)
            .map_err(|error| Fault::new(Code::StoreUnavailable, error.to_string())),
        _ => lookup::order_of(&record.document),
    }
}

/// Cancels one order and answers with its report.
///
/// # Errors
/// `unknown_order`; `order_closed` for an order that has ended, however it did.
pub async fn cancel(router: &Router, call: &Call) -> Result<Answer, Fault> {
    let caller = Caller::of(router, call)?;
    let name = decode_order(&call.body)?;
    counted(router, &caller).await?;
    let key = caller.key(router, &name).await?;
    cancel_one(router, &caller, &key, &name).await.map(|told| told.answer())
}

/// Cancels every open order of an account at a broker, and says what remains.
///
/// # Errors
/// When the open orders cannot be read before anything was sent.
pub async fn cancel_all(router: &Router, call: &Call) -> Result<Answer, Fault> {
    let caller = Caller::of(router, call)?;
    let symbol = decode_cancel_all(&call.body)?;
    counted(router, &caller).await?;
    let concerns = |order: &Order| symbol.as_ref().is_none_or(|symbol| order.symbol == *symbol);
    let mut keys = open(router, &caller).await?;
    keys.retain(|(_, order)| concerns(order));
    keys.truncate(MAX_CANCELS);
    let asked = keys.clone();
    let cancels = stream::iter(keys).map(|(key, order)| {
        let caller = &caller;
        async move {
            let name = OrderName::OrderId(order.order_id.clone());
            cancel_one(router, caller, &key, &name).await.ok()
        }
    });
    let told: Vec<Option<Told>> = cancels.buffer_unordered(CANCELS_AT_A_TIME).collect().await;
    let cancelled: Vec<_> = told
        .into_iter()
        .flatten()
        .filter(|told| !told.is_receipt())
        .map(|told| told.report)
        .collect();
    let left = match open(router, &caller).await {
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
    for (key, order) in left.into_iter().take(MAX_CANCELS) {
        match lookup::report(router, &key).await {
            Ok(Some(told)) if told.report.status.is_ended() => {}
            Ok(Some(told)) => remaining.push(told.report),
            _ => remaining.push(Told::receipt_of(&order, ReasonCode::InFlight, "the order is under way").report),
        }
    }
    let body = serde_json::to_vec(&CancelAllAnswer { cancelled, remaining });
    let body = body.map_err(|error| Fault::new(Code::PersistenceFailed, error.to_string()))?;
    Ok(Answer {
        body,
        journal_sequence: None,
        replayed: false,
    })
}

/// Whether a venue has the order, or may come to have it.
fn is_open(stage: Stage) -> bool {
    matches!(stage, Stage::Claimed | Stage::Sending | Stage::Open)
}

/// Returns the caller's orders that have not ended, with what is known of each.
async fn open(router: &Router, caller: &Caller) -> Result<Vec<(OrderKey, Order)>, Fault> {
    let names = router.store.open_orders(&caller.broker, &caller.account_id).await;
    let mut orders = Vec::new();
    for key in names.map_err(|error| unavailable(&error))? {
        let record = router.store.read(&key).await.map_err(|error| unavailable(&error))?;
        if let Some(record) = record.filter(|record| is_open(record.known.stage)) {
            match lookup::order_of(&record.document) {
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
pub(super) async fn cancel_key(router: &Router, caller: &Caller, key: &OrderKey) -> Result<Told, Fault> {
    let name = OrderName::ClientOrderId(key.client_order_id().clone());
    cancel_one(router, caller, key, &name).await
}

async fn cancel_one(router: &Router, caller: &Caller, key: &OrderKey, name: &OrderName) -> Result<Told, Fault> {
    let record = sent(router, caller, key, name).await?;
    let order = match record.known.stage {
        Stage::Ended | Stage::Denied => return Err(closed(name)),
        Stage::Claimed | Stage::Sending | Stage::Open | Stage::Releasing | Stage::Released => under_way(&record, name)?,
    };
    if order.broker != caller.broker {
        return Err(unknown(name));
    }
    if record.known.stage.is_under_way() {
        return Ok(Told::receipt_of(
            &order,
            ReasonCode::InFlight,
            "the order is still being sent; cancel it again",
        ));
    }
    let broker = router.brokers.get(&order.broker).ok_or_else(|| unknown(name))?;
    match broker.cancel(order.clone()).await {
        CancelOutcome::Booked(booked) => recording::tell(router, &booked).await,
        CancelOutcome::Reported(report) => settle(router, &order, report).await,
        CancelOutcome::Closed(_) => Err(closed(name)),
        CancelOutcome::NotSent(NotSent::QueueFull) => Err(Fault::new(
            Code::QueueFull,
            "too many cancels are waiting; this one was not sent",
        )),
        CancelOutcome::NotSent(why) => Err(Fault::new(
            Code::BrokerUnavailable,
            format!("the cancel was not sent: {why:?}"),
        )),
        CancelOutcome::OutcomeUnknown(why) => {
            let message = format!("the venue has not said whether the order is cancelled: {why}");
            Ok(Told::receipt_of(&order, ReasonCode::OutcomeUnknown, &message))
        }
    }
}

/// Settles what a venue says of an order that it was asked to cancel.
async fn settle(router: &Router, order: &Order, report: VenueReport) -> Result<Told, Fault> {
    match super::book::settle_word(&router.store, &router.rates, order, report, Metadata::new()).await {
        Ok(booked) => recording::tell(router, &booked).await,
        Err(error) => {
            let message = format!("the venue has answered, and its answer could not be settled: {error}");
            Ok(Told::receipt_of(order, ReasonCode::OutcomeUnknown, &message))
        }
    }
}

/// Waits until an order that is still being sent has been, or has been given up.
async fn sent(router: &Router, caller: &Caller, key: &OrderKey, name: &OrderName) -> Result<Record, Fault> {
    let end = caller.deadline.min(Timestamp::now().after(MAX_WAIT));
    loop {
        let record = caller.record(router, key, name).await?;
        if !record.known.stage.is_under_way() || Timestamp::now() >= end {
            return Ok(record);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn closed(name: &OrderName) -> Fault {
    Fault::new(
        Code::OrderClosed,
        format!("the order with the {name} has ended; there is nothing left to cancel"),
    )
}
