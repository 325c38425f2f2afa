//! The table that the model steps through, filled by the router's own `Order::apply_report`.

use claim_model::effects::{CLAIMED, DENIED, Doc, Document, Effect, Effects, Word};
use order_router::brokers::paper::binance::PREFIX;
use order_router::config::Settings;
use order_router::domain::currency_rates::CurrencyRates;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::{AccountId, ClientOrderId};
use order_router::domain::intent::{Intent, RiskOverrides};
use order_router::domain::order::Order;
use order_router::domain::order_terms::{Mode, OrderStatus, OrderType, Side, TimeInForce};
use order_router::domain::quantity::Quantity;
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::domain::replace::LegWord;
use order_router::domain::reservation::Reservation;
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::{Fill, VenueOrderState, VenueReport};

/// The table of a buy order, and the order of each document.
pub struct OrderTable {
    /// The table.
    pub effects: Effects,
    /// The orders, by the number of their document.
    pub orders: Vec<Order>,
}

impl OrderTable {
    /// Returns the table of an order of so many lots.
    pub fn new(lots: u8) -> Self {
        let claimed = claimed_order(lots, ClientOrderId::generate());
        let denied = claimed
            .clone()
            .into_denied(reason(ReasonCode::RiskLocked), Timestamp::now());
        let mut table = Self {
            effects: Effects {
                documents: vec![],
                lots,
                moves: vec![],
            },
            orders: vec![],
        };
        assert_eq!([CLAIMED, DENIED], [claimed, denied].map(|order| table.number_of(order)));
        let mut at = 0;
        while at < table.orders.len() {
            let words = Word::all(lots).into_iter().filter(|_| at != usize::from(DENIED));
            let moves = words
                .filter_map(|word| Some((word, table.effect_of(at, word)?)))
                .collect();
            table.effects.moves.push(moves);
            at += 1;
        }
        table
    }

    fn effect_of(&mut self, at: usize, word: Word) -> Option<Effect> {
        let from = &self.orders[at];
        let applied = from.apply_report(&venue_report(word, from), &CurrencyRates::default(), Timestamp::now());
        let update = applied.ok()?;
        Some(Effect {
            doc: self.number_of(update.order),
            long: lots_of(update.deltas.long),
            position: lots_of(update.deltas.position),
        })
    }

    /// Returns the number of an order's document, whatever versions led to it.
    fn number_of(&mut self, order: Order) -> Doc {
        let known = self.orders.iter().position(|known| identity(known) == identity(&order));
        let at = known.unwrap_or_else(|| {
            self.effects.documents.push(document(&order));
            self.orders.push(order);
            self.orders.len() - 1
        });
        u8::try_from(at).expect("few documents")
    }
}

fn identity(order: &Order) -> (Option<OrderStatus>, Option<ReasonCode>, Vec<&str>, Document) {
    let mut trades: Vec<&str> = order.fills.iter().map(|fill| fill.exec_id.as_str()).collect();
    trades.sort_unstable();
    let reason = order.reason.as_ref().map(|reason| reason.code);
    (order.status, reason, trades, document(order))
}

fn document(order: &Order) -> Document {
    let is_rejected = order.status == Some(OrderStatus::Rejected);
    let reason = order.reason.as_ref().map(|reason| reason.code);
    Document {
        position: lots_of(order.total_deltas.position),
        long: lots_of(order.total_deltas.long),
        is_unknown: order.status == Some(OrderStatus::Unknown),
        is_not_placed: is_rejected && reason == Some(ReasonCode::NotPlaced),
        is_ended: order.is_terminal(),
    }
}

fn lots_of(units: i128) -> i8 {
    i8::try_from(units / UNITS_A_LOT).expect("few lots")
}

/// Quantity units in a lot of the instrument.
pub const UNITS_A_LOT: i128 = 1_000;

/// Returns the report that a word stands for.
pub fn venue_report(word: Word, order: &Order) -> VenueReport {
    let (state, trades) = match word {
        Word::Unknown => (VenueOrderState::Unknown(reason(ReasonCode::OutcomeUnknown)), 0),
        Word::NotPlaced => (VenueOrderState::Rejected(reason(ReasonCode::NotPlaced)), 0),
        Word::Rejected => (VenueOrderState::Rejected(reason(ReasonCode::BrokerRejected)), 0),
        Word::Working(trades) => (VenueOrderState::Working, trades),
    };
    let fills = (0..8).filter(|trade| trades & (1 << trade) != 0).map(|trade| Fill {
        exec_id: format!("trade-{trade}"),
        quantity: Quantity::new(order.reservation.lot_size).expect("a lot"),
        price: order.price.expect("a limit order"),
        timestamp: Timestamp::from_milliseconds(1),
        fee: Decimal::ZERO,
        fee_currency: "USDT".into(),
    });
    VenueReport {
        broker_order_id: None,
        fills: fills.collect(),
        state,
        cumulative_quantity: None,
        due: None,
        legs: LegWord::default(),
    }
}

fn reason(code: ReasonCode) -> Reason {
    Reason::new(code, "said by the model's venue")
}

/// Returns a claimed buy order of so many lots of the first instrument of the settings.
pub fn claimed_order(lots: u8, client_order_id: ClientOrderId) -> Order {
    let settings = Settings::default();
    let instrument = settings.instruments.to_instruments(&settings.risk).remove(0);
    let quantity = instrument
        .lot_size
        .decimal()
        .checked_mul(Decimal::from(i64::from(lots)));
    let price = instrument.reference_price;
    let intent = Intent {
        broker: instrument.broker.clone(),
        venue: instrument.venue.clone(),
        symbol: instrument.symbol.clone(),
        side: Side::Buy,
        quantity: Quantity::new(quantity.expect("a small number")).expect("a quantity"),
        order_type: OrderType::Limit,
        price: Some(price),
        time_in_force: TimeInForce::Gtc,
        client_order_id,
        account_id: AccountId::default_account(),
        tags: vec![],
        reduce_only: false,
        estimated_loss: None,
        mode: None,
        expires_at: None,
        risk: RiskOverrides::default(),
    };
    let now = Timestamp::now();
    let reservation = Reservation::for_order(&instrument, &intent, price, price, now.utc_date());
    Order::from_intent(&intent, PREFIX, Mode::Paper, reservation.expect("small amounts"), now)
}
