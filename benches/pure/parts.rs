//! The pure parts of an order: the decoding of its intent, the verdict of all rules, the encoding of its report. Nothing here
//! waits for a server.

use std::time::Duration;

use anyhow::Context;
use order_router::config::Settings;
use order_router::config::limits::LimitSettings;
use order_router::domain::control::ControlState;
use order_router::domain::currency_rates::CurrencyRates;
use order_router::domain::daily_pnl::DailyPnl;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::OrderIdPrefix;
use order_router::domain::instrument::Instrument;
use order_router::domain::intent::Intent;
use order_router::domain::metadata::Metadata;
use order_router::domain::order::Order;
use order_router::domain::order_terms::Mode;
use order_router::domain::quantity::to_quantity_units;
use order_router::domain::replace::LegWord;
use order_router::domain::reservation::Reservation;
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::{Fill, VenueOrderState, VenueReport};
use order_router::risk::limits::RiskLimits;
use order_router::risk::{CapReading, CapReadings, RiskDecision, RuleInput, evaluate};
use order_router::wire::intent::{MissingIdPolicy, decode_intent};
use order_router::wire::journal_report::build_settled_report;
use order_router::wire::report::ExecutionReport;
use order_router::worker::control::limits::risk_limits;

/// The inputs of the pure parts: one small limit order, approved by every rule and filled at once.
pub struct PureParts {
    body: &'static [u8],
    intent: Intent,
    instrument: Instrument,
    limits: RiskLimits,
    control: ControlState,
    day: DailyPnl,
    reservation: Reservation,
    filled: Order,
}

impl PureParts {
    /// Returns the inputs, with the limits and instruments of the default settings.
    pub fn new(body: &'static str) -> anyhow::Result<Self> {
        let settings = Settings::default();
        let intent = decode_intent(body.as_bytes(), MissingIdPolicy::Refuse).context("the intent")?;
        let instruments = settings.instruments.to_instruments(&settings.risk);
        let instrument = instruments
            .into_iter()
            .find(|one| one.venue == intent.venue && one.symbol == intent.symbol);
        let instrument = instrument.context("the intent's instrument")?;
        let day = DailyPnl::zero(Timestamp::now().utc_date());
        let price = intent.price.context("a limit price")?;
        let mark = instrument.reference_price;
        let reservation = Reservation::for_order(&instrument, &intent, price, mark, day.trading_date);
        let reservation = reservation.context("an exact reservation")?;
        Ok(Self {
            filled: fill(&intent, &instrument, &reservation)?,
            body: body.as_bytes(),
            limits: risk_limits(&LimitSettings::of(&settings)).context("the limits")?,
            control: ControlState::without_overrides(),
            intent,
            instrument,
            day,
            reservation,
        })
    }

    /// Decodes the intent, and returns the length of its id.
    pub fn decode(&self) -> usize {
        decode_intent(self.body, MissingIdPolicy::Refuse).map_or(0, |intent| intent.client_order_id.as_str().len())
    }

    /// Evaluates every rule and decides, and reports whether the order is approved.
    pub fn judge(&self) -> bool {
        let now = Timestamp::now();
        let evaluation = evaluate(&RuleInput {
            intent: &self.intent,
            instrument: &self.instrument,
            quantity_units: to_quantity_units(self.intent.quantity.decimal()).unwrap_or_default(),
            reference_price: self.instrument.reference_price,
            has_market_price: true,
            reservation: &self.reservation,
            is_replacement: false,
            limits: &self.limits,
            control: &self.control,
            daily_pnl: &self.day,
            deadline: now.saturating_add(Duration::from_secs(5)),
            now,
        });
        let caps = evaluation.caps().iter().map(|_| CapReading {
            before: 0,
            crosses_alert_threshold: false,
        });
        let readings = CapReadings {
            order_counts: Some([0, 0]),
            caps: caps.collect(),
            ..CapReadings::default()
        };
        matches!(evaluation.decide((), &readings), RiskDecision::Approved(..))
    }

    /// Encodes the report of the filled order for the caller, and returns its length.
    pub fn encode_report(&self) -> usize {
        ExecutionReport::from(&self.filled).encode().len()
    }

    /// Encodes the report as the journal keeps it, and returns its length.
    pub fn encode_journal_report(&self) -> usize {
        let (deltas, date) = (self.filled.total_deltas, self.day.trading_date);
        build_settled_report(&self.filled, deltas, date, 1, Metadata::new(), Some(uuid::Uuid::nil()))
            .encode()
            .len()
    }
}

/// Returns the order of an intent after a fill of its whole quantity.
fn fill(intent: &Intent, instrument: &Instrument, reservation: &Reservation) -> anyhow::Result<Order> {
    let now = Timestamp::now();
    let claimed = Order::from_intent(intent, OrderIdPrefix("BN"), Mode::Paper, reservation.clone(), now);
    let report = VenueReport {
        broker_order_id: Some("4711".to_owned()),
        fills: vec![Fill {
            exec_id: "T-1".to_owned(),
            quantity: intent.quantity,
            price: instrument.reference_price,
            timestamp: now,
            fee: Decimal::ZERO,
            fee_currency: instrument.quote.clone(),
        }],
        state: VenueOrderState::Working,
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: None,
    };
    let update = claimed.apply_report(&report, &CurrencyRates::default(), now);
    Ok(update.context("the fill")?.order)
}
