//! `price_collar`: a limit price must not lie too far beyond the reference price on the losing side: above it for buys,
//! below it for sells.

use crate::domain::decimal::Decimal;
use crate::domain::metadata::Metadata;
use crate::domain::order_terms::Side;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::risk::{Evaluation, RuleInput};

pub(in crate::risk) const ID: &str = "price_collar";

pub(in crate::risk) fn check(input: &RuleInput<'_>, assessment: &mut Evaluation) {
    if !input.has_market_price {
        // What an opening would be worth is not known; a reduction with a limit price of its own may pass.
        let (symbol, venue) = (&input.instrument.symbol, &input.instrument.venue);
        assessment.add_opening_lock(RuleSignal {
            rule_id: ID,
            level: SignalLevel::Lock,
            code: ReasonCode::ReferencePriceMissing,
            message: format!(
                "there is no recent price of {symbol} at {venue} on market.quotes (risk.quote_max_age_ms says how \
                 recent); until there is one, only reductions with a limit price pass"
            ),
            metadata: Metadata::new(),
        });
        return;
    }
    let Some(price) = input.intent.price else { return };
    let (reference, percent) = (input.reference_price.decimal(), input.limits.price_collar_percent);
    let share = match input.intent.side {
        Side::Buy => 100 + percent,
        Side::Sell => 100 - percent,
    };
    let bound = reference.checked_mul(Decimal::from(share));
    let hundredfold = price.decimal().checked_mul(Decimal::from(100));
    let is_beyond = match (bound, hundredfold, input.intent.side) {
        (Some(bound), Some(price), Side::Buy) => price > bound,
        (Some(bound), Some(price), Side::Sell) => price < bound,
        // What cannot be compared is not let pass.
        _ => true,
    };
    if !is_beyond {
        return;
    }
    assessment.add_opening_lock(RuleSignal {
        rule_id: ID,
        level: SignalLevel::Lock,
        code: ReasonCode::RiskLocked,
        message: format!("the limit price {price} lies more than {percent} % beyond the reference price {reference}"),
        metadata: Metadata::new()
            .with("value", price.decimal())
            .with("reference_price", reference)
            .with("limit_percent", percent),
    });
}
