//! `price_collar`: the largest distance of a limit price beyond the reference price on the losing side: above it for
//! buys, below it for sells.

use crate::domain::decimal::Decimal;
use crate::domain::metadata::Metadata;
use crate::domain::order_terms::Side;
use crate::domain::reason::ReasonCode;
use crate::domain::rule_signal::RuleSignal;
use crate::risk::evaluation::Evaluation;
use crate::risk::rule_input::RuleInput;

pub(super) const ID: &str = "price_collar";

pub(super) fn check(input: &RuleInput<'_>, evaluation: &mut Evaluation) {
    if !input.has_market_price {
        // The value of an opening is unknown. A reduction with its own limit price may pass.
        let (symbol, venue) = (&input.instrument.symbol, &input.instrument.venue);
        evaluation.add_opening_lock(RuleSignal::lock(
            ID,
            ReasonCode::ReferencePriceMissing,
            format!(
                "there is no recent price of {symbol} at {venue} on market.quotes (risk.quote_max_age_ms sets the \
                 maximum age); until there is one, only reductions with a limit price pass"
            ),
            Metadata::new(),
        ));
        return;
    }
    let Some(price) = input.intent.price else { return };
    let (reference, percent) = (input.reference_price.decimal(), input.limits.price_collar_percent);
    if !is_beyond_collar(input.intent.side, price.decimal(), reference, percent) {
        return;
    }
    evaluation.add_opening_lock(RuleSignal::lock(
        ID,
        ReasonCode::RiskLocked,
        format!("the limit price {price} is more than {percent} % beyond the reference price {reference}"),
        Metadata::new()
            .with("value", price.decimal())
            .with("reference_price", reference)
            .with("limit_percent", percent),
    ));
}

/// Reports whether a price is more than a percentage beyond the reference price. Prices that cannot be compared exactly
/// count as beyond.
fn is_beyond_collar(side: Side, price: Decimal, reference: Decimal, percent: i64) -> bool {
    let factor = match side {
        Side::Buy => 100 + percent,
        Side::Sell => 100 - percent,
    };
    let bound = reference.checked_mul(Decimal::from(factor));
    let hundredfold = price.checked_mul(Decimal::from(100));
    match (bound, hundredfold, side) {
        (Some(bound), Some(price), Side::Buy) => price > bound,
        (Some(bound), Some(price), Side::Sell) => price < bound,
        _ => true,
    }
}
