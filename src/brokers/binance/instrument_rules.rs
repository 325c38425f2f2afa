//! The venue's rules of each symbol, from its exchange information, checked before an order is announced.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::brokers::binance::asset_roles::AssetsBySymbol;
use crate::brokers::binance::messages::exchange_info::{SymbolFilter, SymbolInfo};
use crate::brokers::binance::reports::read_symbol;
use crate::domain::decimal::Decimal;
use crate::domain::order::Order;
use crate::domain::order_terms::{OrderType, TimeInForce};
use crate::domain::symbol::Symbol;

/// How old the rules may be. They are read more often; if that fails for this long, orders are refused: a halt may have
/// been missed.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// The status of a symbol that takes orders (`enums.md`, "Symbol status").
const TRADING: &str = "TRADING";

/// Why an order is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleViolation {
    /// The rules are not known, or too old. It passes.
    #[error("the venue's rules of its symbols are not known at the moment")]
    RulesUnknown,
    /// The symbol takes no orders at the moment; holds the symbol and its status, such as `HALT` or `CANCEL_ONLY`.
    #[error("{0} is {1} at the venue")]
    NotTrading(Symbol, String),
    /// The venue would refuse these terms; the text says which rule and which bound.
    #[error("{0}")]
    Terms(String),
}

/// The rules of one symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstrumentRules {
    /// The traded asset.
    pub base_asset: String,
    /// The currency of the prices.
    pub quote_asset: String,
    status: String,
    order_types: Vec<String>,
    filters: Vec<SymbolFilter>,
}

/// The rules of all traded symbols.
#[derive(Debug, Default)]
pub struct InstrumentTable(RwLock<Option<LoadedRules>>);

#[derive(Debug, Clone)]
struct LoadedRules {
    rules: Arc<BTreeMap<Symbol, InstrumentRules>>,
    loaded_at: Instant,
}

impl InstrumentTable {
    /// Replaces the rules by those of a new reply. A symbol that cannot be read is left out, and thereby refused.
    pub fn replace(&self, symbols: Vec<SymbolInfo>) {
        let rules = symbols.into_iter().filter_map(|info| {
            let symbol = read_symbol(&info.symbol).ok()?;
            Some((symbol, InstrumentRules::new(info)))
        });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(LoadedRules {
            rules: Arc::new(rules.collect()),
            loaded_at: Instant::now(),
        });
    }

    /// Reports whether rules are known and not too old.
    pub fn is_loaded(&self) -> bool {
        self.current().is_some()
    }

    /// Returns the currency of a symbol's prices, as far as the symbol is known.
    pub fn quote_asset(&self, symbol: &str) -> Option<String> {
        let symbol = read_symbol(symbol).ok()?;
        Some(self.current()?.get(&symbol)?.quote_asset.clone())
    }

    /// Returns the traded asset and the currency of the prices of each symbol; `None` while the rules are not known.
    pub fn assets(&self) -> Option<AssetsBySymbol> {
        let assets = |rules: &InstrumentRules| (rules.base_asset.clone(), rules.quote_asset.clone());
        let rules = self.current()?;
        Some(
            rules
                .iter()
                .map(|(symbol, rules)| (symbol.clone(), assets(rules)))
                .collect(),
        )
    }

    /// Checks an order against the rules of its symbol.
    ///
    /// # Errors
    /// Why it must not be sent.
    pub fn check(&self, order: &Order) -> Result<(), RuleViolation> {
        let rules = self.current().ok_or(RuleViolation::RulesUnknown)?;
        match rules.get(&order.symbol) {
            Some(rules) => rules.check(order),
            None => Err(RuleViolation::Terms(format!(
                "the venue does not list {}",
                order.symbol
            ))),
        }
    }

    fn current(&self) -> Option<Arc<BTreeMap<Symbol, InstrumentRules>>> {
        let loaded = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let loaded = loaded.as_ref().filter(|loaded| loaded.loaded_at.elapsed() <= MAX_AGE)?;
        Some(Arc::clone(&loaded.rules))
    }
}

impl InstrumentRules {
    fn new(info: SymbolInfo) -> Self {
        Self {
            base_asset: info.base_asset,
            quote_asset: info.quote_asset,
            status: info.status,
            order_types: info.order_types,
            filters: info.filters,
        }
    }

    /// Checks an order of this symbol.
    ///
    /// # Errors
    /// Why it must not be sent.
    pub fn check(&self, order: &Order) -> Result<(), RuleViolation> {
        if self.status != TRADING {
            return Err(RuleViolation::NotTrading(order.symbol.clone(), self.status.clone()));
        }
        let order_type = order_type_word(order.order_type);
        if !self.order_types.iter().any(|listed| listed == order_type) {
            return Err(RuleViolation::Terms(format!(
                "{} takes no {order_type} orders",
                order.symbol
            )));
        }
        // The venue has no time in force on market orders. IOC is what it does anyway; "in full or not at all" it cannot promise.
        if order.order_type == OrderType::Market && order.time_in_force == TimeInForce::Fok {
            return Err(RuleViolation::Terms("the venue has no FOK market orders".to_owned()));
        }
        self.filters.iter().try_for_each(|filter| check_filter(filter, order))
    }
}

/// Returns the venue's word for an order type.
pub fn order_type_word(order_type: OrderType) -> &'static str {
    match order_type {
        OrderType::Market => "MARKET",
        OrderType::Limit => "LIMIT",
    }
}

fn check_filter(filter: &SymbolFilter, order: &Order) -> Result<(), RuleViolation> {
    let (quantity, price) = (order.quantity.decimal(), order.price.map(|price| price.decimal()));
    let name = filter.filter_type.as_deref().unwrap_or_default();
    let violation = match (name, order.order_type, price) {
        ("PRICE_FILTER", OrderType::Limit, Some(price)) => {
            find_violation("price", price, filter.min_price, filter.max_price, filter.tick_size)
        }
        // A market order has to pass both filters of quantities.
        ("LOT_SIZE", _, _) | ("MARKET_LOT_SIZE", OrderType::Market, _) => {
            find_violation("quantity", quantity, filter.min_qty, filter.max_qty, filter.step_size)
        }
        // The value of a market order is judged by an average price that only the venue knows.
        ("MIN_NOTIONAL" | "NOTIONAL", OrderType::Limit, Some(price)) => price
            .checked_mul(quantity)
            .and_then(|notional| find_violation("notional", notional, filter.min_notional, filter.max_notional, None)),
        _ => None,
    };
    violation.map_or(Ok(()), |text| Err(RuleViolation::Terms(format!("{name}: {text}"))))
}

/// Returns how an amount breaks bounds or step. A bound or a step of zero is disabled (`filters.md`).
fn find_violation(
    what: &str,
    amount: Decimal,
    min: Option<Decimal>,
    max: Option<Decimal>,
    step: Option<Decimal>,
) -> Option<String> {
    let enabled = |bound: Option<Decimal>| bound.filter(|bound| bound.is_positive());
    if let Some(min) = enabled(min).filter(|min| amount < *min) {
        return Some(format!("the {what} {amount} is below {min}"));
    }
    if let Some(max) = enabled(max).filter(|max| amount > *max) {
        return Some(format!("the {what} {amount} is above {max}"));
    }
    let step = enabled(step).filter(|step| amount.count_multiples_of(*step).is_none())?;
    Some(format!("the {what} {amount} is not a multiple of {step}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brokers::binance::messages::exchange_info::ExchangeInfo;
    use crate::brokers::binance::test_orders::btc_order;

    const INFO: &str = r#"{"timezone":"UTC","serverTime":1,"rateLimits":[{}],"exchangeFilters":[],"symbols":[{
        "symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","orderTypes":["LIMIT","MARKET"],
        "filters":[
        {"filterType":"PRICE_FILTER","minPrice":"0.01","maxPrice":"1000000.00","tickSize":"0.01"},
        {"filterType":"LOT_SIZE","minQty":"0.00001","maxQty":"9000.0","stepSize":"0.00001"},
        {"filterType":"MARKET_LOT_SIZE","minQty":"0.00000000","maxQty":"100.0","stepSize":"0.00000000"},
        {"filterType":"NOTIONAL","minNotional":"5.0","applyMinToMarket":true,"maxNotional":"9000000.0",
         "applyMaxToMarket":false,"avgPriceMins":5},
        {"filterType":"BRAND_NEW","limit":25}]}]}"#;

    fn table(from: &str, to: &str) -> InstrumentTable {
        let info: ExchangeInfo = serde_json::from_str(&INFO.replace(from, to)).unwrap();
        let table = InstrumentTable::default();
        table.replace(info.symbols);
        table
    }

    fn check(quantity: &str, price: Option<&str>) -> Result<(), String> {
        let order = btc_order("BN-1", quantity, price, TimeInForce::Gtc);
        table("", "").check(&order).map_err(|violation| violation.to_string())
    }

    #[test]
    fn terms_beyond_a_filter_are_named() {
        for (quantity, price, expected) in [
            ("1", Some("30000"), Ok(())),
            ("0.00017", Some("30000"), Ok(())),
            ("1", None, Ok(())),
            ("0.00001", None, Ok(())),
            (
                "1",
                Some("30000.001"),
                Err("PRICE_FILTER: the price 30000.001 is not a multiple of 0.01"),
            ),
            (
                "1",
                Some("1000000.01"),
                Err("PRICE_FILTER: the price 1000000.01 is above 1000000"),
            ),
            (
                "0.000001",
                Some("30000"),
                Err("LOT_SIZE: the quantity 0.000001 is below 0.00001"),
            ),
            (
                "0.000011",
                Some("30000"),
                Err("LOT_SIZE: the quantity 0.000011 is not a multiple of 0.00001"),
            ),
            (
                "9000.1",
                Some("100"),
                Err("LOT_SIZE: the quantity 9000.1 is above 9000"),
            ),
            ("100.1", None, Err("MARKET_LOT_SIZE: the quantity 100.1 is above 100")),
            ("0.0001", Some("30000"), Err("NOTIONAL: the notional 3 is below 5")),
            (
                "1000",
                Some("30000"),
                Err("NOTIONAL: the notional 30000000 is above 9000000"),
            ),
        ] {
            assert_eq!(
                check(quantity, price),
                expected.map_err(str::to_owned),
                "{quantity} {price:?}"
            );
        }
    }

    #[test]
    fn a_symbol_that_does_not_trade_is_refused_by_name() {
        let order = btc_order("BN-1", "1", Some("30000"), TimeInForce::Gtc);
        for status in ["HALT", "BREAK", "CANCEL_ONLY", "END_OF_DAY", "BRAND_NEW"] {
            let violation = table("TRADING", status).check(&order).unwrap_err();
            assert_eq!(
                violation,
                RuleViolation::NotTrading(order.symbol.clone(), status.to_owned())
            );
            assert!(violation.to_string().contains(status));
        }
    }

    #[test]
    fn unknown_rules_refuse_and_so_do_unknown_symbols_and_types() {
        let order = btc_order("BN-1", "1", None, TimeInForce::Gtc);
        assert_eq!(
            InstrumentTable::default().check(&order),
            Err(RuleViolation::RulesUnknown)
        );
        for (from, to, shown) in [
            ("\"BTCUSDT\"", "\"ETHUSDT\"", "does not list BTCUSDT"),
            ("\"LIMIT\",\"MARKET\"", "\"LIMIT\"", "no MARKET orders"),
        ] {
            let violation = table(from, to).check(&order).unwrap_err();
            assert!(violation.to_string().contains(shown), "{violation}");
        }
        let fok = btc_order("BN-1", "1", None, TimeInForce::Fok);
        assert!(matches!(table("", "").check(&fok), Err(RuleViolation::Terms(_))));
        assert_eq!(table("", "").quote_asset("BTCUSDT").as_deref(), Some("USDT"));
        assert_eq!(table("", "").quote_asset("btc/usdt"), None);
    }
}
