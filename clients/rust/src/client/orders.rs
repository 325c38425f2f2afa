//! Calls about orders.

use std::time::Duration;

use crate::bus::connection::AwaitedSubjects;
use crate::bus::router_client::{RequestError, RouterClient, new_traceparent};
use crate::bus::subjects;
use crate::client::calls::{Attempts, CallDeadline, encode};
use crate::client::error::CallError;
use crate::client::new_terms::NewTerms;
use crate::client::order_key::{OrderKey, parse};
use crate::client::stored_intent::StoredIntent;
use crate::client::typed_reply::TypedReply;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId};
use crate::domain::symbol::Symbol;
use crate::fault::{Fault, FaultCode};
use crate::wire::heartbeat::{HeartbeatAnswer, HeartbeatRequest};
use crate::wire::intent::ExecutionIntent;
use crate::wire::market_quote::MarketQuote;
use crate::wire::note::{NoteEvent, NoteRequest};
use crate::wire::order_reference::{CancelAllReply, CancelAllRequest};
use crate::wire::replace::DecodedReplace;
use crate::wire::report::ExecutionReport;

/// How long [`RouterClient::wait_report`] waits for the report of an intent whose reply did not arrive.
const LAST_READ_TIMEOUT: Duration = Duration::from_secs(2);

impl RouterClient {
    /// Submits an order through the request door and returns its report.
    ///
    /// The intent gets a client order id if it has none. It is sent again under that id after a retryable fault, a lost reply
    /// or a receipt, until the deadline: the router sends it to a broker at most once. The report can be of status `unknown`,
    /// or a receipt ([`ExecutionReport::is_receipt`]): then the order may be at its venue.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use order_router_client::domain::order_terms::Side;
    /// use order_router_client::{ConnectionSettings, ExecutionIntent, RouterClient};
    ///
    /// let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let intent = ExecutionIntent::market("binance", "binance.spot", "BTCUSDT", Side::Buy, "0.001".parse()?);
    /// let report = client.submit(&intent, Duration::from_secs(5)).await?;
    /// println!("{} {}", report.status, report.filled_quantity);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Refused`] where nothing was sent to a broker, a denial included; [`CallError::OutcomeUnknown`], which has
    /// the id: submit the same intent under that id, or [`Self::get`] the order.
    pub async fn submit(
        &self,
        intent: &ExecutionIntent,
        timeout: Duration,
    ) -> Result<TypedReply<ExecutionReport>, CallError> {
        let (intent, key) = identify(intent)?;
        let account = key.account.clone().unwrap_or_else(AccountId::default_account);
        self.order_call(&subjects::submit(&key.broker, &account), &intent, &key, timeout)
            .await
    }

    /// Publishes an order to the durable door and returns once it is stored, even where no worker is up. It may be executed
    /// for `executable_for`. [`Self::wait_report`] returns its report.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::domain::order_terms::Side;
    /// # use order_router_client::{ConnectionSettings, ExecutionIntent, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let intent = ExecutionIntent::market("ibkr", "ibkr.paper", "AAPL", Side::Buy, "10".parse()?);
    /// let mut stored = client.submit_durable(&intent, Duration::from_secs(60)).await?;
    /// println!("stored as {}", stored.sequence);
    /// let report = client.wait_report(&mut stored, Duration::from_secs(60)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Refused`] where nothing was stored; [`CallError::OutcomeUnknown`] where it may be stored: publish the same
    /// intent again, under the id in the error.
    pub async fn submit_durable(
        &self,
        intent: &ExecutionIntent,
        executable_for: Duration,
    ) -> Result<StoredIntent, CallError> {
        let (intent, order) = identify(intent)?;
        let account = order.account.clone().unwrap_or_else(AccountId::default_account);
        let deadline = CallDeadline::after(executable_for);
        let reply = self.reply_inbox().await?.expect_reply()?;
        let body = encode(&intent);
        let mut attempts = Attempts::new(deadline, self.retry());
        let stored = loop {
            let reply_to = Some(reply.reply_to.as_str());
            let sent = self
                .publish_intent(&order.broker, &account, body.clone(), Some(deadline.at), reply_to)
                .await;
            if let Some(stored) = attempts.record(sent, |_: &u64| true).await {
                break stored;
            }
        };
        let sequence = stored.map_err(|error| error.about(order.client_order_id()))?;
        Ok(StoredIntent { order, sequence, reply })
    }

    /// Returns the first report of a stored intent. It waits for the worker's reply until `timeout`, and then reads the order.
    /// It may be called again.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// # use order_router_client::ExecutionIntent;
    /// # use order_router_client::domain::order_terms::Side;
    /// # let intent = ExecutionIntent::market("ibkr", "ibkr.paper", "AAPL", Side::Buy, "10".parse()?);
    /// let mut stored = client.submit_durable(&intent, Duration::from_secs(5)).await?;
    /// let report = client.wait_report(&mut stored, Duration::from_secs(5)).await?;
    /// println!("{}", report.status);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Refused`] for an intent that was refused or denied; [`CallError::OutcomeUnknown`] for one without a report
    /// so far.
    pub async fn wait_report(
        &self,
        stored: &mut StoredIntent,
        timeout: Duration,
    ) -> Result<TypedReply<ExecutionReport>, CallError> {
        let id = stored.order.client_order_id().map(str::to_owned);
        if let Some(reply) = stored.reply.wait(timeout).await {
            return reply
                .map_err(CallError::from)
                .and_then(TypedReply::decode)
                .map_err(|error| error.about(id.as_deref()));
        }
        match self.get(&stored.order, LAST_READ_TIMEOUT).await {
            Err(CallError::Refused(fault)) if fault.code == FaultCode::UnknownOrder || fault.code.is_retryable() => {
                Err(CallError::OutcomeUnknown { client_order_id: id })
            }
            read => read,
        }
    }

    /// Returns an order's current report.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, OrderKey, RouterClient};
    /// use order_router_client::domain::id::{AccountId, BrokerId, ClientOrderId};
    ///
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let id = ClientOrderId::new("mean-reversion-81")?;
    /// let key = OrderKey::by_client_order_id(BrokerId::new("binance")?, AccountId::default_account(), id);
    /// let report = client.get(&key, Duration::from_secs(2)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Refused`], with `unknown_order` where there is none.
    pub async fn get(&self, order: &OrderKey, timeout: Duration) -> Result<TypedReply<ExecutionReport>, CallError> {
        let subject = subjects::get(&order.broker, order.account.as_ref());
        self.order_call(&subject, &order.reference(), order, timeout).await
    }

    /// Cancels an order and returns its report. An order that its venue did not cancel is still open there. A cancel is sent
    /// again after a lost reply; one that an earlier attempt of the call ended is returned as it is.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::domain::order_terms::Side;
    /// # use order_router_client::{ConnectionSettings, ExecutionIntent, OrderKey, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// # let intent = ExecutionIntent::market("ibkr", "ibkr.paper", "AAPL", Side::Buy, "10".parse()?);
    /// let report = client.submit(&intent, Duration::from_secs(5)).await?;
    /// let cancelled = client.cancel(&OrderKey::of(&report)?, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Refused`], with `order_closed` for an order that had ended before the call.
    pub async fn cancel(&self, order: &OrderKey, timeout: Duration) -> Result<TypedReply<ExecutionReport>, CallError> {
        let subject = subjects::cancel(&order.broker, order.account.as_ref());
        let (deadline, body, traceparent) = (
            CallDeadline::after(timeout),
            encode(&order.reference()),
            new_traceparent(),
        );
        let mut attempts = Attempts::new(deadline, self.retry());
        let reply = loop {
            let wait = attempts.wait();
            let mut sent = self
                .request_with_timeout(wait, &subject, body.clone(), deadline.at, &traceparent)
                .await;
            if let Err(RequestError::Fault(fault)) = &sent
                && fault.code == FaultCode::OrderClosed
                && attempts.may_have_arrived()
            {
                // An earlier attempt ended it.
                let read = subjects::get(&order.broker, order.account.as_ref());
                sent = self
                    .request_with_timeout(wait, &read, body.clone(), deadline.at, &traceparent)
                    .await;
            }
            if let Some(reply) = attempts.record(sent, |_| true).await {
                break reply;
            }
        };
        let reply = reply.and_then(TypedReply::decode);
        reply.map_err(|error| error.about(order.client_order_id()))
    }

    /// Replaces the price, the quantity or both of an order that rests. `replace.state` in the report says what became of it.
    /// After a lost reply it is sent again under the same replace id, which takes effect at most once.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// use order_router_client::domain::id::{BrokerId, OrderId};
    /// use order_router_client::{ConnectionSettings, NewTerms, OrderKey, RouterClient};
    ///
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let order = OrderKey::by_order_id(BrokerId::new("binance")?, None, OrderId::new("BN-0195561f2a007c3e9d1b2f4a6c8e0d1f")?);
    /// let report = client.replace(&order, &NewTerms::price("64000.5".parse()?)?, Duration::from_secs(5)).await?;
    /// println!("{:?}", report.replace);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Refused`], for instance with `order_closed`, `not_replaced` or `replace_in_flight`.
    pub async fn replace(
        &self,
        order: &OrderKey,
        terms: &NewTerms,
        timeout: Duration,
    ) -> Result<TypedReply<ExecutionReport>, CallError> {
        let request = DecodedReplace {
            selector: order.selector.clone(),
            price: terms.price,
            quantity: terms.quantity,
            replace_id: terms.replace_id.clone(),
        };
        let subject = subjects::replace(&order.broker, order.account.as_ref());
        let reply = self.call(&subject, &request.to_request(), timeout).await;
        reply.map_err(|error| error.about(order.client_order_id()))
    }

    /// Cancels every open order of an account at a broker, or those in one symbol. Call it again while `remaining_total` is
    /// above 0. After a lost reply it is sent again, and `cancelled` then leaves out what the first attempt cancelled.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// use order_router_client::domain::id::{AccountId, BrokerId};
    ///
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let (broker, account) = (BrokerId::new("binance")?, AccountId::new("fund-7")?);
    /// let outcome = client.cancel_all(&broker, &account, None, Duration::from_secs(5)).await?;
    /// println!("{} cancelled, {} remain", outcome.cancelled_total, outcome.remaining_total);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn cancel_all(
        &self,
        broker: &BrokerId,
        account: &AccountId,
        symbol: Option<&str>,
        timeout: Duration,
    ) -> Result<TypedReply<CancelAllReply>, CallError> {
        let request = CancelAllRequest {
            symbol: symbol.map(str::to_owned),
        };
        self.call(&subjects::cancel_all(broker, account), &request, timeout)
            .await
    }

    /// Keeps an account's dead man's switch from firing for the request's `timeout_ms`; 0 disarms it, and needs a reason. When
    /// it fires, the account's openings are locked and its open orders cancelled. After a lost reply the heartbeat is sent
    /// again.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// use order_router_client::domain::id::AccountId;
    /// use order_router_client::wire::heartbeat::HeartbeatRequest;
    ///
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let beat = HeartbeatRequest { timeout_ms: 10_000, actor: None, reason: None };
    /// client.heartbeat(&AccountId::new("fund-7")?, &beat, Duration::from_secs(2)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn heartbeat(
        &self,
        account: &AccountId,
        beat: &HeartbeatRequest,
        timeout: Duration,
    ) -> Result<TypedReply<HeartbeatAnswer>, CallError> {
        self.call(&subjects::heartbeat(account), beat, timeout).await
    }

    /// Adds a note, tags, or both to the order of a report. The request's `note_id` makes it one note, however often it is
    /// sent; one is assigned if it is absent.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// use order_router_client::domain::id::{AccountId, BrokerId};
    /// use order_router_client::wire::note::NoteRequest;
    ///
    /// let note = NoteRequest {
    ///     order_id: Some("BN-0195561f2a007c3e9d1b2f4a6c8e0d1f".to_owned()),
    ///     notes: Some("checked with the venue".to_owned()),
    ///     ..NoteRequest::default()
    /// };
    /// let (broker, account) = (BrokerId::new("binance")?, AccountId::new("fund-7")?);
    /// client.note(&broker, &account, note, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn note(
        &self,
        broker: &BrokerId,
        account: &AccountId,
        note: NoteRequest,
        timeout: Duration,
    ) -> Result<TypedReply<NoteEvent>, CallError> {
        let note = NoteRequest {
            note_id: note.note_id.or_else(|| Some(uuid::Uuid::now_v7())),
            ..note
        };
        self.call(&subjects::note(broker, account), &note, timeout).await
    }

    /// Publishes a reference price, and waits until the server has it. A quote is not sent again: the next one is newer.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// use order_router_client::domain::symbol::Symbol;
    /// use order_router_client::domain::time::Timestamp;
    /// use order_router_client::wire::market_quote::MarketQuote;
    /// use order_router_client::wire::schema_numbers::NumberInput;
    ///
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let last = Some(NumberInput("64250.10".parse()?));
    /// let quote = MarketQuote { bid: None, ask: None, last, timestamp: Timestamp::now() };
    /// client.publish_quote("binance.spot", &Symbol::parse("BTC/USDT")?, &quote).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Refused`] with `bus_unavailable` or `not_entitled`.
    pub async fn publish_quote(&self, venue: &str, symbol: &Symbol, quote: &MarketQuote) -> Result<(), CallError> {
        let bus = self.bus();
        if !bus.is_connected() {
            return Err(Fault::new(FaultCode::BusUnavailable, "NATS is unreachable; nothing was sent").into());
        }
        let subject = subjects::quote(venue, symbol.as_str());
        let awaited = AwaitedSubjects::One(&subject);
        let publish = async {
            bus.publish(subject.clone(), encode(quote)).await?;
            // The server reports a denial before it returns the echo.
            bus.round_trip().await
        };
        Ok(bus.unless_denied(awaited, publish).await?)
    }

    async fn order_call(
        &self,
        subject: &str,
        request: &impl serde::Serialize,
        order: &OrderKey,
        timeout: Duration,
    ) -> Result<TypedReply<ExecutionReport>, CallError> {
        let (deadline, body, traceparent) = (CallDeadline::after(timeout), encode(request), new_traceparent());
        let mut attempts = Attempts::new(deadline, self.retry());
        let reply = loop {
            let sent = self
                .request_with_timeout(attempts.wait(), subject, body.clone(), deadline.at, &traceparent)
                .await;
            let decoded = sent.map(TypedReply::<ExecutionReport>::decode);
            let is_settled =
                |reply: &Result<TypedReply<_>, _>| reply.as_ref().map_or(true, |report| !is_receipt(report));
            if let Some(reply) = attempts.record(decoded, is_settled).await {
                break reply;
            }
        };
        reply
            .and_then(|reply| reply)
            .map_err(|error| error.about(order.client_order_id()))
    }
}

fn is_receipt(report: &ExecutionReport) -> bool {
    report.is_receipt()
}

/// Returns the intent with the account and the id that it is sent under, and the key of its order.
fn identify(intent: &ExecutionIntent) -> Result<(ExecutionIntent, OrderKey), CallError> {
    let broker = parse("broker", &intent.broker, BrokerId::new)?;
    let account = parse("account_id", intent.account(), AccountId::new)?;
    let id = match &intent.client_order_id {
        Some(id) => parse("client_order_id", id, ClientOrderId::new)?,
        None => ClientOrderId::generate(),
    };
    let intent = ExecutionIntent {
        account_id: Some(account.to_string()),
        client_order_id: Some(id.to_string()),
        ..intent.clone()
    };
    Ok((intent, OrderKey::by_client_order_id(broker, account, id)))
}
