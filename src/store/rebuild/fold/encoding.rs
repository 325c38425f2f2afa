//! A folded state as the items of a snapshot: MessagePack values, one after another. What is read back is equal.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::content_hash::{ContentDigest, ContentHash};
use crate::domain::id::{AccountId, AdjustmentId, BrokerId, LeaseToken, OrderId, VenueId};
use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::Mode;
use crate::domain::settlement::{SumDeltas, SumScope};
use crate::domain::settlement_end::SettlementEnd;
use crate::domain::sum_ledger::{SumHolding, SumLedger};
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};
use crate::store::rebuild::fold::document::Document;
use crate::store::rebuild::fold::record::{FoldedAdjustment, FoldedOrder, FoldedStage, OpenPart, SendingPart};
use crate::store::rebuild::fold::remembered::RememberedId;
use crate::store::rebuild::fold::{FoldProgress, FoldedState};
use crate::store::sums::ledgers::LedgerOwner;

/// An item of a snapshot that cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an item of the snapshot {0}")]
pub struct SnapshotItemError(String);

/// The bytes of an item, or why it has none.
pub type EncodedItem = Result<Vec<u8>, SnapshotItemError>;

/// One item. A sum is its digits: a number of MessagePack has no 128 bits.
#[derive(Serialize, Deserialize)]
enum SnapshotItem {
    Progress {
        sequence: u64,
        watermark: u64,
        lock_watermark: u64,
        newest_epoch: i64,
        has_lost_entries: bool,
        /// Absent in snapshots from before there were dead man's switches.
        #[serde(default)]
        switch_watermark: u64,
    },
    Ledger {
        mode: String,
        /// None for the ledger of all accounts.
        account_id: Option<String>,
        day: i64,
        /// Notional, open loss, fill result, fills whose fee has no price.
        sums: [String; 4],
        holdings: Vec<HoldingItem>,
    },
    Order {
        name: String,
        order_id: String,
        content: [u8; ContentDigest::LENGTH],
        version: u32,
        sequence: u64,
        first_sequence: u64,
        since_us: i64,
        stage: Box<StageItem>,
        /// Absent in snapshots from before effects named what they build on.
        #[serde(default)]
        settlement: u32,
    },
    Remembered {
        name: String,
        entry: Document,
        /// Where the key is no part of it.
        order_id: Option<String>,
    },
    Adjustment {
        adjustment_id: String,
        content_hash: String,
        document: Document,
        sequence: u64,
        since_us: i64,
    },
    Lock {
        lock_id: String,
        document: Document,
    },
    Switch {
        account_id: String,
        timeout_ms: u64,
        document: Document,
    },
}

#[derive(Serialize, Deserialize)]
struct HoldingItem {
    venue: String,
    symbol: String,
    day: i64,
    /// Long, short, position, start, cash flow, fees, open orders.
    sums: [String; 7],
}

#[derive(Serialize, Deserialize)]
enum StageItem {
    Open(OpenItem),
    Sending(OpenItem, String, Box<(ScopeItem, DeltasItem)>),
    Released(String),
}

#[derive(Serialize, Deserialize)]
struct OpenItem {
    document: Document,
    broker: String,
    account_id: String,
    due_at_us: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct ScopeItem {
    mode: String,
    account_id: String,
    venue: String,
    symbol: String,
    trading_date: String,
}

/// Long, short and position; cash flow, fees, open orders, open loss, daily notional, fill result, fills whose fee has
/// no price.
#[derive(Serialize, Deserialize)]
struct DeltasItem([String; 3], [i64; 7]);

impl FoldedState {
    /// Returns the items of everything but remembered ids.
    pub fn state_items(&self) -> Box<dyn Iterator<Item = EncodedItem> + Send + '_> {
        let progress = std::iter::once(progress_item(&self.progress));
        let ledgers = self.ledgers.iter().map(|(owner, ledger)| ledger_item(owner, ledger));
        let open = self.orders.iter().map(|(key, order)| order_item(key, order));
        let adjustments = self
            .adjustments
            .iter()
            .map(|(id, adjustment)| SnapshotItem::Adjustment {
                adjustment_id: id.to_string(),
                content_hash: adjustment.content_hash.0.to_string(),
                document: Document(adjustment.document.clone()),
                sequence: adjustment.sequence,
                since_us: adjustment.since.as_microseconds(),
            });
        let locks = self.locks.iter().map(|(id, document)| SnapshotItem::Lock {
            lock_id: id.clone(),
            document: Document(document.clone()),
        });
        let switches = self.switches.iter();
        let switches = switches.map(|(account_id, (timeout_ms, document))| SnapshotItem::Switch {
            account_id: account_id.to_string(),
            timeout_ms: *timeout_ms,
            document: Document(document.clone()),
        });
        let items = progress.chain(ledgers).chain(open).chain(adjustments);
        let items = items.chain(locks).chain(switches);
        Box::new(items.map(|item| encode(&item)))
    }

    /// Returns the items of the remembered ids whose last event is after a sequence, each with the moment until which it is
    /// remembered.
    pub fn id_items(&self, after_sequence: u64) -> Box<dyn Iterator<Item = (Timestamp, EncodedItem)> + Send + '_> {
        let remembered = self.remembered.iter();
        let remembered = remembered.filter(move |(_, id)| id.sequence() > after_sequence);
        Box::new(remembered.map(|(key, id)| {
            let item = SnapshotItem::Remembered {
                name: key.name(),
                entry: Document(Bytes::copy_from_slice(id.as_bytes())),
                order_id: self.foreign_ids.get(key).map(OrderId::to_string),
            };
            (id.remembered_until(), encode(&item))
        }))
    }

    /// Adds the items of a part. Items that are read later replace those of the same id.
    ///
    /// # Errors
    /// When an item cannot be read.
    pub fn absorb(&mut self, part: &[u8]) -> Result<(), SnapshotItemError> {
        let mut rest = part;
        while !rest.is_empty() {
            let item = SnapshotItem::deserialize(&mut rmp_serde::Deserializer::new(&mut rest));
            let item = item.map_err(|error| SnapshotItemError(format!("cannot be decoded: {error}")))?;
            self.absorb_item(item)
                .ok_or_else(|| SnapshotItemError("has an invalid value".to_owned()))?;
        }
        Ok(())
    }

    fn absorb_item(&mut self, item: SnapshotItem) -> Option<()> {
        match item {
            SnapshotItem::Progress {
                sequence,
                watermark,
                lock_watermark,
                newest_epoch,
                has_lost_entries,
                switch_watermark,
            } => {
                self.progress = FoldProgress {
                    sequence,
                    watermark,
                    lock_watermark,
                    switch_watermark,
                    newest_epoch,
                    has_lost_entries,
                };
            }
            SnapshotItem::Ledger {
                mode,
                account_id,
                day,
                sums,
                holdings,
            } => {
                let mode = Mode::parse(&mode)?;
                let owner = match account_id {
                    Some(account) => LedgerOwner::Account(mode, AccountId::new(&account).ok()?),
                    None => LedgerOwner::Total(mode),
                };
                self.ledgers.insert(owner, parse_ledger(day, &sums, holdings)?);
            }
            SnapshotItem::Adjustment {
                adjustment_id,
                content_hash,
                document,
                sequence,
                since_us,
            } => {
                let folded = FoldedAdjustment {
                    content_hash: ContentHash(content_hash.into()),
                    document: document.0,
                    sequence,
                    since: Timestamp::from_microseconds(since_us),
                };
                self.adjustments.insert(AdjustmentId::new(&adjustment_id).ok()?, folded);
            }
            SnapshotItem::Lock { lock_id, document } => _ = self.locks.insert(lock_id, document.0),
            SnapshotItem::Switch {
                account_id,
                timeout_ms,
                document,
            } => {
                _ = self
                    .switches
                    .insert(AccountId::new(&account_id).ok()?, (timeout_ms, document.0))
            }
            order @ SnapshotItem::Order { .. } => {
                let (key, order) = parse_order(order)?;
                self.orders.insert(key, order);
            }
            SnapshotItem::Remembered { name, entry, order_id } => {
                let key = OrderKey::parse(&name)?;
                match order_id {
                    Some(order_id) => _ = self.foreign_ids.insert(key, OrderId::new(&order_id).ok()?),
                    None => _ = self.foreign_ids.remove(&key),
                }
                self.remembered.insert(key, RememberedId::from_bytes(&entry.0)?);
            }
        }
        Some(())
    }
}

fn encode(item: &SnapshotItem) -> EncodedItem {
    rmp_serde::to_vec(item).map_err(|error| SnapshotItemError(format!("cannot be encoded: {error}")))
}

fn progress_item(progress: &FoldProgress) -> SnapshotItem {
    SnapshotItem::Progress {
        sequence: progress.sequence,
        watermark: progress.watermark,
        lock_watermark: progress.lock_watermark,
        newest_epoch: progress.newest_epoch,
        has_lost_entries: progress.has_lost_entries,
        switch_watermark: progress.switch_watermark,
    }
}

fn ledger_item(owner: &LedgerOwner, ledger: &SumLedger) -> SnapshotItem {
    let (mode, account_id) = match owner {
        LedgerOwner::Account(mode, account) => (mode, Some(account.to_string())),
        LedgerOwner::Total(mode) => (mode, None),
    };
    let holdings = ledger.holdings.iter().map(|((venue, symbol), holding)| HoldingItem {
        venue: venue.to_string(),
        symbol: symbol.to_string(),
        day: holding.day,
        sums: [
            holding.long,
            holding.short,
            holding.position,
            holding.start,
            holding.cash_flow,
            holding.fees,
            holding.open_orders,
        ]
        .map(|sum| sum.to_string()),
    });
    SnapshotItem::Ledger {
        mode: mode.as_str().to_owned(),
        account_id,
        day: ledger.day,
        sums: [
            ledger.notional,
            ledger.open_loss,
            ledger.fill_result,
            ledger.unpriced_fees,
        ]
        .map(|sum| sum.to_string()),
        holdings: holdings.collect(),
    }
}

fn order_item(key: &OrderKey, order: &FoldedOrder) -> SnapshotItem {
    let open_item = |open: &OpenPart| OpenItem {
        document: Document(open.document.clone()),
        broker: open.broker.to_string(),
        account_id: open.account_id.to_string(),
        due_at_us: open.due_at.map(Timestamp::as_microseconds),
    };
    let stage = match &order.stage {
        FoldedStage::Open(open) => StageItem::Open(open_item(open)),
        FoldedStage::Sending(sending) => StageItem::Sending(
            open_item(&sending.open),
            sending.claim_token.as_str().to_owned(),
            Box::new((scope_item(&sending.scope), deltas_item(&sending.reserved))),
        ),
        FoldedStage::Released(token) => StageItem::Released(token.as_str().to_owned()),
    };
    SnapshotItem::Order {
        name: key.name(),
        order_id: order.order_id.to_string(),
        content: order.content.0,
        version: order.version,
        sequence: order.sequence,
        first_sequence: order.first_sequence,
        since_us: order.since.as_microseconds(),
        stage: Box::new(stage),
        settlement: order.settlement.0,
    }
}

fn scope_item(scope: &SumScope) -> ScopeItem {
    ScopeItem {
        mode: scope.mode.as_str().to_owned(),
        account_id: scope.account_id.to_string(),
        venue: scope.venue.to_string(),
        symbol: scope.symbol.to_string(),
        trading_date: scope.trading_date.to_string(),
    }
}

fn deltas_item(deltas: &SumDeltas) -> DeltasItem {
    DeltasItem(
        [deltas.long, deltas.short, deltas.position].map(|sum| sum.to_string()),
        [
            deltas.cash_flow,
            deltas.fees,
            deltas.open_orders,
            deltas.open_loss,
            deltas.daily_notional,
            deltas.fill_result,
            deltas.unpriced_fees,
        ],
    )
}

fn parse_sums<const N: usize>(texts: &[String; N]) -> Option<[i128; N]> {
    let mut sums = [0; N];
    for (sum, text) in sums.iter_mut().zip(texts) {
        *sum = text.parse().ok()?;
    }
    Some(sums)
}

fn parse_ledger(day: i64, sums: &[String; 4], holdings: Vec<HoldingItem>) -> Option<SumLedger> {
    let [notional, open_loss, fill_result, unpriced_fees] = parse_sums(sums)?;
    let mut ledger = SumLedger {
        day,
        notional,
        open_loss,
        fill_result,
        unpriced_fees,
        ..SumLedger::default()
    };
    for item in holdings {
        let [long, short, position, start, cash_flow, fees, open_orders] = parse_sums(&item.sums)?;
        let instrument = (VenueId::new(&item.venue).ok()?, Symbol::parse(&item.symbol).ok()?);
        let holding = SumHolding {
            long,
            short,
            position,
            start,
            day: item.day,
            cash_flow,
            fees,
            open_orders,
        };
        ledger.holdings.insert(instrument, holding);
    }
    Some(ledger)
}

fn parse_order(item: SnapshotItem) -> Option<(OrderKey, FoldedOrder)> {
    let SnapshotItem::Order {
        name,
        order_id,
        content,
        version,
        sequence,
        first_sequence,
        since_us,
        stage,
        settlement,
    } = item
    else {
        return None;
    };
    let order = FoldedOrder {
        order_id: OrderId::new(&order_id).ok()?,
        content: ContentDigest(content),
        version,
        settlement: SettlementEnd(settlement),
        sequence,
        first_sequence,
        since: Timestamp::from_microseconds(since_us),
        stage: parse_stage(*stage)?,
    };
    Some((OrderKey::parse(&name)?, order))
}

fn parse_stage(item: StageItem) -> Option<FoldedStage> {
    Some(match item {
        StageItem::Open(open) => FoldedStage::Open(Box::new(parse_open(open)?)),
        StageItem::Sending(open, token, reserved) => {
            let (scope, deltas) = *reserved;
            FoldedStage::Sending(Box::new(SendingPart {
                open: parse_open(open)?,
                claim_token: LeaseToken(token.into()),
                scope: parse_scope(&scope)?,
                reserved: parse_deltas(&deltas)?,
            }))
        }
        StageItem::Released(token) => FoldedStage::Released(LeaseToken(token.into())),
    })
}

fn parse_scope(item: &ScopeItem) -> Option<SumScope> {
    Some(SumScope {
        mode: Mode::parse(&item.mode)?,
        account_id: AccountId::new(&item.account_id).ok()?,
        venue: VenueId::new(&item.venue).ok()?,
        symbol: Symbol::parse(&item.symbol).ok()?,
        trading_date: TradingDate::parse(&item.trading_date)?,
    })
}

fn parse_open(item: OpenItem) -> Option<OpenPart> {
    Some(OpenPart {
        document: item.document.0,
        broker: BrokerId::new(&item.broker).ok()?,
        account_id: AccountId::new(&item.account_id).ok()?,
        due_at: item.due_at_us.map(Timestamp::from_microseconds),
    })
}

fn parse_deltas(item: &DeltasItem) -> Option<SumDeltas> {
    let [long, short, position] = parse_sums(&item.0)?;
    let [
        cash_flow,
        fees,
        open_orders,
        open_loss,
        daily_notional,
        fill_result,
        unpriced_fees,
    ] = item.1;
    Some(SumDeltas {
        long,
        short,
        position,
        cash_flow,
        fees,
        open_orders,
        open_loss,
        daily_notional,
        fill_result,
        unpriced_fees,
    })
}
