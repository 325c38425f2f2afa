//! What operators measure of the shared state, in one look that changes nothing (`lua/figures.lua`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::id::BrokerId;
use crate::domain::money::Micros;
use crate::domain::order_terms::Mode;
use crate::domain::time::TradingDate;
use crate::store::connection::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::script::{MEASURE, ScriptReply, corrupt};

/// The most pairs of broker and account whose open orders one look counts: Redis serves nobody else meanwhile.
pub const MAX_OPEN_SETS: usize = 1_000;
/// Stands in the answer where there are more.
const TOO_MANY_SETS: &str = "many";

/// Figures of the shared state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreMeasurements {
    /// Orders with events that are not on the journal.
    pub outbox_orders: u64,
    /// How long the oldest of them has waited; nothing where there is none.
    pub outbox_age: Duration,
    /// Orders that are claimed or being sent.
    pub claimed_orders: u64,
    /// The highest sequence of the journal that was marked.
    pub journaled_sequence: u64,
    /// What has been routed on the day, over all accounts.
    pub notional_routed: Micros,
    /// Orders that stand in a broker's due set, by the brokers that were asked for.
    pub due_orders: BTreeMap<BrokerId, u64>,
    /// Open orders by broker; none where there are more than [`MAX_OPEN_SETS`] pairs of broker and account.
    pub open_orders: Option<BTreeMap<BrokerId, u64>>,
}

impl Store {
    /// Counts what the shared state holds, the due sets of these brokers and the notional of this day in it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn measure(
        &self,
        mode: Mode,
        date: TradingDate,
        brokers: &[BrokerId],
    ) -> Result<StoreMeasurements, StoreError> {
        let epoch = self.connection.epoch()?;
        let mut keys = vec![
            keys::meta(),
            keys::outbox(),
            keys::leases(),
            keys::open_order_sets(),
            keys::daily_totals(mode, date),
        ];
        keys.extend(brokers.iter().map(keys::due_orders));
        let mut command = MEASURE.evalsha_command(epoch, &keys);
        command.arg(keys::DAILY_NOTIONAL_FIELD).arg(MAX_OPEN_SETS);
        let reply = self.connection.query(command).await.and_then(ScriptReply::from_value);
        decode_measurements(self.connection.clear_epoch_if_stale(epoch, reply)?, brokers)
    }
}

fn decode_measurements(mut reply: ScriptReply, brokers: &[BrokerId]) -> Result<StoreMeasurements, StoreError> {
    if reply.verdict != "figures" {
        return Err(reply.unexpected_verdict());
    }
    let (outbox, age_ms, claimed, marked_sequence) = (
        reply.next_integer()?,
        reply.next_integer()?,
        reply.next_integer()?,
        reply.next_integer()?,
    );
    let notional_routed =
        Micros::new(reply.next_integer()?).ok_or_else(|| corrupt("a day's notional is out of range"))?;
    let mut due = BTreeMap::new();
    for broker in brokers {
        due.insert(broker.clone(), reply.next_integer()?);
    }
    let mut open = Some(BTreeMap::new());
    while reply.has_more() {
        let key = reply.next_text()?;
        if key == TOO_MANY_SETS {
            open = None;
            break;
        }
        let (broker, _) =
            keys::parse_open_orders(&key).ok_or_else(|| corrupt("the set of open sets holds no such key"))?;
        let count: u64 = reply.next_integer()?;
        if let Some(open) = &mut open {
            *open.entry(broker).or_default() += count;
        }
    }
    Ok(StoreMeasurements {
        outbox_orders: outbox,
        outbox_age: Duration::from_millis(age_ms),
        claimed_orders: claimed,
        journaled_sequence: marked_sequence,
        notional_routed,
        due_orders: due,
        open_orders: open,
    })
}
