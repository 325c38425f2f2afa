//! Adjustments: booked once by id, waiting for the journal, and replayed from it.

use std::time::Duration;

use bytes::Bytes;

use crate::domain::content_hash::ContentHash;
use crate::domain::id::{AccountId, AdjustmentId, VenueId};
use crate::domain::order_terms::Mode;
use crate::domain::settlement::{SumDeltas, SumScope};
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::MAX_UNJOURNALED_ADJUSTMENTS;
use crate::store::orders::waiting::Waiting;
use crate::store::rebuild::lease::{REBUILD_LEASE_MS, StoreRebuild};
use crate::store::retention::{remaining_retention_ms, retention_ms};
use crate::store::script::{
    BOOK_ADJUSTMENT, EncodedMoves, KeyTable, MARK_ADJUSTMENT_JOURNALED, READ_ADJUSTMENT, REPLAY_ADJUSTMENT,
    ScriptReply, to_message_pack,
};

/// The most adjustments that one read of the waiting ones returns.
pub const ADJUSTMENTS_PAGE: usize = 64;

/// One adjustment, ready to be booked.
#[derive(Debug, Clone)]
pub struct AdjustmentBooking {
    /// The id under which it is booked once.
    pub adjustment_id: AdjustmentId,
    /// The hash by which a repeated id is compared.
    pub content_hash: ContentHash,
    /// Its journal document.
    pub event_document: Bytes,
    /// The mode whose sums it moves.
    pub mode: Mode,
    /// The active trading date; `None` before the first day.
    pub trading_date: Option<TradingDate>,
    /// The account.
    pub account_id: AccountId,
    /// The instrument whose sums it moves; `None` for cash, which is booked as an instrument that is not traded.
    pub instrument: Option<(VenueId, Symbol)>,
    /// The moves; for cash, of `cash_flow` alone.
    pub deltas: SumDeltas,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How the mode of an adjustment is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdjustmentMode {
    /// It is the mode that is active when the adjustment is booked.
    Active,
    /// It is a mode of its own, whichever is active.
    Fixed,
}

/// A booked adjustment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAdjustment {
    /// The hash by which a repeated id is compared.
    pub content_hash: ContentHash,
    /// Its journal document.
    pub event_document: Bytes,
    /// Its journal sequence; `None` while it is not known to be journaled.
    pub journal_sequence: Option<u64>,
}

/// The result of booking an adjustment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookAdjustmentOutcome {
    /// It is booked; its event is not journaled yet.
    Booked,
    /// The id was booked before.
    AlreadyKnown(KnownAdjustment),
    /// Another mode or trading date is active.
    ModeOrDateChanged,
    /// The deadline has passed.
    DeadlinePassed,
    /// Too many adjustments wait for the journal, or the database holds too many keys.
    StoreFull,
    /// A sum would leave the range that is counted exactly.
    SumOutOfRange,
    /// It prices the fees of more fills than the account has without a price; holds their number.
    TooManyFeesPriced(i64),
}

/// Whether the store knows a journaled adjustment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkAdjustmentOutcome {
    /// It is the event of its id, and is marked.
    Marked,
    /// The store does not know the id: it lost its last writes, and the event has to be replayed.
    NeedsReplay,
    /// The id belongs to another event, which counts.
    IdTaken,
}

impl AdjustmentBooking {
    fn event_hash(&self) -> ContentHash {
        ContentHash::of(&self.event_document)
    }

    /// Returns whose sums the adjustment moves and how far; `None` for cash, which no limit counts.
    pub(in crate::store) fn moves(&self) -> Option<(SumScope, SumDeltas)> {
        let (venue, symbol) = self.instrument.clone()?;
        let scope = SumScope {
            mode: self.mode,
            account_id: self.account_id.clone(),
            venue,
            symbol,
            trading_date: self.trading_date.unwrap_or_else(|| self.created_at.utc_date()),
        };
        Some((scope, self.deltas))
    }

    /// Returns the owner of the sums and their moves, as scripts read them; empty where no sum moves.
    fn encode(&self, keys: &mut KeyTable) -> Result<Vec<u8>, StoreError> {
        let Some((scope, deltas)) = self.moves() else {
            return Ok(Vec::new());
        };
        to_message_pack(&(
            keys.owner(&scope),
            EncodedMoves::new(&scope, &deltas, scope.trading_date),
        ))
    }
}

impl Store {
    /// Books an adjustment, unless its id is known or `deadline` has passed by Redis' clock. An adjustment of the active mode
    /// is booked only while that mode is active.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::OutcomeUnknown`] it may be booked: a repeated call shows it.
    pub async fn book_adjustment(
        &self,
        booking: &AdjustmentBooking,
        scope: AdjustmentMode,
        deadline: Timestamp,
    ) -> Result<BookAdjustmentOutcome, StoreError> {
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::operator_state(),
            keys::unjournaled_adjustments(),
            keys::adjustment(&booking.adjustment_id),
        ]);
        let moves = booking.encode(&mut keys)?;
        let date = booking.trading_date.map(|date| date.to_string()).unwrap_or_default();
        let mut call = self.connection.script_call(&BOOK_ADJUSTMENT, None, keys.keys())?;
        call.arg(booking.adjustment_id.as_str())
            .arg(&*booking.content_hash.0)
            .arg(&*booking.event_hash().0)
            .arg(&booking.event_document[..])
            .arg(match scope {
                AdjustmentMode::Active => booking.mode.as_str(),
                AdjustmentMode::Fixed => "",
            })
            .arg(date)
            .arg(deadline.as_milliseconds())
            .arg(u8::from(self.connection.is_full()))
            .arg(MAX_UNJOURNALED_ADJUSTMENTS)
            .arg(moves);
        let mut reply = self.connection.run(call).await?;
        Ok(match reply.verdict.as_str() {
            "booked" => BookAdjustmentOutcome::Booked,
            "known" => BookAdjustmentOutcome::AlreadyKnown(decode_known_adjustment(&mut reply)?),
            "moved_on" => BookAdjustmentOutcome::ModeOrDateChanged,
            "late" => BookAdjustmentOutcome::DeadlinePassed,
            "full" => BookAdjustmentOutcome::StoreFull,
            "inexact" => BookAdjustmentOutcome::SumOutOfRange,
            "priced" => BookAdjustmentOutcome::TooManyFeesPriced(reply.next_integer()?),
            _ => return Err(reply.unexpected_verdict()),
        })
    }

    /// Returns what is known of an adjustment.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_adjustment(&self, adjustment_id: &AdjustmentId) -> Result<Option<KnownAdjustment>, StoreError> {
        let keys = [keys::meta(), keys::adjustment(adjustment_id)];
        let call = self.connection.script_call(&READ_ADJUSTMENT, None, &keys)?;
        let mut reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "unknown" => Ok(None),
            "known" => decode_known_adjustment(&mut reply).map(Some),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Returns the adjustments that have waited for the journal for at least `min_wait`, the longest waiting first, at most
    /// [`ADJUSTMENTS_PAGE`] after the first `skip`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_unjournaled_adjustments(
        &self,
        min_wait: Duration,
        skip: usize,
    ) -> Result<Waiting<AdjustmentId>, StoreError> {
        let parse = |id: &str| AdjustmentId::new(id).ok();
        self.read_waiting(
            keys::unjournaled_adjustments(),
            min_wait,
            (skip, ADJUSTMENTS_PAGE),
            parse,
        )
        .await
    }

    /// Marks an adjustment's event as journaled; returns whether it is the event that counts for its id.
    ///
    /// # Errors
    /// Any [`StoreError`]; the adjustment then waits until a later call marks it.
    pub async fn mark_adjustment_journaled(
        &self,
        adjustment_id: &AdjustmentId,
        event: &[u8],
        sequence: u64,
    ) -> Result<MarkAdjustmentOutcome, StoreError> {
        let keys = [
            keys::meta(),
            keys::unjournaled_adjustments(),
            keys::adjustment(adjustment_id),
        ];
        let mut call = self.connection.script_call(&MARK_ADJUSTMENT_JOURNALED, None, &keys)?;
        call.arg(adjustment_id.as_str())
            .arg(&*ContentHash::of(event).0)
            .arg(sequence)
            .arg(retention_ms(self.connection.settings.retention_h));
        let reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "marked" => Ok(MarkAdjustmentOutcome::Marked),
            "lost" => Ok(MarkAdjustmentOutcome::NeedsReplay),
            "void" => Ok(MarkAdjustmentOutcome::IdTaken),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Applies a journaled adjustment during a rebuild, or with `None` a late one to a store in use. Returns whether it
    /// changed the sums.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another worker has taken over the rebuild.
    pub async fn replay_adjustment(
        &self,
        rebuild: Option<&StoreRebuild>,
        booking: &AdjustmentBooking,
        sequence: u64,
    ) -> Result<bool, StoreError> {
        let mut keys = KeyTable::new(vec![
            keys::meta(),
            keys::rebuild_lease(),
            keys::unjournaled_adjustments(),
            keys::adjustment(&booking.adjustment_id),
        ]);
        let moves = booking.encode(&mut keys)?;
        let retention = retention_ms(self.connection.settings.retention_h);
        let mut call = self.connection.script_call(&REPLAY_ADJUSTMENT, rebuild, keys.keys())?;
        call.arg(REBUILD_LEASE_MS)
            .arg(booking.adjustment_id.as_str())
            .arg(&*booking.content_hash.0)
            .arg(&*booking.event_hash().0)
            .arg(&booking.event_document[..])
            .arg(sequence)
            .arg(remaining_retention_ms(booking.created_at, retention))
            .arg(moves);
        let changed: u64 = self.connection.run(call).await?.next_integer()?;
        Ok(changed > 0)
    }
}

fn decode_known_adjustment(reply: &mut ScriptReply) -> Result<KnownAdjustment, StoreError> {
    let content_hash = ContentHash(reply.next_text()?.into());
    let event_document = Bytes::from(reply.next_bytes()?);
    let sequence: u64 = reply.next_integer()?;
    Ok(KnownAdjustment {
        content_hash,
        event_document,
        journal_sequence: (sequence > 0).then_some(sequence),
    })
}
