//! Converts the model's types to the product's, and generates random sequences of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use order_router::domain::currency_rates::CurrencyRates;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId, OrderIdPrefix, VenueId};
use order_router::domain::instrument::Instrument;
use order_router::domain::intent::{Intent, RiskOverrides};
use order_router::domain::order::Order;
use order_router::domain::order_terms;
use order_router::domain::order_terms::{Mode, OrderType, TimeInForce};
use order_router::domain::quantity::{Price, Quantity};
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::domain::reservation::Reservation;
use order_router::domain::settlement::{SharedSum, SumDeltas};
use order_router::domain::symbol::Symbol;
use order_router::domain::time::{Timestamp, TradingDate};
use order_router::domain::venue_report::{Fill, VenueOrderState, VenueReport};
use proptest::prelude::*;
use rust_decimal::Decimal as Number;

use crate::model::{Message, ModelOrder, ReportedState, Side, Sum, Sums, Terms, Trade, add};
use crate::model_markets::{ACCOUNTS, Market, RATES, markets, rate};

/// The trades a venue may report for one order.
const TRADES: u8 = 9;

fn exact(number: Number) -> Decimal {
    number.normalize().to_string().parse().unwrap()
}

pub fn account(place: usize) -> AccountId {
    AccountId::new(&format!("account_{place}")).unwrap()
}

/// Returns the trading date of a day: the last one is today.
pub fn date(day: usize) -> TradingDate {
    let today = Timestamp::now().utc_date();
    if day == 0 { today.previous() } else { today }
}

pub fn rates() -> CurrencyRates {
    CurrencyRates::new(RATES.map(|(currency, rate)| (currency.to_owned(), rate.parse().unwrap())))
}

pub fn instrument(market: &Market) -> Instrument {
    let price = |number| Price::new(exact(number)).unwrap();
    let quantity = |number| Quantity::new(exact(number)).unwrap();
    Instrument {
        broker: BrokerId::new(market.broker).unwrap(),
        venue: VenueId::new(market.venue).unwrap(),
        symbol: Symbol::parse(market.symbol).unwrap(),
        reference_price: price(market.reference),
        tick_size: price(Number::new(1, 8)),
        lot_size: quantity(market.lot),
        max_order_size: quantity(market.max_position),
        max_position: quantity(market.max_position),
        max_notional: exact(market.max_notional),
        can_short: market.can_short,
        base_asset: market.base.map(Into::into),
        quote: market.quote.to_owned(),
        base_rate: exact(rate(market.quote).unwrap()),
    }
}

pub fn intent(terms: &Terms, client_order_id: ClientOrderId) -> Intent {
    let market = &markets()[terms.market];
    Intent {
        broker: BrokerId::new(market.broker).unwrap(),
        venue: VenueId::new(market.venue).unwrap(),
        symbol: Symbol::parse(market.symbol).unwrap(),
        side: match terms.side {
            Side::Buy => order_terms::Side::Buy,
            Side::Sell => order_terms::Side::Sell,
        },
        quantity: Quantity::new(exact(Number::from(terms.lots) * market.lot)).unwrap(),
        order_type: terms.limit.map_or(OrderType::Market, |_| OrderType::Limit),
        price: terms.limit.map(|limit| Price::new(exact(limit)).unwrap()),
        time_in_force: TimeInForce::Gtc,
        client_order_id,
        account_id: account(terms.account),
        tags: vec![],
        reduce_only: false,
        estimated_loss: Some(exact(terms.expected_loss)),
        mode: None,
        expires_at: None,
        risk: RiskOverrides::default(),
    }
}

/// Returns the claimed order of an intent with these terms, without any venue report.
pub fn claimed(terms: &Terms, intent: &Intent) -> Order {
    let instrument = instrument(&markets()[terms.market]);
    let price = intent.price.unwrap_or(instrument.reference_price);
    let reservation = Reservation::for_order(&instrument, intent, terms.lots, price, date(terms.day)).unwrap();
    let id = OrderId::generate(OrderIdPrefix("MO"));
    Order::from_intent(intent, id, Mode::Paper, reservation, Timestamp::now())
}

/// Returns the message as the product's venue report.
pub fn report(terms: &Terms, message: &Message) -> VenueReport {
    let lot = markets()[terms.market].lot;
    let reason = |code| Reason::new(code, "set by the model");
    let fill = |trade: &Trade| Fill {
        exec_id: trade.id.to_string(),
        quantity: Quantity::new(exact(Number::from(trade.lots) * lot)).unwrap(),
        price: Price::new(exact(trade.price)).unwrap(),
        timestamp: Timestamp::from_milliseconds(0),
        fee: exact(trade.fee),
        fee_currency: trade.currency.to_owned(),
    };
    VenueReport {
        broker_order_id: None,
        fills: message.trades.iter().map(fill).collect(),
        state: match message.state {
            ReportedState::Working => VenueOrderState::Working,
            ReportedState::Unknown => VenueOrderState::Unknown(reason(ReasonCode::OutcomeUnknown)),
            ReportedState::Cancelled => VenueOrderState::Cancelled(reason(ReasonCode::CancelRequested)),
            ReportedState::Expired => VenueOrderState::Expired(reason(ReasonCode::EndOfDay)),
            ReportedState::Rejected => VenueOrderState::Rejected(reason(ReasonCode::BrokerRejected)),
        },
        cumulative_quantity: message.counted.map(|lots| exact(Number::from(lots) * lot)),
        due: None,
    }
}

/// Adds the product's deltas to sums, each to the sum of the order's account, market and own trading day.
pub fn add_moves(sums: &mut Sums, terms: &Terms, moves: &SumDeltas) {
    let (account, market, day) = (terms.account, terms.market, terms.day);
    for counter in SharedSum::ALL {
        let sum = match counter {
            SharedSum::Long => Sum::Long(account, market),
            SharedSum::Short => Sum::Short(account, market),
            SharedSum::Position => Sum::Position(account, market),
            SharedSum::CashFlow => Sum::CashFlow(account, market),
            SharedSum::Fees => Sum::Fees(account, market),
            SharedSum::BaseFees => Sum::BaseFees(account, market),
            SharedSum::OpenOrders => Sum::OpenOrders(account, market),
            SharedSum::AccountOpenLoss => Sum::AccountOpenLoss(account),
            SharedSum::OpenLoss => Sum::OpenLoss,
            SharedSum::AccountDailyNotional => Sum::AccountDailyNotional(account, day),
            SharedSum::DailyNotional => Sum::DailyNotional(day),
        };
        add(sums, sum, moves.get(counter));
    }
}

/// A random message, not yet bound to an order.
#[derive(Debug, Clone)]
pub struct GeneratedMessage {
    trades: Vec<u8>,
    state: ReportedState,
    /// The venue's count in eighths of the ordered quantity; `None` when it reports none.
    counted: Option<i64>,
}

impl GeneratedMessage {
    /// Returns the message for this order. A trade id always identifies the same trade.
    pub fn to_message(&self, order: usize, placed: &ModelOrder) -> Message {
        let lots = placed.terms.lots;
        let trades = self.trades.iter().map(|id| trade(order, &placed.terms, *id)).collect();
        let counted = self.counted.map(|eighths| lots * eighths / 8);
        Message {
            trades,
            state: self.state,
            counted,
        }
    }
}

/// Returns the message that ends an order: counted lots without a trade are reported, and the remainder is cancelled.
pub fn final_message(placed: &ModelOrder) -> Option<Message> {
    let unreported = if placed.is_open() { 0 } else { placed.reserved_lots() };
    let price = markets()[placed.terms.market].reference;
    let trade = Trade {
        id: TRADES,
        lots: unreported,
        price,
        fee: Number::ZERO,
        currency: "USD",
    };
    let trades: Vec<_> = Some(trade).filter(|trade| trade.lots > 0).into_iter().collect();
    let is_needed = placed.is_open() || !trades.is_empty();
    is_needed.then_some(Message {
        trades,
        state: ReportedState::Cancelled,
        counted: None,
    })
}

/// Returns the trade that its order and its id determine: a share of the order, near the reference price, with a fee in
/// one of the currencies, sometimes a rebate.
fn trade(order: usize, terms: &Terms, id: u8) -> Trade {
    let market = &markets()[terms.market];
    let mut mixed = mix((order as u64) << 8 | u64::from(id));
    let mut next = |below: u64| {
        mixed = mix(mixed);
        i64::try_from(mixed % below).unwrap()
    };
    let eighths = [1, 1, 2, 3, 4, 5, 8, 11][usize::try_from(next(8)).unwrap()];
    let currencies = [market.quote, market.base.unwrap_or("AAPL"), "BNB", "XYZ", market.quote];
    let fee = Number::new(next(40_000), 9);
    Trade {
        id,
        lots: (terms.lots * eighths / 8).max(1),
        price: (market.reference * Number::new(9_500 + next(1_000), 4)).round_dp(2) + Number::new(next(100_000), 6),
        currency: currencies[usize::try_from(next(5)).unwrap()],
        fee: match next(6) {
            0 => Number::ZERO,
            1 => -fee,
            _ => fee,
        },
    }
}

/// Mixes a number (the finaliser of `splitmix64`).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

pub fn any_terms() -> impl Strategy<Value = Terms> {
    let limit = prop_oneof![1 => Just(None), 3 => (8_500_i64..11_500, 0_i64..100).prop_map(Some)];
    let loss = prop_oneof![1 => Just(0_i64), 1 => 0_i64..300_000_000];
    (0..ACCOUNTS, 0..markets().len(), any::<bool>(), 1_i64..500, limit, loss).prop_map(
        |(account, market, is_buy, lots, limit, loss)| Terms {
            account,
            market,
            side: if is_buy { Side::Buy } else { Side::Sell },
            lots,
            limit: limit.map(|(share, odd)| {
                (markets()[market].reference * Number::new(share, 4)).round_dp(2) + Number::new(odd, 4)
            }),
            expected_loss: Number::new(loss, 7),
            day: 0,
        },
    )
}

pub fn any_message() -> impl Strategy<Value = GeneratedMessage> {
    let state = prop_oneof![
        4 => Just(ReportedState::Working),
        1 => Just(ReportedState::Unknown),
        2 => Just(ReportedState::Cancelled),
        1 => Just(ReportedState::Expired),
        2 => Just(ReportedState::Rejected),
    ];
    let counted = prop_oneof![3 => Just(None), 2 => (0_i64..12).prop_map(Some)];
    (proptest::collection::vec(0..TRADES, 0..3), state, counted).prop_map(|(trades, state, counted)| GeneratedMessage {
        trades,
        state,
        counted,
    })
}

/// The next action on a store; orders by index.
#[derive(Debug, Clone)]
pub enum Step {
    Claim(Terms),
    /// As many lots as the position cap allows, or one more.
    ClaimUpToCap(Terms, i64),
    /// The id of an order again: known, or free.
    ClaimAgain(usize),
    Deliver(usize, GeneratedMessage),
    /// The last settlement again.
    SettleAgain(usize),
    /// An effect on the order as of its previous version.
    SettleStale(usize, GeneratedMessage),
    Release(usize),
    Mark(usize),
    ReplayLate(usize),
    RollDay,
    Rebuild,
}

pub fn any_step() -> impl Strategy<Value = Step> {
    let order = || 0_usize..64;
    prop_oneof![
        20 => any_terms().prop_map(Step::Claim),
        6 => (any_terms(), 0_i64..2).prop_map(|(terms, beyond)| Step::ClaimUpToCap(terms, beyond)),
        3 => order().prop_map(Step::ClaimAgain),
        40 => (order(), any_message()).prop_map(|(order, message)| Step::Deliver(order, message)),
        3 => order().prop_map(Step::SettleAgain),
        3 => (order(), any_message()).prop_map(|(order, message)| Step::SettleStale(order, message)),
        3 => order().prop_map(Step::Release),
        6 => order().prop_map(Step::Mark),
        2 => order().prop_map(Step::ReplayLate),
        1 => Just(Step::RollDay),
        1 => Just(Step::Rebuild),
    ]
}
