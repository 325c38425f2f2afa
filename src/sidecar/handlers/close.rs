//! `POST /positions/{id}/close`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;

use super::submit::{IDEMPOTENT_REPLAY, idempotency_key, locate, receipt};
use crate::bus::client::{CallError, Reply};
use crate::bus::subjects;
use crate::domain::decimal::Decimal;
use crate::domain::id::{BrokerId, ClientOrderId};
use crate::domain::terms::Side;
use crate::domain::time::Timestamp;
use crate::fault::{Code, Delivery, Fault, quoted};
use crate::sidecar::auth::Caller;
use crate::sidecar::body::OptionalJsonBody;
use crate::sidecar::bridge::{self, Terms};
use crate::sidecar::closing::{self, Closing, OPEN};
use crate::sidecar::context::Context;
use crate::sidecar::order_log::{Filter, PositionRow, Window};
use crate::sidecar::parameters::Parameters;
use crate::sidecar::problem::{self, Failure};
use crate::sidecar::{holdings, json};
use crate::wire::holding_id::HoldingId;
use crate::wire::intent::{MissingId, decode};
use crate::wire::order_reference::OrderReference;
use crate::wire::positions::{ClosePositionAnswer, decode_close};
use crate::wire::report::ExecutionReport;

/// How many open orders of each state are looked through for those that stand in the way.
const OPEN_LOOKED_AT: Window = Window { limit: 100, offset: 0 };
const UNANSWERED: &str = "no worker has answered in time whether the order is known; nothing was sent, ask again";

/// A position that is to be closed.
struct Held<'a> {
    context: &'a Context,
    terms: &'a Terms,
    id: HoldingId,
    row: PositionRow,
    broker: BrokerId,
    is_in_force: bool,
}

/// Closes a position, or a part of it, by one order that can only reduce it, and tells what became of both.
pub(in crate::sidecar) async fn close(
    State(context): State<Arc<Context>>,
    caller: Caller,
    terms: Terms,
    parameters: Parameters,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Failure> {
    parameters.finish()?;
    let target = decode_close(&body)?;
    let key = idempotency_key(&headers)?;
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let held = find(&context, &caller, &terms, &text).await?;
    let Some(key) = key else {
        held.is_in_force()?;
        let closing = held.closing(target)?;
        return held.send(closing, &ClientOrderId::assign()).await;
    };
    // Its quantity was fixed when it was first sent: what is held by now must not make another order of it.
    if let Some(known) = held.known(&key, target).await? {
        return Ok(known);
    }
    held.is_in_force()?;
    let closing = held.closing(target)?;
    match held.send(closing, &key).await {
        Err(Failure(fault)) if fault.code == Code::ClientOrderIdConflict => {
            // The same request may have come first by another connection.
            Ok(held.known(&key, target).await?.ok_or(fault)?)
        }
        answered => answered,
    }
}

/// Returns the position that a path names, as the order log has it.
async fn find<'a>(context: &'a Context, caller: &Caller, terms: &'a Terms, text: &str) -> Result<Held<'a>, Failure> {
    let no_such = || Fault::new(Code::NotFound, format!("there is no position {:?}", quoted(text)));
    let id = HoldingId::parse(text).ok_or_else(no_such)?;
    caller.may_use(&id.account_id)?;
    // How much is closed goes by what is held now, not by what was held when the log last kept up.
    context.log.catch_up(context.caller.bus(), context.read_until()).await?;
    let account = Some(id.account_id.clone());
    let positions = context.log.positions(account, context.read_until()).await?;
    let row = closing::find(&positions, &id).cloned().ok_or_else(no_such)?;
    let broker = BrokerId::new(&row.broker).map_err(|_| no_such())?;
    Ok(Held {
        context,
        terms,
        id,
        is_in_force: row.mode == positions.mode,
        row,
        broker,
    })
}

impl Held<'_> {
    /// Checks that the position is one of the mode in force.
    fn is_in_force(&self) -> Result<(), Fault> {
        if self.is_in_force {
            return Ok(());
        }
        let detail = format!("the position {} is of another mode than the one in force", self.id);
        Err(Fault::new(Code::NotFound, detail))
    }

    fn closing(&self, target: Decimal) -> Result<Closing, Fault> {
        let market = self.context.prices.market(&self.row.venue, &self.row.symbol);
        let lot_size = market.map_or(self.row.lot_size, |market| market.instrument.lot_size.decimal());
        closing::closing(&self.row, lot_size, target)
    }

    /// Asks a worker for an order by the caller's id, and answers with what became of it; `None` where it is not known.
    async fn known(&self, key: &ClientOrderId, target: Decimal) -> Result<Option<Response>, Failure> {
        let reference = OrderReference {
            order_id: None,
            client_order_id: Some(key.to_string()),
        };
        // Strings only: there is nothing in it that JSON cannot hold.
        let body = Bytes::from(serde_json::to_vec(&reference).unwrap_or_default());
        let subject = subjects::get(&self.broker, &self.id.account_id);
        let reply = match bridge::call(self.context, &subject, body, self.terms).await {
            Err(CallError::Fault(fault)) if fault.code == Code::UnknownOrder => return Ok(None),
            answered => answered.map_err(|error| problem::harmless(error, UNANSWERED))?,
        };
        let report = ExecutionReport::decode(&reply.body).map_err(|error| {
            tracing::error!(%error, client_order_id = %key, "a worker's report cannot be read");
            Fault::new(Code::NoWorker, UNANSWERED)
        })?;
        if !closing::is_of(&report, &self.row, target) {
            let detail = format!("the client order id {key} was used for something else; nothing was sent");
            return Err(Fault::new(Code::ClientOrderIdConflict, detail)
                .about(key.as_str())
                .into());
        }
        match report.denial() {
            Some(denial) => Err(self.hindered(denial, report.side).await.into()),
            None => Ok(Some(self.told(report, true).await)),
        }
    }

    /// Sends the order that closes the position.
    async fn send(&self, closing: Closing, client_order_id: &ClientOrderId) -> Result<Response, Failure> {
        let intent = closing.intent(&self.row, client_order_id);
        // Strings and exact numbers only: there is nothing in it that JSON cannot hold.
        let body = Bytes::from(serde_json::to_vec(&intent).unwrap_or_default());
        let intent = decode(&body, MissingId::Refused)?;
        let subject = subjects::submit(&self.broker, &self.id.account_id);
        let reply = match bridge::call(self.context, &subject, body, self.terms).await {
            Ok(reply) => reply,
            Err(CallError::Timeout) => return Ok(self.told(receipt(self.context, &intent), false).await),
            Err(CallError::Fault(mut fault)) => {
                let account_id = &self.id.account_id;
                tracing::info!(%client_order_id, %account_id, code = fault.code.as_str(), "a position was not closed");
                fault.client_order_id.get_or_insert_with(|| client_order_id.to_string());
                return Err(self.hindered(fault, closing.side).await.into());
            }
        };
        let Reply { body, replayed, .. } = reply;
        let report = ExecutionReport::decode(&body).unwrap_or_else(|error| {
            tracing::error!(%error, %client_order_id, "a worker's report cannot be read");
            receipt(self.context, &intent)
        });
        Ok(self.told(report, replayed).await)
    }

    /// Returns a denial by a risk rule with the open orders that stand in the way; any other fault as it is.
    async fn hindered(&self, fault: Fault, side: Side) -> Fault {
        if fault.code.delivery() != Delivery::Ack {
            return fault;
        }
        let mut open = Vec::new();
        for status in OPEN {
            let filter = Filter {
                account_id: Some(self.id.account_id.clone()),
                symbol: Some(self.row.symbol.clone()),
                broker: Some(self.row.broker.clone()),
                status: Some(status),
                ..Filter::default()
            };
            match self.context.log.orders(filter, OPEN_LOOKED_AT, self.read_until()).await {
                Ok(page) => open.extend(page.items),
                Err(error) => tracing::warn!(%error, "open orders are not named: the order log does not tell them"),
            }
        }
        closing::hindered(fault, &self.row, side, &open)
    }

    /// Tells what became of the order, and of the account's positions with it.
    async fn told(&self, report: ExecutionReport, replayed: bool) -> Response {
        self.context.mode.seen(report.mode);
        let (order_id, status) = (&report.order_id, report.status.as_str());
        tracing::info!(order_id, status, replayed, account_id = %self.id.account_id, "a position's order was answered");
        let account = Some(self.id.account_id.clone());
        let positions = match self.context.log.positions(account, self.read_until()).await {
            Ok(positions) => Some(holdings::answer(&positions, &self.context.prices, Timestamp::now())),
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
        let answer = ClosePositionAnswer {
            order: report,
            positions,
        };
        let mut response = json::of(code, &answer);
        locate(&mut response, &answer.order, &self.id.account_id);
        if replayed {
            let headers = response.headers_mut();
            headers.insert(IDEMPOTENT_REPLAY, HeaderValue::from_static("true"));
        }
        response
    }

    /// Returns until when the order log may be waited for: the answer must leave in its time.
    fn read_until(&self) -> tokio::time::Instant {
        self.context.read_until().min(self.terms.listen_until())
    }
}
