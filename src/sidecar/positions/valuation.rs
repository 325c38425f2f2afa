//! From the books of the order log and the prices of the market to what accounts hold. Pure.

use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::money::{MICROS_SCALE, Micros};
use crate::domain::position_book::PositionBook;
use crate::domain::quantity::Price;
use crate::domain::time::Timestamp;
use crate::order_log::{PositionRow, PositionsSnapshot};
use crate::sidecar::positions::market_prices::{MarketPrices, QuotedInstrument};
use crate::wire::holding_id::HoldingId;
use crate::wire::positions::{Portfolio, PortfolioHolding, PortfolioList};

/// Returns what accounts hold in the mode in force; an account whose positions are all flat holds nothing.
pub(in crate::sidecar) fn value_portfolios(
    positions: &PositionsSnapshot,
    prices: &MarketPrices,
    as_of: Timestamp,
) -> PortfolioList {
    let in_force = positions.rows.iter().filter(|row| row.mode == positions.mode);
    let mut items: Vec<Portfolio> = Vec::new();
    // The rows of an account stand together.
    for row in in_force {
        if items.last().is_none_or(|portfolio| portfolio.id != row.account_id) {
            items.push(empty_portfolio(&row.account_id));
        }
        if let (Some(portfolio), Some(holding)) = (items.last_mut(), value_holding(row, prices)) {
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

/// Returns the sum of the holdings' values; `None` where one of them is not known.
fn total_market_value(holdings: &[PortfolioHolding]) -> Option<Decimal> {
    let values = holdings
        .iter()
        .map(|holding| holding.market_value?.to_scaled_integer(MICROS_SCALE));
    let sum = values.sum::<Option<i128>>()?;
    Decimal::from_parts(sum, MICROS_SCALE)
}

/// Returns a position as it is told; `None` for a flat one.
fn value_holding(row: &PositionRow, prices: &MarketPrices) -> Option<PortfolioHolding> {
    if row.book.is_flat() {
        return None;
    }
    let market = prices.quoted_instrument(&row.venue, &row.symbol);
    let price = market.and_then(|market| market.mark_price(row.mode));
    let rate = base_rate(row, market);
    // Of a book that lacks something no figure but the quantity is told: they would look right.
    let book = Some(&row.book).filter(|_| row.is_exact);
    let at = |worth: fn(&_, Price, Decimal) -> Option<Micros>| {
        book.zip(price).and_then(|(book, price)| worth(book, price, rate))
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
        market_value: at(PositionBook::market_value).map(Micros::decimal),
        realized_pnl: book.and_then(|book| book.realized_pnl(rate)).map(Micros::decimal),
        unrealized_pnl: at(PositionBook::unrealized_pnl).map(Micros::decimal),
    })
}

/// Returns what a unit of the quote currency is worth: by the settings, or for an instrument that is not in them any more,
/// when it was last traded.
fn base_rate(row: &PositionRow, market: Option<&QuotedInstrument>) -> Decimal {
    market.map_or(row.base_rate, |market| market.instrument.base_rate)
}

#[cfg(test)]
pub(in crate::sidecar) mod tests {
    use super::*;
    use crate::bus::quote_subscription::QuoteMessage;
    use crate::bus::subjects;
    use crate::config::Settings;
    use crate::domain::order_terms::Mode;

    /// Returns the position that trades leave, each of a quantity at a price.
    pub(in crate::sidecar) fn position_row(
        mode: Mode,
        account: &str,
        symbol: &str,
        trades: &[(&str, &str)],
    ) -> PositionRow {
        let book = trades.iter().fold(PositionBook::default(), |book, (quantity, price)| {
            let price = Price::new(price.parse().unwrap()).unwrap();
            book.apply_trade(quantity.parse().unwrap(), price).unwrap()
        });
        PositionRow {
            mode,
            account_id: account.to_owned(),
            venue: "binance.spot".to_owned(),
            symbol: symbol.to_owned(),
            broker: "binance".to_owned(),
            book,
            lot_size: "0.00001".parse().unwrap(),
            base_rate: Decimal::from(1),
            base_asset: None,
            is_exact: true,
        }
    }

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
    fn an_account_has_its_holdings_and_their_values_in_the_base_currency() {
        let prices = MarketPrices::from_settings(&settings());
        let rows = vec![
            position_row(Mode::Live, "a", "BTCUSDT", &[("9", "1")]),
            position_row(Mode::Paper, "a", "BTCUSDT", &[("2", "29000"), ("-1", "31000")]),
            position_row(Mode::Paper, "a", "ETHUSDT", &[("-3", "2100")]),
            position_row(Mode::Paper, "b", "BTCUSDT", &[("1", "1"), ("-1", "1")]),
            position_row(Mode::Paper, "c", "BTCUSDT", &[("1", "1")]),
        ];
        let answer = value_test_rows(rows, Mode::Paper, &prices);
        let accounts: Vec<&str> = answer.items.iter().map(|portfolio| portfolio.id.as_str()).collect();
        assert_eq!(accounts, ["a", "b", "c"]);
        let [a, b, _] = &answer.items[..] else {
            panic!("{accounts:?}")
        };
        assert_eq!(a.total_value, Some(number("12000")));
        assert_eq!((b.total_value, b.holdings.len()), (Some(Decimal::ZERO), 0));
        let [long, short] = &a.holdings[..] else {
            panic!("{a:?}")
        };
        assert_eq!(long.quote_currency.as_deref(), Some("USDT"));
        let figures = |holding: &PortfolioHolding| {
            [
                Some(holding.quantity),
                holding.average_price,
                holding.current_price,
                holding.market_value,
                holding.realized_pnl,
                holding.unrealized_pnl,
            ]
        };
        let of = |texts: [&str; 6]| texts.map(|text| Some(number(text)));
        assert_eq!(figures(long), of(["1", "29000", "30000", "15000", "1000", "500"]));
        assert_eq!(figures(short), of(["-3", "2100", "2000", "-3000", "0", "150"]));
        assert_ne!(long.id, short.id);
        let id = HoldingId::parse(&long.id).unwrap();
        assert_eq!(
            (id.mode, id.account_id.as_str(), id.symbol.as_str()),
            (Mode::Paper, "a", "BTCUSDT")
        );
    }

    #[test]
    fn what_is_not_known_is_null_and_so_is_every_sum_of_it() {
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

        // An instrument that is not in the settings any more has no price, and the rate it was last traded at.
        let gone = value_test_rows(
            vec![position_row(Mode::Paper, "a", "DOGEUSDT", &[("2", "1"), ("-1", "3")])],
            Mode::Paper,
            &prices,
        );
        let [holding] = &gone.items[0].holdings[..] else {
            panic!("{gone:?}")
        };
        assert_eq!((holding.current_price, holding.quote_currency.as_ref()), (None, None));
        assert_eq!(holding.realized_pnl, Some(number("2")));
        let mut lacking = position_row(Mode::Paper, "a", "BTCUSDT", &[("2", "1")]);
        lacking.is_exact = false;
        let lacking = value_test_rows(vec![lacking], Mode::Paper, &prices);
        let [holding] = &lacking.items[0].holdings[..] else {
            panic!("{lacking:?}")
        };
        assert_eq!(
            (holding.average_price, holding.realized_pnl, holding.market_value),
            (None, None, None)
        );
        assert_eq!(lacking.items[0].total_value, None);
        assert!(value_test_rows(Vec::new(), Mode::Paper, &prices).items.is_empty());
    }
}
