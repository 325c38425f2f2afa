//! The conformance suite against a small venue behind real sockets. It keeps orders as the venue documents it: an id may be
//! used again once its order is filled, and an open one is a duplicate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::brokers::adapter::{BrokerAdapter, PlaceOutcome, Placement, VenueAcknowledgement};
use crate::brokers::binance::adapter::BinanceSpot;
use crate::brokers::binance::memory_ledger::MemoryLedger;
use crate::brokers::binance::scripted_server::{ReceivedRequest, ServerAction, json};
use crate::brokers::binance::test_bench::{RecordingGate, RecordingInbox, TestBench};
use crate::brokers::binance::test_orders::{btc_order, btc_placement, decimal, price, quantity};
use crate::brokers::conformance::{
    CaseTerms, ConformanceHarness, HarnessResult, PlacementDeadline, VenueFault, VenueLeg, run_suite,
};
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::id::OrderId;
use crate::domain::leg::LegNumber;
use crate::domain::order::Order;
use crate::domain::order_terms::OrderType;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::{LegWord, ReplaceTerms};
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{Fill, VenueOrderState, VenueReport};
use crate::risk::approved::approve_unchecked;
use crate::risk::{Approved, ApprovedUnderCaps};

/// The limit price of the suite's orders; the reference price is 30000.
const LIMIT: &str = "29999.5";

#[derive(Default)]
struct SmallVenue {
    orders: HashMap<String, SmallOrder>,
    keeps_open: bool,
    loses_next_reply: bool,
    next_id: i64,
}

#[derive(Clone)]
struct SmallOrder {
    id: i64,
    request: HashMap<String, String>,
    status: &'static str,
    /// The trade's id and price of an order that is filled.
    trade: Option<(i64, String)>,
    changes: u32,
}

impl SmallOrder {
    fn field(&self, name: &str) -> &str {
        self.request.get(name).map_or("", String::as_str)
    }

    fn executed(&self) -> &str {
        if self.trade.is_some() {
            self.field("quantity")
        } else {
            "0"
        }
    }

    fn to_json(&self, more: &str) -> String {
        let (symbol, id, cid) = (self.field("symbol"), self.id, self.field("newClientOrderId"));
        let (amount, executed, status) = (self.field("quantity"), self.executed(), self.status);
        let (order_type, side) = (self.field("type"), self.field("side"));
        let time_in_force = self.request.get("timeInForce").map_or("GTC", String::as_str);
        format!(
            r#"{{"symbol":"{symbol}","orderId":{id},"clientOrderId":"{cid}","transactTime":1,"time":1,
                "origQty":"{amount}","executedQty":"{executed}","status":"{status}","timeInForce":"{time_in_force}",
                "type":"{order_type}","side":"{side}"{more}}}"#
        )
    }

    fn report(&self) -> VenueReport {
        let fills = self.trade.iter().map(|(id, at)| Fill {
            exec_id: id.to_string(),
            quantity: quantity(self.executed()),
            price: price(at),
            timestamp: Timestamp::now(),
            fee: decimal("0"),
            fee_currency: "USDT".into(),
        });
        VenueReport {
            broker_order_id: Some(self.id.to_string()),
            fills: fills.collect(),
            state: match self.status {
                "CANCELED" => VenueOrderState::Cancelled(Reason::new(ReasonCode::CancelRequested, "cancelled")),
                _ => VenueOrderState::Working,
            },
            cumulative_quantity: Some(decimal(self.executed())),
            legs: LegWord::default(),
            due: None,
        }
    }
}

impl SmallVenue {
    fn answer(&mut self, request: &ReceivedRequest) -> ServerAction {
        let fields: HashMap<String, String> = request
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let is_read = request.method == "GET";
        let reply = match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/api/v3/order") => self.place(fields),
            ("POST", "/api/v3/order/cancelReplace") => self.cancel_replace(fields),
            ("PUT", "/api/v3/order/amend/keepPriority") => self.amend(&fields),
            ("DELETE", "/api/v3/order") => self.cancel(&fields["origClientOrderId"]),
            ("GET", "/api/v3/order") => match self.orders.get(&fields["origClientOrderId"]) {
                Some(order) => json(200, &order.to_json("")),
                None => json(400, r#"{"code":-2013,"msg":"Order does not exist."}"#),
            },
            ("GET", "/api/v3/myTrades") => self.trades(&fields["orderId"]),
            _ => panic!("{request:?}"),
        };
        if !is_read && std::mem::take(&mut self.loses_next_reply) {
            return ServerAction::Close;
        }
        reply
    }

    fn place(&mut self, fields: HashMap<String, String>) -> ServerAction {
        let id = fields["newClientOrderId"].clone();
        if self.orders.get(&id).is_some_and(|order| order.status == "NEW") {
            return json(400, r#"{"code":-2010,"msg":"Duplicate order sent."}"#);
        }
        self.next_id += 1;
        // No new terms of an order meet another order.
        let keeps_open = self.keeps_open || is_leg_of_replace(&id);
        let is_resting = keeps_open && fields.get("timeInForce").is_some_and(|word| word == "GTC");
        let filled_at = fields.get("price").cloned().unwrap_or_else(|| "30000".to_owned());
        let changes = self.orders.get(&id).map_or(0, |order| order.changes) + 1;
        let order = SmallOrder {
            id: self.next_id,
            request: fields,
            status: if is_resting { "NEW" } else { "FILLED" },
            trade: (!is_resting).then_some((self.next_id, filled_at)),
            changes,
        };
        let fills = order.trade.iter().map(|(id, at)| {
            let amount = order.field("quantity");
            format!(r#"{{"price":"{at}","qty":"{amount}","commission":"0","commissionAsset":"USDT","tradeId":{id}}}"#)
        });
        let reply = order.to_json(&format!(r#","fills":[{}]"#, fills.collect::<String>()));
        self.orders.insert(id, order);
        json(200, &reply)
    }

    fn cancel(&mut self, id: &str) -> ServerAction {
        match self.orders.get_mut(id) {
            Some(order) if order.status == "NEW" => {
                order.status = "CANCELED";
                order.changes += 1;
                let original = format!(r#","origClientOrderId":"{id}""#);
                let reply = order.to_json(&original);
                json(
                    200,
                    &reply.replace(&format!(r#""clientOrderId":"{id}""#), r#""clientOrderId":"cancel""#),
                )
            }
            _ => json(400, r#"{"code":-2011,"msg":"Unknown order sent."}"#),
        }
    }

    /// The venue's `STOP_ON_FAILURE` with `ONLY_NEW`.
    fn cancel_replace(&mut self, fields: HashMap<String, String>) -> ServerAction {
        let cancelled = fields["cancelOrigClientOrderId"].clone();
        let (status, cancelled) = body_of(self.cancel(&cancelled));
        if status != 200 {
            let body = format!(
                r#"{{"code":-2022,"msg":"Order cancel-replace failed.","data":{{"cancelResult":"FAILURE",
                    "newOrderResult":"NOT_ATTEMPTED","cancelResponse":{cancelled},"newOrderResponse":null}}}}"#
            );
            return json(400, &body);
        }
        let (_, placed) = body_of(self.place(fields));
        let body = format!(
            r#"{{"cancelResult":"SUCCESS","newOrderResult":"SUCCESS","cancelResponse":{cancelled},
                "newOrderResponse":{placed}}}"#
        );
        json(200, &body)
    }

    fn amend(&mut self, fields: &HashMap<String, String>) -> ServerAction {
        let (id, next_id) = (&fields["origClientOrderId"], &fields["newClientOrderId"]);
        if self.orders.get(id).is_none_or(|order| order.status != "NEW") {
            return json(400, r#"{"code":-2038,"msg":"Unknown order sent."}"#);
        }
        let mut order = self.orders.remove(id).unwrap();
        order.changes += 1;
        for (name, value) in [("quantity", &fields["newQty"]), ("newClientOrderId", next_id)] {
            order.request.insert(name.to_owned(), value.clone());
        }
        let body = format!(
            r#"{{"transactTime":1,"executionId":1,"amendedOrder":{{"orderId":{},"clientOrderId":"{next_id}"}}}}"#,
            order.id
        );
        self.orders.insert(next_id.clone(), order);
        json(200, &body)
    }

    fn trades(&self, order_id: &str) -> ServerAction {
        let order = self.orders.values().find(|order| order.id.to_string() == order_id);
        let trades = order.into_iter().filter_map(|order| {
            let (id, at) = order.trade.as_ref()?;
            let amount = order.field("quantity");
            Some(format!(
                r#"{{"symbol":"BTCUSDT","id":{id},"orderId":{order_id},"price":"{at}","qty":"{amount}","commission":"0",
                    "commissionAsset":"USDT","time":1,"isBuyer":true}}"#
            ))
        });
        json(200, &format!("[{}]", trades.collect::<String>()))
    }
}

/// Reports whether a client order id is that of an order's second leg, or a later one.
fn is_leg_of_replace(id: &str) -> bool {
    LegNumber::split_venue_id(&OrderId::new(id).unwrap()).1 != LegNumber::FIRST
}

/// Returns status and body of an answer.
fn body_of(action: ServerAction) -> (u16, String) {
    let ServerAction::Write(text) = action else {
        panic!("{action:?}")
    };
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.parse().unwrap(), body.to_owned())
}

struct BinanceHarness {
    bench: TestBench,
    venue: Arc<Mutex<SmallVenue>>,
    claimed: Mutex<HashMap<OrderId, Order>>,
}

impl BinanceHarness {
    async fn start() -> HarnessResult<Self> {
        let venue: Arc<Mutex<SmallVenue>> = Arc::default();
        let answering = Arc::clone(&venue);
        let bench = TestBench::start(move |request| answering.lock().unwrap().answer(request)).await;
        Ok(Self {
            bench,
            venue,
            claimed: Mutex::default(),
        })
    }

    fn claim(&self, terms: CaseTerms) -> Placement {
        let mut claimed = self.claimed.lock().unwrap();
        let id = format!("BN-{:032x}", claimed.len() + 1);
        let amount = format!("{}.{:02}", terms.lots / 100, terms.lots % 100);
        let limit = (terms.order_type == OrderType::Limit).then_some(LIMIT);
        let mut order = btc_order(&id, &amount, limit, terms.time_in_force);
        order.side = terms.side;
        claimed.insert(order.order_id.clone(), order.clone());
        let mut placement = btc_placement(order, Duration::from_secs(60));
        if terms.deadline == PlacementDeadline::Passed {
            placement.deadline = Timestamp::from_milliseconds(Timestamp::now().as_milliseconds() - 1);
        }
        placement
    }
}

fn apply(order: &Order, report: &VenueReport) -> HarnessResult<Order> {
    let update = order.apply_report(report, &CurrencyRates::default(), Timestamp::now());
    update.map(|update| update.order).map_err(|error| error.to_string())
}

impl ConformanceHarness for BinanceHarness {
    type Adapter = BinanceSpot<MemoryLedger, RecordingInbox, RecordingGate>;

    fn adapter(&self) -> &Self::Adapter {
        &self.bench.adapter
    }

    async fn claim_order(&self, terms: CaseTerms) -> HarnessResult<Approved<Placement>> {
        Ok(approve_unchecked(self.claim(terms)))
    }

    async fn open_order(&self, terms: CaseTerms) -> HarnessResult<Order> {
        self.venue.lock().unwrap().keeps_open = true;
        let placement = self.claim(terms);
        let claimed = placement.order.clone();
        let outcome = self.bench.adapter.place(approve_unchecked(placement)).await;
        self.venue.lock().unwrap().keeps_open = false;
        match outcome {
            PlaceOutcome::Acknowledged(VenueAcknowledgement::Reported(report)) => apply(&claimed, &report),
            other => Err(format!("the venue did not take the order: {other:?}")),
        }
    }

    async fn read_order(&self, order_id: &OrderId) -> HarnessResult<Order> {
        let claimed = self
            .claimed
            .lock()
            .unwrap()
            .get(order_id)
            .cloned()
            .ok_or("unknown order")?;
        let Some(held) = self.venue.lock().unwrap().orders.get(order_id.as_str()).cloned() else {
            return Ok(claimed);
        };
        let mut order = apply(&claimed, &held.report())?;
        order.version = held.changes;
        Ok(order)
    }

    async fn inject_fault(&self, fault: VenueFault) -> HarnessResult<()> {
        match fault {
            VenueFault::ReplyLost => self.venue.lock().unwrap().loses_next_reply = true,
            VenueFault::Unreachable => {
                let trading = &self.bench.session.client.trading;
                trading.drop_idle();
                trading.connector().fail_next_connect();
            }
        }
        Ok(())
    }

    async fn approve_terms(&self, _: &Order, _: &ReplaceTerms) -> HarnessResult<ApprovedUnderCaps<Placement>> {
        Err("the venue plans nothing".into())
    }

    async fn open_legs(&self, order_id: &OrderId) -> HarnessResult<Vec<VenueLeg>> {
        let venue = self.venue.lock().unwrap();
        let open = venue.orders.iter().filter(|(_, order)| order.status == "NEW");
        let legs = open.filter_map(|(id, order)| {
            let (of_order, leg) = LegNumber::split_venue_id(&OrderId::new(id).unwrap());
            (of_order == *order_id).then(|| VenueLeg {
                leg,
                price: price(order.field("price")),
                quantity: quantity(order.field("quantity")),
            })
        });
        Ok(legs.collect())
    }

    async fn advance_clock_to(&self, at: Timestamp) {
        tokio::time::sleep(at.saturating_duration_since(Timestamp::now())).await;
    }
}

#[tokio::test]
async fn the_adapter_passes_every_case_of_a_venue() {
    let passed = run_suite(BinanceHarness::start)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(
        passed,
        [
            "P01", "P02", "P05", "P06", "P07", "S01", "S03", "S05", "S06", "C01", "C02", "C03", "C04", "C05", "C06",
            "C07", "D01", "D02", "D03", "D04", "D05", "D06", "D07", "R03", "R04", "R05", "R06", "R07", "R08", "R09",
        ]
    );
}
