//! Claiming an order id and reserving the shared sums: the request and its outcome.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::content_hash::ContentDigest;
use crate::domain::id::{AccountId, BrokerId, LeaseToken, OrderId};
use crate::domain::order::Order;
use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::Side;
use crate::domain::quantity::QuantityUnits;
use crate::domain::settlement::{SumDeltas, SumScope};
use crate::domain::time::{Timestamp, TradingDate};
use crate::risk::limits::{AlertThresholds, DuplicateOrderRule, RateLimits};
use crate::risk::{Cap, CapReadings};
use crate::store::orders::record::KnownOrder;
use crate::store::orders::settle::{BookedSettlement, LossWatch};

/// The greatest age, when an order is claimed, of the view that it was evaluated by, in milliseconds by Redis' clock. A
/// worker that was suspended in between evaluates the order again.
pub const MAX_EVALUATION_AGE_MS: i64 = 250;

/// Reads what is known of an id and, where nothing is, evaluates, claims or denies its order.
#[derive(Debug, Clone)]
pub struct ReserveRequest {
    /// The idempotency key.
    pub key: OrderKey,
    /// The account.
    pub account_id: AccountId,
    /// The router's id for the order, if it is new.
    pub order_id: OrderId,
    /// What the order's content is recognised by.
    pub content: ContentDigest,
    /// What to do if the order is new.
    pub action: ReserveAction,
}

/// What to do with an unknown id.
#[derive(Debug, Clone)]
pub enum ReserveAction {
    /// Evaluate the order against the shared sums, and claim it where the check includes a claim.
    Evaluate(Box<ReservationCheck>),
    /// Only report whether the id is known.
    Lookup,
    /// Record a denial or a dry run as the id's final outcome.
    RecordDecision {
        /// Its journal document.
        document: Vec<u8>,
        /// The most denials of the account that are recorded within an hour; `None` for a decision that does not count.
        max_denials_per_hour: Option<i64>,
    },
}

/// What an order is checked against in the store.
#[derive(Debug, Clone)]
pub struct ReservationCheck {
    /// The shared sums that the order belongs to.
    pub scope: SumScope,
    /// The broker, whose open orders it joins.
    pub broker: BrokerId,
    /// Its side.
    pub side: Side,
    /// Its quantity in units of 1e-8.
    pub quantity: QuantityUnits,
    /// The generation of the control state that it was evaluated by.
    pub control_generation: u64,
    /// When the measurements were taken that it was evaluated by, in milliseconds since 1970 by Redis' clock.
    pub evaluated_at_ms: i64,
    /// The caps.
    pub caps: Vec<Cap>,
    /// The levels from which rules alert.
    pub alert_levels: AlertThresholds,
    /// How many orders the account and the broker may have in a second.
    pub rate_limits: RateLimits,
    /// The rule on duplicates and the terms that duplicates share; `None` where the rule is off.
    pub duplicate_check: Option<(DuplicateOrderRule, String)>,
    /// Whether the order counts towards the rates: a dry run does not, and changes nothing.
    pub is_counted: bool,
    /// The claim; `None` to read the sums only.
    pub claim: Option<ClaimRequest>,
}

/// How an order is claimed.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Claims the order only if it is a reduction.
    pub reductions_only: bool,
    /// How far the order moves the shared sums.
    pub deltas: SumDeltas,
    /// What follows the claim.
    pub step: ClaimStep,
}

/// What follows a claim.
#[derive(Debug, Clone)]
pub enum ClaimStep {
    /// The order is sent by the holder of a lease.
    Lease {
        /// The lease it is claimed under.
        lease: LeaseToken,
        /// The order's document, for the worker that takes over an expired lease.
        document: Vec<u8>,
    },
    /// The effect is booked in the same step: the first one of an order whose venue is the store, or new terms of an order
    /// that is open.
    Effect(Arc<ImmediateEffect>),
}

/// An effect that is booked where its caps hold. From version 2 on it changes the terms of an order that is open, at the
/// version before.
#[derive(Debug, Clone)]
pub struct ImmediateEffect {
    /// The order after the effect.
    pub order: Order,
    /// The event's journal document, without the readings.
    pub document: Bytes,
    /// Where the script inserts the readings into the document, in bytes.
    pub readings_at: usize,
    /// The trading day that its fills count for.
    pub booked_on: TradingDate,
    /// The losses to compare with their limits.
    pub watch: Option<LossWatch>,
    /// Whether its fills may only reduce the position.
    pub only_reduces: bool,
    /// The moment from which the effect is no longer booked, by Redis' clock.
    pub deadline: Timestamp,
    /// The settlement's own id, by which a repeated request is recognised.
    pub settlement_id: Uuid,
    /// A moment before the effect was booked.
    pub prepared_at: Instant,
}

/// The result of a [`ReserveRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReserveOutcome {
    /// The id is known.
    AlreadyKnown(KnownOrder),
    /// The control state has this generation, or the measurements are too old: the order has to be evaluated again.
    GenerationChanged(u64),
    /// The order is claimed.
    Claimed(CapReadings),
    /// The order is claimed, and its effect is booked. Holds the losses that have reached their limits by it.
    Booked(CapReadings, BookedSettlement),
    /// Another effect of the order came first, or the order is not open: it has to be read again.
    Superseded,
    /// This very effect was booked by an earlier request whose reply was lost.
    BookedBefore,
    /// The fill of an order that only reduces would take the position through zero; holds the position, in units of 1e-8.
    CrossesZero(QuantityUnits),
    /// The deadline of an effect has passed.
    DeadlinePassed,
    /// Trading is halted.
    Halted,
    /// A limit leaves no room for the order; nothing was reserved.
    LimitExceeded(CapReadings),
    /// The id is unknown; nothing was reserved.
    Probed(CapReadings),
    /// The denial is recorded.
    DenialRecorded,
    /// The account has had its denials of this hour; nothing is recorded.
    DenialBudgetUsed,
    /// The store remembers as many ids, holds as many bytes, or has as many orders that wait for the journal as it may.
    StoreFull,
    /// A sum would leave the range that is counted exactly.
    SumOutOfRange,
}
