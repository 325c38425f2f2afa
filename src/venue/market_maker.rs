//! The market maker: a seeded random walk around the reference price, with three levels on each side.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::venue::amount::Amount;
use crate::venue::command::{Command, QuoteLevel};
use crate::venue::random::SeededRandom;
use crate::venue::service::state::Service;
use crate::venue::settings::{MarketMakerSettings, SymbolSettings};

/// The levels on each side.
const LEVELS: i128 = 3;
/// The greatest step of the walk, in millionths of the price.
const STEP_MILLIONTHS: u64 = 300;
/// The part of the distance to the reference price that each step goes back: one of so many.
const REVERSION: i128 = 200;
/// Half the distance between the best bid and the best ask, in millionths of the price.
const HALF_SPREAD_MILLIONTHS: i128 = 100;
/// The least and the greatest notional of a level, in wholes of the quote asset.
const NOTIONAL: (u64, u64) = (200, 3_000);

/// Quotes every symbol in each interval until the venue stops.
pub async fn run(service: Arc<Service>, settings: MarketMakerSettings) {
    let mut random = SeededRandom::new(service.settings.seed);
    let mut middles: BTreeMap<String, i128> = BTreeMap::new();
    let mut rounds = tokio::time::interval(settings.interval);
    loop {
        tokio::select! {
            () = service.shutdown.cancelled() => return,
            _ = rounds.tick() => {}
        }
        if service.are_symbols_halted() {
            continue;
        }
        for symbol in &service.settings.symbols {
            let middle = middles.entry(symbol.name()).or_insert(symbol.reference_price.units());
            *middle = next_middle(*middle, symbol, &mut random);
            let (bids, asks) = quotes(*middle, symbol, &mut random);
            let command = Command::Quote {
                symbol: symbol.name(),
                bids,
                asks,
            };
            if let Err(error) = service.change(&command) {
                // A symbol that does not trade is quoted again when it does.
                tracing::debug!(%error, symbol = symbol.name(), "the market maker quotes nothing");
            }
        }
    }
}

/// Returns the next price of the walk: a random step, and a small one back to the reference price.
fn next_middle(middle: i128, symbol: &SymbolSettings, random: &mut SeededRandom) -> i128 {
    let step = i128::from(random.between(0, 2 * STEP_MILLIONTHS)) - i128::from(STEP_MILLIONTHS);
    let reference = symbol.reference_price.units();
    let next = middle + middle * step / 1_000_000 + (reference - middle) / REVERSION;
    next.clamp(reference / 2, reference * 2)
}

/// Returns the bids and asks around a price. The best bid is always below the best ask.
fn quotes(middle: i128, symbol: &SymbolSettings, random: &mut SeededRandom) -> (Vec<QuoteLevel>, Vec<QuoteLevel>) {
    let tick = symbol.tick_size;
    let half = (middle * HALF_SPREAD_MILLIONTHS / 1_000_000).max(tick.units());
    let mut level = |price: i128| {
        let price = Amount::from_units(price).floor_to(tick).max(tick);
        let notional = random.between(NOTIONAL.0, NOTIONAL.1);
        let notional = Amount::from_units(i128::from(notional) * Amount::ONE.units());
        let quantity = notional.divided_by(price).floor_to(symbol.step_size);
        QuoteLevel {
            price,
            quantity: quantity.max(symbol.step_size).min(symbol.max_quantity),
        }
    };
    let bids = (1..=LEVELS).map(|distance| level(middle - half * distance)).collect();
    let asks = (1..=LEVELS)
        .map(|distance| level(middle + half * distance + tick.units()))
        .collect();
    (bids, asks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_never_cross_and_follow_the_seed() {
        let symbol: SymbolSettings = "BTC/USDT=30000,0.01,0.00001".parse().unwrap();
        let walk = |seed| {
            let mut random = SeededRandom::new(seed);
            let mut middle = symbol.reference_price.units();
            let mut all = Vec::new();
            for _ in 0..500 {
                middle = next_middle(middle, &symbol, &mut random);
                let (bids, asks) = quotes(middle, &symbol, &mut random);
                assert!(bids[0].price < asks[0].price, "{bids:?} {asks:?}");
                all.push((bids, asks));
            }
            all
        };
        assert_eq!(walk(3), walk(3));
        assert_ne!(walk(3), walk(4));
    }
}
