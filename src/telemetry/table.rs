//! Every metric: its name, its kind, its unit, its labels and what it tells.
//!
//! Names and units follow the conventions of Prometheus: base units, `_total` at what is counted, the unit at the end of
//! the name. A label takes few values, all of them known: statuses, codes, rules, routes, and brokers of the settings.
//! What callers name (accounts, order ids, paths) is never one.

use std::time::Duration;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from zero at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts durations by the bucket they fall into; the buckets' upper bounds, in ascending order.
    Histogram(&'static [Duration]),
}

impl Kind {
    /// Returns the word of the text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What a value is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    One,
    /// Seconds; held in microseconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share, 1 for the whole; held in millionths.
    Ratio,
}

impl Unit {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
        }
    }

    /// Whether values are held in millionths.
    pub(super) fn is_in_millionths(self) -> bool {
        matches!(self, Self::Seconds | Self::Ratio)
    }
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What its values are numbers of.
    pub unit: Unit,
    /// The names of its labels, in the order their values are given.
    pub labels: &'static [&'static str],
    /// What it tells, in a sentence.
    pub help: &'static str,
}

macro_rules! bounds {
    ($($micros:literal),+ $(,)?) => { Kind::Histogram(&[$(Duration::from_micros($micros)),+]) };
}

/// For what takes microseconds to seconds.
const STEPS: Kind = bounds![
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000
];
/// For what may wait for minutes.
const WAITS: Kind = bounds![
    1_000,
    5_000,
    25_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    15_000_000,
    60_000_000,
    300_000_000,
    3_600_000_000
];

macro_rules! metrics {
    ($($id:ident = $name:literal, $kind:expr, $unit:ident, [$($label:literal),*], $help:literal;)+) => {
        /// A metric of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Id {
            $(#[doc = $help] $id),+
        }

        /// Every metric, in the order they are shown.
        pub const TABLE: &[Metric] = &[$(Metric {
            name: $name,
            kind: $kind,
            unit: Unit::$unit,
            labels: &[$($label),*],
            help: $help,
        }),+];
    };
}

metrics! {
    Build = "order_router_build_info", Kind::Gauge, One, ["version"],
        "1 for the version of the program that runs";
    StartTime = "order_router_start_time_seconds", Kind::Gauge, Seconds, [],
        "When this process began to count, in seconds since 1970";
    SeriesDropped = "order_router_series_dropped_total", Kind::Counter, One, ["metric"],
        "Values that were not kept because their metric has as many series as it may";

    Intents = "order_router_intents_total", Kind::Counter, One, ["broker", "door", "outcome", "code"],
        "Intents answered by this worker: outcome is the report's status, `denied` (by a rule, the id is used up), `refused` (nothing was sent for it) or `replayed`; code is the problem's or the reason's";
    Reports = "order_router_reports_total", Kind::Counter, One, ["broker", "status", "reason"],
        "Reports that this worker has settled, denials and later fills included, by the order's status and the reason's code";
    Stages = "order_router_stage_duration_seconds", STEPS, Seconds, ["stage"],
        "How long intents take: queue (from the arrival of a request to its handling), reserve (rules and limits), broker (from its queue to its answer), journal (from its writer's queue to the acknowledgement), total (from arrival, or delivery, to the answer)";
    DurableWait = "order_router_durable_wait_seconds", WAITS, Seconds, [],
        "How old durable intents are when they are taken, each delivery for itself";
    Requests = "order_router_requests_total", Kind::Counter, One, ["endpoint", "code"],
        "Calls answered by this worker, durable intents included; code is `ok` or the problem's";
    RequestDuration = "order_router_request_duration_seconds", STEPS, Seconds, ["endpoint"],
        "How long this worker takes to handle a call";
    InFlight = "order_router_requests_in_flight", Kind::Gauge, One, ["door"],
        "Calls under way in this worker";
    Signals = "order_router_risk_signals_total", Kind::Counter, One, ["rule", "level"],
        "What the risk rules have said: `alert` lets an order pass, `lock` stops it";

    QueueLength = "order_router_queue_length", Kind::Gauge, One, ["queue"],
        "What waits in this worker for the writers of journal and alerts, and for the store's scripts";
    QueueCapacity = "order_router_queue_capacity", Kind::Gauge, One, ["queue"],
        "How much may wait there";
    BrokerQueueLength = "order_router_broker_queue_length", Kind::Gauge, One, ["broker", "queue"],
        "Orders, and cancels, that wait in this worker for a broker's task";
    BrokerQueueCapacity = "order_router_broker_queue_capacity", Kind::Gauge, One, ["broker", "queue"],
        "How many may wait there";
    DurableBacklog = "order_router_durable_intents", Kind::Gauge, One, ["broker"],
        "Durable intents that no worker has dealt with yet, those under way included; the same on all workers";

    OpenOrders = "order_router_open_orders", Kind::Gauge, One, ["broker"],
        "Orders that have not ended, claimed ones included; the same on all workers";
    UnknownOrders = "order_router_unknown_orders", Kind::Gauge, One, ["broker"],
        "Orders whose venue is asked what became of them; the same on all workers";
    ClaimedOrders = "order_router_claimed_orders", Kind::Gauge, One, [],
        "Orders that are claimed or being sent; the same on all workers";
    OutboxOrders = "order_router_outbox_orders", Kind::Gauge, One, [],
        "Orders with settled events that the journal has not acknowledged; the same on all workers";
    OutboxAge = "order_router_outbox_oldest_age_seconds", Kind::Gauge, Seconds, [],
        "How long the oldest of them has waited; 0 where none waits";
    JournalLast = "order_router_journal_last_sequence", Kind::Gauge, One, [],
        "The journal's last sequence";
    JournalSeen = "order_router_journal_acknowledged_sequence", Kind::Gauge, One, [],
        "The highest sequence this worker knows to be acknowledged";
    JournalMarked = "order_router_journal_marked_sequence", Kind::Gauge, One, [],
        "The highest sequence of an event that the store knows to be on the journal";
    JournalSize = "order_router_journal_size_bytes", Kind::Gauge, Bytes, [],
        "The journal's size";
    JournalRoom = "order_router_journal_has_room", Kind::Gauge, One, [],
        "1 while the journal has room for new orders";
    JournalBehind = "order_router_journal_behind", Kind::Gauge, One, [],
        "1 once the journal has lost entries that it had acknowledged: nothing more is appended";

    NatsConnected = "order_router_nats_connected", Kind::Gauge, One, ["part"],
        "1 while the part's connection to NATS stands";
    RedisUp = "order_router_redis_up", Kind::Gauge, One, [],
        "1 while Redis answers";
    StoreReady = "order_router_store_ready", Kind::Gauge, One, [],
        "1 while the shared state is known to be whole; 0 while it is healed";
    TradingState = "order_router_trading_state", Kind::Gauge, One, ["state"],
        "1 for the trading state in force";
    Mode = "order_router_mode", Kind::Gauge, One, ["mode"],
        "1 for the mode in force";
    Locks = "order_router_locks", Kind::Gauge, One, [],
        "Locks in force";
    LimitUsed = "order_router_limit_used_ratio", Kind::Gauge, Ratio, ["limit"],
        "How much of a limit of the day is used: daily_notional, daily_loss, and daily_loss_of_an_account, the account that is nearest to it";

    OrderLogReady = "order_router_order_log_ready", Kind::Gauge, One, [],
        "1 while the sidecar's order log follows the journal and has everything it held";
    OrderLogSequence = "order_router_order_log_applied_sequence", Kind::Gauge, One, [],
        "The last sequence of the journal that the order log has applied";
    OrderLogLag = "order_router_order_log_lag_entries", Kind::Gauge, One, [],
        "How many entries of the journal the order log knows of and has not applied";
    HttpRequests = "order_router_http_requests_total", Kind::Counter, One, ["method", "route", "status"],
        "Requests answered over REST; route is the path's pattern, or `none`";
    HttpDuration = "order_router_http_request_duration_seconds", STEPS, Seconds, ["method", "route"],
        "How long requests over REST take, from their head to their answer";
    HttpInFlight = "order_router_http_requests_in_flight", Kind::Gauge, One, [],
        "Requests over REST under way";
}

impl Id {
    /// Returns its row of the table.
    pub fn metric(self) -> &'static Metric {
        &TABLE[self as usize]
    }
}
