//! What every client may ask: symbols, the book, prices.

use serde_json::{Value, json};

use crate::venue::error::VenueError;
use crate::venue::exchange::state::{Exchange, Market};
use crate::venue::faults::table::FaultKind;
use crate::venue::hub::ticker;
use crate::venue::parameters::Parameters;
use crate::venue::render;
use crate::venue::service::state::Service;
use crate::venue::words::{Side, SymbolStatus};

/// The price levels of a book without a limit.
const DEFAULT_DEPTH: usize = 100;
/// The most price levels of a book.
const MAX_DEPTH: usize = 5_000;

impl Service {
    /// Exchange information.
    pub(super) fn exchange_info(&self, parameters: &Parameters, server_time: u64) -> Result<Value, VenueError> {
        let wanted = wanted_symbols(parameters)?;
        // Clients send these; a venue with one kind of permission answers them all alike.
        let _ = (
            parameters.get("permissions"),
            parameters.get("showPermissionSets"),
            parameters.get("symbolStatus"),
        );
        parameters.finish()?;
        let is_halted = self.are_symbols_halted();
        let shown = |name: &str, market: &Market| {
            let status = if is_halted { SymbolStatus::Halt } else { market.status };
            render::symbol(name, market, status.as_str())
        };
        let symbols = self.read(|exchange| select(exchange, wanted.as_deref(), shown))??;
        Ok(json!({
            "timezone": "UTC",
            "serverTime": server_time,
            "rateLimits": self.limits.describe(),
            "exchangeFilters": [],
            "symbols": symbols,
        }))
    }

    /// Reports whether a fault has halted every symbol; one that strikes now and then meets single requests.
    pub fn are_symbols_halted(&self) -> bool {
        let halting = [FaultKind::SymbolsHalted, FaultKind::Maintenance];
        halting.into_iter().any(|kind| self.faults.is_certain(kind))
    }

    /// The order book.
    pub(super) fn depth(&self, parameters: &Parameters) -> Result<Value, VenueError> {
        let symbol = parameters.symbol()?;
        let limit = parameters.number::<usize>("limit")?.unwrap_or(DEFAULT_DEPTH);
        parameters.finish()?;
        self.read(|exchange| {
            let market = exchange.market(symbol)?;
            let side = |side| exchange.depth(market, side, limit.clamp(1, MAX_DEPTH));
            Ok(json!({
                "lastUpdateId": market.update_id,
                "bids": side(Side::Buy),
                "asks": side(Side::Sell),
            }))
        })?
    }

    /// The best prices of one symbol or of all.
    pub(super) fn book_ticker(&self, parameters: &Parameters) -> Result<Value, VenueError> {
        let shown = |exchange: &Exchange, name: &str| {
            let ticker = ticker(exchange, name).unwrap_or_default();
            json!({
                "symbol": name,
                "bidPrice": ticker["b"],
                "bidQty": ticker["B"],
                "askPrice": ticker["a"],
                "askQty": ticker["A"],
            })
        };
        self.tickers(parameters, shown)
    }

    /// The last price of one symbol or of all.
    pub(super) fn price_ticker(&self, parameters: &Parameters) -> Result<Value, VenueError> {
        let shown = |exchange: &Exchange, name: &str| {
            let price = exchange
                .market(name)
                .map(|market| market.last_price)
                .unwrap_or_default();
            json!({"symbol": name, "price": price})
        };
        self.tickers(parameters, shown)
    }

    fn tickers(&self, parameters: &Parameters, shown: impl Fn(&Exchange, &str) -> Value) -> Result<Value, VenueError> {
        let is_one = parameters.get("symbol").is_some();
        let wanted = wanted_symbols(parameters)?;
        parameters.finish()?;
        let mut tickers =
            self.read(|exchange| select(exchange, wanted.as_deref(), |name, _| shown(exchange, name)))??;
        match is_one {
            true => Ok(tickers.pop().unwrap_or_default()),
            false => Ok(tickers.into()),
        }
    }
}

/// Returns the symbols that `symbol` or `symbols` name; `None` for all.
fn wanted_symbols(parameters: &Parameters) -> Result<Option<Vec<String>>, VenueError> {
    let one = parameters.optional_symbol()?;
    let many = parameters.optional("symbols")?;
    match (one, many) {
        (Some(_), Some(_)) => Err(VenueError::new(-1128, "Combination of optional parameters invalid.")),
        (Some(symbol), None) => Ok(Some(vec![symbol.to_owned()])),
        (None, Some(list)) => {
            let list = serde_json::from_str(list).map_err(|_| VenueError::invalid_parameter("symbols"))?;
            Ok(Some(list))
        }
        (None, None) => Ok(None),
    }
}

fn select(
    exchange: &Exchange,
    wanted: Option<&[String]>,
    shown: impl Fn(&str, &Market) -> Value,
) -> Result<Vec<Value>, VenueError> {
    match wanted {
        None => {
            let markets = exchange.markets().iter();
            Ok(markets.map(|(name, market)| shown(name, market)).collect())
        }
        Some(names) => {
            let markets = names
                .iter()
                .map(|name| exchange.market(name).map(|market| shown(name, market)));
            markets.collect()
        }
    }
}
