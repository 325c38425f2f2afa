//! What keeps the adapter able to trade: the clock's offset, the venue's rules, the account, and an open connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::brokers::binance::rest_reader::ReadError;
use crate::brokers::binance::retry_delay::RetryDelay;
use crate::brokers::binance::session::VenueSession;
use crate::brokers::binance::venue_client::VenueClient;
use crate::brokers::port::{LimitLedger, VenueInbox};

/// How often the clock is measured.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);
/// How often the rules are read: a halt of a symbol is known after this time at the latest.
const RULES_INTERVAL: Duration = Duration::from_secs(60);
/// How often it is looked whether the venue refuses the key.
const KEY_INTERVAL: Duration = Duration::from_secs(30);
/// How often an open connection is made sure of.
const CONNECTION_INTERVAL: Duration = Duration::from_secs(5);
/// The delays after a failure.
const FAILURE_DELAY: RetryDelay = RetryDelay::new(Duration::from_millis(500), Duration::from_secs(30));

/// Keeps clock, rules, key and connection up to date until the worker stops.
pub async fn run<L: LimitLedger, I: VenueInbox>(session: Arc<VenueSession<L, I>>, stop: CancellationToken) {
    let session = session.as_ref();
    let tasks = async {
        tokio::join!(
            keep_clock(session),
            repeat(session, Step::Rules),
            repeat(session, Step::Key),
            repeat(session, Step::Connection),
        );
    };
    // Every step is a read: dropping one changes nothing.
    tokio::select! {
        () = stop.cancelled() => {}
        () = tasks => {}
    }
}

/// Reads the rules of the traded symbols, and the limits of requests.
///
/// # Errors
/// When the venue does not say.
pub async fn read_rules<L: LimitLedger, I: VenueInbox>(session: &VenueSession<L, I>) -> Result<(), ReadError> {
    let info = session.client.exchange_info(&session.symbols).await?;
    session.client.budget.set_limits(&info.rate_limits);
    session.rules.replace(info.symbols);
    Ok(())
}

/// Reads what the key may do until it is accepted, also after the venue has refused it: only the venue's own word lifts that.
/// A key that may withdraw is not used, where the venue reports it.
///
/// # Errors
/// When the venue does not say, or the key is not one to trade with.
pub async fn check_key<L: LimitLedger, I: VenueInbox>(session: &VenueSession<L, I>) -> Result<(), ReadError> {
    if !session.client.is_key_accepted() {
        judge_key(&session.client).await?;
        session.client.accept_key();
    }
    Ok(())
}

/// What the venue says of a key that may trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyVerdict {
    /// It may not withdraw.
    TradesOnly,
    /// The venue does not say whether it may withdraw: the testnet has no wallet API.
    WithdrawalsUntold,
}

/// Asks the venue what the key may do.
///
/// # Errors
/// When the venue does not say, or the key is not one to trade with: it may not trade, or it may withdraw.
pub async fn judge_key<L: LimitLedger>(client: &VenueClient<L>) -> Result<KeyVerdict, ReadError> {
    let unusable = |why: &str| Err(ReadError::Unanswered(why.to_owned()));
    if !client.account().await?.can_trade {
        return unusable("the account may not trade; no order is sent");
    }
    match client.key_permissions().await {
        Ok(permissions) if permissions.enable_withdrawals => {
            unusable("the API key may withdraw; no order is sent: use a key that may only read and trade")
        }
        Ok(permissions) if !permissions.enable_spot_and_margin_trading => {
            unusable("the API key may not trade; no order is sent")
        }
        Ok(_) => Ok(KeyVerdict::TradesOnly),
        Err(ReadError::NotOffered) => Ok(KeyVerdict::WithdrawalsUntold),
        Err(error) => Err(error),
    }
}

/// Measures the clock now, at intervals, and whenever the venue has refused a timestamp.
async fn keep_clock<L: LimitLedger, I: VenueInbox>(session: &VenueSession<L, I>) {
    let clock = &session.client.clock;
    let mut failure_delay = FAILURE_DELAY;
    loop {
        let delay = match session.client.synchronize_clock().await {
            Ok(()) => {
                failure_delay.reset();
                CLOCK_INTERVAL
            }
            Err(error) => {
                tracing::warn!(%error, "the venue's clock could not be measured");
                failure_delay.next_delay()
            }
        };
        tokio::select! {
            () = sleep_until(Instant::now() + delay) => {}
            () = clock.wait_for_rejection() => {}
        }
    }
}

/// What is repeated at intervals.
#[derive(Debug, Clone, Copy)]
enum Step {
    Rules,
    Key,
    Connection,
}

impl Step {
    fn interval(self) -> Duration {
        match self {
            Self::Rules => RULES_INTERVAL,
            Self::Key => KEY_INTERVAL,
            Self::Connection => CONNECTION_INTERVAL,
        }
    }

    async fn take<L: LimitLedger, I: VenueInbox>(self, session: &VenueSession<L, I>) -> Result<(), ReadError> {
        match self {
            Self::Rules => read_rules(session).await,
            Self::Key => check_key(session).await,
            Self::Connection => {
                let opened = session.client.trading.keep_one_open().await;
                opened.map_err(ReadError::Unanswered)
            }
        }
    }
}

/// Repeats a step at intervals, and sooner after a failure.
async fn repeat<L: LimitLedger, I: VenueInbox>(session: &VenueSession<L, I>, step: Step) {
    let mut failure_delay = FAILURE_DELAY;
    loop {
        let delay = match step.take(session).await {
            Ok(()) => {
                failure_delay.reset();
                step.interval()
            }
            Err(error) => {
                tracing::warn!(%error, ?step, "the venue was not read");
                failure_delay.next_delay()
            }
        };
        sleep_until(Instant::now() + delay).await;
    }
}

#[cfg(test)]
#[path = "maintenance_tests.rs"]
mod tests;
