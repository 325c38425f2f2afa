//! Limits of individual accounts (`[[accounts]]`). A limit that an account does not set is the general one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::config::instruments::InstrumentList;
use crate::config::range::check_range;
use crate::config::risk::parse_positive_money;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::quantity::{Quantity, to_quantity_units};
use crate::domain::symbol::Symbol;

/// The maximum number of accounts with limits of their own.
pub const MAX_ACCOUNTS: usize = 10_000;

/// The time of a dead man's switch, in milliseconds: from a second to a day.
const HEARTBEAT_TIMEOUT_MS: RangeInclusive<u64> = 1_000..=86_400_000;

/// The accounts with limits of their own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountList(pub Vec<AccountSettings>);

/// The limits of one account. Money and quantities are quoted strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    /// The account.
    pub account_id: String,
    /// The cap of the notional routed in one day, in addition to the cap over all accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_notional_limit: Option<String>,
    /// The daily loss at which the account is locked; the tighter of this and the general limit applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_loss_limit: Option<String>,
    /// The loss of the day at which orders of the account are denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_loss: Option<String>,
    /// Maximum number of open orders of one symbol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_open_orders: Option<i64>,
    /// The time without a heartbeat after which the account is locked and its open orders are cancelled, in milliseconds, 1000
    /// to 86400000. Its first open order arms the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout_ms: Option<u64>,
    /// The maximum position, long or short, by `venue:SYMBOL`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub max_positions: BTreeMap<String, String>,
}

impl AccountList {
    /// Adds a sentence for each invalid limit.
    pub fn validate(&self, instruments: &InstrumentList, errors: &mut Vec<String>) {
        if self.0.len() > MAX_ACCOUNTS {
            let named = self.0.len();
            errors.push(format!(
                "there are {named} accounts; at most {MAX_ACCOUNTS} are allowed"
            ));
        }
        let mut seen = BTreeSet::new();
        for account in &self.0 {
            let name = &account.account_id;
            if AccountId::new(name).is_err() {
                errors.push(format!("the account {name:?} is not an account id"));
            }
            if !seen.insert(name) {
                errors.push(format!("the account {name} is listed twice"));
            }
            account.validate(instruments, errors);
        }
    }
}

impl AccountSettings {
    /// Returns the account's maximum positions by instrument, without the invalid ones.
    pub fn max_position_limits(&self) -> impl Iterator<Item = ((VenueId, Symbol), Quantity)> {
        self.max_positions.iter().filter_map(|(name, text)| {
            let (venue, symbol) = name.split_once(':')?;
            let quantity = Quantity::new(text.parse::<Decimal>().ok()?).ok()?;
            let instrument = (VenueId::new(venue).ok()?, Symbol::parse(symbol).ok()?);
            Some((instrument, quantity))
        })
    }

    fn validate(&self, instruments: &InstrumentList, errors: &mut Vec<String>) {
        let name = &self.account_id;
        for (what, text) in [
            ("daily_notional_limit", &self.daily_notional_limit),
            ("daily_loss_limit", &self.daily_loss_limit),
            ("stop_loss", &self.stop_loss),
        ] {
            if let Some(text) = text.as_ref().filter(|text| parse_positive_money(text).is_none()) {
                errors.push(format!(
                    "{what} of the account {name} is {text:?}; it must be a number above zero, at most 9007199254.740991"
                ));
            }
        }
        if let Some(limit) = self.max_open_orders {
            let setting = format!("max_open_orders of the account {name}");
            check_range(errors, &setting, limit, &(1..=1_000_000));
        }
        if let Some(timeout_ms) = self.heartbeat_timeout_ms {
            let setting = format!("heartbeat_timeout_ms of the account {name}");
            check_range(errors, &setting, timeout_ms, &HEARTBEAT_TIMEOUT_MS);
        }
        for (instrument, text) in &self.max_positions {
            let known = |one: &&crate::config::instruments::InstrumentSettings| {
                instrument.split_once(':') == Some((one.venue.as_str(), one.symbol.as_str()))
            };
            let is_known = instruments.0.iter().any(|one| known(&one));
            let quantity = text.parse::<Decimal>().ok().filter(|quantity| quantity.is_positive());
            if !is_known || quantity.and_then(to_quantity_units).is_none() {
                errors.push(format!(
                    "max_positions of the account {name} names {instrument:?} = {text:?}; it must be an instrument as \
                     `venue:SYMBOL` and a quantity above zero with at most 8 decimals"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_hold_are_told_by_account() {
        let read = |text: &str| toml::from_str::<AccountSettings>(text).unwrap();
        let good = read(
            "account_id = \"a\"\ndaily_loss_limit = \"5\"\nmax_open_orders = 1\nheartbeat_timeout_ms = 1000\n\
             [max_positions]\n\"binance.spot:BTCUSDT\" = \"0.00001\"\n",
        );
        let bad = read(
            "account_id = \"b.c\"\nstop_loss = \"0\"\nmax_open_orders = 0\nheartbeat_timeout_ms = 999\n\
             [max_positions]\n\"binance.spot:BTCUSDT\" = \"0.000000001\"\n\"BTCUSDT\" = \"1\"\n",
        );
        assert_eq!(good.max_position_limits().count(), 1);
        let mut errors = Vec::new();
        AccountList(vec![good.clone()]).validate(&InstrumentList::default(), &mut errors);
        assert_eq!(errors, Vec::<String>::new());
        AccountList(vec![good.clone(), good, bad]).validate(&InstrumentList::default(), &mut errors);
        assert_eq!(errors.len(), 7, "{errors:?}");
        assert!(toml::from_str::<AccountSettings>("account_id = \"a\"\nlimit = \"5\"\n").is_err());
    }
}
