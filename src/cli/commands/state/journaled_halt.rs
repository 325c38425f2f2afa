//! A halt without a worker: it is appended to the journal, from which every worker takes it before its first order.

use anyhow::Context;

use crate::bus::connection::AwaitedSubjects;
use crate::bus::journal::JournalEntry;
use crate::bus::subjects;
use crate::cli::error::CommandError;
use crate::cli::requests::bus_client::CliClient;
use crate::client::error::CallError;
use crate::domain::control::OperatorOverrides;
use crate::domain::order_terms::TradingState;
use crate::domain::time::Timestamp;
use crate::fault::FaultCode;
use crate::wire::state::{StateChangeRequest, StateEvent};

/// How often the halt is appended because another change came first.
const MAX_APPEND_ATTEMPTS: usize = 8;

/// Returns why the halt goes to the journal: no worker can apply it. `None` for a failure that a worker decided, and for a
/// change that is more than a halt.
pub(super) fn reason_to_journal(change: &StateChangeRequest, error: &CallError) -> Option<String> {
    let is_halt_alone = change.trading_state == Some(TradingState::Halted)
        && change.mode.is_none()
        && change.daily_notional_limit.is_none()
        && change.daily_loss_limit.is_none();
    let is_unapplied = match error {
        CallError::OutcomeUnknown { .. } => true,
        CallError::Undecodable(_) => false,
        CallError::Refused(fault) => matches!(fault.code, FaultCode::NoWorker | FaultCode::StoreUnavailable),
    };
    (is_halt_alone && is_unapplied).then(|| error.to_string())
}

/// Appends the halt to the journal and prints the event. `reason` is why no worker has applied it.
///
/// # Errors
/// When the journal does not exist or does not confirm the event, or the NATS user may not append it.
pub(super) async fn append_and_print(
    client: &CliClient,
    change: &StateChangeRequest,
    reason: &str,
) -> Result<(), CommandError> {
    let appended = client
        .caller
        .bus()
        .unless_denied(AwaitedSubjects::Any, append_halt(client, change))
        .await;
    let event = appended.with_context(|| format!("{reason}; the halt could not be journaled either"))?;
    let version = event.version;
    Ok(client.print_reply(&serde_json::to_vec(&event).map_err(anyhow::Error::from)?, || {
        format!(
            "{reason}. Trading is halted on the journal, as version {version}: every worker applies it before it accepts an \
             order, and cancels the open orders"
        )
    })?)
}

async fn append_halt(client: &CliClient, change: &StateChangeRequest) -> anyhow::Result<StateEvent> {
    let (reader, writer) = client.open_journal();
    let subject = subjects::event(subjects::STATE_EVENT_KIND, None);
    for _ in 0..MAX_APPEND_ATTEMPTS {
        let last = reader.read_last_for_subject(&subject).await?;
        let newest: Option<StateEvent> = last
            .as_ref()
            .map(|last| serde_json::from_slice(&last.body))
            .transpose()?;
        let event = halted_event(newest.as_ref(), change)?;
        let entry = JournalEntry::state_change(event.version, serde_json::to_vec(&event)?.into());
        let last_sequence = last.map_or(0, |last| last.sequence);
        if writer.append_if_last(entry, last_sequence).await?.is_some() {
            return Ok(event);
        }
    }
    anyhow::bail!("the state changes faster than the halt can be journaled; try again")
}

/// Returns the event that follows the newest one and halts trading; every other value stays.
fn halted_event(newest: Option<&StateEvent>, change: &StateChangeRequest) -> anyhow::Result<StateEvent> {
    let values = match newest {
        Some(newest) => newest
            .to_operator_values()
            .context("the journal's state event has a limit out of range")?,
        None => OperatorOverrides::default(),
    };
    let event = StateEvent {
        version: newest.map_or(0, |newest| newest.version) + 1,
        mode: None,
        trading_state: None,
        daily_notional_limit: None,
        daily_loss_limit: None,
        actor: change.actor.clone().unwrap_or_default(),
        reason: change.reason.clone().unwrap_or_default(),
        timestamp: Timestamp::now(),
        earlier: Vec::new(),
    };
    Ok(event.with_operator_values(OperatorOverrides {
        trading_state: Some(TradingState::Halted),
        ..values
    }))
}
