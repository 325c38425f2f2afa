//! Handing over the venue's reports, with a few attempts: what is not journaled is read from the venue again.

use std::time::Duration;

use tokio::time::timeout;

use crate::brokers::binance::retry_delay::RetryDelay;
use crate::brokers::binance::session::VenueSession;
use crate::brokers::paper::binance::PREFIX;
use crate::brokers::port::{InboxError, LimitLedger, VenueInbox, VenueNotice};
use crate::domain::id::OrderId;

/// The most attempts to hand over one report.
const MAX_ATTEMPTS: u32 = 3;
/// How long one attempt may take. All attempts together stay below the time in which the venue waits for a pong.
const ATTEMPT_TIME_LIMIT: Duration = Duration::from_secs(5);
/// The delays between attempts.
const DELAY: RetryDelay = RetryDelay::new(Duration::from_millis(200), Duration::from_secs(1));

/// Reports whether an order id is one that the router gives.
pub(super) fn is_own_order(order_id: &OrderId) -> bool {
    order_id
        .as_str()
        .strip_prefix(PREFIX.0)
        .is_some_and(|rest| rest.starts_with('-'))
}

/// Hands over a report. One of an order that the router did not place is handed over only for its fills.
///
/// # Errors
/// When the report is not journaled after several attempts.
pub(super) async fn deliver<L, I>(session: &VenueSession<L, I>, notice: VenueNotice) -> Result<(), InboxError>
where
    L: LimitLedger,
    I: VenueInbox,
{
    if notice.report.fills.is_empty() && !is_own_order(&notice.order_id) {
        return Ok(());
    }
    let mut delay = DELAY;
    let mut attempt = 1;
    loop {
        let delivered = timeout(ATTEMPT_TIME_LIMIT, session.inbox.deliver(notice.clone())).await;
        let error = match delivered {
            Ok(Ok(())) => {
                for fill in &notice.report.fills {
                    session.settled_trades.insert(&notice.symbol, fill);
                }
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(_) => InboxError::Unavailable("no reply in time".to_owned()),
        };
        if attempt >= MAX_ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
        tokio::time::sleep(delay.next_delay()).await;
    }
}
