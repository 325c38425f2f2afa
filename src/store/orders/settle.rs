//! Settlement: one effect of an order, its sums and its event, booked in one step (`lua/settle.lua`).

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::domain::quantity::QuantityUnits;
use crate::domain::replace::ReplaceState;
use crate::domain::settlement::SumDeltas;
use crate::domain::time::{Timestamp, TradingDate};
use crate::domain::venue_report::OutboxEntry;
use crate::store::connection::StoreConnection;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::orders::record::{RecordStage, decode_pending_events};
use crate::store::script::{BatchReplies, EncodedMoves, FieldList, KeyTable, NumberOrFalse, SETTLE, ScriptReply};

/// One effect of an order, ready to be booked.
#[derive(Debug, Clone)]
pub struct SettleRequest {
    /// The order after the effect.
    pub order: Order,
    /// How far the sums move beyond what is already booked or reserved.
    pub deltas: SumDeltas,
    /// The event's journal document.
    pub event_document: Bytes,
    /// The trading day that its fills count for.
    pub booked_on: TradingDate,
    /// The losses to compare with their limits; `None` where the view of them cannot be read.
    pub watch: Option<LossWatch>,
    /// Whether a fill may only reduce the position: one that would take it through zero is refused. Only a paper venue's
    /// own fill is, which takes place here; what another venue has filled is booked whatever it does.
    pub only_reduces: bool,
    /// The lease that the effect requires; `None` for an effect that requires none.
    pub lease: Option<LeaseToken>,
    /// The moment from which the effect is no longer booked, by Redis' clock.
    pub deadline: Option<Timestamp>,
    /// The settlement's own id, by which a repeated request is recognised.
    pub settlement_id: uuid::Uuid,
}

/// The losses that a settlement is compared with, in millionths of the base currency: each is the loss of a view without
/// what fills had made, and its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LossWatch {
    /// The account's loss before fills.
    pub account_loss: i64,
    /// The account's limit.
    pub account_limit: i64,
    /// The loss of all accounts before fills.
    pub total_loss: i64,
    /// The limit of all accounts.
    pub total_limit: i64,
}

/// What a booked settlement answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BookedSettlement {
    /// The order's earlier events that are not journaled yet.
    pub pending_events: Vec<OutboxEntry>,
    /// The account's loss, where it has reached its limit by this settlement.
    pub account_breach: Option<i64>,
    /// The loss of all accounts, where it has reached its limit by this settlement.
    pub total_breach: Option<i64>,
}

/// The result of a [`SettleRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettleOutcome {
    /// The effect is booked.
    Booked(BookedSettlement),
    /// Another effect came first. Holds the order's latest document, which is empty where it is only on the journal.
    Superseded(Bytes),
    /// Another worker holds the lease.
    LeaseLost,
    /// The deadline has passed.
    DeadlinePassed,
    /// Trading is halted, and this is the order's first effect.
    Halted,
    /// A fill of an order that only reduces would take the position through zero; holds the position, in units of 1e-8.
    CrossesZero(QuantityUnits),
    /// The order is unknown.
    OrderNotFound,
    /// A sum would leave the range that is counted exactly.
    SumOutOfRange,
}

/// What a command of `lua/settle.lua` begins with, behind its moves.
#[derive(Serialize)]
struct SettleFields<'a> {
    record_key: usize,
    open_orders_key: usize,
    due_key: usize,
    name: String,
    order_id: &'a str,
    base_version: u32,
    lease_token: &'a str,
    settlement_id: String,
    deadline_ms: i64,
    stage: &'static str,
    due_at_ms: i64,
}

/// The fields that scripts read a [`LossWatch`] from.
#[derive(Serialize)]
pub(in crate::store) struct WatchFields {
    account_loss: NumberOrFalse,
    account_limit: NumberOrFalse,
    total_loss: NumberOrFalse,
    total_limit: NumberOrFalse,
}

/// Runs a batch of requests in one script call; returns an outcome for each, in order.
pub(in crate::store) async fn run_settle_batch(
    connection: StoreConnection,
    requests: Arc<[Arc<SettleRequest>]>,
) -> Result<BatchReplies<SettleOutcome>, StoreError> {
    let mut keys = KeyTable::new(vec![
        keys::meta(),
        keys::leases(),
        keys::outbox(),
        keys::operator_state(),
        keys::open_order_sets(),
    ]);
    let mut commands = Vec::with_capacity(requests.len());
    for request in requests.iter() {
        commands.push(encode_settle(request, &mut keys)?);
    }
    let mut call = connection.script_call(&SETTLE, None, keys.keys())?;
    for (command, request) in commands.iter().zip(requests.iter()) {
        call.arg(command.as_bytes()).arg(&request.event_document[..]);
    }
    let replies = connection.run_batch(call).await?;
    Ok(replies.decode(decode_settle_outcome))
}

fn encode_settle(request: &SettleRequest, keys: &mut KeyTable) -> Result<FieldList, StoreError> {
    let order = &request.order;
    let (key, scope) = (order.key(), order.sum_scope());
    let mut command = FieldList::default();
    command.append(&EncodedMoves::new(&scope, &request.deltas, request.booked_on))?;
    command.append(&SettleFields {
        record_key: keys.add_unshared(keys::order_record(&key)),
        open_orders_key: keys.intern(keys::open_orders(&order.broker, &order.account_id)),
        due_key: keys.intern(keys::due_orders(&order.broker)),
        name: key.name(),
        order_id: order.order_id.as_str(),
        base_version: order.version.saturating_sub(1),
        lease_token: request.lease.as_ref().map_or("", LeaseToken::as_str),
        settlement_id: request.settlement_id.to_string(),
        deadline_ms: request.deadline.map_or(0, Timestamp::as_milliseconds),
        stage: stage_after(order).as_str(),
        due_at_ms: due_at_ms(order),
    })?;
    command.append(&keys.owner(&scope))?;
    command.append(&(request.only_reduces,))?;
    command.append(&encode_watch(request.watch))?;
    let latest = order.latest_replace();
    let is_replacing = latest.is_some_and(|replace| replace.state == ReplaceState::Pending);
    command.append(&(is_replacing, text_of(order.builds_on)))?;
    Ok(command)
}

/// Returns the stage of an order's record after an effect.
pub(in crate::store) fn stage_after(order: &Order) -> RecordStage {
    if order.is_terminal() {
        RecordStage::Ended
    } else {
        RecordStage::Open
    }
}

/// Returns when something is due for an order, in milliseconds; 0 where nothing is.
pub(in crate::store) fn due_at_ms(order: &Order) -> i64 {
    order.due.map_or(0, |due| due.at.as_milliseconds())
}

/// Returns the text of a settlement's id; empty where there is none.
pub(in crate::store) fn text_of(settlement_id: Option<uuid::Uuid>) -> String {
    settlement_id.map_or_else(String::new, |id| id.to_string())
}

/// Returns the losses and limits to compare, as scripts read them.
pub(in crate::store) fn encode_watch(watch: Option<LossWatch>) -> WatchFields {
    let number = |read: fn(LossWatch) -> i64| NumberOrFalse(watch.map(read));
    WatchFields {
        account_loss: number(|watch| watch.account_loss),
        account_limit: number(|watch| watch.account_limit),
        total_loss: number(|watch| watch.total_loss),
        total_limit: number(|watch| watch.total_limit),
    }
}

fn decode_settle_outcome(mut reply: ScriptReply) -> Result<SettleOutcome, StoreError> {
    Ok(match reply.verdict.as_str() {
        "booked" => SettleOutcome::Booked(BookedSettlement {
            account_breach: decode_breach(&mut reply)?,
            total_breach: decode_breach(&mut reply)?,
            pending_events: decode_pending_events(&mut reply)?,
        }),
        "crosses" => SettleOutcome::CrossesZero(reply.next_integer()?),
        "superseded" => SettleOutcome::Superseded(Bytes::from(reply.next_bytes()?)),
        "lease" => SettleOutcome::LeaseLost,
        "late" => SettleOutcome::DeadlinePassed,
        "halted" => SettleOutcome::Halted,
        "missing" => SettleOutcome::OrderNotFound,
        "inexact" => SettleOutcome::SumOutOfRange,
        _ => return Err(reply.unexpected_verdict()),
    })
}

/// Decodes a loss that has reached its limit; the field is empty where none has.
pub(in crate::store) fn decode_breach(reply: &mut ScriptReply) -> Result<Option<i64>, StoreError> {
    let text = reply.next_text()?;
    if text.is_empty() {
        return Ok(None);
    }
    let loss = text
        .parse()
        .map_err(|_| StoreError::corrupt(format!("{text:?} is no loss")));
    loss.map(Some)
}
