//! The markets of the model and its limits: caps so small that they are often reached.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rust_decimal::Decimal;

/// The number of accounts.
pub const ACCOUNTS: usize = 3;
/// The number of markets.
pub const MARKETS: usize = 4;
/// The number of trading days.
pub const DAYS: usize = 3;
/// Currency rates; `XYZ` has none.
pub const RATES: [(&str, &str); 4] = [("USD", "1"), ("USDT", "1"), ("EUR", "1.0837"), ("BNB", "612.37")];
/// A traded instrument.
#[derive(Debug, Clone, Copy)]
pub struct Market {
    pub broker: &'static str,
    pub venue: &'static str,
    pub symbol: &'static str,
    pub quote: &'static str,
    pub base: Option<&'static str>,
    /// The greatest lot of its orders: they may have smaller ones.
    pub lot: Decimal,
    /// The price that marks are near, and the mark at the start of each day.
    pub reference: Decimal,
    /// Decimals of its prices.
    pub price_decimals: u32,
    pub max_position: Decimal,
    pub max_notional: Decimal,
    pub can_short: bool,
}

/// Returns markets with small caps: a thousand lots or less. The last one's quantities exceed what a double counts in
/// units of 1e-8.
pub fn markets() -> &'static [Market; MARKETS] {
    static SMALL: LazyLock<[Market; MARKETS]> = LazyLock::new(small_markets);
    &SMALL
}

fn small_markets() -> [Market; MARKETS] {
    let btc = Market {
        broker: "binance",
        venue: "binance.spot",
        symbol: "BTCUSDT",
        quote: "USDT",
        base: Some("BTC"),
        lot: number("0.00001"),
        reference: number("30000"),
        price_decimals: 6,
        max_position: number("0.01"),
        max_notional: number("310"),
        can_short: true,
    };
    let eth = Market {
        symbol: "ETHEUR",
        quote: "EUR",
        base: Some("ETH"),
        lot: number("0.0001"),
        reference: number("1900.07"),
        max_position: number("0.1"),
        max_notional: number("200"),
        can_short: false,
        ..btc
    };
    let aapl = Market {
        broker: "ibkr",
        venue: "ibkr.paper",
        symbol: "AAPL",
        quote: "USD",
        base: None,
        lot: number("0.01"),
        reference: number("180"),
        max_position: number("10"),
        max_notional: number("1790"),
        can_short: true,
        ..btc
    };
    let shib = Market {
        symbol: "SHIBUSDT",
        base: Some("SHIB"),
        lot: number("500000"),
        reference: number("0.0000012"),
        price_decimals: 8,
        max_position: number("500000000"),
        max_notional: number("590"),
        ..btc
    };
    [btc, eth, aapl, shib]
}

/// The limits beyond those of a market, in the base currency. The first account has its own daily notional limit, the
/// second its own daily loss limit.
pub const DAILY_NOTIONAL: i64 = 2_500;
pub const DAILY_NOTIONAL_OF_FIRST: i64 = 800;
pub const DAILY_LOSS: i64 = 60;
pub const DAILY_LOSS_OF_SECOND: i64 = 25;
pub const STOP_LOSS: i64 = 20;
pub const MAX_OPEN_ORDERS: i64 = 2;

pub fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Returns the rate of a currency in the base currency.
pub fn rate(currency: &str) -> Option<Decimal> {
    static KNOWN: LazyLock<BTreeMap<&str, Decimal>> =
        LazyLock::new(|| RATES.map(|(currency, rate)| (currency, number(rate))).into());
    KNOWN.get(currency).copied()
}

/// Returns the account's own daily notional limit, in millionths.
pub fn account_notional(account: usize) -> Option<i128> {
    (account == 0).then(|| micros(DAILY_NOTIONAL_OF_FIRST))
}

/// Returns the daily loss limit of an account, or of all accounts, in millionths.
pub fn loss_limit(owner: usize) -> i128 {
    micros(if owner == 1 { DAILY_LOSS_OF_SECOND } else { DAILY_LOSS })
}

pub fn micros(units: i64) -> i128 {
    i128::from(units) * 1_000_000
}

/// Returns a quantity in units of 1e-8.
pub fn in_units(quantity: Decimal) -> i128 {
    let units = quantity * Decimal::from(100_000_000);
    assert!(units.is_integer(), "{quantity} has more than eight decimals");
    units.trunc().mantissa() / 10_i128.pow(units.trunc().scale())
}

/// Returns a number of units of 1e-8 as a quantity.
pub fn in_asset(units: i128) -> Decimal {
    Decimal::from_i128_with_scale(units, 8)
}
