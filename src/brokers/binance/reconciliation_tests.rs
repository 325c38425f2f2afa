//! The reconciliation against a scripted venue.

use std::sync::{Mutex, OnceLock};

use crate::brokers::binance::reconciliation::*;
use crate::brokers::binance::scripted_server::{ReceivedRequest, ServerAction, json};
use crate::brokers::binance::test_bench::{ORDER_ID, TestBench};
use crate::brokers::binance::test_orders::btc_order;
use crate::domain::order_terms::TimeInForce;
use crate::domain::venue_report::VenueOrderState;

const OTHER_ID: &str = "BN-0190f0a0b0c07d8e9fa0b1c2d3e4f507";

/// What the venue has: orders (id, client order id, status, filled) and trades (id, order id, quantity).
#[derive(Default, Clone)]
struct VenueBook {
    orders: Vec<(i64, &'static str, &'static str, &'static str)>,
    trades: Vec<(i64, i64, &'static str)>,
    /// More entries of the list of open orders.
    extra_open: Vec<&'static str>,
}

/// When the trades took place, in milliseconds.
static TRADED_AT: OnceLock<i64> = OnceLock::new();

impl VenueBook {
    fn order(&self, index: usize) -> String {
        let (id, client_order_id, status, executed) = self.orders[index];
        format!(
            r#"{{"symbol":"BTCUSDT","orderId":{id},"clientOrderId":"{client_order_id}","price":"30000","origQty":"1",
                "executedQty":"{executed}","status":"{status}","timeInForce":"GTC","type":"LIMIT","side":"BUY","time":1}}"#
        )
    }

    fn answer(&self, request: &ReceivedRequest) -> ServerAction {
        let number = |name: &str| request.parameter(name).and_then(|value| value.parse::<i64>().ok());
        match request.path.as_str() {
            "/api/v3/openOrders" => {
                let is_open = |status: &str| ["NEW", "PARTIALLY_FILLED"].contains(&status);
                let open = (0..self.orders.len()).filter(|at| is_open(self.orders[*at].2));
                let mut open: Vec<String> = open.map(|at| self.order(at)).collect();
                open.extend(self.extra_open.iter().map(|text| (*text).to_owned()));
                json(200, &format!("[{}]", open.join(",")))
            }
            "/api/v3/order" => {
                let found = self.orders.iter().position(|(id, client_order_id, ..)| {
                    number("orderId") == Some(*id) || request.parameter("origClientOrderId") == Some(*client_order_id)
                });
                match found {
                    Some(index) => json(200, &self.order(index)),
                    None => json(400, r#"{"code":-2013,"msg":"Order does not exist."}"#),
                }
            }
            "/api/v3/allOrders" => {
                let from = number("orderId").unwrap();
                let listed =
                    (0..self.orders.len()).filter(|at| self.orders[*at].0 >= from && self.orders[*at].0 != 1_003);
                json(
                    200,
                    &format!("[{}]", listed.map(|at| self.order(at)).collect::<Vec<_>>().join(",")),
                )
            }
            "/api/v3/myTrades" => {
                // A trade has one time, whichever list has it.
                let now = *TRADED_AT.get_or_init(|| Timestamp::now().as_milliseconds());
                let of_order = number("orderId");
                let trades = self.trades.iter().filter(|(id, order_id, _)| {
                    of_order.is_none_or(|of| of == *order_id) && number("fromId").is_none_or(|from| *id >= from)
                });
                let trades = trades.take(TRADES_PER_PAGE).map(|(id, order_id, quantity)| {
                    format!(
                        r#"{{"symbol":"BTCUSDT","id":{id},"orderId":{order_id},"price":"30000","qty":"{quantity}",
                            "commission":"0","commissionAsset":"BNB","time":{now},"isBuyer":true}}"#
                    )
                });
                json(200, &format!("[{}]", trades.collect::<Vec<_>>().join(",")))
            }
            _ => panic!("{request:?}"),
        }
    }
}

async fn start(book: VenueBook) -> (TestBench, Arc<Mutex<VenueBook>>) {
    let shared = Arc::new(Mutex::new(book));
    let answering = Arc::clone(&shared);
    let bench = TestBench::start(move |request| answering.lock().unwrap().answer(request)).await;
    (bench, shared)
}

fn open_here(id: &str) -> Order {
    let mut order = btc_order(id, "1", Some("30000"), TimeInForce::Gtc);
    order.status = Some(OrderStatus::Accepted);
    order.version = 1;
    order
}

fn delivered(bench: &TestBench) -> Vec<(String, Vec<String>)> {
    let notices = bench.inbox.delivered();
    let ids = |notice: &VenueNotice| notice.report.fills.iter().map(|fill| fill.exec_id.clone()).collect();
    notices
        .iter()
        .map(|notice| (notice.order_id.to_string(), ids(notice)))
        .collect()
}

#[tokio::test]
async fn missed_fills_and_missed_ends_are_found() {
    let (bench, _) = start(VenueBook {
        orders: vec![
            (28, ORDER_ID, "PARTIALLY_FILLED", "0.4"),
            (29, OTHER_ID, "CANCELED", "0"),
            (30, "web_of_somewhere", "FILLED", "1"),
            (31, "web_open", "NEW", "0"),
        ],
        trades: vec![(7, 28, "0.4"), (8, 30, "1")],
        ..VenueBook::default()
    })
    .await;
    *bench.inbox.open.lock().unwrap() = vec![open_here(ORDER_ID), open_here(OTHER_ID)];
    let mut reconciliation = Reconciliation::default();
    reconciliation.run_once(&bench.session).await.unwrap();
    let fill = |id: &str| vec![id.to_owned()];
    assert_eq!(
        delivered(&bench),
        [
            (ORDER_ID.to_owned(), fill("7")), // the open order with its fill, which is no trade to ask about
            ("web_of_somewhere".to_owned(), fill("8")), // a fill that the router did not order
            (OTHER_ID.to_owned(), vec![]),    // an end that the stream did not bring
        ]
    );
    let ended = &bench.inbox.delivered()[2].report.state;
    assert!(matches!(ended, VenueOrderState::Cancelled(_)), "{ended:?}");
}

#[tokio::test]
async fn settled_trades_are_not_settled_again_and_new_ones_are() {
    let (bench, book) = start(VenueBook {
        orders: vec![(28, ORDER_ID, "FILLED", "1")],
        trades: vec![(7, 28, "0.4")],
        ..VenueBook::default()
    })
    .await;
    let mut reconciliation = Reconciliation::default();
    reconciliation.run_once(&bench.session).await.unwrap();
    reconciliation.run_once(&bench.session).await.unwrap();
    assert_eq!(delivered(&bench).len(), 1);
    book.lock().unwrap().trades.push((9, 28, "0.6"));
    reconciliation.run_once(&bench.session).await.unwrap();
    assert_eq!(delivered(&bench)[1..], [(ORDER_ID.to_owned(), vec!["9".to_owned()])]);
    // A venue that was wiped begins with small ids again.
    book.lock().unwrap().trades = vec![(1, 28, "0.1")];
    reconciliation.run_once(&bench.session).await.unwrap();
    assert_eq!(delivered(&bench)[2..], [(ORDER_ID.to_owned(), vec!["1".to_owned()])]);
}

#[tokio::test]
async fn worker_that_starts_reads_the_trades_since_the_last_complete_reading() {
    let (bench, _) = start(VenueBook {
        orders: vec![(28, ORDER_ID, "FILLED", "1")],
        trades: vec![(7, 28, "1")],
        ..VenueBook::default()
    })
    .await;
    let symbol = bench.session.symbols[0].clone();
    let recorded = || bench.inbox.settled_trades.lock().unwrap().get(&symbol).copied();
    let begins = || {
        let reads = bench.server.requests("/api/v3/myTrades");
        let begins = reads
            .iter()
            .filter_map(|read| read.parameter("startTime")?.parse::<i64>().ok());
        begins.collect::<Vec<_>>()
    };
    // What is not settled is not passed.
    *bench.inbox.failures.lock().unwrap() = 3;
    let failed = Reconciliation::default().run_once(&bench.session).await;
    assert_eq!((failed, recorded()), (Err(ReconciliationError::Unreadable(1)), None));
    let mut first = Reconciliation::default();
    first.run_once(&bench.session).await.unwrap();
    let (until, reading) = recorded().unwrap();
    assert_eq!(reading, TradeReading::Whole);
    first.run_once(&bench.session).await.unwrap();
    assert_eq!(recorded().map(|(_, reading)| reading), Some(TradeReading::Continued));
    let mut next = Reconciliation::default();
    next.run_once(&bench.session).await.unwrap();
    assert_eq!(recorded().map(|(_, reading)| reading), Some(TradeReading::Continued));
    let begins = begins();
    let day = i64::try_from(FIRST_LOOK_BACK.as_millis()).unwrap();
    let overlap = i64::try_from(OVERLAP.as_millis()).unwrap();
    assert_eq!(begins.len(), 4, "{begins:?}");
    assert!(begins[1] <= until.as_milliseconds() - day + overlap, "{begins:?}");
    assert!(begins[3] >= until.as_milliseconds(), "{begins:?}");
}

#[tokio::test]
async fn what_is_not_journaled_is_read_again() {
    let (bench, _) = start(VenueBook {
        orders: vec![(28, ORDER_ID, "FILLED", "1")],
        trades: vec![(7, 28, "1")],
        ..VenueBook::default()
    })
    .await;
    *bench.inbox.failures.lock().unwrap() = 3;
    let mut reconciliation = Reconciliation::default();
    let failed = reconciliation.run_once(&bench.session).await;
    assert_eq!(failed, Err(ReconciliationError::Unreadable(1)));
    reconciliation.run_once(&bench.session).await.unwrap();
    assert_eq!(delivered(&bench), [(ORDER_ID.to_owned(), vec!["7".to_owned()])]);
}

#[tokio::test]
async fn a_venue_that_lost_everything_ends_no_order() {
    let (bench, _) = start(VenueBook::default()).await;
    *bench.inbox.open.lock().unwrap() = vec![open_here(ORDER_ID)];
    Reconciliation::default().run_once(&bench.session).await.unwrap();
    assert_eq!(delivered(&bench), []);
    assert_eq!(bench.server.requests("/api/v3/order").len(), 1);
}

#[tokio::test]
async fn an_order_that_cannot_be_read_hides_no_other() {
    let (bench, _) = start(VenueBook {
        orders: vec![(28, ORDER_ID, "NEW", "0")],
        extra_open: vec![r#"{"symbol":"BTCUSDT","status":"BRAND_NEW"}"#],
        ..VenueBook::default()
    })
    .await;
    let result = Reconciliation::default().run_once(&bench.session).await;
    assert_eq!(result, Err(ReconciliationError::Unreadable(1)));
    assert_eq!(delivered(&bench), [(ORDER_ID.to_owned(), vec![])]);
}

#[tokio::test]
async fn a_trade_that_cannot_be_settled_holds_up_no_other_and_is_read_again() {
    let (bench, book) = start(VenueBook {
        orders: vec![(28, "an id that is none", "FILLED", "1"), (29, OTHER_ID, "FILLED", "1")],
        trades: vec![(7, 28, "1"), (8, 29, "1"), (9, 30, "1")],
        ..VenueBook::default()
    })
    .await;
    let mut reconciliation = Reconciliation::default();
    let result = reconciliation.run_once(&bench.session).await;
    assert_eq!(result, Err(ReconciliationError::Unreadable(2)));
    assert_eq!(delivered(&bench), [(OTHER_ID.to_owned(), vec!["8".to_owned()])]);
    let mut repaired = book.lock().unwrap().clone();
    repaired.orders = vec![(28, ORDER_ID, "FILLED", "1"), (29, OTHER_ID, "FILLED", "1")];
    repaired.trades.pop();
    *book.lock().unwrap() = repaired;
    reconciliation.run_once(&bench.session).await.unwrap();
    assert_eq!(delivered(&bench)[1..], [(ORDER_ID.to_owned(), vec!["7".to_owned()])]);
}

#[tokio::test]
async fn pages_of_trades_are_read_to_the_end() {
    let trades = (1..=2_300).map(|id| (id, 28, "0.0001"));
    let (bench, _) = start(VenueBook {
        orders: vec![(28, ORDER_ID, "CANCELED", "0.23")],
        trades: trades.collect(),
        ..VenueBook::default()
    })
    .await;
    Reconciliation::default().run_once(&bench.session).await.unwrap();
    let fills: usize = delivered(&bench).iter().map(|(_, fills)| fills.len()).sum();
    assert_eq!(fills, 2_300);
    let pages = bench.server.requests("/api/v3/myTrades");
    let from: Vec<Option<&str>> = pages.iter().map(|page| page.parameter("fromId")).collect();
    assert_eq!(from, [None, Some("1001"), Some("2001")]);
}

#[tokio::test]
async fn orders_of_many_trades_are_read_in_pages() {
    let ids = 1_000..1_010;
    // The list leaves one of them out.
    let book = VenueBook {
        orders: ids.clone().map(|id| (id, "web_of_somewhere", "FILLED", "1")).collect(),
        trades: ids.map(|id| (id - 900, id, "1")).collect(),
        ..VenueBook::default()
    };
    let (bench, _) = start(book.clone()).await;
    let mut reconciliation = Reconciliation::default();
    reconciliation.run_once(&bench.session).await.unwrap();
    assert_eq!(delivered(&bench).len(), 10);
    assert_eq!(bench.server.requests("/api/v3/allOrders").len(), 1);
    let asked = bench.server.requests("/api/v3/order");
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].parameter("orderId"), Some("1003"));

    // A few orders cost less one by one.
    let few = VenueBook {
        orders: book.orders[..5].to_vec(),
        trades: book.trades[..5].to_vec(),
        ..VenueBook::default()
    };
    let (bench, _) = start(few).await;
    Reconciliation::default().run_once(&bench.session).await.unwrap();
    assert_eq!(delivered(&bench).len(), 5);
    assert_eq!(bench.server.requests("/api/v3/allOrders").len(), 0);
}
