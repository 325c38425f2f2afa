//! Claim and reserve, in one step for all workers (`lua/reserve.lua`).

use serde::Serialize;

use crate::domain::id::{BrokerId, ContentHash, LeaseToken, OrderId};
use crate::domain::order_terms::Side;
use crate::domain::rule_signal::SignalLevel;
use crate::domain::settlement::{SharedSum, SumDeltas, SumScope};
use crate::risk::limits::{AlertThresholds, DuplicateOrderRule, RateLimits};
use crate::risk::{Cap, CapMeasure, CapReading, CapReadings};
use crate::store::connection::StoreConnection;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::keys::OrderKey;
use crate::store::script::{CounterMove, KeyTable, RESERVE, ScriptReply, day_ttl_ms, to_json};
use crate::store::sums::day::MAX_HOLDINGS;

/// The most orders that may wait for the journal: beyond it no new one is taken.
pub const MAX_OUTBOX_ORDERS: usize = 100_000;

/// How old the figures may be that an order was judged by when it is claimed: their age when it was judged, and what the
/// way to Redis may take. A worker that slept in between judges anew.
pub const MAX_EVALUATION_AGE_MS: i64 = 1_000;

/// Asks what is known of an id and, where nothing is, to claim, look or deny.
#[derive(Debug, Clone)]
pub struct ReserveRequest {
    /// The id.
    pub key: OrderKey,
    /// The order id it is given if it is new.
    pub order_id: OrderId,
    /// The hash of its content.
    pub content_hash: ContentHash,
    /// What to do if it is new.
    pub action: ReserveAction,
}

/// What to do with an id nothing is known of.
#[derive(Debug, Clone)]
pub enum ReserveAction {
    /// Judge it by the shared sums, and claim it where the question asks for that.
    Evaluate(Box<ReservationCheck>),
    /// Only look whether the id is known.
    Lookup,
    /// Record the denial as the id's final outcome.
    RecordDenial {
        /// Its journal document.
        document: Vec<u8>,
    },
}

/// What the store is asked about an order.
#[derive(Debug, Clone)]
pub struct ReservationCheck {
    /// Which sums.
    pub scope: SumScope,
    /// The broker, whose open orders it joins.
    pub broker: BrokerId,
    /// Its side.
    pub side: Side,
    /// Its quantity in lots.
    pub lots: i64,
    /// The lot in units of 1e-8, where fees may be paid in the base asset.
    pub base_lot: Option<i64>,
    /// The generation of the control it was judged by.
    pub control_generation: u64,
    /// When the figures were taken that it was judged by, in milliseconds by Redis' clock.
    pub evaluated_at_ms: i64,
    /// The caps.
    pub caps: Vec<Cap>,
    /// When rules alert.
    pub alert_levels: AlertThresholds,
    /// How many orders the account and the broker may have in a second.
    pub rate_limits: RateLimits,
    /// What makes it a duplicate, where that is judged: the terms that duplicates share.
    pub duplicate_check: Option<(DuplicateOrderRule, String)>,
    /// Whether it counts: a dry run is looked at and leaves nothing behind.
    pub is_counted: bool,
    /// The claim, unless the sums are only to be looked at.
    pub claim: Option<ClaimRequest>,
}

/// How an order is claimed.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Only if it turns out to be a reduction.
    pub reductions_only: bool,
    /// What it takes of the shared sums.
    pub deltas: SumDeltas,
    /// The lease it is claimed under.
    pub lease: LeaseToken,
    /// The order's document, for whoever takes an expired lease over.
    pub document: Vec<u8>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReserveOutcome {
    /// The id is known.
    AlreadyKnown(KnownOrder),
    /// The control has changed to this generation: the order is to be judged anew.
    GenerationChanged(u64),
    /// Claimed.
    Claimed(CapReadings),
    /// Something had no room; nothing was reserved.
    LimitExceeded(CapReadings),
    /// Nothing is known of the id, and nothing was reserved.
    Probed(CapReadings),
    /// The denial is recorded.
    DenialRecorded,
    /// The store holds as many keys as it may.
    StoreFull,
    /// A sum would leave the range that is counted exactly.
    SumOutOfRange,
}

/// What is known of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOrder {
    /// How far it has come.
    pub stage: RecordStage,
    /// The hash of its content.
    pub content_hash: ContentHash,
    /// Its order id.
    pub order_id: OrderId,
    /// Its version.
    pub version: u32,
    /// The version that is on the journal.
    pub journaled_version: u32,
    /// That version's journal sequence; 0 while none is.
    pub journal_sequence: u64,
}

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordStage {
    /// Claimed by a worker; nothing has been sent.
    Claimed,
    /// On its way to a venue that outlives us: it may have been sent, and nothing has been told of it.
    Sending,
    /// It was given back and nothing of it was sent; that is not known to be on the journal yet.
    Releasing,
    /// It was given back and nothing of it was sent: the same order may be claimed anew, under its own id.
    Released,
    /// At its venue.
    Open,
    /// Ended.
    Ended,
    /// Denied by a risk rule.
    Denied,
}

impl RecordStage {
    /// Whether it is under way, with nothing to tell of it yet.
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Claimed | Self::Sending | Self::Releasing)
    }

    pub(in crate::store) fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "claimed" => Ok(Self::Claimed),
            "sending" => Ok(Self::Sending),
            "releasing" => Ok(Self::Releasing),
            "released" => Ok(Self::Released),
            "open" => Ok(Self::Open),
            "ended" => Ok(Self::Ended),
            "denied" => Ok(Self::Denied),
            other => Err(StoreError::Corrupt(format!("an order's stage is {other:?}"))),
        }
    }

    pub(in crate::store) fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Sending => "sending",
            Self::Releasing => "releasing",
            Self::Released => "released",
            Self::Open => "open",
            Self::Ended => "ended",
            Self::Denied => "denied",
        }
    }
}

#[derive(Serialize)]
struct ReserveCommand<'a> {
    k: usize,
    i: usize,
    n: String,
    o: &'a str,
    h: &'a str,
    a: &'static str,
    #[serde(flatten)]
    evaluation: Option<EvaluationArguments>,
    #[serde(flatten)]
    claim: Option<ClaimArguments<'a>>,
}

#[derive(Serialize)]
struct EvaluationArguments {
    g: u64,
    v: i64,
    x: (usize, &'static str, i64, i64, i64),
    c: Vec<CapArguments>,
    w: Vec<(usize, i64)>,
    m: bool,
    u: DuplicateArguments,
}

/// Key index, field, delta, most, alert from, calm below, whether reductions pass, name of the alert.
#[derive(Serialize)]
struct CapArguments(usize, &'static str, i64, i64, AlertThresholdArgument, i64, bool, String);

#[derive(Serialize)]
#[serde(untagged)]
enum AlertThresholdArgument {
    At(i64),
    Never(bool),
}

#[derive(Serialize)]
#[serde(untagged)]
enum DuplicateArguments {
    Checked(usize, i64, bool),
    Off(bool),
}

#[derive(Serialize)]
struct ClaimArguments<'a> {
    op: usize,
    oa: usize,
    t: &'a str,
    l: u64,
    d: Vec<CounterMove>,
    s: usize,
    sn: String,
}

/// Runs a batch.
pub(in crate::store) async fn run_reserve_batch(
    core: StoreConnection,
    batch: Vec<ReserveRequest>,
) -> Result<Vec<ReserveOutcome>, StoreError> {
    let epoch = core.epoch()?;
    let mut keys = KeyTable::new(vec![
        keys::meta(),
        keys::operator_state(),
        keys::leases(),
        keys::outbox(),
    ]);
    let mut arguments = Vec::with_capacity(batch.len() * 2);
    let mut alert_repeat_ms = 0;
    for reserve in &batch {
        if let ReserveAction::Evaluate(question) = &reserve.action {
            alert_repeat_ms = question.alert_levels.repeat_after_ms;
        }
        let (command, document) = encode_reserve(reserve, &mut keys, core.settings.lease_ms);
        arguments.push((to_json(&command)?, document));
    }
    let mut command = RESERVE.evalsha_command(epoch, keys.keys());
    command
        .arg(core.settings.max_keys)
        .arg(day_ttl_ms())
        .arg(MAX_OUTBOX_ORDERS)
        .arg(alert_repeat_ms)
        .arg(MAX_HOLDINGS)
        .arg(MAX_EVALUATION_AGE_MS);
    for (json, document) in &arguments {
        command.arg(json).arg(*document);
    }
    let replies = core.query(command).await.and_then(ScriptReply::from_batch_value);
    core.clear_epoch_if_stale(epoch, replies)?
        .into_iter()
        .map(decode_reserve_outcome)
        .collect()
}

fn encode_reserve<'a>(
    request: &'a ReserveRequest,
    keys: &mut KeyTable,
    lease_ms: u64,
) -> (ReserveCommand<'a>, &'a [u8]) {
    let mut command = ReserveCommand {
        k: keys.add_unshared(request.key.record_key()),
        i: keys.add_unshared(keys::order_index(&request.order_id)),
        n: request.key.name(),
        o: request.order_id.as_str(),
        h: &request.content_hash.0,
        a: "look",
        evaluation: None,
        claim: None,
    };
    match &request.action {
        ReserveAction::Lookup => (command, &[]),
        ReserveAction::RecordDenial { document } => {
            command.a = "deny";
            (command, document)
        }
        ReserveAction::Evaluate(question) => {
            command.evaluation = Some(encode_check(question, keys));
            let Some(claim) = &question.claim else {
                command.a = "probe";
                return (command, &[]);
            };
            command.a = if claim.reductions_only { "reduce" } else { "claim" };
            command.claim = Some(ClaimArguments {
                op: keys.intern(keys::open_orders(&question.broker, request.key.account_id())),
                oa: keys.intern(keys::open_order_sets()),
                t: claim.lease.as_str(),
                l: lease_ms,
                d: keys.encode_moves(&question.scope, &claim.deltas),
                s: keys.intern(keys::sums_names(question.scope.mode)),
                sn: keys::sums_name(&question.scope),
            });
            (command, &claim.document)
        }
    }
}

fn encode_check(check: &ReservationCheck, keys: &mut KeyTable) -> EvaluationArguments {
    let scope = &check.scope;
    let (counter, sign) = match check.side {
        Side::Buy => (SharedSum::Long, -1),
        Side::Sell => (SharedSum::Short, 1),
    };
    let (key, field) = keys::counter_location(scope, counter);
    let exposure = keys.intern(key);
    let caps = check.caps.iter();
    EvaluationArguments {
        g: check.control_generation,
        v: check.evaluated_at_ms,
        x: (exposure, field, check.lots, sign, check.base_lot.unwrap_or(0)),
        c: caps.map(|cap| encode_cap(cap, check, exposure, keys)).collect(),
        w: vec![
            (
                keys.intern(keys::account_order_rate(scope.mode, &scope.account_id)),
                check.rate_limits.per_account,
            ),
            (
                keys.intern(keys::broker_order_rate(scope.mode, &check.broker)),
                check.rate_limits.per_broker,
            ),
        ],
        m: check.is_counted,
        u: match &check.duplicate_check {
            None => DuplicateArguments::Off(false),
            Some((rule, terms)) => DuplicateArguments::Checked(
                keys.intern(keys::last_duplicate(scope.mode, terms)),
                rule.window_ms,
                rule.level == SignalLevel::Lock,
            ),
        },
    }
}

fn encode_cap(cap: &Cap, check: &ReservationCheck, exposure: usize, keys: &mut KeyTable) -> CapArguments {
    let scope = &check.scope;
    let (key, field) = match cap.measure {
        CapMeasure::SharedSum(counter) => {
            let (key, field) = keys::counter_location(scope, counter);
            (keys.intern(key), field)
        }
        CapMeasure::Exposure => (exposure, "@"),
        CapMeasure::OffsetOnly => (keys.intern(keys::account_totals(scope.mode, &scope.account_id)), ""),
    };
    let (from, calm) = match cap.alert_and_rearm_levels(check.alert_levels) {
        Some((from, calm)) => (AlertThresholdArgument::At(from), calm),
        None => (AlertThresholdArgument::Never(false), 0),
    };
    CapArguments(
        key,
        field,
        cap.delta,
        cap.max_measure(),
        from,
        calm,
        cap.allows_reductions,
        cap.alert_key(),
    )
}

fn decode_reserve_outcome(mut reply: ScriptReply) -> Result<ReserveOutcome, StoreError> {
    Ok(match reply.verdict.as_str() {
        "known" => ReserveOutcome::AlreadyKnown(decode_known_order(&mut reply)?),
        "generation" => ReserveOutcome::GenerationChanged(reply.next_integer()?),
        "claimed" => ReserveOutcome::Claimed(decode_cap_readings(&mut reply)?),
        "over" => ReserveOutcome::LimitExceeded(decode_cap_readings(&mut reply)?),
        "probed" => ReserveOutcome::Probed(decode_cap_readings(&mut reply)?),
        "denied" => ReserveOutcome::DenialRecorded,
        "full" => ReserveOutcome::StoreFull,
        "inexact" => ReserveOutcome::SumOutOfRange,
        _ => return Err(reply.unexpected_verdict()),
    })
}

/// Reads stage, hash, order id, version, journaled version and journal sequence.
pub(in crate::store) fn decode_known_order(reply: &mut ScriptReply) -> Result<KnownOrder, StoreError> {
    Ok(KnownOrder {
        stage: RecordStage::parse(&reply.next_text()?)?,
        content_hash: ContentHash(reply.next_text()?.into()),
        order_id: OrderId::new(&reply.next_text()?)
            .map_err(|rule| StoreError::Corrupt(format!("an order id {rule}")))?,
        version: reply.next_integer()?,
        journaled_version: reply.next_integer()?,
        journal_sequence: reply.next_integer()?,
    })
}

fn decode_cap_readings(reply: &mut ScriptReply) -> Result<CapReadings, StoreError> {
    let is_reduction = reply.next_text()? == "1";
    let is_duplicate = reply.next_text()? == "1";
    let rates = match reply.next_integer::<usize>()? {
        2 => Some([reply.next_integer()?, reply.next_integer()?]),
        _ => None,
    };
    let mut caps = Vec::new();
    while reply.has_more() {
        caps.push(CapReading {
            before: reply.next_integer()?,
            crosses_alert_threshold: reply.next_text()? == "1",
        });
    }
    Ok(CapReadings {
        is_reduction,
        is_duplicate,
        order_counts: rates,
        caps,
    })
}
