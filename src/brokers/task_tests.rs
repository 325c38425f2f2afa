use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::brokers::adapter::{BrokerCapabilities, Effects, VenueAcknowledgement};
use crate::brokers::memory_book::fixtures;
use crate::brokers::task::*;
use crate::domain::id::OrderIdPrefix;
use crate::domain::order::Order;
use crate::domain::order_terms::TimeInForce;
use crate::domain::replace::LegWord;
use crate::domain::venue_report::{VenueOrderState, VenueReport};
use crate::risk::approved::approve_unchecked;

/// How long a test waits for an event.
const TEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The quantities for which a call to the stub hangs or panics.
const HANGING_QUANTITY: &str = "404";
const PANICKING_QUANTITY: &str = "13";

/// An adapter whose calls wait for a permit of the gate.
struct GatedAdapter {
    capabilities: BrokerCapabilities,
    gate: Arc<Semaphore>,
    place_count: Arc<AtomicUsize>,
    in_flight: Arc<AtomicUsize>,
}

fn report() -> VenueReport {
    VenueReport {
        broker_order_id: None,
        fills: vec![],
        state: VenueOrderState::Working,
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: None,
    }
}

impl BrokerAdapter for GatedAdapter {
    fn capabilities(&self) -> &BrokerCapabilities {
        &self.capabilities
    }

    async fn place(&self, placement: Approved<Placement>) -> PlaceOutcome {
        self.place_count.fetch_add(1, Ordering::SeqCst);
        let quantity = placement.inner().order.quantity;
        if quantity == fixtures::quantity(PANICKING_QUANTITY) {
            panic!("on purpose");
        }
        if quantity == fixtures::quantity(HANGING_QUANTITY) {
            std::future::pending::<()>().await;
        }
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.acquire().await);
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report()))
    }

    async fn cancel(&self, order: Order) -> CancelOutcome {
        if order.quantity == fixtures::quantity(HANGING_QUANTITY) {
            std::future::pending::<()>().await;
        }
        CancelOutcome::Reported(report())
    }

    async fn execute_due(&self, order: Order) -> DueOutcome {
        if order.quantity == fixtures::quantity(HANGING_QUANTITY) {
            std::future::pending::<()>().await;
        }
        DueOutcome::NothingDue
    }

    async fn inquire(&self, order: Order) -> InquiryOutcome {
        if order.quantity == fixtures::quantity(HANGING_QUANTITY) {
            std::future::pending::<()>().await;
        }
        InquiryOutcome::NotFound
    }
}

struct TaskBench {
    handle: BrokerHandle,
    joined: JoinHandle<()>,
    gate: Arc<Semaphore>,
    place_count: Arc<AtomicUsize>,
    in_flight: Arc<AtomicUsize>,
}

fn spawn_bench(settings: &BrokerTaskSettings) -> TaskBench {
    let gate = Arc::new(Semaphore::new(0));
    let (place_count, in_flight) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let adapter = GatedAdapter {
        capabilities: BrokerCapabilities {
            broker: BrokerId::new("stub").unwrap(),
            order_id_prefix: OrderIdPrefix("ST"),
            venues: vec![],
            times_in_force: vec![TimeInForce::Gtc],
            effects: Effects::AtVenue,
        },
        gate: Arc::clone(&gate),
        place_count: Arc::clone(&place_count),
        in_flight: Arc::clone(&in_flight),
    };
    let (handle, joined) = BrokerTask::spawn(adapter, settings);
    TaskBench {
        handle,
        joined,
        gate,
        place_count,
        in_flight,
    }
}

fn small_queues() -> BrokerTaskSettings {
    BrokerTaskSettings {
        queue_max: 2,
        cancel_queue_max: 2,
        max_in_flight: 3,
        call_timeout_ms: 5_000,
    }
}

fn order(amount: &str) -> Order {
    fixtures::order(amount, Some("180"), TimeInForce::Gtc, Timestamp::now())
}

fn approved_placement(amount: &str) -> Approved<Placement> {
    approve_unchecked(fixtures::placement(order(amount), Timestamp::now()))
}

fn spawn_place(handle: &BrokerHandle, placement: Approved<Placement>) -> JoinHandle<PlaceOutcome> {
    let handle = handle.clone();
    tokio::spawn(async move { handle.place(placement).await })
}

/// Polls until the condition holds.
async fn wait_until(event: &str, condition: impl Fn() -> bool) {
    let polled = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(TEST_TIMEOUT, polled)
        .await
        .unwrap_or_else(|_| panic!("never: {event}"));
}

#[tokio::test]
async fn full_queue_refuses_at_once_and_cancels_pass() {
    let bench = spawn_bench(&small_queues());
    let mut taken = Vec::new();
    for calls in 1..=3 {
        taken.push(spawn_place(&bench.handle, approved_placement("1")));
        wait_until("the call is in flight", || {
            bench.in_flight.load(Ordering::SeqCst) == calls
        })
        .await;
    }
    for _ in 0..2 {
        taken.push(spawn_place(&bench.handle, approved_placement("1")));
    }
    wait_until("two wait", || bench.handle.orders.capacity() == 0).await;
    assert_eq!(
        bench.handle.place(approved_placement("1")).await,
        PlaceOutcome::NotSent(NotSentReason::QueueFull)
    );
    assert_eq!(
        bench.handle.execute_due(order("1")).await,
        DueOutcome::NotSent(NotSentReason::QueueFull)
    );
    assert_eq!(bench.handle.cancel(order("1")).await, CancelOutcome::Reported(report()));
    assert_eq!(
        bench.place_count.load(Ordering::SeqCst),
        3,
        "no more calls than the bound are in flight"
    );
    bench.gate.add_permits(1);
    for call in taken {
        assert!(matches!(call.await.unwrap(), PlaceOutcome::Acknowledged(_)));
    }
}

#[tokio::test]
async fn order_past_its_deadline_never_reaches_the_adapter() {
    let bench = spawn_bench(&BrokerTaskSettings {
        max_in_flight: 1,
        ..small_queues()
    });
    let first = spawn_place(&bench.handle, approved_placement("1"));
    wait_until("one is in flight", || bench.in_flight.load(Ordering::SeqCst) == 1).await;
    let mut late = fixtures::placement(order("1"), Timestamp::now());
    late.deadline = Timestamp::now().saturating_add(Duration::from_millis(5));
    let deadline = late.deadline;
    let late = spawn_place(&bench.handle, approve_unchecked(late));
    wait_until("the deadline has passed", || Timestamp::now() > deadline).await;
    bench.gate.add_permits(1);
    assert_eq!(
        late.await.unwrap(),
        PlaceOutcome::NotSent(NotSentReason::DeadlinePassed)
    );
    assert!(matches!(first.await.unwrap(), PlaceOutcome::Acknowledged(_)));
    assert_eq!(bench.place_count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn timed_out_call_is_unknown() {
    let bench = spawn_bench(&BrokerTaskSettings {
        call_timeout_ms: 20,
        ..small_queues()
    });
    let outcome = bench.handle.place(approved_placement(HANGING_QUANTITY)).await;
    assert!(matches!(outcome, PlaceOutcome::OutcomeUnknown(_)), "{outcome:?}");
    let outcome = bench.handle.cancel(order(HANGING_QUANTITY)).await;
    assert!(matches!(outcome, CancelOutcome::OutcomeUnknown(_)), "{outcome:?}");
    let outcome = bench.handle.execute_due(order(HANGING_QUANTITY)).await;
    assert!(matches!(outcome, DueOutcome::OutcomeUnknown(_)), "{outcome:?}");
}

#[tokio::test]
async fn panic_is_unknown_for_its_order_and_the_task_continues() {
    let bench = spawn_bench(&small_queues());
    bench.gate.add_permits(1);
    for _ in 0..10 {
        let outcome = bench.handle.place(approved_placement(PANICKING_QUANTITY)).await;
        assert!(matches!(outcome, PlaceOutcome::OutcomeUnknown(_)), "{outcome:?}");
    }
    let outcome = bench.handle.place(approved_placement("1")).await;
    assert!(matches!(outcome, PlaceOutcome::Acknowledged(_)), "{outcome:?}");
}

#[tokio::test]
async fn task_finishes_accepted_calls_and_ends_with_its_last_handle() {
    let bench = spawn_bench(&BrokerTaskSettings {
        max_in_flight: 2,
        queue_max: 8,
        ..small_queues()
    });
    // Callers that stop waiting: accepted calls are executed all the same.
    let callers: Vec<_> = (0..5)
        .map(|_| spawn_place(&bench.handle, approved_placement("1")))
        .collect();
    wait_until("two are in flight and three wait", || {
        bench.in_flight.load(Ordering::SeqCst) == 2 && bench.handle.orders.capacity() == 5
    })
    .await;
    for caller in callers {
        caller.abort();
        assert!(caller.await.is_err());
    }
    drop(bench.handle);
    assert!(!bench.joined.is_finished());
    bench.gate.add_permits(1);
    timeout(TEST_TIMEOUT, bench.joined).await.unwrap().unwrap();
    assert_eq!(bench.place_count.load(Ordering::SeqCst), 5);
    assert_eq!(bench.in_flight.load(Ordering::SeqCst), 0, "every call has finished");
}

#[tokio::test]
async fn ended_task_sends_nothing() {
    let bench = spawn_bench(&small_queues());
    bench.joined.abort();
    assert!(bench.joined.await.unwrap_err().is_cancelled());
    let outcome = bench.handle.place(approved_placement("1")).await;
    assert!(
        matches!(outcome, PlaceOutcome::NotSent(NotSentReason::NotAccepted(_))),
        "{outcome:?}"
    );
    assert_eq!(bench.place_count.load(Ordering::SeqCst), 0);
}
