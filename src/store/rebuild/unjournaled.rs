//! What the store holds that the journal does not have yet: a rebuild of everything would lose it.

use crate::store::client::Store;
use crate::store::error::StoreError;
use crate::store::keys;

/// How many changes of each kind the journal does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnjournaledChanges {
    /// Orders with events in the outbox.
    pub orders: u64,
    /// Adjustments.
    pub adjustments: u64,
    /// Locks.
    pub locks: u64,
    /// Changes of the operator state.
    pub state_changes: u64,
    /// Changes of dead man's switches.
    pub switches: u64,
    /// Alerts that are not published.
    pub alerts: u64,
}

impl UnjournaledChanges {
    /// Reports whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for UnjournaledChanges {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [
            ("orders with settled events", self.orders),
            ("adjustments", self.adjustments),
            ("locks", self.locks),
            ("changes of the state", self.state_changes),
            ("changes of dead man's switches", self.switches),
            ("alerts", self.alerts),
        ];
        let named: Vec<String> = counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        formatter.write_str(&named.join(", "))
    }
}

impl Store {
    /// Returns how many changes the store holds that the journal does not have yet, whether or not an epoch is active.
    ///
    /// # Errors
    /// When Redis does not reply.
    pub async fn count_unjournaled(&self) -> Result<UnjournaledChanges, StoreError> {
        let mut reads = redis::pipe();
        reads.cmd("ZCARD").arg(keys::outbox());
        reads.cmd("ZCARD").arg(keys::unjournaled_adjustments());
        reads.cmd("HLEN").arg(keys::unjournaled_locks());
        reads.cmd("HLEN").arg(keys::unjournaled_switches());
        reads.cmd("ZCARD").arg(keys::waiting_alert_names());
        reads
            .cmd("HMGET")
            .arg(keys::operator_state())
            .arg(&["version", "journaled"]);
        let replies = self.connection.query_pipeline(&reads).await?;
        let unexpected = |error: redis::ParsingError| StoreError::corrupt(error.to_string());
        let [counts @ .., versions] = replies.as_slice() else {
            return Err(StoreError::corrupt("Redis has not replied to every read"));
        };
        let counts = redis::Value::Array(counts.to_vec());
        let [orders, adjustments, locks, switches, alerts]: [u64; 5] =
            redis::from_redis_value(counts).map_err(unexpected)?;
        let (version, journaled): (Option<u64>, Option<u64>) =
            redis::from_redis_value(versions.clone()).map_err(unexpected)?;
        Ok(UnjournaledChanges {
            orders,
            adjustments,
            locks,
            state_changes: version.unwrap_or(0).saturating_sub(journaled.unwrap_or(0)),
            switches,
            alerts,
        })
    }
}
