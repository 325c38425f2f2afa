//! Reads from the REST API. Unlike an order a read changes nothing: it is repeated after a lost reply, a few times.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, Request};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::brokers::binance::messages::account::{Account, KeyPermissions};
use crate::brokers::binance::messages::exchange_info::ExchangeInfo;
use crate::brokers::binance::messages::order_state::OrderState;
use crate::brokers::binance::messages::server_time::ServerTime;
use crate::brokers::binance::messages::trade::Trade;
use crate::brokers::binance::parameters::Parameters;
use crate::brokers::binance::request_budget::{RequestPurpose, weight};
use crate::brokers::binance::retry_delay::RetryDelay;
use crate::brokers::binance::settings::MAX_RECV_WINDOW_MS;
use crate::brokers::binance::transport::http_connection::HttpReply;
use crate::brokers::binance::venue_client::{VenueClient, endpoint};
use crate::brokers::binance::venue_clock::ClockSample;
use crate::brokers::binance::verdicts::{Consequence, QueryVerdict};
use crate::brokers::port::LimitLedger;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;

/// The most attempts of one read.
const MAX_ATTEMPTS: u32 = 3;
/// The delay after the first failed attempt; it doubles.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(200);
/// The longest delay between two attempts.
const LONGEST_RETRY_DELAY: Duration = Duration::from_secs(1);
/// The largest reply: the exchange information of some hundred symbols.
const MAX_REPLY_BYTES: usize = 4 * 1024 * 1024;
/// The most trades that one reply lists (`rest-api.md`, "Account trade list").
pub const TRADES_PER_PAGE: usize = 1_000;
/// The most orders that one reply lists (`rest-api.md`, "All orders").
pub const ORDERS_PER_PAGE: usize = 1_000;
/// The most pages of trades of one order: the router books at most 10 000 fills of one.
const MAX_TRADE_PAGES: usize = 10;
/// How often the clock is measured at once: the shortest round trip counts.
const CLOCK_SAMPLES: usize = 3;

/// Why a read has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The venue replied that it does not find the order.
    #[error("the venue does not find the order")]
    NotFound,
    /// The venue replied that the order ended without a fill, and is archived.
    #[error("the order is archived at the venue")]
    Archived,
    /// The venue does not have this endpoint.
    #[error("the venue does not offer this request")]
    NotOffered,
    /// There is no reply that says anything; the text says why.
    #[error("{0}")]
    Unanswered(String),
}

/// One read.
struct ReadCall<'a> {
    path: &'static str,
    parameters: &'a Parameters,
    is_signed: bool,
    weight: u32,
    purpose: RequestPurpose,
}

impl<L: LimitLedger> VenueClient<L> {
    /// Asks for one order by its client order id.
    ///
    /// # Errors
    /// When the venue does not find it, or does not say.
    pub async fn query_order(
        &self,
        symbol: &Symbol,
        client_order_id: &str,
        purpose: RequestPurpose,
    ) -> Result<OrderState, ReadError> {
        let parameters = Parameters::new()
            .with("symbol", symbol)
            .with("origClientOrderId", client_order_id);
        self.query_by(&parameters, purpose).await
    }

    /// Asks for one order by the venue's own id.
    ///
    /// # Errors
    /// When the venue does not find it, or does not say.
    pub async fn query_order_by_id(&self, symbol: &Symbol, order_id: i64) -> Result<OrderState, ReadError> {
        let parameters = Parameters::new().with("symbol", symbol).with("orderId", order_id);
        self.query_by(&parameters, RequestPurpose::Read).await
    }

    async fn query_by(&self, parameters: &Parameters, purpose: RequestPurpose) -> Result<OrderState, ReadError> {
        let call = ReadCall {
            purpose,
            ..signed_call(endpoint::ORDER, parameters, weight::QUERY_ORDER)
        };
        decode(&self.read(&call).await?)
    }

    /// Returns all trades of an order, in the order of their ids.
    ///
    /// # Errors
    /// When the venue does not say.
    pub async fn order_trades(&self, symbol: &Symbol, order_id: i64) -> Result<Vec<Trade>, ReadError> {
        let mut trades: Vec<Trade> = Vec::new();
        for _ in 0..MAX_TRADE_PAGES {
            let parameters = Parameters::new()
                .with("symbol", symbol)
                .with("orderId", order_id)
                .with_optional("fromId", trades.last().map(|trade| trade.id.saturating_add(1)))
                .with("limit", TRADES_PER_PAGE);
            let call = signed_call(endpoint::TRADES, &parameters, weight::ORDER_TRADES);
            let page: Vec<Trade> = decode(&self.read(&call).await?)?;
            let is_last = page.len() < TRADES_PER_PAGE;
            trades.extend(page);
            if is_last {
                return Ok(trades);
            }
        }
        Err(ReadError::Unanswered(
            "the order has more trades than are read".to_owned(),
        ))
    }

    /// Returns one page of a symbol's trades: those from an id on, or those since a moment, at most a day ago.
    ///
    /// # Errors
    /// When the venue does not say.
    pub async fn symbol_trades(&self, symbol: &Symbol, from: TradesFrom) -> Result<Vec<Trade>, ReadError> {
        let parameters = Parameters::new().with("symbol", symbol).with("limit", TRADES_PER_PAGE);
        let parameters = match from {
            TradesFrom::Id(id) => parameters.with("fromId", id),
            TradesFrom::Time(at) => parameters.with("startTime", at.as_milliseconds()),
        };
        let call = signed_call(endpoint::TRADES, &parameters, weight::SYMBOL_TRADES);
        decode(&self.read(&call).await?)
    }

    /// Returns the open orders of a symbol, each as the JSON text of its own: one that cannot be read hides no other.
    ///
    /// # Errors
    /// When the venue does not say.
    pub async fn open_orders(&self, symbol: &Symbol) -> Result<Vec<Box<serde_json::value::RawValue>>, ReadError> {
        let parameters = Parameters::new().with("symbol", symbol);
        let call = signed_call(endpoint::OPEN_ORDERS, &parameters, weight::OPEN_ORDERS);
        decode(&self.read(&call).await?)
    }

    /// Returns one page of a symbol's orders from an id on, in the order of their ids, each as the JSON text of its own.
    ///
    /// # Errors
    /// When the venue does not say.
    pub async fn orders_from(
        &self,
        symbol: &Symbol,
        order_id: i64,
    ) -> Result<Vec<Box<serde_json::value::RawValue>>, ReadError> {
        let parameters = Parameters::new()
            .with("symbol", symbol)
            .with("orderId", order_id)
            .with("limit", ORDERS_PER_PAGE);
        let call = signed_call(endpoint::ALL_ORDERS, &parameters, weight::ALL_ORDERS);
        decode(&self.read(&call).await?)
    }

    /// Returns the account. A reply is the venue's word that it accepts the key.
    ///
    /// # Errors
    /// When the venue does not say.
    pub async fn account(&self) -> Result<Account, ReadError> {
        let parameters = Parameters::new().with("omitZeroBalances", "true");
        decode(
            &self
                .read(&signed_call(endpoint::ACCOUNT, &parameters, weight::ACCOUNT))
                .await?,
        )
    }

    /// Returns what the key may do. The production environment answers this; the testnet does not.
    ///
    /// # Errors
    /// When the venue does not say.
    pub async fn key_permissions(&self) -> Result<KeyPermissions, ReadError> {
        let parameters = Parameters::new();
        decode(
            &self
                .read(&signed_call(
                    endpoint::KEY_PERMISSIONS,
                    &parameters,
                    weight::KEY_PERMISSIONS,
                ))
                .await?,
        )
    }

    /// Returns the rules of symbols, and the limits of requests.
    ///
    /// # Errors
    /// When the venue does not say.
    pub async fn exchange_info(&self, symbols: &[Symbol]) -> Result<ExchangeInfo, ReadError> {
        let names: Vec<&str> = symbols.iter().map(Symbol::as_str).collect();
        let names = serde_json::to_string(&names).map_err(|error| ReadError::Unanswered(error.to_string()))?;
        let parameters = Parameters::new().with("symbols", names);
        let call = ReadCall {
            is_signed: false,
            purpose: RequestPurpose::Limits,
            ..signed_call(endpoint::EXCHANGE_INFO, &parameters, weight::EXCHANGE_INFO)
        };
        decode(&self.read(&call).await?)
    }

    /// Measures the offset of the venue's clock.
    ///
    /// # Errors
    /// When the venue does not reply, or too slowly to be of use.
    pub async fn synchronize_clock(&self) -> Result<(), ReadError> {
        let parameters = Parameters::new();
        let mut samples = Vec::with_capacity(CLOCK_SAMPLES);
        let mut failure = None;
        for _ in 0..CLOCK_SAMPLES {
            match self.measure_clock(&parameters).await {
                Ok(sample) => samples.push(sample),
                Err(error) => failure = Some(error),
            }
        }
        if self.clock.synchronize(&samples) {
            return Ok(());
        }
        Err(failure.unwrap_or_else(|| ReadError::Unanswered("the venue's time arrives too late to be of use".into())))
    }

    async fn measure_clock(&self, parameters: &Parameters) -> Result<ClockSample, ReadError> {
        let call = ReadCall {
            is_signed: false,
            ..signed_call(endpoint::TIME, parameters, weight::TIME)
        };
        self.acquire(&call).await?;
        let request = self.build(&call)?;
        // The connection is opened before the question: its handshake is no part of the round trip.
        let connection = self.reading.take().await.map_err(ReadError::Unanswered)?;
        let sent_at = Timestamp::now();
        let exchange = timeout(self.time_limits.read, connection.exchange(request, MAX_REPLY_BYTES)).await;
        let received_at = Timestamp::now();
        let (reply, connection) = exchange
            .map_err(|_| no_reply_in_time(self.time_limits.read))?
            .map_err(|error| ReadError::Unanswered(error.to_string()))?;
        self.reading.put_back(connection);
        let body = self.judge(reply).await.map_err(|failure| failure.error)?;
        let time: ServerTime = decode(&body)?;
        Ok(ClockSample {
            sent_at,
            received_at,
            venue_time: Timestamp::from_milliseconds(time.server_time),
        })
    }

    /// Reads, with a few attempts, each signed with its own timestamp.
    async fn read(&self, call: &ReadCall<'_>) -> Result<Bytes, ReadError> {
        let mut delay = RetryDelay::new(FIRST_RETRY_DELAY, LONGEST_RETRY_DELAY);
        let mut attempt = 1;
        loop {
            let failure = match self.read_once(call).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            if !failure.is_repeatable || attempt >= MAX_ATTEMPTS {
                return Err(failure.error);
            }
            if failure.needs_clock {
                // Boxed: a read may measure the clock, which reads.
                Box::pin(self.synchronize_clock()).await?;
            }
            attempt += 1;
            tokio::time::sleep(delay.next_delay()).await;
        }
    }

    async fn read_once(&self, call: &ReadCall<'_>) -> Result<Bytes, ReadFailure> {
        self.acquire(call).await?;
        let request = self.build(call)?;
        let unanswered = |reason: String| ReadFailure::repeatable(ReadError::Unanswered(reason));
        let exchange = async {
            let connection = self.reading.take().await?;
            let exchange = connection.exchange(request, MAX_REPLY_BYTES).await;
            exchange.map_err(|error| error.to_string())
        };
        let (reply, connection) = timeout(self.time_limits.read, exchange)
            .await
            .map_err(|_| ReadFailure::repeatable(no_reply_in_time(self.time_limits.read)))?
            .map_err(unanswered)?;
        self.reading.put_back(connection);
        self.judge(reply).await
    }

    async fn acquire(&self, call: &ReadCall<'_>) -> Result<(), ReadError> {
        let now = self.clock.now_or_local();
        let acquired = self.budget.acquire(call.purpose, call.weight, now).await;
        acquired.map_err(ReadError::Unanswered)
    }

    fn build(&self, call: &ReadCall<'_>) -> Result<Request<String>, ReadError> {
        let request = if call.is_signed {
            let (parameters, now) = (call.parameters.clone(), self.clock.now_or_local());
            self.signed_request(Method::GET, call.path, parameters, now, MAX_RECV_WINDOW_MS)
        } else {
            self.public_request(call.path, call.parameters)
        };
        request.map_err(|error| ReadError::Unanswered(error.to_string()))
    }

    /// Returns the body of a successful reply.
    async fn judge(&self, reply: HttpReply) -> Result<Bytes, ReadFailure> {
        let (verdicts, error) = self.read_verdicts(&reply).await;
        match verdicts.query {
            QueryVerdict::Answered => Ok(reply.body),
            QueryVerdict::NotFound => Err(ReadError::NotFound.into()),
            QueryVerdict::Archived => Err(ReadError::Archived.into()),
            // An error of the venue's own has a code; without one the path leads nowhere.
            QueryVerdict::Unanswered if reply.status == 404 && error.is_none() => Err(ReadError::NotOffered.into()),
            QueryVerdict::Unanswered => {
                let shown = error.map_or_else(String::new, |error| format!(": {}", error.shown()));
                let needs_clock = verdicts.consequence == Consequence::SynchronizeClock;
                Err(ReadFailure {
                    error: ReadError::Unanswered(format!("the venue replied {}{shown}", reply.status)),
                    is_repeatable: reply.status >= 500 || needs_clock,
                    needs_clock,
                })
            }
        }
    }
}

/// Where a page of trades begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TradesFrom {
    /// At this trade id.
    Id(i64),
    /// At this moment, by the venue's clock.
    Time(Timestamp),
}

/// A failed attempt.
struct ReadFailure {
    error: ReadError,
    is_repeatable: bool,
    needs_clock: bool,
}

impl ReadFailure {
    fn repeatable(error: ReadError) -> Self {
        Self {
            error,
            is_repeatable: true,
            needs_clock: false,
        }
    }
}

impl From<ReadError> for ReadFailure {
    fn from(error: ReadError) -> Self {
        Self {
            error,
            is_repeatable: false,
            needs_clock: false,
        }
    }
}

fn signed_call<'a>(path: &'static str, parameters: &'a Parameters, weight: u32) -> ReadCall<'a> {
    ReadCall {
        path,
        parameters,
        is_signed: true,
        weight,
        purpose: RequestPurpose::Read,
    }
}

fn no_reply_in_time(limit: Duration) -> ReadError {
    ReadError::Unanswered(format!("the venue did not reply within {} ms", limit.as_millis()))
}

/// Decodes a body. The error says where, and shows no part of the body.
fn decode<T: DeserializeOwned>(body: &Bytes) -> Result<T, ReadError> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        ReadError::Unanswered(format!(
            "the venue's reply cannot be read (line {line}, column {column})"
        ))
    })
}
