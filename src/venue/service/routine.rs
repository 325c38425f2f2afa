//! What every request goes through: faults, limits, the signature, its operation, and faults again.

use std::sync::Arc;

use futures_util::future::poll_immediate;
use serde_json::{Value, json};

use crate::venue::clock::{now_ms, shifted};
use crate::venue::error::VenueError;
use crate::venue::faults::table::FaultKind;
use crate::venue::hub::milliseconds;
use crate::venue::operation::{Operation, Security};
use crate::venue::service::request::{Answer, Identity, Reply, Request};
use crate::venue::service::state::Service;
use crate::venue::signature;

/// The weight of a query of all symbols' open orders.
const ALL_OPEN_ORDERS_WEIGHT: u32 = 80;
/// The weight of a query of the trades of one order.
const ONE_ORDERS_TRADES_WEIGHT: u32 = 5;
/// The weight of a ticker of all symbols.
const ALL_TICKERS_WEIGHT: u32 = 4;

/// The most tasks with which a fault still makes a request wait.
const MAX_PAUSED_REQUESTS: usize = 10_000;

impl Service {
    /// Handles a request to its end, also when its client goes away before.
    pub async fn handle(self: &Arc<Self>, request: Request) -> Reply {
        let service = self.clone();
        let mut handling = Box::pin(async move { service.handle_here(request).await });
        // Requests of one connection are executed in their order, unless a fault makes one wait.
        if let Some(reply) = poll_immediate(handling.as_mut()).await {
            return reply;
        }
        // A panic of a request is one of the venue: its client sees a connection that ends.
        self.tasks.spawn(handling).await.unwrap_or(Reply::Reset)
    }

    async fn handle_here(self: &Arc<Self>, request: Request) -> Reply {
        let operation = request.operation;
        self.faults.count_request();
        let mut answer = Answer {
            result: Err(VenueError::unknown()),
            used_weight: 0,
            orders: None,
            server_time: now_ms(),
            identity: None,
        };
        if let Some(strike) = self.faults.strikes(FaultKind::ClockSkew, operation) {
            answer.server_time = shifted(answer.server_time, strike.duration_ms);
        }
        if let Err(error) = self.admit(&request) {
            answer.result = Err(error);
            answer.used_weight = self.limits.used_weight(request.address, now_ms());
            return Reply::Answer(Box::new(answer));
        }
        if let Some(strike) = self.faults.strikes(FaultKind::RequestDelayed, operation) {
            self.pause(strike.duration_ms).await;
            answer.server_time = shifted(answer.server_time, strike.duration_ms);
        }
        if self.faults.strikes(FaultKind::RequestLost, operation).is_some() {
            return Reply::Reset;
        }
        let before = self.error_before(operation);
        let is_judged = before.is_none();
        answer.result = match before {
            Some(error) => Err(error),
            None => self.authenticate(&request, answer.server_time).and_then(|identity| {
                answer.identity = identity;
                self.run(&request, &mut answer)
            }),
        };
        if answer.result.is_ok() && operation.is_free_on_success() {
            self.limits.refund(request.address, weight(&request), now_ms());
        }
        answer.used_weight = self.limits.used_weight(request.address, now_ms());
        if is_judged && self.strikes_after(operation, &mut answer).await {
            return Reply::Reset;
        }
        Reply::Answer(Box::new(answer))
    }

    /// Charges the weight, unless a fault refuses the request before.
    fn admit(&self, request: &Request) -> Result<(), VenueError> {
        let operation = request.operation;
        let now = now_ms();
        if self.faults.strikes(FaultKind::Maintenance, operation).is_some() {
            return Err(VenueError::unavailable());
        }
        if let Some(strike) = self.faults.strikes(FaultKind::Banned, operation) {
            let until = shifted(now, strike.duration_ms);
            self.limits.ban(request.address, until);
            return Err(VenueError::banned(until));
        }
        if let Some(strike) = self.faults.strikes(FaultKind::RateLimited, operation) {
            let limit = self.settings.limits.weight_per_minute;
            let retry_at = shifted(now, strike.duration_ms);
            return Err(VenueError::too_much_weight(limit).with_retry_at(retry_at));
        }
        self.limits.charge(request.address, weight(request), now)
    }

    fn error_before(&self, operation: Operation) -> Option<VenueError> {
        if self.faults.strikes(FaultKind::ErrorBefore, operation).is_some() {
            return Some(VenueError::unknown().with_status(503));
        }
        let timeout = self.faults.strikes(FaultKind::TimeoutBefore, operation);
        timeout.map(|_| VenueError::timeout())
    }

    /// Applies the faults after the execution, and reports whether the answer is lost.
    async fn strikes_after(&self, operation: Operation, answer: &mut Answer) -> bool {
        if let Some(strike) = self.faults.strikes(FaultKind::AnswerDelayed, operation) {
            self.pause(strike.duration_ms).await;
        }
        if self.faults.strikes(FaultKind::AnswerLost, operation).is_some() {
            return true;
        }
        if self.faults.strikes(FaultKind::ErrorAfter, operation).is_some() {
            answer.result = Err(VenueError::unknown());
        } else if self.faults.strikes(FaultKind::TimeoutAfter, operation).is_some() {
            answer.result = Err(VenueError::timeout());
        }
        false
    }

    /// Waits, unless too many requests wait already, and not beyond the shutdown.
    async fn pause(&self, duration_ms: i64) {
        if self.tasks.len() < MAX_PAUSED_REQUESTS {
            tokio::select! {
                () = tokio::time::sleep(milliseconds(duration_ms)) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// Returns who signed a request; `None` for one that needs no signature.
    fn authenticate(&self, request: &Request, server_time: u64) -> Result<Option<Identity>, VenueError> {
        if request.operation.security() == Security::None {
            return Ok(None);
        }
        let parameters = &request.parameters;
        if let Some(session) = request.session.clone().filter(|_| request.key.is_none()) {
            // A session is authenticated once; each of its requests still has a time.
            let (timestamp, window) = parameters.timing()?;
            signature::check_time(timestamp, window, server_time)?;
            return Ok(Some(session));
        }
        let key = self.keys.find(request.key.as_deref())?;
        let given = parameters.mandatory("signature")?;
        let (timestamp, window) = parameters.timing()?;
        signature::verify(key, &request.payload, given)?;
        signature::check_time(timestamp, window, server_time)?;
        Ok(Some(Identity {
            key: key.key.clone(),
            account: key.account.clone(),
            is_ed25519: matches!(key.secret, crate::venue::settings::KeySecret::Ed25519(_)),
        }))
    }

    fn run(self: &Arc<Self>, request: &Request, answer: &mut Answer) -> Result<Value, VenueError> {
        let parameters = &request.parameters;
        let account = answer.identity.as_ref().map(|identity| identity.account.clone());
        let account = account.unwrap_or_default();
        match request.operation {
            Operation::Ping | Operation::Session | Operation::Subscribe => Ok(json!({})),
            Operation::Time => Ok(json!({"serverTime": answer.server_time})),
            Operation::ExchangeInfo => self.exchange_info(parameters, answer.server_time),
            Operation::Depth => self.depth(parameters),
            Operation::BookTicker => self.book_ticker(parameters),
            Operation::PriceTicker => self.price_ticker(parameters),
            Operation::Place => self.place(parameters, &account, answer),
            Operation::TestOrder => self.test_order(parameters, &account),
            Operation::QueryOrder => self.query_order(parameters, &account),
            Operation::Cancel => self.cancel(parameters, &account),
            Operation::CancelAll => self.cancel_all(parameters, &account),
            Operation::CancelReplace => self.cancel_replace(parameters, &account, answer),
            Operation::Amend => self.amend(parameters, &account),
            Operation::OpenOrders => self.open_orders(parameters, &account),
            Operation::AllOrders => self.all_orders(parameters, &account),
            Operation::MyTrades => self.my_trades(parameters, &account),
            Operation::Account => self.account(parameters, &account),
            Operation::OrderLimits => self.order_limits(parameters, &account, answer),
            Operation::KeyPermissions => Self::key_permissions(parameters),
            Operation::Logon | Operation::SubscribeSigned => {
                parameters.finish()?;
                Ok(json!({}))
            }
        }
    }
}

/// Returns the weight of a request.
fn weight(request: &Request) -> u32 {
    let parameters = &request.parameters;
    let has = |name: &str| parameters.get(name).is_some();
    match request.operation {
        Operation::OpenOrders if !has("symbol") => ALL_OPEN_ORDERS_WEIGHT,
        Operation::MyTrades if has("orderId") => ONE_ORDERS_TRADES_WEIGHT,
        Operation::BookTicker | Operation::PriceTicker if !has("symbol") => ALL_TICKERS_WEIGHT,
        Operation::Depth => {
            let limit = parameters
                .get("limit")
                .and_then(|limit| limit.parse().ok())
                .unwrap_or(100_u32);
            match limit {
                0..=100 => 5,
                101..=500 => 25,
                501..=1_000 => 50,
                _ => 250,
            }
        }
        other => other.weight(),
    }
}
