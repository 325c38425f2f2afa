//! The suite every adapter has to pass, today's and later ones, over a double of its venue and over the real one.
//!
//! A [`Harness`] gives the suite an adapter, claimed orders and the power to break things; [`run`] makes a new one for
//! every numbered case. Cases about the moment an order is booked hold for adapters whose effects land in our store
//! ([`Effects::InStore`]); all others hold for every adapter.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use crate::brokers::adapter::{BrokerAdapter, BrokerCapabilities, Effects, Placement};
use crate::domain::id::OrderId;
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;
use crate::risk::Approved;

mod cancelling;
mod check;
mod due;
mod placing;
mod standing;

/// The suite is told by a harness that something could not be arranged; that fails the case.
pub type HarnessResult<T> = Result<T, String>;

/// What the suite needs of whoever runs it.
pub trait ConformanceHarness: Send + Sync {
    /// The adapter under test.
    type Adapter: BrokerAdapter;

    /// Returns the adapter.
    fn adapter(&self) -> &Self::Adapter;

    /// Claims a new order with these terms, as a worker does, of an instrument that the adapter trades. A limit price
    /// is another one than the reference price, and one that fills where the venue looks at prices.
    ///
    /// # Errors
    /// When it could not be claimed.
    fn claim_order(&self, terms: CaseTerms) -> impl Future<Output = HarnessResult<Approved<Placement>>> + Send;

    /// Claims a new order and has it stand open at the venue, whether or not the venue would have filled it. What the
    /// venue leaves open by itself stands as it left it, with what is due for it.
    ///
    /// # Errors
    /// When it could not be arranged.
    fn open_order(&self, terms: CaseTerms) -> impl Future<Output = HarnessResult<Order>> + Send;

    /// Returns an order as it stands now where its truth is: the store for paper, the venue otherwise.
    ///
    /// # Errors
    /// When it could not be read.
    fn read_order(&self, order_id: &OrderId) -> impl Future<Output = HarnessResult<Order>> + Send;

    /// Breaks the next call to the venue or its book.
    ///
    /// # Errors
    /// When it could not be arranged.
    fn inject_fault(&self, fault: VenueFault) -> impl Future<Output = HarnessResult<()>> + Send;

    /// Returns when the clocks of the adapter and of its venue have reached a moment.
    fn advance_clock_to(&self, at: Timestamp) -> impl Future<Output = ()> + Send;
}

/// The terms of an order the suite asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaseTerms {
    /// Buy or sell.
    pub side: Side,
    /// Market or limit.
    pub order_type: OrderType,
    /// How long it stands.
    pub time_in_force: TimeInForce,
    /// How much, in lots.
    pub lots: i64,
    /// Whether its deadline is still ahead when it is placed.
    pub deadline: PlacementDeadline,
    /// Whether the placement carries the order's lease.
    pub lease: PlacementLease,
}

/// Where a placement's deadline lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacementDeadline {
    /// Ahead.
    Ahead,
    /// Behind, by the store's clock.
    Passed,
}

/// Whose lease a placement carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacementLease {
    /// The order's.
    Held,
    /// One that is not the order's any more.
    Lost,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VenueFault {
    /// The venue or its book cannot be reached; nothing happens there.
    Unreachable,
    /// It happens, and the answer is lost.
    ReplyLost,
}

/// A case that an adapter did not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{case} ({title}): {detail}")]
pub struct ConformanceFailure {
    /// The case's number.
    pub case: &'static str,
    /// What the case asks for.
    pub title: &'static str,
    /// What happened instead.
    pub detail: String,
}

/// A case's verdict: what happened instead, where it failed.
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

/// Runs every case, each on a harness of its own, and returns the numbers of those that apply to the adapter.
///
/// # Errors
/// The first case that is not passed.
pub async fn run_suite<F, G, H>(new_harness: F) -> Result<Vec<&'static str>, ConformanceFailure>
where
    F: Fn() -> G,
    G: Future<Output = HarnessResult<H>>,
    H: ConformanceHarness,
{
    let mut passed = Vec::new();
    for case in cases::<H>() {
        let failure = |what| ConformanceFailure {
            case: case.id,
            title: case.title,
            detail: what,
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
    let groups = [placing::cases(), standing::cases(), cancelling::cases(), due::cases()];
    groups.into_iter().flatten()
}

fn applies_always(_: &BrokerCapabilities) -> bool {
    true
}

fn has_effects_in_store(capabilities: &BrokerCapabilities) -> bool {
    capabilities.effects == Effects::InStore
}

fn supports_time_in_force(capabilities: &BrokerCapabilities, time_in_force: TimeInForce) -> bool {
    capabilities.times_in_force.contains(&time_in_force)
}

/// Returns what was answered in place of what the case asks for.
fn unexpected_outcome<T>(expected: &str, actual: &impl Debug) -> Result<T, String> {
    Err(format!("asked for {expected}, and got {actual:?}"))
}

#[cfg(test)]
#[path = "conformance/conformance_tests.rs"]
mod tests;
