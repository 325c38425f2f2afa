//! The terms of an order, in the field's words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! term {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[$case_doc])* #[serde(rename = $text)] $case),+
        }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$case),+];

            /// Returns the word that stands in messages.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$case => $text),+ }
            }

            /// Returns the value of a word, if it is one.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

term! {
    /// Buy or sell (FIX tag 54).
    Side {
        /// Buy.
        Buy = "buy",
        /// Sell.
        Sell = "sell",
    }
}

term! {
    /// How the price is set (FIX tag 40).
    OrderType {
        /// At whatever the market gives.
        Market = "market",
        /// At the limit price or better.
        Limit = "limit",
    }
}

term! {
    /// How long the order stands (FIX tag 59).
    TimeInForce {
        /// Good till cancelled.
        Gtc = "GTC",
        /// Immediate or cancel: what does not fill at once is cancelled.
        Ioc = "IOC",
        /// Fill or kill: all at once, or nothing.
        Fok = "FOK",
        /// Good for the trading day.
        Day = "DAY",
    }
}

term! {
    /// Where an order's effect lands.
    Mode {
        /// The paper venues.
        Paper = "paper",
        /// The real venues.
        Live = "live",
        /// Evaluated, journaled, never sent and never counted.
        DryRun = "dry_run",
    }
}

term! {
    /// What the router lets pass, whatever the limits say.
    TradingState {
        /// Orders are taken.
        Active = "active",
        /// Only reductions are taken: orders that bring a position nearer to zero.
        ReduceOnly = "reduce_only",
        /// Nothing is taken but cancels.
        Halted = "halted",
    }
}

term! {
    /// The state of an order as its report tells it (FIX tag 39).
    OrderStatus {
        /// The venue has it; nothing is filled yet.
        Accepted = "accepted",
        /// Part of it is filled; the rest stands.
        PartiallyFilled = "partially_filled",
        /// All of it is filled.
        Filled = "filled",
        /// It ended before it was filled, by request or by its time in force.
        Cancelled = "cancelled",
        /// The venue refused it, or a risk rule denied it.
        Rejected = "rejected",
        /// Its day ended.
        Expired = "expired",
        /// It was sent, or may have been, and the venue has not said what became of it.
        Unknown = "unknown",
    }
}

impl OrderStatus {
    /// Whether nothing more is expected of the order.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Filled | Self::Cancelled | Self::Rejected | Self::Expired)
    }
}
