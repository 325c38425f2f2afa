//! `GET /orders/log` and `GET /executions`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::domain::id::{AccountId, BrokerId, ClientOrderId, Tag};
use crate::domain::order_terms::{OrderStatus, Side};
use crate::domain::sort_direction::SortDirection;
use crate::domain::symbol::Symbol;
use crate::fault::{Fault, FaultCode};
use crate::order_log::{LogPage, OrderLogFilter, PageWindow};
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::page::{DEFAULT_PAGE_LIMIT, parse_limit, parse_whole_number};
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::filter_time::{parse_filter_end, parse_filter_start};
use crate::wire::order_record::{ExecutionPage, OPEN_STATUS, OrderPage, PageMetadata, status_words};

/// Returns a page of the orders that match the filters.
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
    reject_unknown_broker(&context, &filter, page.total)?;
    let metadata = page_metadata(filter, window, &page);
    Ok(json::encode_response(
        StatusCode::OK,
        &OrderPage {
            items: page.items,
            metadata,
        },
    ))
}

/// Returns a page of the executions that match the filters.
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
    reject_unknown_broker(&context, &filter, page.total)?;
    let metadata = page_metadata(filter, window, &page);
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
        sort: parameters.take("sort", parse_sort)?.unwrap_or_default(),
        limit: parameters.take("limit", parse_limit)?.unwrap_or(DEFAULT_PAGE_LIMIT),
        offset: parameters.take("offset", parse_offset)?.unwrap_or(0),
        after: parameters.take("after", parse_cursor)?,
    };
    let broker = parameters.take("broker", BrokerId::new)?;
    let client_order_id = parameters.take("client_order_id", ClientOrderId::new)?;
    let filter = OrderLogFilter {
        visible_accounts: principal.account_scope(),
        account_id: parameters.take("account_id", AccountId::new)?,
        symbol: parameters
            .take("symbol", Symbol::parse)?
            .map(|symbol| symbol.to_string()),
        start: parameters.take("start", parse_filter_start)?,
        end: parameters.take("end", parse_filter_end)?,
        tag: parameters.take("tag", parse_tag)?,
        strategy: parameters.take("strategy", parse_tag)?,
        broker: broker.map(|broker| broker.to_string()),
        statuses: take_statuses(parameters)?,
        side: parameters.take("side", parse_side)?,
        updated_after: parameters.take("updated_after", parse_filter_start)?,
        client_order_id: client_order_id.map(|id| id.to_string()),
        order_id: None,
    };
    if let Some(account) = &filter.account_id {
        principal.authorize_account(account)?;
    }
    Ok((filter, window))
}

/// Refuses the filter by a broker that neither the settings nor the order log know: an empty list would look like a broker
/// without orders.
///
/// # Errors
/// `invalid_field` with the known brokers.
fn reject_unknown_broker(context: &SidecarContext, filter: &OrderLogFilter, total: u64) -> Result<(), Fault> {
    let Some(broker) = filter.broker.as_ref().filter(|_| total == 0) else {
        return Ok(());
    };
    let known = context.prices.brokers();
    if known.contains(broker.as_str()) || context.order_log.has_broker(broker) {
        return Ok(());
    }
    let known: Vec<&str> = known.into_iter().collect();
    let rule = format!("is not a broker of this router: {}", known.join(", "));
    Err(Fault::for_field(FaultCode::InvalidField, "broker", rule))
}

fn page_metadata<T>(filter: OrderLogFilter, window: PageWindow, page: &LogPage<T>) -> PageMetadata {
    let statuses: Vec<&str> = filter.statuses.iter().map(|status| status.as_str()).collect();
    PageMetadata {
        limit: window.limit,
        offset: page.offset,
        total: page.total,
        sort: window.sort,
        after: window.after.map(|id| id.to_string()),
        next: page.next.map(|id| id.to_string()),
        account_id: filter.account_id.map(|account| account.to_string()),
        symbol: filter.symbol,
        start: filter.start,
        end: filter.end,
        tag: filter.tag,
        strategy: filter.strategy,
        broker: filter.broker,
        status: (!statuses.is_empty()).then(|| statuses.join(",")),
        side: filter.side,
        updated_after: filter.updated_after,
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

/// Takes the statuses of the filter, each once.
fn take_statuses(parameters: &mut QueryParameters) -> Result<Vec<OrderStatus>, Fault> {
    let mut statuses = parameters.take_list("status", parse_statuses)?.concat();
    statuses.sort_unstable();
    statuses.dedup();
    Ok(statuses)
}

/// Returns the statuses of a word: one, or all that are open.
fn parse_statuses(text: &str) -> Result<Vec<OrderStatus>, String> {
    if text == OPEN_STATUS {
        return Ok(OrderStatus::OPEN.to_vec());
    }
    OrderStatus::parse(text).map(|status| vec![status]).ok_or_else(|| {
        let words: Vec<&str> = status_words().collect();
        format!("must be one or more of {}, separated by commas", words.join(", "))
    })
}

fn parse_side(text: &str) -> Result<Side, &'static str> {
    Side::parse(text).ok_or("must be buy or sell")
}

fn parse_sort(text: &str) -> Result<SortDirection, &'static str> {
    SortDirection::parse(text).ok_or("must be asc or desc")
}

fn parse_cursor(text: &str) -> Result<u64, &'static str> {
    parse_order_number(text).map_err(|_| "must be the metadata.next of another page, or the id of an item")
}
