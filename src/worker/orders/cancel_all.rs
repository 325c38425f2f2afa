//! Cancels of every open order of an account at a broker.

use std::collections::HashSet;
use std::pin::pin;

use futures_util::stream::StreamExt;
use futures_util::{TryStreamExt, future};
use tokio::time::Instant;

use crate::bus::request::{BusReply, BusRequest};
use crate::domain::id::BrokerId;
use crate::domain::order_key::OrderKey;
use crate::domain::reason::ReasonCode;
use crate::domain::symbol::Symbol;
use crate::fault::{Fault, FaultCode};
use crate::store::orders::record::RecordStage;
use crate::wire::order_reference::{CancelAllReply, MAX_LISTED_ORDERS, decode_cancel_all};
use crate::wire::report::ExecutionReport;
use crate::worker::faults::store_unavailable;
use crate::worker::journaling::current_report::current_report;
use crate::worker::orders::account_caller::AccountCaller;
use crate::worker::orders::cancel::check_cancel_rate;
use crate::worker::orders::cancel_sweep::{
    READ_CONCURRENCY, SweepTally, SweepTimes, SweptOrder, cancel_orders, retry_until_sent, swept_order,
};
use crate::worker::orders::open_orders::{OpenOrder, stream_open_orders};
use crate::worker::reply::encode_reply;
use crate::worker::router::Router;
use crate::worker::submission::idempotent_replay::MAX_IN_FLIGHT_WAIT;
use crate::worker::submission::outcome::SubmissionOutcome;

/// The most open orders of one symbol that are counted for a reply.
const MAX_COUNTED_ORDERS: usize = 1_000_000;

/// The orders that one request asks to cancel.
struct RequestedOrders {
    caller: AccountCaller,
    symbol: Option<Symbol>,
}

/// The orders that a request left open.
struct RemainingOrders {
    reports: Vec<ExecutionReport>,
    total: u64,
}

impl RequestedOrders {
    fn includes(&self, open: &OpenOrder) -> bool {
        self.symbol.as_ref().is_none_or(|symbol| open.order.symbol == *symbol)
    }

    /// Returns the requested orders that are open.
    fn stream<'a>(&'a self, router: &'a Router) -> impl futures_util::Stream<Item = Result<OpenOrder, Fault>> + 'a {
        stream_open_orders(router, &self.caller.broker, &self.caller.account_id)
            .try_filter(|open| future::ready(self.includes(open)))
    }
}

/// Cancels every open order of an account at a broker, or of one symbol of it, until the caller's deadline is near.
/// Replies with the cancelled orders and with those that remain open.
///
/// # Errors
/// `unsupported_pair` for a symbol that the broker does not trade, unless an order in it is open. If the open orders cannot
/// be read before anything was sent.
pub async fn cancel_all_orders(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let caller = AccountCaller::from_call(router, call)?;
    let symbol = decode_cancel_all(&call.body)?;
    check_cancel_rate(router, &caller).await?;
    let times = SweepTimes::before(caller.deadline);
    let requested = RequestedOrders { caller, symbol };
    let broker = &requested.caller.broker;
    let mut tally = SweepTally::default();
    let open = requested.stream(router);
    let mut swept = cancel_orders(router, broker, open, times.cancel_until, &mut tally).await;
    if swept.is_ok() {
        let until = (times.cancel_until, Instant::now() + MAX_IN_FLIGHT_WAIT);
        swept = retry_until_sent(router, broker, until, &mut tally).await;
    }
    match swept {
        Err(fault) if tally.is_empty() => return Err(fault),
        // A fault of the store would say that nothing was sent.
        Err(fault) => tracing::warn!(%fault, "not every order of a cancel of all could be read"),
        Ok(()) => {}
    }
    if let Some(symbol) = requested.symbol.as_ref().filter(|_| tally.is_empty()) {
        check_is_traded(router, broker, symbol)?;
    }
    resolve_unanswered(router, times.read_until, &mut tally).await;
    let remaining = match tokio::time::timeout_at(times.read_until, read_remaining(router, &requested)).await {
        Ok(Ok(remaining)) => remaining,
        unread => {
            let fault = unread.ok().and_then(Result::err);
            tracing::warn!(
                ?fault,
                "after a cancel of all orders the remaining ones could not be read"
            );
            RemainingOrders {
                reports: Vec::new(),
                total: u64::try_from(tally.left()).unwrap_or(u64::MAX),
            }
        }
    };
    let reply = CancelAllReply {
        cancelled_total: tally.cancelled_total,
        cancelled: tally.cancelled,
        remaining_total: remaining.total + tally.not_journaled_total,
        remaining: tally.not_journaled.into_iter().chain(remaining.reports).collect(),
    };
    encode_reply(&reply.fitting_one_message())
}

/// Checks that a broker trades a symbol. A cancel of all orders in a misspelt symbol must not look as if it had worked.
///
/// # Errors
/// `unsupported_pair`.
fn check_is_traded(router: &Router, broker: &BrokerId, symbol: &Symbol) -> Result<(), Fault> {
    let limits = router.limits();
    let mut instruments = limits.instruments.for_broker(broker);
    if instruments.any(|instrument| instrument.symbol == *symbol) {
        return Ok(());
    }
    let rule = format!("is {symbol}, which {broker} does not trade, and no order in it is open");
    Err(Fault::for_field(FaultCode::UnsupportedPair, "symbol", rule))
}

/// Reads what became of the orders whose cancels were not answered before the end: one that is not open any more is recorded
/// here, and those that are open are among the remaining ones.
async fn resolve_unanswered(router: &Router, end: Instant, tally: &mut SweepTally) {
    let unanswered: Vec<_> = tally.take_unanswered().into_iter().collect();
    let keys: Vec<OrderKey> = unanswered.iter().map(|(key, _)| *key).collect();
    let records = tokio::time::timeout_at(end, router.store.read_open_orders(&keys)).await;
    // Where the store does not reply, all of them count as open.
    let Ok(Ok(records)) = records else { return };
    let is_open = |stage: RecordStage| matches!(stage, RecordStage::Claimed | RecordStage::Sending | RecordStage::Open);
    let ended = unanswered.into_iter().zip(records).filter_map(|(one, record)| {
        let is_open = record.is_some_and(|record| is_open(record.stage));
        (!is_open).then_some(one)
    });
    let resolved = futures_util::stream::iter(ended).map(|(key, order)| async move {
        let report = tokio::time::timeout_at(end, current_report(router, &key)).await;
        let swept = match report {
            Ok(Ok(Some(outcome))) => swept_order(outcome.report),
            Ok(Ok(None)) => SweptOrder::Ended,
            Ok(Err(_)) | Err(_) => {
                let message = "the order has ended, and its report is not journaled yet; read it again";
                let receipt = SubmissionOutcome::receipt_for_order(&order, ReasonCode::NotJournaled, message);
                SweptOrder::NotJournaled(Box::new(receipt.report))
            }
        };
        (key, swept)
    });
    let mut resolved = pin!(resolved.buffer_unordered(READ_CONCURRENCY));
    while let Some((key, swept)) = resolved.next().await {
        tally.finish(key, swept);
    }
}

/// Returns how many of the requested orders are open now, and the reports of the first [`MAX_LISTED_ORDERS`].
///
/// # Errors
/// If the open orders cannot be read.
async fn read_remaining(router: &Router, requested: &RequestedOrders) -> Result<RemainingOrders, Fault> {
    let AccountCaller { broker, account_id, .. } = &requested.caller;
    let most = match requested.symbol {
        Some(_) => MAX_COUNTED_ORDERS,
        None => MAX_LISTED_ORDERS,
    };
    let mut counted = HashSet::new();
    let mut listed = Vec::new();
    let mut open = pin!(requested.stream(router));
    while counted.len() < most
        && let Some(order) = open.try_next().await?
    {
        if counted.insert(order.record.key) && listed.len() < MAX_LISTED_ORDERS {
            listed.push(order);
        }
    }
    let total = match requested.symbol {
        Some(_) => u64::try_from(counted.len()).unwrap_or(u64::MAX),
        None => {
            let account = [(broker.clone(), account_id.clone())];
            let counts = router.store.count_open_orders(&account).await;
            counts.map_err(store_unavailable)?.into_iter().sum()
        }
    };
    let reports = futures_util::stream::iter(listed)
        .map(|order| report_of(router, order))
        .buffered(READ_CONCURRENCY)
        .collect();
    Ok(RemainingOrders {
        reports: reports.await,
        total,
    })
}

/// Returns the current report of an open order; a receipt for one without a journaled report.
async fn report_of(router: &Router, open: OpenOrder) -> ExecutionReport {
    let OpenOrder { record, order } = open;
    // The document of a journaled version is the journal's entry.
    if record.stage == RecordStage::Open && record.version == record.journaled_version {
        return ExecutionReport::from(&order);
    }
    match current_report(router, &record.key).await {
        Ok(Some(outcome)) => outcome.report,
        _ => {
            let message = "the order is in flight";
            SubmissionOutcome::receipt_for_order(&order, ReasonCode::InFlight, message).report
        }
    }
}
