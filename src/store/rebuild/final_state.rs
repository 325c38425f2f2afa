//! The keys and values of a folded state, as commands for an empty store: what the replay scripts would have written.

use std::time::Duration;

use bytes::Bytes;

use crate::domain::content_hash::ContentHash;
use crate::domain::id::{AccountId, AdjustmentId};
use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::Mode;
use crate::domain::sum_ledger::{SumHolding, SumLedger};
use crate::domain::time::Timestamp;
use crate::store::keys;
use crate::store::orders::record::RecordStage;
use crate::store::rebuild::fold::FoldProgress;
use crate::store::rebuild::fold::record::{FoldedAdjustment, FoldedOrder, FoldedStage};
use crate::store::retention::remaining_retention_ms;
use crate::store::script::EncodedMoves;
use crate::store::sums::ledgers::LedgerOwner;

/// How long the ledger of an account that holds nothing lives, in milliseconds; as in `lua/prelude.lua`.
pub(in crate::store) const FLAT_TTL_MS: u64 = 30 * 60 * 60 * 1_000;

/// The command that sets a key's time to live.
pub(super) const EXPIRE: &str = "PEXPIRE";

/// One command: its name, its key and the arguments after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoadCommand {
    pub(super) name: &'static str,
    pub(super) key: String,
    pub(super) arguments: Vec<Bytes>,
}

/// Collects commands.
#[derive(Debug, Default)]
pub(super) struct LoadCommands(pub(super) Vec<LoadCommand>);

/// What the values depend on beside the state.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoadContext {
    /// The present moment, by Redis' clock.
    pub(super) now: Timestamp,
    /// For how long ended orders are remembered, in milliseconds.
    pub(super) retention_ms: u64,
    /// The lease of an order that is being sent, in milliseconds.
    pub(super) lease_ms: u64,
}

fn text(value: impl std::fmt::Display) -> Bytes {
    value.to_string().into()
}

impl LoadCommands {
    fn push(&mut self, name: &'static str, key: String, arguments: Vec<Bytes>) {
        self.0.push(LoadCommand { name, key, arguments });
    }

    fn expire(&mut self, key: String, ttl_ms: u64) {
        self.push(EXPIRE, key, vec![text(ttl_ms)]);
    }

    /// Adds the record of an order, and the sets that it is in.
    pub(super) fn add_order(&mut self, key: &OrderKey, order: &FoldedOrder, context: &LoadContext) {
        if order.is_open() {
            self.add_open_order(key, order, context);
        } else {
            let record = keys::order_record(key);
            self.push("HSET", record.clone(), record_fields(order));
            self.expire(record, remaining_retention_ms(order.since, context.retention_ms));
        }
    }

    /// Adds remembered ids: a bucket after another, `entries` by the number of their bucket among so many.
    pub(super) fn add_bucket(&mut self, number: u64, entries: Vec<Bytes>) {
        let key = format!("{}{number}", keys::remembered_ids_bucket());
        self.push("HSET", key, entries);
    }

    /// Adds how many ids are remembered, in how many buckets.
    pub(super) fn add_bucket_count(&mut self, buckets: u64, count: usize) {
        let fields: [(&str, Bytes); 2] = [("buckets", text(buckets)), ("count", text(count))];
        self.push("HSET", keys::remembered_ids(), flatten(fields));
    }

    /// Adds the record of an order that is open or being sent, and the sets that it is in.
    fn add_open_order(&mut self, key: &OrderKey, order: &FoldedOrder, context: &LoadContext) {
        let Some(open) = order.open_part() else { return };
        let name = Bytes::from(key.name());
        let mut fields = record_fields(order);
        fields.extend(["doc".into(), open.document.clone()]);
        if let FoldedStage::Sending(sending) = &order.stage {
            let moves = EncodedMoves::new(&sending.scope, &sending.reserved, sending.scope.trading_date);
            fields.extend(["net".into(), text(moves)]);
            let lease_ends = context.now.as_milliseconds().saturating_add_unsigned(context.lease_ms);
            self.push("ZADD", keys::leases(), vec![text(lease_ends), name.clone()]);
        }
        self.push("HSET", keys::order_record(key), fields);
        if let Some(at) = open.due_at {
            let due = vec![text(at.as_milliseconds()), name.clone()];
            self.push("ZADD", keys::due_orders(&open.broker), due);
        }
        let set = keys::open_orders(&open.broker, &open.account_id);
        self.push("SADD", keys::open_order_sets(), vec![set.clone().into()]);
        self.push("SADD", set, vec![name]);
    }

    /// Adds a ledger.
    pub(super) fn add_ledger(&mut self, owner: &LedgerOwner, ledger: &SumLedger) {
        let sums = format!(
            "{} {} {} {} 0 0 {} {}",
            ledger.day,
            ledger.notional,
            ledger.open_loss,
            ledger.fill_result,
            ledger.held(),
            ledger.unpriced_fees
        );
        let mut fields = vec![Bytes::from("sums"), sums.into()];
        for ((venue, symbol), holding) in &ledger.holdings {
            fields.extend([keys::holding_name(venue, symbol).into(), holding_text(holding).into()]);
        }
        let key = owner.key();
        self.push("HSET", key.clone(), fields);
        match owner {
            LedgerOwner::Total(_) => {}
            LedgerOwner::Account(mode, _) if ledger.is_kept() => self.add_holding_account(*mode, key),
            LedgerOwner::Account(..) => self.expire(key, FLAT_TTL_MS),
        }
    }

    fn add_holding_account(&mut self, mode: Mode, ledger_key: String) {
        self.push("SADD", keys::holding_accounts(mode), vec![ledger_key.into()]);
    }

    /// Adds the record of an adjustment.
    pub(super) fn add_adjustment(&mut self, id: &AdjustmentId, adjustment: &FoldedAdjustment, context: &LoadContext) {
        let fields: [(&str, Bytes); 4] = [
            ("h", text(&adjustment.content_hash.0)),
            ("e", text(&ContentHash::of(&adjustment.document).0)),
            ("doc", adjustment.document.clone()),
            ("seq", text(adjustment.sequence)),
        ];
        let key = keys::adjustment(id);
        self.push("HSET", key.clone(), flatten(fields));
        self.expire(key, remaining_retention_ms(adjustment.since, context.retention_ms));
    }

    /// Adds a lock.
    pub(super) fn add_lock(&mut self, lock_id: &str, document: &Bytes) {
        self.push("HSET", keys::locks(), vec![lock_id.to_owned().into(), document.clone()]);
    }

    /// Adds an armed dead man's switch, which starts its whole time.
    pub(super) fn add_switch(
        &mut self,
        account_id: &AccountId,
        (timeout_ms, document): &(u64, Bytes),
        context: &LoadContext,
    ) {
        let mut switch = format!("{timeout_ms} ").into_bytes();
        switch.extend_from_slice(document);
        self.push("HSET", keys::dead_man_switches(), vec![text(account_id), switch.into()]);
        let expires_at = context.now.saturating_add(Duration::from_millis(*timeout_ms));
        let expiry = vec![text(expires_at.as_milliseconds()), text(account_id)];
        self.push("ZADD", keys::switch_expiries(), expiry);
    }

    /// Adds how far the journal is applied: the last that is loaded.
    pub(super) fn add_watermarks(&mut self, progress: &FoldProgress) {
        let fields: [(&str, Bytes); 3] = [
            ("journal_sequence", text(progress.watermark)),
            ("latch_sequence", text(progress.lock_watermark)),
            ("switch_sequence", text(progress.switch_watermark)),
        ];
        self.push("HSET", keys::meta(), flatten(fields));
    }
}

fn flatten<const N: usize>(fields: [(&'static str, Bytes); N]) -> Vec<Bytes> {
    fields
        .into_iter()
        .flat_map(|(name, value)| [name.into(), value])
        .collect()
}

/// Returns the fields that a record has in its stage, but for its document and what it reserves.
pub(in crate::store) fn record_fields(order: &FoldedOrder) -> Vec<Bytes> {
    let stage = match order.stage {
        FoldedStage::Open(_) => RecordStage::Open,
        FoldedStage::Sending(_) => RecordStage::Sending,
        FoldedStage::Released(_) => RecordStage::Released,
    };
    let mut fields: Vec<Bytes> = flatten([
        ("st", stage.as_str().into()),
        ("h", Bytes::copy_from_slice(&order.content.0)),
        ("o", text(&order.order_id)),
        ("v", text(order.version)),
        ("jv", text(order.version)),
    ]);
    match order.claim_token() {
        Some(token) => fields.extend(flatten([("tok", text(token.as_str())), ("sq", text(order.sequence))])),
        None => fields.extend(flatten([
            ("seq", text(order.sequence)),
            ("fs", text(order.first_sequence)),
        ])),
    }
    fields
}

fn holding_text(holding: &SumHolding) -> String {
    format!(
        "{} {} {} {} {} {} {} {}",
        holding.long,
        holding.short,
        holding.position,
        holding.start,
        holding.day,
        holding.cash_flow,
        holding.fees,
        holding.open_orders
    )
}
