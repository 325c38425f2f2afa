//! `POST /positions/{id}/close`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::Response;

use crate::bus::router_client::RequestError;
use crate::bus::subjects;
use crate::config::api_keys::AccountScope;
use crate::domain::decimal::Decimal;
use crate::domain::id::{BrokerId, ClientOrderId};
use crate::domain::order_terms::{OrderStatus, Side};
use crate::fault::{AckType, Fault, FaultCode, quoted};
use crate::order_log::{OrderLogFilter, PageWindow, PositionRow};
use crate::sidecar::bus_bridge;
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::OptionalJsonBody;
use crate::sidecar::extract::path_segment::PathSegment;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::orders::lookup::request_order;
use crate::sidecar::handlers::orders::submit::{
    idempotency_key, outcome_unknown_receipt, set_idempotent_replay, set_location,
};
use crate::sidecar::handlers::positions::list::load_portfolios;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::positions::closing_order;
use crate::sidecar::positions::closing_order::ClosingOrder;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::holding_id::HoldingId;
use crate::wire::intent::{MissingIdPolicy, decode_intent};
use crate::wire::order_reference::OrderSelector;
use crate::wire::positions::{
    ClosePositionResponse, PortfolioList, PositionTarget, RemainderBelowLot, decode_close_position,
};
use crate::wire::report::ExecutionReport;

/// The number of open orders, the newest ones, that are searched for those that block the reduction.
const MAX_OPEN_ORDERS_READ: u64 = 300;
const TIMEOUT_DETAIL: &str = "no worker replied in time; nothing was sent, retry";

/// The position to close.
struct PositionToClose<'a> {
    context: &'a SidecarContext,
    call_context: &'a CallContext,
    id: HoldingId,
    position: PositionRow,
    broker: BrokerId,
    is_in_active_mode: bool,
    /// The accounts whose portfolios the sender may see.
    visible_accounts: AccountScope,
}

/// Brings a position to a target with one order, reduce-only unless the request allows an increase, and returns the order's
/// report and the positions. A repeated `Idempotency-Key` returns the report of its order and sends nothing.
pub(in crate::sidecar) async fn close_position(
    State(context): State<Arc<SidecarContext>>,
    principal: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    PathSegment(id): PathSegment,
    headers: HeaderMap,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let target = decode_close_position(&body)?;
    let key = idempotency_key(&headers)?;
    let position = load_position(&context, &principal, &call_context, &id).await?;
    let Some(key) = key else {
        position.require_active_mode()?;
        let closing = position.build_closing_order(target)?;
        return position.send_closing_order(closing, &ClientOrderId::generate()).await;
    };
    // The first request fixed the order's quantity: the quantity held now must not turn it into another order.
    if let Some(known) = position.replay_known_order(&key, target.quantity).await? {
        return Ok(known);
    }
    position.require_active_mode()?;
    let closing = position.build_closing_order(target)?;
    match position.send_closing_order(closing, &key).await {
        Err(ProblemResponse(fault)) if fault.code == FaultCode::ClientOrderIdConflict => {
            // The same request may have arrived first over another connection.
            Ok(position.replay_known_order(&key, target.quantity).await?.ok_or(fault)?)
        }
        result => result,
    }
}

/// Returns the position of an id, from the order log.
///
/// # Errors
/// `not_found`, `account_mismatch`, and those of the order log.
async fn load_position<'a>(
    context: &'a SidecarContext,
    principal: &Principal,
    call_context: &'a CallContext,
    text: &str,
) -> Result<PositionToClose<'a>, ProblemResponse> {
    let no_such = || Fault::new(FaultCode::NotFound, format!("no position {:?}", quoted(text)));
    let id = HoldingId::parse(text).ok_or_else(no_such)?;
    principal.authorize_account(&id.account_id)?;
    // The quantity to close depends on what is held now, not when the order log was last current.
    context
        .order_log
        .wait_until_current(context.bus_client.bus(), context.read_deadline())
        .await?;
    let account = Some(id.account_id.clone());
    let positions = context
        .order_log
        .list_positions(account, context.read_deadline())
        .await?;
    let row = closing_order::find_position(&positions, &id)
        .cloned()
        .ok_or_else(no_such)?;
    let broker = BrokerId::new(&row.broker).map_err(|_| no_such())?;
    Ok(PositionToClose {
        context,
        call_context,
        id,
        is_in_active_mode: row.mode == positions.mode,
        visible_accounts: principal.account_scope(),
        position: row,
        broker,
    })
}

impl PositionToClose<'_> {
    /// Checks that the position is in the active mode.
    ///
    /// # Errors
    /// `not_found` if it is not.
    fn require_active_mode(&self) -> Result<(), Fault> {
        if self.is_in_active_mode {
            return Ok(());
        }
        let detail = format!("the position {} is not in the active mode", self.id);
        Err(Fault::new(FaultCode::NotFound, detail))
    }

    fn build_closing_order(&self, target: PositionTarget) -> Result<ClosingOrder, Fault> {
        closing_order::build_closing_order(&self.position, self.lot_size(), target)
    }

    fn lot_size(&self) -> Decimal {
        let market = self
            .context
            .prices
            .quoted_instrument(&self.position.venue, &self.position.symbol);
        market.map_or(self.position.lot_size, |market| market.instrument.lot_size.decimal())
    }

    /// Returns the response for a known order, or `None` if no order has the client order id.
    ///
    /// # Errors
    /// `client_order_id_conflict` if the order does not close this position to this target; a denial; `no_worker`.
    async fn replay_known_order(
        &self,
        key: &ClientOrderId,
        target_quantity: Decimal,
    ) -> Result<Option<Response>, ProblemResponse> {
        let order = OrderSelector::ClientOrderId(key.clone());
        let account = &self.id.account_id;
        let reply = match request_order(self.context, self.call_context, &self.broker, Some(account), &order).await {
            Err(RequestError::Fault(fault)) if fault.code == FaultCode::UnknownOrder => return Ok(None),
            result => result.map_err(|error| problem::timeout_as_unavailable(error, TIMEOUT_DETAIL))?,
        };
        let report = ExecutionReport::decode(&reply.body).map_err(|error| {
            tracing::error!(%error, client_order_id = %key, "invalid reply: an order's report");
            Fault::new(FaultCode::NoWorker, TIMEOUT_DETAIL)
        })?;
        if !closing_order::is_closing_report(&report, &self.position, target_quantity) {
            let detail = format!("the client order id {key} belongs to a different order; nothing was sent");
            return Err(Fault::new(FaultCode::ClientOrderIdConflict, detail)
                .with_client_order_id(key.as_str())
                .into());
        }
        match report.denial() {
            Some(denial) => Err(self.add_blocking_orders(denial, report.side).await.into()),
            None => Ok(Some(self.respond_with_positions(report, target_quantity, true).await)),
        }
    }

    /// Sends the closing order and returns its report with the positions.
    async fn send_closing_order(
        &self,
        closing: ClosingOrder,
        client_order_id: &ClientOrderId,
    ) -> Result<Response, ProblemResponse> {
        let intent = closing.build_intent(&self.position, client_order_id);
        let body = json::encode(&intent);
        let intent = decode_intent(&body, MissingIdPolicy::Refuse)?;
        let subject = subjects::submit(&self.broker, &self.id.account_id);
        let reply = match bus_bridge::call(self.context, &subject, body, self.call_context).await {
            Ok(reply) => reply,
            Err(RequestError::Timeout) => {
                let receipt = outcome_unknown_receipt(self.context, &intent);
                return Ok(self
                    .respond_with_positions(receipt, closing.target_quantity, false)
                    .await);
            }
            Err(RequestError::Fault(mut fault)) => {
                let account_id = &self.id.account_id;
                tracing::info!(%client_order_id, %account_id, code = fault.code.as_str(), "closing order refused or denied");
                fault.client_order_id.get_or_insert_with(|| client_order_id.to_string());
                return Err(self.add_blocking_orders(fault, closing.side).await.into());
            }
        };
        let report = ExecutionReport::decode(&reply.body).unwrap_or_else(|error| {
            tracing::error!(%error, %client_order_id, "invalid reply to a closing order");
            outcome_unknown_receipt(self.context, &intent)
        });
        Ok(self
            .respond_with_positions(report, closing.target_quantity, reply.is_replay)
            .await)
    }

    /// Returns a risk rule's denial with the open orders that block the reduction. Returns any other fault unchanged.
    async fn add_blocking_orders(&self, fault: Fault, side: Side) -> Fault {
        if fault.code.ack_type() != AckType::Ack {
            return fault;
        }
        let filter = OrderLogFilter {
            account_id: Some(self.id.account_id.clone()),
            symbol: Some(self.position.symbol.clone()),
            broker: Some(self.position.broker.clone()),
            statuses: OrderStatus::OPEN.to_vec(),
            side: Some(side),
            ..OrderLogFilter::default()
        };
        let window = PageWindow::newest(MAX_OPEN_ORDERS_READ);
        match self
            .context
            .order_log
            .list_orders(filter, window, self.read_deadline())
            .await
        {
            Ok(open) => closing_order::with_blocking_orders(fault, &self.position, side, &open.items),
            Err(error) => {
                tracing::warn!(%error, "the denial does not list the open orders: the order log failed to return them");
                fault
            }
        }
    }

    /// Returns the response with the order's report and the positions that the sender may see.
    async fn respond_with_positions(
        &self,
        report: ExecutionReport,
        target_quantity: Decimal,
        is_replay: bool,
    ) -> Response {
        self.context.last_mode.record(report.mode);
        let (order_id, status) = (&report.order_id, report.status.as_str());
        tracing::info!(order_id, status, replayed = is_replay, account_id = %self.id.account_id, "closing order completed");
        let positions = load_portfolios(self.context, None, &self.visible_accounts, self.read_deadline()).await;
        // The order was sent, and a 5xx would claim that nothing was.
        let positions = positions
            .inspect_err(|fault| tracing::warn!(%fault, "the response to a closing order has no positions"))
            .ok();
        let status_code = if report.is_unknown() {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        };
        let remaining = report.quantity.checked_sub(report.filled_quantity);
        let closed = ClosePositionResponse {
            // A venue may fill beyond the quantity.
            remaining_quantity: remaining.unwrap_or(Decimal::ZERO).max(Decimal::ZERO),
            remainder_below_lot: positions
                .as_ref()
                .and_then(|positions| self.remainder_below_lot(positions, target_quantity)),
            order: report,
            positions,
        };
        let mut response = json::encode_response(status_code, &closed);
        set_location(&mut response, &closed.order, &self.id.account_id);
        if is_replay {
            set_idempotent_replay(&mut response);
        }
        response
    }

    /// Returns what of the position no order can trade.
    fn remainder_below_lot(&self, positions: &PortfolioList, target_quantity: Decimal) -> Option<RemainderBelowLot> {
        let id = self.id.to_string();
        let mut holdings = positions.items.iter().flat_map(|portfolio| &portfolio.holdings);
        let held = holdings.find(|holding| holding.id == id)?.quantity;
        closing_order::remainder_below_lot(&self.position, held, target_quantity, self.lot_size())
    }

    /// Returns the deadline of a read of the order log, within the time of the request.
    fn read_deadline(&self) -> tokio::time::Instant {
        self.context.read_deadline().min(self.call_context.reply_deadline())
    }
}
