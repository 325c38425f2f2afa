//! `GET /orders/{id}/history`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::{Instant, timeout_at};

use crate::bus::journal::JournalReader;
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};
use crate::fault::{Fault, FaultCode};
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::orders::logged_order::load_order;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::order_history::{OrderHistory, limit_measurements};
use crate::wire::order_record::OrderRecord;
use crate::wire::report::ExecutionReport;

/// The entries that are read of the journal at a time: few at first, since most orders have few versions.
const FIRST_BATCH: usize = 16;
const MAX_BATCH: usize = 512;
/// The most entries of the account that are read for one order.
const MAX_ENTRIES: usize = 20_000;
/// The most versions that a response lists.
const MAX_VERSIONS: usize = 500;

/// Returns every version of an order.
pub(in crate::sidecar) async fn get_order_history(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    parameters: QueryParameters,
    PathSegment(number): PathSegment,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let order = load_order(&context, &principal, &number).await?;
    let until = context.read_deadline();
    let version = context.order_log.order_version(&order.external_order_id, until).await?;
    let Ok(_permit) = context.history_permits.try_acquire() else {
        let detail = "the sidecar has reached its limit of histories that are read at a time; retry";
        return Err(Fault::new(FaultCode::QueueFull, detail).into());
    };
    let history = read_history(&context, &order, version, until).await?;
    Ok(json::encode_response(StatusCode::OK, &history))
}

/// Reads the account's reports from the order's first entry on, until the order's last version or a limit.
async fn read_history(
    context: &SidecarContext,
    order: &OrderRecord,
    last_version: u32,
    until: Instant,
) -> Result<OrderHistory, Fault> {
    let unreadable = |reason: &dyn std::fmt::Display| {
        Fault::new(
            FaultCode::BusUnavailable,
            format!("the journal cannot be read: {reason}"),
        )
    };
    let broker = BrokerId::new(&order.broker).map_err(|error| unreadable(&error))?;
    let account = AccountId::new(&order.account_id).map_err(|error| unreadable(&error))?;
    let subject = subjects::report(&broker, &account);
    let journal = JournalReader::new(context.bus_client.bus().clone());
    let covered = timeout_at(until, journal.first_covered_sequence()).await;
    let covered = covered
        .map_err(|error| unreadable(&error))?
        .map_err(|error| unreadable(&error))?;
    let mut history = OrderHistory {
        items: Vec::new(),
        is_complete: false,
        measurements: Vec::new(),
    };
    let (mut next_sequence, mut batch, mut entries_read) = (order.id, FIRST_BATCH, 0);
    while entries_read < MAX_ENTRIES && history.items.len() < MAX_VERSIONS {
        let Ok(entries) = timeout_at(until, journal.read_next_for_subject(&subject, next_sequence, batch)).await else {
            break;
        };
        let entries = entries.map_err(|error| unreadable(&error))?;
        let Some(last) = entries.last() else { break };
        (next_sequence, batch) = (last.sequence + 1, MAX_BATCH.min(batch * 2));
        entries_read += entries.len();
        let reports = entries
            .iter()
            .filter_map(|entry| ExecutionReport::decode(&entry.body).ok());
        for report in reports.filter(|report| report.order_id == order.external_order_id) {
            add_version(&mut history, report);
        }
        if history
            .items
            .last()
            .is_some_and(|report| report.version >= last_version)
        {
            history.is_complete = covered <= order.id && history.items.len() <= MAX_VERSIONS;
            break;
        }
    }
    history.items.truncate(MAX_VERSIONS);
    Ok(history)
}

/// Adds a report, unless it is of a version that is there: the first of each on the journal counts.
fn add_version(history: &mut OrderHistory, mut report: ExecutionReport) {
    if history
        .items
        .last()
        .is_some_and(|known| known.version >= report.version)
    {
        return;
    }
    if let Some(settlement) = report.settlement.take()
        && history.measurements.is_empty()
    {
        history.measurements = limit_measurements(&settlement.figures);
    }
    history.items.push(report);
}
