//! The conformance suite over the real book: the paper venues on Redis, through the worker's own settlement.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use order_router::brokers::adapter::{Adapter, Booked, Placement};
use order_router::brokers::conformance::{Arranged, Deadline, Harness, Lease, Terms, Trouble, run};
use order_router::brokers::paper::{PaperVenue, binance, ibkr};
use order_router::brokers::port::{BookError, PaperBook};
use order_router::config::Settings;
use order_router::domain::control::Control;
use order_router::domain::day::DayFigures;
use order_router::domain::decimal::Decimal;
use order_router::domain::execution::{VenueReport, VenueState};
use order_router::domain::id::{AccountId, BrokerPrefix, ClientOrderId, LeaseToken, OrderId};
use order_router::domain::instrument::Instrument;
use order_router::domain::intent::{Intent, RiskOverrides};
use order_router::domain::metadata::Metadata;
use order_router::domain::order::Order;
use order_router::domain::quantity::{Price, Quantity};
use order_router::domain::settlement::{Deltas, Reservation};
use order_router::domain::terms::{Mode, OrderType};
use order_router::domain::time::Timestamp;
use order_router::risk::{Approved, Decision, Subject, assess};
use order_router::store::Store;
use order_router::store::epoch::{Begun, LateEvents};
use order_router::store::keys::OrderKey;
use order_router::store::reserve::{ClaimOf, Question, Reserve, ReserveAction, Reserved};
use order_router::wire::settlement::{document, read_document};
use order_router::worker::book::StoreBook;
use order_router::worker::limits;
use redis::AsyncCommands;

use crate::rig::Rig;

/// For a store that nobody else appends for.
pub const NOTHING_LATE: LateEvents = LateEvents {
    from_sequence: 1,
    span_ms: 0,
};

/// The real book, which breaks once when asked to.
struct Fragile {
    book: StoreBook,
    trouble: Mutex<Option<Trouble>>,
}

impl Fragile {
    fn before(&self) -> Result<bool, BookError> {
        match self.trouble.lock().unwrap().take() {
            Some(Trouble::Unreachable) => Err(BookError::Unavailable("cut off".into())),
            Some(Trouble::AnswerLost) => Ok(true),
            None => Ok(false),
        }
    }
}

fn after(is_lost: bool, booked: Result<Booked, BookError>) -> Result<Booked, BookError> {
    if is_lost {
        Err(BookError::Unknown("the answer was lost".into()))
    } else {
        booked
    }
}

impl PaperBook for Fragile {
    async fn place(&self, placement: &Placement, report: VenueReport) -> Result<Booked, BookError> {
        let is_lost = self.before()?;
        after(is_lost, self.book.place(placement, report).await)
    }

    async fn amend(&self, order: &Order, report: VenueReport) -> Result<Booked, BookError> {
        let is_lost = self.before()?;
        after(is_lost, self.book.amend(order, report).await)
    }
}

struct StoreHarness {
    store: Store,
    book: Arc<Fragile>,
    adapter: PaperVenue<Fragile>,
    instrument: Instrument,
    prefix: BrokerPrefix,
    clock_ms: Arc<AtomicI64>,
    placed: Mutex<Vec<OrderKey>>,
    redis: redis::aio::MultiplexedConnection,
}

/// Returns a store that is whole, on servers of the test's own.
pub async fn whole_store(rig: &Rig) -> Store {
    let store = Store::connect(&rig.settings.redis).await.unwrap();
    let look = store.look().await.unwrap();
    match look.epoch_in_force() {
        Some(epoch) => store.join(epoch),
        None => {
            let Begun::Healing(healing) = store.begin_healing(&look).await.unwrap() else {
                panic!("not ours to heal")
            };
            store
                .finish_healing(&healing, Timestamp::now().milliseconds(), "test", NOTHING_LATE)
                .await
                .unwrap();
        }
    }
    store
}

/// Returns an intent for an instrument.
pub fn intent_for(instrument: &Instrument, terms: Terms) -> Intent {
    let lots = Decimal::from(terms.lots)
        .exact_mul(instrument.lot_size.decimal())
        .unwrap();
    let limit = instrument
        .reference_price
        .decimal()
        .exact_sub("0.5".parse().unwrap())
        .unwrap();
    Intent {
        broker: instrument.broker.clone(),
        venue: instrument.venue.clone(),
        symbol: instrument.symbol.clone(),
        side: terms.side,
        quantity: Quantity::new(lots).unwrap(),
        order_type: terms.order_type,
        price: (terms.order_type == OrderType::Limit).then(|| Price::new(limit).unwrap()),
        time_in_force: terms.time_in_force,
        client_order_id: ClientOrderId::assign(),
        account_id: AccountId::default_account(),
        tags: vec![],
        reduce_only: false,
        estimated_loss: None,
        mode: None,
        expires_at: None,
        risk: RiskOverrides::default(),
    }
}

/// Claims an order in a store, as a worker does.
pub async fn claim(
    store: &Store,
    instrument: &Instrument,
    prefix: BrokerPrefix,
    intent: &Intent,
    deadline: Timestamp,
) -> Approved<Placement> {
    let now = Timestamp::now();
    let lots = instrument.lots(intent.quantity).unwrap();
    let price = intent.price.unwrap_or(instrument.reference_price);
    let reservation = Reservation::of(instrument, intent, lots, price, now.utc_date()).unwrap();
    let limits = limits::of(&Settings::default()).unwrap();
    let assessment = assess(&Subject {
        intent,
        instrument,
        lots,
        reference_price: instrument.reference_price,
        has_reference: true,
        reservation: &reservation,
        limits: &limits,
        control: &Control::unset(),
        day: &DayFigures::flat(now.utc_date()),
        deadline: deadline.max(now.after(std::time::Duration::from_secs(1))),
        now,
    });
    let order = Order::claimed(intent, OrderId::assign(prefix), Mode::Paper, reservation, now);
    let lease = LeaseToken::assign();
    let claim = ClaimOf {
        only_reductions: false,
        deltas: order.claim_deltas(),
        lease: lease.clone(),
        document: document(&order, Deltas::default(), 1, Metadata::new()).encode(),
    };
    let action = ReserveAction::Judge(Box::new(Question {
        scope: order.scope(),
        broker: order.broker.clone(),
        side: order.side,
        lots,
        base_lot: None,
        generation: store.control().await.unwrap().control.generation,
        judged_at_ms: i64::MAX / 2_000,
        caps: assessment.caps().to_vec(),
        alerts: limits.alerts,
        rates: limits.order_rates,
        duplicate: None,
        counts: true,
        claim: Some(claim),
    }));
    let key = OrderKey::new(Mode::Paper, &order.account_id, &order.client_order_id);
    let command = Reserve {
        key,
        order_id: order.order_id.clone(),
        content: order.content.clone(),
        action,
    };
    let Reserved::Claimed(observed) = store.reserve(command).await.unwrap() else {
        panic!("not claimed")
    };
    let placement = Placement {
        order,
        reference_price: instrument.reference_price,
        quote_currency: instrument.quote.clone(),
        deadline,
        lease,
        figures: Metadata::new(),
    };
    match assessment.decide(placement, &observed) {
        Decision::Approved(approved, _) => approved,
        Decision::Denied(reason, _) | Decision::Refused(reason, _) => panic!("{reason:?}"),
    }
}

impl StoreHarness {
    async fn make(rig: &Rig, name: &str) -> Self {
        let store = whole_store(rig).await;
        let book = Arc::new(Fragile {
            book: StoreBook::new(store.clone(), Arc::default()),
            trouble: Mutex::new(None),
        });
        let clock_ms = Arc::new(AtomicI64::new(Timestamp::now().milliseconds()));
        let clock = clock_ms.clone();
        let (venue, prefix) = match name {
            binance::BROKER => (binance::venue(book.clone()).unwrap(), binance::PREFIX),
            _ => (
                ibkr::venue(book.clone(), &rig.settings.brokers.paper_ibkr).unwrap(),
                ibkr::PREFIX,
            ),
        };
        let adapter = venue.with_clock(Arc::new(move || {
            Timestamp::from_milliseconds(clock.load(Ordering::SeqCst))
        }));
        let instruments = rig.settings.instruments.instruments(&rig.settings.risk);
        let instrument = instruments.into_iter().find(|one| one.broker.as_str() == name).unwrap();
        Self {
            store,
            book,
            adapter,
            instrument,
            prefix,
            clock_ms,
            placed: Mutex::default(),
            redis: rig.redis.connection().await,
        }
    }
}

impl Harness for StoreHarness {
    type Adapter = PaperVenue<Fragile>;

    fn adapter(&self) -> &Self::Adapter {
        &self.adapter
    }

    async fn claim(&self, terms: Terms) -> Arranged<Approved<Placement>> {
        let now = Timestamp::now();
        let deadline = match terms.deadline {
            Deadline::Ahead => now.after(std::time::Duration::from_secs(60)),
            Deadline::Passed => Timestamp::from_milliseconds(now.milliseconds() - 1),
        };
        let intent = intent_for(&self.instrument, terms);
        let approved = claim(&self.store, &self.instrument, self.prefix, &intent, deadline).await;
        let order = &approved.get().order;
        let key = OrderKey::new(order.mode, &order.account_id, &order.client_order_id);
        self.placed.lock().unwrap().push(key.clone());
        if terms.lease == Lease::Lost {
            // Another worker holds the order now.
            let mut redis = self.redis.clone();
            let record = format!("{{or}}:order:{}", key.name());
            redis
                .hset::<_, _, _, ()>(record, "tok", "another's")
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(approved)
    }

    async fn open(&self, terms: Terms) -> Arranged<Order> {
        let approved = self.claim(terms).await?;
        let order_id = approved.get().order.order_id.clone();
        if self.adapter.capabilities().broker.as_str() == ibkr::BROKER {
            self.adapter.place(approved).await;
        } else {
            let acknowledgement = VenueReport {
                broker_order_id: None,
                fills: vec![],
                state: VenueState::Working,
                cumulative_quantity: None,
                due: None,
            };
            let booked = self.book.place(approved.get(), acknowledgement).await;
            booked.map_err(|error| error.to_string())?;
        }
        self.order(&order_id).await
    }

    async fn order(&self, order_id: &OrderId) -> Arranged<Order> {
        let keys = self.placed.lock().unwrap().clone();
        for key in keys {
            let record = self.store.read(&key).await.map_err(|error| error.to_string())?;
            let Some(record) = record else { continue };
            let (order, _) = read_document(&record.document).map_err(|error| error.to_string())?;
            if order.order_id == *order_id {
                return Ok(order);
            }
        }
        Err("no such order".into())
    }

    async fn break_next(&self, trouble: Trouble) -> Arranged<()> {
        *self.book.trouble.lock().unwrap() = Some(trouble);
        Ok(())
    }

    async fn reach(&self, at: Timestamp) {
        self.clock_ms.fetch_max(at.milliseconds(), Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_paper_venues_conform_over_redis() {
    let rig = Rig::start().await;
    for name in [binance::BROKER, ibkr::BROKER] {
        let rig = &rig;
        let passed = run(async || Ok(StoreHarness::make(rig, name).await)).await;
        let passed = passed.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert_eq!(passed.len(), 27, "{name}: {passed:?}");
    }
}
