//! Every Redis key, with its type, unit and time to live. No key is spelled anywhere else.
//!
//! All keys share one hash tag, so that a script may touch them together on a Redis Cluster: one cell is one shard.
//!
//! | key | type | holds | lives |
//! |---|---|---|---|
//! | `meta` | hash | `epoch`, `journal_sequence` (the highest appended sequence that was marked), `journal_created`, `late_from` and `late_until` (events of the epoch before, ms), `latch_sequence` (up to which the journal's latches are applied) | for ever |
//! | `state` | hash | `generation`; `version`, `mode`, `trading_state`, `daily_notional_limit`, `daily_loss_limit` (1e-6), `doc` (journal event), `journaled` (version); `trading_date` | for ever |
//! | `order:<name>` | hash | `st` stage, `h` content hash, `o` order id, `v` version, `jv` journaled version, `seq` its journal sequence, `tok` lease, `sid` last settlement, `fs` journal sequence of its first report, `doc` latest document, `p:<v>` superseded documents not journaled yet; of an order that a venue may have: `sq` sequence of its last submission or release, `req` its request's timestamp, `net` what it reserves, `sent` when (ms), `asked` and `missed` how often its venue was asked and did not have it | ended or released: the retention |
//! | `index:<order id>` | string | the order's name | ended: the retention |
//! | `sums:<mode>:<account>:<venue>:<symbol>` | hash | `long`, `short`, `position` (lots), `cash_flow`, `fees` (1e-6), `base_fees` (1e-8 of the base asset), `open_orders`; `alert:<rule>` (ms of the last alert, Redis' clock) | for ever |
//! | `sums:<mode>:<account>:_:CASH` | hash | `cash_flow`: deposits less withdrawals (1e-6); an instrument without a position | for ever |
//! | `sums_names:<mode>` | set | `<account>:<venue>:<symbol>` of every hash of sums | for ever |
//! | `account:<mode>:<account>` | hash | `open_loss` (1e-6); `alert:<rule>` | for ever |
//! | `totals:<mode>` | hash | `open_loss` (1e-6); `alert:<rule>` | for ever |
//! | `adjustment:<id>` | hash | `h` content hash, `e` hash of the event, `doc` journal event, `seq` its journal sequence or 0 | journaled: the retention |
//! | `adjustments` | sorted set | ids of adjustments whose event is not on the journal, by their booking (ms) | until journaled |
//! | `day:<mode>:<date>` | hash | `daily_notional` (1e-6); `alert:<rule>` | 8 days |
//! | `day:<mode>:<date>:<account>` | hash | `daily_notional` (1e-6); `alert:<rule>` | 8 days |
//! | `day_start:<mode>:<date>` | hash | what each account was worth at the day's start (1e-6) by its id; `~` what all together were worth beyond the sum of these, or `?`; `?<account>` where an account's worth was not known. Deposits and withdrawals are no part of it | its day and 8 more |
//! | `latches` | hash | the document (journal event) of each latch by its id | until lifted |
//! | `latches_waiting` | hash | those documents that are not on the journal, by the latch's id | until journaled |
//! | `{or-cache}:quotes` | hash | the newest quote (JSON) by its subject; a cache | for ever |
//! | `rate:<mode>:account:<account>`, `rate:<mode>:broker:<broker>` | hash | `second` (Redis' clock), `count` of new orders in it | 2 s |
//! | `cancels:account:<account>`, `cancels:broker:<broker>` | hash | the same of cancels | 2 s |
//! | `duplicate:<mode>:<terms>` | string | the name of the last order with these terms | the rule's window |
//! | `leases` | sorted set | names of orders that are claimed or being sent by the end of their lease (ms, Redis' clock) | while claimed |
//! | `outbox` | sorted set | names of orders with events not on the journal, by the first settlement (ms) | until journaled |
//! | `due:<broker>` | sorted set | names of paper orders by their next moment, of unknown ones by the next question to their venue (ms) | while due |
//! | `open:<broker>:<account>` | set | names of orders that have not ended | while open |
//! | `open_sets` | set | the key of every `open:<broker>:<account>` there is | while one is open |
//! | `healing` | string | the healer's token | its lock, 30 s |

use crate::domain::id::{AccountId, AdjustmentId, BrokerId, ClientOrderId, OrderId};
use crate::domain::order::Order;
use crate::domain::order_terms::Mode;
use crate::domain::settlement::{SharedSum, SumScope};
use crate::domain::time::TradingDate;

macro_rules! key {
    ($($part:tt)+) => { format!("{{or}}:{}", format_args!($($part)+)) };
}

/// How long the counters of a day stay after it, in days: give-backs of orders older than that are not counted anew.
pub const DAY_COUNTER_RETENTION_DAYS: i64 = 8;

/// What identifies an order in the store: its idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OrderKey {
    id_space: ClientIdSpace,
    account_id: AccountId,
    client_order_id: ClientOrderId,
}

/// Dry runs use up ids of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ClientIdSpace {
    Routed,
    DryRun,
}

impl OrderKey {
    /// Returns the key of an id in the space its mode belongs to.
    pub fn new(mode: Mode, account_id: &AccountId, client_order_id: &ClientOrderId) -> Self {
        let space = if mode == Mode::DryRun {
            ClientIdSpace::DryRun
        } else {
            ClientIdSpace::Routed
        };
        Self {
            id_space: space,
            account_id: account_id.clone(),
            client_order_id: client_order_id.clone(),
        }
    }

    /// Returns the key of an order.
    pub fn of(order: &Order) -> Self {
        Self::new(order.mode, &order.account_id, &order.client_order_id)
    }

    /// Returns the name the order has in sets: `<space>:<account>:<client order id>`.
    pub fn name(&self) -> String {
        let space = match self.id_space {
            ClientIdSpace::Routed => 'r',
            ClientIdSpace::DryRun => 'd',
        };
        format!("{space}:{}:{}", self.account_id, self.client_order_id)
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.splitn(3, ':');
        let space = match parts.next()? {
            "r" => ClientIdSpace::Routed,
            "d" => ClientIdSpace::DryRun,
            _ => return None,
        };
        let account_id = AccountId::new(parts.next()?).ok()?;
        let client_order_id = ClientOrderId::new(parts.next()?).ok()?;
        Some(Self {
            id_space: space,
            account_id,
            client_order_id,
        })
    }

    /// Returns the account.
    pub fn account_id(&self) -> &AccountId {
        &self.account_id
    }

    /// Returns the caller's id.
    pub fn client_order_id(&self) -> &ClientOrderId {
        &self.client_order_id
    }

    pub(super) fn record_key(&self) -> String {
        key!("order:{}", self.name())
    }
}

pub(super) fn meta() -> String {
    key!("meta")
}

pub(super) fn operator_state() -> String {
    key!("state")
}

/// The start of a day: see the table for its fields.
pub(super) fn day_start(mode: Mode, date: TradingDate) -> String {
    key!("day_start:{mode}:{date}")
}

pub(super) fn locks() -> String {
    key!("latches")
}

pub(super) fn unjournaled_locks() -> String {
    key!("latches_waiting")
}

/// The newest quote of each instrument. It stands apart from all other keys: that it is there must not make an emptied
/// store look like one that still holds orders.
pub(super) fn cached_quotes() -> String {
    "{or-cache}:quotes".to_owned()
}

pub(super) fn leases() -> String {
    key!("leases")
}

pub(super) fn outbox() -> String {
    key!("outbox")
}

/// The adjustments that wait for the journal.
pub(super) fn unjournaled_adjustments() -> String {
    key!("adjustments")
}

pub(super) fn adjustment(adjustment_id: &AdjustmentId) -> String {
    key!("adjustment:{adjustment_id}")
}

pub(super) fn rebuild_lease() -> String {
    key!("healing")
}

/// Matches every key, to tell an empty store from one that lost only its `meta`.
pub(super) fn all_keys_pattern() -> String {
    key!("*")
}

pub(super) fn order_index(order_id: &OrderId) -> String {
    key!("index:{order_id}")
}

pub(super) fn due_orders(broker: &BrokerId) -> String {
    key!("due:{broker}")
}

pub(super) fn open_orders(broker: &BrokerId, account_id: &AccountId) -> String {
    key!("open:{broker}:{account_id}")
}

/// The set of the keys of all sets of open orders that are not empty.
pub(super) fn open_order_sets() -> String {
    key!("open_sets")
}

/// Reads the key of a set of open orders: whose they are.
pub(super) fn parse_open_orders(key: &str) -> Option<(BrokerId, AccountId)> {
    let (broker, account) = key.strip_prefix(&key!("open:"))?.split_once(':')?;
    Some((BrokerId::new(broker).ok()?, AccountId::new(account).ok()?))
}

pub(super) fn daily_totals(mode: Mode, date: TradingDate) -> String {
    key!("day:{mode}:{date}")
}

fn account_daily_totals(mode: Mode, date: TradingDate, account_id: &AccountId) -> String {
    key!("day:{mode}:{date}:{account_id}")
}

pub(super) fn account_totals(mode: Mode, account_id: &AccountId) -> String {
    key!("account:{mode}:{account_id}")
}

fn mode_totals(mode: Mode) -> String {
    key!("totals:{mode}")
}

/// Returns the key of an account's new orders in a second.
pub(super) fn account_order_rate(mode: Mode, account_id: &AccountId) -> String {
    key!("rate:{mode}:account:{account_id}")
}

/// Returns the key of a broker's new orders in a second.
pub(super) fn broker_order_rate(mode: Mode, broker: &BrokerId) -> String {
    key!("rate:{mode}:broker:{broker}")
}

/// Returns the key of an account's cancels in a second.
pub(super) fn account_cancel_rate(account_id: &AccountId) -> String {
    key!("cancels:account:{account_id}")
}

/// Returns the key of a broker's cancels in a second.
pub(super) fn broker_cancel_rate(broker: &BrokerId) -> String {
    key!("cancels:broker:{broker}")
}

/// Returns the key that remembers the last order with these terms.
pub(super) fn last_duplicate(mode: Mode, terms: &str) -> String {
    key!("duplicate:{mode}:{terms}")
}

/// The set of all names that [`sums_name`] returns for orders of a mode.
pub(super) fn sums_names(mode: Mode) -> String {
    key!("sums_names:{mode}")
}

/// Returns the name an account's sums in one instrument have: `<account>:<venue>:<symbol>`.
pub(super) fn sums_name(scope: &SumScope) -> String {
    format!("{}:{}:{}", scope.account_id, scope.venue, scope.symbol)
}

/// What opens the key of every hash of sums of a mode; the name that [`sums_name`] returns follows.
pub(super) fn sums_prefix(mode: Mode) -> String {
    key!("sums:{mode}:")
}

/// The venue and the symbol of the hash of sums that cash stands in: one that nothing is traded at, and that the
/// day's profit leaves out.
pub(super) const CASH_INSTRUMENT: (&str, &str) = ("_", "CASH");

fn instrument_sums(scope: &SumScope) -> String {
    sums_prefix(scope.mode) + &sums_name(scope)
}

/// Returns the key and the field a shared sum stands in.
pub(super) fn counter_location(scope: &SumScope, counter: SharedSum) -> (String, &'static str) {
    match counter {
        SharedSum::Long => (instrument_sums(scope), "long"),
        SharedSum::Short => (instrument_sums(scope), "short"),
        SharedSum::Position => (instrument_sums(scope), "position"),
        SharedSum::CashFlow => (instrument_sums(scope), "cash_flow"),
        SharedSum::Fees => (instrument_sums(scope), "fees"),
        SharedSum::BaseFees => (instrument_sums(scope), "base_fees"),
        SharedSum::OpenOrders => (instrument_sums(scope), "open_orders"),
        SharedSum::AccountOpenLoss => (account_totals(scope.mode, &scope.account_id), "open_loss"),
        SharedSum::OpenLoss => (mode_totals(scope.mode), "open_loss"),
        SharedSum::AccountDailyNotional => (
            account_daily_totals(scope.mode, scope.trading_date, &scope.account_id),
            DAILY_NOTIONAL_FIELD,
        ),
        SharedSum::DailyNotional => (daily_totals(scope.mode, scope.trading_date), DAILY_NOTIONAL_FIELD),
    }
}

/// The field of a day's start that holds what all accounts were worth beyond the sum of each: no account's id holds it.
pub(super) const UNATTRIBUTED_EQUITY_FIELD: &str = "~";
/// What opens the field of an account whose worth at a day's start was not known.
pub(super) const UNKNOWN_EQUITY_PREFIX: char = '?';
/// The field of a day's routed notional.
pub(super) const DAILY_NOTIONAL_FIELD: &str = "daily_notional";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_open_orders_tells_whose_they_are() {
        let (broker, account) = (BrokerId::new("ibkr").unwrap(), AccountId::new("fund_7").unwrap());
        assert_eq!(
            parse_open_orders(&open_orders(&broker, &account)),
            Some((broker, account))
        );
        assert_eq!(parse_open_orders(&open_order_sets()), None);
    }

    #[test]
    fn names_read_back_whatever_the_id_holds() {
        let account = AccountId::new("fund_7").unwrap();
        for id in ["a", "a:b:c", "{or}:meta", "x*?[y]"] {
            let key = OrderKey::new(Mode::Paper, &account, &ClientOrderId::new(id).unwrap());
            assert_eq!(OrderKey::parse(&key.name()), Some(key));
        }
        let id = ClientOrderId::new("a").unwrap();
        assert_ne!(
            OrderKey::new(Mode::DryRun, &account, &id).name(),
            OrderKey::new(Mode::Live, &account, &id).name()
        );
    }
}
