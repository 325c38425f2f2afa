//! A tiny venue that outlives the workers, its adapter, and workers that can be killed: what an order's way to a real
//! venue is tested with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use order_router::brokers::adapter::{
    BrokerAdapter, BrokerCapabilities, CancelOutcome, DueOutcome, Effects, InquiryOutcome, NotSentReason, PlaceOutcome,
    Placement, VenueAcknowledgement,
};
use order_router::brokers::handle::BrokerHandle;
use order_router::brokers::paper::{binance, fills};
use order_router::brokers::port::SendGate;
use order_router::brokers::task::BrokerTask;
use order_router::config::Settings;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::{BrokerId, OrderId, VenueId};
use order_router::domain::order::Order;
use order_router::domain::order_terms::TimeInForce;
use order_router::domain::quantity::Price;
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::{Fill, VenueOrderState, VenueReport};
use order_router::risk::Approved;
use order_router::worker::Worker;
use order_router::worker::lifecycle::broker_tasks::AdditionalBrokers;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::rig::SOON;
use crate::support::poll;

/// Where an order can be held up on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// It is on the journal as being submitted.
    Announced,
    /// It is being sent, and no byte has left.
    Started,
    /// The venue has it, and has not answered.
    Taken,
}

/// What the venue does next, and from then on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// Orders stand open instead of being filled at once.
    pub stands: bool,
    /// Requests to place are lost on their way.
    pub deaf: bool,
    /// The adapter finds, after the start, that nothing can be sent.
    pub unreachable: bool,
    /// Answers to placements are lost.
    pub answer_lost: bool,
    /// Orders are refused.
    pub refuses: bool,
    /// What it is asked about lags behind what it has.
    pub lags: bool,
    /// Questions are not answered.
    pub mute: bool,
}

/// The venue; every clone is the same one.
#[derive(Clone)]
pub struct Venue(Arc<Inner>);

struct Inner {
    held: Mutex<HashMap<OrderId, VenueReport>>,
    arrivals: Mutex<Vec<OrderId>>,
    habits: Mutex<Habits>,
    hold: watch::Sender<Option<Point>>,
    waiting: watch::Sender<usize>,
    questions: watch::Sender<usize>,
}

impl Venue {
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            held: Mutex::default(),
            arrivals: Mutex::default(),
            habits: Mutex::default(),
            hold: watch::Sender::new(None),
            waiting: watch::Sender::new(0),
            questions: watch::Sender::new(0),
        }))
    }

    pub fn set(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut self.0.habits.lock().unwrap());
    }

    /// Holds up whatever reaches this point from now on.
    pub fn hold_at(&self, point: Point) {
        self.0.hold.send_replace(Some(point));
    }

    /// Lets everything go on that is held up, and whatever comes after it.
    pub fn let_go(&self) {
        self.0.hold.send_replace(None);
    }

    /// Waits until an order is held up.
    pub async fn holds_one(&self) {
        poll::until(SOON, "an order is held up", async || *self.0.waiting.borrow() > 0).await;
    }

    /// Returns every order that arrived here, as often as it did.
    pub fn arrivals(&self) -> Vec<String> {
        let arrivals = self.0.arrivals.lock().unwrap();
        arrivals.iter().map(ToString::to_string).collect()
    }

    /// Returns how often it was asked about orders.
    pub fn questions(&self) -> usize {
        *self.0.questions.borrow()
    }

    fn habits(&self) -> Habits {
        *self.0.habits.lock().unwrap()
    }

    async fn pass(&self, point: Point) {
        let mut hold = self.0.hold.subscribe();
        if *hold.borrow() != Some(point) {
            return;
        }
        self.0.waiting.send_modify(|waiting| *waiting += 1);
        let _ = hold.wait_for(|held| *held != Some(point)).await;
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }

    fn take(&self, placement: &Placement) -> VenueReport {
        let order = &placement.order;
        self.0.arrivals.lock().unwrap().push(order.order_id.clone());
        let price = order.price.unwrap_or(placement.reference_price);
        let stands = self.habits().stands && order.time_in_force == TimeInForce::Gtc;
        let report = VenueReport {
            broker_order_id: Some(format!("V-{}", order.order_id)),
            fills: if stands { vec![] } else { vec![whole_fill(order, price)] },
            state: VenueOrderState::Working,
            cumulative_quantity: None,
            due: None,
        };
        self.0
            .held
            .lock()
            .unwrap()
            .insert(order.order_id.clone(), report.clone());
        report
    }

    /// Returns the venue's word on an order.
    pub fn word(&self, order_id: &OrderId) -> Option<VenueReport> {
        self.0.held.lock().unwrap().get(order_id).cloned()
    }

    fn cancel(&self, order: &Order) -> Option<VenueReport> {
        let mut held = self.0.held.lock().unwrap();
        let report = held.get_mut(&order.order_id)?;
        if report.fills.is_empty() && report.state == VenueOrderState::Working {
            report.state = VenueOrderState::Cancelled(Reason::new(ReasonCode::CancelRequested, "cancelled on request"));
        }
        Some(report.clone())
    }
}

fn whole_fill(order: &Order, price: Price) -> Fill {
    Fill {
        exec_id: format!("T-{}", order.order_id),
        quantity: order.quantity,
        price,
        timestamp: Timestamp::now(),
        fee: Decimal::ZERO,
        fee_currency: "USDT".into(),
    }
}

/// The venue as the router speaks to it, in the place of `binance`.
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

    async fn pass_the_gate(&self, placement: &Placement) -> Result<(), NotSentReason> {
        let announced = self.gate.journal_submission(placement).await?;
        self.venue.pass(Point::Announced).await;
        self.gate.start_sending(placement, announced, Timestamp::now()).await?;
        self.venue.pass(Point::Started).await;
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
        if let Err(why) = self.pass_the_gate(&placement).await {
            return PlaceOutcome::NotSent(why);
        }
        let habits = self.venue.habits();
        if habits.unreachable {
            return PlaceOutcome::NotSent(NotSentReason::Unavailable("no connection".into()));
        }
        if habits.deaf {
            return PlaceOutcome::OutcomeUnknown("the request was lost".into());
        }
        if habits.refuses {
            return PlaceOutcome::Rejected(fills::rejection("not today"));
        }
        let report = self.venue.take(&placement);
        self.venue.pass(Point::Taken).await;
        if habits.answer_lost {
            return PlaceOutcome::OutcomeUnknown("the reply was lost".into());
        }
        PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report))
    }

    async fn cancel(&self, order: Order) -> CancelOutcome {
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
        self.venue.0.questions.send_modify(|questions| *questions += 1);
        let habits = self.venue.habits();
        match self.venue.word(&order.order_id) {
            _ if habits.mute => InquiryOutcome::Unanswered("no answer in time".into()),
            Some(report) if !habits.lags => InquiryOutcome::Reported(report),
            _ => InquiryOutcome::NotFound,
        }
    }
}

/// Returns what starts a worker's adapter for the venue.
pub fn further(venue: &Venue) -> AdditionalBrokers {
    let venue = venue.clone();
    Box::new(move |ports| {
        let adapter = VenueAdapter::new(venue, ports.send_gate.clone());
        let (handle, _task): (BrokerHandle, _) = BrokerTask::spawn(adapter, &ports.task_settings);
        vec![handle]
    })
}

/// A worker on threads of its own, that ends as a killed process does: between two steps, and nothing is put in order.
pub struct Mortal(Option<Runtime>);

impl Mortal {
    pub async fn start(settings: &Settings, venue: &Venue) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let (settings, further) = (settings.clone(), further(venue));
        runtime.spawn(async move {
            let _worker = Worker::start_with_brokers(&settings, further).await.unwrap();
            ready.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        is_ready.await.unwrap();
        Self(Some(runtime))
    }

    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.end();
    }
}
