//! What a report says of a replace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::leg::MAX_LEGS;
use crate::domain::reason::Reason;
use crate::domain::replace::{OrderReplace, ReplaceState};
use crate::wire::schema_numbers::PlainNumber;

/// What became of a replace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedReplace {
    /// The caller's id of the replace, 1-36 printable ASCII characters.
    pub replace_id: String,
    /// What became of it: `pending` (journaled, and possibly sent), `done`, `not_replaced` (the order keeps its earlier
    /// terms), `cancelled_not_placed` (the order has ended), or `unknown` (the venue is asked).
    pub state: ReplaceState,
    /// The number of the order's leg that has the new terms, 2-64: the venue knows it by the order id with one more
    /// character.
    #[schemars(range(min = 2, max = MAX_LEGS))]
    pub leg: u8,
    /// The limit price that was asked for, in the quote currency.
    #[schemars(with = "PlainNumber")]
    pub price: Decimal,
    /// The quantity of the whole order that was asked for, in units of the instrument.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// Why it was not done, or why its outcome is unknown; null otherwise.
    pub reason: Option<Reason>,
}

impl ReportedReplace {
    /// Returns what a report says of a replace.
    pub fn of(replace: &OrderReplace) -> Self {
        Self {
            replace_id: replace.replace_id.to_string(),
            state: replace.state,
            leg: replace.leg.get(),
            price: replace.price.decimal(),
            quantity: replace.quantity.decimal(),
            reason: replace.reason.clone(),
        }
    }
}
