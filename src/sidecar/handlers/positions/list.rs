//! `GET /positions`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::Instant;

use crate::config::api_keys::AccountScope;
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::positions::valuation;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::positions::PortfolioList;

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
    let portfolios = load_portfolios(&context, account, &principal.account_scope(), context.read_deadline()).await?;
    Ok(json::encode_response(StatusCode::OK, &portfolios))
}

/// Returns the portfolios of an account, or of every account, that a list may show to a sender.
///
/// # Errors
/// See [`OrderLog::list_positions`](crate::order_log::OrderLog::list_positions).
pub(in crate::sidecar) async fn load_portfolios(
    context: &SidecarContext,
    account: Option<AccountId>,
    visible_accounts: &AccountScope,
    until: Instant,
) -> Result<PortfolioList, Fault> {
    let mut positions = context.order_log.list_positions(account, until).await?;
    positions.rows.retain(|row| visible_accounts.includes(&row.account_id));
    Ok(valuation::value_portfolios(
        &positions,
        &context.prices,
        Timestamp::now(),
    ))
}
