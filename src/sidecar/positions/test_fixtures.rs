//! Positions for tests.

use crate::domain::decimal::Decimal;
use crate::domain::order_terms::Mode;
use crate::domain::position_book::PositionBook;
use crate::domain::quantity::Price;
use crate::order_log::PositionRow;

/// Returns the position that results from trades, each of a quantity at a price.
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
