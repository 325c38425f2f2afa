//! Calls about the router as a whole: state, locks, limits, adjustments, brokers, health.
//!
//! Every change names its actor and its reason, which the journal keeps. A change that tightens, and one with an id of its
//! own, is sent again after a lost reply. A change that loosens never is: another operator may have tightened in between.

use std::time::Duration;

use crate::bus::router_client::RouterClient;
use crate::bus::subjects;
use crate::client::error::CallError;
use crate::client::typed_reply::TypedReply;
use crate::domain::id::AdjustmentId;
use crate::domain::order_terms::TradingState;
use crate::wire::adjustment::{AdjustmentEvent, AdjustmentRequest};
use crate::wire::brokers::BrokerList;
use crate::wire::health::WorkerHealth;
use crate::wire::limits::{LimitsChangeRequest, LimitsEvent};
use crate::wire::lock::{LockDocument, LockLiftRequest, LockList, LockScopeDocument, LockSetRequest};
use crate::wire::state::{RouterState, StateChangeRequest, StateGetRequest};

/// The body of a request without fields.
#[derive(serde::Serialize)]
struct NoFields {}

impl RouterClient {
    /// Returns mode, trading state, limits and the day's totals.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let state = client.state(Duration::from_secs(2)).await?;
    /// println!("{} of {} routed today", state.notional_routed, state.daily_notional_limit);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn state(&self, timeout: Duration) -> Result<TypedReply<RouterState>, CallError> {
        self.call(subjects::STATE_GET, &StateGetRequest::default(), timeout)
            .await
    }

    /// Halts trading on all workers and cancels every open order. `cancelled` and `remaining_total` say what became of them.
    /// After a lost reply it is sent again; `cancelled` then leaves out what the first attempt cancelled.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let state = client.halt("risk-monitor", "drawdown of 4 %", Duration::from_secs(10)).await?;
    /// println!("{:?} orders remain open", state.remaining_total);
    /// client.resume("mira", "positions checked", Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn halt(
        &self,
        actor: &str,
        reason: &str,
        timeout: Duration,
    ) -> Result<TypedReply<RouterState>, CallError> {
        let change = trading_state(TradingState::Halted, actor, reason);
        self.call(subjects::STATE_SET, &change, timeout).await
    }

    /// Accepts orders again, after a halt or `reduce_only`. It is sent once: after [`CallError::OutcomeUnknown`], read
    /// [`Self::state`] and decide.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// client.resume("mira", "checked", Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn resume(
        &self,
        actor: &str,
        reason: &str,
        timeout: Duration,
    ) -> Result<TypedReply<RouterState>, CallError> {
        self.set_state(&trading_state(TradingState::Active, actor, reason), timeout)
            .await
    }

    /// Changes trading state, mode or daily limits. It is sent once.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// use order_router_client::wire::schema_numbers::NumberInput;
    /// use order_router_client::wire::state::StateChangeRequest;
    ///
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let change = StateChangeRequest {
    ///     daily_loss_limit: Some(NumberInput("25000".parse()?)),
    ///     actor: Some("mira".to_owned()),
    ///     reason: Some("calm before the holiday".to_owned()),
    ///     ..StateChangeRequest::default()
    /// };
    /// client.set_state(&change, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn set_state(
        &self,
        change: &StateChangeRequest,
        timeout: Duration,
    ) -> Result<TypedReply<RouterState>, CallError> {
        self.call_once(subjects::STATE_SET, change, timeout).await
    }

    /// Lists the locks in force, the newest first.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// for lock in &client.locks(Duration::from_secs(2)).await?.items {
    ///     println!("{}: {}", lock.latch_id, lock.message);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn locks(&self, timeout: Duration) -> Result<TypedReply<LockList>, CallError> {
        self.call(subjects::LOCKS_LIST, &NoFields {}, timeout).await
    }

    /// Closes an account, a symbol, a broker or everything to all but reductions and cancels.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// use order_router_client::wire::lock::LockScopeDocument;
    ///
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let scope = LockScopeDocument::Account { account_id: "fund-7".to_owned() };
    /// let lock = client.lock(scope, "mira", "reconciling", Duration::from_secs(5)).await?;
    /// client.lift(&lock.latch_id, "mira", "reconciled", Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn lock(
        &self,
        scope: LockScopeDocument,
        actor: &str,
        reason: &str,
        timeout: Duration,
    ) -> Result<TypedReply<LockDocument>, CallError> {
        let request = LockSetRequest {
            scope,
            actor: actor.to_owned(),
            reason: reason.to_owned(),
        };
        self.call(subjects::LOCKS_SET, &request, timeout).await
    }

    /// Lifts a lock, given its `latch_id`, and returns it as it was. It is sent once.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// for lock in &client.locks(Duration::from_secs(5)).await?.items {
    ///     client.lift(&lock.latch_id, "mira", "checked", Duration::from_secs(5)).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn lift(
        &self,
        latch_id: &str,
        actor: &str,
        reason: &str,
        timeout: Duration,
    ) -> Result<TypedReply<LockDocument>, CallError> {
        let request = LockLiftRequest {
            latch_id: latch_id.to_owned(),
            actor: actor.to_owned(),
            reason: reason.to_owned(),
        };
        self.call_once(subjects::LOCKS_LIFT, &request, timeout).await
    }

    /// Books an adjustment once for each `adjustment_id`; one is assigned if it is absent.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// use order_router_client::wire::adjustment::AdjustmentRequest;
    /// use order_router_client::wire::schema_numbers::NumberInput;
    ///
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let withdrawal = AdjustmentRequest {
    ///     adjustment_id: Some("withdrawal-2026-03".to_owned()),
    ///     account_id: Some("fund-7".to_owned()),
    ///     cash: Some(NumberInput("-2500".parse()?)),
    ///     actor: Some("mira".to_owned()),
    ///     reason: Some("withdrawal".to_owned()),
    ///     ..AdjustmentRequest::default()
    /// };
    /// client.adjust(withdrawal, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn adjust(
        &self,
        request: AdjustmentRequest,
        timeout: Duration,
    ) -> Result<TypedReply<AdjustmentEvent>, CallError> {
        let assigned = || AdjustmentId::generate().to_string();
        let request = AdjustmentRequest {
            adjustment_id: Some(request.adjustment_id.unwrap_or_else(assigned)),
            ..request
        };
        self.call(subjects::ADJUST, &request, timeout).await
    }

    /// Lists the brokers with their venues, symbols and times in force.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// for broker in &client.brokers(Duration::from_secs(2)).await?.details {
    ///     println!("{}: {}", broker.broker, broker.venues.join(", "));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn brokers(&self, timeout: Duration) -> Result<TypedReply<BrokerList>, CallError> {
        self.call(subjects::BROKERS, &NoFields {}, timeout).await
    }

    /// Reports whether a worker would take a new order now, and what keeps it from that.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// if let Some(obstacle) = client.health(Duration::from_secs(2)).await?.obstacle() {
    ///     println!("no orders are taken: {obstacle}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn health(&self, timeout: Duration) -> Result<TypedReply<WorkerHealth>, CallError> {
        self.call(subjects::HEALTH, &NoFields {}, timeout).await
    }

    /// Returns the event of the limits in force.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let limits = client.limits(Duration::from_secs(2)).await?;
    /// println!("version {} by {}: {}", limits.version, limits.actor, limits.reason);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::Refused`] with `not_found` before the first worker has put any in force.
    pub async fn limits(&self, timeout: Duration) -> Result<TypedReply<LimitsEvent>, CallError> {
        self.call(subjects::LIMITS_GET, &NoFields {}, timeout).await
    }

    /// Puts other limits in force, if those in force still have the hash that the request names. It is sent once.
    ///
    /// ```no_run
    /// # async fn example(request: order_router_client::wire::limits::LimitsChangeRequest) -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let in_force = client.set_limits(&request, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn set_limits(
        &self,
        request: &LimitsChangeRequest,
        timeout: Duration,
    ) -> Result<TypedReply<LimitsEvent>, CallError> {
        self.call_once(subjects::LIMITS_SET, request, timeout).await
    }
}

fn trading_state(state: TradingState, actor: &str, reason: &str) -> StateChangeRequest {
    StateChangeRequest {
        trading_state: Some(state),
        actor: Some(actor.to_owned()),
        reason: Some(reason.to_owned()),
        ..StateChangeRequest::default()
    }
}
