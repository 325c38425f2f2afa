//! The counts of a venue's request limits, shared by all workers.
//!
//! They are no part of what the journal rebuilds, and their calls carry no epoch: the venue keeps counting whatever becomes
//! of the store, and an order that waits for an inquiry must not wait for a rebuild first. A Redis that was emptied counts
//! from zero; the venue's next reply raises the counts to its own.

use std::time::Duration;

use crate::domain::request_limit::{LimitCharge, LimitDecision, LimitKind, LimitScopes, window_end};
use crate::domain::time::Timestamp;
use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::raised_numbers::RaiseFrom;
use crate::store::script::CHARGE_REQUEST;

/// How many windows of time a count is kept: processes whose estimates of the venue's clock differ share it, too.
const WINDOWS_KEPT: u32 = 2;
/// The shortest time a count is kept, in milliseconds.
const MIN_COUNT_TTL_MS: u64 = 1_000;
/// The longest time a count is kept, in milliseconds: a year.
const MAX_COUNT_TTL_MS: u64 = 365 * 86_400_000;
/// How long the end of a closure is kept, in milliseconds. It is compared by the venue's clock; a ban lasts three days at
/// most, and one more covers any difference to Redis' clock.
const CLOSURE_TTL_MS: u64 = 4 * 86_400_000;
/// The largest integer that Lua counts exactly, 2^53 − 1.
const MAX_EXACT: i64 = (1 << 53) - 1;

impl Store {
    /// Counts a request in all its windows, or in none. `at` is the venue's time.
    ///
    /// # Errors
    /// Any [`StoreError`] but [`StoreError::Stale`]; after [`StoreError::OutcomeUnknown`] the request may be counted.
    pub async fn charge_request(
        &self,
        scopes: &LimitScopes,
        charges: &[LimitCharge],
        at: Timestamp,
    ) -> Result<LimitDecision, StoreError> {
        if charges.is_empty() {
            return Ok(LimitDecision::Charged);
        }
        let mut command = redis::cmd("EVAL");
        command.arg(CHARGE_REQUEST).arg(charges.len() * 2);
        for LimitCharge { kind, window, .. } in charges {
            command.arg(keys::counted_requests(scopes, *kind, *window, at));
            command.arg(keys::closed_requests(scopes, *kind));
        }
        command.arg(at.as_microseconds());
        for charge in charges {
            command
                .arg(charge.amount)
                .arg(charge.cap)
                .arg(count_ttl_ms(charge.window));
        }
        let mut reply = self.run_unfenced(command).await?;
        if reply.verdict == "charged" {
            return Ok(LimitDecision::Charged);
        }
        let charge = charges.get(reply.next_integer::<usize>()?);
        let charge = charge.ok_or_else(|| StoreError::corrupt("a script named a window that was not charged"))?;
        match reply.verdict.as_str() {
            "closed" => {
                let until = Timestamp::from_microseconds(reply.next_integer()?);
                Ok(LimitDecision::Closed(charge.kind, until))
            }
            "exhausted" => Ok(LimitDecision::Exhausted(charge.kind, window_end(charge.window, at))),
            _ => Err(reply.unexpected_verdict()),
        }
    }

    /// Raises the count of the window at `at` to what the venue has reported. A lower number changes nothing.
    ///
    /// # Errors
    /// Any [`StoreError`] but [`StoreError::Stale`]; after [`StoreError::OutcomeUnknown`] the count may be raised.
    pub async fn raise_counted_requests(
        &self,
        scopes: &LimitScopes,
        (kind, window): (LimitKind, Duration),
        used: u32,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let key = keys::counted_requests(scopes, kind, window, at);
        self.raise_number(&key, used.into(), count_ttl_ms(window), RaiseFrom::Nothing)
            .await
    }

    /// Refuses every request of a kind before a moment by the venue's clock. An earlier moment than one that is set changes
    /// nothing.
    ///
    /// # Errors
    /// Any [`StoreError`] but [`StoreError::Stale`]; after [`StoreError::OutcomeUnknown`] the kind may be closed.
    pub async fn close_requests_until(
        &self,
        scopes: &LimitScopes,
        kind: LimitKind,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let key = keys::closed_requests(scopes, kind);
        self.raise_number(
            &key,
            until.as_microseconds().min(MAX_EXACT),
            CLOSURE_TTL_MS,
            RaiseFrom::Nothing,
        )
        .await
    }
}

fn count_ttl_ms(window: Duration) -> u64 {
    let kept = window.saturating_mul(WINDOWS_KEPT).as_millis();
    u64::try_from(kept)
        .unwrap_or(MAX_COUNT_TTL_MS)
        .clamp(MIN_COUNT_TTL_MS, MAX_COUNT_TTL_MS)
}
