//! `GET /risk/alerts`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::domain::id::AccountId;
use crate::domain::rule_signal::SignalLevel;
use crate::order_log::AlertFilter;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::page::{DEFAULT_PAGE_LIMIT, parse_limit};
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;

/// The maximum length of a rule id in a filter, in characters.
pub(in crate::sidecar) const MAX_RULE_ID_CHARACTERS: usize = 64;

/// Returns the newest alerts of the sender's accounts, and those without an account.
pub(in crate::sidecar) async fn list_alerts(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    mut parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    let limit = parameters.take("limit", parse_limit)?.unwrap_or(DEFAULT_PAGE_LIMIT);
    let account_id = parameters.take("account_id", AccountId::new)?;
    let filter = AlertFilter {
        level: parameters.take("level", parse_level)?,
        rule_id: parameters.take("rule_id", parse_rule_id)?,
        account_id,
        visible_accounts: principal.account_scope(),
    };
    parameters.reject_remaining()?;
    if let Some(account) = &filter.account_id {
        principal.authorize_account(account)?;
    }
    let list = context
        .order_log
        .list_alerts(filter, limit, context.read_deadline())
        .await?;
    Ok(json::raw_response(StatusCode::OK, list))
}

fn parse_level(text: &str) -> Result<SignalLevel, &'static str> {
    [SignalLevel::Alert, SignalLevel::Lock]
        .into_iter()
        .find(|level| level.as_str() == text)
        .ok_or("must be alert or lock")
}

fn parse_rule_id(text: &str) -> Result<String, String> {
    let is_rule_id = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (is_rule_id(text) && text.len() <= MAX_RULE_ID_CHARACTERS)
        .then(|| text.to_owned())
        .ok_or_else(|| format!("must be 1-{MAX_RULE_ID_CHARACTERS} characters of [A-Za-z0-9_]"))
}
