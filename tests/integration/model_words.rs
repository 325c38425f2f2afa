//! Converts the model's types to the product's, and generates random sequences of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use order_router::domain::currency_rates::CurrencyRates;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::{AccountId, BrokerId, ClientOrderId, OrderIdPrefix, VenueId};
use order_router::domain::instrument::Instrument;
use order_router::domain::intent::{Intent, RiskOverrides};
use order_router::domain::order::Order;
use order_router::domain::order_terms;
use order_router::domain::order_terms::{Mode, OrderType, TimeInForce};
use order_router::domain::quantity::{Price, Quantity};
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::domain::replace::LegWord;
use order_router::domain::reservation::Reservation;
use order_router::domain::settlement::SumDeltas;
use order_router::domain::symbol::Symbol;
use order_router::domain::time::{Timestamp, TradingDate};
use order_router::domain::venue_report::{Fill, VenueOrderState, VenueReport};
use proptest::prelude::*;
use rust_decimal::Decimal as Number;

use crate::model::{ALL, Sum, Sums, add};
use crate::model_markets::{ACCOUNTS, DAYS, MARKETS, RATES, in_asset, in_units, markets, rate};
use crate::model_orders::{Message, ModelOrder, ReportedState, Side, Terms, Trade};

/// The trades a venue may report for one order.
const TRADES: u8 = 9;

pub fn exact(number: Number) -> Decimal {
    number.normalize().to_string().parse().unwrap()
}

pub fn account(place: usize) -> AccountId {
    AccountId::new(&format!("account_{place}")).unwrap()
}

/// Returns the trading date of a day: the last one is today.
pub fn date(day: usize) -> TradingDate {
    (day + 1..DAYS).fold(Timestamp::now().utc_date(), |date, _| date.previous())
}

pub fn rates() -> CurrencyRates {
    CurrencyRates::new(RATES.map(|(currency, rate)| (currency.to_owned(), rate.parse().unwrap())))
}

/// Returns the market of an order as it is when the order is reserved.
pub fn instrument(terms: &Terms) -> Instrument {
    let market = &markets()[terms.market];
    let price = |number| Price::new(exact(number)).unwrap();
    let quantity = |number| Quantity::new(exact(number)).unwrap();
    Instrument {
        broker: BrokerId::new(market.broker).unwrap(),
        venue: VenueId::new(market.venue).unwrap(),
        symbol: Symbol::parse(market.symbol).unwrap(),
        reference_price: price(market.reference),
        tick_size: price(Number::new(1, 8)),
        lot_size: quantity(in_asset(terms.lot)),
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
        quantity: Quantity::new(exact(in_asset(terms.quantity))).unwrap(),
        order_type: terms.limit.map_or(OrderType::Market, |_| OrderType::Limit),
        price: terms.limit.map(|limit| Price::new(exact(limit)).unwrap()),
        time_in_force: TimeInForce::Gtc,
        client_order_id,
        account_id: account(terms.account),
        tags: vec![],
        reduce_only: terms.reduce_only,
        estimated_loss: Some(exact(terms.expected_loss)),
        mode: None,
        expires_at: None,
        risk: RiskOverrides::default(),
    }
}

/// Returns the claimed order of an intent with these terms, without any venue report.
pub fn claimed(terms: &Terms, intent: &Intent) -> Order {
    let [price, mark] = [terms.price(), terms.mark].map(|price| Price::new(exact(price)).unwrap());
    let reservation = Reservation::for_order(&instrument(terms), intent, price, mark, date(terms.day)).unwrap();
    Order::from_intent(intent, OrderIdPrefix("MO"), Mode::Paper, reservation, Timestamp::now())
}

/// Returns the message as the product's venue report.
pub fn report(message: &Message) -> VenueReport {
    let reason = |code| Reason::new(code, "set by the model");
    let fill = |trade: &Trade| Fill {
        exec_id: trade.id.to_string(),
        quantity: Quantity::new(exact(in_asset(trade.quantity))).unwrap(),
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
        cumulative_quantity: message.counted.map(|units| exact(in_asset(units))),
        legs: LegWord::default(),
        due: None,
    }
}

/// Adds the product's deltas to sums, of the order's account and of all: the daily ones where they count on this day, or
/// all where it is `None`.
pub fn add_moves(sums: &mut Sums, terms: &Terms, moves: &SumDeltas, booked_on: usize, today: Option<usize>) {
    let SumDeltas {
        long,
        short,
        position,
        cash_flow,
        fees,
        open_orders,
        open_loss,
        daily_notional,
        fill_result,
        unpriced_fees,
    } = *moves;
    let counts = |day| today.is_none_or(|today| today == day);
    let of_day = |is_counted: bool, amount: i64| if is_counted { amount.into() } else { 0 };
    let started = today.is_some_and(|today| booked_on < today);
    for owner in [terms.account, ALL] {
        let at = terms.market;
        for (sum, amount) in [
            (Sum::Long(owner, at), long),
            (Sum::Short(owner, at), short),
            (Sum::Position(owner, at), position),
            (Sum::Start(owner, at), if started { position } else { 0 }),
            (Sum::CashFlow(owner, at), of_day(counts(booked_on), cash_flow)),
            (Sum::Fees(owner, at), of_day(counts(booked_on), fees)),
            (Sum::OpenOrders(owner, at), open_orders.into()),
            (Sum::OpenLoss(owner), open_loss.into()),
            (Sum::DailyNotional(owner), of_day(counts(terms.day), daily_notional)),
            (Sum::FillResult(owner), of_day(counts(booked_on), fill_result)),
            (Sum::UnpricedFees(owner), unpriced_fees.into()),
        ] {
            add(sums, sum, amount);
        }
    }
}

/// A random message, not yet bound to an order.
#[derive(Debug, Clone)]
pub struct GeneratedMessage {
    trades: Vec<u8>,
    state: ReportedState,
    /// The venue's count in eighths of the ordered quantity; `None` when it reports none.
    counted: Option<i128>,
}

impl GeneratedMessage {
    /// Returns the message for this order. A trade id always identifies the same trade.
    pub fn to_message(&self, order: usize, placed: &ModelOrder, day: usize) -> Message {
        let terms = &placed.terms;
        let trades = self.trades.iter().map(|id| trade(order, terms, *id, day)).collect();
        let counted = self.counted.map(|eighths| terms.quantity * eighths / 8);
        Message {
            trades,
            state: self.state,
            counted,
            day,
        }
    }
}

/// Returns the message that ends an order: a counted quantity without a trade is reported, and the remainder is cancelled.
pub fn final_message(placed: &ModelOrder, day: usize) -> Option<Message> {
    let unreported = if placed.is_open() { 0 } else { placed.reserved() };
    let price = markets()[placed.terms.market].reference;
    let trade = Trade {
        id: TRADES,
        quantity: unreported,
        price,
        fee: Number::ZERO,
        currency: "USD",
        day,
    };
    let trades: Vec<_> = Some(trade).filter(|trade| trade.quantity > 0).into_iter().collect();
    let is_needed = placed.is_open() || !trades.is_empty();
    is_needed.then_some(Message {
        trades,
        state: ReportedState::Cancelled,
        counted: None,
        day,
    })
}

/// Returns the trade that its order and its id determine: a share of the order, of any quantity, near the mark, with a
/// fee in one of the currencies, sometimes a rebate.
fn trade(order: usize, terms: &Terms, id: u8, day: usize) -> Trade {
    let market = &markets()[terms.market];
    let mut mixed = mix((order as u64) << 8 | u64::from(id));
    let mut next = |below: u64| {
        mixed = mix(mixed);
        i64::try_from(mixed % below).unwrap()
    };
    let eighths = [1, 1, 2, 3, 4, 5, 8, 11][usize::try_from(next(8)).unwrap()];
    let currencies = [
        market.quote,
        market.base.unwrap_or("USD"),
        "BNB",
        market.quote,
        market.quote,
        if next(4) == 0 { "XYZ" } else { "BNB" },
    ];
    // In the traded asset a fee is of the size of its quantity.
    let currency = currencies[usize::try_from(next(6)).unwrap()];
    let fee = if market.base == Some(currency) {
        (in_asset(terms.quantity) * Number::new(next(40_000), 6)).round_dp(7) + Number::new(next(1_000), 9)
    } else {
        Number::new(next(400_000), if currency == "BNB" { 9 } else { 7 })
    };
    let odd = i128::from(next(3) * next(1_000));
    Trade {
        id,
        quantity: (terms.quantity * eighths / 8 + odd).max(1),
        price: near(terms.market, terms.mark, 9_500_000 + next(1_000_000)),
        currency,
        fee: match next(6) {
            0 => Number::ZERO,
            1 => -fee,
            _ => fee,
        },
        day,
    }
}

/// Returns a share of a price, in units of 1e-7, with the decimals that the market's prices have.
pub fn near(market: usize, price: Number, share: i64) -> Number {
    (price * Number::new(share, 7)).round_dp(markets()[market].price_decimals)
}

/// Mixes a number (the finaliser of `splitmix64`).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

pub fn any_terms() -> impl Strategy<Value = Terms> {
    let limit = prop_oneof![1 => Just(None), 3 => (8_500_000_i64..11_500_000).prop_map(Some)];
    let loss = prop_oneof![1 => Just(0_i64), 1 => 0_i64..200_000_000];
    let lots = prop_oneof![3 => (Just(1_i128), 1_i128..500), 1 => (Just(5_i128), 1_i128..2_500), 1 => (Just(8_i128), 1_i128..4_000)];
    let mark = prop_oneof![1 => Just(10_000_000_i64), 2 => 9_500_000_i64..10_500_000];
    let owner = (0..ACCOUNTS, 0..MARKETS, any::<bool>());
    (owner, lots, limit, mark, loss, proptest::bool::weighted(0.1)).prop_map(
        |((account, market, is_buy), (lots_of, lots), limit, mark, loss, reduce_only)| {
            let lot = in_units(markets()[market].lot) / lots_of;
            let mark = near(market, markets()[market].reference, mark);
            Terms {
                account,
                market,
                side: if is_buy { Side::Buy } else { Side::Sell },
                quantity: lots * lot,
                lot,
                limit: limit.map(|share| near(market, mark, share)),
                mark,
                expected_loss: Number::new(loss, 7),
                reduce_only,
                day: 0,
            }
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
    let counted = prop_oneof![3 => Just(None), 2 => (0_i128..12).prop_map(Some)];
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
    ClaimUpToCap(Terms, i128),
    /// What closes the position, and may only reduce it.
    ClaimClosing(Terms),
    /// The id of an order again: known, or free.
    ClaimAgain(usize),
    /// A venue report, booked on this day or, by a worker that has not seen it begin, on the day before.
    Deliver(usize, GeneratedMessage, bool),
    /// The last settlement again.
    SettleAgain(usize),
    /// An effect on the order as of its previous version.
    SettleStale(usize, GeneratedMessage),
    Release(usize),
    Mark(usize),
    ReplayLate(usize),
    /// A quantity of an account and a market, at a share of its reference: dust, or a part of the greatest position.
    Adjust(usize, usize, i128, i64),
    /// Whatever takes the account out of the market.
    Flatten(usize, usize),
    /// The price of the fees of an account's fills, and whether it is of one fill more than have none.
    PriceFees(usize, usize, bool),
    /// The profit of the day, at shares of the references.
    View([i64; MARKETS]),
    /// The locks of the losses that have reached their limits.
    Lock,
    RollDay,
    Rebuild,
}

pub fn any_step() -> impl Strategy<Value = Step> {
    let order = || 0_usize..64;
    let share = || 9_800_000_i64..10_200_000;
    let late = || proptest::bool::weighted(0.15);
    prop_oneof![
        20 => any_terms().prop_map(Step::Claim),
        6 => (any_terms(), 0_i128..2).prop_map(|(terms, beyond)| Step::ClaimUpToCap(terms, beyond)),
        10 => any_terms().prop_map(Step::ClaimClosing),
        3 => order().prop_map(Step::ClaimAgain),
        40 => (order(), any_message(), late()).prop_map(|(order, message, late)| Step::Deliver(order, message, late)),
        3 => order().prop_map(Step::SettleAgain),
        3 => (order(), any_message()).prop_map(|(order, message)| Step::SettleStale(order, message)),
        3 => order().prop_map(Step::Release),
        6 => order().prop_map(Step::Mark),
        2 => order().prop_map(Step::ReplayLate),
        3 => any_adjustment(share()),
        5 => [share(), share(), share(), share()].prop_map(Step::View),
        4 => (0..ACCOUNTS, 0..MARKETS).prop_map(|(account, market)| Step::Flatten(account, market)),
        6 => (0..ACCOUNTS, 0..MARKETS, proptest::bool::weighted(0.2))
            .prop_map(|(account, market, is_too_many)| Step::PriceFees(account, market, is_too_many)),
        3 => Just(Step::Lock),
        2 => Just(Step::RollDay),
        1 => Just(Step::Rebuild),
    ]
}

fn any_adjustment(share: std::ops::Range<i64>) -> impl Strategy<Value = Step> {
    let quantity = prop_oneof![
        (-999_i128..1_000).prop_map(|dust| (dust, 0)),
        (-999_i128..1_000, -200_i128..=200),
    ];
    (0..ACCOUNTS, 0..MARKETS, quantity, share).prop_map(|(account, market, (dust, lots), share)| {
        let quantity = dust + lots * in_units(markets()[market].lot);
        Step::Adjust(account, market, quantity, share)
    })
}
