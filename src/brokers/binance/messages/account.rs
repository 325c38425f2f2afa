//! The account: the reply to `GET /api/v3/account`, and the event `outboundAccountPosition`.

use serde::Deserialize;

use crate::domain::decimal::Decimal;

/// What the account may do, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Whether the account may trade.
    pub can_trade: bool,
    /// The balances; assets that the account never held may be missing.
    pub balances: Vec<Balance>,
}

/// What an account holds of an asset.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Balance {
    /// The asset.
    #[serde(alias = "a")]
    pub asset: String,
    /// What no open order holds.
    #[serde(alias = "f")]
    pub free: Decimal,
    /// What open orders hold.
    #[serde(alias = "l")]
    pub locked: Decimal,
}

/// The balances that an event may have changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AccountPosition {
    /// When the account was updated, in milliseconds.
    #[serde(rename = "u")]
    pub updated_at_ms: i64,
    /// The balances.
    #[serde(rename = "B")]
    pub balances: Vec<Balance>,
}
