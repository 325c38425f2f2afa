//! `GET /events`: which events a client receives, and from which position.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use bytes::Bytes;
use order_router::bus::connection::Bus;
use order_router::bus::{subjects, topology};
use order_router::config::Settings;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::sidecar::Sidecar;
use order_router::wire::report::ExecutionReport;
use serde_json::Value;
use tokio::time::timeout;

use crate::bus_fixture::{self, broker, doors};
use crate::rest_fixture::{RestResponse, SOON, client, client_builder};
use crate::rig::{Rig, ibkr, intent};
use crate::support::servers::NatsServer;

const JOURNALED: &str = include_str!("../../subjects/examples/good/execution-report.journaled.json");

/// NATS with the streams, and a sidecar.
pub struct Events {
    pub nats: NatsServer,
    pub bus: Bus,
    pub settings: Settings,
    pub sidecar: Sidecar,
    /// The directory of the sidecar's order log.
    _data: tempfile::TempDir,
}

impl Events {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(set: impl FnOnce(&mut Settings)) -> Self {
        let (nats, bus) = bus_fixture::start().await;
        let mut settings = Settings::default();
        settings.nats.url = nats.url();
        settings.http.addr.set_port(0);
        let data = tempfile::tempdir().unwrap();
        settings.data_dir.0 = data.path().to_owned();
        set(&mut settings);
        let sidecar = Sidecar::start(&settings).await.unwrap();
        Self {
            nats,
            bus,
            settings,
            sidecar,
            _data: data,
        }
    }

    pub async fn listen(&self, query: &str) -> Listener {
        Listener::open(&self.sidecar, query, &[]).await
    }

    /// Publishes the numbered report of an account; the brokers alternate.
    pub async fn report(&self, account: &str, number: u32) {
        let brokers = ["binance", "ibkr"];
        let broker = BrokerId::new(brokers[number as usize % brokers.len()]).unwrap();
        let subject = subjects::report(&broker, &AccountId::new(account).unwrap());
        self.publish(subject, &report(number)).await;
    }

    pub async fn alert(&self, account: Option<&str>, number: u32) {
        let account = account.map(|account| AccountId::new(account).unwrap());
        let body = format!(r#"{{"message":"{number}"}}"#);
        self.publish(subjects::alert("alert", account.as_ref()), &body).await;
    }

    pub async fn event(&self, kind: &str, account: Option<&str>, body: &str) {
        let account = account.map(|account| AccountId::new(account).unwrap());
        self.publish(subjects::event(kind, account.as_ref()), body).await;
    }

    /// Publishes a message and waits for the acknowledgement of JetStream.
    async fn publish(&self, subject: String, body: &str) {
        let stream = async_nats::jetstream::new(async_nats::connect(self.nats.url()).await.unwrap());
        let sent = stream.publish(subject, Bytes::copy_from_slice(body.as_bytes())).await;
        sent.unwrap().await.unwrap();
    }

    /// Replaces a stream with an empty one.
    async fn recreate(&self, stream: &str) {
        let jetstream = async_nats::jetstream::new(async_nats::connect(self.nats.url()).await.unwrap());
        jetstream.delete_stream(stream).await.unwrap();
        topology::apply(&self.bus, &self.settings.nats, &doors(), &[broker()])
            .await
            .unwrap();
    }

    async fn purge_below(&self, stream: &str, sequence: u64) {
        let jetstream = async_nats::jetstream::new(async_nats::connect(self.nats.url()).await.unwrap());
        let stream = jetstream.get_stream(stream).await.unwrap();
        stream.purge().sequence(sequence).await.unwrap();
    }
}

/// Returns the numbered report as the journal stores it.
pub fn report(number: u32) -> String {
    let mut report = ExecutionReport::decode(JOURNALED.as_bytes()).unwrap();
    assert!(report.settlement.is_some());
    report.version = number;
    String::from_utf8(report.encode()).unwrap()
}

/// One event as a client receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: String,
}

impl Event {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }

    /// Returns the number of a report or an alert.
    pub fn number(&self) -> u32 {
        let json = self.json();
        let message = json["message"].as_str().and_then(|text| text.parse().ok());
        message.unwrap_or_else(|| json["version"].as_u64().unwrap().try_into().unwrap())
    }
}

/// A client of the event stream.
pub struct Listener {
    response: reqwest::Response,
    unread: String,
    /// The last id received, also in a block that is not an event.
    pub last_id: String,
}

impl Listener {
    pub async fn open(sidecar: &Sidecar, query: &str, headers: &[(&str, &str)]) -> Self {
        let response = request_events(sidecar, query, headers).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let mut listener = Self {
            response,
            unread: String::new(),
            last_id: String::new(),
        };
        let head = listener.block().await.unwrap();
        assert!(head.starts_with("retry: 2000\nid: "), "{head}");
        listener
    }

    pub async fn resume(sidecar: &Sidecar, id: &str) -> Self {
        Self::open(sidecar, "", &[("Last-Event-ID", id)]).await
    }

    /// Returns the next block of lines; `None` at the end.
    pub async fn block(&mut self) -> Option<String> {
        let block = loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                break block;
            }
            // A stream that is cut has ended, too: its listener resumes either way.
            let chunk = timeout(SOON, self.response.chunk()).await.expect("another chunk");
            self.unread.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        };
        if let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) {
            self.last_id = id.to_owned();
        }
        Some(block)
    }

    pub async fn next(&mut self) -> Event {
        loop {
            let block = self.block().await.expect("another event");
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::to_owned)
            };
            if let (Some(name), Some(id), Some(data)) = (field("event: "), field("id: "), field("data: ")) {
                assert_eq!(block.lines().count(), 3, "{block}");
                return Event { name, id, data };
            }
        }
    }

    /// Returns the names and numbers of the next events.
    async fn next_numbers(&mut self, count: usize) -> Vec<(String, u32)> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            let event = self.next().await;
            numbers.push((event.name.clone(), event.number()));
        }
        numbers
    }
}

/// Requests an event stream with a client that has no timeout.
pub async fn request_events(sidecar: &Sidecar, query: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let http = client_builder().build().unwrap();
    let mut request = http.get(format!("http://{}/events{query}", sidecar.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    timeout(SOON, request.send()).await.unwrap().unwrap()
}

fn reports(numbers: impl IntoIterator<Item = u32>) -> Vec<(String, u32)> {
    numbers
        .into_iter()
        .map(|number| ("report".to_owned(), number))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_carry_journal_bytes_without_the_settlement() {
    let events = Events::start().await;
    events.report("a", 1).await;
    let mut listener = events.listen("").await;
    events.report("a", 2).await;
    for kind in ["submitting", "released", "state", "lock", "adjustment", "note", "day"] {
        let body = format!("{{\"kind\":\"{kind}\",\"x\":\n0.1000000000000000055511151231257827}}");
        events.event(kind, None, &body).await;
    }
    events.alert(Some("a"), 7).await;
    let event = listener.next().await;
    let mut bare = ExecutionReport::decode(report(2).as_bytes()).unwrap();
    bare.settlement = None;
    assert_eq!(
        (event.name.as_str(), event.data.as_bytes()),
        ("report", &bare.encode()[..])
    );
    assert!(!event.data.contains("settlement") && event.data.contains("\"fills\""));
    // The alert may arrive at any time; journal events keep their order.
    let mut journal = Vec::new();
    for _ in 0..6 {
        let event = listener.next().await;
        if event.name == "alert" {
            assert_eq!(event.number(), 7);
        } else {
            assert!(
                event.data.contains("0.1000000000000000055511151231257827"),
                "{}",
                event.data
            );
            assert_eq!(event.json()["kind"], event.name);
            journal.push(event.name);
        }
    }
    assert_eq!(journal, ["state", "lock", "adjustment", "note", "day"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn account_filter_passes_its_events_and_events_without_an_account() {
    let events = Events::start().await;
    let mut own = events.listen("?account_id=a").await;
    for number in 1..=4 {
        events.report("a", number * 10).await;
        events.report("ab", number * 10 + 1).await;
        events.alert(Some("b"), 6).await;
    }
    events.event("lock", Some("b"), r#"{"version":50}"#).await;
    events.event("lock", Some("a"), r#"{"version":51}"#).await;
    events.event("lock", None, r#"{"version":52}"#).await;
    let mut received = own.next_numbers(6).await;
    events.alert(Some("a"), 7).await;
    events.alert(None, 8).await;
    received.extend(own.next_numbers(2).await);
    let lock = |number| ("lock".to_owned(), number);
    let alert = |number| ("alert".to_owned(), number);
    let expected = [reports([10, 20, 30, 40]), vec![lock(51), lock(52), alert(7), alert(8)]].concat();
    assert_eq!(received, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn resumed_client_receives_each_event_once() {
    let mut events = Events::start().await;
    let mut listener = events.listen("").await;
    // A client that has received no event already has a position.
    let first = listener.last_id.clone();
    for number in 1..=200 {
        events.report("a", number).await;
    }
    assert_eq!(listener.next_numbers(70).await, reports(1..=70));
    let id = listener.last_id.clone();
    drop(listener);
    assert!(id.starts_with("70-0-"), "{id}");

    let mut resumed = Listener::resume(&events.sidecar, &id).await;
    assert_eq!(resumed.next_numbers(60).await, reports(71..=130));
    let id = resumed.last_id.clone();

    // Another sidecar, an alert in between, and the id in the query.
    let sidecar = Sidecar::start(&events.settings).await.unwrap();
    std::mem::replace(&mut events.sidecar, sidecar).drain(SOON).await;
    events.alert(None, 9).await;
    let mut resumed = events.listen(&format!("?last_event_id={id}")).await;
    let mut received = resumed.next_numbers(71).await;
    let alert = received.iter().position(|(name, _)| name == "alert").unwrap();
    assert_eq!(received.remove(alert).1, 9);
    assert_eq!(received, reports(131..=200));

    // The header takes precedence over the query.
    let id = resumed.last_id.clone();
    assert!(id.starts_with("200-1-"), "{id}");
    let query = format!("?last_event_id={first}");
    let mut resumed = Listener::open(&events.sidecar, &query, &[("Last-Event-ID", &id)]).await;
    events.report("a", 201).await;
    assert_eq!(resumed.next_numbers(1).await, reports([201]));
    // By hand: a position that the sidecar never sent, and the whole stream.
    let mut whole = Listener::resume(&events.sidecar, "0-1").await;
    assert_eq!(whole.next_numbers(201).await, reports(1..=201));
    let mut filtered = Listener::open(&events.sidecar, "?account_id=b", &[("Last-Event-ID", "0-0")]).await;
    assert_eq!(filtered.next().await.number(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn position_of_another_stream_restarts_with_a_reset_event() {
    let events = Events::start().await;
    for number in 1..=9 {
        events.report("a", number).await;
    }
    events.alert(None, 1).await;
    let reset_fields = |event: &Event| {
        let json = event.json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        (event.name.clone(), text("stream"), text("reason"))
    };
    let reset = |stream: &str, reason: &str| ("reset".to_owned(), stream.to_owned(), reason.to_owned());
    let mut listener = Listener::resume(&events.sidecar, "9-1").await;
    let id = listener.last_id.clone();

    // Positions beyond the end.
    let mut beyond = Listener::resume(&events.sidecar, "10-1").await;
    let mut far = Listener::resume(&events.sidecar, "9-9999999999999999999").await;
    assert_eq!(reset_fields(&beyond.next().await), reset("journal", "another_stream"));
    assert_eq!(reset_fields(&far.next().await), reset("alerts", "another_stream"));
    events.report("a", 10).await;
    for listener in [&mut beyond, &mut far, &mut listener] {
        assert_eq!(listener.next_numbers(1).await, reports([10]));
    }

    // The position has been purged.
    events.purge_below(subjects::STREAM_REPORTS, 8).await;
    let mut expired = Listener::resume(&events.sidecar, "6-1").await;
    assert_eq!(reset_fields(&expired.next().await), reset("journal", "expired"));
    assert_eq!(expired.next_numbers(3).await, reports([8, 9, 10]));
    let mut whole = Listener::resume(&events.sidecar, "7-1").await;
    assert_eq!(whole.next_numbers(3).await, reports([8, 9, 10]));

    // The stream is recreated while a client listens, and has more entries than the client has received.
    events.recreate(subjects::STREAM_REPORTS).await;
    for number in 21..=40 {
        events.report("a", number).await;
    }
    assert_eq!(reset_fields(&listener.next().await), reset("journal", "another_stream"));
    assert_eq!(listener.next_numbers(20).await, reports(21..=40));
    let mut other = Listener::resume(&events.sidecar, &id).await;
    assert_eq!(reset_fields(&other.next().await), reset("journal", "another_stream"));
    events.alert(None, 2).await;
    assert_eq!(other.next_numbers(1).await, [("alert".to_owned(), 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_position_or_parameter_is_named() {
    let events = Events::start().await;
    for (query, header, code, field) in [
        ("", Some("x"), "invalid_field", "Last-Event-ID"),
        ("", Some(""), "invalid_field", "Last-Event-ID"),
        ("", Some("1-2-3"), "invalid_field", "Last-Event-ID"),
        ("?last_event_id=1", None, "invalid_field", "last_event_id"),
        ("?account_id=a.b", None, "invalid_field", "account_id"),
        ("?account_id=*", None, "invalid_field", "account_id"),
        ("?symbol=BTCUSDT", None, "unknown_field", "symbol"),
    ] {
        let headers: Vec<_> = header.map(|value| ("Last-Event-ID", value)).into_iter().collect();
        let response = RestResponse::read(request_events(&events.sidecar, query, &headers).await).await;
        assert_eq!(
            (response.status, response.code().as_str()),
            (400, code),
            "{query} {header:?}"
        );
        assert_eq!(response.json()["field"], field);
    }
    // Without the streams there are no events to send.
    let bare = NatsServer::start().await;
    let mut settings = events.settings.clone();
    settings.nats.url = bare.url();
    let sidecar = Sidecar::start(&settings).await.unwrap();
    let response = RestResponse::read(request_events(&sidecar, "", &[]).await).await;
    assert_eq!((response.status, response.code().as_str()), (503, "bus_unavailable"));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_orders_are_streamed_as_they_happen() {
    let mut rig = Rig::start().await;
    rig.settings.http.addr.set_port(0);
    let worker = rig.worker().await;
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();
    let mut all = Listener::open(&sidecar, "", &[]).await;
    let mut own = Listener::open(&sidecar, "?account_id=fund", &[]).await;
    let http = client();
    let post = async |path: &str, body: String| {
        let request = http.post(format!("http://{}{path}", sidecar.address()));
        let request = request.header("Content-Type", "application/json").body(body);
        RestResponse::read(request.send().await.unwrap()).await
    };
    assert_eq!(post("/orders", intent("a1", &[])).await.status, 201);
    let open = ibkr("f1", &[("account_id", "\"fund\""), ("quantity", "100")]);
    assert_eq!(post("/orders", open).await.status, 201);
    // The remainder is open at the venue for three seconds, unless it is cancelled.
    let response = post("/orders/ibkr/cancel-all", r#"{"account_id":"fund"}"#.to_owned()).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.json()["cancelled"][0]["client_order_id"], "f1");
    assert_eq!(response.json()["cancelled"][0]["status"], "cancelled");
    assert_eq!(response.json()["remaining"], serde_json::json!([]));
    let statuses = async |listener: &mut Listener, until: &str| {
        let mut received = Vec::new();
        while received
            .last()
            .is_none_or(|(_, status): &(String, String)| status != until)
        {
            let event = listener.next().await;
            if event.name == "report" {
                let json = event.json();
                let text = |name: &str| json[name].as_str().unwrap().to_owned();
                received.push((text("client_order_id"), text("status")));
            }
        }
        received
    };
    let received = statuses(&mut own, "cancelled").await;
    assert!(
        received.iter().all(|(id, _)| id == "f1") && received.len() >= 2,
        "{received:?}"
    );
    let received = statuses(&mut all, "cancelled").await;
    assert!(
        received.contains(&("a1".to_owned(), "filled".to_owned())),
        "{received:?}"
    );
    let change = http.put(format!("http://{}/state", sidecar.address()));
    let change = change.header("Content-Type", "application/json");
    let change = change.body(r#"{"trading_state":"halted","reason":"r"}"#);
    assert_eq!(change.send().await.unwrap().status(), 200);
    for listener in [&mut all, &mut own] {
        let event = loop {
            let event = listener.next().await;
            if event.name == "state" {
                break event;
            }
        };
        assert_eq!(event.json()["trading_state"], "halted");
    }
    sidecar.drain(SOON).await;
    worker.drain(SOON).await;
}
