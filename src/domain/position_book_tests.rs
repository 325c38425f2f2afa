//! Position books compared with examples, with exact fractions, and with the cash flow.

use proptest::prelude::*;

use crate::domain::position_book::*;

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    Price::new(number(text)).unwrap()
}

fn micros(units: i64) -> Micros {
    Micros::new(units).unwrap()
}

fn book_after_trades(trades: &[(&str, &str)]) -> PositionBook {
    trades.iter().fold(PositionBook::default(), |book, (quantity, at)| {
        book.apply_trade(number(quantity), price(at)).unwrap()
    })
}

#[test]
fn position_is_opened_increased_reduced_and_reversed() {
    let one = Decimal::from(1);
    for (trades, quantity, average, realized) in [
        (&[][..], "0", None, 0),
        (&[("1", "100")], "1", Some("100"), 0),
        (&[("1", "100"), ("1", "110")], "2", Some("105"), 0),
        (
            &[("1", "100"), ("1", "110"), ("-1", "120")],
            "1",
            Some("105"),
            15_000_000,
        ),
        (&[("1", "100"), ("-1", "90")], "0", None, -10_000_000),
        // Across zero: the old position is closed at its average, and the remainder opens at the trade's price.
        (&[("1", "100"), ("-3", "130")], "-2", Some("130"), 30_000_000),
        (
            &[("1", "100"), ("-3", "130"), ("5", "120")],
            "3",
            Some("120"),
            50_000_000,
        ),
        (&[("-2", "50"), ("-2", "70")], "-4", Some("60"), 0),
        (&[("-2", "50"), ("1", "40")], "-1", Some("50"), 10_000_000),
        (&[("-2", "50"), ("1", "70")], "-1", Some("50"), -20_000_000),
        // A third is rounded to 12 decimals, ties to even; closing the position loses nothing.
        (&[("2", "100"), ("1", "101")], "3", Some("100.333333333333"), 0),
        (&[("2", "100"), ("1", "101"), ("-3", "101")], "0", None, 2_000_000),
        (&[("0.00000001", "0.00000001")], "0.00000001", Some("0.00000001"), 0),
    ] {
        let book = book_after_trades(trades);
        assert_eq!(book.quantity(), number(quantity), "{trades:?}");
        assert_eq!(book.average_price(), average.map(number), "{trades:?}");
        assert_eq!(book.realized_pnl(one), Some(micros(realized)), "{trades:?}");
        assert_eq!(book.is_flat(), average.is_none());
        assert_eq!(PositionBook::from_parts(book.parts()), Ok(book));
    }
}

#[test]
fn base_asset_fees_reduce_the_position_and_other_fees_the_profit() {
    let one = Decimal::from(1);
    let book = book_after_trades(&[("1", "30000")])
        .apply_base_asset_fee(100_000)
        .unwrap();
    assert_eq!(book.quantity(), number("0.999"));
    assert_eq!(book.average_price(), Some(number("30000")));
    assert_eq!(book.realized_pnl(one), Some(micros(-30_000_000)));
    // A base asset fee increases a short position and lowers its average price.
    let short = book_after_trades(&[("-1", "100")])
        .apply_base_asset_fee(100_000_000)
        .unwrap();
    assert_eq!(
        (short.quantity(), short.average_price()),
        (number("-2"), Some(number("50")))
    );
    assert_eq!(short.unrealized_pnl(price("100"), one), Some(micros(-100_000_000)));
    // A fee larger than the position reverses it, at a price of zero.
    let reversed = book_after_trades(&[("1", "100")])
        .apply_base_asset_fee(300_000_000)
        .unwrap();
    assert_eq!(
        (reversed.quantity(), reversed.average_price()),
        (number("-2"), Some(Decimal::ZERO))
    );
    assert_eq!(reversed.realized_pnl(one), Some(micros(-100_000_000)));
    let charged = book_after_trades(&[("2", "10"), ("-1", "12")])
        .apply_fee(micros(500_001))
        .unwrap();
    assert_eq!(charged.realized_pnl(one), Some(micros(1_499_999)));
    // The rate applies to the quote currency; fees are in the base currency already.
    assert_eq!(charged.realized_pnl(number("0.5")), Some(micros(499_999)));
}

#[test]
fn values_are_in_the_base_currency_and_rounded_down() {
    let book = book_after_trades(&[("3", "10"), ("-1", "10.0000001")]);
    assert_eq!(book.realized_pnl(Decimal::from(1)), Some(micros(0)));
    assert_eq!(book.market_value(price("11"), number("1.1")), Some(micros(24_200_000)));
    assert_eq!(book.unrealized_pnl(price("11"), number("1.1")), Some(micros(2_200_000)));
    assert_eq!(
        book.unrealized_pnl(price("9.9999999"), Decimal::from(1)),
        Some(micros(-1))
    );
    let short = book_after_trades(&[("-3", "10")]);
    assert_eq!(
        short.market_value(price("11"), Decimal::from(1)),
        Some(micros(-33_000_000))
    );
    assert_eq!(
        short.unrealized_pnl(price("11"), Decimal::from(1)),
        Some(micros(-3_000_000))
    );
    // A value beyond 2^53 − 1 millionths of the base currency has no result.
    let large = book_after_trades(&[("99999999999", "1")]);
    assert_eq!(large.market_value(price("999999999"), Decimal::from(1)), None);
}

#[test]
fn value_beyond_its_range_is_an_error() {
    let largest = PositionBookParts {
        quantity: QUANTITY_UNITS_BOUND - 1,
        cost: i128::MAX,
        realized: i128::MAX,
        fees: i128::MAX,
    };
    let book = PositionBook::from_parts(largest).unwrap();
    assert_eq!(
        book.apply_trade(number("1"), price("1")),
        Err(PositionBookError::ExceedsExactRange)
    );
    assert_eq!(
        book.apply_trade(number("-1"), price("999999999")),
        Err(PositionBookError::ExceedsExactRange)
    );
    assert_eq!(
        book.apply_trade(number("0.000000001"), price("1")),
        Err(PositionBookError::ExceedsExactRange)
    );
    assert_eq!(book.apply_fee(micros(1)), Err(PositionBookError::ExceedsExactRange));
    assert_eq!(book.realized_pnl(Decimal::from(1)), None);
    assert_eq!(
        book.apply_base_asset_fee(i64::MIN),
        Err(PositionBookError::ExceedsExactRange)
    );
    let smallest = PositionBookParts {
        quantity: 1 - QUANTITY_UNITS_BOUND,
        cost: i128::MIN,
        realized: i128::MIN,
        fees: i128::MIN,
    };
    let book = PositionBook::from_parts(smallest).unwrap();
    assert_eq!(book.apply_base_asset_fee(1), Err(PositionBookError::ExceedsExactRange));
    assert_eq!(
        book.apply_trade(number("1"), price("1")),
        Err(PositionBookError::ExceedsExactRange)
    );
    assert_eq!(book.market_value(price("1"), Decimal::from(1)), None);
    for (quantity, cost) in [
        (0, 1),
        (0, -1),
        (1, -1),
        (-1, 1),
        (QUANTITY_UNITS_BOUND, 1),
        (i128::MIN, 0),
    ] {
        let parts = PositionBookParts {
            quantity,
            cost,
            realized: 0,
            fees: 0,
        };
        assert_eq!(
            PositionBook::from_parts(parts),
            Err(PositionBookError::InconsistentParts)
        );
    }
}

/// A fraction in lowest terms, its denominator above zero.
#[derive(Debug, Clone, Copy)]
struct Fraction(i128, i128);

impl Fraction {
    fn new(numerator: i128, denominator: i128) -> Self {
        let (mut one, mut other) = (numerator.abs(), denominator.abs());
        while other != 0 {
            (one, other) = (other, one % other);
        }
        let divisor = one.max(1) * denominator.signum();
        Self(numerator / divisor, denominator / divisor)
    }

    fn add(self, other: Self) -> Self {
        Self::new(self.0 * other.1 + other.0 * self.1, self.1 * other.1)
    }

    fn mul_ratio(self, numerator: i128, denominator: i128) -> Self {
        Self::new(self.0 * numerator, self.1 * denominator)
    }

    /// Reports whether a value of a book equals the fraction within a tolerance in units of 1e-20.
    fn is_close_to(self, units: i128, tolerance: i128) -> bool {
        let scale = 10_i128.pow(COST_SCALE);
        (units * self.1 - self.0 * scale).abs() <= tolerance * self.1
    }
}

/// The textbook's position book: average price and realised profit as fractions, for whole quantities and prices.
#[derive(Debug, Clone, Copy)]
struct FractionBook {
    quantity: i128,
    average: Fraction,
    realized: Fraction,
}

impl FractionBook {
    fn apply_trade(&mut self, quantity: i128, price: i128) {
        let closed_quantity = quantity.abs().min(self.quantity.abs());
        if self.quantity.signum() * quantity.signum() >= 0 {
            let cost = self
                .average
                .mul_ratio(self.quantity, 1)
                .add(Fraction::new(quantity * price, 1));
            self.quantity += quantity;
            if self.quantity != 0 {
                self.average = cost.mul_ratio(1, self.quantity);
            }
            return;
        }
        let gain = Fraction::new(price, 1).add(self.average.mul_ratio(-1, 1));
        self.realized = self
            .realized
            .add(gain.mul_ratio(closed_quantity * self.quantity.signum(), 1));
        self.quantity += quantity;
        if quantity.abs() > closed_quantity {
            self.average = Fraction::new(price, 1);
        } else if self.quantity == 0 {
            self.average = Fraction::new(0, 1);
        }
    }
}

fn units(mantissa: i64) -> Decimal {
    Decimal::from_parts(i128::from(mantissa), QUANTITY_SCALE).unwrap()
}

proptest! {
    #[test]
    fn book_equals_the_textbooks(trades in prop::collection::vec((-12_i64..=12, 1_i64..=50), 0..9)) {
        let mut book = PositionBook::default();
        let zero = Fraction::new(0, 1);
        let mut textbook = FractionBook { quantity: 0, average: zero, realized: zero };
        for (count, &(quantity, at)) in (1..).zip(&trades) {
            let at_price = Price::new(Decimal::from(at)).unwrap();
            book = book.apply_trade(Decimal::from(quantity), at_price).unwrap();
            textbook.apply_trade(quantity.into(), at.into());
            let parts = book.parts();
            prop_assert_eq!(parts.quantity, textbook.quantity * 100_000_000);
            // Each closing trade rounds once.
            prop_assert!(textbook.realized.is_close_to(parts.realized, count), "{:?} {:?}", book, textbook);
            prop_assert!(textbook.average.mul_ratio(textbook.quantity, 1).is_close_to(parts.cost, count));
        }
    }

    #[test]
    fn realized_less_cost_is_the_cash_flow(
        trades in prop::collection::vec((any::<i64>(), 0_u32..18, 1_i64..100_000_000_000_000_000, 0_u32..17), 0..40),
        fees in prop::collection::vec(0_i64..1_000_000, 0..5),
    ) {
        let (mut book, mut paid) = (PositionBook::default(), 0_i128);
        for (quantity, quantity_digits, at, price_digits) in trades {
            // From single units to the whole range, evenly distributed by the number of digits.
            let quantity = units(quantity / 10_i64.pow(quantity_digits));
            let at = Price::new(units((at / 10_i64.pow(price_digits)).max(1))).unwrap();
            let cost = quantity.to_scaled_integer(8).unwrap().checked_mul(at.decimal().to_scaled_integer(8).unwrap() * PRICE_TO_COST_FACTOR);
            let Some(after) = cost.and_then(|cost| paid.checked_add(cost)) else { continue };
            let before = book;
            match before.apply_trade(quantity, at) {
                Ok(traded) => {
                    book = traded;
                    paid = after;
                }
                Err(error) => {
                    prop_assert_eq!(error, PositionBookError::ExceedsExactRange);
                    continue;
                }
            }
            let (was, is) = (before.parts(), book.parts());
            prop_assert_eq!(is.realized - is.cost, -paid);
            prop_assert_eq!(PositionBook::from_parts(is), Ok(book));
            prop_assert!(!book.is_flat() || is.cost == 0);
            // A reduction keeps the average price, within one unit of the displayed decimals and one of the rounding at
            // the close.
            if was.quantity.signum() * is.quantity.signum() > 0 && is.quantity.abs() < was.quantity.abs() {
                let (was, is) = (before.average_price().unwrap(), book.average_price().unwrap());
                let distance = (was.to_scaled_integer(12).unwrap() - is.to_scaled_integer(12).unwrap()).abs();
                prop_assert!(distance <= 2, "{} {}", was, is);
            }
        }
        let before = book.parts();
        for fee in &fees {
            book = book.apply_fee(micros(*fee)).unwrap();
        }
        let sum = fees.iter().copied().map(i128::from).sum::<i128>();
        prop_assert_eq!(book.parts(), PositionBookParts { fees: before.fees + sum, ..before });
    }

    #[test]
    fn extreme_values_neither_panic_nor_wrap(
        parts in (any::<i128>(), any::<i128>(), any::<i128>(), any::<i128>()),
        quantity in any::<i64>(),
        at in 1_i64..i64::MAX / 100,
        fee in any::<i64>(),
        rate in 0_i64..i64::MAX,
    ) {
        let (quantity_of, cost, realized, fees) = parts;
        let quantity_of = quantity_of % QUANTITY_UNITS_BOUND;
        let cost = if quantity_of == 0 { 0 } else { cost.saturating_abs().saturating_mul(quantity_of.signum()) };
        let book = PositionBook::from_parts(PositionBookParts { quantity: quantity_of, cost, realized, fees }).unwrap();
        let (at, rate) = (Price::new(units(at)).unwrap(), units(rate));
        if let Ok(after) = book.apply_trade(units(quantity), at) {
            let moved = i128::from(quantity).wrapping_mul(at.decimal().to_scaled_integer(8).unwrap() * PRICE_TO_COST_FACTOR);
            let paid = (cost.wrapping_sub(realized)).wrapping_add(moved);
            prop_assert_eq!(after.parts().cost.wrapping_sub(after.parts().realized), paid);
        }
        let _ = (book.apply_base_asset_fee(fee), book.quantity(), book.average_price(), book.realized_pnl(rate));
        let _ = (book.market_value(at, rate), book.unrealized_pnl(at, rate));
    }

    #[test]
    fn mul_div_equals_the_wide_quotient(one in any::<u128>(), other in any::<u128>(), by in 1_u128..MUL_DIV_DIVISOR_BOUND) {
        if let Some((quotient, rest)) = mul_div(one, other, by) {
            // The identity holds modulo 2^128.
            prop_assert_eq!(quotient.wrapping_mul(by).wrapping_add(rest), one.wrapping_mul(other));
            prop_assert!(rest < by);
        } else {
            prop_assert!(one.checked_mul(other).is_none());
        }
        let (small, few) = (one >> 64, other >> 64);
        prop_assert_eq!(mul_div(small, few, by), Some((small * few / by, small * few % by)));
    }

    #[test]
    fn mul_div_by_one_factor_returns_the_other(one in any::<u128>(), other in 1_u128..MUL_DIV_DIVISOR_BOUND) {
        prop_assert_eq!(mul_div(one, other, other), Some((one, 0)));
        prop_assert_eq!(mul_div(other, one, other), Some((one, 0)));
    }
}
