//! A journal of made-up orders: each is acknowledged, partly filled and filled; one in a hundred stays open.

use anyhow::Context;
use async_nats::jetstream;
use order_router::bus::subjects;
use order_router::config::Settings;
use order_router::domain::currency_rates::CurrencyRates;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::{AccountId, ClientOrderId, OrderIdPrefix};
use order_router::domain::instrument::Instrument;
use order_router::domain::metadata::Metadata;
use order_router::domain::order::Order;
use order_router::domain::order_terms::Mode;
use order_router::domain::quantity::Quantity;
use order_router::domain::replace::LegWord;
use order_router::domain::reservation::Reservation;
use order_router::domain::settlement::SumDeltas;
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::{Fill, VenueOrderState, VenueReport};
use order_router::wire::intent::{MissingIdPolicy, decode_intent};
use order_router::wire::journal_report::build_settled_report;
use uuid::Uuid;

/// How many accounts the orders belong to.
const ACCOUNTS: u64 = 1_000;
/// One order in so many stays open.
const OPEN_SHARE: u64 = 100;
/// How many appends are sent before their acknowledgements are awaited.
const APPENDS_IN_FLIGHT: usize = 512;

const INTENT: &[u8] = br#"{"broker":"binance","venue":"binance.spot","symbol":"BTCUSDT","side":"buy","quantity":0.002,
    "order_type":"limit","price":30000,"client_order_id":"made-up","tags":["strategy:recovery"]}"#;

/// Appends made-up events.
pub struct JournalFiller {
    instrument: Instrument,
    orders: u64,
}

impl JournalFiller {
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let instruments = settings.instruments.to_instruments(&settings.risk);
        let mut instruments = instruments.iter();
        let instrument = instruments
            .find(|one| one.symbol.as_str() == "BTCUSDT")
            .context("BTCUSDT")?;
        Ok(Self {
            instrument: instrument.clone(),
            orders: 0,
        })
    }

    /// Appends at least this many events.
    pub async fn append(&mut self, nats: &str, events: u64) -> anyhow::Result<()> {
        let context = jetstream::new(async_nats::connect(nats).await?);
        let (mut appended, mut waiting) = (0, Vec::with_capacity(APPENDS_IN_FLIGHT));
        while appended < events {
            for (subject, document) in self.next_order()? {
                waiting.push(context.publish(subject, document.into()).await?);
                appended += 1;
            }
            if waiting.len() >= APPENDS_IN_FLIGHT {
                for acknowledgement in waiting.drain(..) {
                    acknowledgement.await?;
                }
            }
        }
        for acknowledgement in waiting {
            acknowledgement.await?;
        }
        Ok(())
    }

    /// Returns subject and document of each report of the next order.
    fn next_order(&mut self) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        self.orders += 1;
        let mut intent =
            decode_intent(INTENT, MissingIdPolicy::Refuse).map_err(|fault| anyhow::anyhow!(fault.detail))?;
        intent.client_order_id = ClientOrderId::new(&format!("recovery-{}", self.orders))?;
        intent.account_id = AccountId::new(&format!("account-{}", self.orders % ACCOUNTS))?;
        let now = Timestamp::now();
        let price = intent.price.context("a price")?;
        let reservation = Reservation::for_order(&self.instrument, &intent, price, price, now.utc_date());
        let reservation = reservation.context("the reservation")?;
        let mut order = Order::from_intent(&intent, OrderIdPrefix("BN"), Mode::Paper, reservation, now);
        let half: Decimal = "0.001".parse().map_err(|_| anyhow::anyhow!("a number"))?;
        let fills: u8 = if self.orders.is_multiple_of(OPEN_SHARE) { 1 } else { 2 };
        let mut events = Vec::new();
        for at in 0..=fills {
            let fill = Fill {
                exec_id: format!("{}-{at}", order.order_id),
                quantity: Quantity::new(half)?,
                price,
                timestamp: now,
                fee: Decimal::ZERO,
                fee_currency: "USDT".to_owned(),
            };
            let report = VenueReport {
                broker_order_id: Some(format!("venue-{}", self.orders)),
                fills: if at == 0 { Vec::new() } else { vec![fill] },
                state: VenueOrderState::Working,
                cumulative_quantity: None,
                legs: LegWord::default(),
                due: None,
            };
            let applied = order.apply_report(&report, &CurrencyRates::default(), now)?;
            let reserved = if order.version == 0 {
                order.reservation_deltas()
            } else {
                SumDeltas::default()
            };
            let deltas = reserved.checked_add(&applied.deltas).context("the sums")?;
            order = applied.order;
            order.settle_as(Uuid::now_v7());
            let (today, id) = (now.utc_date(), order.settlement_id);
            let document = build_settled_report(&order, deltas, today, 1, Metadata::new(), id).encode();
            events.push((subjects::report(&order.broker, &order.account_id), document));
        }
        Ok(events)
    }
}
