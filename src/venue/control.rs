//! The control endpoints: faults, symbols, fills and transfers on request, and every execution for a checker.
//!
//! They are no part of the venue's protocol, need no key, and answer clients of this machine only.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use axum::{Router, middleware};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::venue::amount::Amount;
use crate::venue::command::Command;
use crate::venue::error::VenueError;
use crate::venue::faults::spec::{FaultDocument, FaultPlan};
use crate::venue::render;
use crate::venue::rest::{error_response, json_response};
use crate::venue::server::Peer;
use crate::venue::service::state::Service;
use crate::venue::settings::RESERVED_ACCOUNTS;
use crate::venue::words::SymbolStatus;

/// Faults to put in force in place of all others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsDocument {
    faults: Vec<FaultDocument>,
    seed: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusDocument {
    status: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FillDocument {
    #[serde(rename = "orderId")]
    order_id: u64,
    quantity: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferDocument {
    account: String,
    asset: String,
    amount: String,
}

/// Returns the routes.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/control/faults", get(list_faults).post(replace_faults))
        .route("/control/executions", get(list_executions))
        .route("/control/orders", get(list_orders))
        .route("/control/balances", get(list_balances))
        .route("/control/symbols/{symbol}", post(set_status))
        .route("/control/fills", post(fill))
        .route("/control/transfers", post(transfer))
        .route("/control/limits/reset", post(reset_limits))
        .route_layer(middleware::from_fn(refuse_other_machines))
}

async fn refuse_other_machines(
    Extension(peer): Extension<Peer>,
    request: axum::extract::Request,
    next: middleware::Next,
) -> Response<Body> {
    match peer.address.ip().to_canonical().is_loopback() {
        true => next.run(request).await,
        false => error_response(&VenueError::unknown_key().with_status(403)),
    }
}

async fn list_faults(State(service): State<Arc<Service>>) -> Response<Body> {
    json_response(StatusCode::OK, &service.faults.describe())
}

async fn replace_faults(State(service): State<Arc<Service>>, body: Bytes) -> Response<Body> {
    respond(parse::<FaultsDocument>(&body).and_then(|document| {
        let plans = document.faults.into_iter().map(FaultPlan::try_from);
        let plans = plans.collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        service.faults.replace(plans, document.seed).map_err(malformed)?;
        Ok(service.faults.describe())
    }))
}

/// Every execution of a client's order, the oldest first; both sides of a trade between two clients.
async fn list_executions(State(service): State<Arc<Service>>) -> Response<Body> {
    respond(service.read(|exchange| {
        let sides = exchange
            .trades()
            .iter()
            .flat_map(|trade| trade.sides.iter().filter_map(|side| render::execution(trade, side)));
        json!({"executions": sides.collect::<Vec<_>>()})
    }))
}

/// Every order of a client that is kept, by its id.
async fn list_orders(State(service): State<Arc<Service>>) -> Response<Body> {
    respond(service.read(|exchange| {
        let orders = exchange.orders().filter_map(render::kept_order);
        json!({"orders": orders.collect::<Vec<_>>()})
    }))
}

/// Every balance of the clients, and what all accounts sum up to.
async fn list_balances(State(service): State<Arc<Service>>) -> Response<Body> {
    respond(service.read(|exchange| {
        let accounts = exchange.accounts().iter();
        let own = accounts.filter(|(name, _)| !RESERVED_ACCOUNTS.contains(&name.as_str()));
        let shown: serde_json::Map<String, Value> = own
            .map(|(name, account)| (name.clone(), json!(account.balances)))
            .collect();
        json!({"accounts": shown, "commissions": exchange.collected(), "deposited": exchange.deposited()})
    }))
}

async fn set_status(State(service): State<Arc<Service>>, Path(symbol): Path<String>, body: Bytes) -> Response<Body> {
    respond(parse::<StatusDocument>(&body).and_then(|document| {
        let status = SymbolStatus::parse(&document.status).ok_or_else(|| {
            let words: Vec<&str> = SymbolStatus::ALL.iter().map(|status| status.as_str()).collect();
            malformed(format!("status must be one of {}", words.join(", ")))
        })?;
        service.change(&Command::SetStatus {
            symbol: symbol.clone(),
            status,
        })?;
        Ok(json!({"symbol": symbol, "status": status}))
    }))
}

async fn fill(State(service): State<Arc<Service>>, body: Bytes) -> Response<Body> {
    respond(parse::<FillDocument>(&body).and_then(|document| {
        let quantity = amount(&document.quantity)?;
        service.change(&Command::Fill {
            order_id: document.order_id,
            quantity,
        })?;
        Ok(json!({}))
    }))
}

async fn transfer(State(service): State<Arc<Service>>, body: Bytes) -> Response<Body> {
    respond(parse::<TransferDocument>(&body).and_then(|document| {
        let command = Command::Transfer {
            amount: amount(&document.amount)?,
            account: document.account,
            asset: document.asset,
        };
        service.change(&command)?;
        Ok(json!({}))
    }))
}

async fn reset_limits(State(service): State<Arc<Service>>) -> Response<Body> {
    service.limits.reset();
    json_response(StatusCode::OK, &json!({}))
}

fn amount(text: &str) -> Result<Amount, VenueError> {
    text.parse().map_err(|error| malformed(format!("{text:?} {error}")))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, VenueError> {
    serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))
}

fn malformed(why: String) -> VenueError {
    VenueError::new(-1135, why)
}

fn respond(result: Result<Value, VenueError>) -> Response<Body> {
    match result {
        Ok(body) => json_response(StatusCode::OK, &body),
        Err(error) => error_response(&error),
    }
}
