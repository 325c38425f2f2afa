//! An effect that is booked where its caps hold: prepared before the step that compares them, and booked by it. It is the first
//! one of an order whose venue is the store, or new terms of an open order.

use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use crate::brokers::adapter::{BookedEffect, Placement};
use crate::brokers::port::BookError;
use crate::domain::metadata::Metadata;
use crate::domain::order::{BookingAnomaly, OrderUpdate};
use crate::domain::settlement::SumDeltas;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{OutboxEntry, VenueReport};
use crate::store::orders::reserve::ImmediateEffect;
use crate::store::orders::settle::{BookedSettlement, LossWatch};
use crate::wire::journal_report::{build_settled_report, cut_readings_placeholder, insert_readings};
use crate::worker::journaling::settlement::{Settler, inexact, losses_at_limit, sum_deltas};

/// What an effect is prepared on, beside the order's update.
pub(in crate::worker) struct EffectBasis {
    /// What the event on the journal counts beside its own deltas.
    pub(in crate::worker) reserved: SumDeltas,
    /// The figures that the order is judged by, without the readings.
    pub(in crate::worker) figures: Metadata,
    /// The moment from which the effect is no longer booked.
    pub(in crate::worker) deadline: Timestamp,
    /// The losses to compare with their limits.
    pub(in crate::worker) losses: LossWatch,
}

/// An effect that is booked where its caps hold, ready for that step: the first one of an order whose venue is the store, or
/// new terms of an open order.
#[derive(Debug)]
pub(in crate::worker) struct PreparedEffect {
    /// The effect.
    pub(in crate::worker) effect: Arc<ImmediateEffect>,
    /// How far claim and effect together move the sums.
    pub(in crate::worker) deltas: SumDeltas,
    anomalies: Vec<BookingAnomaly>,
}

impl PreparedEffect {
    /// Prepares what a venue in the store reports of an order. `losses` are compared with their limits if the fills make
    /// or lose anything; `figures` lacks the readings, which the claim inserts.
    ///
    /// # Errors
    /// A [`BookError`]: nothing is booked.
    pub(in crate::worker) fn new(
        settler: &Settler,
        placement: &Placement,
        report: &VenueReport,
        losses: LossWatch,
    ) -> Result<Self, BookError> {
        let update = settler.apply_report(&placement.order, report)?;
        let basis = EffectBasis {
            reserved: placement.order.reservation_deltas(),
            figures: placement.figures.clone(),
            deadline: placement.deadline,
            losses,
        };
        Self::of_update(settler, update, basis)
    }

    /// Prepares an update of an order.
    ///
    /// # Errors
    /// A [`BookError`]: nothing is booked.
    pub(in crate::worker) fn of_update(
        settler: &Settler,
        update: OrderUpdate,
        basis: EffectBasis,
    ) -> Result<Self, BookError> {
        let OrderUpdate {
            mut order,
            deltas,
            anomalies,
        } = update;
        let epoch = settler.active_epoch()?;
        let watch = (deltas.fill_result != 0).then_some(basis.losses);
        let (booked_on, settlement_id) = (settler.booking_date(), Uuid::now_v7());
        order.book_on(booked_on, &deltas).ok_or_else(inexact)?;
        order.settle_as(settlement_id);
        let deltas = sum_deltas(basis.reserved, &deltas)?;
        let figures = basis.figures;
        let report = build_settled_report(&order, deltas, booked_on, epoch, figures, Some(settlement_id));
        let mut document = report.encode();
        let readings_at = cut_readings_placeholder(&mut document)
            .ok_or_else(|| BookError::Unavailable("its document has no place for the readings".to_owned()))?;
        let effect = ImmediateEffect {
            only_reduces: order.reduce_only,
            order,
            document: document.into(),
            readings_at,
            booked_on,
            watch,
            deadline: basis.deadline,
            settlement_id,
            prepared_at: Instant::now(),
        };
        Ok(Self {
            effect: Arc::new(effect),
            deltas,
            anomalies,
        })
    }

    /// Returns the effect as it was booked: with the readings of its claim.
    pub(in crate::worker) fn into_booked(self, readings: &str, booked: BookedSettlement) -> BookedEffect {
        let ImmediateEffect {
            order,
            document,
            readings_at,
            settlement_id,
            prepared_at,
            ..
        } = Arc::unwrap_or_clone(self.effect);
        let body = insert_readings(&document, readings_at, readings);
        let mut pending_events = booked.pending_events;
        pending_events.push(OutboxEntry {
            version: order.version,
            body: body.into(),
            settlement_id: Some(settlement_id),
        });
        BookedEffect {
            pending_events,
            notices: self.anomalies,
            breaches: losses_at_limit(&order.account_id, booked.account_breach, booked.total_breach),
            prepared_at,
            order,
        }
    }
}
