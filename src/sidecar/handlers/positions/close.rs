//! `POST /positions/{id}/close`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;

use crate::bus::router_client::{ReceivedReply, RequestError};
use crate::bus::subjects;
use crate::domain::decimal::Decimal;
use crate::domain::id::{BrokerId, ClientOrderId};
use crate::domain::order_terms::Side;
use crate::domain::time::Timestamp;
use crate::fault::{AckType, Fault, FaultCode, quoted};
use crate::order_log::{OrderLogFilter, PageWindow, PositionRow};
use crate::sidecar::bus_bridge;
use crate::sidecar::bus_bridge::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::extract::json_body::OptionalJsonBody;
use crate::sidecar::extract::query::QueryParameters;
use crate::sidecar::handlers::orders::submit::{
    IDEMPOTENT_REPLAY, idempotency_key, outcome_unknown_receipt, set_location,
};
use crate::sidecar::middleware::auth::Principal;
use crate::sidecar::positions::closing_order;
use crate::sidecar::positions::closing_order::{ClosingOrder, OPEN_STATUSES};
use crate::sidecar::positions::valuation;
use crate::sidecar::response::json;
use crate::sidecar::response::problem;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::holding_id::HoldingId;
use crate::wire::intent::{MissingIdPolicy, decode_intent};
use crate::wire::order_reference::OrderReference;
use crate::wire::positions::{ClosePositionResponse, decode_close_position};
use crate::wire::report::ExecutionReport;

/// How many open orders of each state are looked through for those that stand in the way.
const OPEN_ORDERS_WINDOW: PageWindow = PageWindow { limit: 100, offset: 0 };
const TIMEOUT_DETAIL: &str = "no worker has answered in time whether the order is known; nothing was sent, ask again";

/// A position that is to be closed.
struct PositionToClose<'a> {
    context: &'a SidecarContext,
    call_context: &'a CallContext,
    id: HoldingId,
    position: PositionRow,
    broker: BrokerId,
    is_in_active_mode: bool,
}

/// Closes a position, or a part of it, by one order that can only reduce it, and tells what became of both.
pub(in crate::sidecar) async fn close_position(
    State(context): State<Arc<SidecarContext>>,
    caller: Principal,
    call_context: CallContext,
    parameters: QueryParameters,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, ProblemResponse> {
    parameters.reject_remaining()?;
    let target = decode_close_position(&body)?;
    let key = idempotency_key(&headers)?;
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let held = load_position(&context, &caller, &call_context, &text).await?;
    let Some(key) = key else {
        held.require_active_mode()?;
        let closing = held.build_closing_order(target)?;
        return held.send_closing_order(closing, &ClientOrderId::generate()).await;
    };
    // Its quantity was fixed when it was first sent: what is held by now must not make another order of it.
    if let Some(known) = held.replay_known_order(&key, target).await? {
        return Ok(known);
    }
    held.require_active_mode()?;
    let closing = held.build_closing_order(target)?;
    match held.send_closing_order(closing, &key).await {
        Err(ProblemResponse(fault)) if fault.code == FaultCode::ClientOrderIdConflict => {
            // The same request may have come first by another connection.
            Ok(held.replay_known_order(&key, target).await?.ok_or(fault)?)
        }
        answered => answered,
    }
}

/// Returns the position that a path names, as the order log has it.
async fn load_position<'a>(
    context: &'a SidecarContext,
    caller: &Principal,
    call_context: &'a CallContext,
    text: &str,
) -> Result<PositionToClose<'a>, ProblemResponse> {
    let no_such = || Fault::new(FaultCode::NotFound, format!("there is no position {:?}", quoted(text)));
    let id = HoldingId::parse(text).ok_or_else(no_such)?;
    caller.authorize_account(&id.account_id)?;
    // How much is closed goes by what is held now, not by what was held when the log last kept up.
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
        call_context: call_context,
        id,
        is_in_active_mode: row.mode == positions.mode,
        position: row,
        broker,
    })
}

impl PositionToClose<'_> {
    /// Checks that the position is one of the mode in force.
    fn require_active_mode(&self) -> Result<(), Fault> {
        if self.is_in_active_mode {
            return Ok(());
        }
        let detail = format!("the position {} is of another mode than the one in force", self.id);
        Err(Fault::new(FaultCode::NotFound, detail))
    }

    fn build_closing_order(&self, target_quantity: Decimal) -> Result<ClosingOrder, Fault> {
        let market = self
            .context
            .prices
            .quoted_instrument(&self.position.venue, &self.position.symbol);
        let lot_size = market.map_or(self.position.lot_size, |market| market.instrument.lot_size.decimal());
        closing_order::build_closing_order(&self.position, lot_size, target_quantity)
    }

    /// Asks a worker for an order by the caller's id, and answers with what became of it; `None` where it is not known.
    async fn replay_known_order(
        &self,
        key: &ClientOrderId,
        target_quantity: Decimal,
    ) -> Result<Option<Response>, ProblemResponse> {
        let reference = OrderReference {
            order_id: None,
            client_order_id: Some(key.to_string()),
        };
        // Strings only: there is nothing in it that JSON cannot hold.
        let body = Bytes::from(serde_json::to_vec(&reference).unwrap_or_default());
        let subject = subjects::get(&self.broker, &self.id.account_id);
        let reply = match bus_bridge::call(self.context, &subject, body, self.call_context).await {
            Err(RequestError::Fault(fault)) if fault.code == FaultCode::UnknownOrder => return Ok(None),
            answered => answered.map_err(|error| problem::timeout_as_unavailable(error, TIMEOUT_DETAIL))?,
        };
        let report = ExecutionReport::decode(&reply.body).map_err(|error| {
            tracing::error!(%error, client_order_id = %key, "a worker's report cannot be read");
            Fault::new(FaultCode::NoWorker, TIMEOUT_DETAIL)
        })?;
        if !closing_order::is_closing_report(&report, &self.position, target_quantity) {
            let detail = format!("the client order id {key} was used for something else; nothing was sent");
            return Err(Fault::new(FaultCode::ClientOrderIdConflict, detail)
                .with_client_order_id(key.as_str())
                .into());
        }
        match report.denial() {
            Some(denial) => Err(self.add_blocking_orders(denial, report.side).await.into()),
            None => Ok(Some(self.respond_with_positions(report, true).await)),
        }
    }

    /// Sends the order that closes the position.
    async fn send_closing_order(
        &self,
        closing: ClosingOrder,
        client_order_id: &ClientOrderId,
    ) -> Result<Response, ProblemResponse> {
        let intent = closing.to_intent(&self.position, client_order_id);
        // Strings and exact numbers only: there is nothing in it that JSON cannot hold.
        let body = Bytes::from(serde_json::to_vec(&intent).unwrap_or_default());
        let intent = decode_intent(&body, MissingIdPolicy::Refuse)?;
        let subject = subjects::submit(&self.broker, &self.id.account_id);
        let reply = match bus_bridge::call(self.context, &subject, body, self.call_context).await {
            Ok(reply) => reply,
            Err(RequestError::Timeout) => {
                return Ok(self
                    .respond_with_positions(outcome_unknown_receipt(self.context, &intent), false)
                    .await);
            }
            Err(RequestError::Fault(mut fault)) => {
                let account_id = &self.id.account_id;
                tracing::info!(%client_order_id, %account_id, code = fault.code.as_str(), "a position was not closed");
                fault.client_order_id.get_or_insert_with(|| client_order_id.to_string());
                return Err(self.add_blocking_orders(fault, closing.side).await.into());
            }
        };
        let ReceivedReply {
            body,
            is_replay: replayed,
            ..
        } = reply;
        let report = ExecutionReport::decode(&body).unwrap_or_else(|error| {
            tracing::error!(%error, %client_order_id, "a worker's report cannot be read");
            outcome_unknown_receipt(self.context, &intent)
        });
        Ok(self.respond_with_positions(report, replayed).await)
    }

    /// Returns a denial by a risk rule with the open orders that stand in the way; any other fault as it is.
    async fn add_blocking_orders(&self, fault: Fault, side: Side) -> Fault {
        if fault.code.ack_type() != AckType::Ack {
            return fault;
        }
        let mut open = Vec::new();
        for status in OPEN_STATUSES {
            let filter = OrderLogFilter {
                account_id: Some(self.id.account_id.clone()),
                symbol: Some(self.position.symbol.clone()),
                broker: Some(self.position.broker.clone()),
                status: Some(status),
                ..OrderLogFilter::default()
            };
            match self
                .context
                .order_log
                .list_orders(filter, OPEN_ORDERS_WINDOW, self.read_deadline())
                .await
            {
                Ok(page) => open.extend(page.items),
                Err(error) => tracing::warn!(%error, "open orders are not named: the order log does not tell them"),
            }
        }
        closing_order::with_blocking_orders(fault, &self.position, side, &open)
    }

    /// Tells what became of the order, and of the account's positions with it.
    async fn respond_with_positions(&self, report: ExecutionReport, replayed: bool) -> Response {
        self.context.last_mode.record(report.mode);
        let (order_id, status) = (&report.order_id, report.status.as_str());
        tracing::info!(order_id, status, replayed, account_id = %self.id.account_id, "a position's order was answered");
        let account = Some(self.id.account_id.clone());
        let positions = match self
            .context
            .order_log
            .list_positions(account, self.read_deadline())
            .await
        {
            Ok(positions) => Some(valuation::value_portfolios(
                &positions,
                &self.context.prices,
                Timestamp::now(),
            )),
            Err(fault) => {
                // The order stands all the same: a failure would say that nothing was sent.
                tracing::warn!(%fault, "an order is told without the positions it leaves");
                None
            }
        };
        let code = if report.is_unknown() {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        };
        let answer = ClosePositionResponse {
            order: report,
            positions,
        };
        let mut response = json::encode_response(code, &answer);
        set_location(&mut response, &answer.order, &self.id.account_id);
        if replayed {
            let headers = response.headers_mut();
            headers.insert(IDEMPOTENT_REPLAY, HeaderValue::from_static("true"));
        }
        response
    }

    /// Returns until when the order log may be waited for: the answer must leave in its time.
    fn read_deadline(&self) -> tokio::time::Instant {
        self.context.read_deadline().min(self.call_context.reply_deadline())
    }
}
