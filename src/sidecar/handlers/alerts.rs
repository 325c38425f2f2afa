//! `GET /risk/alerts`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::domain::id::AccountId;
use crate::domain::signal::Level;
use crate::fault::{Code, Fault};
use crate::sidecar::alerts::Filter;
use crate::sidecar::auth::Caller;
use crate::sidecar::context::Context;
use crate::sidecar::json;
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::Failure;

/// How many alerts are told unless a number is asked for.
const DEFAULT_LIMIT: usize = 100;
/// The most alerts one answer tells.
const MAX_LIMIT: usize = 500;
/// The longest name of a rule that is looked for, in characters.
const MAX_RULE_CHARACTERS: usize = 64;
/// How long the first look at the stream is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells the newest alerts of the caller's accounts, and those that are of none.
pub(in crate::sidecar) async fn list(
    State(context): State<Arc<Context>>,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<Response, Failure> {
    let limit = parameters.take("limit", limit)?.unwrap_or(DEFAULT_LIMIT);
    let account = parameters.take("account_id", AccountId::new)?;
    let filter = Filter {
        level: parameters.take("level", level)?,
        account_id: account.as_ref().map(AccountId::to_string),
        rule_id: parameters.take("rule_id", rule)?,
        scope: caller.accounts(),
    };
    parameters.finish()?;
    if let Some(account) = &account {
        caller.may_use(account)?;
    }
    let patience = PATIENCE.min(context.request_timeout / 2);
    let list = context.alerts.list(&filter, limit, patience).await;
    let body = list.ok_or_else(|| {
        let detail = "the stream of alerts could not be read since this sidecar has started; ask again";
        Fault::new(Code::BusUnavailable, detail)
    })?;
    Ok(json::response(StatusCode::OK, body))
}

fn limit(text: &str) -> Result<usize, String> {
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
