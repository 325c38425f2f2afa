//! The reserve script (`lua/reserve.lua`): claims of many orders in one step for all workers.

use std::sync::Arc;

use serde::Serialize;

use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::Side;
use crate::domain::rule_signal::SignalLevel;
use crate::risk::{CapReading, CapReadings};
use crate::store::connection::StoreConnection;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::limits::MAX_OUTBOX_ORDERS;
use crate::store::orders::record::{decode_known_order, decode_pending_events};
use crate::store::orders::remembered::decode_entry;
use crate::store::orders::reserve::{
    ClaimStep, ImmediateEffect, MAX_EVALUATION_AGE_MS, ReservationCheck, ReserveAction, ReserveOutcome, ReserveRequest,
};
use crate::store::orders::reserve_caps::CapTable;
use crate::store::orders::settle::{BookedSettlement, decode_breach, due_at_ms, encode_watch, stage_after, text_of};
use crate::store::script::{
    BatchReplies, EncodedContent, EncodedMoves, FieldList, KeyTable, Pair, RESERVE, ScriptReply,
};

/// What a command of `lua/reserve.lua` has behind its moves.
#[derive(Serialize)]
struct CommandFields<'a> {
    action: &'static str,
    name: String,
    order_id: &'a str,
    content_first: u64,
    content_last: u64,
    record_key: usize,
    /// Empty where the command books no effect.
    settlement_id: String,
    name_bits: u64,
    /// 0 where no budget of denials applies.
    budget_key: usize,
    max_denials_per_hour: i64,
}

#[derive(Serialize)]
struct CheckFields {
    control_generation: u64,
    evaluated_at_ms: i64,
    side: u8,
    quantity_whole: i64,
    quantity_rest: i64,
    trading_date: i64,
    broker_rate_key: usize,
    account_rate_limit: i64,
    broker_rate_limit: i64,
    is_counted: bool,
    /// 0 where duplicates are not looked for.
    duplicate_key: usize,
    duplicate_window_ms: i64,
    stops_duplicates: bool,
    reductions_only: bool,
    alert_percent: i64,
}

#[derive(Default, Serialize)]
struct ClaimFields<'a> {
    open_orders_key: usize,
    lease_token: &'a str,
    lease_ms: u64,
}

#[derive(Default, Serialize)]
struct EffectFields {
    deadline_ms: i64,
    stage: &'static str,
    due_key: usize,
    due_at_ms: i64,
    only_reduces: bool,
    /// The version that the effect builds on.
    base_version: u32,
    /// The settlement that made that version; empty for an order's first report.
    builds_on: String,
}

/// The arguments of one request: its command, and its document in two parts, between which the script inserts readings.
struct RequestArguments<'a> {
    command: FieldList,
    document: (&'a [u8], &'a [u8]),
}

/// Runs a batch of requests in one script call; returns an outcome for each, in order.
pub(in crate::store) async fn run_reserve_batch(
    connection: StoreConnection,
    requests: Arc<[Arc<ReserveRequest>]>,
) -> Result<BatchReplies<ReserveOutcome>, StoreError> {
    let mut keys = KeyTable::new(vec![
        keys::meta(),
        keys::operator_state(),
        keys::leases(),
        keys::outbox(),
        keys::open_order_sets(),
        keys::waiting_alerts(),
        keys::waiting_alert_names(),
    ]);
    let mut caps = CapTable::default();
    let mut arguments = Vec::with_capacity(requests.len());
    let mut alert_repeat_ms = 0;
    for request in requests.iter() {
        if let ReserveAction::Evaluate(check) = &request.action {
            // A setting: the same in all requests of a process.
            alert_repeat_ms = check.alert_levels.repeat_after_ms;
        }
        arguments.push(encode_reserve(
            request,
            &mut keys,
            &mut caps,
            connection.settings.lease_ms,
        )?);
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
        .arg(MAX_EVALUATION_AGE_MS)
        .arg(caps.caps().len());
    for cap in caps.caps() {
        call.arg(cap.as_bytes());
    }
    for RequestArguments { command, document } in &arguments {
        call.arg(command.as_bytes()).arg(document.0).arg(document.1);
    }
    let replies = connection.run_batch(call).await?;
    let outcomes = replies.results.into_iter().zip(requests.iter());
    Ok(BatchReplies {
        results: outcomes
            .map(|(reply, request)| reply.and_then(|reply| decode_reserve_outcome(request.key, reply)))
            .collect(),
        took: replies.took,
    })
}

fn encode_reserve<'a>(
    request: &'a ReserveRequest,
    keys: &mut KeyTable,
    caps: &mut CapTable<'a>,
    lease_ms: u64,
) -> Result<RequestArguments<'a>, StoreError> {
    let EncodedContent(content_first, content_last) = EncodedContent::new(request.content);
    let mut fields = CommandFields {
        action: "look",
        name: request.key.name(),
        order_id: request.order_id.as_str(),
        content_first,
        content_last,
        record_key: keys.add_unshared(keys::order_record(&request.key)),
        settlement_id: String::new(),
        name_bits: request.key.low_bits(),
        budget_key: 0,
        max_denials_per_hour: 0,
    };
    let mut command = FieldList::default();
    let mut document: (&[u8], &[u8]) = (&[], &[]);
    match &request.action {
        ReserveAction::Lookup => {
            command.append(&EncodedMoves::NONE)?;
            command.append(&fields)?;
        }
        ReserveAction::RecordDecision {
            document: decision,
            max_denials_per_hour,
        } => {
            document.0 = decision;
            fields.action = "deny";
            if let Some(most) = max_denials_per_hour {
                fields.budget_key = keys.intern(keys::denials(&request.account_id));
                fields.max_denials_per_hour = *most;
            }
            command.append(&EncodedMoves::NONE)?;
            command.append(&fields)?;
        }
        ReserveAction::Evaluate(check) => {
            document = append_evaluation(&mut command, fields, check, keys, lease_ms)?;
            caps.append_caps(check, &mut command)?;
        }
    }
    Ok(RequestArguments { command, document })
}

/// Appends all of an evaluation but its caps, and returns the document in two parts.
fn append_evaluation<'a>(
    command: &mut FieldList,
    mut fields: CommandFields<'_>,
    check: &'a ReservationCheck,
    keys: &mut KeyTable,
    lease_ms: u64,
) -> Result<(&'a [u8], &'a [u8]), StoreError> {
    let scope = &check.scope;
    let (mut moves, mut document): (_, (&[u8], &[u8])) = (EncodedMoves::NONE, (&[], &[]));
    let (mut claim_fields, mut effect_fields, mut watch) = (ClaimFields::default(), EffectFields::default(), None);
    fields.action = "probe";
    if let Some(claim) = &check.claim {
        fields.action = "claim";
        claim_fields.open_orders_key = keys.intern(keys::open_orders(&check.broker, &scope.account_id));
        claim_fields.lease_ms = lease_ms;
        let mut booked_on = scope.trading_date;
        match &claim.step {
            ClaimStep::Lease {
                lease,
                document: claimed,
            } => {
                claim_fields.lease_token = lease.as_str();
                document.0 = claimed;
            }
            ClaimStep::Effect(effect) => {
                fields.settlement_id = effect.settlement_id.to_string();
                if effect.order.version > 1 {
                    fields.action = "replace";
                }
                (effect_fields, watch) = (encode_effect(effect, keys), effect.watch);
                booked_on = effect.booked_on;
                document = effect.document.split_at_checked(effect.readings_at).ok_or_else(|| {
                    StoreError::NotExecuted("the readings' place is beyond the end of the document".to_owned())
                })?;
            }
        }
        moves = EncodedMoves::new(scope, &claim.deltas, booked_on);
    }
    command.append(&moves)?;
    command.append(&fields)?;
    command.append(&keys.owner(scope))?;
    command.append(&encode_check(check, keys))?;
    command.append(&claim_fields)?;
    command.append(&effect_fields)?;
    command.append(&encode_watch(watch))?;
    Ok(document)
}

fn encode_effect(effect: &ImmediateEffect, keys: &mut KeyTable) -> EffectFields {
    let order = &effect.order;
    EffectFields {
        deadline_ms: effect.deadline.as_milliseconds(),
        stage: stage_after(order).as_str(),
        due_key: keys.intern(keys::due_orders(&order.broker)),
        due_at_ms: due_at_ms(order),
        only_reduces: effect.only_reduces,
        base_version: order.version.saturating_sub(1),
        builds_on: text_of(order.builds_on),
    }
}

fn encode_check(check: &ReservationCheck, keys: &mut KeyTable) -> CheckFields {
    let quantity = Pair::of(check.quantity);
    let duplicates = check.duplicate_check.as_ref();
    CheckFields {
        control_generation: check.control_generation,
        evaluated_at_ms: check.evaluated_at_ms,
        side: match check.side {
            Side::Buy => 1,
            Side::Sell => 2,
        },
        quantity_whole: quantity.whole,
        quantity_rest: quantity.rest,
        trading_date: check.scope.trading_date.days_since_1970(),
        broker_rate_key: keys.intern(keys::broker_order_rate(check.scope.mode, &check.broker)),
        account_rate_limit: check.rate_limits.per_account,
        broker_rate_limit: check.rate_limits.per_broker,
        is_counted: check.is_counted,
        duplicate_key: duplicates.map_or(0, |(_, terms)| {
            keys.intern(keys::last_duplicate(check.scope.mode, terms))
        }),
        duplicate_window_ms: duplicates.map_or(0, |(rule, _)| rule.window_ms),
        stops_duplicates: duplicates.is_some_and(|(rule, _)| rule.level == SignalLevel::Lock),
        reductions_only: check.claim.as_ref().is_some_and(|claim| claim.reductions_only),
        alert_percent: check.alert_levels.alert_percent,
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
                pending_events: decode_pending_events(&mut reply)?,
            };
            ReserveOutcome::Booked(readings, booked)
        }
        "superseded" => ReserveOutcome::Superseded,
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
