//! The value of positions: the order log's books at the market prices. Pure.

use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::money::{MICROS_SCALE, Micros};
use crate::domain::position_book::PositionBook;
use crate::domain::quantity::Price;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::order_log::{PositionRow, PositionsSnapshot};
use crate::sidecar::positions::market_prices::{MarketPrices, QuotedInstrument};
use crate::wire::holding_id::HoldingId;
use crate::wire::positions::{Portfolio, PortfolioHolding, PortfolioList};

/// Returns the holdings of accounts in the active mode. An account with flat positions only is left out.
pub(in crate::sidecar) fn value_portfolios(
    positions: &PositionsSnapshot,
    prices: &MarketPrices,
    as_of: Timestamp,
) -> PortfolioList {
    let active_rows = positions.rows.iter().filter(|row| row.mode == positions.mode);
    let mut items: Vec<Portfolio> = Vec::new();
    // The rows are sorted by account.
    for holding in active_rows.filter_map(|row| value_holding(row, prices)) {
        if items.last().is_none_or(|portfolio| portfolio.id != holding.account_id) {
            items.push(empty_portfolio(&holding.account_id));
        }
        if let Some(portfolio) = items.last_mut() {
            portfolio.holdings.push(holding);
        }
    }
    for portfolio in &mut items {
        portfolio.total_value = total_market_value(&portfolio.holdings);
    }
    PortfolioList { items, as_of }
}

fn empty_portfolio(account: &str) -> Portfolio {
    Portfolio {
        id: account.to_owned(),
        name: account.to_owned(),
        owner: account.to_owned(),
        total_value: None,
        holdings: Vec::new(),
    }
}

/// Returns the sum of the holdings' values, or `None` if one of them is not known.
fn total_market_value(holdings: &[PortfolioHolding]) -> Option<Decimal> {
    let values = holdings
        .iter()
        .map(|holding| holding.market_value?.to_scaled_integer(MICROS_SCALE));
    let sum = values.sum::<Option<i128>>()?;
    Decimal::from_parts(sum, MICROS_SCALE)
}

/// Returns the holding of a position, or `None` for a flat position.
fn value_holding(row: &PositionRow, prices: &MarketPrices) -> Option<PortfolioHolding> {
    if row.book.is_flat() {
        return None;
    }
    let market = prices.quoted_instrument(&row.venue, &row.symbol);
    let price = market.and_then(|market| market.mark_price(row.mode));
    let rate = base_rate(row, market);
    // An inexact book reports its quantity only: its other values would appear to be correct.
    let book = Some(&row.book).filter(|_| row.is_exact);
    let at_price = |value: fn(&_, Price, Decimal) -> Option<Micros>| {
        book.zip(price).and_then(|(book, price)| value(book, price, rate))
    };
    let id = HoldingId {
        mode: row.mode,
        account_id: AccountId::new(&row.account_id).ok()?,
        venue: VenueId::new(&row.venue).ok()?,
        symbol: Symbol::parse(&row.symbol).ok()?,
    };
    Some(PortfolioHolding {
        id: id.to_string(),
        portfolio_id: row.account_id.clone(),
        portfolio: row.account_id.clone(),
        account_id: row.account_id.clone(),
        broker: row.broker.clone(),
        venue: row.venue.clone(),
        symbol: row.symbol.clone(),
        mode: row.mode,
        quote_currency: market.map(|market| market.instrument.quote.clone()),
        quantity: row.book.quantity(),
        average_price: book.and_then(PositionBook::average_price),
        current_price: price.map(Price::decimal),
        market_value: at_price(PositionBook::market_value).map(Micros::decimal),
        realized_pnl: book.and_then(|book| book.realized_pnl(rate)).map(Micros::decimal),
        unrealized_pnl: at_price(PositionBook::unrealized_pnl).map(Micros::decimal),
    })
}

/// Returns the value of one unit of the quote currency in the base currency: from the settings, or at the last trade of an
/// instrument that is no longer in the settings.
fn base_rate(row: &PositionRow, market: Option<&QuotedInstrument>) -> Decimal {
    market.map_or(row.base_rate, |market| market.instrument.base_rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::quote_subscription::QuoteMessage;
    use crate::bus::subjects;
    use crate::config::Settings;
    use crate::domain::order_terms::Mode;
    use crate::sidecar::positions::test_fixtures::position_row;

    fn settings() -> Settings {
        let mut settings = Settings::default();
        settings.risk.rates.insert("USDT".to_owned(), "0.5".to_owned());
        settings
    }

    fn value_test_rows(rows: Vec<PositionRow>, mode: Mode, prices: &MarketPrices) -> PortfolioList {
        value_portfolios(&PositionsSnapshot { rows, mode }, prices, Timestamp::now())
    }

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn portfolio_has_holdings_and_their_values_in_the_base_currency() {
        let prices = MarketPrices::from_settings(&settings());
        let rows = vec![
            position_row(Mode::Live, "a", "BTCUSDT", &[("9", "1")]),
            position_row(Mode::Paper, "a", "BTCUSDT", &[("2", "29000"), ("-1", "31000")]),
            position_row(Mode::Paper, "a", "ETHUSDT", &[("-3", "2100")]),
            position_row(Mode::Paper, "b", "BTCUSDT", &[("1", "1"), ("-1", "1")]),
            position_row(Mode::Paper, "c", "BTCUSDT", &[("1", "1")]),
        ];
        let list = value_test_rows(rows, Mode::Paper, &prices);
        let accounts: Vec<&str> = list.items.iter().map(|portfolio| portfolio.id.as_str()).collect();
        assert_eq!(accounts, ["a", "c"], "a flat account is not listed");
        let a = &list.items[0];
        assert_eq!(a.total_value, Some(number("12000")));
        let [long, short] = &a.holdings[..] else {
            panic!("{a:?}")
        };
        assert_eq!(long.quote_currency.as_deref(), Some("USDT"));
        let amounts = |holding: &PortfolioHolding| {
            [
                Some(holding.quantity),
                holding.average_price,
                holding.current_price,
                holding.market_value,
                holding.realized_pnl,
                holding.unrealized_pnl,
            ]
        };
        let numbers = |texts: [&str; 6]| texts.map(|text| Some(number(text)));
        assert_eq!(amounts(long), numbers(["1", "29000", "30000", "15000", "1000", "500"]));
        assert_eq!(amounts(short), numbers(["-3", "2100", "2000", "-3000", "0", "150"]));
        assert_ne!(long.id, short.id);
        let id = HoldingId::parse(&long.id).unwrap();
        assert_eq!(
            (id.mode, id.account_id.as_str(), id.symbol.as_str()),
            (Mode::Paper, "a", "BTCUSDT")
        );
    }

    #[test]
    fn unknown_values_are_null_and_so_are_their_sums() {
        let prices = MarketPrices::from_settings(&settings());
        let live = value_test_rows(
            vec![position_row(Mode::Live, "a", "BTCUSDT", &[("1", "29000")])],
            Mode::Live,
            &prices,
        );
        let [holding] = &live.items[0].holdings[..] else {
            panic!("{live:?}")
        };
        assert_eq!(
            (holding.current_price, holding.market_value, holding.unrealized_pnl),
            (None, None, None)
        );
        assert_eq!(
            (holding.average_price, holding.realized_pnl),
            (Some(number("29000")), Some(Decimal::ZERO))
        );
        assert_eq!(live.items[0].total_value, None);
        let quote = QuoteMessage {
            subject: subjects::quote("binance.spot", "BTCUSDT"),
            body: r#"{"last":30000,"timestamp":"2026-03-02T12:00:00Z"}"#.into(),
        };
        prices.record_quote(&quote, Timestamp::now());
        let marked = value_test_rows(
            vec![position_row(Mode::Live, "a", "BTCUSDT", &[("1", "29000")])],
            Mode::Live,
            &prices,
        );
        assert_eq!(marked.items[0].total_value, Some(number("15000")));

        // An instrument that is no longer in the settings has no price, and the rate of its last trade.
        let removed = value_test_rows(
            vec![position_row(Mode::Paper, "a", "DOGEUSDT", &[("2", "1"), ("-1", "3")])],
            Mode::Paper,
            &prices,
        );
        let [holding] = &removed.items[0].holdings[..] else {
            panic!("{removed:?}")
        };
        assert_eq!((holding.current_price, holding.quote_currency.as_ref()), (None, None));
        assert_eq!(holding.realized_pnl, Some(number("2")));
        let mut inexact = position_row(Mode::Paper, "a", "BTCUSDT", &[("2", "1")]);
        inexact.is_exact = false;
        let inexact = value_test_rows(vec![inexact], Mode::Paper, &prices);
        let [holding] = &inexact.items[0].holdings[..] else {
            panic!("{inexact:?}")
        };
        assert_eq!(
            (holding.average_price, holding.realized_pnl, holding.market_value),
            (None, None, None)
        );
        assert_eq!(inexact.items[0].total_value, None);
        assert!(value_test_rows(Vec::new(), Mode::Paper, &prices).items.is_empty());
    }
}
