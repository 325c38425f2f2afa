//! The legs of an order in the `settlement` of a journaled report: what rebuilds an order that has been replaced.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::decimal::Decimal;
use crate::domain::id::ReplaceId;
use crate::domain::leg::LegNumber;
use crate::domain::money::Micros;
use crate::domain::quantity::{Price, Quantity};
use crate::domain::reason::Reason;
use crate::domain::replace::{OrderLegs, OrderReplace, ReplaceMethod, ReplaceState, TermsShare};
use crate::domain::time::Timestamp;
use crate::wire::reported_replace::ReportedReplace;
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::UtcTimestamp;

/// The legs of an order that has been replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettlementLegs {
    /// The number of the leg that works at the venue, 1-64.
    pub working: u8,
    /// What the legs before it have filled, by the venue's count.
    #[schemars(with = "PlainNumber")]
    pub filled_before: Decimal,
    /// The replaces, the oldest first, at most 63.
    pub replaces: Vec<SettlementReplace>,
}

/// A replace of the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettlementReplace {
    /// The caller's id of the replace.
    pub replace_id: String,
    /// What became of it.
    pub state: ReplaceState,
    /// The number of the leg that has the new terms.
    pub leg: u8,
    /// How the venue carries it out: `amend`, `cancel_replace` or `cancel_first`.
    pub method: ReplaceMethod,
    /// The limit price that was asked for.
    #[schemars(with = "PlainNumber")]
    pub price: Decimal,
    /// The quantity of the whole order that was asked for.
    #[schemars(with = "PlainNumber")]
    pub quantity: Decimal,
    /// Why it was not done, or why its outcome is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The timestamp of the latest request to the venue.
    #[schemars(with = "UtcTimestamp")]
    pub requested_at: Timestamp,
    /// What earlier legs have filled when the new leg begins.
    #[schemars(with = "PlainNumber")]
    pub filled_before: Decimal,
    /// What the order has filled by the venue's count, once its earlier leg is known to have ended while the outcome is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PlainNumber>")]
    pub ended_leg: Option<Decimal>,
    /// Whether the request that places the new leg by itself is announced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_placing: bool,
    /// What the earlier terms hold of the limits: notional and price loss, in millionths of the base currency.
    pub earlier_share: [i64; 2],
    /// What the new terms hold of the limits: notional and price loss, in millionths of the base currency.
    pub new_share: [i64; 2],
}

impl From<&OrderLegs> for SettlementLegs {
    fn from(legs: &OrderLegs) -> Self {
        let share = |share: TermsShare| [share.notional.units(), share.price_loss.units()];
        let replaces = legs.replaces.iter().map(|replace| SettlementReplace {
            replace_id: replace.replace_id.to_string(),
            state: replace.state,
            leg: replace.leg.get(),
            method: replace.method,
            price: replace.price.decimal(),
            quantity: replace.quantity.decimal(),
            reason: replace.reason.clone(),
            requested_at: replace.requested_at,
            filled_before: replace.filled_before,
            ended_leg: replace.ended_leg,
            is_placing: replace.is_placing,
            earlier_share: share(replace.earlier_share),
            new_share: share(replace.new_share),
        });
        Self {
            working: legs.working.get(),
            filled_before: legs.filled_before,
            replaces: replaces.collect(),
        }
    }
}

impl SettlementReplace {
    /// Returns what a report says of the replace.
    pub fn to_reported(&self) -> ReportedReplace {
        ReportedReplace {
            replace_id: self.replace_id.clone(),
            state: self.state,
            leg: self.leg,
            price: self.price,
            quantity: self.quantity,
            reason: self.reason.clone(),
        }
    }
}

impl SettlementLegs {
    /// Returns the legs that the settlement describes.
    ///
    /// # Errors
    /// What is invalid.
    pub fn restore(&self) -> Result<OrderLegs, String> {
        let replaces: Result<Vec<OrderReplace>, String> = self.replaces.iter().map(restore_replace).collect();
        Ok(OrderLegs {
            working: restore_leg(self.working)?,
            filled_before: self.filled_before,
            replaces: replaces?,
        })
    }
}

fn restore_leg(number: u8) -> Result<LegNumber, String> {
    LegNumber::new(number).ok_or_else(|| format!("{number} is no leg of an order"))
}

fn restore_replace(replace: &SettlementReplace) -> Result<OrderReplace, String> {
    let share = |[notional, price_loss]: [i64; 2]| {
        let amount = |units| Micros::new(units).ok_or_else(|| "an amount of a replace is out of range".to_owned());
        Ok::<_, String>(TermsShare {
            notional: amount(notional)?,
            price_loss: amount(price_loss)?,
        })
    };
    Ok(OrderReplace {
        replace_id: ReplaceId::new(&replace.replace_id).map_err(|rule| format!("a replace id {rule}"))?,
        state: replace.state,
        leg: restore_leg(replace.leg)?,
        method: replace.method,
        price: Price::new(replace.price).map_err(|rule| format!("the price of a replace {rule}"))?,
        quantity: Quantity::new(replace.quantity).map_err(|rule| format!("the quantity of a replace {rule}"))?,
        reason: replace.reason.clone(),
        requested_at: replace.requested_at,
        filled_before: replace.filled_before,
        ended_leg: replace.ended_leg,
        is_placing: replace.is_placing,
        earlier_share: share(replace.earlier_share)?,
        new_share: share(replace.new_share)?,
    })
}
