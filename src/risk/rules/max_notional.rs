//! `max_notional`: the notional cap per symbol. It limits the order alone, and the position that the account would hold
//! after every open order of the order's side fills. It is compared as a quantity: floor(cap ÷ max(limit price,
//! reference price)).

use crate::domain::decimal::Decimal;
use crate::domain::metadata::Metadata;
use crate::domain::quantity::{MAX_AMOUNT_DECIMALS, MAX_QUANTITY_UNITS, QuantityUnits};
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::risk::cap::CapUnit;
use crate::risk::evaluation::Evaluation;
use crate::risk::rule_input::RuleInput;
use crate::risk::rules::exposure_cap::exposure_cap;

pub(in crate::risk) const ID: &str = "max_notional";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    let unit = CapUnit::Quantity;
    let limit = notional_limit_units(input).unwrap_or(0);
    if input.quantity_units > limit {
        let (cap, price) = (input.instrument.max_notional, input.exposure_price());
        let symbol = &input.intent.symbol;
        evaluation.add_opening_lock(RuleSignal::lock(
            ID,
            ReasonCode::RiskLocked,
            format!("the order alone exceeds the notional cap of {cap} for {symbol}"),
            Metadata::new()
                .with("value", unit.to_metadata_value(input.quantity_units))
                .with("limit", unit.to_metadata_value(limit))
                .with("max_notional", cap)
                .with("price", price.decimal()),
        ));
    }
    evaluation.add_cap(exposure_cap(ID, input, limit));
}

/// Returns the cap in units of 1e-8, rounded down; `None` when it cannot be counted, which leaves no room.
fn notional_limit_units(input: &RuleInput<'_>) -> Option<QuantityUnits> {
    let price = input.exposure_price().decimal();
    let unit_value = price
        .checked_mul(input.instrument.base_rate)?
        .checked_mul(Decimal::from_parts(1, MAX_AMOUNT_DECIMALS)?)?;
    let units = floor_div(input.instrument.max_notional, unit_value)?;
    Some(units.min(MAX_QUANTITY_UNITS))
}

/// Returns the whole part of a quotient of two positive numbers.
fn floor_div(dividend: Decimal, divisor: Decimal) -> Option<i128> {
    let scale = dividend.scale().max(divisor.scale());
    dividend
        .to_scaled_integer(scale)?
        .checked_div(divisor.to_scaled_integer(scale)?)
}
