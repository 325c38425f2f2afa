//! The reserve script (`lua/reserve.lua`): claims of many orders in one step for all workers.

use std::sync::Arc;

use serde::Serialize;

use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::Side;
use crate::domain::rule_signal::SignalLevel;
use crate::risk::{Cap, CapMeasure, CapReading, CapReadings};
use crate::store::connection::StoreConnection;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::MAX_OUTBOX_ORDERS;
use crate::store::orders::record::decode_known_order;
use crate::store::orders::remembered::decode_entry;
use crate::store::orders::reserve::{
    ClaimStep, ImmediateEffect, MAX_EVALUATION_AGE_MS, ReservationCheck, ReserveAction, ReserveOutcome, ReserveRequest,
};
use crate::store::orders::settle::{BookedSettlement, decode_breach, due_at_ms, encode_watch, stage_after};
use crate::store::script::{
    EncodedContent, EncodedMoves, KeyTable, Pair, RESERVE, ScriptReply, SumOwner, to_message_pack,
};

/// A command of `lua/reserve.lua`: the list of its fields.
#[derive(Serialize)]
struct ReserveCommand<'a> {
    action: &'static str,
    name: String,
    order_id: &'a str,
    content: EncodedContent,
    record_key: usize,
    check: Option<CheckArguments>,
    claim: Option<ClaimArguments<'a>>,
    budget: BudgetArguments,
}

#[derive(Serialize)]
struct CheckArguments {
    control_generation: u64,
    evaluated_at_ms: i64,
    owner: SumOwner,
    side: u8,
    quantity_whole: i64,
    quantity_rest: i64,
    trading_date: i64,
    caps: Vec<CapArguments>,
    broker_rate_key: usize,
    account_rate_limit: i64,
    broker_rate_limit: i64,
    is_counted: bool,
    duplicate: DuplicateArguments,
    reductions_only: bool,
    alert_percent: i64,
}

#[derive(Serialize)]
struct CapArguments {
    measure: &'static str,
    delta_whole: i64,
    delta_rest: i64,
    most_whole: i64,
    most_rest: i64,
    alert_from_whole: i64,
    alert_from_rest: i64,
    calm_below_whole: i64,
    calm_below_rest: i64,
    alerts: bool,
    passes_reductions: bool,
    alert_name: String,
    limit_whole: i64,
    limit_rest: i64,
    offset_whole: i64,
    offset_rest: i64,
}

/// Key index (0 where no budget applies), most denials an hour.
#[derive(Serialize)]
struct BudgetArguments(usize, i64);

/// Key index (0 where duplicates are not looked for), window in milliseconds, whether a duplicate is stopped.
#[derive(Serialize)]
struct DuplicateArguments(usize, i64, bool);

/// An effect in the step of the claim: settlement id, deadline in milliseconds, stage after it, key index of the due set,
/// next due moment in milliseconds or 0, the watches, whether its fills only reduce, where the readings go.
#[derive(Serialize)]
struct EffectArguments {
    settlement_id: String,
    deadline_ms: i64,
    stage: &'static str,
    due_key: usize,
    due_at_ms: i64,
    watches: [Option<i64>; 4],
    only_reduces: bool,
    readings_at: usize,
}

#[derive(Serialize)]
struct ClaimArguments<'a> {
    moves: EncodedMoves,
    open_orders_key: usize,
    lease_token: &'a str,
    lease_ms: u64,
    effect: Option<EffectArguments>,
}

/// Runs a batch of requests in one script call; returns an outcome for each, in order.
pub(in crate::store) async fn run_reserve_batch(
    connection: StoreConnection,
    requests: Vec<Arc<ReserveRequest>>,
) -> Result<Vec<Result<ReserveOutcome, StoreError>>, StoreError> {
    let mut keys = KeyTable::new(vec![
        keys::meta(),
        keys::operator_state(),
        keys::leases(),
        keys::outbox(),
        keys::open_order_sets(),
        keys::waiting_alerts(),
        keys::waiting_alert_names(),
    ]);
    let mut arguments = Vec::with_capacity(requests.len());
    let mut alert_repeat_ms = 0;
    for request in &requests {
        if let ReserveAction::Evaluate(check) = &request.action {
            // A setting: the same in all requests of a process.
            alert_repeat_ms = check.alert_levels.repeat_after_ms;
        }
        let (command, document) = encode_reserve(request, &mut keys, connection.settings.lease_ms);
        arguments.push((to_message_pack(&command)?, document));
    }
    let mut call = connection.script_call(&RESERVE, None, keys.keys())?;
    let most_ids = if connection.is_full() {
        0
    } else {
        connection.settings.max_remembered_ids()
    };
    call.arg(most_ids)
        .arg(MAX_OUTBOX_ORDERS)
        .arg(alert_repeat_ms)
        .arg(MAX_EVALUATION_AGE_MS);
    for (command, document) in &arguments {
        call.arg(&command[..]).arg(*document);
    }
    let replies = connection.run_batch(call).await?;
    let outcomes = replies.into_iter().zip(&requests);
    Ok(outcomes
        .map(|(reply, request)| reply.and_then(|reply| decode_reserve_outcome(request.key, reply)))
        .collect())
}

fn encode_reserve<'a>(
    request: &'a ReserveRequest,
    keys: &mut KeyTable,
    lease_ms: u64,
) -> (ReserveCommand<'a>, &'a [u8]) {
    let mut command = ReserveCommand {
        action: "look",
        name: request.key.name(),
        order_id: request.order_id.as_str(),
        content: EncodedContent::new(request.content),
        record_key: keys.add_unshared(keys::order_record(&request.key)),
        check: None,
        claim: None,
        budget: BudgetArguments(0, 0),
    };
    match &request.action {
        ReserveAction::Lookup => (command, &[]),
        ReserveAction::RecordDecision {
            document,
            max_denials_per_hour,
        } => {
            command.action = "deny";
            if let Some(most) = max_denials_per_hour {
                command.budget = BudgetArguments(keys.intern(keys::denials(&request.account_id)), *most);
            }
            (command, document)
        }
        ReserveAction::Evaluate(check) => {
            command.check = Some(encode_check(check, keys));
            let Some(claim) = &check.claim else {
                command.action = "probe";
                return (command, &[]);
            };
            command.action = "claim";
            let open_orders_key = keys.intern(keys::open_orders(&check.broker, &check.scope.account_id));
            let (arguments, document): (_, &[u8]) = match &claim.step {
                ClaimStep::Lease { lease, document } => (
                    ClaimArguments {
                        moves: EncodedMoves::new(&check.scope, &claim.deltas, check.scope.trading_date),
                        open_orders_key,
                        lease_token: lease.as_str(),
                        lease_ms,
                        effect: None,
                    },
                    document,
                ),
                ClaimStep::Effect(effect) => (
                    ClaimArguments {
                        moves: EncodedMoves::new(&check.scope, &claim.deltas, effect.booked_on),
                        open_orders_key,
                        lease_token: "",
                        lease_ms,
                        effect: Some(encode_effect(effect, keys)),
                    },
                    &effect.document,
                ),
            };
            command.claim = Some(arguments);
            (command, document)
        }
    }
}

fn encode_effect(effect: &ImmediateEffect, keys: &mut KeyTable) -> EffectArguments {
    let order = &effect.order;
    EffectArguments {
        settlement_id: effect.settlement_id.to_string(),
        deadline_ms: effect.deadline.as_milliseconds(),
        stage: stage_after(order).as_str(),
        due_key: keys.intern(keys::due_orders(&order.broker)),
        due_at_ms: due_at_ms(order),
        watches: encode_watch(effect.watch),
        only_reduces: effect.only_reduces,
        readings_at: effect.readings_at,
    }
}

fn encode_check(check: &ReservationCheck, keys: &mut KeyTable) -> CheckArguments {
    let scope = &check.scope;
    let quantity = Pair::of(check.quantity);
    CheckArguments {
        control_generation: check.control_generation,
        evaluated_at_ms: check.evaluated_at_ms,
        owner: keys.owner(scope),
        side: match check.side {
            Side::Buy => 1,
            Side::Sell => 2,
        },
        quantity_whole: quantity.whole,
        quantity_rest: quantity.rest,
        trading_date: scope.trading_date.days_since_1970(),
        caps: check.caps.iter().map(|cap| encode_cap(cap, check)).collect(),
        broker_rate_key: keys.intern(keys::broker_order_rate(scope.mode, &check.broker)),
        account_rate_limit: check.rate_limits.per_account,
        broker_rate_limit: check.rate_limits.per_broker,
        is_counted: check.is_counted,
        duplicate: match &check.duplicate_check {
            None => DuplicateArguments(0, 0, false),
            Some((rule, terms)) => DuplicateArguments(
                keys.intern(keys::last_duplicate(scope.mode, terms)),
                rule.window_ms,
                rule.level == SignalLevel::Lock,
            ),
        },
        reductions_only: check.claim.as_ref().is_some_and(|claim| claim.reductions_only),
        alert_percent: check.alert_levels.alert_percent,
    }
}

fn encode_cap(cap: &Cap, check: &ReservationCheck) -> CapArguments {
    let levels = cap.alert_and_rearm_levels(check.alert_levels);
    let (alert_from, calm_below) = levels.unwrap_or_default();
    let (delta, most) = (Pair::of(cap.delta), Pair::of(cap.max_measure()));
    let (alert_from, calm_below) = (Pair::of(alert_from), Pair::of(calm_below));
    let (limit, offset) = (Pair::of(cap.limit), Pair::of(cap.offset));
    let name = cap.alert_name();
    CapArguments {
        measure: measure_word(cap.measure),
        delta_whole: delta.whole,
        delta_rest: delta.rest,
        most_whole: most.whole,
        most_rest: most.rest,
        alert_from_whole: alert_from.whole,
        alert_from_rest: alert_from.rest,
        calm_below_whole: calm_below.whole,
        calm_below_rest: calm_below.rest,
        alerts: levels.is_some(),
        passes_reductions: cap.allows_reductions,
        // Exposure and open orders are counted per instrument, and so are their alerts.
        alert_name: match cap.measure {
            CapMeasure::Exposure | CapMeasure::OpenOrders => {
                format!("{}:{name}", keys::holding_name(&check.scope.venue, &check.scope.symbol))
            }
            _ => name.into_owned(),
        },
        limit_whole: limit.whole,
        limit_rest: limit.rest,
        offset_whole: offset.whole,
        offset_rest: offset.rest,
    }
}

/// Returns the word by which the script knows a measure.
fn measure_word(measure: CapMeasure) -> &'static str {
    match measure {
        CapMeasure::Exposure => "exposure",
        CapMeasure::OpenOrders => "open_orders",
        CapMeasure::AccountNotional => "account_notional",
        CapMeasure::TotalNotional => "total_notional",
        CapMeasure::AccountLoss => "account_loss",
        CapMeasure::TotalLoss => "total_loss",
        CapMeasure::AccountFillLoss => "account_result",
        CapMeasure::AccountOpenLoss => "account_open_loss",
        CapMeasure::OffsetOnly => "nothing",
    }
}

fn decode_reserve_outcome(key: OrderKey, mut reply: ScriptReply) -> Result<ReserveOutcome, StoreError> {
    Ok(match reply.verdict.as_str() {
        "known" => ReserveOutcome::AlreadyKnown(decode_known_order(&mut reply)?),
        "remembered" => ReserveOutcome::AlreadyKnown(decode_entry(key, &reply.next_bytes()?)?),
        "generation" => ReserveOutcome::GenerationChanged(reply.next_integer()?),
        "claimed" => ReserveOutcome::Claimed(decode_cap_readings(&mut reply)?),
        "booked" => {
            let readings = decode_cap_readings(&mut reply)?;
            let booked = BookedSettlement {
                account_breach: decode_breach(&mut reply)?,
                total_breach: decode_breach(&mut reply)?,
                pending_events: Vec::new(),
            };
            ReserveOutcome::Booked(readings, booked)
        }
        "repeated" => ReserveOutcome::BookedBefore,
        "crosses" => ReserveOutcome::CrossesZero(reply.next_integer()?),
        "late" => ReserveOutcome::DeadlinePassed,
        "halted" => ReserveOutcome::Halted,
        "over" => ReserveOutcome::LimitExceeded(decode_cap_readings(&mut reply)?),
        "probed" => ReserveOutcome::Probed(decode_cap_readings(&mut reply)?),
        "denied" => ReserveOutcome::DenialRecorded,
        "over_budget" => ReserveOutcome::DenialBudgetUsed,
        "full" => ReserveOutcome::StoreFull,
        "inexact" => ReserveOutcome::SumOutOfRange,
        _ => return Err(reply.unexpected_verdict()),
    })
}

/// Decodes the readings: numbers in one text, then the losses of breaches whose locks are not set yet.
fn decode_cap_readings(reply: &mut ScriptReply) -> Result<CapReadings, StoreError> {
    let text = reply.next_text()?;
    let unreadable = || StoreError::corrupt(format!("{text:?} are no readings"));
    let numbers: Option<Vec<i128>> = text.split(' ').map(|number| number.parse().ok()).collect();
    let numbers = numbers.ok_or_else(unreadable)?;
    let [
        is_reduction,
        is_duplicate,
        account_orders,
        broker_orders,
        unpriced_fees,
        caps @ ..,
    ] = &numbers[..]
    else {
        return Err(unreadable());
    };
    let count = |number: &i128| i64::try_from(*number).map_err(|_| unreadable());
    Ok(CapReadings {
        is_reduction: *is_reduction == 1,
        is_duplicate: *is_duplicate == 1,
        order_counts: Some([count(account_orders)?, count(broker_orders)?]),
        unpriced_fees: count(unpriced_fees)?,
        caps: caps
            .chunks_exact(2)
            .map(|cap| CapReading {
                before: cap[0],
                crosses_alert_threshold: cap[1] == 1,
            })
            .collect(),
        account_breach: decode_breach(reply)?,
        total_breach: decode_breach(reply)?,
        text,
    })
}
