//! The first effect of an order whose venue is the store: prepared before the claim, and booked by it in one step.

use std::sync::Arc;

use uuid::Uuid;

use crate::brokers::adapter::{BookedEffect, Placement};
use crate::brokers::port::BookError;
use crate::domain::order::{BookingAnomaly, OrderUpdate};
use crate::domain::settlement::SumDeltas;
use crate::domain::venue_report::{OutboxEntry, VenueReport};
use crate::store::orders::reserve::ImmediateEffect;
use crate::store::orders::settle::{BookedSettlement, LossWatch};
use crate::wire::journal_report::{build_settled_report, cut_readings_placeholder, insert_readings};
use crate::worker::journaling::settlement::{Settler, inexact, losses_at_limit, sum_deltas};

/// The first effect of an order whose venue is the store, ready for the step that claims the order.
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
        let OrderUpdate {
            mut order,
            deltas,
            anomalies,
        } = settler.apply_report(&placement.order, report)?;
        let epoch = settler.active_epoch()?;
        let watch = (deltas.fill_result != 0).then_some(losses);
        let (booked_on, settlement_id) = (settler.booking_date(), Uuid::now_v7());
        order.book_on(booked_on, &deltas).ok_or_else(inexact)?;
        let deltas = sum_deltas(placement.order.reservation_deltas(), &deltas)?;
        let figures = placement.figures.clone();
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
            deadline: placement.deadline,
            settlement_id,
        };
        Ok(Self {
            effect: Arc::new(effect),
            deltas,
            anomalies,
        })
    }

    /// Returns the effect as it was booked: with the readings of its claim.
    pub(in crate::worker) fn into_booked(self, readings: &str, booked: &BookedSettlement) -> BookedEffect {
        let ImmediateEffect {
            order,
            document,
            readings_at,
            settlement_id,
            ..
        } = Arc::unwrap_or_clone(self.effect);
        let body = insert_readings(&document, readings_at, readings);
        BookedEffect {
            pending_events: vec![OutboxEntry {
                version: order.version,
                body: body.into(),
                settlement_id: Some(settlement_id),
            }],
            notices: self.anomalies,
            breaches: losses_at_limit(&order.account_id, booked.account_breach, booked.total_breach),
            order,
        }
    }
}
