//! The orders behind many trades: pages of the venue's list where they cost less than one query for each order.

use std::collections::BTreeMap;

use crate::brokers::binance::messages::order_state::OrderState;
use crate::brokers::binance::request_budget::weight;
use crate::brokers::binance::rest_reader::{ORDERS_PER_PAGE, ReadError};
use crate::brokers::binance::venue_client::VenueClient;
use crate::brokers::port::LimitLedger;
use crate::domain::symbol::Symbol;

/// How many queries of one order a page of the list costs.
const QUERIES_PER_PAGE: usize = (weight::ALL_ORDERS / weight::QUERY_ORDER) as usize;

/// Returns those of the orders (ids in ascending order) that pages of the list name. A page is read only where more orders
/// are missing than it costs queries; what it leaves out, or has in a form that cannot be read, is left to a query.
///
/// # Errors
/// When the venue does not say.
pub(super) async fn read_orders<L: LimitLedger>(
    client: &VenueClient<L>,
    symbol: &Symbol,
    ids: &[i64],
) -> Result<BTreeMap<i64, OrderState>, ReadError> {
    let mut found = BTreeMap::new();
    let mut missing = ids;
    while missing.len() > QUERIES_PER_PAGE
        && let Some(first) = missing.first()
    {
        let page = client.orders_from(symbol, *first).await?;
        let is_last_page = page.len() < ORDERS_PER_PAGE;
        let orders = page
            .iter()
            .filter_map(|text| serde_json::from_str::<OrderState>(text.get()).ok());
        let mut last = None;
        for order in orders {
            last = last.max(Some(order.order_id));
            if missing.binary_search(&order.order_id).is_ok() {
                found.insert(order.order_id, order);
            }
        }
        // Orders up to the page's last one are listed, or not to be had from the list.
        match last {
            Some(last) if !is_last_page => missing = &missing[missing.partition_point(|id| *id <= last)..],
            _ => break,
        }
    }
    Ok(found)
}
