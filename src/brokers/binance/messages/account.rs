//! The account and its key: the replies to `GET /api/v3/account` and `GET /sapi/v1/account/apiRestrictions`, and the event `outboundAccountPosition`.

use serde::Deserialize;

use crate::domain::decimal::Decimal;

/// What the account may do, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Whether the account may trade.
    pub can_trade: bool,
    /// The number of the account at the venue, where it reports one.
    pub uid: Option<u64>,
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

/// What a key may do: the reply to `GET /sapi/v1/account/apiRestrictions`, a part of the wallet API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPermissions {
    /// Whether the key may take assets out of the account.
    pub enable_withdrawals: bool,
    /// Whether the key may trade.
    pub enable_spot_and_margin_trading: bool,
}

/// A deposit, a withdrawal or a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BalanceUpdate {
    /// The asset.
    #[serde(rename = "a")]
    pub asset: String,
    /// How much came in; below zero, how much went out.
    #[serde(rename = "d")]
    pub amount: Decimal,
    /// When it took place, in milliseconds.
    #[serde(rename = "T")]
    pub cleared_at_ms: i64,
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
