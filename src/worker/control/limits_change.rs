//! Changes of the limits in force. Every change is journaled first and takes effect then, for all workers: an order that was
//! evaluated under other limits is evaluated again.

use crate::bus::journal::limits::{JournaledLimits, change_limits};
use crate::bus::request::{BusReply, BusRequest};
use crate::config::limits::{LimitDifference, LimitSettings};
use crate::fault::{Fault, FaultCode};
use crate::wire::limits::{LimitsChangeRequest, LimitsEvent};
use crate::worker::control::limits_journal::{change_fault, enforce, enforce_journaled_limits};
use crate::worker::faults::{bus_unavailable, deadline_passed, store_unavailable};
use crate::worker::reply::encode_json;
use crate::worker::router::Router;
use crate::worker::stop_point;

use crate::domain::time::Timestamp;

/// What a worker does at its start where other limits are in force than those of its settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OwnLimits {
    /// It does not start.
    #[default]
    Refuse,
    /// It puts its own in force, in this actor's name and for this reason.
    Apply {
        /// Who makes the change.
        actor: String,
        /// Why.
        reason: String,
    },
}

/// Replies with the limits in force.
///
/// # Errors
/// If the journal does not reply.
pub async fn get_limits(router: &Router) -> Result<BusReply, Fault> {
    let newest = router.journal_reader.read_limits().await;
    let newest = newest.map_err(|error| bus_unavailable(&error))?;
    let newest = newest.ok_or_else(|| Fault::new(FaultCode::NotFound, "the journal has no limits yet"))?;
    encode_limits(&newest)
}

/// Changes the limits and replies with those that are in force then.
///
/// # Errors
/// Limits that cannot be enforced, or that could not be journaled.
pub async fn set_limits(router: &Router, call: &BusRequest) -> Result<BusReply, Fault> {
    let change = LimitsChangeRequest::decode(&call.body)?;
    let deadline = router.default_deadlines.request_deadline(call);
    if Timestamp::now() >= deadline {
        return Err(deadline_passed(deadline));
    }
    let invalid = |error: &dyn std::fmt::Display| Fault::for_field(FaultCode::InvalidField, "limits", error);
    let json = change.packed.unpack().map_err(|error| invalid(&error))?;
    let limits = LimitSettings::from_json(&json).map_err(|errors| invalid(&errors.0.join("; ")))?;
    let base = Some(change.base_hash.as_str());
    let changed = apply(router, &limits, base, (&change.actor, &change.reason)).await?;
    encode_limits(&changed)
}

/// Returns every limit in force that a worker's own settings have otherwise.
pub fn differences_from_own(router: &Router, own: &LimitSettings) -> Vec<LimitDifference> {
    router.control.limits().settings.differences(own)
}

/// Puts a worker's own limits in force in place of those that are.
///
/// # Errors
/// As [`set_limits`].
pub async fn apply_own(router: &Router, own: &LimitSettings, actor: &str, reason: &str) -> Result<(), Fault> {
    let base = router.control.limits().hash.clone();
    apply(router, own, Some(&base), (actor, reason)).await.map(drop)
}

async fn apply(
    router: &Router,
    limits: &LimitSettings,
    base_hash: Option<&str>,
    audit: (&str, &str),
) -> Result<JournaledLimits, Fault> {
    let (reader, writer) = (&router.journal_reader, &router.journal_writer);
    let changed = change_limits(reader, writer, limits, base_hash, audit).await;
    let changed = changed.map_err(change_fault)?;
    stop_point::reach("limits_journaled");
    let enforced = async {
        enforce(router, None, &changed).await?;
        // A later change may be in force already: it is the journal's newest then.
        enforce_journaled_limits(router).await?;
        router.control.refresh().await.map_err(store_unavailable)
    };
    if let Err(fault) = enforced.await {
        let detail = format!(
            "the change is journaled and takes effect as soon as the shared state replies: {}",
            fault.detail
        );
        return Err(Fault { detail, ..fault });
    }
    let LimitsEvent {
        version,
        actor,
        reason,
        change_count,
        changes,
        ..
    } = &changed.event;
    let named: Vec<String> = changes.iter().map(|change| change.name.clone()).collect();
    tracing::warn!(
        version,
        actor,
        reason,
        change_count,
        changes = named.join(", "),
        "limits in force"
    );
    Ok(changed)
}

fn encode_limits(limits: &JournaledLimits) -> Result<BusReply, Fault> {
    Ok(BusReply {
        body: encode_json(&limits.event)?,
        journal_sequence: Some(limits.sequence),
        is_replay: false,
    })
}
