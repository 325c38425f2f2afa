//! The words of the protocol (binance-spot-api-docs, enums.md).

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every word.
            #[allow(dead_code, reason = "not every list of words is printed")]
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the word of the protocol.
            #[allow(dead_code, reason = "most words are written by serde")]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Returns the value of a word; `None` for any other text.
            #[allow(dead_code, reason = "not every word is sent by clients")]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// The side of an order.
    Side {
        /// The order buys the base asset.
        Buy = "BUY",
        /// The order sells the base asset.
        Sell = "SELL",
    }
}

words! {
    /// The type of an order.
    OrderType {
        /// At a price or better.
        Limit = "LIMIT",
        /// At the prices of the book.
        Market = "MARKET",
        /// A limit order that is rejected if it would trade at once.
        LimitMaker = "LIMIT_MAKER",
        /// A limit order that enters the book once the last price reaches the stop price.
        StopLossLimit = "STOP_LOSS_LIMIT",
    }
}

words! {
    /// How long an order stays in force.
    TimeInForce {
        /// Until it is filled or cancelled.
        Gtc = "GTC",
        /// What does not trade at once expires.
        Ioc = "IOC",
        /// The whole quantity trades at once, or nothing.
        Fok = "FOK",
    }
}

words! {
    /// The status of an order.
    OrderStatus {
        /// Accepted; nothing is filled.
        New = "NEW",
        /// A part is filled; the rest is open.
        PartiallyFilled = "PARTIALLY_FILLED",
        /// Filled in full.
        Filled = "FILLED",
        /// Cancelled on request.
        Canceled = "CANCELED",
        /// Ended by the rules of its type, possibly with fills.
        Expired = "EXPIRED",
        /// Ended by self-trade prevention.
        ExpiredInMatch = "EXPIRED_IN_MATCH",
    }
}

words! {
    /// What an execution report reports.
    ExecutionType {
        /// The order was accepted.
        New = "NEW",
        /// The order was cancelled.
        Canceled = "CANCELED",
        /// The order was amended.
        Replaced = "REPLACED",
        /// A fill.
        Trade = "TRADE",
        /// The order ended by the rules of its type.
        Expired = "EXPIRED",
        /// Self-trade prevention ended the order.
        TradePrevention = "TRADE_PREVENTION",
    }
}

words! {
    /// What happens when an order would trade with one of the same account. The taker's mode decides.
    SelfTradePrevention {
        /// The orders trade.
        None = "NONE",
        /// The incoming order expires.
        ExpireTaker = "EXPIRE_TAKER",
        /// The order on the book expires.
        ExpireMaker = "EXPIRE_MAKER",
        /// Both expire.
        ExpireBoth = "EXPIRE_BOTH",
    }
}

words! {
    /// Whether a symbol trades.
    SymbolStatus {
        /// Orders are accepted.
        Trading = "TRADING",
        /// Neither orders nor cancels are accepted.
        Halt = "HALT",
        /// Only cancels are accepted.
        CancelOnly = "CANCEL_ONLY",
    }
}

words! {
    /// How much the answer to a placement says.
    ResponseType {
        /// The ids.
        Ack = "ACK",
        /// The order.
        Result = "RESULT",
        /// The order and its fills.
        Full = "FULL",
    }
}

words! {
    /// Whether a replacement is placed when its cancel fails.
    ReplaceMode {
        /// It is not.
        StopOnFailure = "STOP_ON_FAILURE",
        /// It is.
        AllowFailure = "ALLOW_FAILURE",
    }
}

words! {
    /// The status in which an order may be cancelled.
    CancelRestriction {
        /// `NEW`.
        OnlyNew = "ONLY_NEW",
        /// `PARTIALLY_FILLED`.
        OnlyPartiallyFilled = "ONLY_PARTIALLY_FILLED",
    }
}

impl Side {
    /// Returns the other side.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

impl OrderStatus {
    /// Reports whether the order can still trade.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled)
    }
}

impl OrderType {
    /// Reports whether the order waits for its stop price.
    pub const fn has_stop(self) -> bool {
        matches!(self, Self::StopLossLimit)
    }
}
