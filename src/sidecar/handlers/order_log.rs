//! `GET /orders/log` and `GET /executions`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::domain::id::{AccountId, BrokerId, ClientOrderId, Tag};
use crate::domain::order_terms::OrderStatus;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::order_log::{OrderLogFilter, PageWindow};
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::page::{DEFAULT_PAGE_LIMIT, parse_limit, parse_whole_number};
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::order_record::{ExecutionPage, OrderPage, PageMetadata};

/// Returns a page of the orders that match the filters, newest first.
pub(in crate::sidecar) async fn list_orders(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    mut parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    let (filter, window) = take_filter_and_window(&mut parameters, &principal)?;
    parameters.reject_remaining()?;
    let page = context
        .order_log
        .list_orders(filter.clone(), window, context.read_deadline())
        .await?;
    let metadata = page_metadata(filter, window, page.total);
    Ok(json::encode_response(
        StatusCode::OK,
        &OrderPage {
            items: page.items,
            metadata,
        },
    ))
}

/// Returns a page of the executions that match the filters, newest first.
pub(in crate::sidecar) async fn list_executions(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    mut parameters: QueryParameters,
) -> Result<Response, ProblemResponse> {
    let (mut filter, window) = take_filter_and_window(&mut parameters, &principal)?;
    filter.order_id = parameters.take("order_id", parse_order_number)?;
    parameters.reject_remaining()?;
    let page = context
        .order_log
        .list_executions(filter.clone(), window, context.read_deadline())
        .await?;
    let metadata = page_metadata(filter, window, page.total);
    Ok(json::encode_response(
        StatusCode::OK,
        &ExecutionPage {
            items: page.items,
            metadata,
        },
    ))
}

fn take_filter_and_window(
    parameters: &mut QueryParameters,
    principal: &Principal,
) -> Result<(OrderLogFilter, PageWindow), ProblemResponse> {
    let window = PageWindow {
        limit: parameters.take("limit", parse_limit)?.unwrap_or(DEFAULT_PAGE_LIMIT),
        offset: parameters.take("offset", parse_offset)?.unwrap_or(0),
    };
    let broker = parameters.take("broker", BrokerId::new)?;
    let client_order_id = parameters.take("client_order_id", ClientOrderId::new)?;
    let filter = OrderLogFilter {
        visible_accounts: principal.account_scope(),
        account_id: parameters.take("account_id", AccountId::new)?,
        symbol: parameters
            .take("symbol", Symbol::parse)?
            .map(|symbol| symbol.to_string()),
        start: parameters.take("start", Timestamp::parse)?,
        end: parameters.take("end", Timestamp::parse)?,
        tag: parameters.take("tag", parse_tag)?,
        strategy: parameters.take("strategy", parse_tag)?,
        broker: broker.map(|broker| broker.to_string()),
        status: parameters.take("status", parse_status)?,
        client_order_id: client_order_id.map(|id| id.to_string()),
        order_id: None,
    };
    if let Some(account) = &filter.account_id {
        principal.authorize_account(account)?;
    }
    Ok((filter, window))
}

fn page_metadata(filter: OrderLogFilter, window: PageWindow, total: u64) -> PageMetadata {
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

fn parse_offset(text: &str) -> Result<u64, &'static str> {
    let number = parse_whole_number(text).filter(|number| i64::try_from(*number).is_ok());
    number.ok_or("must be a non-negative integer")
}

/// Parses the id of an order in the order log.
///
/// # Errors
/// The rule, if the text is not a positive integer.
pub(super) fn parse_order_number(text: &str) -> Result<u64, &'static str> {
    let number = parse_whole_number(text).filter(|number| (1..=i64::MAX as u64).contains(number));
    number.ok_or("must be the id of an order (a positive integer)")
}

fn parse_tag(text: &str) -> Result<String, String> {
    let tag = Tag::new(text).map_err(|error| error.to_string())?;
    Ok(tag.as_str().to_lowercase())
}

fn parse_status(text: &str) -> Result<OrderStatus, String> {
    OrderStatus::parse(text).ok_or_else(|| {
        let names: Vec<&str> = OrderStatus::ALL.iter().map(|status| status.as_str()).collect();
        format!("must be one of {}", names.join(", "))
    })
}
