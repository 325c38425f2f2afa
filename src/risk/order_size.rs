//! `order_size`: one order's quantity has a maximum per instrument.

use super::{Assessment, Subject};
use crate::domain::metadata::Metadata;
use crate::domain::reason::ReasonCode;
use crate::domain::signal::{Level, Signal};

pub(super) const ID: &str = "order_size";

pub(super) fn check(subject: &Subject<'_>, assessment: &mut Assessment) {
    let (quantity, limit) = (subject.intent.quantity, subject.instrument.max_order_size);
    if quantity <= limit {
        return;
    }
    assessment.lock_openings(Signal {
        rule_id: ID,
        level: Level::Lock,
        code: ReasonCode::OrderSizeExceeded,
        message: format!(
            "the order's quantity is {quantity}, above the limit of {limit} {}",
            subject.intent.symbol
        ),
        metadata: Metadata::new()
            .with("value", quantity.decimal())
            .with("limit", limit.decimal()),
    });
}
