//! What currencies are worth in the base currency.

use std::collections::BTreeMap;

use crate::domain::decimal::Decimal;

/// The worth of one unit of each currency, in the base currency, as the settings tell it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurrencyRates(BTreeMap<String, Decimal>);

impl CurrencyRates {
    /// Returns the rates of these currencies.
    pub fn new(rates: impl IntoIterator<Item = (String, Decimal)>) -> Self {
        Self(rates.into_iter().collect())
    }

    /// Returns what one unit of a currency is worth, or `None` where nobody has said.
    pub fn get(&self, currency: &str) -> Option<Decimal> {
        self.0.get(currency).copied()
    }
}
