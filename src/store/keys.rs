//! Every Redis key, with its type, unit and time to live. No key is spelled anywhere else.
//!
//! All keys share one hash tag, so that a script may access them together on a Redis Cluster: one cell is one shard.
//! Moments are milliseconds since 1970 by Redis' clock, amounts are in millionths of the base currency (1e-6), and "the
//! retention" is `redis.retention_h`.
//!
//! | key | type | content | time to live |
//! |---|---|---|---|
//! | `meta` | hash | `epoch`; `journal_sequence`: the highest sequence marked as journaled; `journal_created`: when that journal was created; `lost`: sequences of journaled events that the store is known to lack, which the highest sequence does not pass; `loading`: 1 while a rebuild from nothing has not finished; `late_from`, `late_until`: the first sequence and the end of the late events of the previous epoch; `latch_sequence`, `switch_sequence`: the sequences up to which the journal's events of locks, and of dead man's switches, are applied; `schema`: the number of the schema that keys, values and scripts follow; `limits_hash`, `limits_sequence`: hash of the limits in force and sequence of their journal event | none |
//! | `state` | hash | `generation` of the control state; what operators set: `version`, `mode`, `trading_state`, `daily_notional_limit`, `daily_loss_limit`, `doc` (journal event), `journaled` (the journaled version); `trading_date` | none |
//! | `limits` | string | the journal event of the limits in force | none |
//! | `order:<name>` | hash | the order record: `st` stage, `h` content (12 bytes), `o` order id, `v` version, `jv` journaled version, `seq` its journal sequence, `tok` lease token, `sid` id of the last settlement, `fs` journal sequence of the first report, `doc` latest document, `p:<v>` document of an earlier version that is not journaled; for an order that may be at an external venue also: `after` a journal sequence that its submission comes after, `by` the epoch in which its claim was withdrawn, `sq` journal sequence of the last submission or release, `rt` while it is claimed again after a release: the lease token of the claim that was released, `req` timestamp of the request, `net` what it reserves, `sent` when it was sent, `asked` number of inquiries, `missed` number of inquiries that did not find it | once released: the retention; once ended and journaled it is an entry of `ids` |
//! | `ids` | hash | of the remembered ids: `buckets` how many there are, `count` of the ids, `swept_at` up to when the sweep has come, `next_bucket` | none |
//! | `ids:<bucket>` | hash | the entry of each remembered id of the bucket (`lua/prelude.lua`), by the order's name. Only scripts know which bucket a name belongs to: this is the one key that no caller passes | an entry: the retention, rounded up to the hour |
//! | `denials:<account>` | hash | `hour` (Redis' clock, since 1970) and `count` of denials in it | 1 h |
//! | `account:<mode>:<account>` | hash | the account's ledger: `sums`: trading day (days since 1970) of the daily sums, notional routed on it, expected loss of open orders, what its fills have made on that day (1e-6), second and count of its new orders, number of holdings that are not flat, number of fills whose fee has no price; `<venue>:<symbol>`: a holding: long, short, position, position at the start of its day (1e-8), its day, cash flow and fees of that day (1e-6), open orders; `alerts`: when each rule last alerted (JSON); `breach`: a loss that has reached its limit and whose lock is not set yet | while flat and without a fee to price: 30 h |
//! | `totals:<mode>` | hash | the ledger of all accounts, with the same fields; its holdings are net | none |
//! | `holding_accounts:<mode>` | set | the key of every account's ledger that is not flat, or has a fee to price | while there is one |
//! | `sweep:<mode>`, `sweep_turn:<mode>` | string | where the next look at those accounts begins, and whether it is a worker's turn | none; the turn |
//! | `snapshot_turn` | string | the token of the worker that makes a snapshot | the turn |
//! | `adjustment:<id>` | hash | `h` content hash, `e` hash of the event, `doc` journal event, `seq` its journal sequence or 0 | once journaled: the retention |
//! | `adjustments` | sorted set | ids of adjustments whose event is not journaled, by moment of booking | until journaled |
//! | `day_marks:<mode>:<date>` | hash | the mark of each instrument at the start of the day, by `<venue>:<symbol>` | 8 days beyond its day |
//! | `day_marks:<mode>:<date>:<token>` | hash | the marks that a worker has written of a day that it is about to begin, as above | 60 s; the day's own key once it begins |
//! | `latches` | hash | the document (journal event) of each lock in force, by lock id | until lifted |
//! | `latches_waiting` | hash | those of the documents that are not journaled, by lock id | until journaled |
//! | `switches` | hash | the dead man's switch of each account that has one: its time (ms), a space, and the document (journal event) that armed it | while armed |
//! | `switches_waiting` | hash | those of the documents that are not journaled, by account | until journaled |
//! | `switch_expiries` | sorted set | accounts of armed switches, by the moment at which each fires | while armed |
//! | `switches_fired` | hash | accounts of switches that have fired: `1` once locked for it | until no order of the account is open |
//! | `switch_turns` | sorted set | those accounts, by the moment from which a worker may take a turn at each | as above |
//! | `sweep_switches` | hash | `swept`: when a worker last looked for switches to fire; `resumed`: when such looks last began again after a gap | none |
//! | `{or-cache}:quotes` | hash | the newest quote (JSON) of each subject; a cache | none |
//! | `rate:<mode>:broker:<broker>` | hash | `second` (Redis' clock) and `count` of new orders in it | 2 s |
//! | `cancels:account:<account>`, `cancels:broker:<broker>` | hash | `second` (Redis' clock) and `count` of cancels in it | 2 s |
//! | `duplicate:<mode>:<terms>` | string | the name of the last order with these terms | the rule's window |
//! | `alerts` | hash | of each alert that is not published: its document, or the facts of a crossing (JSON), by the alert's name | until published |
//! | `alerts_waiting` | sorted set | the names of those alerts, by moment in microseconds | until published |
//! | `leases` | sorted set | names of orders that are claimed or being sent, by end of their lease | while claimed or being sent |
//! | `outbox` | sorted set | names of orders with events that are not journaled, by moment of the first of them | until journaled |
//! | `due:<broker>` | sorted set | names of paper orders by moment of their next effect, and of unknown orders by moment of their next inquiry | while due |
//! | `open:<broker>:<account>` | set | names of orders that have not ended | while one is open |
//! | `open_sets` | set | the key of every `open:<broker>:<account>` | while one is open |
//! | `healing` | string | the token of the worker that rebuilds the store | 5 s, extended every second |
//! | `{or}requests:<kind>:<scope>:<window>:<n>` | string | what a venue's limit of this kind has counted in window n since 1970; `<window>` is its length in milliseconds, `<scope>` an address or an account | two windows |
//! | `{or}closed:<kind>:<scope>` | string | until when the venue takes no request of this kind, in microseconds by its clock | 4 days |
//! | `{or}trades:<key>:<symbol>:<journal>` | string | up to which moment the trades of a symbol are settled, in microseconds by the clock of the venue; `<key>` a hash of environment and API key, `<journal>` the journal that has them: when it was created (microseconds) and the sequence of the last accepted loss | 25 h |
//! | `{or}probe` | string | what a worker writes to see that Redis takes writes | 60 s |

use std::time::Duration;

use crate::domain::id::{AccountId, AdjustmentId, BrokerId, VenueId};
use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::Mode;
use crate::domain::request_limit::{LimitKind, LimitScopes, window_index};
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};
use crate::store::error::StoreError;

macro_rules! key {
    ($($part:tt)+) => { format!("{{or}}:{}", format_args!($($part)+)) };
}

/// How long the marks of a day's start are kept after it, in days.
pub const DAY_MARKS_RETENTION_DAYS: i64 = 8;

pub(super) fn meta() -> String {
    key!("meta")
}

pub(super) fn operator_state() -> String {
    key!("state")
}

/// Returns the key of the limits in force.
pub(super) fn limits() -> String {
    key!("limits")
}

/// Returns the key of the marks at a day's start.
pub(super) fn day_marks(mode: Mode, date: TradingDate) -> String {
    key!("day_marks:{mode}:{date}")
}

/// Returns the key under which a worker writes the marks of a day that it is about to begin.
pub(super) fn written_day_marks(mode: Mode, date: TradingDate, token: &str) -> String {
    key!("day_marks:{mode}:{date}:{token}")
}

pub(super) fn locks() -> String {
    key!("latches")
}

pub(super) fn unjournaled_locks() -> String {
    key!("latches_waiting")
}

/// Returns the key of the dead man's switches.
pub(super) fn dead_man_switches() -> String {
    key!("switches")
}

/// Returns the key of those that are not journaled.
pub(super) fn unjournaled_switches() -> String {
    key!("switches_waiting")
}

/// Returns the key of the moments at which they fire.
pub(super) fn switch_expiries() -> String {
    key!("switch_expiries")
}

/// Returns the key of those that have fired.
pub(super) fn fired_switches() -> String {
    key!("switches_fired")
}

/// Returns the key of the turns at those.
pub(super) fn fired_switch_turns() -> String {
    key!("switch_turns")
}

/// Returns the key of the last look for switches to fire.
pub(super) fn switch_sweeps() -> String {
    key!("sweep_switches")
}

/// Returns the key of the newest quotes. It has a hash tag of its own: a cached quote must not make an emptied store appear
/// to hold orders.
pub(super) fn cached_quotes() -> String {
    "{or-cache}:quotes".to_owned()
}

pub(super) fn leases() -> String {
    key!("leases")
}

pub(super) fn outbox() -> String {
    key!("outbox")
}

/// Returns the key of the adjustments that wait for the journal.
pub(super) fn unjournaled_adjustments() -> String {
    key!("adjustments")
}

pub(super) fn adjustment(adjustment_id: &AdjustmentId) -> String {
    key!("adjustment:{adjustment_id}")
}

pub(super) fn rebuild_lease() -> String {
    key!("healing")
}

/// Returns the key of the turn to make a snapshot.
pub(super) fn snapshot_turn() -> String {
    key!("snapshot_turn")
}

/// Returns the key of the write probe: on the shard of all other keys, and outside of [`all_keys_pattern`], since it must
/// not make an emptied store appear to hold orders.
pub(super) fn write_probe() -> String {
    "{or}probe".to_owned()
}

/// Returns the key of what a venue's limit has counted in the window at `at`, by the venue's clock. It is on the shard of all
/// other keys and outside of [`all_keys_pattern`]: it must not make an emptied store appear to hold orders, and a rebuild
/// must not reset the count.
pub(super) fn counted_requests(scopes: &LimitScopes, kind: LimitKind, window: Duration, at: Timestamp) -> String {
    format!(
        "{{or}}requests:{}:{}:{}:{}",
        kind.as_str(),
        scopes.of(kind),
        window.as_millis(),
        window_index(window, at)
    )
}

/// Returns the key of the moment until which a venue takes no request of a kind; outside of [`all_keys_pattern`], too.
pub(super) fn closed_requests(scopes: &LimitScopes, kind: LimitKind) -> String {
    format!("{{or}}closed:{}:{}", kind.as_str(), scopes.of(kind))
}

/// Returns the key of the moment up to which the trades of a symbol are settled; outside of [`all_keys_pattern`], too: they
/// are on the journal, whatever Redis loses.
pub(super) fn settled_trades(key: &str, symbol: &Symbol, journal: &str) -> String {
    format!("{{or}}trades:{key}:{symbol}:{journal}")
}

/// Returns the pattern of the keys that are rebuilt from the journal, which distinguishes an empty store from one that lost only its
/// `meta`.
pub(super) fn all_keys_pattern() -> String {
    key!("*")
}

pub(super) fn order_record(key: &OrderKey) -> String {
    key!("order:{}", key.name())
}

/// Returns the key of the number and state of the buckets of remembered ids.
pub(super) fn remembered_ids() -> String {
    key!("ids")
}

/// Returns what the key of a bucket of remembered ids begins with; its number follows.
pub(super) fn remembered_ids_bucket() -> String {
    key!("ids:")
}

/// Returns the key that counts an account's denials in an hour.
pub(super) fn denials(account_id: &AccountId) -> String {
    key!("denials:{account_id}")
}

pub(super) fn due_orders(broker: &BrokerId) -> String {
    key!("due:{broker}")
}

pub(super) fn open_orders(broker: &BrokerId, account_id: &AccountId) -> String {
    key!("open:{broker}:{account_id}")
}

/// Reports whether a key is that of a set of due orders.
pub(super) fn is_due_orders(key: &str) -> bool {
    key.starts_with(&key!("due:"))
}

/// Parses the key of an order's record; `None` for another key.
pub(super) fn parse_order_record(key: &str) -> Option<OrderKey> {
    OrderKey::parse(key.strip_prefix(&key!("order:"))?)
}

/// Parses the key of an adjustment's record; `None` for another key.
pub(super) fn parse_adjustment(key: &str) -> Option<AdjustmentId> {
    AdjustmentId::new(key.strip_prefix(&key!("adjustment:"))?).ok()
}

/// Parses the key of a ledger into its mode, and its account if it is an account's; `None` for another key.
pub(super) fn parse_ledger(key: &str) -> Option<(Mode, Option<AccountId>)> {
    if let Some(mode) = key.strip_prefix(&key!("totals:")) {
        return Some((Mode::parse(mode)?, None));
    }
    let (mode, account) = key.strip_prefix(&key!("account:"))?.split_once(':')?;
    Some((Mode::parse(mode)?, Some(AccountId::new(account).ok()?)))
}

/// Reports whether a key is that of the accounts of a mode that hold something.
pub(super) fn is_holding_accounts(key: &str) -> bool {
    key.starts_with(&key!("holding_accounts:"))
}

/// Returns the key of the set that holds the key of every non-empty set of open orders.
pub(super) fn open_order_sets() -> String {
    key!("open_sets")
}

/// Parses the key of a set of open orders into its broker and account.
pub(super) fn parse_open_orders(key: &str) -> Result<(BrokerId, AccountId), StoreError> {
    let owner = || {
        let (broker, account) = key.strip_prefix(&key!("open:"))?.split_once(':')?;
        Some((BrokerId::new(broker).ok()?, AccountId::new(account).ok()?))
    };
    owner().ok_or_else(|| StoreError::corrupt(format!("{key:?} is not the key of a set of open orders")))
}

/// Returns the key of an account's ledger.
pub(super) fn account_ledger(mode: Mode, account_id: &AccountId) -> String {
    key!("account:{mode}:{account_id}")
}

/// Parses the key of an account's ledger of a mode into the account.
pub(super) fn parse_account_ledger(mode: Mode, key: &str) -> Result<AccountId, StoreError> {
    let account = key.strip_prefix(&key!("account:{mode}:")).map(AccountId::new);
    match account {
        Some(Ok(account_id)) => Ok(account_id),
        _ => Err(StoreError::corrupt(format!(
            "{key:?} is not the key of an account's ledger"
        ))),
    }
}

/// Returns the key of the ledger of all accounts.
pub(super) fn total_ledger(mode: Mode) -> String {
    key!("totals:{mode}")
}

/// Returns the key of the accounts that hold something.
pub(super) fn holding_accounts(mode: Mode) -> String {
    key!("holding_accounts:{mode}")
}

/// Returns the key of the alerts that are not published.
pub(super) fn waiting_alerts() -> String {
    key!("alerts")
}

/// Returns the key of their names by moment.
pub(super) fn waiting_alert_names() -> String {
    key!("alerts_waiting")
}

/// Returns the key of the turn to look at accounts that hold something.
pub(super) fn sweep_turn(mode: Mode) -> String {
    key!("sweep_turn:{mode}")
}

/// Returns the key of where the next look at them begins.
pub(super) fn sweep_position(mode: Mode) -> String {
    key!("sweep:{mode}")
}

/// Returns the name of a holding, a field of a ledger.
pub(super) fn holding_name(venue: &VenueId, symbol: &Symbol) -> String {
    format!("{venue}:{symbol}")
}

/// Parses the name of a holding; returns `None` for another field.
pub(super) fn parse_holding_name(name: &str) -> Option<(VenueId, Symbol)> {
    let (venue, symbol) = name.split_once(':')?;
    Some((VenueId::new(venue).ok()?, Symbol::parse(symbol).ok()?))
}

/// Returns the key that counts a broker's new orders in a second.
pub(super) fn broker_order_rate(mode: Mode, broker: &BrokerId) -> String {
    key!("rate:{mode}:broker:{broker}")
}

/// Returns the key that counts an account's cancels in a second.
pub(super) fn account_cancel_rate(account_id: &AccountId) -> String {
    key!("cancels:account:{account_id}")
}

/// Returns the key that counts a broker's cancels in a second.
pub(super) fn broker_cancel_rate(broker: &BrokerId) -> String {
    key!("cancels:broker:{broker}")
}

/// Returns the key of the last order with these terms.
pub(super) fn last_duplicate(mode: Mode, terms: &str) -> String {
    key!("duplicate:{mode}:{terms}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_orders_key_parses_into_broker_and_account() {
        let (broker, account) = (BrokerId::new("ibkr").unwrap(), AccountId::new("fund_7").unwrap());
        assert_eq!(
            parse_open_orders(&open_orders(&broker, &account)),
            Ok((broker, account))
        );
        assert!(parse_open_orders(&open_order_sets()).is_err());
    }
}
