//! Every metric: its name, kind, unit, labels and help text.
//!
//! Names and units follow the conventions of Prometheus: base units, `_total` for counters, the unit at the end of the
//! name. A label takes few values, all of them known: statuses, codes, rules, routes, and brokers of the settings.
//! Names that callers choose (accounts, order ids, paths) are never labels.

use std::time::Duration;

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that only grows, from zero at the start of the process.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Counts of durations by bucket; holds the buckets' upper bounds, in ascending order.
    Histogram(&'static [Duration]),
}

impl MetricKind {
    /// Returns the name in the text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// The unit of a metric's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricUnit {
    /// A count, without a unit.
    One,
    /// Seconds; a gauge is set in microseconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A ratio, 1 for the whole; a gauge is set in millionths.
    Ratio,
}

impl MetricUnit {
    /// Returns the name of the unit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
        }
    }

    /// Returns whether gauges are set in millionths of the unit.
    pub(super) fn is_in_millionths(self) -> bool {
        matches!(self, Self::Seconds | Self::Ratio)
    }
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// The unit of its values.
    pub unit: MetricUnit,
    /// The names of its labels, in the order their values are given.
    pub labels: &'static [&'static str],
    /// What it measures, in one sentence without a full stop.
    pub help: &'static str,
}

macro_rules! bounds {
    ($($micros:literal),+ $(,)?) => { MetricKind::Histogram(&[$(Duration::from_micros($micros)),+]) };
}

/// Buckets for durations of microseconds to seconds.
const LATENCY_BUCKETS: MetricKind = bounds![
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000
];
/// Buckets for durations of up to an hour.
const WAIT_BUCKETS: MetricKind = bounds![
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
        pub enum MetricId {
            $(#[doc = $help] $id),+
        }

        /// Every metric, in the order they are shown.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: $kind,
            unit: MetricUnit::$unit,
            labels: &[$($label),*],
            help: $help,
        }),+];
    };
}

metrics! {
    Build = "order_router_build_info", MetricKind::Gauge, One, ["version"],
        "1, with the version of the running program as label";
    StartTime = "order_router_start_time_seconds", MetricKind::Gauge, Seconds, [],
        "Start time of this process, in seconds since the Unix epoch";
    SeriesDropped = "order_router_series_dropped_total", MetricKind::Counter, One, ["metric"],
        "Values dropped because their metric has its maximum number of series, by metric";

    Spans = "order_router_spans_total", MetricKind::Counter, One, ["outcome"],
        "Spans of traces: taken by the collector (`exported`), not taken (`export_failed`), or without a place in the queue (`queue_full`)";

    Intents = "order_router_intents_total", MetricKind::Counter, One, ["broker", "door", "outcome", "code"],
        "Intents answered by this worker; outcome is the report's status, `denied` (by a risk rule; the id is used), `refused` (nothing was sent) or `replayed`; code is the problem code or the reason code";
    Reports = "order_router_reports_total", MetricKind::Counter, One, ["broker", "status", "reason"],
        "Reports settled by this worker, denials and later fills included, by order status and reason code";
    Stages = "order_router_stage_duration_seconds", LATENCY_BUCKETS, Seconds, ["stage"],
        "Duration of the pipeline's stages: queue (request received until handled), reserve (risk rules and limits), broker (queued for the broker until its response), journal (queued for the journal until acknowledged), total (received or delivered until answered)";
    DurableWait = "order_router_durable_wait_seconds", WAIT_BUCKETS, Seconds, [],
        "Age of durable intents when this worker receives them; each delivery counts";
    Requests = "order_router_requests_total", MetricKind::Counter, One, ["endpoint", "code"],
        "Requests answered by this worker, durable intents included; code is `ok` or the problem code";
    RequestDuration = "order_router_request_duration_seconds", LATENCY_BUCKETS, Seconds, ["endpoint"],
        "Duration of request handling in this worker";
    InFlight = "order_router_requests_in_flight", MetricKind::Gauge, One, ["door"],
        "Requests in flight in this worker";
    Signals = "order_router_risk_signals_total", MetricKind::Counter, One, ["rule", "level"],
        "Signals of the risk rules, by rule and level: `alert` lets the order pass, `lock` denies it";

    QueueLength = "order_router_queue_length", MetricKind::Gauge, One, ["queue"],
        "Entries queued in this worker for the writers of journal and alerts, and for the store's scripts";
    QueueCapacity = "order_router_queue_capacity", MetricKind::Gauge, One, ["queue"],
        "Capacity of these queues";
    BrokerQueueLength = "order_router_broker_queue_length", MetricKind::Gauge, One, ["broker", "mode", "queue"],
        "Orders and cancels queued in this worker for a broker's task";
    BrokerQueueCapacity = "order_router_broker_queue_capacity", MetricKind::Gauge, One, ["broker", "mode", "queue"],
        "Capacity of the broker's queues";
    VenueReady = "order_router_venue_ready", MetricKind::Gauge, One, ["broker", "key"],
        "1 while a live venue takes orders from this worker: the key is accepted, the clock is known, and every report has been read; keys are numbered from 1, as the log lists them at the start";
    VenueClockOffset = "order_router_venue_clock_offset_seconds", MetricKind::Gauge, Seconds, ["broker", "key"],
        "Distance of a live venue's clock from this machine's, in either direction; absent while it is not known";
    BalanceDifferences = "order_router_balance_differences", MetricKind::Gauge, One, ["broker", "key"],
        "Assets of an API key whose balance at the venue is another one than the journal's fills and transfers make it; absent before the balances were first read";
    BalanceCompared = "order_router_balance_compared_timestamp_seconds", MetricKind::Gauge, Seconds, ["broker", "key"],
        "When the balances of an API key were last compared, in seconds since the Unix epoch";
    DurableBacklog = "order_router_durable_intents", MetricKind::Gauge, One, ["broker"],
        "Durable intents not yet acknowledged, those in flight included; the same on all workers";

    OpenOrders = "order_router_open_orders", MetricKind::Gauge, One, ["broker"],
        "Open orders, claimed ones included; the same on all workers";
    UnknownOrders = "order_router_unknown_orders", MetricKind::Gauge, One, ["broker"],
        "Orders whose outcome is unknown, which their venue is being asked about; the same on all workers";
    ClaimedOrders = "order_router_claimed_orders", MetricKind::Gauge, One, [],
        "Orders claimed or being sent; the same on all workers";
    OutboxOrders = "order_router_outbox_orders", MetricKind::Gauge, One, [],
        "Orders with settled events not yet acknowledged by the journal; the same on all workers";
    OutboxAge = "order_router_outbox_oldest_age_seconds", MetricKind::Gauge, Seconds, [],
        "Age of the oldest order in the outbox; 0 if it is empty";
    JournalLast = "order_router_journal_last_sequence", MetricKind::Gauge, One, [],
        "Last sequence of the journal";
    JournalSeen = "order_router_journal_acknowledged_sequence", MetricKind::Gauge, One, [],
        "Highest journal sequence that this worker knows to be acknowledged";
    JournalMarked = "order_router_journal_marked_sequence", MetricKind::Gauge, One, [],
        "Highest sequence of an event that the store has recorded as journaled";
    JournalSize = "order_router_journal_size_bytes", MetricKind::Gauge, Bytes, [],
        "Size of the journal";
    JournalRoom = "order_router_journal_has_room", MetricKind::Gauge, One, [],
        "1 while the journal exists, has room and takes the reports of new orders";
    JournalBehind = "order_router_journal_behind", MetricKind::Gauge, One, [],
        "1 while the journal lacks its last acknowledged entries, was replaced or was deleted; no order is accepted";
    JournalIncomplete = "order_router_journal_incomplete", MetricKind::Gauge, One, [],
        "1 while the journal has lost old entries and no operator has accepted the loss; orders are accepted";

    SnapshotSequence = "order_router_snapshot_sequence", MetricKind::Gauge, One, [],
        "Last journal sequence in the newest snapshot of the shared state; 0 without a snapshot; the same on all workers";
    SnapshotAge = "order_router_snapshot_age_seconds", MetricKind::Gauge, Seconds, [],
        "Age of the newest snapshot of the shared state when it was last looked for; absent without a snapshot";
    SnapshotFailures = "order_router_snapshot_failures_total", MetricKind::Counter, One, ["step"],
        "Snapshots of the shared state that this worker could not make (`make`) or found invalid (`read`)";

    NatsConnected = "order_router_nats_connected", MetricKind::Gauge, One, ["part"],
        "1 while the part is connected to NATS";
    RedisUp = "order_router_redis_up", MetricKind::Gauge, One, [],
        "1 while Redis answers";
    StoreReady = "order_router_store_ready", MetricKind::Gauge, One, [],
        "1 while the shared state is complete and Redis takes the writes of new orders";
    StoreUsed = "order_router_store_used_ratio", MetricKind::Gauge, Ratio, ["part"],
        "Used part of a bound of the shared state, beyond which new orders are refused: memory (redis.max_memory_mb), remembered_ids (redis.remembered_ids_mb)";
    TradingState = "order_router_trading_state", MetricKind::Gauge, One, ["state"],
        "1 for the current trading state, 0 for the others";
    Mode = "order_router_mode", MetricKind::Gauge, One, ["mode"],
        "1 for the current mode, 0 for the others";
    Locks = "order_router_locks", MetricKind::Gauge, One, [],
        "Active locks";
    LimitUsed = "order_router_limit_used_ratio", MetricKind::Gauge, Ratio, ["limit"],
        "Used part of a limit of the trading day: daily_notional, daily_loss, and daily_loss_of_an_account for the account closest to its limit";

    OrderLogReady = "order_router_order_log_ready", MetricKind::Gauge, One, [],
        "1 while the sidecar's order log follows the journal and has applied all it held";
    OrderLogSequence = "order_router_order_log_applied_sequence", MetricKind::Gauge, One, [],
        "Last journal sequence that the order log has applied";
    OrderLogLag = "order_router_order_log_lag_entries", MetricKind::Gauge, One, [],
        "Known journal entries that the order log has not applied yet";
    HttpRequests = "order_router_http_requests_total", MetricKind::Counter, One, ["method", "route", "status"],
        "REST requests answered, by method, route and status; route is the path's pattern, or `none`";
    HttpDuration = "order_router_http_request_duration_seconds", LATENCY_BUCKETS, Seconds, ["method", "route"],
        "Duration of REST requests, from the request's head to its response";
    HttpInFlight = "order_router_http_requests_in_flight", MetricKind::Gauge, One, [],
        "REST requests in flight";
}

impl MetricId {
    /// Returns its row of the table.
    pub fn metric(self) -> &'static Metric {
        &METRICS[self as usize]
    }
}
