//! The tradable instruments (`[[instruments]]`). The default list is the sandbox.

use serde::{Deserialize, Serialize};

use crate::config::risk::RiskSettings;
use crate::domain::decimal::Decimal;
use crate::domain::id::{BrokerId, VenueId};
use crate::domain::instrument::Instrument;
use crate::domain::money::{MAX_EXACT_INTEGER, Micros, Rounding};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::symbol::Symbol;

/// The maximum number of instruments. The ledger of all accounts may have a holding for each, and Redis reads it in one
/// command, during which no other is executed.
pub const MAX_INSTRUMENTS: usize = 5_000;

/// The instruments. A settings file with any instrument replaces the whole default list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstrumentList(pub Vec<InstrumentSettings>);

/// One instrument of one venue. Prices, quantities and money are quoted strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentSettings {
    /// The broker: one of `brokers.enabled`.
    pub broker: String,
    /// The venue at the broker.
    pub venue: String,
    /// The symbol, in capitals without separators.
    pub symbol: String,
    /// The quote currency, in which prices are; `[risk.rates]` needs its rate.
    pub quote: String,
    /// The reference price in paper mode until a quote arrives, a multiple of `tick_size`.
    pub reference_price: String,
    /// The tick size: prices are multiples of it.
    pub tick_size: String,
    /// The lot size: quantities are multiples of it.
    pub lot_size: String,
    /// The maximum quantity of one order, a multiple of `lot_size`.
    pub max_order_size: String,
    /// The maximum position of one account, long or short, a multiple of `lot_size`.
    pub max_position: String,
    /// The cap of the notional per account and symbol, in the base currency.
    pub max_notional: String,
    /// The base asset, if fees may be paid in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Whether a position may be below zero, true unless it is set.
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
            for error in settings.to_instrument(risk).err().into_iter().flatten() {
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
    /// Returns a valid entry, to parse the fields of others with.
    pub(in crate::config) fn sample() -> Self {
        parse_sandbox_row("ibkr ibkr.paper AAPL USD 180 0.01 1000 5000 900000")
    }

    fn to_instrument(&self, risk: &RiskSettings) -> Result<Instrument, Vec<String>> {
        let instrument = self.parse_fields(risk)?;
        let mut errors = Vec::new();
        if !instrument.is_on_tick(instrument.reference_price) {
            errors.push("reference_price must be a multiple of tick_size".to_owned());
        }
        for (name, quantity) in [
            ("max_order_size", instrument.max_order_size),
            ("max_position", instrument.max_position),
        ] {
            if instrument.lots(quantity).is_none() {
                errors.push(format!(
                    "{name} must be a multiple of lot_size and at most {MAX_EXACT_INTEGER} lots"
                ));
            }
        }
        if errors.is_empty() { Ok(instrument) } else { Err(errors) }
    }

    /// Returns the instrument if each field is valid by itself.
    ///
    /// # Errors
    /// A sentence for each invalid field.
    pub(in crate::config) fn parse_fields(&self, risk: &RiskSettings) -> Result<Instrument, Vec<String>> {
        let mut errors = FieldErrors::default();
        let symbol = errors.keep("symbol", Symbol::parse(&self.symbol));
        if let Some(symbol) = symbol.as_ref().filter(|symbol| symbol.as_str() != self.symbol) {
            errors.0.push(format!("symbol must be written normalised, as {symbol}"));
        }
        let broker = errors.keep("broker", BrokerId::new(&self.broker));
        let venue = errors.keep("venue", VenueId::new(&self.venue));
        let reference_price = errors.keep_number("reference_price", &self.reference_price, Price::new);
        let tick_size = errors.keep_number("tick_size", &self.tick_size, Price::new);
        let lot_size = errors.keep_number("lot_size", &self.lot_size, Quantity::new);
        let max_order_size = errors.keep_number("max_order_size", &self.max_order_size, Quantity::new);
        let max_position = errors.keep_number("max_position", &self.max_position, Quantity::new);
        let max_notional = errors.keep_number("max_notional", &self.max_notional, |notional| {
            let cap = Micros::from_decimal(notional, Rounding::Down);
            let is_valid = cap.is_some_and(|cap| cap.units() > 0);
            is_valid
                .then_some(notional)
                .ok_or("must be above zero and at most 9007199254.740991")
        });
        let rate = risk.base_rate(&self.quote);
        if rate.is_none() {
            errors.0.push(format!("there is no rate for {}", self.quote));
        }
        let build = || {
            Some(Instrument {
                broker: broker?,
                venue: venue?,
                symbol: symbol?,
                reference_price: reference_price?,
                tick_size: tick_size?,
                lot_size: lot_size?,
                max_order_size: max_order_size?,
                max_position: max_position?,
                max_notional: max_notional?,
                can_short: self.can_short,
                base_asset: self.base.as_deref().map(Into::into),
                quote: self.quote.clone(),
                base_rate: rate?,
            })
        };
        build().filter(|_| errors.0.is_empty()).ok_or(errors.0)
    }
}

/// The errors of an instrument's fields.
#[derive(Debug, Default)]
struct FieldErrors(Vec<String>);

impl FieldErrors {
    fn keep<T>(&mut self, name: &str, parsed: Result<T, impl std::fmt::Display>) -> Option<T> {
        parsed.map_err(|rule| self.0.push(format!("{name} {rule}"))).ok()
    }

    fn keep_number<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        text: &str,
        check: impl FnOnce(Decimal) -> Result<T, E>,
    ) -> Option<T> {
        match text.parse::<Decimal>() {
            Ok(number) => self.keep(name, check(number)),
            Err(error) => {
                self.0.push(format!("{name} is {text:?}, which {error}"));
                None
            }
        }
    }
}
