//! `GET /orders/{order_id}` and `GET /orders/by-client-id/{client_order_id}`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use crate::bus::router_client::ReceivedReply;
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId};
use crate::fault::{Fault, FaultCode, quoted};
use crate::sidecar::bus_bridge;
use crate::sidecar::bus_bridge::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::service::brokers;
use crate::sidecar::middleware::auth::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::brokers::BrokerList;
use crate::wire::order_reference::OrderReference;
use crate::wire::report::ExecutionReport;

/// The letters that open the order ids of each broker, before a hyphen. The adapters assign them.
const ORDER_ID_PREFIXES: &[(&str, &str)] = &[("BN", "binance"), ("IB", "ibkr")];
/// The most brokers that are asked for one order.
const MAX_BROKERS_ASKED: usize = 16;
const TIMEOUT_DETAIL: &str = "no worker has answered in time; ask again";

/// Tells the current report of an order by the router's id.
pub(in crate::sidecar) async fn get_order(
    State(context): State<Arc<SidecarContext>>,
    caller: Principal,
    call_context: CallContext,
    mut parameters: QueryParameters,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ProblemResponse> {
    let account = parameters.take_account()?;
    parameters.reject_remaining()?;
    caller.authorize_account(&account)?;
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let (Some(broker), Ok(order_id)) = (broker_from_order_id(&text), OrderId::new(&text)) else {
        return Err(unknown_order_fault("order id", &text).into());
    };
    let order = OrderReference {
        order_id: Some(order_id.to_string()),
        client_order_id: None,
    };
    let reply = request_order(&context, &call_context, &broker, &account, &order).await?;
    Ok(respond_with_report(&context, reply))
}

/// Tells the current report of an order by the caller's id; without a broker, each of them is asked.
pub(in crate::sidecar) async fn get_order_by_client_order_id(
    State(context): State<Arc<SidecarContext>>,
    caller: Principal,
    call_context: CallContext,
    mut parameters: QueryParameters,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ProblemResponse> {
    let account = parameters.take_account()?;
    let broker = parameters.take("broker", BrokerId::new)?;
    parameters.reject_remaining()?;
    caller.authorize_account(&account)?;
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let Ok(client_order_id) = ClientOrderId::new(&text) else {
        return Err(unknown_order_fault("client order id", &text).into());
    };
    let brokers = match broker {
        Some(broker) => vec![broker],
        None => request_broker_ids(&context, &call_context).await?,
    };
    let order = OrderReference {
        order_id: None,
        client_order_id: Some(client_order_id.to_string()),
    };
    let mut failed = None;
    for broker in brokers.iter().take(MAX_BROKERS_ASKED) {
        match request_order(&context, &call_context, broker, &account, &order).await {
            Ok(reply) => return Ok(respond_with_report(&context, reply)),
            Err(ProblemResponse(fault)) if fault.code == FaultCode::UnknownOrder => {}
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    // One that could not be asked may have it: only the word of all makes it unknown.
    Err(failed.unwrap_or_else(|| {
        unknown_order_fault("client order id", &text)
            .with_client_order_id(client_order_id.as_str())
            .into()
    }))
}

async fn request_order(
    context: &SidecarContext,
    call_context: &CallContext,
    broker: &BrokerId,
    account: &AccountId,
    order: &OrderReference,
) -> Result<ReceivedReply, ProblemResponse> {
    // Strings only: there is nothing in it that JSON cannot hold.
    let body = Bytes::from(serde_json::to_vec(order).unwrap_or_default());
    bus_bridge::call(context, &subjects::get(broker, account), body, call_context)
        .await
        .map_err(|error| problem::timeout_as_unavailable(error, TIMEOUT_DETAIL))
}

async fn request_broker_ids(
    context: &SidecarContext,
    call_context: &CallContext,
) -> Result<Vec<BrokerId>, ProblemResponse> {
    let reply = brokers::request_brokers(context, call_context).await?;
    let answer: BrokerList = serde_json::from_slice(&reply.body).map_err(|error| {
        tracing::error!(%error, "a worker's list of brokers cannot be read");
        Fault::new(
            FaultCode::NoWorker,
            "the worker's list of brokers cannot be read; name the broker",
        )
    })?;
    Ok(answer
        .brokers
        .iter()
        .filter_map(|name| BrokerId::new(name).ok())
        .collect())
}

/// Makes a report the answer: a receipt says that there is none yet.
fn respond_with_report(context: &SidecarContext, reply: ReceivedReply) -> Response {
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
    Fault::new(
        FaultCode::UnknownOrder,
        format!("no order has the {kind} {:?}", quoted(text)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_names_its_broker() {
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
