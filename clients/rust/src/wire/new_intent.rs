//! Building an intent: what every order needs, and defaults for the rest.

use crate::domain::decimal::Decimal;
use crate::domain::order_terms::{OrderType, Side};
use crate::wire::intent::ExecutionIntent;
use crate::wire::schema_numbers::NumberInput;

impl ExecutionIntent {
    /// Returns a market order of the account `default`. Set further fields as they are needed.
    ///
    /// ```
    /// use order_router_client::domain::order_terms::Side;
    /// use order_router_client::wire::intent::{ExecutionIntent, MissingIdPolicy, decode_intent};
    ///
    /// let mut intent = ExecutionIntent::market("binance", "binance.spot", "BTC/USDT", Side::Buy, "0.001".parse()?);
    /// intent.account_id = Some("fund-7".to_owned());
    /// intent.client_order_id = Some("mean-reversion-81".to_owned());
    ///
    /// // The router decodes it like this: an invalid field is named before anything is sent.
    /// let decoded = decode_intent(&serde_json::to_vec(&intent)?, MissingIdPolicy::Refuse)?;
    /// assert_eq!(decoded.symbol.as_str(), "BTCUSDT");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn market(broker: &str, venue: &str, symbol: &str, side: Side, quantity: Decimal) -> Self {
        Self {
            broker: broker.to_owned(),
            venue: venue.to_owned(),
            symbol: symbol.to_owned(),
            side,
            quantity: NumberInput(quantity),
            order_type: OrderType::Market,
            price: None,
            time_in_force: None,
            client_order_id: None,
            tags: None,
            account_id: None,
            estimated_loss: None,
            reduce_only: None,
            mode: None,
            expires_at: None,
            risk: None,
        }
    }

    /// Returns a limit order of the account `default`, good till cancelled.
    ///
    /// ```
    /// use order_router_client::domain::order_terms::Side;
    /// use order_router_client::wire::intent::ExecutionIntent;
    ///
    /// let intent = ExecutionIntent::limit("ibkr", "ibkr.paper", "AAPL", Side::Sell, "10".parse()?, "180.25".parse()?);
    /// assert_eq!(serde_json::to_value(&intent)?["price"].to_string(), "180.25");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit(broker: &str, venue: &str, symbol: &str, side: Side, quantity: Decimal, price: Decimal) -> Self {
        Self {
            order_type: OrderType::Limit,
            price: Some(NumberInput(price)),
            ..Self::market(broker, venue, symbol, side, quantity)
        }
    }

    /// Returns the account that the order belongs to: that of the intent, or else that of its risk values, or `default`.
    pub fn account(&self) -> &str {
        let of_risk = || self.risk.as_ref().and_then(|risk| risk.account_id.as_deref());
        self.account_id.as_deref().or_else(of_risk).unwrap_or("default")
    }
}
