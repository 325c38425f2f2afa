//! `max_notional`: the notional cap per symbol, for the order alone and for what the account would hold with every
//! open order of that side filled. It is compared as a quantity: floor(cap ÷ max(limit price, reference price)).

use crate::domain::decimal::Decimal;
use crate::domain::metadata::Metadata;
use crate::domain::money::MAX_EXACT_INTEGER;
use crate::domain::order_terms::Side;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::risk::cap::{CapBound, CapMeasure, CapUnit};
use crate::risk::{Cap, Evaluation, RuleInput};

pub(in crate::risk) const ID: &str = "max_notional";

pub(in crate::risk) fn check(input: &RuleInput<'_>, assessment: &mut Evaluation) {
    let lot = input.instrument.lot_size.decimal();
    let limit_lots = notional_limit_lots(input).unwrap_or(0);
    if input.quantity_lots > limit_lots {
        let (cap, price) = (input.instrument.max_notional, input.exposure_price());
        assessment.add_opening_lock(RuleSignal {
            rule_id: ID,
            level: SignalLevel::Lock,
            code: ReasonCode::RiskLocked,
            message: format!(
                "the order alone is above the notional cap of {cap} for {}",
                input.intent.symbol
            ),
            metadata: Metadata::new()
                .with("value", CapUnit::Lots(lot).to_metadata_value(input.quantity_lots))
                .with("limit", CapUnit::Lots(lot).to_metadata_value(limit_lots))
                .with("max_notional", cap)
                .with("price", price.decimal()),
        });
    }
    assessment.add_cap(Cap {
        rule_id: ID,
        label: input.side_label(),
        code: ReasonCode::RiskLocked,
        measure: CapMeasure::Exposure,
        delta: input.quantity_lots,
        offset: 0,
        limit: limit_lots,
        bound: CapBound::Inclusive,
        unit: CapUnit::Lots(lot),
        description: match input.intent.side {
            Side::Buy => "the account's position with its open buys",
            Side::Sell => "the account's short position with its open sells",
        },
        allows_reductions: true,
    });
}

/// The cap in lots, rounded down. `None` when it cannot be counted, which leaves no room at all.
fn notional_limit_lots(input: &RuleInput<'_>) -> Option<i64> {
    let price = input.exposure_price().decimal();
    let lot_value = price
        .checked_mul(input.instrument.base_rate)?
        .checked_mul(input.instrument.lot_size.decimal())?;
    let lots = floor_div(input.instrument.max_notional, lot_value)?;
    Some(i64::try_from(lots).unwrap_or(MAX_EXACT_INTEGER).min(MAX_EXACT_INTEGER))
}

fn floor_div(number: Decimal, by: Decimal) -> Option<i128> {
    let scale = number.scale().max(by.scale());
    number
        .to_scaled_integer(scale)?
        .checked_div(by.to_scaled_integer(scale)?)
}
