//! What operators measure of the store: figures of one moment (`lua/figures.lua`), and the open orders, counted in pages.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::id::{AccountId, BrokerId};
use crate::domain::money::Micros;
use crate::domain::order_terms::Mode;
use crate::domain::time::TradingDate;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::MAX_OPEN_SETS;
use crate::store::orders::open::ScanCursor;
use crate::store::script::{MEASURE, ScriptReply};

/// Measurements of the store at one moment, but for the open orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreMeasurements {
    /// Orders with events that are not known to be journaled.
    pub outbox_orders: u64,
    /// How long the oldest of them has waited; zero where there is none.
    pub outbox_age: Duration,
    /// Orders that are claimed or being sent.
    pub claimed_orders: u64,
    /// The highest journal sequence that was marked as journaled.
    pub journaled_sequence: u64,
    /// The notional routed on the day, over all accounts.
    pub notional_routed: Micros,
    /// The size of the due set of each requested broker.
    pub due_orders: BTreeMap<BrokerId, u64>,
    /// Open orders by broker; `None` where more than [`MAX_OPEN_SETS`] pairs of broker and account have any.
    pub open_orders: Option<BTreeMap<BrokerId, u64>>,
}

impl Store {
    /// Measures the store: its queues, the due sets of these brokers, and the notional routed on this day in this mode.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn measure(
        &self,
        mode: Mode,
        date: TradingDate,
        brokers: &[BrokerId],
    ) -> Result<StoreMeasurements, StoreError> {
        let mut keys = vec![
            keys::meta(),
            keys::outbox(),
            keys::leases(),
            keys::open_order_sets(),
            keys::total_ledger(mode),
        ];
        keys.extend(brokers.iter().map(keys::due_orders));
        let mut call = self.connection.script_call(&MEASURE, None, &keys)?;
        call.arg(date.days_since_1970());
        let (mut measurements, open_sets) = decode_measurements(self.connection.run(call).await?, brokers)?;
        if open_sets <= MAX_OPEN_SETS {
            measurements.open_orders = Some(self.count_open_orders_by_broker().await?);
        }
        Ok(measurements)
    }

    async fn count_open_orders_by_broker(&self) -> Result<BTreeMap<BrokerId, u64>, StoreError> {
        let (mut accounts, mut cursor) = (BTreeSet::new(), Some(ScanCursor::start()));
        while let Some(page_cursor) = cursor {
            let page = self.scan_open_accounts(&page_cursor).await?;
            if let Some(key) = page.unreadable.first() {
                return Err(StoreError::corrupt(format!("{key:?} is no set of open orders")));
            }
            accounts.extend(page.members);
            cursor = page.next;
        }
        let accounts: Vec<(BrokerId, AccountId)> = accounts.into_iter().collect();
        let mut open = BTreeMap::new();
        for ((broker, _), count) in accounts.iter().zip(self.count_open_orders(&accounts).await?) {
            *open.entry(broker.clone()).or_default() += count;
        }
        Ok(open)
    }
}

/// Returns the measurements without the open orders, and how many pairs of broker and account have any.
fn decode_measurements(mut reply: ScriptReply, brokers: &[BrokerId]) -> Result<(StoreMeasurements, usize), StoreError> {
    if reply.verdict != "figures" {
        return Err(reply.unexpected_verdict());
    }
    let mut measurements = StoreMeasurements {
        outbox_orders: reply.next_integer()?,
        outbox_age: Duration::from_millis(reply.next_integer()?),
        claimed_orders: reply.next_integer()?,
        journaled_sequence: reply.next_integer()?,
        notional_routed: Micros::new(reply.next_integer()?)
            .ok_or_else(|| StoreError::corrupt("a day's routed notional is out of range"))?,
        due_orders: BTreeMap::new(),
        open_orders: None,
    };
    let open_sets = reply.next_integer()?;
    for broker in brokers {
        measurements.due_orders.insert(broker.clone(), reply.next_integer()?);
    }
    Ok((measurements, open_sets))
}
