//! `POST /orders/{broker}/cancel`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId};
use crate::fault::{Fault, FaultCode, quoted};
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::JsonBody;
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::orders::lookup;
use crate::sidecar::handlers::orders::order_request::{OrderAction, TargetOrder};
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::order_reference::{OrderSelector, take_order_selector};
use crate::wire::report::ExecutionReport;
use crate::wire::strict_object::StrictObject;

const CANCEL: OrderAction = OrderAction {
    name: "cancel",
    unknown_outcome: "no worker replied in time: the order may have been cancelled; look it up, or cancel it again",
};

/// Cancels an order and returns its report, or a receipt if the outcome is unknown.
pub(in crate::sidecar) async fn cancel_order(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    PathSegment(broker): PathSegment,
    JsonBody(body): JsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let broker = parse_path_broker(&broker)?;
    let (selector, account) = decode_cancel(&body)?;
    let order = TargetOrder::find(&context, &call_context, &principal, broker, selector, account).await?;
    let request = json::encode(&lookup::reference_to(&order.selector));
    let subject = subjects::cancel(&order.broker, Some(&order.account));
    let status = |report: &ExecutionReport| status_of(&order, report);
    order
        .call(&context, &call_context, &CANCEL, &subject, request, status)
        .await
}

/// Returns the broker of a path.
///
/// # Errors
/// `unknown_broker` if the text cannot be a broker's id.
pub(super) fn parse_path_broker(text: &str) -> Result<BrokerId, Fault> {
    BrokerId::new(text).map_err(|_| {
        let detail = format!("unknown broker {:?}", quoted(text));
        Fault::new(FaultCode::UnknownBroker, detail)
    })
}

fn decode_cancel(body: &[u8]) -> Result<(OrderSelector, Option<AccountId>), Fault> {
    let mut object = StrictObject::from_body(body)?;
    let order = take_order_selector(&mut object)?;
    let account = object.optional_text("account_id", AccountId::new)?;
    object.reject_unknown()?;
    Ok((order, account))
}

/// Returns the status for a worker's report: 200 for an order with a final status, 202 while the venue has not confirmed the
/// cancel.
fn status_of(order: &TargetOrder, report: &ExecutionReport) -> StatusCode {
    let TargetOrder {
        broker,
        account,
        selector,
    } = order;
    tracing::info!(order = %selector, %broker, %account, status = report.status.as_str(), "cancel completed");
    if report.status.is_terminal() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancel_names_one_order_and_at_most_one_account() {
        for (body, expected) in [
            (r#"{"order_id":"BN-1"}"#, Some(("order_id BN-1", None))),
            (
                r#"{"order_id":"BN-1","account_id":"a"}"#,
                Some(("order_id BN-1", Some("a"))),
            ),
            (
                r#"{"client_order_id":"c","account_id":"a"}"#,
                Some(("client_order_id c", Some("a"))),
            ),
            (r#"{"order_id":"BN-1","account_id":"_"}"#, None),
            (r#"{"client_order_id":"c","order_id":"BN-1"}"#, None),
            (r#"{"account_id":"a"}"#, None),
            (r#"{"order_id":"BN-1","order_id":"BN-1"}"#, None),
            (r#"{"order_id":"BN-1","symbol":"BTCUSDT"}"#, None),
            ("[]", None),
        ] {
            let decoded = decode_cancel(body.as_bytes()).ok();
            let decoded =
                decoded.map(|(order, account)| (order.to_string(), account.map(|account| account.to_string())));
            let expected = expected.map(|(order, account)| (order.to_owned(), account.map(str::to_owned)));
            assert_eq!(decoded, expected, "{body}");
        }
    }
}
