//! A small external venue, its adapter, and workers that can be killed: the test bench for orders at a real venue.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_router::brokers::adapter::{
    BrokerAdapter, BrokerCapabilities, CancelOutcome, DueOutcome, Effects, InquiryOutcome, NotSentReason, PlaceOutcome,
    Placement, VenueAcknowledgement,
};
use order_router::brokers::handle::BrokerHandle;
use order_router::brokers::paper::{binance, fills, ibkr};
use order_router::brokers::port::SendGate;
use order_router::brokers::task::BrokerTask;
use order_router::config::Settings;
use order_router::domain::id::{BrokerId, OrderId, VenueId};
use order_router::domain::order::Order;
use order_router::domain::order_terms::TimeInForce;
use order_router::domain::quantity::Price;
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::domain::replace::LegWord;
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::{Fill, VenueOrderState, VenueReport};
use order_router::risk::Approved;
use order_router::worker::Worker;
use order_router::worker::lifecycle::broker_tasks::AdditionalBrokers;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::rig::SOON;
use crate::support::poll;

/// A point of the submission at which an order can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldPoint {
    /// The submission is journaled.
    Announced,
    /// The order is started, and no byte has been sent.
    Started,
    /// The venue has received the order, and has not replied.
    Received,
}

/// How the venue behaves from now on.
#[derive(Debug, Clone, Copy, Default)]
pub struct VenueBehaviour {
    /// Orders stay open instead of filling at once.
    pub keeps_open: bool,
    /// Requests to place an order are lost.
    pub drops_requests: bool,
    /// The adapter cannot connect before it announces an order.
    pub is_offline: bool,
    /// The adapter cannot connect after the start.
    pub unreachable: bool,
    /// Replies to placements are lost.
    pub drops_replies: bool,
    /// Orders are rejected.
    pub rejects: bool,
    /// Inquiries do not find the orders that the venue has.
    pub hides_orders: bool,
    /// Inquiries get no reply.
    pub ignores_inquiries: bool,
    /// Inquiries are answered this much later.
    pub inquiry_delay: Duration,
    /// Cancels are answered this much later.
    pub cancel_delay: Duration,
    /// Cancels change nothing, and are answered with the order as it is.
    pub refuses_cancels: bool,
    /// The amount and the currency of the fee of each fill; none where it is `None`.
    pub fee: Option<(&'static str, &'static str)>,
}

/// The venue; clones share their state.
#[derive(Clone)]
pub struct Venue(Arc<Inner>);

struct Inner {
    held: Mutex<HashMap<OrderId, VenueReport>>,
    arrivals: Mutex<Vec<OrderId>>,
    behaviour: Mutex<VenueBehaviour>,
    hold: watch::Sender<Option<HoldPoint>>,
    waiting: watch::Sender<usize>,
    inquiries: watch::Sender<usize>,
}

impl Venue {
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            held: Mutex::default(),
            arrivals: Mutex::default(),
            behaviour: Mutex::default(),
            hold: watch::Sender::new(None),
            waiting: watch::Sender::new(0),
            inquiries: watch::Sender::new(0),
        }))
    }

    pub fn set(&self, change: impl FnOnce(&mut VenueBehaviour)) {
        change(&mut self.0.behaviour.lock().unwrap());
    }

    /// Holds every order that reaches this point from now on.
    pub fn hold_at(&self, point: HoldPoint) {
        self.0.hold.send_replace(Some(point));
    }

    /// Resumes every held order and holds no more.
    pub fn resume(&self) {
        self.0.hold.send_replace(None);
    }

    /// Waits until an order is held.
    pub async fn wait_for_held_order(&self) {
        poll::until(SOON, "an order is held", async || *self.0.waiting.borrow() > 0).await;
    }

    /// Returns the order id of every arrival, repeats included.
    pub fn arrivals(&self) -> Vec<String> {
        let arrivals = self.0.arrivals.lock().unwrap();
        arrivals.iter().map(ToString::to_string).collect()
    }

    /// Returns the number of inquiries received.
    pub fn inquiries(&self) -> usize {
        *self.0.inquiries.borrow()
    }

    fn behaviour(&self) -> VenueBehaviour {
        *self.0.behaviour.lock().unwrap()
    }

    async fn wait_if_held(&self, point: HoldPoint) {
        let mut hold = self.0.hold.subscribe();
        if *hold.borrow() != Some(point) {
            return;
        }
        self.0.waiting.send_modify(|waiting| *waiting += 1);
        let _ = hold.wait_for(|held| *held != Some(point)).await;
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }

    fn receive(&self, placement: &Placement) -> VenueReport {
        let order = &placement.order;
        self.0.arrivals.lock().unwrap().push(order.order_id.clone());
        let price = order.price.unwrap_or(placement.reference_price);
        let keeps_open = self.behaviour().keeps_open && order.time_in_force == TimeInForce::Gtc;
        let report = VenueReport {
            broker_order_id: Some(format!("V-{}", order.order_id)),
            fills: if keeps_open {
                vec![]
            } else {
                vec![complete_fill(order, price, self.behaviour().fee)]
            },
            state: VenueOrderState::Working,
            cumulative_quantity: None,
            legs: LegWord::default(),
            due: None,
        };
        self.0
            .held
            .lock()
            .unwrap()
            .insert(order.order_id.clone(), report.clone());
        report
    }

    /// Returns the venue's report on an order.
    pub fn report(&self, order_id: &OrderId) -> Option<VenueReport> {
        self.0.held.lock().unwrap().get(order_id).cloned()
    }

    fn cancel(&self, order: &Order) -> Option<VenueReport> {
        let refuses = self.behaviour().refuses_cancels;
        let mut held = self.0.held.lock().unwrap();
        let report = held.get_mut(&order.order_id)?;
        if !refuses && report.fills.is_empty() && report.state == VenueOrderState::Working {
            report.state = VenueOrderState::Cancelled(Reason::new(ReasonCode::CancelRequested, "cancelled on request"));
        }
        Some(report.clone())
    }
}

fn complete_fill(order: &Order, price: Price, fee: Option<(&str, &str)>) -> Fill {
    let (fee, fee_currency) = fee.unwrap_or(("0", "USDT"));
    Fill {
        exec_id: format!("T-{}", order.order_id),
        quantity: order.quantity,
        price,
        timestamp: Timestamp::now(),
        fee: fee.parse().unwrap(),
        fee_currency: fee_currency.into(),
    }
}

/// The venue's adapter, in place of `binance`.
pub struct VenueAdapter<G> {
    pub venue: Venue,
    pub gate: Arc<G>,
    capabilities: BrokerCapabilities,
}

impl<G: SendGate> VenueAdapter<G> {
    pub fn new(venue: Venue, gate: Arc<G>) -> Self {
        let capabilities = BrokerCapabilities {
            broker: BrokerId::new(binance::BROKER).unwrap(),
            order_id_prefix: binance::PREFIX,
            venues: vec![VenueId::new("binance.spot").unwrap()],
            times_in_force: vec![TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok],
            effects: Effects::AtVenue,
        };
        Self {
            venue,
            gate,
            capabilities,
        }
    }

    /// Returns the adapter in place of `ibkr`.
    pub fn at_ibkr(venue: Venue, gate: Arc<G>) -> Self {
        let mut adapter = Self::new(venue, gate);
        adapter.capabilities.broker = BrokerId::new(ibkr::BROKER).unwrap();
        adapter.capabilities.order_id_prefix = ibkr::PREFIX;
        adapter.capabilities.venues = vec![VenueId::new("ibkr.paper").unwrap()];
        adapter
    }

    async fn announce_and_start(&self, placement: &Placement) -> Result<(), NotSentReason> {
        let announced = self.gate.journal_submission(placement).await?;
        self.venue.wait_if_held(HoldPoint::Announced).await;
        self.gate.start_sending(placement, announced, Timestamp::now()).await?;
        self.venue.wait_if_held(HoldPoint::Started).await;
        Ok(())
    }
}

impl<G: SendGate> BrokerAdapter for VenueAdapter<G> {
    fn capabilities(&self) -> &BrokerCapabilities {
        &self.capabilities
    }

    async fn place(&self, placement: Approved<Placement>) -> PlaceOutcome {
        let placement = placement.into_inner();
        if !self
            .capabilities
            .times_in_force
            .contains(&placement.order.time_in_force)
        {
            return PlaceOutcome::Rejected(fills::rejection("a time in force it does not have"));
        }
        if self.venue.behaviour().is_offline {
            return PlaceOutcome::NotSent(NotSentReason::NotAccepted("no connection".into()));
        }
        if let Err(why) = self.announce_and_start(&placement).await {
            return PlaceOutcome::NotSent(why);
        }
        let behaviour = self.venue.behaviour();
        if behaviour.unreachable {
            return PlaceOutcome::NotSent(NotSentReason::Unavailable("no connection".into()));
        }
        if behaviour.drops_requests {
            return PlaceOutcome::OutcomeUnknown("the request was lost".into());
        }
        if behaviour.rejects {
            return PlaceOutcome::Rejected(fills::rejection("not today"));
        }
        let report = self.venue.receive(&placement);
        self.venue.wait_if_held(HoldPoint::Received).await;
        if behaviour.drops_replies {
            return PlaceOutcome::OutcomeUnknown("the reply was lost".into());
        }
        PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report))
    }

    async fn cancel(&self, order: Order) -> CancelOutcome {
        tokio::time::sleep(self.venue.behaviour().cancel_delay).await;
        match self.venue.cancel(&order) {
            Some(report) if report.fills.is_empty() => CancelOutcome::Reported(report),
            Some(_) => CancelOutcome::AlreadyEnded(order),
            None => CancelOutcome::OutcomeUnknown("the venue does not have it".into()),
        }
    }

    async fn execute_due(&self, _order: Order) -> DueOutcome {
        DueOutcome::NothingDue
    }

    async fn inquire(&self, order: Order) -> InquiryOutcome {
        self.venue.0.inquiries.send_modify(|inquiries| *inquiries += 1);
        let behaviour = self.venue.behaviour();
        tokio::time::sleep(behaviour.inquiry_delay).await;
        match self.venue.report(&order.order_id) {
            _ if behaviour.ignores_inquiries => InquiryOutcome::Unanswered("no reply in time".into()),
            Some(report) if !behaviour.hides_orders => InquiryOutcome::Reported(report),
            _ => InquiryOutcome::NotFound,
        }
    }
}

/// Returns the factory of a worker's adapter for the venue.
pub fn additional_brokers(venue: &Venue) -> AdditionalBrokers {
    let venue = venue.clone();
    Box::new(move |ports| {
        let adapter = VenueAdapter::new(venue, ports.send_gate.clone());
        let (handle, _task): (BrokerHandle, _) = BrokerTask::spawn(adapter, &ports.task_settings);
        vec![handle]
    })
}

/// Returns the factory of a worker's adapters for two venues: one in place of `binance`, one in place of `ibkr`.
pub fn two_venues(binance: &Venue, ibkr: &Venue) -> AdditionalBrokers {
    let (binance, ibkr) = (binance.clone(), ibkr.clone());
    Box::new(move |ports| {
        let (gate, settings) = (&ports.send_gate, &ports.task_settings);
        let (binance, _) = BrokerTask::spawn(VenueAdapter::new(binance, gate.clone()), settings);
        let (ibkr, _) = BrokerTask::spawn(VenueAdapter::at_ibkr(ibkr, gate.clone()), settings);
        vec![binance, ibkr]
    })
}

/// A worker on its own threads that ends like a killed process: between two steps, without a cleanup.
pub struct KillableWorker(Option<Runtime>);

impl KillableWorker {
    pub async fn start(settings: &Settings, venue: &Venue) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let (settings, additional_brokers) = (settings.clone(), additional_brokers(venue));
        runtime.spawn(async move {
            let _worker = Worker::start_with_brokers(&settings, additional_brokers).await.unwrap();
            ready.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        is_ready.await.unwrap();
        Self(Some(runtime))
    }

    pub fn kill(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for KillableWorker {
    fn drop(&mut self) {
        self.shut_down();
    }
}
