//! The suite that every adapter passes, against a test double of its venue and against the real venue.
//!
//! A [`ConformanceHarness`] provides the adapter, claimed orders, and faults; [`run_suite`] creates one for every numbered
//! case. Cases about the moment of booking apply to adapters with effects in the store ([`Effects::InStore`]), all others to
//! every adapter. [`under_faults`] runs the suite's scenarios at a venue that fails on purpose.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use crate::brokers::adapter::{BrokerAdapter, BrokerCapabilities, Effects, Placement};
use crate::domain::id::OrderId;
use crate::domain::leg::LegNumber;
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderType, Side, TimeInForce};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::replace::ReplaceTerms;
use crate::domain::time::Timestamp;
use crate::risk::{Approved, ApprovedUnderCaps};

mod admission;
mod assertions;
mod cancel;
mod due;
pub mod held_leg;
mod laws;
mod placement;
mod replace;
pub mod under_faults;

/// The error of a harness that could not arrange something; it fails the case.
pub type HarnessResult<T> = Result<T, String>;

/// The test bench of an adapter, which the suite runs against.
pub trait ConformanceHarness: Send + Sync {
    /// The adapter under test.
    type Adapter: BrokerAdapter;

    /// Returns the adapter.
    fn adapter(&self) -> &Self::Adapter;

    /// Claims a new order with these terms, as a worker does, of an instrument that the adapter trades. A limit price differs
    /// from the reference price, and is one at which the venue fills.
    ///
    /// # Errors
    /// When it could not be claimed.
    fn claim_order(&self, terms: CaseTerms) -> impl Future<Output = HarnessResult<Approved<Placement>>> + Send;

    /// Claims a new order and leaves it open at the venue, whether or not the venue would have filled it. What the venue
    /// leaves open by itself keeps its due effects.
    ///
    /// # Errors
    /// When it could not be arranged.
    fn open_order(&self, terms: CaseTerms) -> impl Future<Output = HarnessResult<Order>> + Send;

    /// Returns the current order from the store for a paper venue, else from the venue.
    ///
    /// # Errors
    /// When it could not be read.
    fn read_order(&self, order_id: &OrderId) -> impl Future<Output = HarnessResult<Order>> + Send;

    /// Injects a fault into the next call to the venue or its book.
    ///
    /// # Errors
    /// When it could not be arranged.
    fn inject_fault(&self, fault: VenueFault) -> impl Future<Output = HarnessResult<()>> + Send;

    /// Returns an order under new terms as the rules let it pass, for a venue whose effects are in the store to plan.
    ///
    /// # Errors
    /// When it could not be arranged, or the venue's effects are not in the store.
    fn approve_terms(
        &self,
        order: &Order,
        terms: &ReplaceTerms,
    ) -> impl Future<Output = HarnessResult<ApprovedUnderCaps<Placement>>> + Send;

    /// Returns what a venue outside the store has open of an order: nothing, or one leg.
    ///
    /// # Errors
    /// When it could not be read, or the venue's effects are in the store.
    fn open_legs(&self, order_id: &OrderId) -> impl Future<Output = HarnessResult<Vec<VenueLeg>>> + Send;

    /// Returns once the clocks of the adapter and of its venue have reached a moment.
    fn advance_clock_to(&self, at: Timestamp) -> impl Future<Output = ()> + Send;
}

/// The terms of an order that a case needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaseTerms {
    /// Buy or sell.
    pub side: Side,
    /// Market or limit.
    pub order_type: OrderType,
    /// The time in force.
    pub time_in_force: TimeInForce,
    /// The quantity, in lots.
    pub lots: i64,
    /// Whether the deadline is ahead when the order is placed.
    pub deadline: PlacementDeadline,
    /// Whether the placement carries the order's lease.
    pub lease: PlacementLease,
}

/// A leg that a venue has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VenueLeg {
    /// The leg.
    pub leg: LegNumber,
    /// Its limit price.
    pub price: Price,
    /// Its own quantity.
    pub quantity: Quantity,
}

/// Where a placement's deadline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacementDeadline {
    /// Ahead.
    Ahead,
    /// Passed, by the store's clock.
    Passed,
}

/// The lease that a placement carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacementLease {
    /// The order's lease.
    Held,
    /// A lease that the order no longer has.
    Lost,
}

/// A fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VenueFault {
    /// The venue or its book is unreachable; nothing happens there.
    Unreachable,
    /// The call takes effect, and the reply is lost.
    ReplyLost,
}

/// A case that an adapter failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{case} ({title}): {detail}")]
pub struct ConformanceFailure {
    /// The case's number.
    pub case: &'static str,
    /// What the case requires.
    pub title: &'static str,
    /// What happened instead.
    pub detail: String,
}

/// A case's verdict; the error says what happened instead.
type CaseVerdict = Result<(), String>;
type CaseFuture<'a> = Pin<Box<dyn Future<Output = CaseVerdict> + Send + 'a>>;

/// One numbered case.
struct ConformanceCase<H> {
    id: &'static str,
    title: &'static str,
    applies: fn(&BrokerCapabilities) -> bool,
    check: for<'a> fn(&'a H) -> CaseFuture<'a>,
}

impl CaseTerms {
    /// Returns the terms of a buy with its deadline ahead and its lease held.
    pub fn buy(order_type: OrderType, time_in_force: TimeInForce, lots: i64) -> Self {
        Self {
            side: Side::Buy,
            order_type,
            time_in_force,
            lots,
            deadline: PlacementDeadline::Ahead,
            lease: PlacementLease::Held,
        }
    }
}

/// Runs every case, each with a harness of its own, and returns the numbers of those that apply to the adapter.
///
/// # Errors
/// The first case that fails.
pub async fn run_suite<F, G, H>(new_harness: F) -> Result<Vec<&'static str>, ConformanceFailure>
where
    F: Fn() -> G,
    G: Future<Output = HarnessResult<H>>,
    H: ConformanceHarness,
{
    let mut passed = Vec::new();
    for case in cases::<H>() {
        let failure = |detail| ConformanceFailure {
            case: case.id,
            title: case.title,
            detail,
        };
        let harness = new_harness().await.map_err(failure)?;
        if (case.applies)(harness.adapter().capabilities()) {
            (case.check)(&harness).await.map_err(failure)?;
            passed.push(case.id);
        }
    }
    Ok(passed)
}

fn cases<H: ConformanceHarness>() -> impl Iterator<Item = ConformanceCase<H>> {
    let groups = [
        placement::cases(),
        admission::cases(),
        cancel::cases(),
        due::cases(),
        replace::cases(),
    ];
    groups.into_iter().flatten()
}

fn applies_always(_: &BrokerCapabilities) -> bool {
    true
}

fn has_effects_in_store(capabilities: &BrokerCapabilities) -> bool {
    capabilities.effects == Effects::InStore
}

fn has_effects_at_venue(capabilities: &BrokerCapabilities) -> bool {
    capabilities.effects == Effects::AtVenue
}

fn supports_time_in_force(capabilities: &BrokerCapabilities, time_in_force: TimeInForce) -> bool {
    capabilities.times_in_force.contains(&time_in_force)
}

/// Returns the error of an outcome other than the expected one.
fn unexpected_outcome<T>(expected: &str, actual: &impl Debug) -> Result<T, String> {
    Err(format!("expected {expected}, got {actual:?}"))
}

#[cfg(test)]
#[path = "conformance/conformance_tests.rs"]
mod tests;
