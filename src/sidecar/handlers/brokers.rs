//! `GET /brokers`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use crate::bus::client::Reply;
use crate::bus::subjects;
use crate::sidecar::bridge::{self, Terms};
use crate::sidecar::context::Context;
use crate::sidecar::json;
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::{self, Failure};

const EMPTY_OBJECT: Bytes = Bytes::from_static(b"{}");
const UNANSWERED: &str = "no worker has answered in time; ask again";

/// Tells which brokers the router routes to.
pub(in crate::sidecar) async fn list(
    State(context): State<Arc<Context>>,
    terms: Terms,
    parameters: Parameters,
) -> Result<Response, Failure> {
    parameters.finish()?;
    let reply = ask(&context, &terms).await?;
    Ok(json::response(StatusCode::OK, reply.body))
}

/// Asks for the brokers.
pub(super) async fn ask(context: &Context, terms: &Terms) -> Result<Reply, Failure> {
    bridge::call(context, subjects::BROKERS, EMPTY_OBJECT, terms)
        .await
        .map_err(|error| problem::harmless(error, UNANSWERED))
}
