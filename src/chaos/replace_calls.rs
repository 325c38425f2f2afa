//! What the caller of an open order does with its replaces: each is sent, always under its own id, until it has its outcome.

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::chaos::doors::ChaosDoors;
use crate::chaos::history::{CallKind, CallRecord, ChaosDoor, IntentHistory};
use crate::chaos::replace_plan::PlannedReplace;
use crate::chaos::retries::{is_over, pause_before_retry};
use crate::chaos::workload::ChaosIntent;
use crate::domain::time::Timestamp;

/// Asks for each planned replace, one after the other.
pub(in crate::chaos) async fn replace_while_open(
    doors: &ChaosDoors,
    intent: &mut ChaosIntent,
    history: &mut IntentHistory,
    recovered: &watch::Receiver<bool>,
) {
    for (place, planned) in intent.replaces.clone().into_iter().enumerate() {
        sleep(planned.after).await;
        send_until_final(doors, intent, history, (place, &planned), recovered).await;
    }
}

async fn send_until_final(
    doors: &ChaosDoors,
    intent: &mut ChaosIntent,
    history: &mut IntentHistory,
    (place, planned): (usize, &PlannedReplace),
    recovered: &watch::Receiver<bool>,
) {
    let mut give_up_at = None;
    let mut is_twice = planned.is_sent_twice;
    loop {
        let (first, second) = (next_call(intent), next_call(intent));
        let calls = match std::mem::take(&mut is_twice) {
            true => vec![first, second],
            false => vec![first],
        };
        let calls = calls
            .into_iter()
            .map(|call| make_call(doors, intent, (place, planned), call));
        let records = join_all(calls).await;
        let is_final = records.iter().any(|record| record.answer.is_final_of_replace());
        history.calls.extend(records);
        if is_final || planned.is_impatient || is_over(recovered, &mut give_up_at) {
            return;
        }
        pause_before_retry(&mut intent.draws).await;
    }
}

/// Returns the door and the deadline of the next call. A replace has no durable door.
fn next_call(intent: &mut ChaosIntent) -> (ChaosDoor, Timestamp) {
    let door = match intent.draws.below(2) {
        0 => ChaosDoor::Request,
        _ => ChaosDoor::Rest,
    };
    (door, Timestamp::now().saturating_add(intent.next_deadline()))
}

async fn make_call(
    doors: &ChaosDoors,
    intent: &ChaosIntent,
    (place, planned): (usize, &PlannedReplace),
    (door, deadline): (ChaosDoor, Timestamp),
) -> CallRecord {
    let made_at = Timestamp::now();
    let answer = doors.replace(intent, planned, door, deadline).await;
    CallRecord {
        kind: CallKind::Replace(place),
        door,
        made_at,
        deadline,
        answer,
        answered_at: Timestamp::now(),
    }
}
