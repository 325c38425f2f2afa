//! The suite every adapter has to pass, today's and later ones, over a double of its venue and over the real one.
//!
//! A [`Harness`] gives the suite an adapter, claimed orders and the power to break things; [`run`] makes a new one for
//! every numbered case. Cases about the moment an order is booked hold for adapters whose effects land in our store
//! ([`Effects::InStore`]); all others hold for every adapter.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use super::adapter::{Adapter, Capabilities, Effects, Placement};
use crate::domain::id::OrderId;
use crate::domain::order::Order;
use crate::domain::terms::{OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;
use crate::risk::Approved;

mod cancelling;
mod check;
mod due;
mod placing;
mod standing;

/// The suite is told by a harness that something could not be arranged; that fails the case.
pub type Arranged<T> = Result<T, String>;

/// What the suite needs of whoever runs it.
pub trait Harness: Send + Sync {
    /// The adapter under test.
    type Adapter: Adapter;

    /// Returns the adapter.
    fn adapter(&self) -> &Self::Adapter;

    /// Claims a new order with these terms, as a worker does, of an instrument that the adapter trades. A limit price
    /// is another one than the reference price, and one that fills where the venue looks at prices.
    ///
    /// # Errors
    /// When it could not be claimed.
    fn claim(&self, terms: Terms) -> impl Future<Output = Arranged<Approved<Placement>>> + Send;

    /// Claims a new order and has it stand open at the venue, whether or not the venue would have filled it. What the
    /// venue leaves open by itself stands as it left it, with what is due for it.
    ///
    /// # Errors
    /// When it could not be arranged.
    fn open(&self, terms: Terms) -> impl Future<Output = Arranged<Order>> + Send;

    /// Returns an order as it stands now where its truth is: the store for paper, the venue otherwise.
    ///
    /// # Errors
    /// When it could not be read.
    fn order(&self, order_id: &OrderId) -> impl Future<Output = Arranged<Order>> + Send;

    /// Breaks the next call to the venue or its book.
    ///
    /// # Errors
    /// When it could not be arranged.
    fn break_next(&self, trouble: Trouble) -> impl Future<Output = Arranged<()>> + Send;

    /// Returns when the clocks of the adapter and of its venue have reached a moment.
    fn reach(&self, at: Timestamp) -> impl Future<Output = ()> + Send;
}

/// The terms of an order the suite asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Buy or sell.
    pub side: Side,
    /// Market or limit.
    pub order_type: OrderType,
    /// How long it stands.
    pub time_in_force: TimeInForce,
    /// How much, in lots.
    pub lots: i64,
    /// Whether its deadline is still ahead when it is placed.
    pub deadline: Deadline,
    /// Whether the placement carries the order's lease.
    pub lease: Lease,
}

/// Where a placement's deadline lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Ahead.
    Ahead,
    /// Behind, by the store's clock.
    Passed,
}

/// Whose lease a placement carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// The order's.
    Held,
    /// One that is not the order's any more.
    Lost,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The venue or its book cannot be reached; nothing happens there.
    Unreachable,
    /// It happens, and the answer is lost.
    AnswerLost,
}

/// A case that an adapter did not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{case} ({title}): {what}")]
pub struct ConformanceFailure {
    /// The case's number.
    pub case: &'static str,
    /// What the case asks for.
    pub title: &'static str,
    /// What happened instead.
    pub what: String,
}

/// A case's verdict: what happened instead, where it failed.
type Verdict = Result<(), String>;
type Judged<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// One numbered case.
struct Case<H> {
    id: &'static str,
    title: &'static str,
    applies: fn(&Capabilities) -> bool,
    check: for<'a> fn(&'a H) -> Judged<'a>,
}

impl Terms {
    /// Returns the terms of a buy with its deadline ahead and its lease held.
    pub fn buy(order_type: OrderType, time_in_force: TimeInForce, lots: i64) -> Self {
        Self {
            side: Side::Buy,
            order_type,
            time_in_force,
            lots,
            deadline: Deadline::Ahead,
            lease: Lease::Held,
        }
    }
}

/// Runs every case, each on a harness of its own, and returns the numbers of those that apply to the adapter.
///
/// # Errors
/// The first case that is not passed.
pub async fn run<F, G, H>(make: F) -> Result<Vec<&'static str>, ConformanceFailure>
where
    F: Fn() -> G,
    G: Future<Output = Arranged<H>>,
    H: Harness,
{
    let mut passed = Vec::new();
    for case in cases::<H>() {
        let failure = |what| ConformanceFailure {
            case: case.id,
            title: case.title,
            what,
        };
        let harness = make().await.map_err(failure)?;
        if (case.applies)(harness.adapter().capabilities()) {
            (case.check)(&harness).await.map_err(failure)?;
            passed.push(case.id);
        }
    }
    Ok(passed)
}

fn cases<H: Harness>() -> impl Iterator<Item = Case<H>> {
    let groups = [placing::cases(), standing::cases(), cancelling::cases(), due::cases()];
    groups.into_iter().flatten()
}

fn always(_: &Capabilities) -> bool {
    true
}

fn in_store(capabilities: &Capabilities) -> bool {
    capabilities.effects == Effects::InStore
}

fn takes(capabilities: &Capabilities, time_in_force: TimeInForce) -> bool {
    capabilities.times_in_force.contains(&time_in_force)
}

/// Returns what was answered in place of what the case asks for.
fn unexpected<T>(asked: &str, answer: &impl Debug) -> Result<T, String> {
    Err(format!("asked for {asked}, and got {answer:?}"))
}

#[cfg(test)]
#[path = "conformance/conformance_tests.rs"]
mod tests;
