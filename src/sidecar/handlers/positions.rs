//! `GET /positions`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::sidecar::auth::Caller;
use crate::sidecar::context::Context;
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::Failure;
use crate::sidecar::{holdings, json};

/// Tells what the caller's accounts hold, or one of them.
pub(in crate::sidecar) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<Response, Failure> {
    let account = parameters.take("account_id", AccountId::new)?;
    parameters.finish()?;
    if let Some(account) = &account {
        caller.may_use(account)?;
    }
    let mut positions = context.log.positions(account, context.read_until()).await?;
    let scope = caller.accounts();
    positions.rows.retain(|row| scope.takes(&row.account_id));
    let answer = holdings::answer(&positions, &context.prices, Timestamp::now());
    Ok(json::of(StatusCode::OK, &answer))
}
