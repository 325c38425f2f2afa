//! The `BalanceEvent`: what the journal has of the balances of one API key at a live venue.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::time::Timestamp;
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::UtcTimestamp;

/// The kind of event that records the balances of an API key at a live venue.
pub const BALANCE_EVENT_KIND: &str = "balance";

/// The change that a balance event records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BalanceChange {
    /// The ledger begins with the venue's balances: at the first use of the key, or with other accounts.
    Opened,
    /// The venue has reported a deposit, a withdrawal or a transfer.
    Transferred,
    /// The venue's balance of an asset is another one than expected.
    Differs,
    /// A difference has lasted, and the symbols of its asset are locked.
    Locked,
    /// The venue's balance of an asset is taken over: its locks were lifted, or no instrument uses it.
    Accepted,
    /// The venue's balances are as expected.
    Checked,
}

/// The ledger of the balances of one API key at a live venue, after a change (`orders.events.balance.{key}`). It is whole:
/// the last event of a key counts. The expected balance of an asset is its `amount` and what the fills of the accounts
/// after `sequence` have moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BalanceEvent {
    /// The change.
    pub event: BalanceChange,
    /// The name of the key: 16 hex digits of a hash.
    pub key: String,
    /// The broker.
    pub broker: String,
    /// The venue.
    pub venue: String,
    /// The accounts that trade with the key.
    pub accounts: Vec<String>,
    /// The journal sequence up to which fills are part of the amounts.
    pub sequence: u64,
    /// The balances, by asset. An asset without an entry has the amount 0.
    pub assets: BTreeMap<String, AssetBalance>,
    /// The last transfers that are part of the amounts, at most 256, the oldest first.
    pub transfers: Vec<String>,
    /// The person or system that made the change.
    pub actor: String,
    /// What changed, in a sentence.
    pub reason: String,
    /// When the event was made.
    #[schemars(with = "UtcTimestamp")]
    pub timestamp: Timestamp,
}

/// The balance of one asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetBalance {
    /// What the venue is expected to hold, free and locked, without the fills after the event's `sequence`.
    #[schemars(with = "PlainNumber")]
    pub amount: Decimal,
    /// When the amount was taken from the venue, by the venue's clock: transfers from before are part of it.
    #[schemars(with = "UtcTimestamp")]
    pub read_at: Timestamp,
    /// The difference of the venue's balance; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<BalanceDifference>,
}

/// A difference between the venue's balance and the expected one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BalanceDifference {
    /// What the venue had more than expected (below zero: less) when the difference was found.
    #[schemars(with = "PlainNumber")]
    pub amount: Decimal,
    /// When it was found.
    #[schemars(with = "UtcTimestamp")]
    pub since: Timestamp,
    /// When the symbols of the asset were locked; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<UtcTimestamp>")]
    pub locked_at: Option<Timestamp>,
}
