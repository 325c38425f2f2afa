//! The foundation of the worker tests: real servers, workers of this process, and a caller.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use order_router::bus::connection::{Bus, ConnectPolicy, connect};
use order_router::bus::journal::limits::change_limits;
use order_router::bus::journal::{JournalReader, JournalWriter};
use order_router::bus::request::BusReply;
use order_router::bus::router_client::{RequestError, RouterClient};
use order_router::bus::stream_entry::StoredEntry;
use order_router::bus::subjects;
use order_router::bus::topology;
use order_router::config::Settings;
use order_router::config::limits::LimitSettings;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::time::Timestamp;
use order_router::fault::{Fault, FaultCode};
use order_router::wire::report::ExecutionReport;
use order_router::worker::Worker;

use futures_util::StreamExt;
use futures_util::future::join_all;
use redis::AsyncCommands;

use crate::ledger_view;
use crate::remembered_view;
use crate::support::poll;
use crate::support::servers::{NatsServer, RedisServer};

/// How long anything may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// Keys that live for a second or two, independent of any order.
const SHORT_LIVED: &[&str] = &[
    "rate:",
    "cancels:",
    "sweep",
    "alerts",
    "snapshot_turn",
    "ids",
    "denials:",
];

/// Servers and settings of one router.
pub struct Rig {
    pub nats: NatsServer,
    pub redis: RedisServer,
    pub settings: Settings,
    /// Where sidecars keep their order logs.
    _data: tempfile::TempDir,
}

impl Rig {
    /// Starts the servers; the settings point at them and leave much room below every limit.
    pub async fn start() -> Self {
        let (nats, redis) = tokio::join!(NatsServer::start(), RedisServer::start());
        let mut settings = Settings::default();
        settings.nats.url = nats.url();
        settings.redis.url = redis.url();
        settings.redis.lease_ms = 1_000;
        settings.doors.nak_delay_ms = 50;
        settings.risk.daily_notional_limit = "1000000000".to_owned();
        settings.risk.orders_per_second_and_account = 1_000_000;
        settings.risk.orders_per_second_and_broker = 1_000_000;
        let data = tempfile::tempdir().unwrap();
        settings.data_dir.0 = data.path().to_owned();
        Self {
            nats,
            redis,
            settings,
            _data: data,
        }
    }

    pub async fn worker(&self) -> Worker {
        Worker::start(&self.settings).await.unwrap()
    }

    /// Puts the limits of the settings in force on a journal that has others, as `order-router limits apply` does without a
    /// worker.
    pub async fn apply_limits(&self) {
        let bus = self.bus().await;
        let reader = JournalReader::new(bus.clone());
        let (writer, _task) = JournalWriter::start(bus, self.settings.journal.clone());
        let base = reader.read_limits().await.unwrap().map(|newest| newest.event.hash);
        let limits = LimitSettings::of(&self.settings);
        change_limits(&reader, &writer, &limits, base.as_deref(), ("test", "a test"))
            .await
            .unwrap();
    }

    /// Applies the topology of the settings, as `order-router topology` does.
    pub async fn apply_topology(&self) {
        let brokers = self.settings.brokers.enabled.iter();
        let brokers: Vec<BrokerId> = brokers.map(|name| BrokerId::new(name).unwrap()).collect();
        let (nats, doors) = (&self.settings.nats, &self.settings.doors);
        topology::apply(&self.bus().await, nats, doors, &brokers).await.unwrap();
    }

    pub async fn bus(&self) -> Bus {
        connect(&self.settings.nats, "test", ConnectPolicy::RetryFor(SOON))
            .await
            .unwrap()
    }

    pub async fn caller(&self) -> Client {
        let bus = self.bus().await;
        Client {
            raw: async_nats::connect(self.nats.url()).await.unwrap(),
            caller: RouterClient::new(bus.clone()),
            reader: JournalReader::new(bus),
        }
    }

    /// Returns every key of the store with its content, bookkeeping excepted.
    pub async fn store(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut connection = self.redis.connection().await;
        let keys: Vec<String> = connection.keys("{or}:*").await.unwrap();
        let mut store = BTreeMap::new();
        for key in keys {
            let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.unwrap();
            let content: BTreeMap<String, String> = match kind.as_str() {
                "hash" => {
                    let fields: BTreeMap<String, Vec<u8>> = connection.hgetall(&key).await.unwrap();
                    if let Some(orders) = remembered_view::orders_of_bucket(&key, &fields) {
                        store.extend(orders);
                        continue;
                    }
                    let texts = fields
                        .into_iter()
                        .map(|(field, value)| (field, remembered_view::text_of(&value)));
                    texts.collect()
                }
                "zset" => connection.zrange_withscores(&key, 0, -1).await.unwrap(),
                "set" => {
                    let members: Vec<String> = connection.smembers(&key).await.unwrap();
                    members.into_iter().map(|member| (member, String::new())).collect()
                }
                "none" => continue,
                // A key may expire between two reads: then it is absent.
                _ => match connection.get::<_, Option<String>>(&key).await.unwrap() {
                    Some(value) => [("value".to_owned(), value)].into(),
                    None => continue,
                },
            };
            let name = key.trim_start_matches("{or}:");
            if !SHORT_LIVED.iter().any(|kind| name.starts_with(kind)) {
                let content = if ledger_view::is_ledger(name) {
                    ledger_view::unpack(content)
                } else {
                    content
                };
                store.insert(name.to_owned(), content);
            }
        }
        store
    }

    /// Returns every key of the store.
    pub async fn store_keys(&self) -> Vec<String> {
        let keys: Vec<String> = self.redis.connection().await.keys("{or}:*").await.unwrap();
        keys.into_iter()
            .map(|key| key.trim_start_matches("{or}:").to_owned())
            .collect()
    }

    /// Returns a counter of the store; zero where there is none. Quantities of a holding are in lots of its instrument.
    pub async fn sum(&self, key: &str, field: &str) -> i64 {
        let mut connection = self.redis.connection().await;
        if let Some((ledger, field, day)) = ledger_view::locate(key, field) {
            let fields: BTreeMap<String, String> = connection.hgetall(format!("{{or}}:{ledger}")).await.unwrap();
            let fields = ledger_view::unpack(fields);
            let number = |field: &str| fields.get(field).map_or(0, |text| text.parse::<i128>().unwrap());
            if day.is_some_and(|day| number("day") != i128::from(day)) {
                return 0;
            }
            let is_quantity = ["long", "short", "position"]
                .iter()
                .any(|sum| field.ends_with(&format!(".{sum}")));
            let unit = if is_quantity { self.lot_units(&field) } else { 1 };
            assert_eq!(number(&field) % unit, 0, "{field} has no whole number of lots");
            return i64::try_from(number(&field) / unit).unwrap();
        }
        let value: Option<i64> = connection.hget(format!("{{or}}:{key}"), field).await.unwrap();
        value.unwrap_or(0)
    }

    /// Returns the lot, in units of 1e-8, of the instrument of a holding's field.
    fn lot_units(&self, field: &str) -> i128 {
        let instruments = self.settings.instruments.to_instruments(&self.settings.risk);
        let of = instruments
            .iter()
            .find(|one| field.starts_with(&format!("{}:{}.", one.venue, one.symbol)));
        of.unwrap().lot_size.decimal().to_scaled_integer(8).unwrap()
    }

    /// Waits until the outbox is empty.
    pub async fn quiet_outbox(&self) {
        poll::until(SOON, "an empty outbox", async || {
            !self.store_keys().await.iter().any(|key| key == "outbox")
        })
        .await;
    }

    /// Waits until no order is claimed, in the outbox or in flight.
    pub async fn quiet(&self) {
        poll::until(SOON, "no claims and an empty outbox", async || {
            let keys = self.store_keys().await;
            !keys.iter().any(|key| key == "leases" || key == "outbox")
        })
        .await;
    }
}

/// A caller of the request door and the durable door.
pub struct Client {
    pub caller: RouterClient,
    pub reader: JournalReader,
    pub raw: async_nats::Client,
}

/// Returns an intent's JSON: the terms given, over a small limit buy at `binance`.
pub fn intent(id: &str, over: &[(&str, &str)]) -> String {
    let mut fields: BTreeMap<&str, String> = [
        ("broker", "\"binance\""),
        ("venue", "\"binance.spot\""),
        ("symbol", "\"BTCUSDT\""),
        ("side", "\"buy\""),
        ("quantity", "0.001"),
        ("order_type", "\"limit\""),
        ("price", "30000"),
    ]
    .map(|(name, raw)| (name, raw.to_owned()))
    .into();
    fields.insert("client_order_id", format!("{id:?}"));
    for (name, raw) in over {
        fields.insert(name, (*raw).to_owned());
    }
    let fields: Vec<String> = fields.iter().map(|(name, raw)| format!("{name:?}:{raw}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// Returns an AAPL intent at `ibkr`.
pub fn ibkr(id: &str, over: &[(&str, &str)]) -> String {
    let mut all = vec![
        ("broker", "\"ibkr\""),
        ("venue", "\"ibkr.paper\""),
        ("symbol", "\"AAPL\""),
        ("quantity", "10"),
        ("price", "180"),
    ];
    all.extend_from_slice(over);
    intent(id, &all)
}

fn place(body: &str) -> (BrokerId, AccountId) {
    let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str, or: &str| value[name].as_str().unwrap_or(or).to_owned();
    (
        BrokerId::new(&text("broker", "binance")).unwrap(),
        AccountId::new(&text("account_id", "default")).unwrap(),
    )
}

impl Client {
    /// Submits through the subject its body names.
    pub async fn submit(&self, body: &str) -> Result<BusReply, RequestError> {
        self.submit_within(body, Duration::from_secs(10)).await
    }

    /// Submits with a deadline.
    pub async fn submit_within(&self, body: &str, limit: Duration) -> Result<BusReply, RequestError> {
        let (broker, account) = place(body);
        let subject = subjects::submit(&broker, &account);
        self.caller
            .request(&subject, body.to_owned().into(), Timestamp::now().saturating_add(limit))
            .await
    }

    pub async fn report(&self, body: &str) -> ExecutionReport {
        let reply = self
            .submit(body)
            .await
            .unwrap_or_else(|error| panic!("{body}: {error}"));
        ExecutionReport::decode(&reply.body).unwrap()
    }

    pub async fn fault(&self, body: &str) -> Fault {
        match self.submit(body).await {
            Err(RequestError::Fault(fault)) => fault,
            other => panic!("{body}: {other:?}"),
        }
    }

    pub async fn call(&self, subject: &str, body: &str) -> Result<Vec<u8>, RequestError> {
        let deadline = Timestamp::now().saturating_add(Duration::from_secs(10));
        self.caller
            .request(subject, body.to_owned().into(), deadline)
            .await
            .map(|reply| reply.body)
    }

    /// Calls get or cancel for an order of the default account.
    pub async fn order(&self, what: &str, broker: &str, body: &str) -> Result<ExecutionReport, Fault> {
        let (broker, account) = (BrokerId::new(broker).unwrap(), AccountId::new("default").unwrap());
        let subject = match what {
            "get" => subjects::get(&broker, Some(&account)),
            _ => subjects::cancel(&broker, Some(&account)),
        };
        match self.call(&subject, body).await {
            Ok(body) => Ok(ExecutionReport::decode(&body).unwrap()),
            Err(RequestError::Fault(fault)) => Err(fault),
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns every entry of the journal except the limits and the day rolls.
    pub async fn journal(&self) -> Vec<StoredEntry> {
        let mut entries = self.whole_journal().await;
        let of_a_start = ["day", subjects::LIMITS_EVENT_KIND].map(|kind| subjects::event(kind, None));
        entries.retain(|entry| !of_a_start.contains(&entry.subject));
        entries
    }

    /// Returns every entry of the journal.
    pub async fn whole_journal(&self) -> Vec<StoredEntry> {
        let info = self.reader.read_extent().await.unwrap();
        let entries = self.reader.replay(1, info.last_sequence).collect::<Vec<_>>().await;
        entries.into_iter().map(|entry| entry.unwrap()).collect()
    }

    /// Returns how many dead letters are kept.
    pub async fn dead_letters(&self) -> u64 {
        let jetstream = async_nats::jetstream::new(self.raw.clone());
        jetstream
            .get_stream(subjects::STREAM_DEAD_LETTERS)
            .await
            .unwrap()
            .cached_info()
            .state
            .messages
    }

    /// Returns how many intents wait in the work queue.
    pub async fn queued(&self) -> u64 {
        let jetstream = async_nats::jetstream::new(self.raw.clone());
        jetstream
            .get_stream(subjects::STREAM_INTENTS)
            .await
            .unwrap()
            .cached_info()
            .state
            .messages
    }

    /// Returns every report of the journal.
    pub async fn reports(&self) -> Vec<ExecutionReport> {
        let entries = self.journal().await;
        let reports = entries.iter().filter(|entry| subjects::is_report(&entry.subject));
        reports
            .map(|entry| ExecutionReport::decode(&entry.body).unwrap())
            .collect()
    }
}

/// Submits all at once; returns the reports and the codes of the faults.
pub async fn race(client: &Client, bodies: Vec<String>) -> (Vec<ExecutionReport>, Vec<FaultCode>) {
    let answers = join_all(bodies.iter().map(|body| client.submit(body))).await;
    let (mut reports, mut codes) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(reply) => reports.push(ExecutionReport::decode(&reply.body).unwrap()),
            Err(RequestError::Fault(fault)) => codes.push(fault.code),
            Err(error) => panic!("{error}"),
        }
    }
    (reports, codes)
}
