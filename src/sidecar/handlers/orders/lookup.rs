//! `GET /orders/{order_id}` and `GET /orders/by-client-id/{client_order_id}`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::bus::request::BusReply;
use crate::bus::router_client::RequestError;
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId};
use crate::fault::{Fault, FaultCode, quoted};
use crate::sidecar::bus_bridge::{self, READ_TIMEOUT_DETAIL};
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::service::brokers;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::{ProblemResponse, timeout_as_unavailable};
use crate::wire::brokers::BrokerList;
use crate::wire::order_reference::{OrderReference, OrderSelector};
use crate::wire::report::ExecutionReport;

/// The prefix of each broker's order ids, before the hyphen. The adapters assign them.
const ORDER_ID_PREFIXES: &[(&str, &str)] = &[("BN", "binance"), ("IB", "ibkr")];
/// The maximum number of brokers queried for one order.
const MAX_BROKERS_QUERIED: usize = 16;

/// Returns an order's current report, by order id.
pub(in crate::sidecar) async fn get_order(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    mut parameters: QueryParameters,
    PathSegment(text): PathSegment,
) -> Result<Response, ProblemResponse> {
    let account = parameters.take("account_id", AccountId::new)?;
    parameters.reject_remaining()?;
    if let Some(account) = &account {
        principal.authorize_account(account)?;
    }
    let (Some(broker), Ok(order_id)) = (broker_from_order_id(&text), OrderId::new(&text)) else {
        return Err(unknown_order_fault("order id", &text).into());
    };
    let reply = match account {
        Some(account) => {
            let order = OrderSelector::OrderId(order_id);
            let reply = request_order(&context, &call_context, &broker, Some(&account), &order).await;
            reply.map_err(|error| timeout_as_unavailable(error, READ_TIMEOUT_DETAIL))?
        }
        None => {
            find_order(&context, &call_context, &principal, &broker, order_id)
                .await?
                .0
        }
    };
    Ok(respond_with_report(&context, reply))
}

/// Finds an order by its order id alone, and returns its current report and its account. An order of an account that the
/// sender may not use counts as unknown, so that the reply does not reveal that it exists.
///
/// # Errors
/// `unknown_order`, `no_worker` if no worker replies in time, and the faults of [`bus_bridge::call`].
pub(super) async fn find_order(
    context: &SidecarContext,
    call_context: &CallContext,
    principal: &Principal,
    broker: &BrokerId,
    order_id: OrderId,
) -> Result<(BusReply, AccountId), ProblemResponse> {
    let unknown = || unknown_order_fault("order id", order_id.as_str());
    let order = OrderSelector::OrderId(order_id.clone());
    let reply = match request_order(context, call_context, broker, None, &order).await {
        Err(RequestError::Fault(fault)) if fault.code == FaultCode::UnknownOrder => return Err(unknown().into()),
        reply => reply.map_err(|error| timeout_as_unavailable(error, READ_TIMEOUT_DETAIL))?,
    };
    let account = ExecutionReport::decode(&reply.body)
        .map_err(|error| error.to_string())
        .and_then(|report| AccountId::new(&report.account_id).map_err(|error| error.to_string()));
    let account = account.map_err(|error| {
        tracing::error!(error, %order, "invalid reply: a worker's report of an order");
        Fault::new(
            FaultCode::NoWorker,
            "the worker's report is invalid; specify `account_id`",
        )
    })?;
    principal.authorize_account(&account).map_err(|_| unknown())?;
    Ok((reply, account))
}

/// Returns an order's current report, by client order id. Queries all brokers if the request names none.
pub(in crate::sidecar) async fn get_order_by_client_order_id(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    mut parameters: QueryParameters,
    PathSegment(text): PathSegment,
) -> Result<Response, ProblemResponse> {
    let account = parameters.take_account()?;
    let broker = parameters.take("broker", BrokerId::new)?;
    parameters.reject_remaining()?;
    principal.authorize_account(&account)?;
    let Ok(client_order_id) = ClientOrderId::new(&text) else {
        return Err(unknown_order_fault("client order id", &text).into());
    };
    let brokers = match broker {
        Some(broker) => vec![broker],
        None => request_broker_ids(&context, &call_context).await?,
    };
    let unknown = unknown_order_fault("client order id", &text).with_client_order_id(client_order_id.as_str());
    let order = OrderSelector::ClientOrderId(client_order_id);
    let mut first_failure = None;
    for broker in brokers.iter().take(MAX_BROKERS_QUERIED) {
        match request_order(&context, &call_context, broker, Some(&account), &order).await {
            Ok(reply) => return Ok(respond_with_report(&context, reply)),
            Err(RequestError::Fault(fault)) if fault.code == FaultCode::UnknownOrder => {}
            Err(error) => first_failure = first_failure.or(Some(error)),
        }
    }
    // A broker that did not reply may have the order: it is unknown only if every broker says so.
    Err(match first_failure {
        Some(error) => timeout_as_unavailable(error, READ_TIMEOUT_DETAIL),
        None => unknown.into(),
    })
}

/// Requests an order's current report from a worker; without an account, that of an order of any account.
///
/// # Errors
/// `unknown_order`, and the errors of [`bus_bridge::call`].
pub(in crate::sidecar) async fn request_order(
    context: &SidecarContext,
    call_context: &CallContext,
    broker: &BrokerId,
    account: Option<&AccountId>,
    order: &OrderSelector,
) -> Result<BusReply, RequestError> {
    let request = json::encode(&reference_to(order));
    bus_bridge::call(context, &subjects::get(broker, account), request, call_context).await
}

/// Returns the request on the bus that names an order.
pub(super) fn reference_to(order: &OrderSelector) -> OrderReference {
    let mut reference = OrderReference::default();
    match order {
        OrderSelector::OrderId(id) => reference.order_id = Some(id.to_string()),
        OrderSelector::ClientOrderId(id) => reference.client_order_id = Some(id.to_string()),
    }
    reference
}

async fn request_broker_ids(
    context: &SidecarContext,
    call_context: &CallContext,
) -> Result<Vec<BrokerId>, ProblemResponse> {
    let reply = brokers::request_brokers(context, call_context).await?;
    let list: BrokerList = serde_json::from_slice(&reply.body).map_err(|error| {
        tracing::error!(%error, "invalid reply: a worker's list of brokers");
        Fault::new(
            FaultCode::NoWorker,
            "the worker's list of brokers is invalid; specify `broker`",
        )
    })?;
    Ok(list
        .brokers
        .iter()
        .filter_map(|name| BrokerId::new(name).ok())
        .collect())
}

/// Returns the response with a worker's report: 202 for a receipt, since no report is journaled yet.
fn respond_with_report(context: &SidecarContext, reply: BusReply) -> Response {
    let report = ExecutionReport::decode(&reply.body);
    let is_receipt = report.as_ref().is_ok_and(ExecutionReport::is_receipt);
    if let Ok(report) = report {
        context.last_mode.record(report.mode);
    }
    let status = if is_receipt {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    json::raw_response(status, reply.body)
}

fn broker_from_order_id(order_id: &str) -> Option<BrokerId> {
    let (prefix, _) = order_id.split_once('-')?;
    let (_, broker) = ORDER_ID_PREFIXES.iter().find(|(known, _)| *known == prefix)?;
    BrokerId::new(broker).ok()
}

fn unknown_order_fault(kind: &str, text: &str) -> Fault {
    let detail = format!("no order with {kind} {:?}", quoted(text));
    Fault::new(FaultCode::UnknownOrder, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_of_an_order_id_is_its_broker() {
        for (order_id, broker) in [
            ("BN-1", Some("binance")),
            ("IB-1", Some("ibkr")),
            ("XX-1", None),
            ("bn-1", None),
            ("BN", None),
            ("", None),
        ] {
            let found = broker_from_order_id(order_id);
            assert_eq!(found.as_ref().map(BrokerId::as_str), broker, "{order_id}");
        }
    }
}
