//! `GET /risk/alerts`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::domain::id::AccountId;
use crate::domain::signal::Level;
use crate::sidecar::auth::Caller;
use crate::sidecar::context::Context;
use crate::sidecar::json;
use crate::sidecar::order_log::AlertFilter;
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::Failure;

/// How many alerts are told unless a number is asked for.
pub(in crate::sidecar) const DEFAULT_LIMIT: u64 = 100;
/// The most alerts one answer tells.
pub(in crate::sidecar) const MAX_LIMIT: u64 = 500;
/// The longest name of a rule that is looked for, in characters.
pub(in crate::sidecar) const MAX_RULE_CHARACTERS: usize = 64;

/// Tells the newest alerts of the caller's accounts, and those that are of none.
pub(in crate::sidecar) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<Response, Failure> {
    let limit = parameters.take("limit", limit)?.unwrap_or(DEFAULT_LIMIT);
    let account_id = parameters.take("account_id", AccountId::new)?;
    let filter = AlertFilter {
        level: parameters.take("level", level)?,
        rule_id: parameters.take("rule_id", rule)?,
        account_id,
        accounts: caller.accounts(),
    };
    parameters.finish()?;
    if let Some(account) = &filter.account_id {
        caller.may_use(account)?;
    }
    let list = context.log.alerts(filter, limit, context.read_until()).await?;
    Ok(json::response(StatusCode::OK, list))
}

fn limit(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
    number.ok_or_else(|| format!("must be a whole number from 1 to {MAX_LIMIT}"))
}

fn level(text: &str) -> Result<Level, &'static str> {
    [Level::Alert, Level::Lock]
        .into_iter()
        .find(|level| level.as_str() == text)
        .ok_or("must be alert or lock")
}

fn rule(text: &str) -> Result<String, String> {
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (is_name(text) && text.len() <= MAX_RULE_CHARACTERS)
        .then(|| text.to_owned())
        .ok_or_else(|| format!("must be 1-{MAX_RULE_CHARACTERS} characters of [A-Za-z0-9_]"))
}
