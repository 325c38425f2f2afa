//! `GET /brokers`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::bus::request::BusReply;
use crate::bus::subjects;
use crate::sidecar::bus_bridge::{self, EMPTY_OBJECT, READ_TIMEOUT_DETAIL};
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;

/// Returns the brokers and their capabilities.
pub(in crate::sidecar) async fn list_brokers(
    State(context): State<Arc<SidecarContext>>,
    call_context: CallContext,
    parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let reply = request_brokers(&context, &call_context).await?;
    Ok(json::raw_response(StatusCode::OK, reply.body))
}

/// Requests the list of brokers from a worker.
///
/// # Errors
/// `no_worker` if no worker replies in time, and the faults of [`bus_bridge::call`].
pub(in crate::sidecar) async fn request_brokers(
    context: &SidecarContext,
    call_context: &CallContext,
) -> Result<BusReply, ProblemResponse> {
    bus_bridge::call(context, subjects::BROKERS, EMPTY_OBJECT, call_context)
        .await
        .map_err(|error| problem::timeout_as_unavailable(error, READ_TIMEOUT_DETAIL))
}
