//! From a settled report to its outcome: it is journaled, and returned once it is known to count.

use crate::brokers::adapter::BookedEffect;
use crate::config::guards::Guard;
use crate::domain::order::Order;
use crate::domain::reason::ReasonCode;
use crate::fault::Fault;
use crate::repeated_log::log_at_intervals;
use crate::wire::report::ExecutionReport;
use crate::worker::journaling::{append, current_report};
use crate::worker::router::Router;
use crate::worker::stop_point;
use crate::worker::submission::outcome::SubmissionOutcome;

/// Journals a settled report and returns it; a receipt with `not_journaled` if the journal does not confirm it.
///
/// # Errors
/// None: a settled report always has an outcome. The type is that of the pipeline's other steps.
pub async fn journal_and_build_outcome(router: &Router, booked: &BookedEffect) -> Result<SubmissionOutcome, Fault> {
    let order = &booked.order;
    if Guard::JournalBeforeReply.is_off() {
        let (later, booked) = (router.clone(), booked.clone());
        router
            .deferred_tasks
            .spawn(async move { drop(append::append_booked_effect(&later, &booked).await) });
        return Ok(SubmissionOutcome::journaled(ExecutionReport::from(order), 0));
    }
    match append::append_booked_effect(router, booked).await {
        Ok(appended) => {
            stop_point::reach("after_journal");
            match appended.into_confirmed().await {
                Some(sequence) => Ok(SubmissionOutcome::journaled(ExecutionReport::from(order), sequence)),
                None => Ok(read_what_counts(router, order).await),
            }
        }
        Err(error) => {
            log_at_intervals!(
                warn,
                order_id = %order.order_id, %error,
                "a settled report is not journaled yet; it waits in the outbox"
            );
            let message = "the order is settled, and its report is not journaled yet; read it again";
            Ok(SubmissionOutcome::receipt_for_order(
                order,
                ReasonCode::NotJournaled,
                message,
            ))
        }
    }
}

/// Returns the report of what the store holds in an effect's place, which is another one where a rebuild came in between; a
/// receipt where that cannot be read.
async fn read_what_counts(router: &Router, order: &Order) -> SubmissionOutcome {
    match current_report::current_report(router, &order.key()).await {
        Ok(Some(outcome)) => outcome,
        Ok(None) | Err(_) => SubmissionOutcome::receipt_for_order(
            order,
            ReasonCode::InFlight,
            "the report was journaled late, and the shared state has not confirmed that it counts; read the order again",
        ),
    }
}
