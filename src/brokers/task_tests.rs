use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::*;
use crate::brokers::adapter::{Acknowledgement, Capabilities, Effects};
use crate::brokers::memory_book::make;
use crate::domain::execution::{VenueReport, VenueState};
use crate::domain::id::BrokerPrefix;
use crate::domain::terms::TimeInForce;
use crate::risk::approved::unchecked;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the stub does with a call, by the order's quantity.
const HANGS: &str = "404";
const PANICS: &str = "13";

/// An adapter whose calls wait for a permit of the gate.
struct Gated {
    capabilities: Capabilities,
    gate: Arc<Semaphore>,
    places: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
}

fn report() -> VenueReport {
    VenueReport {
        broker_order_id: None,
        fills: vec![],
        state: VenueState::Working,
        cumulative_quantity: None,
        due: None,
    }
}

impl Adapter for Gated {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn place(&self, placement: Approved<Placement>) -> PlaceOutcome {
        self.places.fetch_add(1, Ordering::SeqCst);
        let quantity = placement.get().order.quantity;
        if quantity == make::quantity(PANICS) {
            panic!("on purpose");
        }
        if quantity == make::quantity(HANGS) {
            std::future::pending::<()>().await;
        }
        self.under_way.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.acquire().await);
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        PlaceOutcome::Acknowledged(Acknowledgement::Reported(report()))
    }

    async fn cancel(&self, order: Order) -> CancelOutcome {
        if order.quantity == make::quantity(HANGS) {
            std::future::pending::<()>().await;
        }
        CancelOutcome::Reported(report())
    }

    async fn due(&self, order: Order) -> DueOutcome {
        if order.quantity == make::quantity(HANGS) {
            std::future::pending::<()>().await;
        }
        DueOutcome::NothingDue
    }

    async fn inquire(&self, order: Order) -> Inquiry {
        if order.quantity == make::quantity(HANGS) {
            std::future::pending::<()>().await;
        }
        Inquiry::NotFound
    }
}

struct Bench {
    handle: BrokerHandle,
    joined: JoinHandle<()>,
    gate: Arc<Semaphore>,
    places: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
}

fn bench(settings: &BrokerTaskSettings) -> Bench {
    let gate = Arc::new(Semaphore::new(0));
    let (places, under_way) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let adapter = Gated {
        capabilities: Capabilities {
            broker: BrokerId::new("stub").unwrap(),
            prefix: BrokerPrefix("ST"),
            venues: vec![],
            times_in_force: vec![TimeInForce::Gtc],
            effects: Effects::OutliveUs,
        },
        gate: Arc::clone(&gate),
        places: Arc::clone(&places),
        under_way: Arc::clone(&under_way),
    };
    let (handle, joined) = BrokerTask::spawn(adapter, settings);
    Bench {
        handle,
        joined,
        gate,
        places,
        under_way,
    }
}

fn small() -> BrokerTaskSettings {
    BrokerTaskSettings {
        queue_max: 2,
        cancel_queue_max: 2,
        max_in_flight: 3,
        call_timeout_ms: 5_000,
    }
}

fn order(amount: &str) -> Order {
    make::order(amount, Some("180"), TimeInForce::Gtc, Timestamp::now())
}

fn placing(amount: &str) -> Approved<Placement> {
    unchecked(make::placement(order(amount), Timestamp::now()))
}

fn spawn_place(handle: &BrokerHandle, placement: Approved<Placement>) -> JoinHandle<PlaceOutcome> {
    let handle = handle.clone();
    tokio::spawn(async move { handle.place(placement).await })
}

/// Polls until the condition holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let polled = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, polled)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_full_queue_answers_at_once_and_a_cancel_passes_it() {
    let bench = bench(&small());
    let mut taken = Vec::new();
    for calls in 1..=3 {
        taken.push(spawn_place(&bench.handle, placing("1")));
        until("the call is under way", || {
            bench.under_way.load(Ordering::SeqCst) == calls
        })
        .await;
    }
    for _ in 0..2 {
        taken.push(spawn_place(&bench.handle, placing("1")));
    }
    until("two wait", || bench.handle.orders.capacity() == 0).await;
    assert_eq!(
        bench.handle.place(placing("1")).await,
        PlaceOutcome::NotSent(NotSent::QueueFull)
    );
    assert_eq!(
        bench.handle.due(order("1")).await,
        DueOutcome::NotSent(NotSent::QueueFull)
    );
    assert_eq!(bench.handle.cancel(order("1")).await, CancelOutcome::Reported(report()));
    assert_eq!(
        bench.places.load(Ordering::SeqCst),
        3,
        "no more than the bound are under way"
    );
    bench.gate.add_permits(1);
    for call in taken {
        assert!(matches!(call.await.unwrap(), PlaceOutcome::Acknowledged(_)));
    }
}

#[tokio::test]
async fn an_order_that_waited_past_its_deadline_never_reaches_the_adapter() {
    let bench = bench(&BrokerTaskSettings {
        max_in_flight: 1,
        ..small()
    });
    let first = spawn_place(&bench.handle, placing("1"));
    until("one is under way", || bench.under_way.load(Ordering::SeqCst) == 1).await;
    let mut late = make::placement(order("1"), Timestamp::now());
    late.deadline = Timestamp::now().after(Duration::from_millis(5));
    let deadline = late.deadline;
    let late = spawn_place(&bench.handle, unchecked(late));
    until("the deadline has passed", || Timestamp::now() > deadline).await;
    bench.gate.add_permits(1);
    assert_eq!(late.await.unwrap(), PlaceOutcome::NotSent(NotSent::Expired));
    assert!(matches!(first.await.unwrap(), PlaceOutcome::Acknowledged(_)));
    assert_eq!(bench.places.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_that_runs_out_of_time_is_unknown() {
    let bench = bench(&BrokerTaskSettings {
        call_timeout_ms: 20,
        ..small()
    });
    let outcome = bench.handle.place(placing(HANGS)).await;
    assert!(matches!(outcome, PlaceOutcome::OutcomeUnknown(_)), "{outcome:?}");
    let outcome = bench.handle.cancel(order(HANGS)).await;
    assert!(matches!(outcome, CancelOutcome::OutcomeUnknown(_)), "{outcome:?}");
    let outcome = bench.handle.due(order(HANGS)).await;
    assert!(matches!(outcome, DueOutcome::OutcomeUnknown(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_panic_is_unknown_for_its_order_and_the_task_lives_on() {
    let bench = bench(&small());
    bench.gate.add_permits(1);
    for _ in 0..10 {
        let outcome = bench.handle.place(placing(PANICS)).await;
        assert!(matches!(outcome, PlaceOutcome::OutcomeUnknown(_)), "{outcome:?}");
    }
    let outcome = bench.handle.place(placing("1")).await;
    assert!(matches!(outcome, PlaceOutcome::Acknowledged(_)), "{outcome:?}");
}

#[tokio::test]
async fn the_task_finishes_what_it_took_and_ends_with_its_last_handle() {
    let bench = bench(&BrokerTaskSettings {
        max_in_flight: 2,
        queue_max: 8,
        ..small()
    });
    // Callers that stop waiting: what was taken is carried through all the same.
    let callers: Vec<_> = (0..5).map(|_| spawn_place(&bench.handle, placing("1"))).collect();
    until("two are under way and three wait", || {
        bench.under_way.load(Ordering::SeqCst) == 2 && bench.handle.orders.capacity() == 5
    })
    .await;
    for caller in callers {
        caller.abort();
        assert!(caller.await.is_err());
    }
    drop(bench.handle);
    assert!(!bench.joined.is_finished());
    bench.gate.add_permits(1);
    timeout(PATIENCE, bench.joined).await.unwrap().unwrap();
    assert_eq!(bench.places.load(Ordering::SeqCst), 5);
    assert_eq!(bench.under_way.load(Ordering::SeqCst), 0, "none was cut off");
}

#[tokio::test]
async fn a_task_that_has_ended_sends_nothing() {
    let bench = bench(&small());
    bench.joined.abort();
    assert!(bench.joined.await.unwrap_err().is_cancelled());
    let outcome = bench.handle.place(placing("1")).await;
    assert!(
        matches!(outcome, PlaceOutcome::NotSent(NotSent::Unavailable(_))),
        "{outcome:?}"
    );
    assert_eq!(bench.places.load(Ordering::SeqCst), 0);
}
