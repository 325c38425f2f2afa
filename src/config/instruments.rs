//! The tradable instruments (`[[instruments]]`). The default list is the sandbox.

use serde::{Deserialize, Serialize};

use crate::config::risk::RiskSettings;
use crate::domain::decimal::Decimal;
use crate::domain::id::{BrokerId, VenueId};
use crate::domain::instrument::Instrument;
use crate::domain::money::{MAX_EXACT_INTEGER, Micros, Rounding};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::symbol::Symbol;

/// The maximum number of instruments.
pub const MAX_INSTRUMENTS: usize = 10_000;

/// The instruments. A settings file with any instrument replaces the whole default list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstrumentList(pub Vec<InstrumentSettings>);

/// One instrument of one venue. Prices, quantities and money are quoted strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentSettings {
    /// The broker.
    pub broker: String,
    /// The venue.
    pub venue: String,
    /// The symbol.
    pub symbol: String,
    /// The quote currency, in which prices are.
    pub quote: String,
    /// The reference price in paper mode until a quote arrives.
    pub reference_price: String,
    /// The tick size: prices are multiples of it.
    pub tick_size: String,
    /// The lot size: quantities are multiples of it.
    pub lot_size: String,
    /// The maximum quantity of one order.
    pub max_order_size: String,
    /// The maximum position of one account, long or short.
    pub max_position: String,
    /// The cap of the notional per account and symbol, in the base currency.
    pub max_notional: String,
    /// The base asset, if fees may be paid in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Whether a position may be below zero; default true.
    #[serde(default = "allowed")]
    pub can_short: bool,
}

fn allowed() -> bool {
    true
}

impl Default for InstrumentList {
    fn default() -> Self {
        // broker, venue, symbol, quote, reference price, lot, largest order, largest position, notional cap
        let rows = [
            "binance binance.spot BTCUSDT USDT 30000 0.00001 0.75 2 60000 BTC",
            "binance binance.spot ETHUSDT USDT 2000 0.0001 10 50 100000 ETH",
            "ibkr ibkr.paper AAPL USD 180 0.01 1000 5000 900000",
            "ibkr ibkr.paper MSFT USD 320 0.01 800 4000 1280000",
        ];
        Self(rows.map(parse_sandbox_row).into())
    }
}

/// Parses a row of the sandbox. The tick size is 0.01 everywhere, and short positions are allowed.
fn parse_sandbox_row(row: &str) -> InstrumentSettings {
    let mut words = row.split(' ').map(str::to_owned);
    let mut next = || words.next().unwrap_or_default();
    InstrumentSettings {
        broker: next(),
        venue: next(),
        symbol: next(),
        quote: next(),
        reference_price: next(),
        tick_size: "0.01".to_owned(),
        lot_size: next(),
        max_order_size: next(),
        max_position: next(),
        max_notional: next(),
        base: Some(next()).filter(|asset| !asset.is_empty()),
        can_short: true,
    }
}

impl InstrumentList {
    /// Returns the valid instruments.
    pub fn to_instruments(&self, risk: &RiskSettings) -> Vec<Instrument> {
        self.0
            .iter()
            .filter_map(|settings| settings.to_instrument(risk).ok())
            .collect()
    }

    /// Adds a sentence for each invalid instrument.
    pub fn validate(&self, risk: &RiskSettings, errors: &mut Vec<String>) {
        if self.0.len() > MAX_INSTRUMENTS {
            errors.push(format!(
                "there are {} instruments; at most {MAX_INSTRUMENTS} are allowed",
                self.0.len()
            ));
        }
        let mut seen = std::collections::BTreeSet::new();
        for settings in &self.0 {
            if let Err(error) = settings.to_instrument(risk) {
                errors.push(format!(
                    "the instrument {} at {}: {error}",
                    settings.symbol, settings.venue
                ));
            }
            if !seen.insert((&settings.venue, &settings.symbol)) {
                errors.push(format!(
                    "the instrument {} at {} is listed twice",
                    settings.symbol, settings.venue
                ));
            }
        }
    }
}

impl InstrumentSettings {
    fn to_instrument(&self, risk: &RiskSettings) -> Result<Instrument, String> {
        let number = |name: &str, text: &str| {
            text.parse::<Decimal>()
                .map_err(|error| format!("{name} is {text:?}, which {error}"))
        };
        let price = |name: &str, text: &str| {
            number(name, text).and_then(|number| Price::new(number).map_err(|rule| format!("{name} {rule}")))
        };
        let quantity = |name: &str, text: &str| {
            number(name, text).and_then(|number| Quantity::new(number).map_err(|rule| format!("{name} {rule}")))
        };
        let symbol = Symbol::parse(&self.symbol).map_err(|rule| format!("symbol {rule}"))?;
        if symbol.as_str() != self.symbol {
            return Err(format!("symbol must be written normalised, as {symbol}"));
        }
        let instrument = Instrument {
            broker: BrokerId::new(&self.broker).map_err(|rule| format!("broker {rule}"))?,
            venue: VenueId::new(&self.venue).map_err(|rule| format!("venue {rule}"))?,
            symbol,
            reference_price: price("reference_price", &self.reference_price)?,
            tick_size: price("tick_size", &self.tick_size)?,
            lot_size: quantity("lot_size", &self.lot_size)?,
            max_order_size: quantity("max_order_size", &self.max_order_size)?,
            max_position: quantity("max_position", &self.max_position)?,
            max_notional: number("max_notional", &self.max_notional)?,
            can_short: self.can_short,
            base_asset: self.base.as_deref().map(Into::into),
            quote: self.quote.clone(),
            base_rate: risk
                .base_rate(&self.quote)
                .ok_or_else(|| format!("there is no rate for {}", self.quote))?,
        };
        if Micros::from_decimal(instrument.max_notional, Rounding::Down).is_none_or(|cap| cap.units() <= 0) {
            return Err("max_notional must be above zero and at most 9007199254.740991".to_owned());
        }
        if !instrument.is_on_tick(instrument.reference_price) {
            return Err("reference_price must be a multiple of tick_size".to_owned());
        }
        for (name, quantity) in [
            ("max_order_size", instrument.max_order_size),
            ("max_position", instrument.max_position),
        ] {
            if instrument.lots(quantity).is_none() {
                return Err(format!(
                    "{name} must be a multiple of lot_size and at most {MAX_EXACT_INTEGER} lots"
                ));
            }
        }
        Ok(instrument)
    }
}
