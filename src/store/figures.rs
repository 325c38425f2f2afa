//! What operators measure of the shared state, in one look that changes nothing (`lua/figures.lua`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::connection::Store;
use super::error::StoreError;
use super::keys;
use super::script::{FIGURES, Reply, corrupt};
use crate::domain::id::BrokerId;
use crate::domain::money::Micros;
use crate::domain::terms::Mode;
use crate::domain::time::TradingDate;

/// The most pairs of broker and account whose open orders one look counts: Redis serves nobody else meanwhile.
pub const MAX_OPEN_SETS: usize = 1_000;
/// Stands in the answer where there are more.
const MANY: &str = "many";

/// Figures of the shared state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Orders with events that are not on the journal.
    pub outbox: u64,
    /// How long the oldest of them has waited; nothing where there is none.
    pub outbox_age: Duration,
    /// Orders that are claimed or being sent.
    pub claimed: u64,
    /// The highest sequence of the journal that was marked.
    pub marked_sequence: u64,
    /// What has been routed on the day, over all accounts.
    pub notional_routed: Micros,
    /// Orders that stand in a broker's due set, by the brokers that were asked for.
    pub due: BTreeMap<BrokerId, u64>,
    /// Open orders by broker; none where there are more than [`MAX_OPEN_SETS`] pairs of broker and account.
    pub open: Option<BTreeMap<BrokerId, u64>>,
}

impl Store {
    /// Counts what the shared state holds, the due sets of these brokers and the notional of this day in it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn figures(&self, mode: Mode, date: TradingDate, due_of: &[BrokerId]) -> Result<Figures, StoreError> {
        let epoch = self.core.epoch()?;
        let mut keys = vec![
            keys::meta(),
            keys::outbox(),
            keys::leases(),
            keys::open_sets(),
            keys::day(mode, date),
        ];
        keys.extend(due_of.iter().map(keys::due));
        let mut command = FIGURES.call(epoch, &keys);
        command.arg(keys::DAILY_NOTIONAL).arg(MAX_OPEN_SETS);
        let reply = self.core.query(command).await.and_then(Reply::of);
        decode(self.core.noting(epoch, reply)?, due_of)
    }
}

fn decode(mut reply: Reply, due_of: &[BrokerId]) -> Result<Figures, StoreError> {
    if reply.verdict != "figures" {
        return Err(reply.unexpected());
    }
    let (outbox, age_ms, claimed, marked_sequence) =
        (reply.integer()?, reply.integer()?, reply.integer()?, reply.integer()?);
    let notional_routed = Micros::new(reply.integer()?).ok_or_else(|| corrupt("a day's notional is out of range"))?;
    let mut due = BTreeMap::new();
    for broker in due_of {
        due.insert(broker.clone(), reply.integer()?);
    }
    let mut open = Some(BTreeMap::new());
    while reply.has_more() {
        let key = reply.text()?;
        if key == MANY {
            open = None;
            break;
        }
        let (broker, _) = keys::parse_open(&key).ok_or_else(|| corrupt("the set of open sets holds no such key"))?;
        let count: u64 = reply.integer()?;
        if let Some(open) = &mut open {
            *open.entry(broker).or_default() += count;
        }
    }
    Ok(Figures {
        outbox,
        outbox_age: Duration::from_millis(age_ms),
        claimed,
        marked_sequence,
        notional_routed,
        due,
        open,
    })
}
