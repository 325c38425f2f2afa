//! The caps of a batch of requests, each listed once (`lua/reserve.lua`).

use std::collections::HashMap;

use serde::Serialize;

use crate::domain::id::VenueId;
use crate::domain::symbol::Symbol;
use crate::risk::limits::AlertThresholds;
use crate::risk::{Cap, CapBound, CapMeasure};
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::orders::reserve::ReservationCheck;
use crate::store::script::{FieldList, NumberOrFalse, Pair};

/// What the orders of a batch share of a cap: all but how far an order moves the measure, and what is added to it. Caps are
/// limits of accounts and instruments, so that a batch has few.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CapIdentity<'a> {
    rule_id: &'static str,
    label: &'static str,
    measure: CapMeasure,
    limit: i128,
    bound: CapBound,
    allows_reductions: bool,
    alert_levels: AlertThresholds,
    /// The instrument, where the measure and its alerts are counted for each.
    instrument: Option<(&'a VenueId, &'a Symbol)>,
}

/// A cap as the script reads it.
#[derive(Serialize)]
struct CapFields {
    measure: &'static str,
    most_whole: i64,
    most_rest: i64,
    /// False where the cap does not alert.
    alert_from_whole: NumberOrFalse,
    alert_from_rest: i64,
    calm_below_whole: i64,
    calm_below_rest: i64,
    limit_whole: i64,
    limit_rest: i64,
    passes_reductions: bool,
    alert_name: String,
}

/// An order's part of a cap: its place in the table, from 1, the order's move of the measure, and what is added to it.
#[derive(Serialize)]
struct OrderCapFields {
    place: usize,
    delta_whole: i64,
    delta_rest: i64,
    offset_whole: i64,
    offset_rest: i64,
}

/// The caps of a batch.
#[derive(Debug, Default)]
pub(super) struct CapTable<'a> {
    places: HashMap<CapIdentity<'a>, usize>,
    caps: Vec<FieldList>,
}

impl<'a> CapTable<'a> {
    /// Appends the caps of an order to its command, and adds those that the table lacks.
    pub(super) fn append_caps(
        &mut self,
        check: &'a ReservationCheck,
        command: &mut FieldList,
    ) -> Result<(), StoreError> {
        for cap in &check.caps {
            let (delta, offset) = (Pair::of(cap.delta), Pair::of(cap.offset));
            command.append(&OrderCapFields {
                place: self.intern(cap, check)?,
                delta_whole: delta.whole,
                delta_rest: delta.rest,
                offset_whole: offset.whole,
                offset_rest: offset.rest,
            })?;
        }
        Ok(())
    }

    /// Returns the caps in the order of their places.
    pub(super) fn caps(&self) -> &[FieldList] {
        &self.caps
    }

    fn intern(&mut self, cap: &Cap, check: &'a ReservationCheck) -> Result<usize, StoreError> {
        let is_per_instrument = matches!(cap.measure, CapMeasure::Exposure | CapMeasure::OpenOrders);
        let identity = CapIdentity {
            rule_id: cap.rule_id,
            label: cap.label,
            measure: cap.measure,
            limit: cap.limit,
            bound: cap.bound,
            allows_reductions: cap.allows_reductions,
            alert_levels: check.alert_levels,
            instrument: is_per_instrument.then_some((&check.scope.venue, &check.scope.symbol)),
        };
        if let Some(place) = self.places.get(&identity) {
            return Ok(*place);
        }
        let mut fields = FieldList::default();
        fields.append(&encode_cap(cap, &identity))?;
        self.caps.push(fields);
        self.places.insert(identity, self.caps.len());
        Ok(self.caps.len())
    }
}

fn encode_cap(cap: &Cap, identity: &CapIdentity<'_>) -> CapFields {
    let levels = cap.alert_and_rearm_levels(identity.alert_levels);
    let (alert_from, calm_below) = levels.unwrap_or_default();
    let (most, limit) = (Pair::of(cap.max_value()), Pair::of(cap.limit));
    let (alert_from, calm_below) = (Pair::of(alert_from), Pair::of(calm_below));
    let name = cap.alert_name();
    CapFields {
        measure: measure_word(cap.measure),
        most_whole: most.whole,
        most_rest: most.rest,
        alert_from_whole: NumberOrFalse(levels.map(|_| alert_from.whole)),
        alert_from_rest: alert_from.rest,
        calm_below_whole: calm_below.whole,
        calm_below_rest: calm_below.rest,
        limit_whole: limit.whole,
        limit_rest: limit.rest,
        passes_reductions: cap.allows_reductions,
        alert_name: match identity.instrument {
            Some((venue, symbol)) => format!("{}:{name}", keys::holding_name(venue, symbol)),
            None => name.into_owned(),
        },
    }
}

/// Returns the word by which the script knows a measure.
fn measure_word(measure: CapMeasure) -> &'static str {
    match measure {
        CapMeasure::Exposure => "exposure",
        CapMeasure::OpenOrders => "open_orders",
        CapMeasure::AccountNotional => "account_notional",
        CapMeasure::TotalNotional => "total_notional",
        CapMeasure::AccountLoss => "account_loss",
        CapMeasure::TotalLoss => "total_loss",
        CapMeasure::AccountFillLoss => "account_result",
        CapMeasure::AccountOpenLoss => "account_open_loss",
        CapMeasure::OffsetOnly => "nothing",
    }
}
