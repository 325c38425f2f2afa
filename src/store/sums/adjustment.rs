//! Adjustments in the store: booked once by their ids, waiting for the journal, applied again from it.

use std::time::Duration;

use bytes::Bytes;

use crate::domain::id::{AccountId, AdjustmentId, ContentHash, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::order_terms::Mode;
use crate::domain::settlement::{SumDeltas, SumScope};
use crate::domain::time::{Timestamp, TradingDate};
use crate::store::connection::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::orders::mark_journaled::retention_ms;
use crate::store::rebuild::epoch::{REBUILD_LEASE_MS, StoreRebuild};
use crate::store::rebuild::orders::MIN_TOMBSTONE_MS;
use crate::store::script::{
    BOOK_ADJUSTMENT, KeyTable, MARK_ADJUSTMENT_JOURNALED, READ_ADJUSTMENT, READ_WAITING, REPLAY_ADJUSTMENT,
    ScriptReply, corrupt, to_json,
};
use crate::store::sums::day::MAX_HOLDINGS;

/// The most adjustments that may wait for the journal; one more is refused.
pub const MAX_UNJOURNALED_ADJUSTMENTS: usize = 1_000;
/// The most waiting adjustments one look returns.
const ADJUSTMENTS_PAGE: usize = 64;

/// One adjustment, ready to be booked.
#[derive(Debug, Clone)]
pub struct AdjustmentBooking {
    /// What it is booked once by.
    pub adjustment_id: AdjustmentId,
    /// What a repeated id is compared by.
    pub content_hash: ContentHash,
    /// Its journal document.
    pub event_document: Bytes,
    /// The mode whose sums it moves.
    pub mode: Mode,
    /// The trading date in force; none before the first day.
    pub trading_date: Option<TradingDate>,
    /// The account.
    pub account_id: AccountId,
    /// The instrument whose sums it moves; none for cash, which counts as one that is not traded.
    pub instrument: Option<(VenueId, Symbol)>,
    /// The moves; of cash, `cash_flow` alone.
    pub deltas: SumDeltas,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An adjustment that is booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAdjustment {
    /// What a repeated id is compared by.
    pub content_hash: ContentHash,
    /// Its journal document.
    pub event_document: Bytes,
    /// Its place in the journal; none while it is not known to be there.
    pub journal_sequence: Option<u64>,
}

/// What came of a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookAdjustmentOutcome {
    /// It is booked; its event is not on the journal yet.
    Booked,
    /// The id was booked before.
    AlreadyKnown(KnownAdjustment),
    /// Another mode or trading date is in force.
    ModeOrDateChanged,
    /// The deadline has passed.
    DeadlinePassed,
    /// Too many wait for the journal, or the database holds too much.
    StoreFull,
    /// A sum would leave the range that is counted exactly.
    SumOutOfRange,
}

/// What the store knows of an event that is on the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkAdjustmentOutcome {
    /// It is the event of its id.
    Marked,
    /// Nothing: it lost its last writes, and the event has to be replayed.
    NeedsReplay,
    /// The id belongs to another event, which counts.
    IdTaken,
}

/// The keys and the moves of one booking, as scripts read them.
struct EncodedBooking {
    keys: KeyTable,
    sums_name: String,
    moves: String,
}

impl AdjustmentBooking {
    /// Returns the hash that tells this event from any other of its id.
    fn event_hash(&self) -> ContentHash {
        ContentHash::of(&self.event_document)
    }

    fn encode(&self, mut keys: KeyTable) -> Result<EncodedBooking, StoreError> {
        let (venue, symbol) = match &self.instrument {
            Some(instrument) => instrument.clone(),
            None => cash_instrument()?,
        };
        let scope = SumScope {
            mode: self.mode,
            account_id: self.account_id.clone(),
            venue,
            symbol,
            // An adjustment moves no sum of a day.
            trading_date: self.trading_date.unwrap_or_else(|| Timestamp::now().utc_date()),
        };
        let moves = to_json(&keys.encode_moves(&scope, &self.deltas))?;
        Ok(EncodedBooking {
            keys,
            sums_name: keys::sums_name(&scope),
            moves,
        })
    }
}

/// Returns the instrument that cash counts as.
fn cash_instrument() -> Result<(VenueId, Symbol), StoreError> {
    let (venue, symbol) = keys::CASH_INSTRUMENT;
    let venue = VenueId::new(venue).map_err(|rule| corrupt(&format!("the venue of cash {rule}")))?;
    let symbol = Symbol::parse(symbol).map_err(|rule| corrupt(&format!("the symbol of cash {rule}")))?;
    Ok((venue, symbol))
}

impl Store {
    /// Books an adjustment, unless its id is known or `deadline` has passed by Redis' clock.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::Unknown`] it may be booked: the same call tells.
    pub async fn book_adjustment(
        &self,
        booking: &AdjustmentBooking,
        deadline: Timestamp,
    ) -> Result<BookAdjustmentOutcome, StoreError> {
        let epoch = self.connection.epoch()?;
        let encoded = booking.encode(KeyTable::new(vec![
            keys::meta(),
            keys::operator_state(),
            keys::unjournaled_adjustments(),
            keys::adjustment(&booking.adjustment_id),
            keys::sums_names(booking.mode),
        ]))?;
        let date = booking.trading_date.map(|date| date.to_string()).unwrap_or_default();
        let mut command = BOOK_ADJUSTMENT.evalsha_command(epoch, encoded.keys.keys());
        command
            .arg(booking.adjustment_id.as_str())
            .arg(&*booking.content_hash.0)
            .arg(&*booking.event_hash().0)
            .arg(&booking.event_document[..])
            .arg(booking.mode.as_str())
            .arg(date)
            .arg(deadline.as_milliseconds())
            .arg(self.connection.settings.max_keys)
            .arg(MAX_UNJOURNALED_ADJUSTMENTS)
            .arg(encoded.sums_name)
            .arg(encoded.moves)
            .arg(MAX_HOLDINGS);
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        let mut reply = self.connection.clear_epoch_if_stale(epoch, reply)?;
        Ok(match reply.verdict.as_str() {
            "booked" => BookAdjustmentOutcome::Booked,
            "known" => BookAdjustmentOutcome::AlreadyKnown(decode_known_adjustment(&mut reply)?),
            "moved_on" => BookAdjustmentOutcome::ModeOrDateChanged,
            "late" => BookAdjustmentOutcome::DeadlinePassed,
            "full" => BookAdjustmentOutcome::StoreFull,
            "inexact" => BookAdjustmentOutcome::SumOutOfRange,
            _ => return Err(reply.unexpected_verdict()),
        })
    }

    /// Returns what is known of an adjustment.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn read_adjustment(&self, adjustment_id: &AdjustmentId) -> Result<Option<KnownAdjustment>, StoreError> {
        let epoch = self.connection.epoch()?;
        let command = READ_ADJUSTMENT.evalsha_command(epoch, &[keys::meta(), keys::adjustment(adjustment_id)]);
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        let mut reply = self.connection.clear_epoch_if_stale(epoch, reply)?;
        match reply.verdict.as_str() {
            "unknown" => Ok(None),
            "known" => decode_known_adjustment(&mut reply).map(Some),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Returns adjustments that have waited for the journal for longer than `past`, the longest waiting first.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_unjournaled_adjustments(&self, min_wait: Duration) -> Result<Vec<AdjustmentId>, StoreError> {
        let epoch = self.connection.epoch()?;
        let mut command = READ_WAITING.evalsha_command(epoch, &[keys::meta(), keys::unjournaled_adjustments()]);
        command
            .arg(u64::try_from(min_wait.as_millis()).unwrap_or(u64::MAX))
            .arg(ADJUSTMENTS_PAGE);
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        let mut reply = self.connection.clear_epoch_if_stale(epoch, reply)?;
        let mut names = Vec::new();
        while reply.has_more() {
            let name = AdjustmentId::new(&reply.next_text()?);
            names.push(name.map_err(|_| corrupt("a set holds no adjustment id"))?);
        }
        Ok(names)
    }

    /// Marks an adjustment's event as being on the journal; tells whether it is the one that counts.
    ///
    /// # Errors
    /// Any [`StoreError`]; the adjustment then waits until somebody marks it.
    pub async fn mark_adjustment_journaled(
        &self,
        adjustment_id: &AdjustmentId,
        event: &[u8],
        sequence: u64,
    ) -> Result<MarkAdjustmentOutcome, StoreError> {
        let epoch = self.connection.epoch()?;
        let keys = [
            keys::meta(),
            keys::unjournaled_adjustments(),
            keys::adjustment(adjustment_id),
        ];
        let mut command = MARK_ADJUSTMENT_JOURNALED.evalsha_command(epoch, &keys);
        command
            .arg(adjustment_id.as_str())
            .arg(&*ContentHash::of(event).0)
            .arg(sequence)
            .arg(retention_ms(self.connection.settings.retention_h));
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        let reply = self.connection.clear_epoch_if_stale(epoch, reply)?;
        match reply.verdict.as_str() {
            "marked" => Ok(MarkAdjustmentOutcome::Marked),
            "lost" => Ok(MarkAdjustmentOutcome::NeedsReplay),
            "void" => Ok(MarkAdjustmentOutcome::IdTaken),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Applies an adjustment of the journal to a store that is being healed, or with `None` a late one to a store in
    /// use. Returns whether it changed the sums.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another healer has taken over.
    pub async fn replay_adjustment(
        &self,
        rebuild: Option<&StoreRebuild>,
        booking: &AdjustmentBooking,
        sequence: u64,
    ) -> Result<bool, StoreError> {
        let Some(healing) = rebuild else {
            let epoch = self.connection.epoch()?;
            let replayed = self
                .replay_adjustment_in_epoch(&epoch.to_string(), booking, sequence)
                .await;
            return self.connection.clear_epoch_if_stale(epoch, replayed);
        };
        self.replay_adjustment_in_epoch(&healing.epoch, booking, sequence).await
    }

    async fn replay_adjustment_in_epoch(
        &self,
        epoch: &str,
        booking: &AdjustmentBooking,
        sequence: u64,
    ) -> Result<bool, StoreError> {
        let encoded = booking.encode(KeyTable::new(vec![
            keys::meta(),
            keys::rebuild_lease(),
            keys::unjournaled_adjustments(),
            keys::adjustment(&booking.adjustment_id),
            keys::sums_names(booking.mode),
        ]))?;
        let age_ms = u64::try_from(
            Timestamp::now()
                .saturating_duration_since(booking.created_at)
                .as_millis(),
        )
        .unwrap_or(u64::MAX);
        let retention = retention_ms(self.connection.settings.retention_h);
        let mut command = REPLAY_ADJUSTMENT.evalsha_command(epoch, encoded.keys.keys());
        command
            .arg(REBUILD_LEASE_MS)
            .arg(booking.adjustment_id.as_str())
            .arg(&*booking.content_hash.0)
            .arg(&*booking.event_hash().0)
            .arg(&booking.event_document[..])
            .arg(sequence)
            .arg(retention.saturating_sub(age_ms).max(MIN_TOMBSTONE_MS))
            .arg(encoded.sums_name)
            .arg(encoded.moves);
        let changed: u64 = self
            .connection
            .query(command)
            .await
            .and_then(ScriptReply::from_value)?
            .next_integer()?;
        Ok(changed > 0)
    }
}

fn decode_known_adjustment(reply: &mut ScriptReply) -> Result<KnownAdjustment, StoreError> {
    let content = ContentHash(reply.next_text()?.into());
    let event = Bytes::from(reply.next_bytes()?);
    let sequence: u64 = reply.next_integer()?;
    Ok(KnownAdjustment {
        content_hash: content,
        event_document: event,
        journal_sequence: (sequence > 0).then_some(sequence),
    })
}
