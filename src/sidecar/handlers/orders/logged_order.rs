//! An order of the order log, by its number.

use crate::fault::{Fault, FaultCode, quoted};
use crate::order_log::{OrderLogFilter, PageWindow};
use crate::sidecar::context::SidecarContext;
use crate::sidecar::handlers::order_log::parse_order_number;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::order_record::OrderRecord;

/// Returns the order with a number. An order of an account outside the sender's scope counts as unknown.
///
/// # Errors
/// `unknown_order`, and those of [`OrderLog::list_orders`](crate::order_log::OrderLog::list_orders).
pub(super) async fn load_order(
    context: &SidecarContext,
    principal: &Principal,
    number: &str,
) -> Result<OrderRecord, ProblemResponse> {
    let unknown = || {
        let detail = format!("no order with id {:?}", quoted(number));
        Fault::new(FaultCode::UnknownOrder, detail)
    };
    let filter = OrderLogFilter {
        visible_accounts: principal.account_scope(),
        order_id: Some(parse_order_number(number).map_err(|_| unknown())?),
        ..OrderLogFilter::default()
    };
    let page = context
        .order_log
        .list_orders(filter, PageWindow::newest(1), context.read_deadline())
        .await?;
    Ok(page.items.into_iter().next().ok_or_else(unknown)?)
}
