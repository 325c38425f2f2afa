//! `GET /positions`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::positions::valuation;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;

/// Returns the positions of the sender's accounts, or of one of them.
pub(in crate::sidecar) async fn list_positions(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    mut parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    let account = parameters.take("account_id", AccountId::new)?;
    parameters.reject_remaining()?;
    if let Some(account) = &account {
        principal.authorize_account(account)?;
    }
    let mut positions = context
        .order_log
        .list_positions(account, context.read_deadline())
        .await?;
    let scope = principal.account_scope();
    positions.rows.retain(|row| scope.includes(&row.account_id));
    let portfolios = valuation::value_portfolios(&positions, &context.prices, Timestamp::now());
    Ok(json::encode_response(StatusCode::OK, &portfolios))
}
