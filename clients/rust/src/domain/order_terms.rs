//! The terms of an order, in FIX's words.

use crate::domain::word_enum::word_enum;

word_enum! {
    /// Buy or sell (FIX tag 54).
    Side {
        /// Buy.
        Buy = "buy",
        /// Sell.
        Sell = "sell",
    }
}

word_enum! {
    /// How the price is set (FIX tag 40).
    OrderType {
        /// At the best available price.
        Market = "market",
        /// At the limit price or better.
        Limit = "limit",
    }
}

word_enum! {
    /// How long the order stays open (FIX tag 59).
    TimeInForce {
        /// Good till cancelled.
        Gtc = "GTC",
        /// Immediate or cancel: the quantity that does not fill at once is cancelled.
        Ioc = "IOC",
        /// Fill or kill: in full at once, or not at all.
        Fok = "FOK",
        /// Good for the trading day.
        Day = "DAY",
    }
}

word_enum! {
    /// Where orders take effect.
    Mode {
        /// At the paper venues.
        Paper = "paper",
        /// At the real venues.
        Live = "live",
        /// Nowhere: orders are evaluated and journaled, never sent and never counted.
        DryRun = "dry_run",
    }
}

word_enum! {
    /// Which orders the router accepts, in addition to the limits.
    TradingState {
        /// Orders are accepted.
        Active = "active",
        /// Only reductions are accepted: orders that move a position towards zero.
        ReduceOnly = "reduce_only",
        /// Only cancels are accepted.
        Halted = "halted",
    }
}

word_enum! {
    /// The status of an order in its report (FIX tag 39).
    OrderStatus {
        /// Acknowledged by the venue; no fill yet.
        Accepted = "accepted",
        /// Partly filled; the remainder is open.
        PartiallyFilled = "partially_filled",
        /// Filled in full.
        Filled = "filled",
        /// Ended before it was filled, by request or by its time in force.
        Cancelled = "cancelled",
        /// Rejected by the venue, or denied by a risk rule; `reason.code` names which.
        Rejected = "rejected",
        /// Ended with its trading day.
        Expired = "expired",
        /// Sent, or possibly sent, without an outcome from the venue. FIX has no such status.
        Unknown = "unknown",
    }
}

impl OrderStatus {
    /// The statuses of an order that may still fill: all but the terminal ones.
    pub const OPEN: &'static [Self] = &[Self::Accepted, Self::PartiallyFilled, Self::Unknown];

    /// Reports whether the status is terminal: only late fills change it.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Filled | Self::Cancelled | Self::Rejected | Self::Expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_statuses_are_those_that_are_not_terminal() {
        for status in OrderStatus::ALL {
            assert_eq!(OrderStatus::OPEN.contains(status), !status.is_terminal(), "{status}");
        }
    }
}
