//! `GET /orders/log` and `GET /executions`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::domain::id::{AccountId, BrokerId, ClientOrderId, Tag};
use crate::domain::intent::Symbol;
use crate::domain::terms::OrderStatus;
use crate::domain::time::Timestamp;
use crate::sidecar::auth::Caller;
use crate::sidecar::context::Context;
use crate::sidecar::json;
use crate::sidecar::order_log::{Filter, Window};
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::Failure;
use crate::wire::order_record::{ExecutionPage, OrderPage, PageMetadata};

/// How many items a page has unless a number is asked for.
pub(in crate::sidecar) const DEFAULT_LIMIT: u64 = 100;
/// The most items of a page.
pub(in crate::sidecar) const MAX_LIMIT: u64 = 500;

/// Tells a page of the orders, the newest first.
pub(in crate::sidecar) async fn orders(
    State(context): State<Arc<Context>>,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<Response, Failure> {
    let (filter, window) = asked_for(&mut parameters, &caller)?;
    parameters.finish()?;
    let page = context.log.orders(filter.clone(), window, context.read_until()).await?;
    let metadata = metadata(filter, window, page.total);
    Ok(json::of(
        StatusCode::OK,
        &OrderPage {
            items: page.items,
            metadata,
        },
    ))
}

/// Tells a page of the executions, the newest first.
pub(in crate::sidecar) async fn executions(
    State(context): State<Arc<Context>>,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<Response, Failure> {
    let (mut filter, window) = asked_for(&mut parameters, &caller)?;
    filter.order_id = parameters.take("order_id", order_number)?;
    parameters.finish()?;
    let page = context
        .log
        .executions(filter.clone(), window, context.read_until())
        .await?;
    let metadata = metadata(filter, window, page.total);
    Ok(json::of(
        StatusCode::OK,
        &ExecutionPage {
            items: page.items,
            metadata,
        },
    ))
}

fn asked_for(parameters: &mut Parameters, caller: &Caller) -> Result<(Filter, Window), Failure> {
    let window = Window {
        limit: parameters.take("limit", limit)?.unwrap_or(DEFAULT_LIMIT),
        offset: parameters.take("offset", offset)?.unwrap_or(0),
    };
    let broker = parameters.take("broker", BrokerId::new)?;
    let client_order_id = parameters.take("client_order_id", ClientOrderId::new)?;
    let filter = Filter {
        accounts: caller.accounts(),
        account_id: parameters.take("account_id", AccountId::new)?,
        symbol: parameters
            .take("symbol", Symbol::normalised)?
            .map(|symbol| symbol.to_string()),
        start: parameters.take("start", Timestamp::parse)?,
        end: parameters.take("end", Timestamp::parse)?,
        tag: parameters.take("tag", tag)?,
        strategy: parameters.take("strategy", tag)?,
        broker: broker.map(|broker| broker.to_string()),
        status: parameters.take("status", status)?,
        client_order_id: client_order_id.map(|id| id.to_string()),
        order_id: None,
    };
    if let Some(account) = &filter.account_id {
        caller.may_use(account)?;
    }
    Ok((filter, window))
}

fn metadata(filter: Filter, window: Window, total: u64) -> PageMetadata {
    PageMetadata {
        limit: window.limit,
        offset: window.offset,
        total,
        account_id: filter.account_id.map(|account| account.to_string()),
        symbol: filter.symbol,
        start: filter.start,
        end: filter.end,
        tag: filter.tag,
        strategy: filter.strategy,
        broker: filter.broker,
        status: filter.status,
        client_order_id: filter.client_order_id,
        order_id: filter.order_id,
    }
}

fn limit(text: &str) -> Result<u64, String> {
    let number = whole_number(text).filter(|number| (1..=MAX_LIMIT).contains(number));
    number.ok_or_else(|| format!("must be a whole number from 1 to {MAX_LIMIT}"))
}

fn offset(text: &str) -> Result<u64, &'static str> {
    let number = whole_number(text).filter(|number| i64::try_from(*number).is_ok());
    number.ok_or("must be a whole number from 0 on")
}

/// Reads the number of an order.
pub(super) fn order_number(text: &str) -> Result<u64, &'static str> {
    let number = whole_number(text).filter(|number| (1..=i64::MAX as u64).contains(number));
    number.ok_or("must be the whole number of an order")
}

/// Reads digits and nothing else: no sign, no space.
fn whole_number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

fn tag(text: &str) -> Result<String, String> {
    let tag = Tag::new(text).map_err(|error| error.to_string())?;
    Ok(tag.as_str().to_lowercase())
}

fn status(text: &str) -> Result<OrderStatus, String> {
    OrderStatus::parse(text).ok_or_else(|| {
        let words: Vec<&str> = OrderStatus::ALL.iter().map(|status| status.as_str()).collect();
        format!("must be one of {}", words.join(", "))
    })
}
