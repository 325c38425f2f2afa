//! How far an adjustment moves the shared sums.

use crate::domain::decimal::Decimal;
use crate::domain::instrument::Instrument;
use crate::domain::money::{Micros, Rounding};
use crate::domain::quantity::{Price, to_quantity_units};
use crate::domain::settlement::SumDeltas;

/// Why a position cannot be adjusted by a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdjustmentError {
    /// Its quantity or its value exceeds the range of exact numbers.
    #[error("is worth more than can be counted exactly (9007199254.740991 of the base currency)")]
    ExceedsExactRange,
}

/// Returns how far a position adjustment moves the shared sums. It raises position and long exposure by its quantity, lowers
/// the short exposure by it, and lowers the cash flow by its value in the base currency, rounded against us.
///
/// # Errors
/// When an amount cannot be counted exactly.
pub fn position_adjustment_deltas(
    instrument: &Instrument,
    quantity: Decimal,
    price: Price,
) -> Result<SumDeltas, AdjustmentError> {
    let moved = to_quantity_units(quantity).ok_or(AdjustmentError::ExceedsExactRange)?;
    let paid = [quantity.negated(), price.decimal(), instrument.base_rate];
    let cash_flow = Micros::from_product(paid, Rounding::Down).ok_or(AdjustmentError::ExceedsExactRange)?;
    Ok(SumDeltas {
        long: moved,
        short: -moved,
        position: moved,
        cash_flow: cash_flow.units(),
        ..SumDeltas::default()
    })
}

/// Returns how far the fee of some fills moves the shared sums at a price in the base currency, rounded against us: the
/// fees of the day, what fills have made, and the number of fills whose fee has no price.
///
/// # Errors
/// When the amount cannot be counted exactly.
pub fn fee_adjustment_deltas(amount: Decimal, price: Price, fills: u32) -> Result<SumDeltas, AdjustmentError> {
    let factors = [amount, price.decimal(), Decimal::from(1)];
    let fees = Micros::from_product(factors, Rounding::Up).ok_or(AdjustmentError::ExceedsExactRange)?;
    Ok(SumDeltas {
        fees: fees.units(),
        fill_result: -fees.units(),
        unpriced_fees: -i64::from(fills),
        ..SumDeltas::default()
    })
}

/// Returns how far a fee without a price moves the shared sums: the number of fills whose fee has none.
pub fn unpriced_fee_deltas() -> SumDeltas {
    SumDeltas {
        unpriced_fees: 1,
        ..SumDeltas::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{BrokerId, VenueId};
    use crate::domain::quantity::Quantity;
    use crate::domain::symbol::Symbol;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn instrument(lot_size: &str, base_rate: &str) -> Instrument {
        let (price, quantity) = (Price::new(number("1")).unwrap(), Quantity::new(number("1")).unwrap());
        Instrument {
            broker: BrokerId::new("b").unwrap(),
            venue: VenueId::new("v").unwrap(),
            symbol: Symbol::parse("S").unwrap(),
            reference_price: price,
            tick_size: price,
            lot_size: Quantity::new(number(lot_size)).unwrap(),
            max_order_size: quantity,
            max_position: quantity,
            max_notional: number("1"),
            can_short: false,
            base_asset: None,
            quote: "USD".to_owned(),
            base_rate: number(base_rate),
        }
    }

    #[test]
    fn position_adjustment_moves_the_sums_and_rounds_against_us() {
        let deltas = |lot: &str, rate: &str, quantity: &str, price: &str| {
            position_adjustment_deltas(
                &instrument(lot, rate),
                number(quantity),
                Price::new(number(price)).unwrap(),
            )
            .map(|deltas| (deltas.position, deltas.long, deltas.short, deltas.cash_flow))
        };
        let (one, half) = (100_000_000, 50_000_000);
        assert_eq!(
            deltas("0.01", "1", "1.5", "180"),
            Ok((one + half, one + half, -one - half, -270_000_000))
        );
        assert_eq!(
            deltas("0.01", "1", "-1.5", "180"),
            Ok((-one - half, -one - half, one + half, 270_000_000))
        );
        // 1e-8 × 10 = 1e-7 of the base currency: a payment rounds to one millionth, a receipt to zero.
        assert_eq!(deltas("0.00000001", "1", "0.00000001", "10"), Ok((1, 1, -1, -1)));
        assert_eq!(deltas("0.00000001", "1", "-0.00000001", "10"), Ok((-1, -1, 1, 0)));
        assert_eq!(
            deltas("1", "0.5", "3", "2.000001"),
            Ok((3 * one, 3 * one, -3 * one, -3_000_002))
        );
        // A holding is corrected by any quantity of 8 decimals, whatever the lot is.
        assert_eq!(
            deltas("0.01", "1", "0.00100001", "1"),
            Ok((100_001, 100_001, -100_001, -1_001))
        );
        assert_eq!(
            deltas("0.01", "1", "0.000000001", "1"),
            Err(AdjustmentError::ExceedsExactRange)
        );
        assert_eq!(
            deltas("1", "1", "99999999999", "999999999"),
            Err(AdjustmentError::ExceedsExactRange)
        );
        // The sums count a quantity beyond the range of the lots of an order.
        let most = 99_999_999_999 * one;
        assert_eq!(
            deltas("0.00000001", "1", "99999999999", "0.00000001"),
            Ok((most, most, -most, -1_000_000_000))
        );
        assert_eq!(
            deltas("1", "1", "9007199254740992", "0.00000001"),
            Err(AdjustmentError::ExceedsExactRange)
        );
    }

    #[test]
    fn fee_is_a_loss_of_its_day_at_its_price_and_rounds_against_us() {
        let deltas = |amount: &str, price: &str| {
            fee_adjustment_deltas(number(amount), Price::new(number(price)).unwrap(), 3)
                .map(|deltas| (deltas.fees, deltas.fill_result, deltas.unpriced_fees, deltas.position))
        };
        assert_eq!(deltas("0.002", "612.5"), Ok((1_225_000, -1_225_000, -3, 0)));
        assert_eq!(deltas("0.00000001", "1"), Ok((1, -1, -3, 0)));
        assert_eq!(deltas("-0.00000001", "1"), Ok((0, 0, -3, 0)));
        assert_eq!(
            deltas("99999999999", "999999999"),
            Err(AdjustmentError::ExceedsExactRange)
        );
    }
}
