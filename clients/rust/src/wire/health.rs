//! The health of one worker: whether it would take an order now, and which component keeps it from that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether the worker that replies would take a new order now. It checks every second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "HealthAnswer")]
pub struct WorkerHealth {
    /// Whether a new order would be taken: no component is `failing`, `behind` or `unknown`.
    pub accepts_orders: bool,
    /// Redis: whether it takes the writes of a new order, and whether the shared state is complete.
    pub redis: ComponentHealth,
    /// The journal: whether it exists, has room, and has every entry that it acknowledged.
    pub journal: ComponentHealth,
    /// The last orders: `failing` when the last of them failed in a row at Redis or the journal, within the last seconds.
    pub orders: ComponentHealth,
}

/// The health of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentHealth {
    /// The status.
    pub status: ComponentStatus,
    /// Why it is not `ok`, and what to do; of the last orders also which open ones no key of a live venue serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub detail: Option<String>,
}

/// The status of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComponentStatus {
    /// It takes orders.
    Ok,
    /// It takes orders, and has lost old entries: a lost Redis could not be rebuilt before an operator accepts the loss.
    Incomplete,
    /// It has lost entries that it acknowledged. No order is accepted until an operator acts.
    Behind,
    /// It takes no orders.
    Failing,
    /// It depends on a component that fails.
    Unknown,
}

impl ComponentStatus {
    /// Returns the status as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Incomplete => "incomplete",
            Self::Behind => "behind",
            Self::Failing => "failing",
            Self::Unknown => "unknown",
        }
    }

    /// Reports whether a component of this status takes orders.
    pub fn accepts_orders(self) -> bool {
        matches!(self, Self::Ok | Self::Incomplete)
    }
}

impl ComponentHealth {
    /// Returns the health of a component that takes orders.
    pub fn ok() -> Self {
        Self {
            status: ComponentStatus::Ok,
            detail: None,
        }
    }

    /// Returns a status other than `ok` with its reason.
    pub fn new(status: ComponentStatus, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: Some(detail.into()),
        }
    }
}

impl WorkerHealth {
    /// Returns the health of a worker with these components.
    pub fn of(redis: ComponentHealth, journal: ComponentHealth, orders: ComponentHealth) -> Self {
        let accepts_orders = [&redis, &journal, &orders]
            .iter()
            .all(|component| component.status.accepts_orders());
        Self {
            accepts_orders,
            redis,
            journal,
            orders,
        }
    }

    /// Returns why no order is taken: the names and details of the components; `None` while orders are taken.
    pub fn obstacle(&self) -> Option<String> {
        let components = [
            ("Redis", &self.redis),
            ("the journal", &self.journal),
            ("the last orders", &self.orders),
        ];
        let failing = components
            .into_iter()
            .filter(|(_, component)| !component.status.accepts_orders());
        let described = failing.map(|(name, component)| {
            let detail = component
                .detail
                .as_deref()
                .map_or_else(String::new, |detail| format!(": {detail}"));
            format!("{name} {}{detail}", component.status.as_str())
        });
        (!self.accepts_orders).then(|| described.collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_component_that_takes_no_orders_is_an_obstacle_and_an_incomplete_journal_is_none() {
        let failing = || ComponentHealth::new(ComponentStatus::Failing, "a reason");
        let ok = ComponentHealth::ok;
        for health in [
            WorkerHealth::of(failing(), ok(), ok()),
            WorkerHealth::of(ok(), failing(), ok()),
            WorkerHealth::of(ok(), ok(), failing()),
        ] {
            assert!(!health.accepts_orders);
            assert!(health.obstacle().unwrap().ends_with("failing: a reason"), "{health:?}");
        }
        let incomplete = ComponentHealth::new(ComponentStatus::Incomplete, "a reason");
        let health = WorkerHealth::of(ok(), incomplete, ok());
        assert!(health.accepts_orders && health.obstacle().is_none());
    }
}
