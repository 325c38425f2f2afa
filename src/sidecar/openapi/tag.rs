//! The groups of operations in the document.

/// The group of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) enum OperationTag {
    /// Orders: submit, get, cancel.
    Orders,
    /// The order log: all orders and executions, and notes.
    OrderLog,
    /// Positions of accounts.
    Positions,
    /// Risk alerts, locks and heartbeats.
    Risk,
    /// The mode, the trading state, the limits.
    State,
    /// The router itself.
    Service,
}

impl OperationTag {
    /// Every tag, in the order of the document.
    pub(in crate::sidecar) const ALL: &'static [Self] = &[
        Self::Orders,
        Self::OrderLog,
        Self::Positions,
        Self::Risk,
        Self::State,
        Self::Service,
    ];

    /// Returns the tag's name and description in the document.
    pub(in crate::sidecar) fn name_and_description(self) -> (&'static str, &'static str) {
        match self {
            Self::Orders => ("Orders", "Submit, look up and cancel orders."),
            Self::OrderLog => (
                "Order log",
                "List all orders and executions with exact totals, and add notes.",
            ),
            Self::Positions => (
                "Positions",
                "List positions with their cost and profit, and close them.",
            ),
            Self::Risk => ("Risk", "List risk alerts; list and lift locks; send heartbeats."),
            Self::State => (
                "State",
                "Read and change the trading state, the mode and the daily limits.",
            ),
            Self::Service => ("Service", "Health, metrics, brokers, events and this document."),
        }
    }
}
