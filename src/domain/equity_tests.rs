use crate::domain::equity::*;
use crate::domain::money::MAX_EXACT_INTEGER;

type ValuationMap = BTreeMap<(VenueId, Symbol), ValuationInputs>;

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn key(symbol: &str) -> (VenueId, Symbol) {
    (VenueId::new("binance.spot").unwrap(), Symbol::parse(symbol).unwrap())
}

/// Returns sums of lots, base asset fees (1e-8), cash flow (1e-6) and fees (1e-6).
fn position_sums(account: &str, symbol: &str, [position, base_fees, cash_flow, fees]: [i64; 4]) -> PositionSums {
    let (venue, symbol) = key(symbol);
    PositionSums {
        account_id: AccountId::new(account).unwrap(),
        venue,
        symbol,
        position_lots: position,
        base_fees,
        cash_flow,
        fees,
    }
}

fn valuations(rows: &[(&str, &str, &str, &str)]) -> ValuationMap {
    let valuation = |(symbol, lot, rate, mark): &(&str, &str, &str, &str)| {
        let valuation = ValuationInputs {
            lot_size: number(lot),
            base_rate: number(rate),
            mark: Price::new(number(mark)).unwrap(),
        };
        (key(symbol), valuation)
    };
    rows.iter().map(valuation).collect()
}

fn account_equity(equities: &Equities, account: &str) -> Option<i64> {
    equities.accounts[&AccountId::new(account).unwrap()].map(Micros::units)
}

#[test]
fn equity_is_cash_flow_less_fees_plus_marked_positions() {
    // symbol, lot, rate, mark; position, base fees, cash flow, fees → equity
    for (valuation, sums, equity) in [
        // 0.1 BTC bought at 30 000, marked there and at 29 000.
        (
            ("BTC", "0.00001", "1", "30000"),
            [10_000, 0, -3_000_000_000, 0],
            Some(0),
        ),
        (
            ("BTC", "0.00001", "1", "29000"),
            [10_000, 0, -3_000_000_000, 0],
            Some(-100_000_000),
        ),
        // The same with a fee of 0.0001 BTC, and one of 3 USD.
        (
            ("BTC", "0.00001", "1", "30000"),
            [10_000, 10_000, -3_000_000_000, 0],
            Some(-3_000_000),
        ),
        (
            ("BTC", "0.00001", "1", "30000"),
            [10_000, 0, -3_000_000_000, 3_000_000],
            Some(-3_000_000),
        ),
        // Short: 10 sold at 180, marked at 190, in a currency worth 1.08.
        (
            ("SAP", "1", "1.08", "190"),
            [-10, 0, 1_944_000_000, 0],
            Some(-108_000_000),
        ),
        // Fractions of a millionth round down, for both signs.
        (("BTC", "0.00000001", "1", "0.01"), [1, 0, 0, 0], Some(0)),
        (("BTC", "0.00000001", "1", "0.01"), [-1, 0, 0, 0], Some(-1)),
        (
            ("BTC", "0.00000001", "0.00000001", "0.00000001"),
            [-1, 0, 0, 0],
            Some(-1),
        ),
        // Outside the exact range.
        (("BTC", "1", "1", "999999999"), [9_007_200, 0, 0, 0], None),
        (
            ("BTC", "99999999999", "999999999", "999999999"),
            [MAX_EXACT_INTEGER, 0, 0, 0],
            None,
        ),
    ] {
        let equities = compute_equities(&[position_sums("a", valuation.0, sums)], &valuations(&[valuation]));
        assert_eq!(account_equity(&equities, "a"), equity, "{valuation:?} {sums:?}");
        assert_eq!(equities.total.map(Micros::units), equity, "{valuation:?} {sums:?}");
    }
}

#[test]
fn account_is_rounded_once_and_not_per_symbol() {
    let marks = [("A", "0.00000001", "1", "50"), ("B", "0.00000001", "1", "50")];
    let positions = [
        position_sums("a", "A", [1, 0, 0, 0]),
        position_sums("a", "B", [1, 0, 0, 0]),
    ];
    assert_eq!(
        account_equity(&compute_equities(&positions, &valuations(&marks)), "a"),
        Some(1)
    );
}

#[test]
fn missing_mark_makes_an_equity_unknown_only_where_it_is_needed() {
    let positions = [
        position_sums("long", "BTC", [5, 3, -100, 0]),
        position_sums("short", "BTC", [-5, -3, 120, 0]),
        position_sums("flat", "BTC", [0, 0, 7, 2]),
        position_sums("mixed", "BTC", [0, 0, 1, 0]),
        position_sums("mixed", "ETH", [1, 0, -2_000_000, 0]),
    ];
    let marks = valuations(&[("ETH", "0.01", "1", "300")]);
    let equities = compute_equities(&positions, &marks);
    assert_eq!(account_equity(&equities, "long"), None);
    assert_eq!(account_equity(&equities, "short"), None);
    assert_eq!(account_equity(&equities, "flat"), Some(5));
    assert_eq!(account_equity(&equities, "mixed"), Some(1_000_001));
    // The net position in BTC is zero.
    assert_eq!(equities.total.map(Micros::units), Some(-100 + 120 + 5 + 1_000_001));
    let empty = compute_equities(&[], &BTreeMap::new());
    assert_eq!((empty.total, empty.accounts.len()), (Some(Micros::ZERO), 0));
}
