//! Finding what waits for a worker (`lua/ready.lua`).

use std::time::Duration;

use crate::domain::id::BrokerId;
use crate::domain::order_key::OrderKey;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::MAX_WAITING_ORDERS;
use crate::store::retention::saturating_ms;
use crate::store::script::READ_WAITING;

/// A queue of orders that wait for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkQueue {
    /// Claimed orders whose lease has ended.
    ExpiredLeases,
    /// Settled orders with events that are not known to be journaled.
    Outbox,
    /// Orders of a broker with a due effect: paper orders at their next moment, unknown ones at their next inquiry.
    Due(BrokerId),
}

/// A page of what waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting<T> {
    /// The members of the queue, the longest waiting first.
    pub members: Vec<T>,
    /// Members of the page that this version cannot read. They stay in the queue.
    pub unreadable: Vec<String>,
    /// Whether more may follow this page.
    pub has_more: bool,
}

impl Store {
    /// Returns the orders that have waited in a queue for at least `min_wait`, the longest waiting first, at most
    /// [`MAX_WAITING_ORDERS`] after the first `skip`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_waiting_orders(
        &self,
        queue: &WorkQueue,
        min_wait: Duration,
        skip: usize,
    ) -> Result<Waiting<OrderKey>, StoreError> {
        let set = match queue {
            WorkQueue::ExpiredLeases => keys::leases(),
            WorkQueue::Outbox => keys::outbox(),
            WorkQueue::Due(broker) => keys::due_orders(broker),
        };
        self.read_waiting(set, min_wait, (skip, MAX_WAITING_ORDERS), OrderKey::parse)
            .await
    }

    /// Returns the readable members of a sorted set whose moment has passed by `min_wait`, the first `skip` left out.
    pub(in crate::store) async fn read_waiting<T>(
        &self,
        set: String,
        min_wait: Duration,
        (skip, limit): (usize, usize),
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Waiting<T>, StoreError> {
        let mut call = self.connection.script_call(&READ_WAITING, None, &[keys::meta(), set])?;
        call.arg(saturating_ms(min_wait)).arg(skip).arg(limit);
        let mut reply = self.connection.run(call).await?;
        let mut waiting = Waiting {
            members: Vec::new(),
            unreadable: Vec::new(),
            has_more: false,
        };
        while reply.has_more() {
            let member = reply.next_text()?;
            match parse(&member) {
                Some(parsed) => waiting.members.push(parsed),
                None => waiting.unreadable.push(member),
            }
        }
        waiting.has_more = waiting.members.len() + waiting.unreadable.len() >= limit;
        Ok(waiting)
    }
}
