//! The callers: each sends one intent through changing doors until it has its outcome, always under the same id.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::chaos::doors::ChaosDoors;
use crate::chaos::history::{CallAnswer, CallKind, CallRecord, ChaosDoor, IntentHistory, IntentOutcome};
use crate::chaos::random::SeededDraws;
use crate::chaos::replace_calls::replace_while_open;
use crate::chaos::retries::{is_over, pause_before_retry};
use crate::chaos::workload::{ChaosIntent, ChaosRun};
use crate::domain::order_terms::OrderStatus;
use crate::domain::time::Timestamp;

/// The pause between two intents of a lane, in milliseconds.
const NEXT_PAUSE_MS: (u64, u64) = (0, 80);

/// The progress that all lanes share.
#[derive(Debug)]
pub(in crate::chaos) struct SharedProgress {
    /// The number of the next intent.
    next: Mutex<u64>,
    /// The intents that are done.
    histories: Mutex<Vec<IntentHistory>>,
}

impl SharedProgress {
    /// Returns the progress of a run that has not begun.
    pub(in crate::chaos) fn new() -> Self {
        Self {
            next: Mutex::new(0),
            histories: Mutex::new(Vec::new()),
        }
    }

    fn next_number(&self) -> u64 {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let number = *next;
        *next += 1;
        number
    }

    fn push(&self, history: IntentHistory) {
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        histories.push(history);
    }

    /// Returns what the callers saw so far, in the order of the intents' numbers.
    pub(in crate::chaos) fn take_histories(&self) -> Vec<IntentHistory> {
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = std::mem::take(&mut *histories);
        taken.sort_unstable_by_key(|history| history.number);
        taken
    }
}

/// Sends intents one after the other until `stopped` is true or `max_intents` are sent. An intent that was begun is ended;
/// its caller gives up only some time after `recovered` has become true.
pub(in crate::chaos) async fn run_lane(
    doors: ChaosDoors,
    progress: Arc<SharedProgress>,
    run: ChaosRun,
    max_intents: u64,
    stopped: watch::Receiver<bool>,
    recovered: watch::Receiver<bool>,
) {
    while !*stopped.borrow() {
        let number = progress.next_number();
        if number >= max_intents {
            return;
        }
        match ChaosIntent::of_run(run, number) {
            Ok(intent) => {
                let pause = intent.draws.clone().between(NEXT_PAUSE_MS.0, NEXT_PAUSE_MS.1);
                progress.push(send_until_final(&doors, intent, &recovered).await);
                sleep(Duration::from_millis(pause)).await;
            }
            Err(error) => tracing::error!(%error, number, "an intent is invalid and is not sent"),
        }
    }
}

/// Sends an intent until it has its outcome, and does what its caller does afterwards.
async fn send_until_final(
    doors: &ChaosDoors,
    mut intent: ChaosIntent,
    recovered: &watch::Receiver<bool>,
) -> IntentHistory {
    let mut history = IntentHistory {
        number: intent.number,
        calls: Vec::new(),
    };
    let mut give_up_at = None;
    loop {
        let body = intent.body();
        let is_final = call(doors, &mut intent, &mut history, CallKind::Submit, body).await;
        if is_final || intent.habits.is_impatient {
            break;
        }
        if is_over(recovered, &mut give_up_at) {
            break;
        }
        pause_before_retry(&mut intent.draws).await;
    }
    let outcome = history.outcome();
    if !matches!(outcome, IntentOutcome::Reported | IntentOutcome::Denied) {
        return history;
    }
    if is_open(&history) {
        replace_while_open(doors, &mut intent, &mut history, recovered).await;
    }
    if let Some(wait) = intent.habits.cancels_after.filter(|_| is_open(&history)) {
        sleep(wait).await;
        cancel(doors, &mut intent, &mut history).await;
    }
    if intent.habits.conflicts {
        let body = intent.conflicting_body();
        call(doors, &mut intent, &mut history, CallKind::Conflict, body).await;
    }
    if intent.habits.repeats {
        let body = intent.body();
        call(doors, &mut intent, &mut history, CallKind::Submit, body).await;
    }
    history
}

/// Makes one call and records it. Returns whether its answer is final.
async fn call(
    doors: &ChaosDoors,
    intent: &mut ChaosIntent,
    history: &mut IntentHistory,
    kind: CallKind,
    body: Bytes,
) -> bool {
    // What a caller leaves in the work queue may still be executed, and not after its deadline.
    let leaves_it = intent.habits.is_impatient && intent.draws.in_percent(50);
    let door = if leaves_it {
        ChaosDoor::Durable
    } else {
        draw_door(&mut intent.draws)
    };
    let made_at = Timestamp::now();
    let deadline = made_at.saturating_add(intent.next_deadline());
    let answer = doors.submit(intent, body, door, deadline).await;
    let is_final = answer.is_final();
    history.calls.push(CallRecord {
        kind,
        door,
        made_at,
        deadline,
        answer,
        answered_at: Timestamp::now(),
    });
    is_final
}

async fn cancel(doors: &ChaosDoors, intent: &mut ChaosIntent, history: &mut IntentHistory) {
    let door = draw_door(&mut intent.draws);
    let made_at = Timestamp::now();
    let deadline = made_at.saturating_add(intent.next_deadline());
    let answer = doors.cancel(intent, door, deadline).await;
    history.calls.push(CallRecord {
        kind: CallKind::Cancel,
        door,
        made_at,
        deadline,
        answer,
        answered_at: Timestamp::now(),
    });
}

fn draw_door(draws: &mut SeededDraws) -> ChaosDoor {
    match draws.below(3) {
        0 => ChaosDoor::Request,
        1 => ChaosDoor::Durable,
        _ => ChaosDoor::Rest,
    }
}

fn is_open(history: &IntentHistory) -> bool {
    history.submissions().last().is_some_and(|call| match &call.answer {
        CallAnswer::Report(report) => matches!(
            report.status,
            OrderStatus::Accepted | OrderStatus::PartiallyFilled | OrderStatus::Unknown
        ),
        _ => false,
    })
}
