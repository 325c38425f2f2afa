//! Applying the journal's order events to the store (`lua/replay.lua`): during a rebuild, and late ones after it.

use serde::Serialize;

use crate::domain::order::Order;
use crate::domain::reason::ReasonCode;
use crate::domain::settlement::{DayDeltas, SumDeltas, SumScope};
use crate::domain::time::TradingDate;
use crate::fault::FaultCode;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::orders::record::RecordStage;
use crate::store::orders::remembered::order_id_tail;
use crate::store::rebuild::lease::StoreRebuild;
use crate::store::rebuild::replay_calls::{replay_keys, run_replay};
use crate::store::retention::{remaining_retention_ms, retention_ms};
use crate::store::script::{EncodedContent, EncodedMoves, KeyTable, REPLAY_ORDERS, SumOwner, to_named_message_pack};

/// One journal event of an order.
#[derive(Debug, Clone)]
pub struct OrderReplay {
    /// The order after the event.
    pub order: Order,
    /// How far the event moved the sums since the version before; since nothing for version 1.
    pub deltas: SumDeltas,
    /// The trading day that its fills count for.
    pub booked_on: TradingDate,
    /// What the order's earlier events moved on other days, where `deltas` does not count from the version before.
    pub earlier_days: Vec<DayDeltas>,
    /// Its journal sequence.
    pub sequence: u64,
    /// Its document.
    pub document: bytes::Bytes,
}

impl OrderReplay {
    /// Returns the event with everything that its order has moved so far, each part on its day: for an order of which the
    /// store has nothing, or nothing that it builds on. Returns `None` where a sum leaves the exact range.
    pub fn from_nothing(&self) -> Option<Self> {
        let mut order = self.order.clone();
        order.builds_on = None;
        Some(Self {
            deltas: order.latest_day_deltas()?,
            earlier_days: order.earlier_days.clone(),
            order,
            ..self.clone()
        })
    }
}

/// The order in the store that an event of an earlier journal sequence replaces.
#[derive(Debug, Clone)]
pub struct ConflictingOrder {
    /// The order as stored, at its latest version.
    pub order: Order,
}

#[derive(Serialize)]
struct UndoArguments {
    #[serde(rename = "o")]
    order_id: String,
    #[serde(rename = "v")]
    version: u32,
    #[serde(rename = "op")]
    open_orders_key: usize,
    #[serde(rename = "du")]
    due_key: usize,
    #[serde(rename = "w")]
    owner: SumOwner,
    #[serde(rename = "d")]
    deltas_by_day: Vec<EncodedMoves>,
}

#[derive(Serialize)]
struct ReplayCommand<'a> {
    #[serde(rename = "k")]
    record_key: usize,
    #[serde(rename = "op")]
    open_orders_key: usize,
    #[serde(rename = "du")]
    due_key: usize,
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "o")]
    order_id: String,
    #[serde(rename = "t")]
    order_id_tail: &'a str,
    #[serde(rename = "h")]
    content: EncodedContent,
    #[serde(rename = "v")]
    version: u32,
    #[serde(rename = "st")]
    stage: &'static str,
    #[serde(rename = "q")]
    sequence: u64,
    #[serde(rename = "at")]
    due_at_ms: i64,
    #[serde(rename = "ttl")]
    remembered_for_ms: u64,
    #[serde(rename = "w")]
    owner: SumOwner,
    #[serde(rename = "d")]
    deltas: MovesArgument,
    #[serde(rename = "e", skip_serializing_if = "Vec::is_empty")]
    earlier_days: Vec<EncodedMoves>,
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    builds_on: Option<String>,
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    undo: Option<UndoArguments>,
}

/// The moves of an event; `false` where it moves nothing.
#[derive(Serialize)]
#[serde(untagged)]
enum MovesArgument {
    Moves(EncodedMoves),
    Nothing(bool),
}

impl Store {
    /// Applies events in the journal's order: during a rebuild, or with `None` to a store in use, for events that a worker
    /// of the previous epoch appended while the store was being rebuilt. Events that the store has already settled only
    /// count as journaled. An event replaces `conflicting` where that order is stored in its place.
    ///
    /// Returns how many events changed something, and the indices of those that precede what is stored in their place on
    /// the journal: these changed nothing yet.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another worker has taken over the rebuild.
    pub async fn replay_orders_with_conflicts(
        &self,
        rebuild: Option<&StoreRebuild>,
        events: &[OrderReplay],
        conflicting: Option<&ConflictingOrder>,
    ) -> Result<(u64, Vec<usize>), StoreError> {
        let mut keys = replay_keys();
        let retention = retention_ms(self.connection.settings.retention_h);
        let mut commands = Vec::with_capacity(events.len());
        for event in events {
            let mut command = encode_replay(event, &mut keys, retention);
            command.undo = match conflicting {
                Some(other) => Some(encode_undo(&other.order, &mut keys)?),
                None => None,
            };
            commands.push((to_named_message_pack(&command)?, &event.document[..]));
        }
        let replayed = run_replay(&self.connection, &REPLAY_ORDERS, rebuild, &keys, |_| {}, &commands).await?;
        Ok((replayed.changed, replayed.indices))
    }
}

/// Returns what removes an order that came later on the journal than the event that replaces it.
fn encode_undo(order: &Order, keys: &mut KeyTable) -> Result<UndoArguments, StoreError> {
    let scope = order.sum_scope();
    let moved = order
        .deltas_by_day()
        .ok_or_else(|| StoreError::corrupt("the sums of an order leave the exact range"))?;
    let undone = moved.into_iter().map(|day| DayDeltas {
        deltas: day.deltas.reversed(),
        ..day
    });
    let undone: Vec<DayDeltas> = undone.collect();
    Ok(UndoArguments {
        order_id: order.order_id.to_string(),
        version: order.version,
        open_orders_key: keys.intern(keys::open_orders(&order.broker, &order.account_id)),
        due_key: keys.intern(keys::due_orders(&order.broker)),
        owner: keys.owner(&scope),
        deltas_by_day: encode_days(&scope, &undone),
    })
}

fn encode_days(scope: &SumScope, days: &[DayDeltas]) -> Vec<EncodedMoves> {
    let encode = |day: &DayDeltas| EncodedMoves::new(scope, &day.deltas, day.booked_on);
    days.iter().map(encode).collect()
}

/// Returns the command that restores an order and its sums.
fn encode_replay<'a>(event: &'a OrderReplay, keys: &mut KeyTable, retention_ms: u64) -> ReplayCommand<'a> {
    let order = &event.order;
    let key = order.key();
    let scope = order.sum_scope();
    let deltas = if event.deltas == SumDeltas::default() {
        MovesArgument::Nothing(false)
    } else {
        MovesArgument::Moves(EncodedMoves::new(&scope, &event.deltas, event.booked_on))
    };
    ReplayCommand {
        record_key: keys.intern(keys::order_record(&key)),
        open_orders_key: keys.intern(keys::open_orders(&order.broker, &order.account_id)),
        due_key: keys.intern(keys::due_orders(&order.broker)),
        name: key.name(),
        order_id: order.order_id.to_string(),
        order_id_tail: order_id_tail(key, &order.order_id),
        content: EncodedContent::new(order.content_hash.digest()),
        version: order.version,
        stage: record_stage(order).as_str(),
        sequence: event.sequence,
        due_at_ms: order.due.map_or(0, |due| due.at.as_milliseconds()),
        remembered_for_ms: remaining_retention_ms(order.updated_at, retention_ms),
        owner: keys.owner(&scope),
        deltas,
        earlier_days: encode_days(&scope, &event.earlier_days),
        builds_on: order.builds_on.map(|id| id.to_string()),
        undo: None,
    }
}

/// Returns the record stage of a journaled order.
pub(super) fn record_stage(order: &Order) -> RecordStage {
    let is_unsent = |code| code == ReasonCode::DryRun || FaultCode::from_risk_reason(code).is_some();
    match order.status {
        Some(status) if status.is_terminal() && order.reason.as_ref().is_some_and(|reason| is_unsent(reason.code)) => {
            RecordStage::Denied
        }
        Some(status) if status.is_terminal() => RecordStage::Ended,
        _ => RecordStage::Open,
    }
}
