//! What operators measure of the store, in one script call that changes nothing (`lua/figures.lua`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::id::BrokerId;
use crate::domain::money::Micros;
use crate::domain::order_terms::Mode;
use crate::domain::time::TradingDate;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::MAX_OPEN_SETS;
use crate::store::script::{MEASURE, ScriptReply};

/// Replaces the list of open sets where there are more than [`MAX_OPEN_SETS`].
const TOO_MANY_SETS: &str = "many";

/// Measurements of the store at one moment.
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
        call.arg(date.days_since_1970()).arg(MAX_OPEN_SETS);
        decode_measurements(self.connection.run(call).await?, brokers)
    }
}

fn decode_measurements(mut reply: ScriptReply, brokers: &[BrokerId]) -> Result<StoreMeasurements, StoreError> {
    if reply.verdict != "figures" {
        return Err(reply.unexpected_verdict());
    }
    Ok(StoreMeasurements {
        outbox_orders: reply.next_integer()?,
        outbox_age: Duration::from_millis(reply.next_integer()?),
        claimed_orders: reply.next_integer()?,
        journaled_sequence: reply.next_integer()?,
        notional_routed: Micros::new(reply.next_integer()?)
            .ok_or_else(|| StoreError::corrupt("a day's routed notional is out of range"))?,
        due_orders: (brokers.iter())
            .map(|broker| Ok((broker.clone(), reply.next_integer()?)))
            .collect::<Result<_, StoreError>>()?,
        open_orders: decode_open_orders(&mut reply)?,
    })
}

fn decode_open_orders(reply: &mut ScriptReply) -> Result<Option<BTreeMap<BrokerId, u64>>, StoreError> {
    let mut open = BTreeMap::new();
    while reply.has_more() {
        let key = reply.next_text()?;
        if key == TOO_MANY_SETS {
            return Ok(None);
        }
        let (broker, _) = keys::parse_open_orders(&key)?;
        *open.entry(broker).or_default() += reply.next_integer::<u64>()?;
    }
    Ok(Some(open))
}
