//! The reserve script (`lua/reserve.lua`): claims of many orders in one step for all workers.

use serde::Serialize;

use crate::domain::order_terms::Side;
use crate::domain::rule_signal::SignalLevel;
use crate::domain::settlement::SharedSum;
use crate::risk::{Cap, CapMeasure, CapReading, CapReadings};
use crate::store::connection::StoreConnection;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::{MAX_HOLDINGS, MAX_OUTBOX_ORDERS};
use crate::store::orders::record::decode_known_order;
use crate::store::orders::reserve::{
    MAX_EVALUATION_AGE_MS, ReservationCheck, ReserveAction, ReserveOutcome, ReserveRequest,
};
use crate::store::retention::day_ttl_ms;
use crate::store::script::{CounterMove, KeyTable, RESERVE, ScriptReply, to_json};

#[derive(Serialize)]
struct ReserveCommand<'a> {
    #[serde(rename = "k")]
    record_key: usize,
    #[serde(rename = "i")]
    index_key: usize,
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "o")]
    order_id: &'a str,
    #[serde(rename = "h")]
    content_hash: &'a str,
    #[serde(rename = "a")]
    action: &'static str,
    #[serde(flatten)]
    evaluation: Option<EvaluationArguments>,
    #[serde(flatten)]
    claim: Option<ClaimArguments<'a>>,
}

#[derive(Serialize)]
struct EvaluationArguments {
    #[serde(rename = "g")]
    control_generation: u64,
    #[serde(rename = "v")]
    evaluated_at_ms: i64,
    #[serde(rename = "x")]
    exposure: ExposureArguments,
    #[serde(rename = "c")]
    caps: Vec<CapArguments>,
    #[serde(rename = "w")]
    rates: Vec<RateArguments>,
    #[serde(rename = "m")]
    is_counted: bool,
    #[serde(rename = "u")]
    duplicate: DuplicateArguments,
}

/// Key index, field, lots, 1 for short or -1 for long, lot (1e-8) or 0.
#[derive(Serialize)]
struct ExposureArguments(usize, &'static str, i64, i64, i64);

/// Key index, the most orders of a second.
#[derive(Serialize)]
struct RateArguments(usize, i64);

/// Key index, field, delta, the most after the order, alert threshold, rearm level, whether reductions pass, name of the
/// alert.
#[derive(Serialize)]
struct CapArguments(usize, &'static str, i64, i64, AlertThresholdArgument, i64, bool, String);

#[derive(Serialize)]
#[serde(untagged)]
enum AlertThresholdArgument {
    At(i64),
    Never(bool),
}

/// Key index, window in milliseconds, whether a duplicate is stopped; or `false`.
#[derive(Serialize)]
#[serde(untagged)]
enum DuplicateArguments {
    Checked(usize, i64, bool),
    Off(bool),
}

#[derive(Serialize)]
struct ClaimArguments<'a> {
    #[serde(rename = "op")]
    open_orders_key: usize,
    #[serde(rename = "oa")]
    open_sets_key: usize,
    #[serde(rename = "t")]
    lease_token: &'a str,
    #[serde(rename = "l")]
    lease_ms: u64,
    #[serde(rename = "d")]
    deltas: Vec<CounterMove>,
    #[serde(rename = "s")]
    sums_names_key: usize,
    #[serde(rename = "sn")]
    sums_name: String,
}

/// Runs a batch of requests in one script call; returns an outcome for each, in order.
pub(in crate::store) async fn run_reserve_batch(
    connection: StoreConnection,
    requests: Vec<ReserveRequest>,
) -> Result<Vec<ReserveOutcome>, StoreError> {
    let mut keys = KeyTable::new(vec![
        keys::meta(),
        keys::operator_state(),
        keys::leases(),
        keys::outbox(),
    ]);
    let mut arguments = Vec::with_capacity(requests.len());
    let mut alert_repeat_ms = 0;
    for request in &requests {
        if let ReserveAction::Evaluate(check) = &request.action {
            // A setting: the same in all requests of a process.
            alert_repeat_ms = check.alert_levels.repeat_after_ms;
        }
        let (command, document) = encode_reserve(request, &mut keys, connection.settings.lease_ms);
        arguments.push((to_json(&command)?, document));
    }
    let mut call = connection.script_call(&RESERVE, None, keys.keys())?;
    call.arg(connection.settings.max_keys)
        .arg(day_ttl_ms())
        .arg(MAX_OUTBOX_ORDERS)
        .arg(alert_repeat_ms)
        .arg(MAX_HOLDINGS)
        .arg(MAX_EVALUATION_AGE_MS);
    for (json, document) in &arguments {
        call.arg(json).arg(*document);
    }
    let replies = connection.run_batch(call).await?;
    replies.into_iter().map(decode_reserve_outcome).collect()
}

fn encode_reserve<'a>(
    request: &'a ReserveRequest,
    keys: &mut KeyTable,
    lease_ms: u64,
) -> (ReserveCommand<'a>, &'a [u8]) {
    let mut command = ReserveCommand {
        record_key: keys.add_unshared(keys::order_record(&request.key)),
        index_key: keys.add_unshared(keys::order_index(&request.order_id)),
        name: request.key.name(),
        order_id: request.order_id.as_str(),
        content_hash: &request.content_hash.0,
        action: "look",
        evaluation: None,
        claim: None,
    };
    match &request.action {
        ReserveAction::Lookup => (command, &[]),
        ReserveAction::RecordDecision { document } => {
            command.action = "deny";
            (command, document)
        }
        ReserveAction::Evaluate(check) => {
            command.evaluation = Some(encode_check(check, keys));
            let Some(claim) = &check.claim else {
                command.action = "probe";
                return (command, &[]);
            };
            command.action = if claim.reductions_only { "reduce" } else { "claim" };
            command.claim = Some(ClaimArguments {
                open_orders_key: keys.intern(keys::open_orders(&check.broker, request.key.account_id())),
                open_sets_key: keys.intern(keys::open_order_sets()),
                lease_token: claim.lease.as_str(),
                lease_ms,
                deltas: keys.encode_moves(&check.scope, &claim.deltas),
                sums_names_key: keys.intern(keys::sums_names(check.scope.mode)),
                sums_name: keys::sums_name(&check.scope),
            });
            (command, &claim.document)
        }
    }
}

fn encode_check(check: &ReservationCheck, keys: &mut KeyTable) -> EvaluationArguments {
    let scope = &check.scope;
    let (sum, sign) = match check.side {
        Side::Buy => (SharedSum::Long, -1),
        Side::Sell => (SharedSum::Short, 1),
    };
    let (key, field) = keys::counter_location(scope, sum);
    let exposure = keys.intern(key);
    let caps = check.caps.iter();
    EvaluationArguments {
        control_generation: check.control_generation,
        evaluated_at_ms: check.evaluated_at_ms,
        exposure: ExposureArguments(exposure, field, check.lots, sign, check.base_lot.unwrap_or(0)),
        caps: caps.map(|cap| encode_cap(cap, check, exposure, keys)).collect(),
        rates: vec![
            RateArguments(
                keys.intern(keys::account_order_rate(scope.mode, &scope.account_id)),
                check.rate_limits.per_account,
            ),
            RateArguments(
                keys.intern(keys::broker_order_rate(scope.mode, &check.broker)),
                check.rate_limits.per_broker,
            ),
        ],
        is_counted: check.is_counted,
        duplicate: match &check.duplicate_check {
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
        CapMeasure::SharedSum(sum) => {
            let (key, field) = keys::counter_location(scope, sum);
            (keys.intern(key), field)
        }
        CapMeasure::Exposure => (exposure, "@"),
        CapMeasure::OffsetOnly => (keys.intern(keys::account_totals(scope.mode, &scope.account_id)), ""),
    };
    let (threshold, rearm_level) = match cap.alert_and_rearm_levels(check.alert_levels) {
        Some((threshold, rearm_level)) => (AlertThresholdArgument::At(threshold), rearm_level),
        None => (AlertThresholdArgument::Never(false), 0),
    };
    CapArguments(
        key,
        field,
        cap.delta,
        cap.max_measure(),
        threshold,
        rearm_level,
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

fn decode_cap_readings(reply: &mut ScriptReply) -> Result<CapReadings, StoreError> {
    let is_reduction = reply.next_text()? == "1";
    let is_duplicate = reply.next_text()? == "1";
    let order_counts = match reply.next_integer::<usize>()? {
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
        order_counts,
        caps,
    })
}
