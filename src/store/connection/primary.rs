//! The connection to the primary: one for all callers, opened again when it is lost, when its server turns out to be a
//! replica, and when the Sentinels name another primary.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult};
use tokio::time::sleep;

use crate::store::connection::route::{PrimaryRoute, PrimaryServer};

/// The pause before the next attempt to connect, after one that failed.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// How often the Sentinels are asked whether the primary is another one: a primary that was replaced and does not know it is
/// written to for no longer than this, and the time limit of the question.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);
/// The codes with which a replica refuses a call.
const REPLICA_CODES: [&str; 2] = ["READONLY", "MASTERDOWN"];

/// An attempt to connect, which every caller waits for.
type ConnectAttempt = Shared<BoxFuture<'static, RedisResult<PrimaryServer>>>;

/// The connection to the primary. Clones share it.
#[derive(Clone)]
pub(super) struct PrimaryConnection(Arc<ConnectionState>);

struct ConnectionState {
    route: Arc<PrimaryRoute>,
    current: Mutex<NumberedAttempt>,
}

/// The attempt whose connection is in use, and its number: an attempt is replaced once, however many callers see it fail.
#[derive(Clone)]
struct NumberedAttempt {
    number: u64,
    attempt: ConnectAttempt,
}

impl PrimaryConnection {
    /// Connects. With Sentinels, a task follows what they name as the primary until the last clone is dropped.
    ///
    /// # Errors
    /// When the primary cannot be found or reached in time.
    pub(super) async fn connect(route: PrimaryRoute) -> RedisResult<Self> {
        let route = Arc::new(route);
        let attempt = start_attempt(&route, Duration::ZERO);
        attempt.clone().await?;
        let state = Arc::new(ConnectionState {
            current: Mutex::new(NumberedAttempt { number: 0, attempt }),
            route,
        });
        if state.route.has_sentinels() {
            tokio::spawn(follow_primary(Arc::downgrade(&state)));
        }
        Ok(Self(state))
    }

    /// Sends commands over the connection. One that is being opened is awaited; one that is lost, or leads to a replica, is
    /// opened again for later callers.
    ///
    /// # Errors
    /// When the primary cannot be reached, or its reply is an error.
    pub(super) async fn send<T>(
        &self,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let NumberedAttempt { number, attempt } = self.0.current();
        let mut server = match attempt.await {
            Ok(server) => server,
            Err(error) => {
                self.0.reconnect(number, RETRY_DELAY);
                return Err(error);
            }
        };
        let result = send(&mut server.connection).await;
        if let Err(error) = &result
            && (error.is_unrecoverable_error() || is_of_replica(error))
        {
            self.0.reconnect(number, Duration::ZERO);
        }
        result
    }

    /// Opens a connection to the primary beside this one.
    ///
    /// # Errors
    /// When the primary cannot be found or reached in time.
    pub(super) async fn open_another(&self) -> RedisResult<MultiplexedConnection> {
        Ok(self.0.route.open().await?.connection)
    }
}

impl ConnectionState {
    fn current(&self) -> NumberedAttempt {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the attempt of this number by another one, which begins after the delay.
    fn reconnect(&self, number: u64, delay: Duration) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.number != number {
            return;
        }
        let attempt = start_attempt(&self.route, delay);
        // It is made at once, whether or not a caller waits for it.
        tokio::spawn(attempt.clone().map(drop));
        *current = NumberedAttempt {
            number: number.wrapping_add(1),
            attempt,
        };
    }
}

fn start_attempt(route: &Arc<PrimaryRoute>, delay: Duration) -> ConnectAttempt {
    let route = Arc::clone(route);
    let attempt = async move {
        sleep(delay).await;
        route.open().await
    };
    attempt.boxed().shared()
}

fn is_of_replica(error: &RedisError) -> bool {
    let is_replica_code = |code: &str| REPLICA_CODES.contains(&code);
    // Redis aborts a transaction of which it has refused a command; the reasons are errors of their own.
    let reasons = error.clone().into_server_errors();
    let mut reasons = reasons.iter().flat_map(|errors| errors.iter());
    error.code().is_some_and(is_replica_code) || reasons.any(|(_, reason)| is_replica_code(reason.code()))
}

/// Connects to another server as soon as the Sentinels name another primary: the one before may still reply, and may
/// still accept writes that are lost.
async fn follow_primary(state: Weak<ConnectionState>) {
    loop {
        sleep(FOLLOW_INTERVAL).await;
        let Some(state) = state.upgrade() else { return };
        let NumberedAttempt { number, attempt } = state.current();
        // One that is being opened asks the Sentinels itself; one that failed is replaced by the next caller.
        let Some(Ok(server)) = attempt.peek() else { continue };
        match state.route.find_primary().await {
            Ok(address) if address != server.address => {
                tracing::warn!(
                    from = server.address,
                    to = address,
                    "the Sentinels name another Redis as the primary"
                );
                state.reconnect(number, Duration::ZERO);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "no Sentinel names the primary; its connection stays in use"),
        }
    }
}
