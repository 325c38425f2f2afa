//! What the callers got, against the journal: one outcome for each intent, and nothing behind a refusal.

use std::collections::HashSet;

use crate::chaos::history::{AnsweredReport, CallAnswer, CallKind, IntentHistory, IntentOutcome};
use crate::chaos::journal_model::{IntentKey, JournalModel, ModelOrder, ModelVersion};
use crate::chaos::violation::FoundViolations;
use crate::chaos::workload::{ChaosIntent, ChaosRun};
use crate::domain::order_terms::OrderStatus;
use crate::fault::FaultCode;

/// Checks the answers of every intent, and that the journal has no order that no caller sent.
///
/// # Errors
/// When an intent of the run is invalid.
pub(in crate::chaos) fn check_answers(
    run: ChaosRun,
    histories: &[IntentHistory],
    model: &JournalModel,
    found: &mut FoundViolations,
) -> anyhow::Result<()> {
    let mut sent: HashSet<IntentKey> = HashSet::with_capacity(histories.len());
    for history in histories {
        let intent = ChaosIntent::of_run(run, history.number)?;
        let key = (intent.account.to_string(), intent.client_order_id().to_owned());
        let order = model.orders.get(&key);
        check_reports(&intent, history, order, model, found);
        check_outcome(&intent, history, order, found);
        check_conflicts(&intent, history, found);
        sent.insert(key);
    }
    for (key, order) in &model.orders {
        if !sent.contains(key) {
            found.add("order_without_intent", format!("{} of {key:?}", order.order_id()));
        }
    }
    Ok(())
}

/// Every report that a caller got is on the journal as it was answered, and of the order that counts.
fn check_reports(
    intent: &ChaosIntent,
    history: &IntentHistory,
    order: Option<&ModelOrder>,
    model: &JournalModel,
    found: &mut FoundViolations,
) {
    let id = intent.client_order_id();
    for (kind, report) in history.reports() {
        let answer = format!("{id} was answered with {} version {}", report.order_id, report.version);
        let Some(order) = order else {
            found.add(
                "answer_not_journaled",
                format!("{answer}, and the journal has no order of this id"),
            );
            continue;
        };
        if order.order_id() != report.order_id {
            let is_void = model.void_orders.contains(&report.order_id);
            let other = if is_void {
                "a void order of the journal"
            } else {
                "no order of the journal"
            };
            found.add(
                "two_orders",
                format!("{answer}, {other}; the journal's is {}", order.order_id()),
            );
            continue;
        }
        let version = usize::try_from(report.version)
            .ok()
            .and_then(|version| order.versions.get(version - 1));
        match version {
            None => found.add(
                "answer_not_journaled",
                format!("{answer}, which the journal does not have"),
            ),
            Some(version) if !is_as_journaled(version, kind, report) => {
                found.add(
                    "answer_differs",
                    format!("{answer}, and entry {} says otherwise", version.sequence),
                );
            }
            Some(version) => {
                let named = report.journal_sequence;
                if named.is_some_and(|named| named < version.sequence) {
                    let text = format!("{answer} at sequence {named:?}, and it is at {}", version.sequence);
                    found.add("answer_before_journal", text);
                }
            }
        }
    }
}

/// Reports whether an answer is the journaled report. What a reply to a replace says of it is checked by itself.
fn is_as_journaled(version: &ModelVersion, kind: CallKind, report: &AnsweredReport) -> bool {
    match kind {
        CallKind::Replace(_) => version.hash_without_replace == report.hash_without_replace,
        CallKind::Submit | CallKind::Conflict | CallKind::Cancel => version.hash == report.hash,
    }
}

/// The journal has the outcome that the caller got.
fn check_outcome(
    intent: &ChaosIntent,
    history: &IntentHistory,
    order: Option<&ModelOrder>,
    found: &mut FoundViolations,
) {
    let id = intent.client_order_id();
    // A rejected order without a fill is not at the venue.
    let is_at_venue = |order: &&ModelOrder| {
        let report = &order.newest;
        let is_rejected = report.status == OrderStatus::Rejected && report.fills.is_empty();
        !order.is_denied() && !is_rejected
    };
    let executed = order.filter(is_at_venue);
    match (history.outcome(), executed) {
        (IntentOutcome::NothingSent | IntentOutcome::Refused, Some(order)) => {
            let text = format!(
                "every call of {id} was refused, and {} is {}",
                order.order_id(),
                order.newest.status
            );
            found.add("order_behind_refusals", text);
        }
        (IntentOutcome::Denied, Some(order)) => {
            let text = format!("{id} was denied, and {} is {}", order.order_id(), order.newest.status);
            found.add("order_behind_denial", text);
        }
        (IntentOutcome::Denied, None) => check_denial(id, history, order, found),
        (IntentOutcome::Reported, _) if history.submissions().any(|call| call.answer.is_denial()) => {
            found.add("two_outcomes", format!("{id} has a report and a denial"));
        }
        _ => {}
    }
    if let Some(order) = executed
        && !history.covers(order.newest.submitted_at)
    {
        let at = order.newest.submitted_at;
        found.add(
            "late",
            format!(
                "{} of {id} was accepted at {at}, outside of every call",
                order.order_id()
            ),
        );
    }
    let is_unanswered = history.outcome() == IntentOutcome::Unknown || history.outcome() == IntentOutcome::NothingSent;
    if is_unanswered && !intent.habits.is_impatient {
        found.add(
            "unanswered",
            format!("{id} has no outcome after {} calls", history.calls.len()),
        );
    }
}

fn check_denial(id: &str, history: &IntentHistory, order: Option<&ModelOrder>, found: &mut FoundViolations) {
    let journaled = order.and_then(|order| order.newest.denial()).map(|denial| denial.code);
    let Some(journaled) = journaled else {
        found.add(
            "denial_not_journaled",
            format!("{id} was denied, and the journal has no denial"),
        );
        return;
    };
    for call in history.submissions().filter(|call| call.answer.is_denial()) {
        if let CallAnswer::Problem { code, .. } = &call.answer
            && *code != Some(journaled)
        {
            let answer = code.map_or("?", FaultCode::as_str);
            found.add(
                "denial_differs",
                format!("{id} was denied with {answer}, the journal has {}", journaled.as_str()),
            );
        }
    }
}

/// Other content under a used id is never accepted.
fn check_conflicts(intent: &ChaosIntent, history: &IntentHistory, found: &mut FoundViolations) {
    for call in history.calls.iter().filter(|call| call.kind == CallKind::Conflict) {
        let is_refused = match &call.answer {
            CallAnswer::Nothing => true,
            CallAnswer::Report(report) => report.version == 0,
            CallAnswer::Problem { status, code } => {
                *status >= 500
                    || *status == 429
                    || matches!(
                        code,
                        Some(FaultCode::ClientOrderIdConflict | FaultCode::IntentExpired | FaultCode::UnknownBroker)
                    )
            }
        };
        if !is_refused {
            let id = intent.client_order_id();
            found.add(
                "conflict_accepted",
                format!("{id}: other content was answered with {:?}", call.answer),
            );
        }
    }
}
