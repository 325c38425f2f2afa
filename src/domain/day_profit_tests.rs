use crate::domain::day_profit::*;
use crate::domain::money::MAX_EXACT_INTEGER;

type ValuationMap = BTreeMap<(VenueId, Symbol), ValuationInputs>;

const ONE: QuantityUnits = 100_000_000;
const DATE: &str = "2026-03-02";

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn date() -> TradingDate {
    TradingDate::parse(DATE).unwrap()
}

fn key(symbol: &str) -> (VenueId, Symbol) {
    (VenueId::new("binance.spot").unwrap(), Symbol::parse(symbol).unwrap())
}

/// Returns sums of the trading day: the position and the position at its start (1e-8), cash flow and fees (1e-6).
fn position_sums(symbol: &str, [position, start]: [QuantityUnits; 2], [cash_flow, fees]: [i64; 2]) -> PositionSums {
    let (venue, symbol) = key(symbol);
    PositionSums {
        venue,
        symbol,
        position,
        start,
        day: date().days_since_1970(),
        cash_flow,
        fees,
        open_orders: 0,
    }
}

/// Returns the valuations of symbol, rate, mark and mark at the start; an empty text is a missing price.
fn valuations(rows: &[(&str, &str, &str, &str)]) -> ValuationMap {
    let price = |text: &str| (!text.is_empty()).then(|| Price::new(number(text)).unwrap());
    let valuation = |(symbol, rate, mark, start_mark): &(&str, &str, &str, &str)| {
        let valuation = ValuationInputs {
            base_rate: number(rate),
            mark: price(mark),
            start_mark: price(start_mark),
        };
        (key(symbol), valuation)
    };
    rows.iter().map(valuation).collect()
}

/// Returns the profit in millionths, and the symbols without a price.
fn day_profit(positions: &[PositionSums], valuations: &ValuationMap) -> Option<(i64, Vec<String>)> {
    let day = compute_day_profit(positions, date(), valuations)?;
    let unpriced = day.unpriced.iter().map(|(_, symbol)| symbol.to_string()).collect();
    Some((day.profit.units(), unpriced))
}

#[test]
fn profit_is_cash_flow_less_fees_plus_the_change_of_marked_positions() {
    let most = MAX_EXACT_INTEGER;
    // symbol, rate, mark, mark at the start; position, position at the start; cash flow, fees → profit
    for (valuation, positions, flows, profit) in [
        // 0.1 BTC bought at 30 000, marked there and at 29 000.
        (("BTC", "1", "30000", ""), [ONE / 10, 0], [-3_000_000_000, 0], Some(0)),
        (
            ("BTC", "1", "29000", ""),
            [ONE / 10, 0],
            [-3_000_000_000, 0],
            Some(-100_000_000),
        ),
        // The same with a fee of 0.0001 BTC, and one of 3 USD.
        (
            ("BTC", "1", "30000", ""),
            [ONE / 10 - 10_000, 0],
            [-3_000_000_000, 0],
            Some(-3_000_000),
        ),
        (
            ("BTC", "1", "30000", ""),
            [ONE / 10, 0],
            [-3_000_000_000, 3_000_000],
            Some(-3_000_000),
        ),
        // Short: 10 sold at 180, marked at 190, in a currency worth 1.08.
        (
            ("SAP", "1.08", "190", ""),
            [-10 * ONE, 0],
            [1_944_000_000, 0],
            Some(-108_000_000),
        ),
        // Held since before: only the change of its mark counts, both ways.
        (
            ("BTC", "1", "29000", "30000"),
            [ONE / 10, ONE / 10],
            [0, 0],
            Some(-100_000_000),
        ),
        (
            ("BTC", "1", "29000", "30000"),
            [-ONE / 10, -ONE / 10],
            [0, 0],
            Some(100_000_000),
        ),
        // Held, and sold today at 31 000: the start's mark is its cost.
        (
            ("BTC", "1", "", "30000"),
            [0, ONE / 10],
            [3_100_000_000, 0],
            Some(100_000_000),
        ),
        // Held, and turned: 0.1 long at 30 000 becomes 0.1 short, sold at 29 500, marked at 29 000.
        (
            ("BTC", "1", "29000", "30000"),
            [-ONE / 10, ONE / 10],
            [5_900_000_000, 0],
            Some(0),
        ),
        // Fractions of a millionth round down, for both signs.
        (("BTC", "1", "0.01", ""), [1, 0], [0, 0], Some(0)),
        (("BTC", "1", "0.01", ""), [-1, 0], [0, 0], Some(-1)),
        (("BTC", "0.00000001", "0.00000001", ""), [-1, 0], [0, 0], Some(-1)),
        (("BTC", "1", "", "0.01"), [0, 1], [0, 0], Some(-1)),
        (("BTC", "1", "", "0.01"), [0, -1], [0, 0], Some(0)),
        // The ends of the exact range, and beyond them.
        (("BTC", "1", "1", ""), [0, 0], [most, 0], Some(most)),
        (("BTC", "1", "1", ""), [0, 0], [-most, 0], Some(-most)),
        (("BTC", "1", "1", ""), [0, 0], [-most, 1], None),
        (("BTC", "1", "999999999", ""), [10 * ONE, 0], [0, 0], None),
        (
            ("BTC", "1", "999999999", "999999999"),
            [10 * ONE, 10 * ONE],
            [0, 0],
            Some(0),
        ),
        (
            ("BTC", "999999999", "999999999", ""),
            [ONE * i128::from(most), 0],
            [0, 0],
            None,
        ),
    ] {
        let found = day_profit(
            &[position_sums(valuation.0, positions, flows)],
            &valuations(&[valuation]),
        );
        let expected = profit.map(|profit| (profit, vec![]));
        assert_eq!(found, expected, "{valuation:?} {positions:?} {flows:?}");
    }
}

#[test]
fn profit_is_rounded_once_and_not_per_symbol() {
    let marks = valuations(&[("A", "1", "50", ""), ("B", "1", "50", "")]);
    let positions = [position_sums("A", [1, 0], [0, 0]), position_sums("B", [1, 0], [0, 0])];
    assert_eq!(day_profit(&positions, &marks), Some((1, vec![])));
    let both_short = [position_sums("A", [-1, 0], [0, 0]), position_sums("B", [-1, 0], [0, 0])];
    assert_eq!(day_profit(&both_short, &marks), Some((-1, vec![])));
}

#[test]
fn sums_of_an_earlier_day_start_the_new_one_with_their_position() {
    let marks = valuations(&[("BTC", "1", "29000", "30000")]);
    let mut sums = position_sums("BTC", [ONE / 10, ONE / 5], [4_000_000_000, 7_000_000]);
    // On its own day: the flows less 0.2 at the start's mark, plus 0.1 at the present one.
    assert_eq!(
        day_profit(std::slice::from_ref(&sums), &marks),
        Some((4_000_000_000 - 7_000_000 - 6_000_000_000 + 2_900_000_000, vec![]))
    );
    for days_before in [1, 2, 400] {
        sums.day = date().days_since_1970() - days_before;
        assert_eq!(
            day_profit(std::slice::from_ref(&sums), &marks),
            Some((-100_000_000, vec![])),
            "{days_before} days before"
        );
    }
    // A flat account that traded yesterday has no profit today, and needs no price.
    sums.position = 0;
    assert_eq!(day_profit(&[sums], &BTreeMap::new()), Some((0, vec![])));
}

#[test]
fn instrument_without_a_needed_price_is_left_out_and_named() {
    let eth = position_sums("ETH", [ONE, 0], [-2_000_000, 0]);
    for (valuation, positions, is_unpriced) in [
        (("BTC", "1", "", ""), [5, 0], true),
        (("BTC", "1", "", ""), [-5, 0], true),
        (("BTC", "1", "", "30000"), [5, 5], true),
        (("BTC", "1", "30000", ""), [5, 5], true),
        (("BTC", "1", "30000", ""), [0, 5], true),
        // A price that no position needs may be missing.
        (("BTC", "1", "", ""), [0, 0], false),
        (("BTC", "1", "", "30000"), [0, 0], false),
    ] {
        let marks = valuations(&[("ETH", "1", "300", ""), valuation]);
        // Its flows are not a profit or a loss of their own: they are the price of the position that is left out.
        let btc = position_sums("BTC", positions, [-70, 20]);
        let own = if is_unpriced { 0 } else { -90 };
        let unpriced = if is_unpriced { vec!["BTC".to_owned()] } else { vec![] };
        assert_eq!(
            day_profit(&[btc, eth.clone()], &marks),
            Some((298_000_000 + own, unpriced)),
            "{valuation:?} {positions:?}"
        );
    }
    // The same where the instrument is not in the settings.
    let unknown = position_sums("BTC", [5, 0], [-70, 20]);
    assert_eq!(
        day_profit(&[unknown], &BTreeMap::new()),
        Some((0, vec!["BTC".to_owned()]))
    );
    assert_eq!(day_profit(&[], &BTreeMap::new()), Some((0, vec![])));
}
