//! `max_notional`: the notional cap per symbol, for the order alone and for what the account would hold with every
//! open order of that side filled. It is compared as a quantity: floor(cap ÷ max(limit price, reference price)).

use super::cap::{Bound, Measure, Unit};
use super::{Assessment, Cap, Subject};
use crate::domain::decimal::Decimal;
use crate::domain::metadata::Metadata;
use crate::domain::money::MAX_EXACT;
use crate::domain::reason::ReasonCode;
use crate::domain::signal::{Level, Signal};
use crate::domain::terms::Side;

pub(super) const ID: &str = "max_notional";

pub(super) fn check(subject: &Subject<'_>, assessment: &mut Assessment) {
    let lot = subject.instrument.lot_size.decimal();
    let limit_lots = limit_lots(subject).unwrap_or(0);
    if subject.lots > limit_lots {
        let (cap, price) = (subject.instrument.max_notional, subject.exposure_price());
        assessment.lock_openings(Signal {
            rule_id: ID,
            level: Level::Lock,
            code: ReasonCode::RiskLocked,
            message: format!(
                "the order alone is above the notional cap of {cap} for {}",
                subject.intent.symbol
            ),
            metadata: Metadata::new()
                .with("value", Unit::Lots(lot).figure(subject.lots))
                .with("limit", Unit::Lots(lot).figure(limit_lots))
                .with("max_notional", cap)
                .with("price", price.decimal()),
        });
    }
    assessment.cap(Cap {
        rule_id: ID,
        part: subject.side_part(),
        code: ReasonCode::RiskLocked,
        measure: Measure::Exposure,
        delta: subject.lots,
        offset: 0,
        limit: limit_lots,
        bound: Bound::UpTo,
        unit: Unit::Lots(lot),
        what: match subject.intent.side {
            Side::Buy => "the account's position with its open buys",
            Side::Sell => "the account's short position with its open sells",
        },
        spares_reductions: true,
    });
}

/// The cap in lots, rounded down. `None` when it cannot be counted, which leaves no room at all.
fn limit_lots(subject: &Subject<'_>) -> Option<i64> {
    let price = subject.exposure_price().decimal();
    let lot_value = price
        .exact_mul(subject.instrument.base_rate)?
        .exact_mul(subject.instrument.lot_size.decimal())?;
    let lots = floor(subject.instrument.max_notional, lot_value)?;
    Some(i64::try_from(lots).unwrap_or(MAX_EXACT).min(MAX_EXACT))
}

fn floor(number: Decimal, by: Decimal) -> Option<i128> {
    let scale = number.scale().max(by.scale());
    number.scaled(scale)?.checked_div(by.scaled(scale)?)
}
