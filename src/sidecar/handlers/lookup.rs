//! `GET /orders/{order_id}` and `GET /orders/by-client-id/{client_order_id}`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::brokers;
use crate::bus::client::Reply;
use crate::bus::subjects;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId};
use crate::fault::{Code, Fault, quoted};
use crate::sidecar::auth::Caller;
use crate::sidecar::bridge::{self, Terms};
use crate::sidecar::context::Context;
use crate::sidecar::json;
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::{self, Failure};
use crate::wire::brokers::BrokersAnswer;
use crate::wire::order_reference::OrderReference;
use crate::wire::report::ExecutionReport;

/// The letters that open the order ids of each broker, before a hyphen. The adapters assign them.
const ORDER_ID_PREFIXES: &[(&str, &str)] = &[("BN", "binance"), ("IB", "ibkr")];
/// The most brokers that are asked for one order.
const MAX_BROKERS: usize = 16;
const UNANSWERED: &str = "no worker has answered in time; ask again";

/// Tells the current report of an order by the router's id.
pub(in crate::sidecar) async fn by_order_id(
    State(context): State<Arc<Context>>,
    caller: Caller,
    terms: Terms,
    mut parameters: Parameters,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let account = parameters.account()?;
    parameters.finish()?;
    caller.may_use(&account)?;
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let (Some(broker), Ok(order_id)) = (broker_of(&text), OrderId::new(&text)) else {
        return Err(unknown_order("order id", &text).into());
    };
    let order = OrderReference {
        order_id: Some(order_id.to_string()),
        client_order_id: None,
    };
    let reply = ask(&context, &terms, &broker, &account, &order).await?;
    Ok(told(&context, reply))
}

/// Tells the current report of an order by the caller's id; without a broker, each of them is asked.
pub(in crate::sidecar) async fn by_client_order_id(
    State(context): State<Arc<Context>>,
    caller: Caller,
    terms: Terms,
    mut parameters: Parameters,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let account = parameters.account()?;
    let broker = parameters.take("broker", BrokerId::new)?;
    parameters.finish()?;
    caller.may_use(&account)?;
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let Ok(client_order_id) = ClientOrderId::new(&text) else {
        return Err(unknown_order("client order id", &text).into());
    };
    let brokers = match broker {
        Some(broker) => vec![broker],
        None => all_brokers(&context, &terms).await?,
    };
    let order = OrderReference {
        order_id: None,
        client_order_id: Some(client_order_id.to_string()),
    };
    let mut failed = None;
    for broker in brokers.iter().take(MAX_BROKERS) {
        match ask(&context, &terms, broker, &account, &order).await {
            Ok(reply) => return Ok(told(&context, reply)),
            Err(Failure(fault)) if fault.code == Code::UnknownOrder => {}
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    // One that could not be asked may have it: only the word of all makes it unknown.
    Err(failed.unwrap_or_else(|| {
        unknown_order("client order id", &text)
            .about(client_order_id.as_str())
            .into()
    }))
}

async fn ask(
    context: &Context,
    terms: &Terms,
    broker: &BrokerId,
    account: &AccountId,
    order: &OrderReference,
) -> Result<Reply, Failure> {
    // Strings only: there is nothing in it that JSON cannot hold.
    let body = Bytes::from(serde_json::to_vec(order).unwrap_or_default());
    bridge::call(context, &subjects::get(broker, account), body, terms)
        .await
        .map_err(|error| problem::harmless(error, UNANSWERED))
}

async fn all_brokers(context: &Context, terms: &Terms) -> Result<Vec<BrokerId>, Failure> {
    let reply = brokers::ask(context, terms).await?;
    let answer: BrokersAnswer = serde_json::from_slice(&reply.body).map_err(|error| {
        tracing::error!(%error, "a worker's list of brokers cannot be read");
        Fault::new(
            Code::NoWorker,
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
fn told(context: &Context, reply: Reply) -> Response {
    let report = ExecutionReport::decode(&reply.body);
    let is_receipt = report.as_ref().is_ok_and(ExecutionReport::is_receipt);
    if let Ok(report) = report {
        context.mode.seen(report.mode);
    }
    let status = if is_receipt {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    json::response(status, reply.body)
}

fn broker_of(order_id: &str) -> Option<BrokerId> {
    let (prefix, _) = order_id.split_once('-')?;
    let (_, broker) = ORDER_ID_PREFIXES.iter().find(|(known, _)| *known == prefix)?;
    BrokerId::new(broker).ok()
}

fn unknown_order(kind: &str, text: &str) -> Fault {
    Fault::new(
        Code::UnknownOrder,
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
            let found = broker_of(order_id);
            assert_eq!(found.as_ref().map(BrokerId::as_str), broker, "{order_id}");
        }
    }
}
