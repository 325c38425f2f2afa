//! The exchange rates of currencies to the base currency.

use std::collections::BTreeMap;

use crate::domain::decimal::Decimal;

/// The value of one unit of each currency in the base currency, from the settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurrencyRates(BTreeMap<String, Decimal>);

impl CurrencyRates {
    /// Returns the table of these rates.
    pub fn new(rates: impl IntoIterator<Item = (String, Decimal)>) -> Self {
        Self(rates.into_iter().collect())
    }

    /// Returns the value of one unit of a currency in the base currency, or `None` where no rate is set.
    pub fn get(&self, currency: &str) -> Option<Decimal> {
        self.0.get(currency).copied()
    }
}
