//! Adjustments in the store: booked once by their ids, waiting for the journal, applied again from it.

use std::time::Duration;

use bytes::Bytes;

use super::connection::Store;
use super::day::MAX_HOLDINGS;
use super::epoch::{HEALING_LOCK_MS, Healing};
use super::error::StoreError;
use super::journaled::retention_ms;
use super::keys;
use super::replay::SHORTEST_TOMBSTONE_MS;
use super::script::{
    ADJUST, ADJUSTMENT_JOURNALED, ADJUSTMENT_READ, ADJUSTMENT_REPLAY, KeyTable, READY, Reply, corrupt, json,
};
use crate::domain::id::{AccountId, AdjustmentId, ContentHash, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::settlement::{Deltas, Scope};
use crate::domain::terms::Mode;
use crate::domain::time::{Timestamp, TradingDate};

/// The most adjustments that may wait for the journal; one more is refused.
pub const MAX_WAITING: usize = 1_000;
/// The most waiting adjustments one look returns.
const MAX_NAMES: usize = 64;

/// One adjustment, ready to be booked.
#[derive(Debug, Clone)]
pub struct Booking {
    /// What it is booked once by.
    pub adjustment_id: AdjustmentId,
    /// What a repeated id is compared by.
    pub content: ContentHash,
    /// Its journal document.
    pub event: Bytes,
    /// The mode whose sums it moves.
    pub mode: Mode,
    /// The trading date in force; none before the first day.
    pub trading_date: Option<TradingDate>,
    /// The account.
    pub account_id: AccountId,
    /// The instrument whose sums it moves; none for cash, which counts as one that is not traded.
    pub instrument: Option<(VenueId, Symbol)>,
    /// The moves; of cash, `cash_flow` alone.
    pub deltas: Deltas,
    /// When it was made.
    pub made_at: Timestamp,
}

/// An adjustment that is booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAdjustment {
    /// What a repeated id is compared by.
    pub content: ContentHash,
    /// Its journal document.
    pub event: Bytes,
    /// Its place in the journal; none while it is not known to be there.
    pub sequence: Option<u64>,
}

/// What came of a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adjusted {
    /// It is booked; its event is not on the journal yet.
    Booked,
    /// The id was booked before.
    Known(KnownAdjustment),
    /// Another mode or trading date is in force.
    MovedOn,
    /// The deadline has passed.
    Late,
    /// Too many wait for the journal, or the database holds too much.
    Full,
    /// A sum would leave the range that is counted exactly.
    Inexact,
}

/// What the store knows of an event that is on the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkedAdjustment {
    /// It is the event of its id.
    Marked,
    /// Nothing: it lost its last writes, and the event has to be replayed.
    Lost,
    /// The id belongs to another event, which counts.
    Void,
}

/// The keys and the moves of one booking, as scripts read them.
struct Encoded {
    keys: KeyTable,
    name: String,
    moves: String,
}

impl Booking {
    /// Returns the hash that tells this event from any other of its id.
    fn event_hash(&self) -> ContentHash {
        ContentHash::of(&self.event)
    }

    fn encode(&self, mut keys: KeyTable) -> Result<Encoded, StoreError> {
        let (venue, symbol) = match &self.instrument {
            Some(instrument) => instrument.clone(),
            None => cash()?,
        };
        let scope = Scope {
            mode: self.mode,
            account_id: self.account_id.clone(),
            venue,
            symbol,
            // An adjustment moves no sum of a day.
            trading_date: self.trading_date.unwrap_or_else(|| Timestamp::now().utc_date()),
        };
        let moves = json(&keys.moves(&scope, &self.deltas))?;
        Ok(Encoded {
            keys,
            name: keys::sums_name(&scope),
            moves,
        })
    }
}

/// Returns the instrument that cash counts as.
fn cash() -> Result<(VenueId, Symbol), StoreError> {
    let (venue, symbol) = keys::CASH;
    let venue = VenueId::new(venue).map_err(|rule| corrupt(&format!("the venue of cash {rule}")))?;
    let symbol = Symbol::normalised(symbol).map_err(|rule| corrupt(&format!("the symbol of cash {rule}")))?;
    Ok((venue, symbol))
}

impl Store {
    /// Books an adjustment, unless its id is known or `deadline` has passed by Redis' clock.
    ///
    /// # Errors
    /// Any [`StoreError`]; after [`StoreError::Unknown`] it may be booked: the same call tells.
    pub async fn adjust(&self, booking: &Booking, deadline: Timestamp) -> Result<Adjusted, StoreError> {
        let epoch = self.core.epoch()?;
        let encoded = booking.encode(KeyTable::new(vec![
            keys::meta(),
            keys::state(),
            keys::adjustments(),
            keys::adjustment(&booking.adjustment_id),
            keys::sums_names(booking.mode),
        ]))?;
        let date = booking.trading_date.map(|date| date.to_string()).unwrap_or_default();
        let mut command = ADJUST.call(epoch, encoded.keys.keys());
        command
            .arg(booking.adjustment_id.as_str())
            .arg(&*booking.content.0)
            .arg(&*booking.event_hash().0)
            .arg(&booking.event[..])
            .arg(booking.mode.as_str())
            .arg(date)
            .arg(deadline.milliseconds())
            .arg(self.core.settings.max_keys)
            .arg(MAX_WAITING)
            .arg(encoded.name)
            .arg(encoded.moves)
            .arg(MAX_HOLDINGS);
        let reply = self.core.query(command).await.and_then(Reply::of);
        let mut reply = self.core.noting(epoch, reply)?;
        Ok(match reply.verdict.as_str() {
            "booked" => Adjusted::Booked,
            "known" => Adjusted::Known(known(&mut reply)?),
            "moved_on" => Adjusted::MovedOn,
            "late" => Adjusted::Late,
            "full" => Adjusted::Full,
            "inexact" => Adjusted::Inexact,
            _ => return Err(reply.unexpected()),
        })
    }

    /// Returns what is known of an adjustment.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn adjustment(&self, adjustment_id: &AdjustmentId) -> Result<Option<KnownAdjustment>, StoreError> {
        let epoch = self.core.epoch()?;
        let command = ADJUSTMENT_READ.call(epoch, &[keys::meta(), keys::adjustment(adjustment_id)]);
        let reply = self.core.query(command).await.and_then(Reply::of);
        let mut reply = self.core.noting(epoch, reply)?;
        match reply.verdict.as_str() {
            "unknown" => Ok(None),
            "known" => known(&mut reply).map(Some),
            _ => Err(reply.unexpected()),
        }
    }

    /// Returns adjustments that have waited for the journal for longer than `past`, the longest waiting first.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn waiting_adjustments(&self, past: Duration) -> Result<Vec<AdjustmentId>, StoreError> {
        let epoch = self.core.epoch()?;
        let mut command = READY.call(epoch, &[keys::meta(), keys::adjustments()]);
        command
            .arg(u64::try_from(past.as_millis()).unwrap_or(u64::MAX))
            .arg(MAX_NAMES);
        let reply = self.core.query(command).await.and_then(Reply::of);
        let mut reply = self.core.noting(epoch, reply)?;
        let mut names = Vec::new();
        while reply.has_more() {
            let name = AdjustmentId::new(&reply.text()?);
            names.push(name.map_err(|_| corrupt("a set holds no adjustment id"))?);
        }
        Ok(names)
    }

    /// Marks an adjustment's event as being on the journal; tells whether it is the one that counts.
    ///
    /// # Errors
    /// Any [`StoreError`]; the adjustment then waits until somebody marks it.
    pub async fn mark_adjustment(
        &self,
        adjustment_id: &AdjustmentId,
        event: &[u8],
        sequence: u64,
    ) -> Result<MarkedAdjustment, StoreError> {
        let epoch = self.core.epoch()?;
        let keys = [keys::meta(), keys::adjustments(), keys::adjustment(adjustment_id)];
        let mut command = ADJUSTMENT_JOURNALED.call(epoch, &keys);
        command
            .arg(adjustment_id.as_str())
            .arg(&*ContentHash::of(event).0)
            .arg(sequence)
            .arg(retention_ms(self.core.settings.retention_h));
        let reply = self.core.query(command).await.and_then(Reply::of);
        let reply = self.core.noting(epoch, reply)?;
        match reply.verdict.as_str() {
            "marked" => Ok(MarkedAdjustment::Marked),
            "lost" => Ok(MarkedAdjustment::Lost),
            "void" => Ok(MarkedAdjustment::Void),
            _ => Err(reply.unexpected()),
        }
    }

    /// Applies an adjustment of the journal to a store that is being healed, or with `None` a late one to a store in
    /// use. Returns whether it changed the sums.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another healer has taken over.
    pub async fn replay_adjustment(
        &self,
        healing: Option<&Healing>,
        booking: &Booking,
        sequence: u64,
    ) -> Result<bool, StoreError> {
        let Some(healing) = healing else {
            let epoch = self.core.epoch()?;
            let replayed = self.replay_adjustment_in(&epoch.to_string(), booking, sequence).await;
            return self.core.noting(epoch, replayed);
        };
        self.replay_adjustment_in(&healing.epoch, booking, sequence).await
    }

    async fn replay_adjustment_in(&self, epoch: &str, booking: &Booking, sequence: u64) -> Result<bool, StoreError> {
        let encoded = booking.encode(KeyTable::new(vec![
            keys::meta(),
            keys::healing(),
            keys::adjustments(),
            keys::adjustment(&booking.adjustment_id),
            keys::sums_names(booking.mode),
        ]))?;
        let age_ms = u64::try_from(Timestamp::now().since(booking.made_at).as_millis()).unwrap_or(u64::MAX);
        let retention = retention_ms(self.core.settings.retention_h);
        let mut command = ADJUSTMENT_REPLAY.call(epoch, encoded.keys.keys());
        command
            .arg(HEALING_LOCK_MS)
            .arg(booking.adjustment_id.as_str())
            .arg(&*booking.content.0)
            .arg(&*booking.event_hash().0)
            .arg(&booking.event[..])
            .arg(sequence)
            .arg(retention.saturating_sub(age_ms).max(SHORTEST_TOMBSTONE_MS))
            .arg(encoded.name)
            .arg(encoded.moves);
        let changed: u64 = self.core.query(command).await.and_then(Reply::of)?.integer()?;
        Ok(changed > 0)
    }
}

fn known(reply: &mut Reply) -> Result<KnownAdjustment, StoreError> {
    let content = ContentHash(reply.text()?.into());
    let event = Bytes::from(reply.bytes()?);
    let sequence: u64 = reply.integer()?;
    Ok(KnownAdjustment {
        content,
        event,
        sequence: (sequence > 0).then_some(sequence),
    })
}
