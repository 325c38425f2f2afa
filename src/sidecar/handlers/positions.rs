//! `GET /positions`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::sidecar::context::Context;
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::Failure;
use crate::sidecar::{holdings, json};

/// Tells what every account holds, or one.
pub(in crate::sidecar) async fn list(
    State(context): State<Arc<Context>>,
    mut parameters: Parameters,
) -> Result<Response, Failure> {
    let account = parameters.take("account_id", AccountId::new)?;
    parameters.finish()?;
    let positions = context.log.positions(account, context.read_until()).await?;
    let answer = holdings::answer(&positions, &context.prices, Timestamp::now());
    Ok(json::of(StatusCode::OK, &answer))
}
