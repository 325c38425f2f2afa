//! A request about one order that changes it: its order, found and authorised, and the bridge to the bus. `POST …/cancel` and
//! `POST …/replace` differ in their bodies and in what they read in the report.

use axum::http::StatusCode;
use axum::response::Response;

use crate::bus::router_client::RequestError;
use crate::domain::id::{AccountId, BrokerId};
use crate::sidecar::bus_bridge;
use crate::sidecar::call_context::CallContext;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::handlers::orders::cancel_receipt::CancelReceipt;
use crate::sidecar::handlers::orders::lookup;
use crate::sidecar::middleware::auth::principal::Principal;
use crate::sidecar::response::json;
use crate::sidecar::response::problem::ProblemResponse;
use crate::wire::order_reference::OrderSelector;
use crate::wire::report::ExecutionReport;

/// An order that the sender may change.
pub(super) struct TargetOrder {
    pub(super) broker: BrokerId,
    pub(super) account: AccountId,
    pub(super) selector: OrderSelector,
}

/// What is said of a request.
pub(super) struct OrderAction {
    /// Its name in the log.
    pub(super) name: &'static str,
    /// The receipt's message where no worker has replied.
    pub(super) unknown_outcome: &'static str,
}

impl TargetOrder {
    /// Returns the order that a body names. Without an account, an order id names an order of any account that the sender may
    /// use, and a client order id one of the default account.
    ///
    /// # Errors
    /// Those of [`lookup::find_order`]; an account that the sender may not use.
    pub(super) async fn find(
        context: &SidecarContext,
        call_context: &CallContext,
        principal: &Principal,
        broker: BrokerId,
        selector: OrderSelector,
        account: Option<AccountId>,
    ) -> Result<Self, ProblemResponse> {
        let account = match (account, &selector) {
            (None, OrderSelector::OrderId(id)) => {
                let found = lookup::find_order(context, call_context, principal, &broker, id.clone()).await;
                found?.1
            }
            (account, _) => {
                let account = account.unwrap_or_else(AccountId::default_account);
                principal.authorize_account(&account)?;
                account
            }
        };
        Ok(Self {
            broker,
            account,
            selector,
        })
    }

    /// Sends the request to a worker, and returns its report with the status that `judge` gives it, or a receipt if the
    /// outcome is unknown.
    ///
    /// # Errors
    /// The worker's fault.
    pub(super) async fn call(
        &self,
        context: &SidecarContext,
        call_context: &CallContext,
        action: &OrderAction,
        subject: &str,
        request: Vec<u8>,
        judge: impl FnOnce(&ExecutionReport) -> StatusCode,
    ) -> Result<Response, ProblemResponse> {
        let (name, order) = (action.name, &self.selector);
        let (broker, account) = (&self.broker, &self.account);
        let reply = match bus_bridge::call(context, subject, request, call_context).await {
            Ok(reply) => reply,
            Err(RequestError::Timeout) => {
                tracing::warn!(%order, %broker, %account, "{name} timed out: outcome unknown");
                return Ok(self.respond_outcome_unknown(action));
            }
            Err(RequestError::Fault(fault)) => {
                tracing::info!(%order, %broker, %account, code = fault.code.as_str(), "{name} refused");
                return Err(fault.into());
            }
        };
        match ExecutionReport::decode(&reply.body) {
            Ok(report) => {
                context.last_mode.record(report.mode);
                Ok(json::raw_response(judge(&report), reply.body))
            }
            Err(error) => {
                tracing::error!(%error, %order, %broker, %account, "invalid reply to a {name}: outcome unknown");
                Ok(self.respond_outcome_unknown(action))
            }
        }
    }

    fn respond_outcome_unknown(&self, action: &OrderAction) -> Response {
        let receipt = CancelReceipt::for_order(&self.selector, &self.broker, &self.account, action.unknown_outcome);
        json::encode_response(StatusCode::ACCEPTED, &receipt)
    }
}
