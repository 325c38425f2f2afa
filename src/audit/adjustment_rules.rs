//! The rules that one adjustment has to keep: what it moves follows from its terms.

use crate::audit::finding::{Finding, FindingKind};
use crate::domain::decimal::Decimal;
use crate::domain::money::{Micros, Rounding};
use crate::domain::quantity::to_quantity_units;
use crate::domain::settlement::SumDeltas;
use crate::wire::adjustment::AdjustmentEvent;
use crate::wire::settlement::SettlementDeltas;

/// Returns what an adjustment moves otherwise than its terms say.
pub(super) fn check_adjustment(event: &AdjustmentEvent) -> Vec<Finding> {
    let Some(wanted) = wanted_moves(event) else {
        let pair = ("one of position, cash and fee, in the exact range", "another");
        return vec![Finding::of_break(FindingKind::Adjustment, "effect", pair)];
    };
    let wanted = SettlementDeltas::from(wanted);
    if wanted == event.deltas {
        return Vec::new();
    }
    let text = |deltas: &SettlementDeltas| serde_json::to_string(deltas).unwrap_or_default();
    let pair = (text(&wanted), text(&event.deltas));
    vec![Finding::of_break(FindingKind::Adjustment, "deltas", pair)]
}

/// Returns what the terms of an adjustment move; `None` where they are not one whole effect, or beyond the exact range.
fn wanted_moves(event: &AdjustmentEvent) -> Option<SumDeltas> {
    match (&event.position, &event.cash, &event.fee) {
        (Some(position), None, None) => {
            let units = to_quantity_units(position.quantity)?;
            let factors = [position.price, position.quantity.abs(), position.base_rate];
            let cash_flow = match position.quantity.is_positive() {
                true => -Micros::from_product(factors, Rounding::Up)?.units(),
                false => Micros::from_product(factors, Rounding::Down)?.units(),
            };
            Some(SumDeltas {
                long: units,
                short: -units,
                position: units,
                cash_flow,
                ..SumDeltas::default()
            })
        }
        (None, Some(cash), None) => Some(SumDeltas {
            cash_flow: Micros::from_decimal(*cash, Rounding::Down)?.units(),
            ..SumDeltas::default()
        }),
        (None, None, Some(fee)) => {
            let Some(price) = fee.price else {
                return Some(SumDeltas {
                    unpriced_fees: i64::from(fee.fills),
                    ..SumDeltas::default()
                });
            };
            let fees = Micros::from_product([fee.amount, price, Decimal::from(1)], Rounding::Up)?.units();
            Some(SumDeltas {
                fees,
                fill_result: -fees,
                unpriced_fees: -i64::from(fee.fills),
                ..SumDeltas::default()
            })
        }
        _ => None,
    }
}
