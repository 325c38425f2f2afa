//! The replaces: each has one outcome, which is the one that every caller was answered, and exactly the terms that were asked
//! for.

use std::collections::{HashMap, HashSet};

use crate::chaos::history::{CallAnswer, IntentHistory};
use crate::chaos::journal_model::{IntentKey, JournalModel, ModelOrder, ModelVersion};
use crate::chaos::replace_plan::PlannedReplace;
use crate::chaos::violation::FoundViolations;
use crate::chaos::workload::{ChaosIntent, ChaosRun};
use crate::domain::replace::ReplaceState;
use crate::wire::settled_legs::SettlementReplace;

/// Checks every replace of the journal, and every answer to one.
///
/// # Errors
/// When an intent of the run is invalid.
pub(in crate::chaos) fn check_replaces(
    run: ChaosRun,
    histories: &[IntentHistory],
    model: &JournalModel,
    found: &mut FoundViolations,
) -> anyhow::Result<()> {
    let mut asked: HashMap<IntentKey, HashSet<String>> = HashMap::new();
    for history in histories {
        let intent = ChaosIntent::of_run(run, history.number)?;
        let key = (intent.account.to_string(), intent.client_order_id().to_owned());
        let order = model.orders.get(&key);
        for (place, planned) in intent.replaces.iter().enumerate() {
            let answers: Vec<&CallAnswer> = history.answers_to_replace(place).collect();
            if answers.is_empty() {
                continue;
            }
            asked.entry(key.clone()).or_default().insert(planned.replace_id.clone());
            let name = format!("the replace {} of {}", planned.replace_id, key.1);
            check_answers(&name, planned, &answers, order, found);
        }
    }
    for (key, order) in &model.orders {
        for replace in order.replaces() {
            let is_asked = asked.get(key).is_some_and(|ids| ids.contains(&replace.replace_id));
            if !is_asked {
                let text = format!("{} has the replace {}", order.order_id(), replace.replace_id);
                found.add("replace_without_request", text);
            }
        }
        if let Some(problem) = history_problem(&order.versions) {
            found.add("replace_history", format!("{}: {problem}", order.order_id()));
        }
    }
    Ok(())
}

/// Checks the answers to one replace against the journal.
fn check_answers(
    name: &str,
    planned: &PlannedReplace,
    answers: &[&CallAnswer],
    order: Option<&ModelOrder>,
    found: &mut FoundViolations,
) {
    let replaces = order.map_or(&[][..], ModelOrder::replaces);
    let journaled = replaces.iter().find(|one| one.replace_id == planned.replace_id);
    for answer in answers {
        if let CallAnswer::Report(report) = answer
            && report.version > 0
        {
            let said = report.replace.as_deref();
            let version = usize::try_from(report.version)
                .ok()
                .and_then(|version| version.checked_sub(1));
            let version = order.zip(version).and_then(|(order, at)| order.versions.get(at));
            let replaces = version.map_or(&[][..], |version| &version.replaces);
            let then = replaces.iter().find(|one| one.replace_id == planned.replace_id);
            if said.is_none() || said != then.map(SettlementReplace::to_reported).as_ref() {
                let text = format!(
                    "{name} was answered with {said:?}, version {} says {then:?}",
                    report.version
                );
                found.add("replace_answer_differs", text);
            }
            let closed = said.map(|said| said.state).filter(|state| !state.is_open());
            let outcome = journaled.map(|replace| replace.state);
            if closed.is_some() && closed != outcome {
                let text = format!("{name} was answered with {closed:?}, and the journal ends with {outcome:?}");
                found.add("two_replace_outcomes", text);
            }
        }
    }
    let is_final = answers.iter().any(|answer| answer.is_final_of_replace());
    if !is_final && !planned.is_impatient {
        let text = format!(
            "{name} has no outcome after {} calls: {:?}",
            answers.len(),
            answers.last()
        );
        found.add("unanswered", text);
    }
    let Some(journaled) = journaled else { return };
    if journaled.state.is_open() {
        found.add("replace_open", format!("{name} ends {}", journaled.state));
    }
    let has_taken_effect = journaled.state != ReplaceState::NotReplaced;
    if has_taken_effect && answers.iter().all(|answer| answer.sent_nothing()) {
        let text = format!("every call of {name} was refused, and it is {}", journaled.state);
        found.add("replace_behind_refusals", text);
    }
    let (price, quantity) = planned.terms();
    let is_as_asked = price.is_none_or(|price| price == journaled.price)
        && quantity.is_none_or(|quantity| quantity == journaled.quantity);
    if !is_as_asked {
        let text = format!("{name} asks for {quantity:?} at {price:?}, journaled is {journaled:?}");
        found.add("replace_terms", text);
    }
}

/// Returns what is wrong with the replaces of an order from version to version.
fn history_problem(versions: &[ModelVersion]) -> Option<String> {
    let mut before: &[SettlementReplace] = &[];
    let first_terms = versions.first()?.terms;
    for (version, number) in versions.iter().zip(1_u32..) {
        for (at, replace) in version.replaces.iter().enumerate() {
            if usize::from(replace.leg) != at + 2 {
                return Some(format!("version {number} has leg {} at place {at}", replace.leg));
            }
            let is_last = at + 1 == version.replaces.len();
            if replace.state.is_open() && !is_last {
                return Some(format!("version {number} has two open replaces"));
            }
            let Some(earlier) = before.get(at) else { continue };
            let is_same = earlier.replace_id == replace.replace_id
                && (earlier.price, earlier.quantity) == (replace.price, replace.quantity);
            if !is_same || (!earlier.state.is_open() && earlier.state != replace.state) {
                return Some(format!("version {number} turns {earlier:?} into {replace:?}"));
            }
        }
        if version.replaces.len() < before.len() {
            return Some(format!("version {number} has lost a replace"));
        }
        let mut done = version
            .replaces
            .iter()
            .rev()
            .filter(|replace| replace.state == ReplaceState::Done);
        let terms = done
            .next()
            .map_or(first_terms, |done| (Some(done.price), done.quantity));
        if version.terms != terms {
            return Some(format!(
                "version {number} has the terms {:?} instead of {terms:?}",
                version.terms
            ));
        }
        before = &version.replaces;
    }
    None
}

/// Versions of an order for the tests of the checks.
#[cfg(test)]
pub(super) mod test_versions {
    use crate::chaos::journal_model::ModelVersion;
    use crate::domain::decimal::Decimal;
    use crate::domain::replace::{ReplaceMethod, ReplaceState};
    use crate::domain::time::Timestamp;
    use crate::wire::settled_legs::SettlementReplace;

    /// A replace that asks for this quantity at 100.
    pub fn replace(leg: u8, state: ReplaceState, quantity: i64) -> SettlementReplace {
        SettlementReplace {
            replace_id: format!("r{leg}"),
            state,
            leg,
            method: ReplaceMethod::CancelReplace,
            price: Decimal::from(100),
            quantity: Decimal::from(quantity),
            reason: None,
            requested_at: Timestamp::from_milliseconds(0),
            filled_before: Decimal::ZERO,
            ended_leg: None,
            is_placing: false,
            earlier_share: [0; 2],
            new_share: [0; 2],
        }
    }

    /// A version that was journaled at this moment, with this quantity at 100.
    pub fn version(at_ms: i64, quantity: i64, replaces: Vec<SettlementReplace>) -> ModelVersion {
        ModelVersion {
            sequence: 1,
            stored_at: Timestamp::from_milliseconds(at_ms),
            hash: [0; 16],
            hash_without_replace: [0; 16],
            settlement: None,
            terms: (Some(Decimal::from(100)), Decimal::from(quantity)),
            replaces,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::test_versions::{replace, version};
    use super::*;
    use crate::chaos::history::AnsweredReport;
    use crate::domain::order_terms::OrderStatus;
    use crate::fault::FaultCode;

    fn planned() -> PlannedReplace {
        PlannedReplace {
            replace_id: "r1".into(),
            price: Some(100),
            quantity: None,
            after: std::time::Duration::ZERO,
            is_sent_twice: false,
            is_impatient: false,
        }
    }

    fn checks(answers: &[CallAnswer]) -> Vec<&'static str> {
        let mut found = FoundViolations::default();
        let answers: Vec<&CallAnswer> = answers.iter().collect();
        check_answers("r1", &planned(), &answers, None, &mut found);
        found.into_kept().iter().map(|violation| violation.check).collect()
    }

    #[test]
    fn refusals_end_a_replace_and_silence_does_not() {
        let refused = CallAnswer::Problem {
            status: 409,
            code: Some(FaultCode::NotReplaced),
        };
        assert_eq!(checks(&[CallAnswer::Nothing, refused]), [""; 0]);
        assert_eq!(checks(&[CallAnswer::Nothing]), ["unanswered"]);
    }

    #[test]
    fn outcome_that_the_journal_does_not_have_is_seen() {
        let report = CallAnswer::Report(AnsweredReport {
            order_id: "BN-1".into(),
            version: 2,
            status: OrderStatus::Accepted,
            hash: [0; 16],
            hash_without_replace: [0; 16],
            replace: Some(Box::new(crate::wire::reported_replace::ReportedReplace {
                replace_id: "r1".into(),
                state: ReplaceState::Done,
                leg: 2,
                price: crate::domain::decimal::Decimal::from(1),
                quantity: crate::domain::decimal::Decimal::from(1),
                reason: None,
            })),
            journal_sequence: None,
        });
        assert_eq!(checks(&[report]), ["replace_answer_differs", "two_replace_outcomes"]);
    }

    #[test]
    fn replaces_go_on_from_version_to_version_and_make_the_terms() {
        let pending = || vec![replace(2, ReplaceState::Pending, 7)];
        let done = || vec![replace(2, ReplaceState::Done, 7)];
        let begun = || vec![version(1, 5, vec![]), version(2, 5, pending())];
        let after = |next| history_problem(&begun().into_iter().chain([next]).collect::<Vec<_>>());
        assert_eq!(after(version(3, 7, done())), None);
        for (next, what) in [
            (version(3, 5, done()), "has the terms"),
            (version(3, 7, pending()), "has the terms"),
            (version(3, 5, vec![]), "has lost a replace"),
            (version(3, 5, vec![replace(2, ReplaceState::Pending, 8)]), "turns"),
            (
                version(3, 5, vec![replace(3, ReplaceState::Pending, 7)]),
                "has leg 3 at place 0",
            ),
            (
                version(
                    3,
                    5,
                    vec![
                        replace(2, ReplaceState::Pending, 7),
                        replace(3, ReplaceState::Pending, 9),
                    ],
                ),
                "two open replaces",
            ),
        ] {
            let problem = after(next).unwrap_or_default();
            assert!(problem.contains(what), "{problem:?} and not {what}");
        }
        let reopened = [version(1, 5, vec![]), version(2, 7, done()), version(3, 5, pending())];
        assert!(history_problem(&reopened).is_some_and(|problem| problem.contains("turns")));
    }
}
