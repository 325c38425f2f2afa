//! Inquiries about orders of unknown outcome (`lua/inquire.lua`): one worker at a time asks the venue, with growing pauses.

use std::time::Duration;

use crate::domain::id::LeaseToken;
use crate::domain::order::Order;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::retention::saturating_ms;
use crate::store::script::INQUIRE;

/// What is known of an order when its venue is asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InquiryTurn {
    /// How often the venue did not find the order.
    pub not_found_count: u32,
    /// The time since the order was sent; where a rebuild lost that moment, since the first inquiry.
    pub time_since_sending: Duration,
}

impl Store {
    /// Takes the turn to ask the venue about an order, if an inquiry is due; no other worker has the turn for
    /// `turn_duration`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn acquire_inquiry_turn(
        &self,
        order: &Order,
        turn: &LeaseToken,
        turn_duration: Duration,
    ) -> Result<Option<InquiryTurn>, StoreError> {
        self.call_inquiry_script(order, turn, "take", [turn_duration, turn_duration])
            .await
    }

    /// Records that the venue did not find the order, and schedules the next inquiry: after the first of
    /// `backoff_bounds`, then after twice that, and so on up to the second. Returns `None`, and records nothing, where
    /// another worker has the turn by now.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn record_not_found(
        &self,
        order: &Order,
        turn: &LeaseToken,
        backoff_bounds: [Duration; 2],
    ) -> Result<Option<InquiryTurn>, StoreError> {
        self.call_inquiry_script(order, turn, "not_found", backoff_bounds).await
    }

    /// As [`Store::record_not_found`], for an inquiry without a reply: it does not count as "not found".
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn record_unanswered(
        &self,
        order: &Order,
        turn: &LeaseToken,
        backoff_bounds: [Duration; 2],
    ) -> Result<Option<InquiryTurn>, StoreError> {
        self.call_inquiry_script(order, turn, "unanswered", backoff_bounds)
            .await
    }

    async fn call_inquiry_script(
        &self,
        order: &Order,
        turn: &LeaseToken,
        step: &str,
        durations: [Duration; 2],
    ) -> Result<Option<InquiryTurn>, StoreError> {
        let key = order.key();
        let keys = [keys::meta(), keys::due_orders(&order.broker), keys::order_record(&key)];
        let mut call = self.connection.script_call(&INQUIRE, None, &keys)?;
        call.arg(step)
            .arg(key.name())
            .arg(order.order_id.as_str())
            .arg(turn.as_str());
        for duration in durations {
            call.arg(saturating_ms(duration));
        }
        let mut reply = self.connection.run(call).await?;
        match reply.verdict.as_str() {
            "yours" => Ok(Some(InquiryTurn {
                not_found_count: reply.next_integer()?,
                time_since_sending: Duration::from_millis(reply.next_integer()?),
            })),
            "not" | "lost" => Ok(None),
            _ => Err(reply.unexpected_verdict()),
        }
    }
}
