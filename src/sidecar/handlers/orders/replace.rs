//! `POST /orders/{broker}/replace`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::bus::subjects;
use crate::domain::id::AccountId;
use crate::domain::replace::ReplaceState;
use crate::fault::Fault;
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::orders::cancel::parse_path_broker;
use crate::sidecar::handlers::orders::order_request::{OrderAction, TargetOrder};
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::replace::{DecodedReplace, take_replace};
use crate::wire::report::ExecutionReport;
use crate::wire::strict_object::StrictObject;

const REPLACE: OrderAction = OrderAction {
    name: "replace",
    unknown_outcome: "no worker replied in time: the order may have been replaced; look it up, or replace it again under the \
                      same replace_id",
};

/// Replaces the terms of an order and returns its report, or a receipt if the outcome is unknown.
pub(in crate::sidecar) async fn replace_order(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    PathSegment(broker): PathSegment,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let broker = parse_path_broker(&broker)?;
    let (replace, account) = decode_replace_body(&body)?;
    let selector = replace.selector.clone();
    let order = TargetOrder::find(&context, &call_context, &principal, broker, selector, account).await?;
    let subject = subjects::replace(&order.broker, Some(&order.account));
    let (request, status) = (replace.encode(), |report: &ExecutionReport| status_of(&order, report));
    order
        .call(&context, &call_context, &REPLACE, &subject, request, status)
        .await
}

fn decode_replace_body(body: &[u8]) -> Result<(DecodedReplace, Option<AccountId>), Fault> {
    let mut object = StrictObject::from_body(body)?;
    let replace = take_replace(&mut object)?;
    let account = object.optional_text("account_id", AccountId::new)?;
    object.reject_unknown()?;
    Ok((replace, account))
}

/// Returns the status for a worker's report: 202 while the outcome of the replace is open.
fn status_of(order: &TargetOrder, report: &ExecutionReport) -> StatusCode {
    let TargetOrder {
        broker,
        account,
        selector,
    } = order;
    let state = report.replace.as_ref().map(|replace| replace.state);
    tracing::info!(order = %selector, %broker, %account, state = state.map(ReplaceState::as_str), "replace completed");
    match state {
        Some(state) if !state.is_open() && !report.is_receipt() => StatusCode::OK,
        _ => StatusCode::ACCEPTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_names_one_order_a_term_and_at_most_one_account() {
        for (body, expected) in [
            (r#"{"order_id":"BN-1","price":"1"}"#, Some(None)),
            (
                r#"{"client_order_id":"c","quantity":2,"account_id":"a"}"#,
                Some(Some("a")),
            ),
            (r#"{"client_order_id":"c","account_id":"a"}"#, None),
            (r#"{"order_id":"BN-1","price":1,"account_id":"_"}"#, None),
            (r#"{"order_id":"BN-1","price":1,"symbol":"BTCUSDT"}"#, None),
        ] {
            let decoded = decode_replace_body(body.as_bytes()).ok();
            let account = decoded.map(|(_, account)| account.map(|account| account.to_string()));
            assert_eq!(account, expected.map(|account| account.map(str::to_owned)), "{body}");
        }
    }
}
