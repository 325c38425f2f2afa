//! The bench of the conformance suite at the local exchange: the live adapter of Binance Spot before `order-router venue`.
//!
//! What the exchange holds is read from its control endpoints. They list every order and every execution as the REST API
//! does, no fault meets them, and they share no code with the adapter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_router::brokers::adapter::{NotSentReason, PlaceOutcome, Placement, VenueAcknowledgement};
use order_router::brokers::binance::adapter::BinanceSpot;
use order_router::brokers::binance::credentials::ApiCredentials;
use order_router::brokers::binance::memory_ledger::MemoryLedger;
use order_router::brokers::binance::session::VenueSession;
use order_router::brokers::binance::settings::{BinanceSettings, TimeLimits};
use order_router::brokers::binance::transport::venue_stream::tls_with_roots;
use order_router::brokers::binance::{maintenance, reconciliation, user_stream};
use order_router::brokers::conformance::held_leg::HeldLeg;
use order_router::brokers::conformance::under_faults::FaultyHarness;
use order_router::brokers::conformance::{
    CaseTerms, ConformanceHarness, HarnessResult, PlacementDeadline, VenueFault, VenueLeg,
};
use order_router::brokers::paper::binance::{BROKER, PREFIX};
use order_router::brokers::port::{InboxError, SendGate, SubmissionReceipt, TradeReading, VenueInbox, VenueNotice};
use order_router::config::Settings;
use order_router::domain::currency_rates::CurrencyRates;
use order_router::domain::id::{LeaseToken, OrderId};
use order_router::domain::instrument::Instrument;
use order_router::domain::intent::Intent;
use order_router::domain::leg::LegNumber;
use order_router::domain::metadata::Metadata;
use order_router::domain::order::Order;
use order_router::domain::order_terms::{Mode, OrderType, Side};
use order_router::domain::quantity::Price;
use order_router::domain::replace::ReplaceTerms;
use order_router::domain::symbol::Symbol;
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::VenueReport;
use order_router::risk::{Approved, ApprovedUnderCaps, CapReading, CapReadings, RiskDecision};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::binance_at_venue::settings_before;
use crate::conformance_adapter::{AdapterFlaw, TestedAdapter, VenueLine};
use crate::conformance_holdings::{HeldOrder, held_orders};
use crate::conformance_store::{evaluated, intent_for};
use crate::support::poll;
use crate::venue_fixture::{KEY, SECRET, SOON, TestVenue};

/// The delay between two comparisons of the book with the exchange.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The key of the account on the other side of every trade, and its secret.
const MAKER: (&str, &str) = ("maker-key", "maker-secret");
/// What the maker quotes: the suite's orders never exhaust it.
const MAKER_QUANTITY: &str = "50";
/// The maker's prices. The reference price is 30000.
const MAKER_QUOTES: [(&str, &str); 2] = [("SELL", "30000"), ("BUY", "29999.9")];
/// The limit prices at which the exchange fills at once: buy, sell.
const FILLING_LIMITS: [&str; 2] = ["30000.5", "29999.5"];
/// The limit prices at which the exchange leaves an order open: buy, sell.
const OPEN_LIMITS: [&str; 2] = ["29000", "31000"];
/// An exchange without limits that a test reaches, and where the least lot is enough for an order.
const VENUE_ARGS: &[&str] = &[
    "--symbol",
    "BTC/USDT=30000,0.01,0.00001,0.1",
    "--balance",
    "USDT=10000000",
    "--balance",
    "BTC=1000",
    "--weight-limit",
    "1000000000",
    "--orders-per-10s",
    "1000000000",
    "--orders-per-day",
    "1000000000",
    "--ban-after",
    "1000000000",
    "--key",
    "venue-key:venue-secret",
    "--key",
    "maker-key:maker-secret",
];

/// The adapter's session.
pub type Session = VenueSession<MemoryLedger, BookInbox>;
/// The adapter under test.
pub type Spot = BinanceSpot<MemoryLedger, BookInbox, OpenGate>;

/// A gate that lets every order pass: whether one may be sent is the worker's business.
pub struct OpenGate;

impl SendGate for OpenGate {
    async fn journal_submission(&self, _: &Placement) -> Result<SubmissionReceipt, NotSentReason> {
        Ok(SubmissionReceipt { sequence: 1 })
    }

    async fn start_sending(&self, _: &Placement, _: SubmissionReceipt, _: Timestamp) -> Result<(), NotSentReason> {
        Ok(())
    }
}

/// A book of orders that only the stream and the reconciliation change.
#[derive(Default)]
pub struct BookInbox(Mutex<BTreeMap<OrderId, Order>>);

impl BookInbox {
    /// Returns the order as the notices leave it.
    pub fn order(&self, order_id: &OrderId) -> Order {
        self.0.lock().unwrap()[order_id].clone()
    }
}

impl VenueInbox for BookInbox {
    async fn deliver(&self, notice: VenueNotice) -> Result<(), InboxError> {
        let mut orders = self.0.lock().unwrap();
        if let Some(order) = orders.get_mut(&notice.order_id) {
            // A report without news leaves the order as it is.
            *order = apply(order, &notice.report).unwrap_or_else(|_| order.clone());
        }
        Ok(())
    }

    async fn open_orders(&self, _: usize) -> Result<Vec<Order>, InboxError> {
        let orders = self.0.lock().unwrap();
        // From its claim on: the replies to calls, by which a worker knows that an order is open, are not booked here.
        let open = orders.values().filter(|order| !order.is_terminal());
        Ok(open.cloned().collect())
    }

    async fn settled_trades(&self, _: &Symbol) -> Option<Timestamp> {
        None
    }

    async fn record_settled_trades(&self, _: &Symbol, _: Timestamp, _: TradeReading) -> bool {
        true
    }
}

/// Returns an order after a report.
pub fn apply(order: &Order, report: &VenueReport) -> HarnessResult<Order> {
    let update = order.apply_report(report, &CurrencyRates::default(), Timestamp::now());
    update.map(|update| update.order).map_err(|error| error.to_string())
}

/// The bench of one adapter at an exchange that other benches may use as well.
pub struct ExchangeHarness {
    venue: Arc<TestVenue>,
    session: Arc<Session>,
    inbox: Arc<BookInbox>,
    claimed: Mutex<BTreeMap<OrderId, Order>>,
    adapter: TestedAdapter,
    instrument: Instrument,
    /// The faults that [`FaultyHarness::begin_faults`] puts in force, or that are in force from the start.
    faults: Value,
    stop: CancellationToken,
}

impl Drop for ExchangeHarness {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts an exchange where a maker quotes both sides.
pub async fn start_exchange(seed: &str) -> Arc<TestVenue> {
    let mut args = VENUE_ARGS.to_vec();
    args.extend(["--seed", seed]);
    let venue = TestVenue::start(&args).await;
    for (side, price) in MAKER_QUOTES {
        let order = [
            ("symbol", "BTCUSDT"),
            ("side", side),
            ("type", "LIMIT"),
            ("timeInForce", "GTC"),
            ("quantity", MAKER_QUANTITY),
            ("price", price),
        ];
        let placed = venue
            .signed_as(MAKER.0, MAKER.1, Method::POST, "/api/v3/order", &order)
            .await;
        placed.unwrap().ok();
    }
    Arc::new(venue)
}

impl ExchangeHarness {
    /// Returns a bench whose adapter is ready to trade. `order_limit` is the time limit of a placement or a cancel; `faults`
    /// are put in force later.
    pub async fn start(venue: &Arc<TestVenue>, order_limit: Duration, faults: Value) -> Self {
        Self::with_flaw(venue, order_limit, faults, None).await
    }

    /// Returns a bench whose adapter has a flaw.
    pub async fn with_flaw(
        venue: &Arc<TestVenue>,
        order_limit: Duration,
        faults: Value,
        flaw: Option<AdapterFlaw>,
    ) -> Self {
        let inbox = Arc::new(BookInbox::default());
        let address = venue.http.strip_prefix("http://").unwrap().parse().unwrap();
        let line = VenueLine::open(address).await;
        let session = Arc::new(new_session(venue, &line, order_limit, &inbox));
        // The clock and the rules come first, as the first measurement of each task: no case begins without them.
        session.client.synchronize_clock().await.unwrap();
        maintenance::read_rules(&session).await.unwrap();
        maintenance::check_key(&session).await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(maintenance::run(session.clone(), stop.clone()));
        tokio::spawn(user_stream::run(session.clone(), stop.clone()));
        tokio::spawn(reconciliation::run(session.clone(), stop.clone()));
        let spot = BinanceSpot::new(session.clone(), Arc::new(OpenGate)).unwrap();
        let instruments = Settings::default();
        let instruments = instruments.instruments.to_instruments(&instruments.risk);
        let harness = Self {
            venue: venue.clone(),
            inbox,
            claimed: Mutex::default(),
            adapter: TestedAdapter::new(spot, session.clone(), line, flaw),
            instrument: instruments
                .into_iter()
                .find(|one| one.broker.as_str() == BROKER)
                .unwrap(),
            session,
            faults,
            stop,
        };
        harness.wait_until_open().await;
        harness
    }

    /// Waits until the stream is open and everything before it is read: the adapter takes orders then.
    async fn wait_until_open(&self) {
        poll::until(SOON, "the adapter takes orders", async || {
            self.session.reports.is_complete()
        })
        .await;
    }

    fn limit_of(&self, prices: [&str; 2], side: Side) -> Price {
        let place = usize::from(side == Side::Sell);
        Price::new(prices[place].parse().unwrap()).unwrap()
    }

    /// Claims an order; a limit order takes its price from `limits`.
    fn claim(&self, terms: CaseTerms, limits: [&str; 2]) -> Approved<Placement> {
        let limit = self.limit_of(limits, terms.side);
        let intent = Intent {
            price: (terms.order_type == OrderType::Limit).then_some(limit),
            ..intent_for(&self.instrument, terms)
        };
        let approved = approve(&self.instrument, &intent, terms.deadline);
        let order = approved.inner().order.clone();
        let id = order.order_id.clone();
        self.inbox.0.lock().unwrap().insert(id.clone(), order.clone());
        self.claimed.lock().unwrap().insert(id, order);
        approved
    }

    async fn held(&self, order_id: &OrderId) -> HarnessResult<Vec<HeldOrder>> {
        held_orders(&self.venue, order_id).await
    }

    /// Waits until the book of the stream and the reconciliation has every execution of the exchange, and the end of each
    /// order that was not replaced. What the stream lost is read by the reconciliation, which is woken here; it runs each
    /// minute.
    pub async fn check_book(&self, what: &str) {
        let ids: Vec<OrderId> = self.claimed.lock().unwrap().keys().cloned().collect();
        for order_id in ids {
            let deadline = Instant::now() + SOON;
            loop {
                let held = self.held(&order_id).await.unwrap();
                let booked = self.inbox.order(&order_id);
                if book_agrees(&booked, &held) {
                    break;
                }
                let (status, fills) = (booked.status, &booked.fills);
                assert!(
                    Instant::now() < deadline,
                    "{what}: {order_id} is {status:?} with {fills:?}: {held:?}"
                );
                self.session.reconciliation_due.notify_one();
                sleep(POLL_INTERVAL).await;
            }
        }
    }
}

/// Reports whether an order of the book has the executions that the exchange has, and its end.
fn book_agrees(order: &Order, held: &[HeldOrder]) -> bool {
    let mut booked: Vec<&str> = order.fills.iter().map(|fill| fill.exec_id.as_str()).collect();
    let executions = held.iter().flat_map(|one| &one.executions);
    let mut executed: Vec<&str> = executions.map(|one| one.exec_id.as_str()).collect();
    booked.sort_unstable();
    executed.sort_unstable();
    // The book does not know of replaces: an earlier leg's end is not the order's.
    let is_replaced = held.iter().any(|one| one.leg != LegNumber::FIRST);
    let has_ended = !held.is_empty() && held.iter().all(|one| !one.is_open());
    booked == executed && (is_replaced || order.is_terminal() == has_ended)
}

fn new_session(venue: &TestVenue, line: &VenueLine, order_limit: Duration, inbox: &Arc<BookInbox>) -> Session {
    let settings = BinanceSettings {
        time_limits: TimeLimits {
            order: order_limit,
            ..TimeLimits::default()
        },
        ..settings_before(venue, line.url())
    };
    let credentials = ApiCredentials::new(KEY, SECRET).unwrap();
    let tls = tls_with_roots(rustls::RootCertStore::empty()).unwrap();
    VenueSession::new(&settings, credentials, Arc::default(), inbox.clone(), &tls).unwrap()
}

/// Approves an order as the risk engine does where no limit is used yet.
fn approve(instrument: &Instrument, intent: &Intent, deadline: PlacementDeadline) -> Approved<Placement> {
    let now = Timestamp::now();
    let later = now.saturating_add(Duration::from_secs(60));
    let (reservation, evaluation) = evaluated(instrument, intent, later, now);
    let unused = CapReading {
        before: 0,
        crosses_alert_threshold: false,
    };
    let readings = CapReadings {
        order_counts: Some([0, 0]),
        caps: vec![unused; evaluation.caps().len()],
        ..CapReadings::default()
    };
    let placement = Placement {
        order: Order::from_intent(intent, PREFIX, Mode::Live, reservation, now),
        reference_price: instrument.reference_price,
        quote_currency: instrument.quote.clone(),
        deadline: match deadline {
            PlacementDeadline::Ahead => later,
            PlacementDeadline::Passed => Timestamp::from_milliseconds(now.as_milliseconds() - 1),
        },
        lease: LeaseToken::generate(),
        figures: Metadata::new(),
    };
    match evaluation.decide(placement, &readings) {
        RiskDecision::Approved(approved, _) => approved,
        RiskDecision::Denied(reason, _) | RiskDecision::Refused(reason, _) => panic!("{reason:?}"),
    }
}

impl ConformanceHarness for ExchangeHarness {
    type Adapter = TestedAdapter;

    fn adapter(&self) -> &Self::Adapter {
        &self.adapter
    }

    async fn claim_order(&self, terms: CaseTerms) -> HarnessResult<Approved<Placement>> {
        Ok(self.claim(terms, FILLING_LIMITS))
    }

    async fn open_order(&self, terms: CaseTerms) -> HarnessResult<Order> {
        use order_router::brokers::adapter::BrokerAdapter;
        let placement = self.claim(terms, OPEN_LIMITS);
        let claimed = placement.inner().order.clone();
        match self.adapter.place(placement).await {
            PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report)) => apply(&claimed, &report),
            other => Err(format!("the exchange did not take the order: {other:?}")),
        }
    }

    async fn read_order(&self, order_id: &OrderId) -> HarnessResult<Order> {
        let claimed = self.claimed.lock().unwrap().get(order_id).cloned();
        let claimed = claimed.ok_or("unknown order")?;
        let held = self.held(order_id).await?;
        let Some(first) = held.iter().find(|one| one.leg == LegNumber::FIRST) else {
            return Ok(claimed);
        };
        let mut order = apply(&claimed, &first.report()?)?;
        // Every order that the exchange has under the id counts: a second one would be a second effect.
        order.version = held.iter().map(HeldOrder::changes).sum();
        Ok(order)
    }

    async fn inject_fault(&self, fault: VenueFault) -> HarnessResult<()> {
        match fault {
            VenueFault::ReplyLost => {
                let mut faults = self.faults.as_array().unwrap().clone();
                faults.push(json!({"name": "answer_lost", "count": 1}));
                self.venue.faults(Value::Array(faults)).await;
            }
            VenueFault::Unreachable => self.adapter.cut_line().await,
        }
        Ok(())
    }

    async fn approve_terms(&self, _: &Order, _: &ReplaceTerms) -> HarnessResult<ApprovedUnderCaps<Placement>> {
        Err("the venue plans nothing".into())
    }

    async fn open_legs(&self, order_id: &OrderId) -> HarnessResult<Vec<VenueLeg>> {
        let held = self.held(order_id).await?;
        let open = held.iter().filter(|one| one.is_open());
        open.map(HeldOrder::venue_leg).collect()
    }

    async fn advance_clock_to(&self, at: Timestamp) {
        // The exchange has the machine's clock. Nothing is ever due of its orders.
        sleep(at.saturating_duration_since(Timestamp::now())).await;
    }
}

impl FaultyHarness for ExchangeHarness {
    async fn claim_resting_order(&self, terms: CaseTerms) -> HarnessResult<Approved<Placement>> {
        Ok(self.claim(terms, OPEN_LIMITS))
    }

    async fn held_legs(&self, order_id: &OrderId) -> HarnessResult<Vec<HeldLeg>> {
        self.held(order_id).await?.iter().map(HeldOrder::held_leg).collect()
    }

    async fn begin_faults(&self) -> HarnessResult<()> {
        self.venue.faults(self.faults.clone()).await;
        Ok(())
    }

    async fn end_faults(&self) -> HarnessResult<()> {
        self.venue.faults(json!([])).await;
        // A ban would outlast its fault.
        self.venue.control("/control/limits/reset", json!({})).await.ok();
        Ok(())
    }

    fn latest_effect(&self) -> Duration {
        LATEST_EFFECT
    }
}

/// How long after a request it may take effect at the exchange, or its order be hidden from queries: more than every delay
/// that the tests ask for.
pub const LATEST_EFFECT: Duration = Duration::from_millis(2_000);
