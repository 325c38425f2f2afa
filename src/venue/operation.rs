//! The operations of the venue, the same over REST and the WebSocket API, with their weights.

macro_rules! operations {
    ($($(#[$doc:meta])* $operation:ident = $name:literal, $weight:literal, $security:ident;)+) => {
        /// An operation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation { $($(#[$doc])* $operation),+ }

        impl Operation {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$operation),+];

            /// Returns the name, as faults use it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$operation => $name),+ }
            }

            /// Returns the weight of one request, before its parameters are known.
            pub const fn weight(self) -> u32 {
                match self { $(Self::$operation => $weight),+ }
            }

            /// Returns who may call it.
            pub const fn security(self) -> Security {
                match self { $(Self::$operation => Security::$security),+ }
            }
        }
    };
}

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Every client.
    None,
    /// A client with a key and a signature.
    Signed,
}

operations! {
    /// Test connectivity.
    Ping = "ping", 1, None;
    /// The venue's clock.
    Time = "time", 1, None;
    /// Exchange information.
    ExchangeInfo = "exchange_info", 20, None;
    /// The order book.
    Depth = "depth", 5, None;
    /// The best prices.
    BookTicker = "book_ticker", 2, None;
    /// The last price.
    PriceTicker = "price_ticker", 2, None;
    /// Place an order.
    Place = "place", 1, Signed;
    /// Judge an order without placing it.
    TestOrder = "test_order", 1, Signed;
    /// Query an order.
    QueryOrder = "query_order", 4, Signed;
    /// Cancel an order.
    Cancel = "cancel", 1, Signed;
    /// Cancel every open order of a symbol.
    CancelAll = "cancel_all", 1, Signed;
    /// Cancel an order and place another one.
    CancelReplace = "cancel_replace", 1, Signed;
    /// Reduce the quantity of an order.
    Amend = "amend", 4, Signed;
    /// The open orders.
    OpenOrders = "open_orders", 6, Signed;
    /// The orders of a symbol.
    AllOrders = "all_orders", 20, Signed;
    /// The trades of a symbol.
    MyTrades = "my_trades", 20, Signed;
    /// The account.
    Account = "account", 20, Signed;
    /// The count of unfilled orders.
    OrderLimits = "order_limits", 40, Signed;
    /// What the key may do.
    KeyPermissions = "key_permissions", 1, Signed;
    /// Authenticate a WebSocket session.
    Logon = "logon", 2, Signed;
    /// Subscribe to the user data stream.
    Subscribe = "subscribe", 2, None;
    /// Subscribe to the user data stream by a signature.
    SubscribeSigned = "subscribe_signed", 2, Signed;
    /// Everything else of a WebSocket session.
    Session = "session", 2, None;
}

impl Operation {
    /// Returns the operation of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.name() == name)
    }

    /// Reports whether the operation changes orders.
    pub const fn is_trading(self) -> bool {
        matches!(
            self,
            Self::Place | Self::Cancel | Self::CancelAll | Self::CancelReplace | Self::Amend
        )
    }

    /// Reports whether a success costs no weight (since 2026-04-02, binance-spot-api-docs, CHANGELOG.md).
    pub const fn is_free_on_success(self) -> bool {
        matches!(self, Self::Place | Self::Cancel | Self::CancelAll | Self::CancelReplace)
    }
}
