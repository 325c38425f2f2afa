//! The adapter: [`BrokerAdapter`] over the REST API.

use std::sync::Arc;

use crate::brokers::adapter::{
    BrokerAdapter, BrokerCapabilities, CancelOutcome, DueOutcome, Effects, InquiryOutcome, PlaceOutcome, Placement,
    ReplaceCallOutcome,
};
use crate::brokers::binance::cancellation::cancel_order;
use crate::brokers::binance::inquiry::inquire_order;
use crate::brokers::binance::placement::place_order;
use crate::brokers::binance::replacement::replace_order;
use crate::brokers::binance::request_budget::RequestPurpose;
use crate::brokers::binance::session::VenueSession;
use crate::brokers::paper::binance::{BROKER, PREFIX, TIMES_IN_FORCE, VENUE};
use crate::brokers::port::{LimitLedger, SendGate, VenueInbox};
use crate::domain::id::{BrokerId, IdError, VenueId};
use crate::domain::order::Order;
use crate::risk::Approved;

/// The live adapter of Binance Spot.
pub struct BinanceSpot<L, I, G> {
    session: Arc<VenueSession<L, I>>,
    gate: Arc<G>,
    capabilities: BrokerCapabilities,
}

impl<L: LimitLedger, I: VenueInbox, G: SendGate> BinanceSpot<L, I, G> {
    /// Returns the adapter of a session. It sends no order until [`crate::brokers::binance::maintenance`] has measured the
    /// venue's clock and read its rules.
    ///
    /// # Errors
    /// When one of the adapter's names is not a valid identifier.
    pub fn new(session: Arc<VenueSession<L, I>>, gate: Arc<G>) -> Result<Self, IdError> {
        let capabilities = BrokerCapabilities {
            broker: BrokerId::new(BROKER)?,
            order_id_prefix: PREFIX,
            venues: vec![VenueId::new(VENUE)?],
            times_in_force: TIMES_IN_FORCE.to_vec(),
            effects: Effects::AtVenue,
        };
        Ok(Self {
            session,
            gate,
            capabilities,
        })
    }
}

impl<L: LimitLedger, I: VenueInbox, G: SendGate> BrokerAdapter for BinanceSpot<L, I, G> {
    fn capabilities(&self) -> &BrokerCapabilities {
        &self.capabilities
    }

    async fn place(&self, placement: Approved<Placement>) -> PlaceOutcome {
        place_order(&self.session, self.gate.as_ref(), placement.inner()).await
    }

    async fn cancel(&self, order: Order) -> CancelOutcome {
        cancel_order(&self.session, order).await
    }

    async fn replace(&self, order: Order) -> ReplaceCallOutcome {
        replace_order(&self.session, &order).await
    }

    async fn execute_due(&self, _: Order) -> DueOutcome {
        // The venue fills and expires its orders itself.
        DueOutcome::NothingDue
    }

    async fn inquire(&self, order: Order) -> InquiryOutcome {
        inquire_order(&self.session, &order, RequestPurpose::Read).await
    }
}
